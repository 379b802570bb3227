"""Every reason why a tensor is off has its sentence, and each sentence is about that tensor."""

from __future__ import annotations

from typing import get_args

import pytest

from compare.judging.reasons import (
    Diagnosis,
    Exchange,
    Exchanged,
    Odd,
    OtherWeights,
    Reason,
    ReferenceWrong,
    Rounded,
    Unknown,
)
from compare.judging.shapes import OtherShape
from compare.recording.notes import CorrectionDiffers, MomentumDiffers, NeverUpdated, RateDiffers, StepAdded
from compare.report.reasons import EXCHANGES, SENTENCES, explained, explanation

WORDS = [
    (
        ReferenceWrong(0.5, 1e-9),
        "0.weight: a difference quotient gives 0.5 +- 1e-09, which is the candidate's value: the reference is wrong",
    ),
    (
        ReferenceWrong(),
        "0.weight: the formula written out once more gives the candidate's value: the reference is wrong",
    ),
    (Odd(OtherShape((2, 3), (3, 2))), "0.weight: it is transposed: shape (2, 3), expected (3, 2)"),
    (Odd(OtherShape((2, 3), (3, 3))), "0.weight: its shape is wrong: shape (2, 3), expected (3, 3)"),
    (NeverUpdated(("0.weight",)), "0.weight: it is never updated: the second step begins with the same values"),
    (
        StepAdded(("0.weight",)),
        "0.weight: the gradient is right, and the step along it is added, not subtracted",
    ),
    (
        RateDiffers("0.weight", 0.2, 0.1),
        "0.weight: the gradient is right, and the step takes 0.2 times it; the others take 0.1 times",
    ),
    (
        MomentumDiffers("0.weight", -0.9, 0.9),
        "0.weight: the gradient is right, and the momentum of its step is -0.9, where the others have 0.9",
    ),
    (
        CorrectionDiffers("0.weight", 3, (3, 0), (1, 2)),
        "0.weight: in step 3, the second moment is not corrected for its bias",
    ),
    (
        CorrectionDiffers("0.weight", 1, (2, 2), (1, 2)),
        "0.weight: in step 1, the first moment is corrected by 1 - beta1^2, not by 1 - beta1^t "
        "and the second moment is corrected by 1 - beta2^2, not by 1 - beta2^t",
    ),
    (
        CorrectionDiffers("0.weight", 2, (2, 2), (1, 1)),
        "0.weight: in step 2, the second moment is corrected by 1 - beta1^2, not by 1 - beta2^t",
    ),
    (Unknown(7), "none of 7 known causes explains it"),
    (Unknown(), "none of the known causes fits"),
    (
        OtherWeights(1, 3, (10, 255)),
        "since the update of step 2 rank 1 has other weights than rank 0 (checksums 0000000a and 000000ff): "
        "each trains a network of its own",
    ),
    (
        Exchanged(Exchange.MEANS_SUMMED, (4, 3)),
        "the mean gradients of the shards of 4 and 3 rows are summed over the 2 ranks, whatever their rows",
    ),
    (
        Rounded(2.5, 0.25, True, ("2.output",)),
        "0.weight: TF32 was on: the operands of the product were rounded to 10 bits of mantissa, float32 has 23. The "
        "difference is 2.5 times what float32 allows, and 0.25 times what TF32 does; it is the product of the rounded "
        "operands, within float32. It does not explain 2.output: check again with TF32 off",
    ),
]


@pytest.mark.parametrize(("reason", "words"), WORDS, ids=[type(reason).__name__ for reason, _ in WORDS])
def test_a_reason_in_words(reason: Reason, words: str) -> None:
    found = Diagnosis("cause", "0", 0.5, "0.weight", reason)
    assert explanation(found) == words
    assert [each.explanation for each in explained([found])] == [words]


def test_every_reason_has_its_sentence() -> None:
    assert set(get_args(Reason)) == set(SENTENCES)
    assert set(Exchange) == set(EXCHANGES)
