"""Text: a network in the words of the README, such as "784-256-10 relu, softmax cross-entropy", read and written.

Or in torch's names (torch_names.py), which say any order of layers: "Linear(4, 8), ReLU, Linear(8, 3); MSELoss".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import get_args

from compare.network import torch_names
from compare.network.known import known
from compare.network.penalty import Penalty
from compare.operations import LAYERS, LOSSES
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer, Loss, Reduction

ACTIVATIONS = {kind: layer for kind, layer in LAYERS.items() if issubclass(layer, Activation)}
LOSS_WORDS = {word: loss for loss in LOSSES.values() for word in loss.words}
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
LINEAR, OUTPUT = "linear", " output"
NO_BIAS = ("no bias", "without bias")
ACTIVATION_WORDS: Mapping[str, type[Activation] | None] = {**ACTIVATIONS, LINEAR: None}
SIZED: Mapping[str, Callable[[int], Layer]] = {kind: layer for kind, layer in LAYERS.items() if layer.sized}
Between = tuple[Sequence[Callable[[int], Layer]], Activation | None]  # what comes after a linear layer
GRAMMAR = (
    "SIZES [ACTIVATION, ...] [, ACTIVATION output] [, no bias], LOSS [sum|mean|batchmean] [+ NUMBER L1|L2], "
    'such as "784-256-10 relu, softmax cross-entropy" or "2-8-4-1 tanh, sigmoid, sigmoid output, mse"; '
    f"ACTIVATION: {', '.join(ACTIVATION_WORDS)}, each also after {' or '.join(SIZED)}; LOSS: {', '.join(LOSS_WORDS)}; "
    f'or torch\'s names, such as "{torch_names.EXAMPLE}; CrossEntropyLoss"'
)


def sizes(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Columns of the input, then of the output of every layer that has sizes of its own."""
    fans = [layer.fans for layer in layers if layer.fans]
    return (*(fan_in for fan_in, _ in fans[:1]), *(fan_out for _, fan_out in fans))


# --- writing ----------------------------------------------------------------------------------------------------------


def written(layers: Sequence[Layer], loss: Loss, penalty: Penalty | None) -> str:
    """As a text that can be read again: in words where there are words for all of it, else in torch's names."""
    words = _words(layers)
    network = torch_names.written(layers, loss) if words is None else f"{words}, {loss}"
    return network + (f" + {penalty}" if penalty else "")


def _words(layers: Sequence[Layer]) -> str | None:
    """Of linear layers, all with a bias or all without, and at most one activation after each; None of others."""
    linear, activations = _in_pairs(layers)
    biases = {layer.bias for layer in linear}
    said = [_word(each) for each in activations]
    if len(biases) != 1 or None in said or any(a.out_features != b.in_features for a, b in pairwise(linear)):
        return None
    *hidden, output = map(str, said)
    hidden = hidden if len(set(hidden)) > 1 else hidden[:1]
    numbers = "-".join(map(str, sizes(layers)))
    last = [] if output == LINEAR else [output + OUTPUT]
    without = [] if biases == {True} else [NO_BIAS[0]]
    return ", ".join([" ".join([numbers, *hidden[:1]]), *hidden[1:], *last, *without])


def _in_pairs(layers: Sequence[Layer]) -> tuple[list[Linear], list[Activation | None]]:
    """Linear layers, and the activation after each; nothing where layers are in another order."""
    linear: list[Linear] = []
    activations: list[Activation | None] = []
    for layer in layers:
        if isinstance(layer, Linear):
            linear.append(layer)
            activations.append(None)
        elif isinstance(layer, Activation) and activations and activations[-1] is None:
            activations[-1] = layer
        else:
            return [], []
    return linear, activations


def _word(activation: Activation | None) -> str | None:
    """None where the word does not say all of it."""
    if activation is None:
        return LINEAR
    return activation.word if _activation(activation.word, "activation") == activation else None


# --- reading ----------------------------------------------------------------------------------------------------------


def parsed(text: str) -> tuple[tuple[Layer, ...], Loss, Penalty | None]:
    """Layers, loss and penalty. ValueError in one line that says what is wrong and what was expected."""
    try:
        in_words = text.lstrip()[:1].isdigit() or not re.search(r";|^\s*[A-Za-z_][\w.]*\s*\(", text)
        return _in_words(text) if in_words else _in_torchs_names(text)
    except ValueError as error:
        raise ValueError(f"network {text!r}: {error}") from None


def _in_torchs_names(text: str) -> tuple[tuple[Layer, ...], Loss, Penalty | None]:
    network, semicolon, loss = text.partition(";")
    if not semicolon or not loss.strip():
        raise ValueError(f"the loss is missing, expected it after a semicolon, such as {network[:40]!r}; MSELoss")
    return torch_names.layers(network), *_loss_and_penalty(loss)


def _in_words(text: str) -> tuple[tuple[Layer, ...], Loss, Penalty | None]:
    """One activation for all hidden layers, or one for each."""
    numbers, *parts = (" ".join(part.split()) for part in re.split(r",(?![^(]*\))", text))
    numbers, _, first = numbers.partition(" ")
    if not re.fullmatch(r"\d+(?:-\d+)+", numbers) or not parts:
        raise ValueError(f"expected {GRAMMAR}")
    columns = [int(n) for n in numbers.split("-")]
    if min(columns) < 1:
        raise ValueError("got a size of 0, expected at least 1")
    parts = [first, *parts] if first else parts
    said = [part for part in parts if part.lower() not in NO_BIAS]
    if not said:
        raise ValueError(f"the loss is missing, expected {GRAMMAR}")
    *words, loss = said
    between = _activations([w.lower() for w in words], len(columns) - 2, first.lower() in ("", *NO_BIAS))
    layers: list[Layer] = []
    for (n, k), (sized, activation) in zip(pairwise(columns), [*between, ((), None)], strict=False):
        layers += [Linear(n, k, bias=said == parts), *(make(k) for make in sized)]
        layers += [activation] if activation else []
    return tuple(layers), *_loss_and_penalty(loss)


def _activations(words: list[str], between: int, apart: bool) -> list[Between]:
    """One after each linear layer but the last, then that of the output if it has one.

    `apart`: the words begin after a comma, so that they end with the output's.
    """
    has_output = bool(words) and (words[-1].endswith(OUTPUT) or len(words) > max(between, 1) or apart)
    output = [_between(words[-1].removesuffix(OUTPUT), "output activation")] if has_output else []
    hidden = [_between(each, "activation") for each in words[: len(words) - has_output]]
    if between and not hidden:
        raise ValueError("the activation between its layers is missing; expected one, such as relu, or linear for none")
    if hidden and not between:
        raise ValueError(f"got activation {words[0]!r}, but there is no hidden layer; expected {words[0] + OUTPUT!r}")
    if len(hidden) not in (1, between) and hidden:
        raise ValueError(f"got {len(hidden)} activations for {between} hidden layers, expected 1 or {between}")
    return (hidden * between if len(hidden) == 1 else hidden) + output


def _between(words: str, what: str) -> Between:
    """The layers that take their size from what enters, then the activation, if there is one: "layer_norm relu"."""
    each = words.split(" ")
    count = next((i for i, word in enumerate(each) if word not in SIZED), len(each))
    return [SIZED[word] for word in each[:count]], _activation(" ".join(each[count:]) or LINEAR, what)


def _activation(words: str, what: str) -> Activation | None:
    """From its word, its first number in brackets where that is not the usual one: "elu(0.5)"; None for "linear"."""
    word, number = _word_and_number(words)
    kind = known(word, what, ACTIVATION_WORDS, shown=words)
    if number and not (kind and fields(kind)):
        raise ValueError(f"got {what} {words!r}, expected one of {', '.join(ACTIVATION_WORDS)}; {word} has no number")
    return kind(*([float(number)] if number else [])) if kind else None


def _word_and_number(words: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"(.*\w)\((-?\d+\.?\d*(?:e[+-]?\d+)?)\)", words)
    return match.groups() if match else (words, None)  # type: ignore[return-value]


def _loss_and_penalty(text: str) -> tuple[Loss, Penalty | None]:
    loss, plus, penalty = (part.strip() for part in text.partition("+"))
    return _loss(loss), Penalty.of(" ".join(penalty.split())) if plus else None


def _loss(text: str) -> Loss:
    if torch_names.is_loss(text):
        return torch_names.loss(text)
    words = " ".join(text.lower().split())
    *rest, last = words.split(" ")
    reduction: Reduction | None = next((r for r in REDUCTIONS if r == last and rest), None)
    word, number = _word_and_number(" ".join(rest) if reduction else words)
    kind = known(word, "loss", LOSS_WORDS | torch_names.LOSS_NAMES, shown=text)
    if reduction not in (None, *kind.reductions):
        raise ValueError(f"got loss {text!r}, expected {word} with {' or '.join(kind.reductions)}")
    if number and not fields(kind)[1:]:
        raise ValueError(f"got loss {text!r}, but {word} has no number")
    return kind(reduction or "mean", *([float(number)] if number else []))
