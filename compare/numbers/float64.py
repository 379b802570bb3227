"""Shared memory: an array as a torch tensor, so that torch computes what both sides are held against on all threads.

NumPy would do it on one, and two libraries that take turns with all the cores wait for each other's threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALL = 1 << 17  # elements: torch takes its threads for more


def shared(a: NDArray[Any]) -> Tensor:
    """The array's own memory, which must be left as it is; a copy where torch takes none such (read-only, reversed)."""
    usable = a.flags.writeable and (a.flags.forc or all(s >= 0 and s % a.itemsize == 0 for s in a.strides))
    return torch.from_numpy(a if usable else np.array(a))


def double(a: NDArray[Any]) -> NDArray[Any]:
    """Floating-point numbers in float64, the array itself where it is so; others as they are."""
    if a.dtype == np.float32 and a.size > SMALL:
        return shared(a).double().numpy()
    return a.astype(np.float64, copy=False) if a.dtype.kind == "f" else a
