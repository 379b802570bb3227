"""Layout: how somebody keeps an array that torch keeps in one certain way, and how to read it as torch's.

Reading is a transposition, a reshape without a change of order, or a piece of the array: never arithmetic, so the bits
stay the candidate's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ROWS, COLUMNS = "rows", "columns"  # one sample a row, one sample a column
OUT_IN, IN_OUT = "(out, in)", "(in, out)"
SEPARATE, ABSENT = "separate", "absent"
ATTACHED = ("last column", "first column", "last row", "first row")


@dataclass(frozen=True)
class View:
    """An array read in torch's layout, and the layout it was kept in; `bias` where one was attached to a weight."""

    array: Array
    layout: str
    bias: Array | None = None
    attached: str = SEPARATE


def samples(a: Array, m: int, n: int) -> Iterator[View]:
    """All ways to read `a` as m samples of n numbers, one a row; a vector where m or n is 1."""
    if a.ndim == 2 and a.shape == (m, n):
        yield View(a, ROWS)
    if a.ndim == 2 and a.shape == (n, m) and (m, n) != (1, 1):
        yield View(a.T, COLUMNS)
    if a.ndim < 2 and a.size == m * n and 1 in (m, n):
        yield View(a.reshape(m, n), ROWS)
    if a.ndim > 2 and a.size == m * n and a.shape[0] == m:
        yield View(a.reshape(m, n), ROWS)


def inputs(a: Array, m: int, n: int) -> Iterator[View]:
    """Samples, also with a row or column of ones attached, for a bias that is part of the weight."""
    yield from samples(a, m, n)
    if a.ndim in (1, 2):
        for view in samples(a, m, n + 1):
            for ones, rest, where in (
                (view.array[:, -1], view.array[:, :-1], "last"),
                (view.array[:, 0], view.array[:, 1:], "first"),
            ):
                if np.all(ones == 1):
                    yield View(rest, view.layout, ones, where)


def weights(a: Array, fan_out: int, fan_in: int) -> Iterator[View]:
    """All ways to read `a` as a weight (out, in), a bias attached or not."""
    if a.ndim == 1 and 1 in (fan_out, fan_in) and a.size == fan_out * fan_in:
        yield View(a.reshape(fan_out, fan_in), IN_OUT if fan_out == 1 else OUT_IN)
    if a.shape == (fan_in + 1,) and fan_out == 1:
        yield View(a[None, :-1], OUT_IN, a[-1:], "last column")
        yield View(a[None, 1:], OUT_IN, a[:1], "first column")
    if a.ndim != 2:
        return
    if a.shape == (fan_in, fan_out):
        yield View(a.T, IN_OUT)
    if a.shape == (fan_out, fan_in) and (fan_out, fan_in) != (1, 1):
        yield View(a, OUT_IN)
    if a.shape == (fan_out, fan_in + 1):
        yield View(a[:, :-1], OUT_IN, a[:, -1], "last column")
        yield View(a[:, 1:], OUT_IN, a[:, 0], "first column")
    if a.shape == (fan_in + 1, fan_out):
        yield View(a[:-1].T, IN_OUT, a[-1], "last row")
        yield View(a[1:].T, IN_OUT, a[0], "first row")


def biases(a: Array, fan_out: int) -> Iterator[View]:
    """`a` as a bias (out,): a vector, a row or a column."""
    if a.size == fan_out and a.ndim <= 2 and max(a.shape, default=1) == fan_out:
        yield View(a.reshape(fan_out), ROWS if a.ndim < 2 or a.shape[0] == 1 else COLUMNS)


def like(a: Array, view: View) -> View | None:
    """`a` read as `view` was read, for the gradient or the new value of a weight; None if its shape is another."""
    fan_out, fan_in = view.array.shape
    return next(
        (v for v in weights(a, fan_out, fan_in) if (v.layout, v.attached) == (view.layout, view.attached)), None
    )


def targets(a: Array, m: int, n: int, labels: bool) -> Iterator[View]:
    """`a` as the target of m samples and n outputs: class numbers (m,) where `labels`, else, or as one-hot, (m, n)."""
    whole = a.dtype.kind in "iub" or (a.dtype.kind == "f" and np.all(a == np.round(a)))
    if labels and n > 1 and a.size == m and max(a.shape, default=1) == m and whole and _classes(a, n):
        yield View(a.reshape(m).astype(np.int64), "class numbers")
    for view in samples(a, m, n):
        if not labels or n == 1 or np.allclose(view.array.sum(axis=1), 1):
            yield view


def _classes(a: Array, n: int) -> bool:
    return bool(a.size and a.min() >= 0 and a.max() < n)
