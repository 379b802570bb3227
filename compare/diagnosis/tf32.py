"""TF32: whether a product that is off in float32 is off because its operands were rounded to 10 bits of mantissa.

A CUDA device with TF32 on multiplies so, and adds in float32. To nearest, an operand is off by 2^-11 of itself; where
the bits are cut off, by 2^-10. That is asked only of a record that says that TF32 was on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from compare.diagnosis.confidence import FITTED, FORMULA
from compare.diagnosis.evidence import Evidence
from compare.judging.judged_step import JudgedStep
from compare.judging.reasons import Diagnosis, Rounded
from compare.judging.verdict import Row
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.operations.letters import Absent

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
    own = [_product(r, steps) for r in off if r.tensor == row.tensor]
    shares = [_share(product) for product in own]
    if row not in off or None in shares:
        return None
    exactly = all(map(_is_rounded, own))
    largest = max(share for share in shares if share is not None)
    others = dict.fromkeys(r.tensor for r in off if _share(_product(r, steps)) is None)
    reason = Rounded(row.ratio, largest, exactly, tuple(others))
    return Diagnosis("tf32", row.layer, FORMULA if exactly else FITTED, row.tensor, reason)


Product = tuple[Evidence, Bounded, Bounded, Bounded | None]  # of these operands, and what is added


def _product(row: Row, steps: Sequence[JudgedStep]) -> Product | None:
    """What this row judges, in float32; None where it judges none."""
    e = Evidence.of(row, steps)
    if e is None or not e.record.tf32 or e.got.dtype != np.float32 or e.got.shape != e.ref.shape:
        return None
    with suppress(Absent):
        operands = e.layer.products(e.name.part, e) if e.layer else None
        return (e, *operands) if operands else None
    return None


def _share(product: Product | None) -> float | None:
    """How much of what TF32 allows beyond float32 the difference takes; None where it is no such product, or more."""
    if product is None:
        return None
    e, a, b, _ = product
    with np.errstate(all="ignore"):
        limit = e.ref.error + allowance(a.value, b.value)
        share = float(np.max(np.abs(e.got - e.ref.value) / limit, initial=0, where=limit > 0))
        inside = bool(np.all(np.abs(e.got - e.ref.value) <= limit))
    return share if inside else None


def _is_rounded(product: Product | None) -> bool:
    """Whether it is, within float32's own bound, the product of operands rounded in one of the two ways."""
    if product is None:
        return False
    e, a, b, addend = product
    shift = 0.0 if addend is None else addend.value
    ways = (rounding(a.value).astype(np.float64) @ rounding(b.value) + shift for rounding in (to_nearest, cut_off))
    return any(bool(np.all(np.abs(e.got - way) <= e.ref.error)) for way in ways)
