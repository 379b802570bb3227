"""Sizes: |a| |b|^T, what the roundings of a product are bounded by, for half the price of the product where that holds.

A bound need not be sharp to the last digit, but must not be too small. So the sizes of a float32 candidate's operands
are multiplied in float32 and made larger by all that float32 can lose, at most 1/1000; where it could lose more, or
could take a small sum for one that is exactly 0, they are multiplied in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

ELEMENTS = 1 << 20  # of an operand whose sizes are held at a time
SMALL = 1 << 19  # multiplications: float32 does not make them cheaper
MORE = 1e-3  # the most that float32 may add
NORMAL = 2.0**-126  # the least normal number
LARGEST = 2.0**20  # of an operand that is no float32 array, and
LEAST = 2.0**-80  # of a sum: between them nothing is lost but roundings


def product_of_sizes(a: Array, b: Array, addend: Array | None = None, dtype: DTypeLike = np.float64) -> Array:
    """|a| |b|^T + |addend|, up to 1/1000 more where dtype is float32;  a (m, k), b (n, k), addend (n,) -> (m, n)."""
    found = _in_single(a, b, addend) if dtype == np.float32 and a.size * len(b) > SMALL else None
    return _product(a, b, addend, np.float64) if found is None else found


def _in_single(a: Array, b: Array, addend: Array | None) -> Array | None:
    """In float32; None where that may be too small, or more than 1/1000 too large.

    With u = 2^-24 a sum of k terms and the addend has at most k + 3 roundings, conversions included (Higham, section
    3.1), and making it larger has two. A term that underflows, or a factor of it in the conversion, costs less than
    2^-104, which is u of a sum that is not below LEAST.
    """
    roundings = (2 * a.shape[1] + 8) * 2.0**-24
    if roundings > MORE / 2 or torch.backends.flags_frozen():
        return None
    operands = (a, b) if addend is None else (a, b, addend)
    if not all(map(_converts, operands)):
        return None
    with in_full_precision(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scale = _product(a, b, addend, np.float32, 1 + roundings / (1 - roundings))
    if not scale.max() < np.inf:  # nor NaN
        return None
    return scale if scale.min() >= LEAST or _nothing_underflows(*map(_least, operands)) else None


def _converts(a: Array) -> bool:
    """Whether float32 holds it, or holds it so nearly that no product of two such is off by more than roundings."""
    return a.dtype == np.float32 or bool(np.abs(a).max(initial=0.0) <= LARGEST)


def _nothing_underflows(a: float, b: float, addend: float = float("inf")) -> bool:
    """In a b^T + addend of numbers that are 0, or at least so large: a sum that is 0 then has no term."""
    return min(a, b, a * b, addend) >= NORMAL


def _least(a: Array) -> float:
    """The least size that is not 0, inf where all are. Bits of sizes are in their order, and less 1 those of 0 last."""
    sizes = np.abs(a if a.dtype == np.float32 else a.astype(np.float64))
    bits = sizes.view(f"u{sizes.itemsize}")
    bits -= 1
    last = np.iinfo(bits.dtype).max
    least = bits.min(initial=last)
    return float("inf") if least == last else float((least + 1).view(sizes.dtype))


def _product(a: Array, b: Array, addend: Array | None, dtype: DTypeLike, factor: float = 1.0) -> Array:
    """`factor` times it. Some rows of b at a time: it may be the weights of a large layer, whose sizes need not all be
    held."""
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
