"""Tanh: y = tanh x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import FUNCTION, Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import absolute, clip, relu, sigmoid, tanh
from compare.operations.any_activation import (
    clip_masked,
    clipped_input,
    dropout_scaling,
    in_candidates_arithmetic,
    of_overwritten,
)
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


@dataclass(frozen=True)
class Tanh(Activation):
    """The elementary function."""

    kind = "tanh"
    scratch_type, torch_type = scratch.Tanh, nn.Tanh
    parts: ClassVar = {
        "output": Part.of("y = tanh x", "x"),
        "grad_input": Part.of("dx = dy (1 - y^2)", "x dy"),
    }
    function = staticmethod(torch.tanh)
    bounded = staticmethod(tanh)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """5 u |y|: the elementary function."""
        return Allowance(FUNCTION * p.u * np.abs(y) + p.subnormal)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """dx = dy (1 - y^2), or dy / cosh^2 x: u max(3 + 8 y^2, 12 (1 - y^2)) |dy|.

        From y: y carries 5 u |y| at most, so y^2 carries 10 u y^2 near 0, where 3 is enough for both, and near 1, where
        it matters, y is rounded to u/2 of 1 and y^2 carries 3 u y^2 with its own rounding; the difference and the
        product add u each to a value of at most 1. From x: cosh carries 5 u, its square 11 u, the quotient u.
        """
        y = self.apply(x)
        slope = 1 - y * y
        return Allowance(p.u * np.maximum(3 + 8 * y * y, (2 * FUNCTION + 2) * slope) * np.abs(dy) + 3 * p.subnormal)


# --- what people get wrong ---


# What examples have in common: their cases, and the correct expressions.
BACKWARD = "dy * (1 - y**2)"

# fmt: off
MISTAKES = {
    "output": [
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong="tanh(x) / 0.8", right="tanh(x)"),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right="np.tanh(x)"),
        M("activation-twice", lambda e: tanh(tanh(e.x)), "the tanh is applied twice",
          wrong="np.tanh(np.tanh(x))", right="np.tanh(x)"),
        M("input-clipped", clipped_input(lambda e, x: tanh(x)), "its input is clipped to {}", listed=True,
          wrong="np.tanh(np.clip(x, -2, 2))", right="np.tanh(x)", case={"scale": 20}),
        M("exponent-halved", lambda e: 2.0 * sigmoid(e.x) - 1.0,
          "2 sigmoid(x) - 1, which is tanh(x / 2): 2 sigmoid(2 x) - 1 is meant",
          wrong="2 / (1 + np.exp(-x)) - 1", right="np.tanh(x)"),
        M("exponential-overflows", in_candidates_arithmetic(lambda x: np.sinh(x) / np.cosh(x)),
          "written with e^x, which overflows for large x", overflows=True,
          wrong="np.sinh(x) / np.cosh(x)", right="np.tanh(x)", case={"scale": 3000}),
        M("approximation", lambda e: e.x * (27.0 + e.x * e.x) / (27.0 + 9.0 * e.x * e.x),
          "a rational approximation, x (27 + x^2) / (27 + 9 x^2)",
          wrong="x * (27 + x**2) / (27 + 9 * x**2)", right="np.tanh(x)"),
        M("approximation", lambda e: e.x / (1.0 + absolute(e.x)), "an approximation, x / (1 + |x|)",
          wrong="x / (1 + np.abs(x))", right="np.tanh(x)"),
        M("approximation", lambda e: clip(e.x, -1.0, 1.0), "an approximation, x clipped to [-1, 1]",
          wrong="np.clip(x, -1, 1)", right="np.tanh(x)"),
        M("wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not a tanh",
          wrong="1 / (1 + np.exp(-x))", right="np.tanh(x)"),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a tanh",
          wrong="np.maximum(x, 0)", right="np.tanh(x)"),
    ],
    "grad_input": [
        M("overwritten-before-use", lambda e: of_overwritten(e, lambda y: 1.0 - y * y),
          "the derivative is taken of y after it was overwritten",
          wrong="dy * (1 - after('1.output')**2)", right=BACKWARD, case={"touched": {"1.output": "0.9 * it"}}),
        M("parentheses-missing", lambda e: e.dy - e.y * e.y, "dy 1 - y^2: the parentheses are missing",
          wrong="dy * 1 - y**2", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * (1.0 - tanh(e.y) * tanh(e.y)),
          "the derivative is taken at y: tanh is applied once more to the output",
          wrong="dy * (1 - np.tanh(y)**2)", right="dy * (1 - np.tanh(x)**2)"),
        M("derivative-of-pre-activation", lambda e: e.dy * (1.0 - e.x * e.x), "1 - x^2 in the place of 1 - y^2",
          wrong="dy * (1 - x**2)", right=BACKWARD),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (1.0 - e.y), "1 - y in the place of 1 - y^2: the square is missing",
          wrong="dy * (1 - y)", right="dy * (1 - y) * (1 + y)"),
        M("wrong-derivative", lambda e: e.dy * (1.0 - e.y) * (1.0 - e.y), "(1 - y)^2 in the place of 1 - y^2",
          wrong="dy * (1 - y)**2", right=BACKWARD),
        M("derivative-twice", lambda e: e.ref * (1.0 - e.y * e.y), "the derivative is applied twice",
          wrong="dy * (1 - y**2) * (1 - y**2)", right=BACKWARD),
        M("derivative-incomplete", lambda e: -(e.dy * e.y * e.y), "-y^2 in the place of 1 - y^2: the 1 is missing",
          wrong="-dy * y**2", right="dy - dy * y**2"),
        M("upstream-gradient-missing", lambda e: 1.0 - e.y * e.y, "dx = 1 - y^2: dy is left out",
          wrong="1 - y**2", right=BACKWARD),
        M("wrong-derivative", lambda e: e.dy * e.y * (1.0 - e.y), "the derivative is sigmoid's, y (1 - y)",
          wrong="dy * y * (1 - y)", right=BACKWARD),
        M("wrong-derivative", lambda e: e.dy * (1.0 + e.y * e.y), "1 + y^2 in the place of 1 - y^2",
          wrong="dy * (1 + y**2)", right=BACKWARD),
        M("gradient-clipped-with-input", clip_masked, "it is 0 outside {}, as if the input were clipped", listed=True,
          wrong="dy * (1 - y**2) * (np.abs(x) < 2)", right=BACKWARD, case={"scale": 3}),
    ],
}
# fmt: on

Tanh.mistakes = MISTAKES
