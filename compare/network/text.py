"""Text: a network in the words of the README, such as "784-256-10 relu, softmax cross-entropy", read and written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise

from compare.operations import LAYERS, LOSSES
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer, Loss, Reduction

ACTIVATIONS = {kind: layer for kind, layer in LAYERS.items() if issubclass(layer, Activation)}
LOSS_WORDS = {word: loss for loss in LOSSES.values() for word in loss.words}
GRAMMAR = (
    'SIZES [ACTIVATION] [, ACTIVATION output], LOSS [sum|mean], such as "784-256-10 relu, softmax cross-entropy"; '
    f"ACTIVATION: {', '.join(ACTIVATIONS)}; LOSS: {', '.join(LOSS_WORDS)}"
)


def sizes(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Columns of the input, then of the output of every layer that has sizes of its own."""
    fans = [layer.fans for layer in layers if layer.fans]
    return (*(fan_in for fan_in, _ in fans[:1]), *(fan_out for _, fan_out in fans))


def written(layers: Sequence[Layer], loss: Loss) -> str:
    """Layers and loss as a text; one that differs from layer to layer is not fully said."""
    words = "-".join(map(str, sizes(layers)))
    hidden = dict.fromkeys(layer.word for layer in layers[:-1] if isinstance(layer, Activation))
    last = f", {layers[-1].word} output" if isinstance(layers[-1], Activation) else ""
    return f"{' '.join([words, *hidden])}{last}, {loss}"


def parsed(text: str) -> tuple[tuple[Layer, ...], Loss]:
    """Layers and loss from a text. ValueError that shows the grammar."""
    parts = [" ".join(part.split()) for part in text.lower().split(",")]
    match = re.fullmatch(r"(\d+(?:-\d+)+)(?: (.+))?", parts[0])
    hidden = _activation(match[2]) if match and match[2] else None
    if match and match[2] and hidden is None:
        raise ValueError(
            f"network {text!r}: got activation {match[2]!r}, expected one of {', '.join(ACTIVATIONS)}, "
            "the same for all hidden layers"
        )
    if not match or not 2 <= len(parts) <= 3:
        raise ValueError(f"network {text!r}: expected {GRAMMAR}")
    columns = [int(n) for n in match[1].split("-")]
    if min(columns) < 1:
        raise ValueError(f"network {text!r}: got a size of 0, expected at least 1")
    if len(columns) > 2 and hidden is None:
        raise ValueError(f"network {text!r}: the activation between its layers is missing; expected {GRAMMAR}")
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(columns):
        layers += [Linear(fan_in, fan_out), *([hidden] if hidden else [])]
    if hidden:
        layers.pop()
    if len(parts) == 3:
        layers.append(_output(parts[1], text))
    return tuple(layers), _loss(parts[-1], text)


def _activation(words: str) -> Activation | None:
    """From its word, its first number in brackets where that is not the usual one: "elu(0.5)"; None for another."""
    match = re.fullmatch(r"(\w+)(?:\((-?\d+\.?\d*(?:e[+-]?\d+)?)\))?", words)
    kind = ACTIVATIONS.get(match[1]) if match else None
    numbers = [float(match[2])] if match and match[2] else []
    return kind(*numbers) if kind and len(numbers) <= len(fields(kind)) else None


def _output(words: str, text: str) -> Layer:
    layer = _activation(words.removesuffix(" output"))
    if layer is None:
        raise ValueError(f"network {text!r}: got output activation {words!r}, expected one of {', '.join(ACTIVATIONS)}")
    return layer


def _loss(words: str, text: str) -> Loss:
    reduction: Reduction = "sum" if words.endswith(" sum") else "mean"
    words = words.removesuffix(" sum").removesuffix(" mean")
    if words not in LOSS_WORDS:
        raise ValueError(f"network {text!r}: got loss {words!r}, expected one of {', '.join(LOSS_WORDS)}")
    return LOSS_WORDS[words](reduction)
