"""Reasons: the sentence of each reason why a tensor is off. compare/judging/reasons.py says what the reasons mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compare.judging import reasons
from compare.judging.reasons import Diagnosis, Exchange, Factor, Reason
from compare.judging.verdict import OtherDtype
from compare.recording.notes import (
    CorrectionDiffers,
    MomentumDiffers,
    NeverUpdated,
    PenaltyDiffers,
    RateDependence,
    RateDiffers,
    StepAdded,
)
from compare.report.findings import SENTENCES as OF_NOTES
from compare.report.findings import Words, said

FACTORS = {
    Factor.LOSS_UNSEEN: "no loss was reported: if the loss has the same factor this is a convention, else a mistake",
    Factor.IN_BOTH: "the gradient has the same factor, so this is another convention, not a mistake: "
    "name it (reduction, loss)",
}
EXCHANGES = {
    Exchange.SAME_DATA: "the gradient is that of rank 0's {first} rows alone: every rank was given the same data",
    Exchange.SUMMED: "all gradients are {size} x what they should be: summed over the {size} ranks, not averaged",
    Exchange.DIVIDED: "all gradients are 1/{size} of what they should be: divided by the {size} ranks once too often",
    Exchange.AVERAGED: "all gradients are 1/{size} of what they should be: averaged over the {size} ranks, of a loss "
    "that is a sum",
    Exchange.EQUAL_WEIGHTS: "the shards of {rows} rows are averaged with equal weights: each row of a small one counts "
    "more",
    Exchange.MEANS_SUMMED: "the mean gradients of the shards of {rows} rows are summed over the {size} ranks, whatever "
    "their rows",
    Exchange.NONE: "each rank kept the gradient of its own rows: nothing is exchanged between them",
}


def explained(found: Iterable[Diagnosis]) -> list[Diagnosis]:
    """Each with its explanation."""
    return [replace(each, explanation=explanation(each)) for each in found]


def explanation(diagnosis: Diagnosis) -> str:
    """The reason in words, after the tensor's name where the sentence is about it alone."""
    words = said(SENTENCES[type(diagnosis.reason)], diagnosis.reason)
    return f"{diagnosis.tensor}: {words}" if isinstance(diagnosis.reason, OF_ONE_TENSOR) else words


def _made(reason: reasons.Made) -> str:
    words = reason.mistake.words.format(reason.parameter)
    factor = f"; {FACTORS[reason.factor]}" if reason.factor else ""
    return (f"in {reason.inside}, " if reason.inside else "") + words + factor


def _rounded(reason: reasons.Rounded) -> str:
    words = (
        "TF32 was on: the operands of the product were rounded to 10 bits of mantissa, float32 has 23. The difference "
        f"is {reason.ratio:.3g} times what float32 allows, and {reason.share:.3g} times what TF32 does"
    )
    if reason.exactly:
        words += "; it is the product of the rounded operands, within float32"
    if reason.others:
        words += f". It does not explain {', '.join(reason.others)}: check again with TF32 off"
    return words


def _odd(reason: reasons.Odd) -> str:
    odd = reason.oddity
    if not isinstance(odd, OtherDtype):
        return f"{'it is transposed' if odd.is_transposed else 'its shape is wrong'}: {odd}"
    if odd.is_finer:
        why = f"an array or a NumPy number in {odd.found} promotes it"
    else:
        why = f"it is cast to {odd.found}, or made without the dtype of what it is computed from"
    return f"it is {odd.found}, and all that it is computed from is {odd.wanted}: {why}"


def _other_weights(reason: reasons.OtherWeights) -> str:
    since = "from the start" if reason.step == 1 else f"since the update of step {reason.step - 1}"
    other, first = reason.checksums
    sums = f"checksums {other:08x} and {first:08x}"
    return f"{since} rank {reason.rank} has other weights than rank 0 ({sums}): each trains a network of its own"


def _reference_wrong(reason: reasons.ReferenceWrong) -> str:
    how = "the formula written out once more gives the candidate's value"
    if reason.quotient is not None:
        quotient = f"{reason.quotient:.9g} +- {reason.error:.1g}"
        how = f"a difference quotient gives {quotient}, which is the candidate's value"
    return f"{how}: the reference is wrong"


def _unknown(reason: reasons.Unknown) -> str:
    return f"none of {reason.known} known causes explains it" if reason.known else "none of the known causes fits"


def _exchanged(reason: reasons.Exchanged) -> str:
    rows = " and ".join(map(str, reason.rows))
    return EXCHANGES[reason.how].format(size=len(reason.rows), first=reason.rows[0], rows=rows)


def _penalty_differs(note: PenaltyDiffers) -> str:
    if note.declared is None:
        return f"the loss has a penalty of {note.loss:g} {note.kind}, this gradient one of {note.gradient:g}"
    has = f"the loss one of {note.loss:g}" if note.tensor == "loss" else f"this gradient one of {note.gradient:g}"
    return f"the network's text has a penalty of {note.declared:g} {note.kind}, {has}"


def _rate_differs(note: RateDiffers) -> str:
    return f"the gradient is right, and the step takes {note.rate:g} times it; the others take {note.of_others:g} times"


def _momentum_differs(note: MomentumDiffers) -> str:
    own, others = f"{note.momentum:g}", f"{note.of_others:g}"
    return f"the gradient is right, and the momentum of its step is {own}, where the others have {others}"


def _correction_differs(note: CorrectionDiffers) -> str:
    parts = zip(("first", "second"), note.counts, note.betas, (1, 2), strict=True)
    wrong = [_corrected(*part) for part in parts if part[1] != note.step or part[2] != part[3]]
    return f"in step {note.step}, {' and '.join(wrong)}"


def _corrected(moment: str, count: int, beta: int, own: int) -> str:
    if not count:
        return f"the {moment} moment is not corrected for its bias"
    return f"the {moment} moment is corrected by 1 - beta{beta}^{count}, not by 1 - beta{own}^t"


OF_ONE_TENSOR = (
    reasons.Made, reasons.ReferenceWrong, reasons.Rounded, reasons.Odd,
    CorrectionDiffers, MomentumDiffers, NeverUpdated, PenaltyDiffers, RateDiffers, StepAdded,
)  # fmt: skip
SENTENCES: Mapping[type[Reason], Words] = {
    reasons.Made: _made,
    reasons.ReferenceWrong: _reference_wrong,
    reasons.Rounded: _rounded,
    reasons.Odd: _odd,
    reasons.OtherWeights: _other_weights,
    reasons.Exchanged: _exchanged,
    reasons.Unknown: _unknown,
    PenaltyDiffers: _penalty_differs,
    StepAdded: "the gradient is right, and the step along it is added, not subtracted",
    RateDiffers: _rate_differs,
    MomentumDiffers: _momentum_differs,
    CorrectionDiffers: _correction_differs,
    NeverUpdated: "it is never updated: the second step begins with the same values",
    RateDependence: OF_NOTES[RateDependence],
}
