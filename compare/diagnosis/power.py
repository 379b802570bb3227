"""Power: which of the known mistakes this very check would have shown, and why not the others.

Every mistake with a formula of its own is computed on the correct run: if it predicts what a correct computation may
give, the mistake would have gone unseen here. Those that cannot be made in this network at all are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from compare.diagnosis.diagnosis import visible
from compare.diagnosis.evidence import Evidence
from compare.judging.judged_step import JudgedStep
from compare.judging.shapes import ShapeMismatch
from compare.judging.verdict import Power, Row
from compare.operations import mistakes_at
from compare.operations.letters import Absent
from compare.operations.mistake import Mistake, Unseen

STEPS = 2  # the first, and one that has a step before it


def power(rows: Sequence[Row], steps: Sequence[JudgedStep]) -> Power:
    """What the first two steps of a check can show, from its rows and steps."""
    evidence = list(_evidence([row for row in rows if row.step <= STEPS and row.check != "side_effects"], steps))
    shown: set[str] = set()
    hidden: dict[str, str] = {}
    for e in evidence:
        for mistake in mistakes_at(e.place, e):
            if mistake.rank or mistake.cause in shown:
                continue
            seen = visible(mistake, e)
            if any(seen):
                shown.add(mistake.cause)
            elif seen:
                hidden.setdefault(mistake.cause, reason(mistake, e))
    return Power(tuple(sorted(shown)), {c: why for c, why in hidden.items() if c not in shown})


def _evidence(rows: Sequence[Row], steps: Sequence[JudgedStep]) -> Iterator[Evidence]:
    """Of the rows whose tensors could be judged."""
    for row in rows:
        with suppress(Absent, ShapeMismatch):
            yield Evidence(row, steps)


def reason(mistake: Mistake, e: Evidence) -> str:
    """What about this batch and these weights hides the mistake."""
    own = [e.layer.unseen] if e.layer else []
    for why in (mistake.unseen, ONE_ROW, *own, ONE_COLUMN, NOTHING):
        with suppress(Absent):
            if why and why.here(e):
                return why.words
    return "it makes no difference here beyond rounding"


ONE_ROW = Unseen("one row", lambda e: e.m == 1)
ONE_COLUMN = Unseen("one output column", lambda e: e.n == 1)
NOTHING = Unseen("the gradient is zero there", lambda e: not e.ref.value.any())
