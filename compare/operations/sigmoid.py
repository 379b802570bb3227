"""Sigmoid: y = 1 / (1 + e^-x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import FUNCTION, Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import absolute, clip, relu, sigmoid, tanh, where
from compare.operations.any_activation import (
    clip_masked,
    clipped_input,
    dropout_scaling,
    in_candidates_arithmetic,
    of_overwritten,
)
from compare.operations.mistake import EPSILONS
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


@dataclass(frozen=True)
class Sigmoid(Activation):
    """In one of its forms, 1 / (1 + e^-x) or e^x / (1 + e^x)."""

    kind = "sigmoid"
    scratch_type, torch_type = scratch.Sigmoid, nn.Sigmoid
    parts: ClassVar = {
        "output": Part.of("y = 1 / (1 + e^-x)", "x"),
        "grad_input": Part.of("dx = dy y (1 - y)", "x dy"),
    }
    function = staticmethod(torch.sigmoid)
    bounded = staticmethod(sigmoid)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """7 u y, of which exp 5 u, the sum u and the quotient u.

        Where e^-x overflows the first form gives 0 for a y below the smallest normal number: one such number more.
        """
        return Allowance((FUNCTION + 2) * p.u * y + p.normal)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """dx = dy y (1 - y), from a rounded y or from x: 12 u y |dy|.

        From y: y carries 7 u y where it is small, and 2 u y near 1, where e^-x is a small part of 1 + e^-x and where
        1 - y makes its error an absolute one; the two products and the difference add 3 u: 10 u. As y(x) y(-x): the
        exponentials carry 5 u (1 - y) and 5 u y, the quotients and products 6 u: 11 u. As e^-x / (1 + e^-x)^2: the
        same 5 u above and below leave |2 y - 1| of it, and there are 5 roundings: 10 u. As 1 / (4 cosh^2(x / 2)): the
        square doubles 5 u, and there are 2 roundings: 12 u. All of it is relative to y (1 - y), which is below y.
        """
        y = self.apply(x)
        return Allowance(12 * p.u * y * np.abs(dy) + (p.normal + p.u * p.normal) * np.abs(dy) + 3 * p.subnormal)


# --- what people get wrong ---


# What examples have in common: their cases, and the correct expressions.
BACKWARD = "dy * y * (1 - y)"

# fmt: off
MISTAKES = {
    "output": [
        M("output-clipped", lambda e: ((clip(e.ref, c, 1 - c), f"{c:g}") for c in EPSILONS),
          "y is clipped to [{0}, 1 - {0}]", listed=True,
          wrong="np.clip(sigmoid(x), 0.01, 0.99)", right="sigmoid(x)", case={"scale": 10}),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right="sigmoid(x)"),
        M("activation-twice", lambda e: sigmoid(sigmoid(e.x)), "the sigmoid is applied twice",
          wrong="sigmoid(sigmoid(x))", right="sigmoid(x)"),
        M("input-clipped", clipped_input(lambda e, x: sigmoid(x)), "its input is clipped to {}", listed=True,
          wrong="sigmoid(np.clip(x, -5, 5))", right="sigmoid(x)", case={"scale": 20}),
        M("wrong-activation", lambda e: tanh(e.x), "the activation is a tanh, not a sigmoid",
          wrong="np.tanh(x)", right="sigmoid(x)"),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a sigmoid",
          wrong="np.maximum(x, 0)", right="sigmoid(x)"),
        M("exponent-sign", lambda e: sigmoid(-e.x), "the sign in the exponent is wrong: 1 / (1 + e^x)",
          wrong="1 / (1 + np.exp(x))", right="1 / (1 + np.exp(-x))"),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong="sigmoid(x) * 0.8", right="sigmoid(x)"),
        M("approximation", lambda e: (1.0 + e.x / (1.0 + absolute(e.x))) * 0.5,
          "an approximation, (1 + x / (1 + |x|)) / 2",
          wrong="0.5 * (x / (1 + np.abs(x)) + 1)", right="sigmoid(x)"),
        M("approximation", lambda e: clip(0.2 * e.x + 0.5, 0.0, 1.0), "an approximation, 0.2 x + 0.5 clipped to [0, 1]",
          wrong="np.clip(0.2 * x + 0.5, 0, 1)", right="sigmoid(x)"),
        M("approximation", lambda e: clip(e.x / 6.0 + 0.5, 0.0, 1.0), "an approximation, x / 6 + 0.5 clipped to [0, 1]",
          wrong="np.clip(x / 6 + 0.5, 0, 1)", right="sigmoid(x)"),
        M("exponential-overflows", in_candidates_arithmetic(lambda x: np.exp(x) / (1 + np.exp(x))),
          "written with e^x, which overflows for large x", overflows=True,
          wrong="np.exp(x) / (1 + np.exp(x))", right="sigmoid(x)", case={"scale": 3000}),
    ],
    "grad_input": [
        M("overwritten-before-use", lambda e: of_overwritten(e, lambda y: y * (1.0 - y)),
          "the derivative is taken of y after it was overwritten",
          wrong="dy * after('1.output') * (1 - after('1.output'))", right=BACKWARD,
          case={"touched": {"1.output": "0.9 * it"}}),
        M("parentheses-missing", lambda e: e.dy * e.y - e.y, "dy y 1 - y: parentheses are missing",
          wrong="dy * y * 1 - y", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * sigmoid(e.y) * (1.0 - sigmoid(e.y)),
          "the derivative is taken at y: sigmoid is applied once more to the output",
          wrong="dy * sigmoid(y) * (1 - sigmoid(y))", right="dy * sigmoid(x) * (1 - sigmoid(x))"),
        M("derivative-of-activated", lambda e: e.dy * e.y * (1.0 - sigmoid(e.y)),
          "y (1 - sigmoid(y)) in the place of y (1 - y)",
          wrong="dy * y * (1 - sigmoid(y))", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * sigmoid(e.y) * (1.0 - e.y),
          "sigmoid(y) (1 - y) in the place of y (1 - y)",
          wrong="dy * sigmoid(y) * (1 - y)", right=BACKWARD),
        M("derivative-of-pre-activation", lambda e: e.dy * e.x * (1.0 - e.x), "x (1 - x) in the place of y (1 - y)",
          wrong="dy * x * (1 - x)", right=BACKWARD),
        M("derivative-of-pre-activation", lambda e: e.dy * e.x * (1.0 - e.y), "x (1 - y) in the place of y (1 - y)",
          wrong="dy * x * (1 - y)", right=BACKWARD),
        M("derivative-of-pre-activation", lambda e: e.dy * e.y * (1.0 - e.x), "y (1 - x) in the place of y (1 - y)",
          wrong="dy * y * (1 - x)", right=BACKWARD),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * e.y, "dx = dy y: the factor 1 - y is missing",
          wrong="dy * y", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (1.0 - e.y), "dx = dy (1 - y): the factor y is missing",
          wrong="dy * (1 - y)", right=BACKWARD),
        M("upstream-gradient-missing", lambda e: e.y * (1.0 - e.y), "dx = y (1 - y): dy is left out",
          wrong="y * (1 - y)", right=BACKWARD),
        M("wrong-derivative", lambda e: e.dy * (1.0 - e.y * e.y), "the derivative is tanh's, 1 - y^2",
          wrong="dy * (1 - y**2)", right=BACKWARD),
        M("wrong-derivative", lambda e: e.dy * e.y * (1.0 + e.y), "y (1 + y) in the place of y (1 - y)",
          wrong="dy * y * (1 + y)", right=BACKWARD),
        M("derivative-missing", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p), "the derivative is ReLU's mask",
          wrong="dy * (x > 0)", right=BACKWARD),
        M("gradient-clipped-with-input", clip_masked, "it is 0 outside {}, as if the input were clipped", listed=True,
          wrong="dy * y * (1 - y) * (np.abs(x) <= 2)", right=BACKWARD, case={"scale": 3}),
        M("input-clipped", clipped_input(lambda e, x: e.dy * (sigmoid(x) * (1.0 - sigmoid(x)))),
          "the derivative is that of the input clipped to {}", listed=True,
          wrong="dy * sigmoid(np.clip(x, -2, 2)) * (1 - sigmoid(np.clip(x, -2, 2)))",
          right="dy * sigmoid(x) * (1 - sigmoid(x))", case={"scale": 3}),
        M("derivative-twice", lambda e: e.ref * e.y * (1.0 - e.y), "the derivative is applied twice",
          wrong="dy * (y * (1 - y))**2", right=BACKWARD),
    ],
}
# fmt: on

Sigmoid.mistakes = MISTAKES
