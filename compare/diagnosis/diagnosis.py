"""Why: which known mistake explains a tensor that is off.

A mistake is named only if what it predicts is what the candidate computed, within the mistake's own error bound,
and a correct computation would not pass for it. It must hold in every step in which the tensor is off, and must
not have shown in a step in which it was right, so that batches of different sizes tell a missing mean from a factor
that happens to equal it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.diagnosis import tf32
from compare.diagnosis.across import CANNOT_BE_MADE, carried
from compare.diagnosis.arbiter import reference_wrong, written_out
from compare.diagnosis.confidence import FORMULA, ODD, confidence
from compare.diagnosis.evidence import Evidence
from compare.judging.judged_step import JudgedStep
from compare.judging.reasons import Diagnosis, Factor, Made, Odd, ReferenceWrong, Unknown
from compare.judging.shapes import OtherShape
from compare.judging.verdict import Oddity, Row
from compare.numbers.bounded import Bounded
from compare.operations import causes, mistakes_at
from compare.operations.mistake import ANYWHERE, Mistake

DESCRIPTION = 2  # the last of these ranks


@dataclass(frozen=True)
class Explanation:
    """A mistake that fits, its parameter, in which share of the wrong steps it does, and how much that proves."""

    mistake: Mistake
    parameter: str
    steps: float
    rank: int


def diagnose(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Diagnosis]:
    """The best explanation and the runner-up for the first divergence, `row`; "unknown" if no mistake fits."""
    if reason := _reference_wrong(row, steps):
        return [Diagnosis("reference-wrong", row.layer, FORMULA, row.tensor, reason)]
    rounded = tf32.diagnose(row, rows, steps)
    if rounded and rounded.confidence >= FORMULA:
        return [rounded]
    found = explanations(row, rows, steps)
    if not found:
        others = [rounded] if rounded else [_odd(row, row.oddity)] if row.oddity else _across(row, rows, steps)
        return others or [Diagnosis("unknown", row.layer, 0.0, row.tensor, Unknown(len(causes())))]
    best, *second = [_diagnosis(e, found, row) for e in _distinct(found)[:2]]
    return [*_convention(row, best, rows, steps), best, *([rounded] if rounded else []), *second][:2]


def _across(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Diagnosis]:
    """A mistake in a tensor that was not handed in, which explains the row in every step in which it is off."""
    evidence = _evidence(row, rows, steps)
    if row.check != "spanning" or not evidence or evidence[0].row != row:
        return []
    fitting = []
    for e in evidence:
        with np.errstate(all="ignore"):
            found = [c for c in carried(e.row, steps) if fits(e.got, c.guess) and not fits(e.ref.value, c.guess)]
        fitting.append({c.key: c for c in found})
    agreed = [c for key, c in fitting[0].items() if all(key in f for f in fitting)]
    causes = {c.made.mistake.cause: c for c in reversed(agreed)}
    sure = round(FORMULA / len(causes), 3) if causes else 0.0
    return [Diagnosis(cause, c.layer, sure, row.tensor, c.made) for cause, c in reversed(causes.items())][:2]


def _evidence(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Evidence]:
    """Of the tensor in every step in which it is off, as far as its arrays were kept."""
    return [e for r in _alike(row, rows, "off") if (e := Evidence.of(r, steps))]


def _alike(row: Row, rows: Sequence[Row], status: str) -> list[Row]:
    """The same tensor by the same check, in any step, with this status."""
    return [r for r in rows if r.tensor == row.tensor and r.check == row.check and r.status == status]


FACTORS = ("mean-missing", "mean-doubled", "wrong-mean", "factor-two", "factor-half", "sign")


def _convention(row: Row, best: Diagnosis, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Diagnosis]:
    """A factor that the reported loss and its gradient share is a convention; in the gradient alone it is a mistake."""
    if best.cause not in FACTORS or row.layer != "loss":
        return []
    assert isinstance(best.reason, Made)
    if row.tensor != "loss":
        if any(r.tensor == "loss" and r.step == row.step for r in rows):
            return []
        return [replace(best, confidence=0.5, reason=replace(best.reason, factor=Factor.LOSS_UNSEEN))]
    gradient = next((r for r in rows if r.layer == "loss" and r.kind == "gradient" and r.step == row.step), None)
    if gradient is None or gradient.status != "off":
        return []
    if best.cause not in {e.mistake.cause for e in explanations(gradient, rows, steps)}:
        return []
    reason = replace(best.reason, factor=Factor.IN_BOTH)
    return [replace(best, cause=f"convention: {best.cause}", reason=reason)]


def _reference_wrong(row: Row, steps: Sequence[JudgedStep]) -> ReferenceWrong | None:
    """Why it is the reference that is wrong, if it is."""
    e = Evidence.of(row, steps)
    if e is None or row.check not in ("isolated", "update") or not row.ratio or e.got.shape != e.ref.shape:
        return None
    if row.kind == "gradient":
        return None if e.place == "returned" else reference_wrong(e)
    with np.errstate(all="ignore"):
        second = written_out(e)
    if second is None or not np.isfinite(e.got).all() or not fits(e.got, second) or fits(e.ref.value, second):
        return None
    return ReferenceWrong()


def explanations(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Explanation]:
    """All hypotheses that fit this row, the best first."""
    evidence = _evidence(row, rows, steps)
    if not evidence:
        return []
    sound = [Evidence(r, steps) for r in _alike(row, rows, "ok")]
    here = mistakes_at(evidence[0].place, evidence[0])
    found = [e for h in here if (e := _explanation(h, evidence, sound)) is not None]
    return sorted(found, key=lambda e: (-e.steps, e.rank, e.mistake.place == ANYWHERE))


def _explanation(mistake: Mistake, evidence: Sequence[Evidence], sound: Sequence[Evidence]) -> Explanation | None:
    """With the parameter that fits in most steps, the first step among them."""
    fitting = [_fitting(mistake, e) for e in evidence]
    possible = [parameter for parameter in fitting[0] if not _contradicted(mistake, parameter, sound)]
    if not possible:
        return None
    count, parameter = max(((sum(p in f for f in fitting), p) for p in possible), key=lambda pair: pair[0])
    if not mistake.parametric:
        return Explanation(mistake, parameter, sum(map(bool, fitting)) / len(fitting), mistake.rank)
    # One number proves nothing about a fitted parameter, and little about one from a list: a second step must agree.
    unproven = evidence[0].got.size == 1 and count < 2
    if unproven and not mistake.listed:
        return None
    return Explanation(mistake, parameter, count / len(fitting), DESCRIPTION if unproven else mistake.rank)


def visible(mistake: Mistake, e: Evidence, parameter: str | None = None) -> list[bool]:
    """For each of its guesses, or those with this parameter, whether it would be seen; empty if it cannot be made."""
    try:
        with np.errstate(all="ignore"):
            guesses = [guess for guess, own in mistake.guesses(e) if parameter in (None, own)]
    except CANNOT_BE_MADE:
        return []
    return [g.shape != e.ref.shape or not fits(e.ref.value, g, e.ref.error) for g in guesses]


def _contradicted(mistake: Mistake, parameter: str, sound: Sequence[Evidence]) -> bool:
    """Whether the mistake would have been seen in a step in which the tensor was right."""
    seen = [visible(mistake, e, parameter if mistake.listed else None) for e in sound if mistake.rank < 1]
    return any(each and all(each) for each in seen)


def _fitting(mistake: Mistake, e: Evidence) -> list[str]:
    """The parameters of those of its guesses that are what the candidate computed."""
    if not (np.isfinite(e.got).all() or mistake.overflows):
        return []
    found = []
    with suppress(*CANNOT_BE_MADE), np.errstate(all="ignore"):
        for guess, parameter in mistake.guesses(e):
            if fits(e.got, guess) and not fits(e.ref.value, guess, e.ref.error):
                found.append(parameter)
    return found


def fits(a: Any, guess: Bounded, error: Any = 0.0) -> bool:
    """Whether a lies within the guess's bound everywhere, NaN and infinity included; shapes are never broadcast."""
    if a.shape != guess.shape:
        return False
    a = np.asarray(a, dtype=np.float64)
    same = (np.isnan(a) & np.isnan(guess.value)) | (a == guess.value)
    return bool(np.all(same | (np.abs(a - guess.value) <= guess.error + error)))


def _distinct(found: Sequence[Explanation]) -> list[Explanation]:
    """The first of each cause."""
    by_cause: dict[str, Explanation] = {}
    for e in found:
        by_cause.setdefault(e.mistake.cause, e)
    return list(by_cause.values())


def _diagnosis(e: Explanation, found: Sequence[Explanation], row: Row) -> Diagnosis:
    alike = {f.mistake.cause for f in found if (f.steps, f.rank) == (e.steps, e.rank)}
    sure = confidence(e.rank, e.steps, len(alike))
    return Diagnosis(e.mistake.cause, row.layer, sure, row.tensor, Made(e.mistake, e.parameter))


def _odd(row: Row, oddity: Oddity) -> Diagnosis:
    cause = "dtype"
    if isinstance(oddity, OtherShape):
        cause = "transposed" if oddity.is_transposed else "wrong-shape"
    return Diagnosis(cause, row.layer, ODD, row.tensor, Odd(oddity))
