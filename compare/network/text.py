"""Text: a network in the words of the README, such as "784-256-10 relu, softmax cross-entropy", read and written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise, zip_longest

from compare.operations import LAYERS, LOSSES
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer, Loss, Reduction

ACTIVATIONS = {kind: layer for kind, layer in LAYERS.items() if issubclass(layer, Activation)}
LOSS_WORDS = {word: loss for loss in LOSSES.values() for word in loss.words}
GRAMMAR = (
    'SIZES [ACTIVATION, ...] [, ACTIVATION output], LOSS [sum|mean], such as "784-256-10 relu, softmax cross-entropy" '
    'or "2-8-4-1 tanh, sigmoid, sigmoid output, mse"; '
    f"ACTIVATION: {', '.join(ACTIVATIONS)}; LOSS: {', '.join(LOSS_WORDS)}"
)


def sizes(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Columns of the input, then of the output of every layer that has sizes of its own."""
    fans = [layer.fans for layer in layers if layer.fans]
    return (*(fan_in for fan_in, _ in fans[:1]), *(fan_out for _, fan_out in fans))


def written(layers: Sequence[Layer], loss: Loss) -> str:
    """Layers and loss as a text that can be read again, unless an activation between two layers is missing."""
    words = "-".join(map(str, sizes(layers)))
    hidden = [layer.word for layer in layers[:-1] if isinstance(layer, Activation)]
    hidden = hidden if len(set(hidden)) > 1 else hidden[:1]
    last = f", {layers[-1].word} output" if isinstance(layers[-1], Activation) else ""
    return f"{' '.join([words, ', '.join(hidden)]).strip()}{last}, {loss}"


def parsed(text: str) -> tuple[tuple[Layer, ...], Loss]:
    """Layers and loss; one activation for all hidden layers, or one for each. ValueError that shows the grammar."""
    parts = [" ".join(part.split()) for part in text.lower().split(",")]
    match = re.fullmatch(r"(\d+(?:-\d+)+)(?: (.+))?", parts[0])
    if not match or len(parts) < 2:
        raise ValueError(f"network {text!r}: expected {GRAMMAR}")
    columns = [int(n) for n in match[1].split("-")]
    if min(columns) < 1:
        raise ValueError(f"network {text!r}: got a size of 0, expected at least 1")
    between = len(columns) - 2
    words = [*([match[2]] if match[2] else []), *parts[1:-1]]
    has_output = bool(words) and (words[-1].endswith(" output") or len(words) > max(between, 1) or not match[2])
    output = [_known(words.pop().removesuffix(" output"), "output activation", text)] if has_output else []
    hidden = [_known(each, "activation", text) for each in words]
    if between and not hidden:
        raise ValueError(f"network {text!r}: the activation between its layers is missing; expected {GRAMMAR}")
    if len(hidden) not in (1, between) and hidden:
        got = f"{len(hidden)} activations for {between} hidden layers"
        raise ValueError(f"network {text!r}: got {got}, expected 1 or {between}")
    each_layer = (hidden * between if len(hidden) == 1 else hidden)[:between]
    linear: list[Layer] = [Linear(*fans) for fans in pairwise(columns)]
    layers = [layer for pair in zip_longest(linear, each_layer) for layer in pair if layer is not None]
    return (*layers, *output), _loss(parts[-1], text)


def _known(words: str, what: str, text: str) -> Activation:
    layer = _activation(words)
    if layer is None:
        raise ValueError(f"network {text!r}: got {what} {words!r}, expected one of {', '.join(ACTIVATIONS)}")
    return layer


def _activation(words: str) -> Activation | None:
    """From its word, its first number in brackets where that is not the usual one: "elu(0.5)"; None for another."""
    match = re.fullmatch(r"(\w+)(?:\((-?\d+\.?\d*(?:e[+-]?\d+)?)\))?", words)
    kind = ACTIVATIONS.get(match[1]) if match else None
    numbers = [float(match[2])] if match and match[2] else []
    return kind(*numbers) if kind and len(numbers) <= len(fields(kind)) else None


def _loss(words: str, text: str) -> Loss:
    reduction: Reduction = "sum" if words.endswith(" sum") else "mean"
    words = words.removesuffix(" sum").removesuffix(" mean")
    if words not in LOSS_WORDS:
        raise ValueError(f"network {text!r}: got loss {words!r}, expected one of {', '.join(LOSS_WORDS)}")
    return LOSS_WORDS[words](reduction)
