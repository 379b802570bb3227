"""Float64: values and derivatives by PyTorch in float64, on arrays whose memory it shares.

PyTorch computes what both sides are held against on all threads. NumPy would do it on one, and two libraries that take
turns with all the cores wait for each other's threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from compare.numbers.array import Array

Function = Callable[[Tensor], Tensor]

SMALL = 1 << 17  # elements: torch takes its threads for more


def shared(a: Array) -> Tensor:
    """The array's own memory, which must be left as it is; a copy where torch takes none such (read-only, reversed)."""
    usable = a.flags.writeable and (a.flags.forc or all(s >= 0 and s % a.itemsize == 0 for s in a.strides))
    return torch.from_numpy(a if usable else np.array(a))


def double(a: Array) -> Array:
    """Floating-point numbers in float64, the array itself where it is so; others as they are."""
    if a.dtype == np.float32 and a.size > SMALL:
        return shared(a).double().numpy()
    return a.astype(np.float64, copy=False) if a.dtype.kind == "f" else a


def tensor(a: Array) -> Tensor:
    """Row by row, in float64 unless it holds whole numbers; in shared memory where it is so."""
    return shared(np.asarray(double(a), order="C"))


def copied(a: Array) -> Tensor:
    """Row by row, in memory of its own."""
    return torch.from_numpy(np.array(a, order="C"))


def value(f: Function, x: Array) -> Array:
    """f(x)."""
    with torch.no_grad():
        found: Array = f(tensor(x)).numpy()
    return found


def derivative(f: Function, x: Array, dy: Array) -> Array:
    """dL/dx from dL/dy for y = f(x), by autograd: of the sum of dy y, whose gradient by y has dy's own bits.

    With dy handed over beside y, torch imports its symbolic algebra first.
    """
    at = tensor(x).requires_grad_()
    (dx,) = torch.autograd.grad((f(at) * tensor(dy)).sum(), at)
    found: Array = dx.numpy()
    return found
