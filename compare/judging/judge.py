"""Judging: a candidate's tensor against the expected one and its allowance, element by element -> a row of the report.

Nearly every tensor is right. So it is first asked, block by block, whether all of it lies within its bound, which takes
few passes; only where it does not, every element is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.judging.step import Rule
from compare.judging.verdict import Oddity, OtherShape, Row
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.expected import Expected
from compare.recording.record import Record

Index = tuple[int, ...]

BLOCK = 1 << 16  # elements judged at a time: what is computed of them stays in the processor's cache
LEAST = 2.0**-100  # float32 divides by bounds of this size, and by larger ones, without underflow
NAN = float("nan")
NEAR = 1 - 2.0**-20  # of a bound: below it float32's roundings do not matter


@dataclass(frozen=True)
class Finding:
    """How far a tensor is from the expected one: at its worst element, and in all."""

    difference: float  # the largest one
    worst: Index
    allowed: float  # there
    ratio: float  # there
    status: str = "ok"
    note: str = ""
    wrong: int = 0


def judge(
    record: Record,
    rule: Rule,
    got: Array,
    expected: Expected,
    check: str,
    p: Precision,
    sound: Callable[[], bool] = lambda: True,
) -> Row:
    """One row: the candidate's tensor against the expected one. NaN never passes, nothing is broadcast.

    `sound` says whether all that it is computed from is finite.
    """
    got = np.asarray(got)
    if got.shape != expected.value.shape:
        return off(record, rule, OtherShape(got.shape, expected.value.shape), check)
    with np.errstate(all="ignore"):
        found = _within(got, expected) or _measured(got, expected, p, sound)
    at_worst = (float(got[found.worst]), float(expected.value[found.worst])) if got.size else (NAN, NAN)
    return _row(record, rule, check, got.shape, found, *at_worst)


def _row(
    record: Record,
    rule: Rule,
    check: str,
    shape: Index,
    f: Finding,
    found: float = NAN,
    expected: float = NAN,
    oddity: Oddity | None = None,
) -> Row:
    where = record.step, rule.layer, rule.kind, rule.name, shape, check
    how_far = f.difference, f.worst, f.allowed, f.ratio, f.status, f.note
    return Row(*where, *how_far, rule.formula, found, expected, f.wrong, oddity)


def _within(got: Array, expected: Expected) -> Finding | None:
    """Of a tensor that lies within its bound, in blocks of rows; None if anything is exceeded or not finite."""
    value, allowance = expected.value, expected.allowance
    if not got.size:
        return None
    if allowance.is_none:
        return _equal(got, value)
    highest = -1.0
    worst: Index = ()
    furthest: list[Index] = []
    for start, rows in _blocks(got):
        block = _block_within(got[rows], value[rows], allowance if rows is ... else allowance.rows(rows))
        if block is None:
            return None
        ratio, at, far = block
        furthest.append(_moved(far, start))
        if ratio > highest:
            highest, worst = ratio, _moved(at, start)
    difference, allowed = _off_by(got, value, worst), allowance.at(worst)
    largest = max(_off_by(got, value, at) for at in furthest)
    return Finding(largest, worst, allowed, difference / allowed if difference else 0.0)


def _equal(got: Array, value: Array) -> Finding | None:
    """Of a tensor that is the expected one, number for number; None if it is not, or anything in it is not finite."""
    same = np.array_equal(got, value) and np.isfinite(got).all()
    return Finding(0.0, (0,) * got.ndim, 0.0, 0.0) if same else None


def _blocks(a: Array) -> Iterator[tuple[int, Any]]:
    """(first row, rows) of at most BLOCK elements, or of one row."""
    if a.size <= BLOCK:
        yield 0, ...
        return
    rows = max(1, BLOCK * len(a) // a.size)
    for start in range(0, len(a), rows):
        yield start, slice(start, start + rows)


def _block_within(got: Array, value: Array, allowance: Allowance) -> tuple[float, Index, Index] | None:
    """The largest ratio of difference and bound, up to a factor, where it is, and where the largest difference is.

    The differences are made in float64, and compared with their bounds in float32, which is good enough: what comes
    near its bound is measured, as is what differs where the bound is below LEAST.
    """
    signed = got.astype(np.float64)
    signed -= value
    scale, factor = allowance.proportional()
    scale = scale.astype(np.float32, copy=False)
    least, most = float(scale.min()), float(scale.max())
    if not most * factor < np.inf:  # nor NaN
        return None
    if least * factor < LEAST:
        if np.any((scale < LEAST / factor) & (signed != 0)):
            return None
        scale = np.maximum(scale, np.float32(LEAST / factor))
    difference = signed.astype(np.float32)
    furthest = _largest(np.abs(difference, out=difference))
    ratio = np.divide(difference, scale, out=difference)
    at = _largest(ratio)
    return (float(ratio[at]), at, furthest) if float(ratio[at]) < NEAR * factor else None


def _largest(a: Array) -> Index:
    """Where it is; a NaN counts as the largest."""
    return tuple(map(int, np.unravel_index(a.argmax(), a.shape)))


def _moved(at: Index, rows: int) -> Index:
    return (at[0] + rows, *at[1:]) if rows else at


def _off_by(got: Array, value: Array, at: Index) -> float:
    return abs(float(got[at]) - float(value[at]))


def _measured(got: Array, expected: Expected, p: Precision, sound: Callable[[], bool]) -> Finding:
    """Of any tensor, element by element."""
    value = expected.value.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - value)
    allowed = expected.allowance.for_difference(np.where(np.isnan(difference), 0, difference))
    undecided = _undecided(got, value, allowed, expected.allowance.reach, p.largest / expected.headroom, sound())
    wrong = ~undecided & ~(difference <= allowed)
    ratio = np.where(difference <= 0, 0.0, difference / allowed)
    ratio = np.where(undecided, -1.0, np.where(np.isnan(ratio), np.inf, ratio))
    status = "off" if wrong.any() else "not checked" if undecided.any() or not ratio.size else "ok"
    note = _note(got, undecided, wrong, undecided & np.isfinite(difference) & ~np.isfinite(allowed))
    finite = difference[np.isfinite(difference)]
    largest = float(finite.max(initial=0.0)) if np.isfinite(difference[wrong]).all() else float("nan")
    if not ratio.size:
        return Finding(largest, (), 0.0, 0.0, status, note)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    worst, above = tuple(int(i) for i in at), max(float(ratio[at]), 0.0)
    return Finding(largest, worst, float(allowed[at]), above, status, note, int(wrong.sum()))


def _undecided(got: Array, value: Array, allowed: Array, reach: Array | float, largest: float, sound: bool) -> Array:
    """Where neither side can be held against the other: the same non-finite value; an overflow, in the candidate's
    precision, of a value that float64 can hold, or on the way to it; on the way to both, in another order; anything not
    finite that follows from what was not finite before."""
    with np.errstate(all="ignore"):
        got = got.astype(np.float64)
        same = (np.isnan(got) & np.isnan(value)) | (np.isinf(got) & (got == value))
        overflow = ~np.isfinite(got) & np.isfinite(value) & (np.maximum(np.abs(value), reach) + allowed >= largest)
        overflow |= ~np.isfinite(got) & ~np.isfinite(value) & (np.asarray(reach) >= largest)
        inherited = (~np.isfinite(got) | ~np.isfinite(value)) & (not sound)
        boundless = np.isfinite(got) & np.isfinite(value) & ~np.isfinite(allowed)
    undecided: Array = same | overflow | inherited | boundless
    return undecided


def _note(got: Array, undecided: Array, wrong: Array, boundless: Array) -> str:
    if not got.size:
        return "no elements"
    bad = wrong & ~np.isfinite(got.astype(np.float64))
    if bad.any():
        return f"{int(bad.sum())} of {got.size} elements are NaN or infinite"
    if boundless.any():
        return f"a correct computation may lose every digit of {int(boundless.sum())} of {got.size} elements"
    if undecided.any():
        return f"{int(undecided.sum())} of {got.size} elements overflow or are NaN on both sides"
    return f"{int(wrong.sum())} of {got.size} elements" if wrong.any() else ""


def off(record: Record, rule: Rule, why: Oddity | str, check: str | None = None) -> Row:
    """A row for a tensor that cannot be right whatever its values."""
    shape = record[rule.name].shape if rule.name in record else ()
    found = Finding(NAN, (), NAN, NAN, "off", str(why))
    return _row(record, rule, check or rule.check, shape, found, oddity=None if isinstance(why, str) else why)


def unjudged(record: Record, rule: Rule, note: str) -> Row:
    """A row for a tensor that could not be judged, and why."""
    return replace(off(record, rule, note), status="not checked")
