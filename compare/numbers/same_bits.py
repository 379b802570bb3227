"""Same bits: whether two arrays are the same, bit for bit."""

from __future__ import annotations

import numpy as np

from compare.numbers.array import Array


def same_bits(a: Array, b: Array) -> bool:
    """Equal in shape, dtype and every bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.itemsize not in (1, 2, 4, 8):
        return a.tobytes() == b.tobytes()
    one, other = (np.ascontiguousarray(each).view(f"u{a.itemsize}") for each in (a, b))
    return np.array_equal(one, other)
