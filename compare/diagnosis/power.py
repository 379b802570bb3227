"""Power: which of the known mistakes this very check would have shown, and why not the others.

Every hypothesis with a formula of its own is computed on the correct run: if it predicts what a correct computation may
give, the mistake would have gone unseen here. Those that cannot be made in this network at all are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from compare.diagnosis.diagnosis import visible
from compare.diagnosis.evidence import Evidence
from compare.judging.judged_step import JudgedStep
from compare.judging.verdict import Power, Row
from compare.operations import mistakes_at
from compare.operations.letters import Absent

STEPS = 2  # the first, and one that has a step before it


def power(rows: Sequence[Row], steps: Sequence[JudgedStep]) -> Power:
    """What the first two steps of a check can show, from its rows and steps."""
    evidence = [Evidence(row, steps) for row in rows if row.step <= STEPS and row.check != "side_effects"]
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
                hidden.setdefault(mistake.cause, reason(mistake.cause, e))
    return Power(tuple(sorted(shown)), {c: why for c, why in hidden.items() if c not in shown})


def reason(cause: str, e: Evidence) -> str:
    """What about this batch and these weights hides the mistake."""
    for words, is_so in REASONS:
        try:
            if is_so(cause, e):
                return words
        except Absent:
            continue
    return "it makes no difference here beyond rounding"


def _biases_are_zero(cause: str, e: Evidence) -> bool:
    biases = [known.value for name, known in e.judged.known.items() if name.endswith(".bias")]
    return "bias" in cause and not any(b.any() for b in biases)


def _is_positive(cause: str, e: Evidence) -> bool:
    return e.place.startswith("relu") and bool((e.x.value > 0).all())


def _has_no_zero(cause: str, e: Evidence) -> bool:
    return cause == "relu-mask-at-zero" and not (e.x.value == 0).any()


def _is_tame(cause: str, e: Evidence) -> bool:
    return cause.startswith("softmax-not-shifted") or cause.startswith("softmax-shifted")


REASONS = (
    ("all biases are zero", _biases_are_zero),
    ("one row", lambda cause, e: e.m == 1),
    ("no pre-activation is exactly 0", _has_no_zero),
    ("no logit is large enough", _is_tame),
    ("no pre-activation is negative", _is_positive),
    ("one output column", lambda cause, e: e.n == 1),
    ("the gradient is zero there", lambda cause, e: not e.ref.value.any()),
)
