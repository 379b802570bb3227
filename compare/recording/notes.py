"""Notes: what was found of somebody's code beside its tensors, as data. compare/report/findings.py has the sentences.

Variables are named as the code names them, tensors by their record names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from compare.numbers.array import Array
from compare.recording.place import Place


class Note:
    """What one of the classes below says."""


@dataclass(frozen=True)
class NetworkRead(Note):
    """Nobody said what is to be computed: the network was read off the code."""


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
class LayoutFound(Note):
    """How these variables keep what torch keeps in one way. part: "weights", "bias" or "samples"."""

    part: str
    layout: str
    held: tuple[str, ...]


@dataclass(frozen=True)
class FactorFound(Note):
    """The loss, and its gradient with it, is `scale` times the network's: `times` a sum; None where no sum is known.

    loss: where the loss is reported; None where none was seen, so that only the gradients tell.
    """

    scale: float
    times: float
    summed: Summed | None
    loss: Place | None


@dataclass(frozen=True)
class GuardFound(Note):
    """The reported loss has a tiny number inside its logarithms, so that they stay finite."""

    guard: float
    loss: Place


@dataclass(frozen=True)
class BetweenFound(Note):
    """The gradients between the layers are `ratio` times those of the weights, which are `divided` or multiplied
    later."""

    place: Place
    ratio: float
    divided: bool


@dataclass(frozen=True)
class RecoveredFound(Note):
    """Gradients that no variable holds, read off the change of the parameters in these variables."""

    held: tuple[str, ...]


@dataclass(frozen=True)
class RateFound(Note):
    """The weights move by `rate` times the gradient."""

    rate: float


@dataclass(frozen=True)
class DirectionFound(Note):
    """What the step takes is not the gradient itself: clipped, or over a root of squares. how: in words."""

    how: str


@dataclass(frozen=True)
class PenaltyFound(Note):
    """A penalty of this `amount` (lambda, of lambda / 2 sum W^2 or lambda sum |W|) on these variables.

    where: in "both" loss and gradient, or in the "gradient" alone, as weight decay is; in the "text" of the network,
    and in the gradient as it says.
    """

    kind: str
    amount: float
    held: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class PenaltyDiffers(Note):
    """The loss has a penalty of another amount than the gradient of this tensor has; 0 for none.

    declared: what the network's text has, where it has one; tensor is then what differs from it, "loss" or a gradient.
    """

    tensor: str
    kind: str
    loss: float
    gradient: float
    declared: float | None = None


@dataclass(frozen=True)
class MomentumFound(Note):
    """Each change has so much of the change before in it; or the velocity has, which Nesterov's step looks ahead by."""

    momentum: float
    nesterov: bool = False


@dataclass(frozen=True)
class UpdateNotJudged(Note):
    """New values of parameters that moved by no rule that is known, or not at all; their gradients are judged."""

    tensors: tuple[str, ...]
    moved: bool = True


@dataclass(frozen=True)
class OneSample(Note):
    """There is one sample: a sum over the samples cannot be told from a mean."""


@dataclass(frozen=True)
class WithoutBias(Note):
    """Layers, by position, that are computed without the bias that the network's text gives them."""

    layers: tuple[int, ...]


@dataclass(frozen=True)
class SquareWeights(Note):
    """Weights whose layout cannot be told from their shape."""

    held: tuple[str, ...]


# --- what happened ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlsoWrong(Note):
    """Tensors, beside the first divergence, that are wrong on their own inputs, and where they are bound."""

    tensors: tuple[tuple[str, Place], ...]


@dataclass(frozen=True)
class StepNotFound(Note):
    """No training step was found; `why`, in words."""

    why: str


@dataclass(frozen=True)
class DidNotEnd(Note):
    """The code did not run to its end; `how` it ended."""

    how: str


@dataclass(frozen=True)
class Unseen(Note):
    """What the code may compute is not seen; `how`, in words. It is then not in parity."""

    how: tuple[str, ...]


@dataclass(frozen=True)
class RateDependence(Note):
    """The gradient of a tensor depends on the learning rate, so the weights of `layer` are updated too early.

    At these two rates, (before - after) / rate differs by `difference`, and may by `allowed`.
    """

    layer: str
    tensor: str
    rates: tuple[float, float]
    difference: float
    allowed: float


@dataclass(frozen=True)
class NotUpdated(Note):
    """A parameter that begins both steps alike, and of which no gradient was seen."""

    tensor: str
    held: str


@dataclass(frozen=True)
class NeverUpdated(Note):
    """New values of parameters that have a gradient and begin the second step as they began the first."""

    tensors: tuple[str, ...]


@dataclass(frozen=True)
class StepAdded(Note):
    """The step along the right gradient, at the right rate, is added to these parameters and not taken from them."""

    tensors: tuple[str, ...]


@dataclass(frozen=True)
class RateDiffers(Note):
    """One step with another rate than the other parameters have, along the right gradient: a number of the code."""

    tensor: str
    rate: float
    of_others: float


@dataclass(frozen=True)
class MomentumDiffers(Note):
    """A step along the right gradient at the right rate, with another momentum than the other parameters have."""

    tensor: str
    momentum: float
    of_others: float


@dataclass(frozen=True)
class CorrectionDiffers(Note):
    """Adam's step where the moments' bias is corrected by these counts of steps, 0 for not at all, and these betas.

    step: the count that it should be, of both.
    """

    tensor: str
    step: int
    counts: tuple[int, int]
    betas: tuple[int, int]


@dataclass(frozen=True)
class LaterStep(Note):
    """What is reported is a later step, on `rows` samples; nothing is wrong in those that were judged before it."""

    number: int
    rows: int


@dataclass(frozen=True)
class LaterStepsRight(Note):
    """What is reported is the first step; these later ones are right too: (number, samples) of each."""

    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class SeveralRanks(Note):
    """The step is one of several ranks: of each step the rows of their shards, and whether all have the same bits."""

    shards: tuple[tuple[int, ...], ...]
    alike: bool


@dataclass(frozen=True)
class OwnRun(Note):
    """NumPy's own run on the whole batches: its verdict, and its worst ratio and where; "" where it has none."""

    verdict: str
    ratio: float
    tensor: str


# --- side effects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Written(Note):
    """A tensor whose array was written into: what it became, in torch's layout, and where; None if no line shows it."""

    tensor: str
    after: Array
    place: Place | None


@dataclass(frozen=True)
class SharedArray(Note):
    """Two names of a dictionary that stand for one array."""

    one: str
    other: str
