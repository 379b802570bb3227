"""Squared error: of the output itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
import torch_ref.losses
from compare.numbers.allowance import Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, where
from compare.operations.any_loss import every_pair, gradient, mean
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss


@dataclass(frozen=True)
class SquaredError(Loss):
    """L = 1/(m n) sum (y - t)^2."""

    kind = "mse"
    scratch_type: ClassVar[type] = scratch.MSELoss
    torch_type: ClassVar[type] = nn.MSELoss
    words: ClassVar[tuple[str, ...]] = ("mse", "mean squared error")
    parts: ClassVar = {
        "loss": "L = sum (y - t)^2, over all elements",
        "loss.gradient": "dy = 2 (y - t) / (m n)",
    }
    summed_gradient: ClassVar[str] = "dy = 2 (y - t)"
    half: ClassVar[float] = 1.0

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        d = y - t
        return d * d * self.half

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return (y - t) * (2 * self.half)

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """L = factor sum d^2, d = y - t: d carries u |d|, so d^2 2 u d^2, and 3 roundings of square and factor."""
        d, factor = y - t, self.half / count
        terms = factor * d * d
        return total(terms.ravel(), p, value, 5 * p.u * terms.sum() + d.size * factor * p.subnormal, 1 / factor)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """dy = factor (y - t): the difference, and the factor in at most three roundings (2 / m / n): 4 u |dy|."""
        return Allowance(4 * p.u * np.abs(dy) + 2 * p.subnormal)


@dataclass(frozen=True)
class HalfSquaredError(SquaredError):
    """L = 1/m sum 1/2 (y - t)^2."""

    kind = "half_squared_error"
    scratch_type = scratch.HalfSquaredErrorLoss
    torch_type = torch_ref.losses.HalfSquaredErrorLoss
    words = ("half squared error",)
    parts: ClassVar = {
        "loss": "L = 1/2 sum (y - t)^2, over the samples",
        "loss.gradient": "dy = (y - t) / m",
    }
    summed_gradient = "dy = y - t"
    per_sample = True
    half = 0.5


# --- what people get wrong ---


def _square_of_mean(e: Letters) -> Bounded:
    error = (e.y - e.t).sum() / (e.m * e.n)
    return error * error * e.operation.half


def _every_pair(e: Letters) -> Bounded:
    """The mean of (y_i - t_j)^2 over all i and j."""
    d = e.y - e.t.T
    return every_pair(e, d * d * e.operation.half)


# What examples have in common: their cases, and the correct expressions.
MSE = {"network": "5-7-4 relu, mse"}
LOSS = "((y - t) ** 2).mean()"
GRADIENT = "2 * (y - t) / (m * n)"

# fmt: off
MISTAKES = {
    "loss": [
        M("square-of-mean", _square_of_mean, "it is the square of the mean error",
          wrong="(y - t).mean() ** 2", right=LOSS, case=MSE),
        M("square-missing", lambda e: mean(e, absolute(e.y - e.t)), "|y - t| is not squared",
          wrong="np.abs(y - t).mean()", right=LOSS, case=MSE),
        M("target-broadcast", lambda e: _every_pair(e) * float(e.m),
          "every output is compared with every target: (m, 1) against (m,)",
          wrong="((y - t.ravel()) ** 2).sum() / m", right="((y - t) ** 2).sum() / m",
          case={"network": "5-7-1 relu, mse"}),
        M("target-broadcast", _every_pair, "every output is compared with every target: (m, 1) against (m,)",
          wrong="((y - t.ravel()) ** 2).mean()", right=LOSS, case={"network": "5-7-1 relu, mse"}),
    ],
    "loss.gradient": [
        M("absolute-value", lambda e: absolute(gradient(e)), "|y - t| in the place of y - t",
          wrong="2 * np.abs(y - t) / (m * n)", right=GRADIENT, case=MSE),
        M("derivative-twice", lambda e: gradient(e) * e.y * (1.0 - e.y),
          "the output's derivative y (1 - y) is applied here, and once more in its layer",
          wrong="2 * (y - t) * y * (1 - y) / (m * n)", right=GRADIENT, case={"network": "5-7-4 sigmoid, mse"}),
        M("square-missing", lambda e: where(e.y.value > e.t.value, 0.0 * e.y + 1.0, 0.0 * e.y - 1.0, e.p) / e.count,
          "it is the sign of y - t: the derivative of |y - t|",
          wrong="np.sign(y - t) / (m * n)", right=GRADIENT, case=MSE),
    ],
}
# fmt: on

SquaredError.mistakes = MISTAKES
