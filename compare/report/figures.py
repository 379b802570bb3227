"""What the report page draws of one tensor: heat maps of difference and of ratio, and a histogram of both sides.

Figures are data here, cells and levels and counts; the templates turn them into SVG. Levels have words of their own and
grow darker with the value, so that nothing is told by hue alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.judging.judged_step import Wrong
from compare.numbers.array import Array

CELLS = 48  # along either side of a heat map; larger matrices are drawn by block maximum
LONGEST = 288  # pixels of a heat map's longer side
LARGEST_CELL = 24
BINS = 32
SHADES = 6  # of the differences, equal in their logarithm
DECADES = 6  # below the largest difference; what is smaller shares a shade

RATIOS = (
    (0.0, "0: equal"),
    (0.01, "up to 0.01"),
    (0.1, "0.01 to 0.1"),
    (0.3, "0.1 to 0.3"),
    (1.0, "0.3 to 1, the bound"),
    (10.0, "1 to 10: beyond it"),
    (1e3, "10 to 1000: beyond it"),
    (1e6, "1000 to 1e6: beyond it"),
    (math.inf, "above 1e6: beyond it"),
)


@dataclass(frozen=True)
class Level:
    """The cells of one shade: its name in the style sheet, its words, and the cells as one SVG path, 1 x 1 each."""

    shade: str
    label: str
    path: str


@dataclass(frozen=True)
class HeatMap:
    """A matrix of `rows` x `columns` cells, each the largest of a `block` of elements, `cell` pixels wide."""

    title: str
    rows: int
    columns: int
    block: tuple[int, int]
    cell: float
    shape: tuple[int, int]
    levels: tuple[Level, ...]
    worst: tuple[int, int]


@dataclass(frozen=True)
class Histogram:
    """Counts of the finite values of both sides in the same bins from `low` to `high`; `left_out` are not finite."""

    low: float
    high: float
    candidate: tuple[int, ...]
    reference: tuple[int, ...]
    left_out: int

    @property
    def most(self) -> int:
        """The largest count of either side."""
        return max(*self.candidate, *self.reference, 1)


def difference_and_ratio(judged: Wrong) -> tuple[Array, Array] | None:
    """|found - expected| and that over what is allowed, element by element; None where the shapes differ.

    NaN where the difference is not finite, whichever side that comes from.
    """
    expected = judged.expected
    if judged.got.shape != expected.value.shape:
        return None
    with np.errstate(all="ignore"):
        difference = np.abs(judged.got.astype(np.float64) - expected.value.astype(np.float64))
        allowed = expected.allowance.for_difference(np.where(np.isnan(difference), 0, difference))
        ratio = np.where(difference <= 0, 0.0, difference / allowed)
    unknown = ~np.isfinite(difference)
    return np.where(unknown, np.nan, difference), np.where(unknown, np.nan, ratio)


def heat_maps(judged: Wrong, worst: tuple[int, ...]) -> tuple[HeatMap, HeatMap] | None:
    """Difference and ratio of a matrix, the element `worst` marked; None for what is no matrix or has another shape.

    More axes than two are drawn as rows, all but the first in line.
    """
    both = difference_and_ratio(judged)
    if both is None or judged.got.ndim < 2 or not judged.got.size or len(worst) != judged.got.ndim:
        return None
    difference, ratio = (a.reshape(len(a), -1) for a in both)
    at = worst[0], int(np.ravel_multi_index(worst[1:], judged.got.shape[1:]))
    return (
        _heat_map("difference", difference, at, _difference_levels),
        _heat_map("ratio to what is allowed", ratio, at, _ratio_levels),
    )


def _heat_map(title: str, a: Array, worst: tuple[int, ...], levels: Any) -> HeatMap:
    block = (math.ceil(a.shape[0] / CELLS), math.ceil(a.shape[1] / CELLS))
    cells = block_maximum(a, block)
    side = min(LARGEST_CELL, LONGEST / max(cells.shape))
    at = (worst[0] // block[0], worst[1] // block[1])
    rows, columns = cells.shape
    shown = tuple(level for level in levels(cells) if level.path)
    return HeatMap(title, rows, columns, block, side, (a.shape[0], a.shape[1]), shown, at)


def block_maximum(a: Array, block: tuple[int, int]) -> Array:
    """The largest element of every block; NaN if one of it is."""
    for axis, size in enumerate(block):
        a = np.maximum.reduceat(a, np.arange(0, a.shape[axis], size), axis=axis)
    return a


def _ratio_levels(cells: Array) -> list[Level]:
    found, below = [], -math.inf
    for k, (most, label) in enumerate(RATIOS):
        found.append(_level(f"ratio-{k}", label, (cells > below) & (cells <= most)))
        below = most
    return [*found, _level("nan", "not finite", np.isnan(cells))]


def _difference_levels(cells: Array) -> list[Level]:
    """Shades between the smallest and the largest difference that is not 0, at most six decades apart."""
    present = cells[np.isfinite(cells) & (cells > 0)]
    zero = _level("difference-0", "0: equal", cells == 0)
    nan = _level("nan", "not finite", np.isnan(cells))
    if not present.size:
        return [zero, nan]
    high = float(present.max())
    low = max(float(present.min()), high / 10**DECADES)
    edges = np.geomspace(low, high, SHADES + 1)
    shades = np.clip(np.searchsorted(edges[1:-1], cells, side="left"), 0, SHADES - 1)
    within = np.isfinite(cells) & (cells > 0)
    found = [_level(f"difference-{k + 1}", _range(edges, k), within & (shades == k)) for k in range(SHADES)]
    return [zero, *found, nan]


def _range(edges: Array, k: int) -> str:
    return f"up to {edges[1]:.1e}" if k == 0 else f"{edges[k]:.1e} to {edges[k + 1]:.1e}"


def _level(shade: str, label: str, mask: NDArray[np.bool_]) -> Level:
    return Level(shade, label, "".join(f"M{x} {y}{run}" for y, x, run in _runs(mask)))


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int, str]]:
    """Neighbours in a row as one rectangle: (row, first column, the rest of its path)."""
    found = []
    for y, line in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], line, [False]))))
        found += [(y, int(a), f"h{b - a}v1h-{b - a}z") for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return found


def histogram(judged: Wrong) -> Histogram | None:
    """Both sides' values in shared bins; None where either has fewer than two finite values, or all are one number."""
    sides = [np.asarray(a, dtype=np.float64).ravel() for a in (judged.got, judged.expected.value)]
    finite = [a[np.isfinite(a)] for a in sides]
    if min(len(a) for a in finite) < 2:
        return None
    low, high = (float(f(np.concatenate(finite))) for f in (np.min, np.max))
    narrowest = 2 * BINS * float(np.spacing(max(-low, high)))  # in less there are not as many numbers as bins
    if not narrowest < high - low < math.inf:
        return None
    candidate, reference = (tuple(map(int, np.histogram(a, BINS, (low, high))[0])) for a in finite)
    left_out = sum(len(a) - len(f) for a, f in zip(sides, finite, strict=True))
    return Histogram(low, high, candidate, reference, left_out)
