"""TF32: whether a product that is off in float32 is off because its operands were rounded to 10 bits of mantissa.

A CUDA device with TF32 on multiplies so, and adds in float32. To nearest, an operand is off by 2^-11 of itself; where
the bits are cut off, by 2^-10. That is asked only of a record that says that TF32 was on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from compare.diagnosis.confidence import FITTED, FORMULA
from compare.diagnosis.evidence import Evidence
from compare.judging.judged_step import JudgedStep
from compare.judging.verdict import Diagnosis, Row
from compare.numbers.bounded import Bounded
from compare.operations.letters import Absent
from compare.operations.operation import Layer

Array = NDArray[np.floating]

CAUSE = "tf32"
DROPPED = 13  # of float32's 23 bits
UNIT = 2.0**-10  # what cutting off may cost; rounding to nearest costs half of it


def to_nearest(a: Array) -> Array:
    """Each number rounded to 10 bits of mantissa, ties to even; float32 in, float32 out."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    even = (bits >> np.uint32(DROPPED)) & np.uint32(1)
    return cut_off((bits + (np.uint32(2 ** (DROPPED - 1) - 1) + even)).view(np.float32))


def cut_off(a: Array) -> Array:
    """Each number with the last 13 bits of its mantissa set to 0."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return (bits & np.uint32(2**32 - 2**DROPPED)).view(np.float32)


def allowance(a: Array, b: Array) -> Array:
    """What rounded operands may move a product by: (2 u + u^2) |a| |b|, u = 2^-10;  a (m, k), b (k, n) -> (m, n)."""
    moved: Array = (2 * UNIT + UNIT**2) * (np.abs(a) @ np.abs(b))
    return moved


def diagnose(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> Diagnosis | None:
    """TF32 as the cause of this row, where it explains it in every step; what it does not explain is said beside it."""
    off = [r for r in rows if r.status == "off" and r.check == "isolated"]
    shares = [_share(r, steps) for r in off if r.tensor == row.tensor]
    if row not in off or None in shares:
        return None
    exactly = all(_is_rounded_product(r, steps) for r in off if r.tensor == row.tensor)
    largest = max(share for share in shares if share is not None)
    words = (
        f"{row.tensor}: TF32 was on: the operands of the product were rounded to 10 bits of mantissa, float32 has 23. "
        f"The difference is {row.ratio:.3g} times what float32 allows, and {largest:.3g} times what TF32 does"
    )
    if exactly:
        words += "; it is the product of the rounded operands, within float32"
    others = dict.fromkeys(r.tensor for r in off if _share(r, steps) is None)
    if others:
        words += f". It does not explain {', '.join(others)}: check again with TF32 off"
    return Diagnosis(CAUSE, row.layer, FORMULA if exactly else FITTED, words)


def _share(row: Row, steps: Sequence[JudgedStep]) -> float | None:
    """How much of what TF32 allows beyond float32 the difference takes; None where it is no such product, or more."""
    found = _product(row, steps)
    if found is None:
        return None
    e, a, b, _ = found
    with np.errstate(all="ignore"):
        limit = e.ref.error + allowance(a.value, b.value)
        share = float(np.max(np.abs(e.got - e.ref.value) / limit, initial=0, where=limit > 0))
        inside = bool(np.all(np.abs(e.got - e.ref.value) <= limit))
    return share if inside else None


def _is_rounded_product(row: Row, steps: Sequence[JudgedStep]) -> bool:
    """Whether it is, within float32's own bound, the product of operands rounded in one of the two ways."""
    found = _product(row, steps)
    if found is None:
        return False
    e, a, b, addend = found
    shift = 0.0 if addend is None else addend.value
    ways = (rounding(a.value).astype(np.float64) @ rounding(b.value) + shift for rounding in (to_nearest, cut_off))
    return any(bool(np.all(np.abs(e.got - way) <= e.ref.error)) for way in ways)


def _product(row: Row, steps: Sequence[JudgedStep]) -> tuple[Evidence, Bounded, Bounded, Bounded | None] | None:
    """The operands of the product that this row judges, and what is added, in float32; None where it judges none."""
    for judged in _steps(row, steps):
        e = Evidence(row, steps)
        if not judged.record.tf32 or e.got.dtype != np.float32 or e.got.shape != e.ref.shape:
            return None
        with suppress(Absent):
            is_own = isinstance(e.operation, Layer) and e.place.startswith(f"{e.operation.kind}.")
            operands = e.operation.products(e.name.part, e) if is_own else None
            return (e, *operands) if operands else None
    return None


def _steps(row: Row, steps: Sequence[JudgedStep]) -> Iterator[JudgedStep]:
    return (s for s in steps if s.record.step == row.step and (row.check, row.tensor) in s.wrong)
