"""Origins: where a faulty run first parts from the correct code's run on the same inputs, and by how much.

Found without the checker's reference: a tensor is an origin if all that it is computed from is the same in both runs
and it is not. Its size is the largest |difference| over the computed allowance, at the worst element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.judging.judged_step import roots
from compare.judging.step import Rule, rules
from compare.numbers.allowance import Precision
from compare.recording.record import Record

Array = NDArray[Any]

SURELY_SEEN = 2.0  # the correct run is within one allowance of the exact value, so what is two away from it is off


@dataclass(frozen=True)
class Origin:
    """A tensor at which the fault itself, not its consequences, makes a difference; `size` may be infinite."""

    step: int
    tensor: str
    size: float
    in_place: bool = False  # backward changed it after it had been computed


def origins(faulty: Sequence[Record], correct: Sequence[Record]) -> list[Origin]:
    """In order of execution, the arrays changed by backward last in each step."""
    found: list[Origin] = []
    before: tuple[Record, Record] | None = None
    for wrong, right in zip(faulty, correct, strict=False):
        found += _roots(wrong, right, before)
        for rule in rules(right.network, right.optimizer, right.step, right):
            if rule.name not in wrong or rule.name not in right or _same(wrong[rule.name], right[rule.name]):
                continue
            if all(_same(wrong[s], right[s]) for s in rule.sources if s in wrong and s in right):
                found.append(Origin(right.step, rule.name, _size(wrong[rule.name], right, rule)))
        names = [n for n in wrong.touched if n not in right.touched]
        found += [Origin(right.step, n, np.inf, True) for n in names if not _same(wrong.touched[n], right[n])]
        before = wrong, right
    return found


def _roots(wrong: Record, right: Record, before: tuple[Record, Record] | None) -> list[Origin]:
    """Data and weights, which must be the very ones that were given, or what the step before has left."""
    found = []
    for name in roots(right):
        if name not in wrong or _same(wrong[name], right[name]):
            continue
        head, _, tail = name.partition(".")
        after = f"{head}.new_{tail}"
        if before is None or not tail or not _same(wrong[name], before[0].get(after, wrong[name])):
            found.append(Origin(right.step, name, np.inf))
    return found


def _same(a: Array, b: Array) -> bool:
    alike = a.shape == b.shape and a.dtype == b.dtype
    return alike and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _size(got: Array, right: Record, rule: Rule) -> float:
    """|difference| / allowed at the worst element; infinite for another shape or dtype, what is not finite, a copy."""
    wanted = right[rule.name]
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return np.inf
    if any(s not in right for s in rule.sources):
        return np.inf
    sources = [right[s].astype(np.float64) if right[s].dtype.kind == "f" else right[s] for s in rule.sources]
    with np.errstate(all="ignore"):
        allowance = rule.compute(*sources, p=Precision.of(right.dtype)).allowance
        difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
        ratio = np.where(difference == 0, 0.0, difference / allowance.for_difference(difference))
    return float(np.where(np.isnan(ratio), np.inf, ratio).max(initial=0.0))


def size(found: Sequence[Origin]) -> float:
    """The fault's size: that of its largest origin; 0 if it makes no difference at all."""
    return max((o.size for o in found), default=0.0)


def expected(found: Sequence[Origin]) -> list[Origin]:
    """The places that may be named as the first divergence: the first that is surely seen, and any before it.

    Arrays that are changed in place come together, being one array by several names: each of them will do.
    """
    for i, origin in enumerate(found):
        if origin.size > SURELY_SEEN:
            rest = [o for o in found[i + 1 :] if origin.in_place and o.in_place and o.step == origin.step]
            return [*found[: i + 1], *rest]
    return list(found)
