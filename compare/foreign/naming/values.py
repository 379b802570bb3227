"""Values: how near two arrays are, and by what factor one is the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Relative. Equal for the sake of a name: half of the dtype's digits, so that no order of summation and no exponential
# comes between; a mistake that is smaller still gets its name, and the check judges it.
TIGHT = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-4}


def tight(a: Array) -> float:
    """How near an array of this dtype must be to what it should be."""
    return TIGHT.get(a.dtype, TIGHT[np.dtype(np.float64)])


def multiple(a: Array, value: Array) -> float | None:
    """The factor c for which c x value comes nearest to a; None where there is none, or it is 0."""
    a, value = np.asarray(a, dtype=np.float64), np.asarray(value, dtype=np.float64)
    square = float(np.vdot(value, value))
    with np.errstate(all="ignore"):
        c = float(np.vdot(value, a)) / square if square else float("nan")
    return c if np.isfinite(c) and c else None


def distance(a: Array, value: Array) -> float:
    """|a - value| / |value|, over the whole tensor; infinite where it has none."""
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(value))
        far = float(np.linalg.norm(np.asarray(a, dtype=np.float64) - value))
    if size == 0:
        return 0.0 if far == 0 else float("inf")
    return far / size if np.isfinite(far / size) else float("inf")


def cosine(a: Array, value: Array) -> float:
    """Of the angle between two arrays; 0 where one is all zeros or not finite."""
    with np.errstate(all="ignore"):
        sizes = float(np.linalg.norm(a)) * float(np.linalg.norm(value))
    return float(np.vdot(a, value)) / sizes if 0 < sizes < np.inf else 0.0


def number(a: Array) -> float:
    """An array of one element."""
    return float(a.ravel()[0])
