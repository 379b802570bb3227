"""Reasons: why a tensor is off, as data. compare/report/reasons.py has the sentences."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from compare.judging.verdict import Oddity
from compare.operations.codes import code_of
from compare.operations.mistake import Mistake
from compare.recording.notes import (
    CorrectionDiffers,
    MomentumDiffers,
    NeverUpdated,
    PenaltyDiffers,
    RateDependence,
    RateDiffers,
    StepAdded,
)


@dataclass(frozen=True)
class Made:
    """A known mistake with what was fitted; `inside` the absent tensor in which it was made, "" for the tensor itself.

    factor: whether the loss has the same factor, where the mistake is a mere factor, so that this may be a convention.
    """

    mistake: Mistake
    parameter: str = ""
    inside: str = ""
    factor: Factor | None = None


class Factor(Enum):
    """Whether a factor of the loss's gradient is also in the loss."""

    IN_BOTH = "in both"
    LOSS_UNSEEN = "loss unseen"


@dataclass(frozen=True)
class ReferenceWrong:
    """The candidate is right: by a difference quotient and its error, or by the formula written out once more."""

    quotient: float | None = None
    error: float = 0.0


@dataclass(frozen=True)
class Rounded:
    """TF32 rounded the operands: the difference over what float32 allows, and over what TF32 does.

    exactly: it is the product of the rounded operands. others: what is off, too, and is not explained so.
    """

    ratio: float
    share: float
    exactly: bool
    others: tuple[str, ...]


@dataclass(frozen=True)
class Odd:
    """Its shape or dtype makes it wrong whatever its values."""

    oddity: Oddity


@dataclass(frozen=True)
class OtherWeights:
    """A rank has other weights than rank 0 since a step began."""

    rank: int
    step: int
    checksums: tuple[int, int]


class Exchange(Enum):
    """What several ranks did with the gradients of their own rows, instead of what they should: a cause, and how."""

    SAME_DATA = "same-data-on-every-rank", ""
    SUMMED = "gradients-summed-over-ranks", "not averaged"
    DIVIDED = "gradients-averaged-over-ranks", "once too often"
    AVERAGED = "gradients-averaged-over-ranks", "of a loss that is a sum"
    EQUAL_WEIGHTS = "shards-averaged-with-equal-weights", ""
    MEANS_SUMMED = "gradients-summed-over-ranks", "means over shards"
    NONE = "gradients-not-exchanged", ""


@dataclass(frozen=True)
class Exchanged:
    """How, and each rank's rows."""

    how: Exchange
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Unknown:
    """None of so many known causes explains it; None where not all of them were tried."""

    known: int | None = None


Reason = (
    Made
    | ReferenceWrong
    | Rounded
    | Odd
    | OtherWeights
    | Exchanged
    | Unknown
    | CorrectionDiffers
    | MomentumDiffers
    | NeverUpdated
    | PenaltyDiffers
    | RateDependence
    | RateDiffers
    | StepAdded
)


@dataclass(frozen=True)
class Diagnosis:
    """A cause, of which tensor of which layer, how sure, and why; the report puts the reason in words, once."""

    cause: str
    layer: str
    confidence: float
    tensor: str
    reason: Reason
    explanation: str = ""

    @property
    def code(self) -> str:
        """The short name of its cause, "B017", by which it is looked up; "" where none was found."""
        return code_of(self.cause)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as the JSON schema has it."""
        return {name: getattr(self, name) for name in ("cause", "code", "layer", "confidence", "explanation")}
