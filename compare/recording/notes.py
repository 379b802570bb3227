"""Notes: what was found of somebody's code beside its tensors, as data. compare/report/findings.py has the sentences.

Variables are named as the code names them, tensors by their record names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from numpy.typing import NDArray

from compare.recording.place import Place

Array = NDArray[Any]


# --- conventions ------------------------------------------------------------------------------------------------------


class Summed(Enum):
    """Over what somebody sums, or divides, where the network's text takes the mean over the samples."""

    MEAN = "mean"
    SAMPLES = "samples"
    ELEMENTS = "elements"
    OUTPUTS = "outputs"
    DIVIDED_BY_OUTPUTS = "divided by outputs"
    DIVIDED_TWICE = "divided twice"
    TIMES_SAMPLES = "times samples"


@dataclass(frozen=True)
class LayoutFound:
    """How these variables keep what torch keeps in one way. part: "weights", "bias" or "samples"."""

    part: str
    layout: str
    held: tuple[str, ...]


@dataclass(frozen=True)
class UphillFound:
    """The gradient is the negative loss's, and the step adds it."""


@dataclass(frozen=True)
class FactorFound:
    """The loss, and its gradient with it, is `scale` times the network's: `times` a sum; None where no sum is known.

    loss: where the loss is reported; None where none was seen, so that only the gradients tell.
    """

    scale: float
    times: float
    summed: Summed | None
    loss: Place | None


@dataclass(frozen=True)
class GuardFound:
    """The reported loss has a tiny number inside its logarithms, so that they stay finite."""

    guard: float
    loss: Place


@dataclass(frozen=True)
class BetweenFound:
    """The gradients between the layers are `ratio` times those of the weights, which are `divided` or multiplied
    later."""

    place: Place
    ratio: float
    divided: bool


@dataclass(frozen=True)
class RecoveredFound:
    """Gradients that no variable holds, read off the change of the parameters in these variables."""

    held: tuple[str, ...]


@dataclass(frozen=True)
class RateFound:
    """The weights move by `rate` times the gradient."""

    rate: float


@dataclass(frozen=True)
class PenaltyFound:
    """A penalty of this `amount` (lambda, of lambda / 2 sum W^2 or lambda sum |W|) on these variables.

    where: "both" loss and gradient, the "gradient" alone, as weight decay has it, or the "loss" alone.
    """

    kind: str
    amount: float
    held: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class PenaltyDiffers:
    """The loss has a penalty of another amount than its gradient."""

    tensor: str
    kind: str
    loss: float
    gradient: float


@dataclass(frozen=True)
class MomentumFound:
    """Each change has so much of the change before in it."""

    momentum: float


@dataclass(frozen=True)
class UpdateNotJudged:
    """New values of parameters that moved by no law that is known; their gradients are judged."""

    tensors: tuple[str, ...]


@dataclass(frozen=True)
class OneSample:
    """There is one sample: a sum over the samples cannot be told from a mean."""


@dataclass(frozen=True)
class WithoutBias:
    """Layers, by position, that are computed without the bias that the network's text gives them."""

    layers: tuple[int, ...]


@dataclass(frozen=True)
class SquareWeights:
    """Weights whose layout cannot be told from their shape."""

    held: tuple[str, ...]


# --- what happened ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlsoWrong:
    """Tensors, beside the first divergence, that are wrong on their own inputs, and where they are bound."""

    tensors: tuple[tuple[str, Place], ...]


@dataclass(frozen=True)
class StepNotFound:
    """No training step was found; `why`, in words."""

    why: str


@dataclass(frozen=True)
class DidNotEnd:
    """The code did not run to its end; `how` it ended."""

    how: str


@dataclass(frozen=True)
class RateDependence:
    """The gradient of a tensor depends on the learning rate, so the weights of `layer` are updated too early.

    At these two rates, (before - after) / rate differs by `difference`, and may by `allowed`.
    """

    layer: str
    tensor: str
    rates: tuple[float, float]
    difference: float
    allowed: float


@dataclass(frozen=True)
class NotUpdated:
    """A parameter that begins both steps alike, and of which no gradient was seen."""

    tensor: str
    held: str


@dataclass(frozen=True)
class NeverUpdated:
    """New values of parameters that have a gradient and begin the second step as they began the first."""

    tensors: tuple[str, ...]


@dataclass(frozen=True)
class SecondStep:
    """What is reported is the second step; nothing is wrong in the first."""


@dataclass(frozen=True)
class SecondStepRight:
    """What is reported is the first step; the second is right too."""


# --- side effects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Written:
    """A tensor whose array was written into: what it became, in torch's layout, and where; None if no line shows it."""

    tensor: str
    after: Array
    place: Place | None


@dataclass(frozen=True)
class SharedArray:
    """Two names of a dictionary that stand for one array."""

    one: str
    other: str


Note = (
    LayoutFound
    | UphillFound
    | FactorFound
    | GuardFound
    | BetweenFound
    | RecoveredFound
    | RateFound
    | PenaltyFound
    | PenaltyDiffers
    | MomentumFound
    | UpdateNotJudged
    | OneSample
    | WithoutBias
    | SquareWeights
    | AlsoWrong
    | DidNotEnd
    | StepNotFound
    | RateDependence
    | NotUpdated
    | NeverUpdated
    | SecondStep
    | SecondStepRight
    | Written
    | SharedArray
)
