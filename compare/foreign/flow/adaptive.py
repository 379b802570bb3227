"""Adaptive: Adam's step (Kingma and Ba 2015, algorithm 1), recognised by its root and its two numbers near 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from compare.foreign.flow.updates import Move
from compare.network.optimizer import OptimizerSpec
from compare.watching.dataflow import Array, Value

NEAR_ONE = (0.5, 1.0)  # in which betas are
LARGEST_EPS = 1e-3
USUAL_EPS = 1e-8
TYPED = 6  # digits
MOST = 6  # numbers that are tried for each of Adam's


@dataclass
class Moments:
    """Of each parameter, the moving averages of the gradients that were seen, from the first step on."""

    steps: int = 0
    held: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def of(self, move: Move) -> tuple[Array, Array]:
        """Before the step."""
        zeros = np.zeros(move.old.shape)
        return self.held.get(move.name, (zeros, zeros))

    def take(self, moves: Sequence[Move], spec: OptimizerSpec | None) -> None:
        """The gradients of one more step."""
        self.steps += 1
        if spec is None:
            return
        b1, b2 = float(spec.options["beta1"]), float(spec.options["beta2"])
        for move in moves:
            m, v = self.of(move)
            self.held[move.name] = b1 * m + (1 - b1) * move.gradient, b2 * v + (1 - b2) * move.gradient**2


def has_root(values: Sequence[Value], move: Move) -> bool:
    """Whether the step is computed through a square root of the parameter's size."""
    return any(_is_root(v) and v.size == move.value.size > 1 for v in values)


def _is_root(value: Value) -> bool:
    return value.what == "call:sqrt" or (value.what == "pow" and 0.5 in value.constants)


def adam(moves: Sequence[Move], written: Sequence[float], moments: Moments) -> OptimizerSpec | None:
    """Adam with the numbers of the code: those that explain most of the moves, else the usual order of the betas."""
    written = sorted(written, key=lambda w: not _is_typed(w))
    betas = sorted(b for b in list(dict.fromkeys(w for w in written if NEAR_ONE[0] <= w < NEAR_ONE[1]))[:MOST])
    pairs = [(a, b) for a, b in permutations(betas, 2) if a < b] + [(b, b) for b in betas]
    eps = [w for w in written if w < LARGEST_EPS][:MOST] or [USUAL_EPS]
    rates = [w for w in written if eps[0] < w < NEAR_ONE[1]][: 4 * MOST]
    tried = [(lr, *pair, e) for pair in pairs for e in eps for lr in rates if lr not in (*pair, e)]
    if not tried:
        return None
    best = max(tried, key=lambda t: (sum(_explains(move, moments, *t) for move in moves), _usual(t)))
    return OptimizerSpec("Adam", dict(zip(("lr", "beta1", "beta2", "eps"), best, strict=True)) | {"weight_decay": 0.0})


def _is_typed(number: float) -> bool:
    """Whether somebody writes it so: a few digits."""
    return float(f"{number:.{TYPED}g}") == number


def explains(move: Move, moments: Moments, spec: OptimizerSpec | None) -> bool:
    """Whether this is Adam's step along the move's gradient."""
    if spec is None:
        return False
    return _explains(move, moments, *(float(spec.options[n]) for n in ("lr", "beta1", "beta2", "eps")))


def _usual(tried: tuple[float, float, float, float]) -> tuple[bool, bool, bool]:
    lr, b1, b2, eps = tried
    return b1 == 0.9 and b2 == 0.999, eps == USUAL_EPS, lr <= 0.1


def _explains(move: Move, moments: Moments, lr: float, b1: float, b2: float, eps: float) -> bool:
    t = moments.steps + 1
    m, v = moments.of(move)
    m, v = b1 * m + (1 - b1) * move.gradient, b2 * v + (1 - b2) * move.gradient**2
    with np.errstate(all="ignore"):
        change = lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return bool(np.allclose(move.change, change, rtol=1e-6, atol=4 * float(move.lost.max(initial=0))))

