"""The L1 loss: the absolute error of the output itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute
from compare.operations.any_loss import every_pair, gradient, mean
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss


@dataclass(frozen=True)
class L1Loss(Loss):
    """L = 1/(m n) sum |y - t|. torch's derivative at y = t is 0."""

    kind = "l1"
    scratch_type, torch_type = scratch.L1Loss, nn.L1Loss
    words = ("l1", "mae", "mean absolute error")
    parts: ClassVar = {
        "loss": "L = sum |y - t|, over all elements",
        "loss.gradient": "dy = sign(y - t) / (m n)",
    }
    summed_gradient = "dy = sign(y - t)"

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return absolute(y - t)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return Bounded.of(np.sign(y.value - t.value), y.p)

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        return None

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """The difference carries u |d|; a sum of the terms counts the two roundings of 1 / c, or of / n / m, itself."""
        terms = np.abs(y - t) / count
        return total(terms.ravel(), p, value, p.u * terms.sum(), count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """The sign is exact, also as (y - t) / |y - t|, and so is 0; 1 / c and / n / m are rounded twice: 2 u |dy|."""
        return Allowance(2 * p.u * np.abs(dy))


# --- what people get wrong ---


def _sided(e: Letters, at_zero: float) -> Bounded:
    """The sign of y - t, and this where both are the same."""
    d = e.y.value - e.t.value
    return Bounded.of(np.where(d == 0, at_zero, np.sign(d)), e.p) / e.count


# What examples have in common: their cases, and the correct expressions.
L1 = {"network": "5-7-4 relu, l1"}
TIES = {"network": "5-7-4 relu, l1", "target": "bits", "zero_row": True, "bias": 0.0}
LOSS = "np.abs(y - t).mean()"
GRADIENT = "np.sign(y - t) / (m * n)"

# fmt: off
MISTAKES = {
    "loss": [
        M("absolute-value-missing", lambda e: mean(e, e.y - e.t), "y - t in the place of |y - t|: errors cancel",
          wrong="(y - t).mean()", right=LOSS, case=L1),
        M("absolute-value-missing", lambda e: absolute(mean(e, e.y - e.t)),
          "the absolute value is taken of the mean error, not of each",
          wrong="np.abs((y - t).mean())", right=LOSS, case=L1),
        M("square-unasked", lambda e: mean(e, (e.y - e.t) * (e.y - e.t)), "it is the squared error, not |y - t|",
          wrong="((y - t) ** 2).mean()", right=LOSS, case=L1),
        M("square-unasked", lambda e: mean(e, (e.y - e.t) * (e.y - e.t)) * 0.5,
          "it is half the squared error, not |y - t|",
          wrong="0.5 * ((y - t) ** 2).mean()", right=LOSS, case=L1),
        M("target-broadcast", lambda e: every_pair(e, absolute(e.y - e.t.T)),
          "every output is compared with every target: (m, 1) against (m,)",
          wrong="np.abs(y - t.ravel()).mean()", right=LOSS, case={"network": "5-7-1 relu, l1"}),
    ],
    "loss.gradient": [
        M("square-unasked", lambda e: (e.y - e.t) * 2.0 / e.count,
          "2 (y - t), the derivative of the square: |y - t| has the sign alone",
          wrong="2 * (y - t) / (m * n)", right=GRADIENT, case=L1),
        M("square-unasked", lambda e: (e.y - e.t) / e.count,
          "y - t, the derivative of half the square: |y - t| has the sign alone",
          wrong="(y - t) / (m * n)", right=GRADIENT, case=L1),
        M("value-for-derivative", lambda e: absolute(e.y - e.t) / e.count, "|y - t|, the loss itself, not its sign",
          wrong="np.abs(y - t) / (m * n)", right=GRADIENT, case=L1),
        M("absolute-value", lambda e: absolute(gradient(e)), "1 everywhere: the sign is missing",
          wrong="np.abs(np.sign(y - t)) / (m * n)", right=GRADIENT, case=L1),
        M("sign-at-zero", lambda e: _sided(e, -1.0), "the derivative at y = t is -1, not 0",
          wrong="np.where(y > t, 1, -1) / (m * n)", right=GRADIENT, case=TIES),
        M("sign-at-zero", lambda e: _sided(e, 1.0), "the derivative at y = t is 1, not 0",
          wrong="np.where(y >= t, 1, -1) / (m * n)", right=GRADIENT, case=TIES),
    ],
}
# fmt: on

L1Loss.mistakes = MISTAKES
