"""Why: which known mistake explains a tensor that is off.

A mistake is named only if what it predicts is what the candidate computed, within the mistake's own error bound,
and a correct computation would not pass for it. It must hold in every step in which the tensor is off, and must
not have shown in a step in which it was right, so that batches of different sizes tell a missing mean from a factor
that happens to equal it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.diagnosis import tf32
from compare.diagnosis.across import CANNOT_BE_MADE, carried
from compare.diagnosis.arbiter import rule, written_out
from compare.diagnosis.confidence import FORMULA, confidence
from compare.diagnosis.evidence import Evidence
from compare.judging.judged_step import JudgedStep
from compare.judging.verdict import Diagnosis, Oddity, OtherDtype, Row
from compare.numbers.bounded import Bounded
from compare.operations import causes, mistakes_at
from compare.operations.mistake import ANYWHERE, Mistake

DESCRIPTION = 2  # the last of these ranks


@dataclass(frozen=True)
class Explanation:
    """A mistake that fits, its words, in which share of the steps that are off it does, and how much that proves."""

    mistake: Mistake
    words: str
    steps: float
    rank: int


def diagnose(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Diagnosis]:
    """The best explanation and the runner-up for the first divergence, `row`; "unknown" if no mistake fits."""
    if why := _reference_wrong(row, steps):
        return [Diagnosis("reference-wrong", row.layer, FORMULA, f"{row.tensor}: {why}")]
    rounded = tf32.diagnose(row, rows, steps)
    if rounded and rounded.confidence >= FORMULA:
        return [rounded]
    found = explanations(row, rows, steps)
    if rounded and not found:
        return [rounded]
    if not found and row.oddity:
        return [_odd(row, row.oddity)]
    if not found and (across := _across(row, rows, steps)):
        return across
    if not found:
        return [Diagnosis("unknown", row.layer, 0.0, f"none of {len(causes())} known causes explains it")]
    diagnoses = [*(_diagnosis(e, found, row) for e in _distinct(found)[:1]), *([rounded] if rounded else [])]
    diagnoses += [_diagnosis(e, found, row) for e in _distinct(found)[1:2]]
    return [*_convention(row, diagnoses[0], rows, steps), *diagnoses][:2]


def _across(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Diagnosis]:
    """A mistake in a tensor that was not handed in, which explains the row in every step in which it is off."""
    evidence = [Evidence(r, steps) for r in _alike(row, rows, "off") if _has_evidence(r, steps)]
    if row.check != "spanning" or not evidence or evidence[0].row != row:
        return []
    fitting = []
    for e in evidence:
        with np.errstate(all="ignore"):
            found = [c for c in carried(e.row, steps) if fits(e.got, c.guess) and not fits(e.ref.value, c.guess)]
        fitting.append({(c.mistake.cause, c.absent, c.words): c for c in found})
    agreed = [c for key, c in fitting[0].items() if all(key in f for f in fitting)]
    causes = {c.mistake.cause: c for c in reversed(agreed)}
    return [
        Diagnosis(cause, c.layer, round(FORMULA / len(causes), 3), f"{row.tensor}: in {c.absent}, {c.words}")
        for cause, c in reversed(causes.items())
    ][:2]


def _alike(row: Row, rows: Sequence[Row], status: str) -> list[Row]:
    """The same tensor by the same check, in any step, with this status."""
    return [r for r in rows if r.tensor == row.tensor and r.check == row.check and r.status == status]


FACTORS = ("mean-missing", "mean-doubled", "wrong-mean", "factor-two", "factor-half", "sign")


def _convention(row: Row, best: Diagnosis, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Diagnosis]:
    """A factor that the reported loss and its gradient share is a convention; in the gradient alone it is a mistake."""
    if best.cause not in FACTORS or row.layer != "loss":
        return []
    if row.tensor != "loss":
        reported = any(r.tensor == "loss" and r.step == row.step for r in rows)
        if reported:
            return []
        words = "no loss was reported: if the loss has the same factor this is a convention, else a mistake"
        return [Diagnosis(best.cause, row.layer, 0.5, f"{best.explanation}; {words}")]
    gradient = next((r for r in rows if r.layer == "loss" and r.kind == "gradient" and r.step == row.step), None)
    if gradient is None or gradient.status != "off":
        return []
    alike = {e.mistake.cause for e in explanations(gradient, rows, steps)}
    if best.cause not in alike:
        return []
    words = "the gradient has the same factor, so this is another convention, not a mistake: name it (reduction, loss)"
    return [Diagnosis(f"convention: {best.cause}", row.layer, best.confidence, f"{best.explanation}; {words}")]


def _reference_wrong(row: Row, steps: Sequence[JudgedStep]) -> str | None:
    """Why it is the reference that is wrong, if it is."""
    if row.check not in ("isolated", "update") or not row.ratio or not _has_evidence(row, steps):
        return None
    e = Evidence(row, steps)
    if e.got.shape != e.ref.shape:
        return None
    if row.kind == "gradient":
        ruling = rule(e)
        return str(ruling) if ruling and ruling.right == "candidate" else None
    with np.errstate(all="ignore"):
        second = written_out(e)
    if second is None or not np.isfinite(e.got).all() or not fits(e.got, second) or fits(e.ref.value, second):
        return None
    return "the formula written out once more gives the candidate's value: the reference is wrong"


def explanations(row: Row, rows: Sequence[Row], steps: Sequence[JudgedStep]) -> list[Explanation]:
    """All hypotheses that fit this row, the best first."""
    evidence = [Evidence(r, steps) for r in _alike(row, rows, "off") if _has_evidence(r, steps)]
    if not evidence:
        return []
    sound = [Evidence(r, steps) for r in _alike(row, rows, "ok")]
    here = mistakes_at(evidence[0].place, evidence[0])
    found = [e for h in here if (e := _explanation(h, evidence, sound)) is not None]
    return sorted(found, key=lambda e: (-e.steps, e.rank, e.mistake.place == ANYWHERE))


def _explanation(
    mistake: Mistake, evidence: Sequence[Evidence], sound: Sequence[Evidence]
) -> Explanation | None:
    """With the words that fit in most steps, the first step among them."""
    fitting = [_fitting(mistake, e) for e in evidence]
    possible = [words for words in fitting[0] if not _contradicted(mistake, words, sound)]
    if not possible:
        return None
    count, words = max(((sum(w in f for f in fitting), w) for w in possible), key=lambda pair: pair[0])
    if not mistake.parametric:
        return Explanation(mistake, words, sum(map(bool, fitting)) / len(fitting), mistake.rank)
    # One number proves nothing about a fitted parameter, and little about one from a list: a second step must agree.
    unproven = evidence[0].got.size == 1 and count < 2
    if unproven and not mistake.listed:
        return None
    return Explanation(mistake, words, count / len(fitting), DESCRIPTION if unproven else mistake.rank)


def visible(mistake: Mistake, e: Evidence, words: str = "") -> list[bool]:
    """For each of its guesses, or those in these words, whether it would be seen; empty if it cannot be made there."""
    try:
        with np.errstate(all="ignore"):
            guesses = [guess for guess, said in mistake.guesses(e) if words in ("", said)]
    except CANNOT_BE_MADE:
        return []
    return [g.shape != e.ref.shape or not fits(e.ref.value, g, e.ref.error) for g in guesses]


def _contradicted(mistake: Mistake, words: str, sound: Sequence[Evidence]) -> bool:
    """Whether the mistake would have been seen in a step in which the tensor was right."""
    seen = [visible(mistake, e, words if mistake.listed else "") for e in sound if mistake.rank < 1]
    return any(each and all(each) for each in seen)


def _has_evidence(row: Row, steps: Sequence[JudgedStep]) -> bool:
    return any(s.record.step == row.step and (row.check, row.tensor) in s.wrong for s in steps)


def _fitting(mistake: Mistake, e: Evidence) -> list[str]:
    """The words of those of its guesses that are what the candidate computed."""
    if not (np.isfinite(e.got).all() or mistake.overflows):
        return []
    found = []
    with suppress(*CANNOT_BE_MADE), np.errstate(all="ignore"):
        for guess, words in mistake.guesses(e):
            if fits(e.got, guess) and not fits(e.ref.value, guess, e.ref.error):
                found.append(words)
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
    return Diagnosis(e.mistake.cause, row.layer, sure, f"{row.tensor}: {e.words}")


def _odd(row: Row, oddity: Oddity) -> Diagnosis:
    if isinstance(oddity, OtherDtype):
        return _in_another_dtype(row, oddity)
    is_transposed = oddity.expected == oddity.found[::-1]
    cause, words = ("transposed", "it is transposed") if is_transposed else ("wrong-shape", "its shape is wrong")
    return Diagnosis(cause, row.layer, 0.9, f"{row.tensor}: {words}: {oddity}")


def _in_another_dtype(row: Row, oddity: OtherDtype) -> Diagnosis:
    if oddity.is_finer:
        why = f"an array or a NumPy number in {oddity.found} promotes it"
    else:
        why = f"it is cast to {oddity.found}, or made without the dtype of what it is computed from"
    words = f"it is {oddity.found}, and all that it is computed from is {oddity.wanted}: {why}"
    return Diagnosis("dtype", row.layer, 0.9, f"{row.tensor}: {words}")
