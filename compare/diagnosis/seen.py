"""Seen: causes that were read off somebody's code as it ran: no formula has to be tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compare.diagnosis.confidence import SEEN
from compare.judging.reasons import Diagnosis
from compare.judging.verdict import Row
from compare.recording.notes import (
    CorrectionDiffers,
    MomentumDiffers,
    NeverUpdated,
    Note,
    PenaltyDiffers,
    RateDiffers,
    StepAdded,
)


def seen(first: Row, notes: Sequence[Note]) -> list[Diagnosis]:
    """Why the first divergence is off, where a note is about it; nothing where none is."""
    return list(_seen(first, notes))[:1]


def _seen(first: Row, notes: Sequence[Note]) -> Iterator[Diagnosis]:
    for note in notes:
        if isinstance(note, NeverUpdated) and first.tensor in note.tensors:
            yield Diagnosis("update-missing", first.layer, SEEN, first.tensor, note)
        if isinstance(note, StepAdded) and first.tensor in note.tensors:
            yield Diagnosis("update-sign", first.layer, SEEN, first.tensor, note)
        if isinstance(note, PenaltyDiffers) and first.tensor == note.tensor:
            yield Diagnosis("weight-penalty", first.layer, SEEN, first.tensor, note)
        if isinstance(note, RateDiffers) and first.tensor == note.tensor:
            yield Diagnosis("wrong-learning-rate", first.layer, SEEN, first.tensor, note)
        if isinstance(note, MomentumDiffers) and first.tensor == note.tensor:
            yield Diagnosis("other-beta", first.layer, SEEN, first.tensor, note)
        if isinstance(note, CorrectionDiffers) and first.tensor == note.tensor:
            yield Diagnosis(correction(note), first.layer, SEEN, first.tensor, note)


def correction(note: CorrectionDiffers) -> str:
    """The cause by which a wrong correction of the moments is known."""
    if 0 in note.counts:
        return "bias-correction-missing"
    return "bias-correction-off-by-one" if note.betas == (1, 2) else "betas-swapped"
