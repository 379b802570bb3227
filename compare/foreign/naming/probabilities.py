"""Probabilities: losses that take logits, and what they are where the code keeps probabilities instead."""

from __future__ import annotations

from compare.operations.binary_cross_entropy import BinaryCrossEntropy, LogitsBinaryCrossEntropy
from compare.operations.cross_entropy import CrossEntropy, ProbabilityCrossEntropy
from compare.operations.operation import Activation, Loss
from compare.operations.sigmoid import Sigmoid
from compare.operations.softmax import Softmax


def activation_of(loss: Loss) -> Activation | None:
    """What makes probabilities of the logits that a loss takes; None for a loss that takes none."""
    if isinstance(loss, CrossEntropy):
        return Softmax()
    return Sigmoid() if isinstance(loss, LogitsBinaryCrossEntropy) else None


def on_probabilities(loss: Loss) -> Loss:
    """The same loss on what that gives."""
    kind = ProbabilityCrossEntropy if isinstance(loss, CrossEntropy) else BinaryCrossEntropy
    return kind(loss.reduction)
