"""Sizes: |a| |b|^T. The roundings of the product a b^T are bounded by a multiple of it.

Such a bound may be a little too large, but never too small. For a float32 candidate, |a| |b|^T is therefore computed in
float32, which costs half as much, and then made larger by all that float32 can lose. This is at most 1/1000. In two
cases it is computed in float64: where float32 could lose more, and where a small sum could become exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from compare.numbers.array import Array

ELEMENTS = 1 << 20  # of an operand whose sizes are held at a time
SMALL = 1 << 19  # multiplications: float32 does not make them cheaper
MORE = 1e-3  # the most that float32 may add
NORMAL = 2.0**-126  # the least normal number
LARGEST = 2.0**20  # of what is multiplied by a converted operand: an underflow of the latter then costs little
LEAST = 2.0**-80  # of a sum: what underflows in a larger one is below its roundings


def product_of_sizes(a: Array, b: Array, addend: Array | None = None, dtype: DTypeLike = np.float64) -> Array:
    """|a| |b|^T + |addend|, up to 1/1000 more where dtype is float32;  a (m, k), b (n, k), addend (n,) -> (m, n)."""
    found = _in_single(a, b, addend) if dtype == np.float32 and a.size * len(b) > SMALL else None
    return _product(a, b, addend, np.float64) if found is None else found


def _in_single(a: Array, b: Array, addend: Array | None) -> Array | None:
    """In float32; None where that may be too small, or more than 1/1000 too large.

    u is 2^-24. A sum of k terms and the addend has at most k + 3 roundings, conversions included (Higham, section 3.1).
    Making it larger has two more. What underflows costs at most NORMAL: a product just that, as the addend does, and a
    factor that underflows when it is converted, NORMAL times the other factor. Where that is at most LARGEST, this is
    2^-106, and all three are below 2^-104: u LEAST. So k terms and the addend cost k + 1 roundings more of a sum of at
    least LEAST: 2 k + 6 in all.
    """
    roundings = (2 * a.shape[1] + 8) * 2.0**-24
    if roundings > MORE / 2 or torch.backends.flags_frozen():
        return None
    operands = (a, b) if addend is None else (a, b, addend)
    if not (_stays_small(a, b) and _stays_small(b, a)):
        return None
    with in_full_precision(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scale = _product(a, b, addend, np.float32, 1 + roundings / (1 - roundings))
    if not scale.max() < np.inf:  # nor NaN
        return None
    return scale if scale.min() >= LEAST or _nothing_underflows(*map(_least, operands)) else None


def _stays_small(a: Array, b: Array) -> bool:
    """Whether a is float32, or b so small that what underflows when a is converted costs little."""
    return a.dtype == np.float32 or bool(np.abs(b).max(initial=0.0) <= LARGEST)


def _nothing_underflows(a: float, b: float, addend: float = float("inf")) -> bool:
    """No product of sizes of at least a and b underflows, nor does the addend: a sum that is 0 has only zero terms."""
    return min(a, b, a * b, addend) >= NORMAL


def _least(a: Array) -> float:
    """The least size that is not 0; inf where all are 0.

    Sizes are in the order of their bits, read as whole numbers. With 1 subtracted, 0 becomes the largest of them.
    """
    sizes = np.abs(a if a.dtype == np.float32 else a.astype(np.float64))
    bits = sizes.view(f"u{sizes.itemsize}")
    bits -= 1
    last = np.iinfo(bits.dtype).max
    least = bits.min(initial=last)
    return float("inf") if least == last else float((least + 1).view(sizes.dtype))


def _product(a: Array, b: Array, addend: Array | None, dtype: DTypeLike, factor: float = 1.0) -> Array:
    """factor (|a| |b|^T + |addend|). Some rows of b at a time: a large layer's sizes need not all be held."""
    sizes, rows = torch.from_numpy(_sizes(a, dtype)), max(1, ELEMENTS // max(b.shape[1], 1))
    parts = [sizes @ torch.from_numpy(_sizes(b[i : i + rows], dtype)).T for i in range(0, len(b), rows)]
    scale: Array = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).numpy()
    if addend is not None:
        scale += np.abs(addend)
    return scale if factor == 1 else np.multiply(scale, factor, out=scale)


def _sizes(a: Array, dtype: DTypeLike) -> Array:
    sizes: Array = np.abs(a.astype(dtype, copy=False))
    return sizes


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Without oneDNN, which multiplies float32 in bfloat16 where torch.set_float32_matmul_precision allows it.

    RuntimeError where torch.backends.disable_global_flags has frozen the setting.
    """
    settings: Any = torch.backends.mkldnn
    enabled = settings.enabled
    settings.enabled = False
    try:
        yield
    finally:
        settings.enabled = enabled
