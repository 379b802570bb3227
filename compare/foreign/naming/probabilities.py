"""Probabilities: losses that take logits, and what they are where the code keeps probabilities instead."""

from __future__ import annotations

from compare.network.architecture import LayerKind, LossKind

ACTIVATION: dict[str, LayerKind] = {"cross_entropy": "softmax", "logits_binary_cross_entropy": "sigmoid"}
LOSS: dict[str, LossKind] = {
    "cross_entropy": "probability_cross_entropy",
    "logits_binary_cross_entropy": "binary_cross_entropy",
}
