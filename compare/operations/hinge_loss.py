"""HingeLoss: L = max(0, 1 - t y), for targets of -1 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import scratch
import torch_ref.losses
from compare.numbers.allowance import Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, exp, log, relu, where
from compare.operations.any_loss import every_pair, mean
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss


@dataclass(frozen=True)
class HingeLoss(Loss):
    """L = 1/(m n) sum max(0, 1 - t y), t -1 or 1. The derivative where t y is just 1 is 0."""

    kind = "hinge"
    scratch_type, torch_type = scratch.HingeLoss, torch_ref.losses.HingeLoss
    words = ("binary hinge",)
    parts: ClassVar = {
        "loss": "L = sum max(0, 1 - t y), over all elements",
        "loss.gradient": "dy = -t / (m n) where t y < 1, else 0",
    }
    summed_gradient = "dy = -t where t y < 1, else 0"
    signed = True

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return relu(1.0 - t * y)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return _where_near(y, t, -t)

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        return None

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """t y is exact for a t of -1 or 1, and 1 - t y, or t (t - y), is rounded once. What is 0 stays 0."""
        terms = np.maximum(1 - t * y, 0).ravel() / count
        return total(terms, p, value, p.u * terms.sum(), count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """1 / c or / n / m is rounded twice at most, t is exact, and so is on which side of 1 its product is: 2 u."""
        return Allowance(2 * p.u * np.abs(dy))


def _where_near(y: Bounded, t: Bounded, a: Bounded, margin: float = 1.0) -> Bounded:
    """a where t y is below the margin, else 0."""
    return where(t.value * y.value < margin, a, 0.0, t.p)


# --- what people get wrong ---


def _shares(e: Letters) -> Bounded:
    """The target as 0 and 1."""
    return (e.t + 1.0) * 0.5


def _margins(e: Letters) -> Bounded:
    return 1.0 - e.t * e.y


# What examples have in common: their cases, and the correct expressions.
HINGE = {"network": "5-7-2 tanh, binary hinge", "target": "signs"}
LARGE = {**HINGE, "scale": 5, "network": "5-7-2 relu, binary hinge"}
COLUMN = {"network": "5-7-1 tanh, binary hinge", "target": "signs"}
LOSS = "np.maximum(0, 1 - t * y).sum() / (m * n)"
GRADIENT = "-t * (t * y < 1) / (m * n)"

# fmt: off
MISTAKES = {
    "loss": [
        M("margin-missing", lambda e: mean(e, relu(-(e.t * e.y))), "the margin 1 is missing: max(0, -t y)",
          wrong="np.maximum(0, -t * y).sum() / (m * n)", right=LOSS, case=HINGE),
        M("hinge-missing", lambda e: mean(e, _margins(e)), "1 - t y below 0 is not taken for 0",
          wrong="(1 - t * y).sum() / (m * n)", right=LOSS, case=LARGE),
        M("margin-sign", lambda e: mean(e, relu(1.0 + e.t * e.y)), "the sign of t y is wrong: max(0, 1 + t y)",
          wrong="np.maximum(0, 1 + t * y).sum() / (m * n)", right=LOSS, case=HINGE),
        M("target-not-signed", lambda e: mean(e, relu(1.0 - _shares(e) * e.y)),
          "the target stands as 0 and 1, where -1 and 1 are meant",
          wrong="np.maximum(0, 1 - (t + 1) / 2 * y).sum() / (m * n)", right=LOSS, case=HINGE),
        M("square-unasked", lambda e: mean(e, relu(_margins(e)) * relu(_margins(e))), "the margins are squared",
          wrong="(np.maximum(0, 1 - t * y) ** 2).sum() / (m * n)", right=LOSS, case=HINGE),
        M("logistic-for-hinge", lambda e: mean(e, log(1.0 + exp(-(e.t * e.y)))),
          "it is the logistic loss log(1 + e^(-t y))",
          wrong="np.log(1 + np.exp(-t * y)).sum() / (m * n)", right=LOSS, case=HINGE),
        M("every-pair-of-samples",
          lambda e: every_pair(e, relu(1.0 - e.t * e.y.arranged(np.transpose))),
          "every output is held against every target: a row is broadcast against a column",
          wrong="np.maximum(0, 1 - t * y.T).mean()", right=LOSS, case=COLUMN),
    ],
    "loss.gradient": [
        M("margin-missing", lambda e: _where_near(e.y, e.t, -e.t, 0.0) / e.count,
          "the mask is t y < 0: the margin 1 is missing",
          wrong="-t * (t * y < 0) / (m * n)", right=GRADIENT, case=HINGE),
        M("hinge-missing", lambda e: -e.t / e.count,
          "every element has a gradient, also where t y is above 1",
          wrong="-t / (m * n)", right=GRADIENT, case=LARGE),
        M("mask-inverted", lambda e: (where(e.t.value * e.y.value < 1, 0.0, -e.t, e.p)) / e.count,
          "the mask is inverted: t y > 1",
          wrong="-t * (t * y > 1) / (m * n)", right=GRADIENT, case=LARGE),
        M("target-missing", lambda e: _where_near(e.y, e.t, Bounded.of(-np.ones(e.t.shape), e.p)) / e.count,
          "-1 / (m n) where t y < 1: the factor t is missing",
          wrong="-1.0 * (t * y < 1) / (m * n)", right=GRADIENT, case=HINGE),
        M("target-for-output", lambda e: _where_near(e.y, e.t, -e.y) / e.count,
          "it is the derivative with respect to the target: -y",
          wrong="-y * (t * y < 1) / (m * n)", right=GRADIENT, case=HINGE),
        M("target-not-signed", lambda e: _where_near(e.y, _shares(e), -_shares(e)) / e.count,
          "the target stands as 0 and 1, where -1 and 1 are meant",
          wrong="-(t + 1) / 2 * ((t + 1) / 2 * y < 1) / (m * n)", right=GRADIENT, case=HINGE),
        M("wrong-loss-gradient", lambda e: _where_near(e.y, e.t, -(e.t * _margins(e)) * 2.0) / e.count,
          "it is the derivative of the squared margins",
          wrong="-2 * t * np.maximum(0, 1 - t * y) / (m * n)", right=GRADIENT, case=HINGE),
        M("wrong-loss-gradient", lambda e: -(e.t / (1.0 + exp(e.t * e.y))) / e.count,
          "it is the derivative of the logistic loss",
          wrong="-t / (1 + np.exp(t * y)) / (m * n)", right=GRADIENT, case=HINGE),
    ],
}
# fmt: on

HingeLoss.mistakes = MISTAKES
