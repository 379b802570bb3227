"""Floors: the smallest size of each graded fault that is still seen, by bisection."""

from __future__ import annotations

import math
from typing import Any

from compare.checking import check_records
from compare.measuring.faults import Fault, graded
from compare.measuring.trust import origins
from compare.measuring.trust.settings import Setting, adapted, case

STEPS = 15  # the last two sizes are then within a factor of 1.01
LARGEST = {"one-element-off-by-ulp": 1e9}
DECADES = {"log-epsilon": 60}  # an epsilon counts against the smallest probability


def floor(kind: str, setting: Setting, dtype: str, seed: int) -> dict[str, Any]:
    """{"seen": size, "seen_multiple": ..., "unseen": size, "unseen_multiple": ...}; {} where the largest is not seen.

    The multiple is that of the allowance; nothing is unseen where the smallest size tried is seen.
    """
    high = math.log10(LARGEST.get(kind, 1.0))
    low = high - DECADES.get(kind, 20)
    found = _try(kind, setting, dtype, seed, 10**high)
    if found is None or not found[0]:
        return {}
    floor_ = {"seen": 10**high, "seen_multiple": found[1]}
    for _ in range(STEPS):
        middle = (high + low) / 2
        found = _try(kind, setting, dtype, seed, 10**middle) or (False, 0.0)
        if found[0]:
            high = middle
            floor_ |= {"seen": 10**middle, "seen_multiple": found[1]}
        else:
            low = middle
            floor_ |= {"unseen": 10**middle, "unseen_multiple": found[1]}
    return floor_


def _try(kind: str, setting: Setting, dtype: str, seed: int, size: float) -> tuple[bool, float] | None:
    """(whether it is seen, its size as a multiple of the allowance); None where it cannot be planted."""
    fault: Fault | None = adapted(graded(kind, size), setting)
    if fault is None:
        return None
    correct = case(fault, setting, dtype, seed)
    given = correct.given
    right = correct.record()
    with fault.planted():
        records = case(fault, setting, dtype, seed).record()
    report = check_records(records, given)
    return report.verdict == "mismatch", origins.size(origins.origins(records, right))
