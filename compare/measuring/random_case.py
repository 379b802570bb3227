"""RandomCase: a correct network with its data, drawn from a seed alone, so that any finding can be repeated from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import scratch
from compare.network import text
from scratch import initializers

Array = NDArray[Any]
Pair = tuple[scratch.Sequential, scratch.Loss]

HIDDEN: tuple[Callable[[], scratch.Layer], ...] = tuple(kind().to_scratch for kind in text.ACTIVATIONS.values())
# what the last layer must be for the loss to make sense, and the loss
ENDINGS: tuple[tuple[type[scratch.Layer] | None, type[scratch.Loss]], ...] = (
    (None, scratch.CrossEntropyLoss),
    (scratch.Softmax, scratch.ProbabilityCrossEntropyLoss),
    (None, scratch.MSELoss),
    (scratch.ReLU, scratch.MSELoss),
    (scratch.Tanh, scratch.HalfSquaredErrorLoss),
    (scratch.Sigmoid, scratch.HalfSquaredErrorLoss),
    (None, scratch.HalfSquaredErrorLoss),
    (scratch.Sigmoid, scratch.BCELoss),
    (None, scratch.BCEWithLogitsLoss),
)
WEIGHTS = (
    initializers.linear_default,
    initializers.he_normal,
    initializers.xavier_uniform,
    initializers.normal(1.0),
    initializers.normal(0.01),
)


@dataclass
class RandomCase:
    """One network, loss, optimiser and batch."""

    seed: int
    network: scratch.Sequential
    loss: scratch.Loss
    optimizer: scratch.Optimizer
    x: Array
    t: Array
    scale: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.network}; {self.loss!r}; {self.optimizer!r}; x {self.x.shape} x {self.scale:.1e}"
        )


def random_case(
    seed: int, dtype: DTypeLike, *, layers: int = 6, width: int = 300, batch: int = 200, log_scale: float = 8.0
) -> RandomCase:
    """1 to `layers` linear layers of width 1 to `width`, every activation, loss and optimiser, batch 1 to `batch`,
    inputs of size 10^-log_scale to 10^log_scale."""
    rng = np.random.default_rng(seed)
    widths = [_size(rng, width) for _ in range(int(rng.integers(1, layers + 1)) + 1)]
    ending, loss_type = ENDINGS[rng.integers(len(ENDINGS))]
    if ending is scratch.Softmax or loss_type is scratch.CrossEntropyLoss:
        widths[-1] = max(widths[-1], 2)
    network = _network(rng, widths, ending, dtype)
    m, scale = _size(rng, batch), 10 ** rng.uniform(-log_scale, log_scale)
    x = (rng.standard_normal((m, widths[0])) * scale).astype(dtype)
    if rng.random() < 0.3:
        x = np.abs(x)
    loss = loss_type(("mean", "sum")[rng.integers(2)])
    return RandomCase(
        seed, network, loss, optimizer_of(rng, network), x, target_of(rng, loss_type, m, widths[-1], dtype), scale
    )


def _size(rng: np.random.Generator, most: int) -> int:
    """1 to most, small ones as likely as large ones."""
    return int(np.exp(rng.uniform(0, np.log(most + 1))))


def _network(
    rng: np.random.Generator, widths: list[int], ending: type[scratch.Layer] | None, dtype: DTypeLike
) -> scratch.Sequential:
    weight_init, hidden = WEIGHTS[rng.integers(len(WEIGHTS))], HIDDEN[rng.integers(len(HIDDEN))]
    layers: list[scratch.Layer] = []
    for k, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if k > 0:
            layers.append((hidden if rng.random() < 0.7 else HIDDEN[rng.integers(len(HIDDEN))])())
        bias = bool(rng.random() < 0.9)
        layers.append(
            scratch.Linear(
                fan_in,
                fan_out,
                rng=rng,
                bias=bias,
                weight_init=weight_init,
                bias_init=initializers.normal(0.1),
                dtype=dtype,
            )
        )
    return scratch.Sequential(*layers, *([ending()] if ending else []))


def optimizer_of(rng: np.random.Generator, network: scratch.Sequential) -> scratch.Optimizer:
    """Any, with any of its usual options."""
    lr, decay = float(10 ** rng.uniform(-4, 0)), float(rng.choice([0, 1e-2]))
    kind = rng.integers(4)
    if kind == 0:
        return scratch.SGD(network, lr, weight_decay=decay)
    if kind == 1:
        nesterov = bool(rng.random() < 0.5)
        return scratch.SGD(network, lr, momentum=0.9, weight_decay=decay, nesterov=nesterov)
    return (scratch.Adam, scratch.AdamW)[kind - 2](network, lr, weight_decay=decay)


def target_of(rng: np.random.Generator, loss: type[scratch.Loss], m: int, n: int, dtype: DTypeLike) -> Array:
    """One that the loss takes, of m samples and n columns."""
    if loss in (scratch.CrossEntropyLoss, scratch.ProbabilityCrossEntropyLoss):
        labels = rng.integers(0, n, m)
        if rng.random() < 0.5:
            return labels
        return np.eye(n, dtype=dtype)[labels] if rng.random() < 0.7 else rng.dirichlet(np.ones(n), m).astype(dtype)
    if loss in (scratch.BCELoss, scratch.BCEWithLogitsLoss):
        return (rng.integers(0, 2, (m, n)) if rng.random() < 0.7 else rng.random((m, n))).astype(dtype)
    return rng.standard_normal((m, n)).astype(dtype)
