"""GELU: y = x F(x), where F is the normal distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, erf, exp, relu, sigmoid, where
from compare.numbers.float64 import value
from compare.operations.any_activation import clip_masked, dropout_scaling
from compare.operations.gelu_tanh import approximated, approximated_slope
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part

ERF = 13.0  # u: the error of erf
HALF = float(np.sqrt(0.5))  # 1 / sqrt 2
DENSITY = float(1 / np.sqrt(2 * np.pi))


def _normal(x: Bounded) -> Bounded:
    return (1.0 + erf(x * HALF)) * 0.5


def _bell(x: Bounded) -> Bounded:
    return exp(-(x * x) * 0.5)


def _gelu(x: Bounded) -> Bounded:
    return x * _normal(x)


def _slope(x: Bounded) -> Bounded:
    return _normal(x) + x * _bell(x) * DENSITY


@dataclass(frozen=True)
class GELU(Activation):
    """torch's approximate="none". Below, F is the normal distribution and f its density.

    erf is taken to be off by 13 u at most, ERF: what torch's vectorised GELU uses for it in float32 reaches 11 u, and
    is no better near 0. F by erf carries half of that, the sum u F, and, as x / sqrt 2 carries 2 u, 2 |x| f u. By erfc,
    or by a library's F, it carries 5 u F beside the same 2 |x| f u. Both are at most (13/2 + F + 2 |x| f) u.
    """

    kind = "gelu"
    scratch_type, torch_type = scratch.GELU, nn.GELU
    variant: ClassVar = {"approximate": "none"}
    parts: ClassVar = {
        "output": Part.of("y = x F, where F = 1/2 (1 + erf(x / sqrt 2))", "x"),
        "grad_input": Part.of("dx = dy (F + x e^(-x^2 / 2) / sqrt(2 pi)), where F = 1/2 (1 + erf(x / sqrt 2))", "x dy"),
    }
    function = staticmethod(nn.functional.gelu)
    bounded = staticmethod(_gelu)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """u |x| (7 + 2 F + 2 |x| f): F, and a product. As x / 2 + x / 2 erf, a product is u / 2."""
        roundings = (ERF + 1) / 2 + 2 * _normal_of(x) + 2 * _spread(x)
        return Allowance(p.u * np.abs(x) * roundings + 3 * p.subnormal, reach=2 * np.abs(x))

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """u (13/2 + 3 F + |x| f (13 + 5/2 x^2)) |dy|.

        F carries 13/2 + F + 2 |x| f. In f, the exponent x^2 / 2 carries u, or as the square of x / sqrt 2 5 u, which is
        5/2 x^2 u of f; exp 5 u, 1 / sqrt(2 pi) 2 u and its product u; the product with x u: in all
        |x| f (9 + 5/2 x^2). The sum and the product with dy add 2 (F + |x| f).
        """
        near = _near(x)
        roundings = ERF / 2 + 3 * _normal_of(x) + _spread(x) * (13 + 2.5 * near * near)
        lost = (p.normal * np.abs(dy) + 3 * p.subnormal) * (1 + np.abs(near))
        return Allowance(p.u * roundings * np.abs(dy) + lost, reach=(1 + np.abs(x)) * np.abs(dy))


def _normal_of(x: Array) -> Array:
    return value(torch.special.ndtr, x)


def _near(x: Array) -> Array:
    """Beyond 50 the density is 0, and x^2 need not overflow."""
    return np.clip(x, -50, 50)


def _spread(x: Array) -> Array:
    """|x| f."""
    near = _near(x)
    spread: Array = np.abs(near) * np.exp(-near * near / 2) * DENSITY
    return spread


# --- what people get wrong ---


def _s(e: Letters) -> Bounded:
    return sigmoid(e.x * 1.702)


def _with(e: Letters, density: Bounded) -> Bounded:
    """dy (F + x f), with this for f."""
    return e.dy * (_normal(e.x) + e.x * density)


# What examples have in common: their cases, and the correct expressions.
F = "0.5 * (1 + erf(x / np.sqrt(2)))"
FORWARD = f"x * {F}"
DENSITY_TEXT = "np.exp(-x**2 / 2) / np.sqrt(2 * np.pi)"
BACKWARD = f"dy * ({F} + x * {DENSITY_TEXT})"
INNER = "np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))"
MIXED = f"0.5 * (1 + {INNER}) + 0.5 * x * (1 - {INNER}**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)"

# fmt: off
MISTAKES = {
    "output": [
        M("other-form", lambda e: approximated(e.x), "it is the tanh form (approximate='tanh'), not the exact one",
          wrong=f"0.5 * x * (1 + {INNER})", right=FORWARD),
        M("approximation", lambda e: e.x * sigmoid(e.x * 1.702), "an approximation, x sigmoid(1.702 x)",
          wrong="x * sigmoid(1.702 * x)", right=FORWARD),
        M("wrong-activation", lambda e: e.x * sigmoid(e.x), "the activation is a SiLU, not a GELU",
          wrong="x * sigmoid(x)", right=FORWARD),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a GELU",
          wrong="np.maximum(x, 0)", right=FORWARD),
        M("root-forgotten", lambda e: e.x * (1.0 + erf(e.x)) * 0.5, "erf(x) in the place of erf(x / sqrt 2)",
          wrong="0.5 * x * (1 + erf(x))", right=FORWARD),
        M("half-forgotten", lambda e: e.x * (1.0 + erf(e.x * HALF)),
          "the factor 1/2 is missing: x (1 + erf(x / sqrt 2))",
          wrong="x * (1 + erf(x / np.sqrt(2)))", right=FORWARD),
        M("one-forgotten", lambda e: e.x * erf(e.x * HALF) * 0.5, "the 1 is missing: 1/2 x erf(x / sqrt 2)",
          wrong="0.5 * x * erf(x / np.sqrt(2))", right=FORWARD),
        M("parentheses-missing", lambda e: e.x * 0.5 + erf(e.x * HALF),
          "1/2 x + erf(x / sqrt 2): parentheses are missing",
          wrong="0.5 * x * 1 + erf(x / np.sqrt(2))", right=FORWARD),
        M("exponent-sign", lambda e: e.x * _normal(-e.x), "the sign of erf is wrong: 1/2 x (1 - erf(x / sqrt 2))",
          wrong="0.5 * x * (1 - erf(x / np.sqrt(2)))", right=FORWARD),
        M("factor-missing", lambda e: _normal(e.x), "it is the distribution F alone: the factor x is missing",
          wrong=F, right=FORWARD),
        M("activation-twice", lambda e: _gelu(_gelu(e.x)), "the GELU is applied twice",
          wrong=f"{FORWARD} * 0.5 * (1 + erf({FORWARD} / np.sqrt(2)))", right=FORWARD),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right=FORWARD),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong=f"{FORWARD} * 0.8", right=FORWARD),
    ],
    "grad_input": [
        M("other-form", lambda e: e.dy * approximated_slope(e.x), "the derivative is that of the tanh form",
          wrong=f"dy * ({MIXED})", right=BACKWARD),
        M("approximation", lambda e: e.dy * (_s(e) + e.x * _s(e) * (1.0 - _s(e)) * 1.702),
          "the derivative is that of x sigmoid(1.702 x)",
          wrong="dy * sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - sigmoid(1.702 * x)))", right=BACKWARD),
        M("density-not-normalised", lambda e: _with(e, _bell(e.x)), "the density lacks its factor 1 / sqrt(2 pi)",
          wrong=f"dy * ({F} + x * np.exp(-x**2 / 2))", right=BACKWARD),
        M("inner-derivative-missing", lambda e: _with(e, _bell(e.x) * (DENSITY * 2 * HALF)),
          "the density has the factor 1 / sqrt(pi): the derivative of x / sqrt 2 is left out",
          wrong=f"dy * ({F} + x * np.exp(-x**2 / 2) / np.sqrt(np.pi))", right=BACKWARD),
        M("half-forgotten", lambda e: _with(e, _bell(e.x) * (DENSITY * 2)),
          "the density is doubled: the factor 1/2 of erf's derivative is left out",
          wrong=f"dy * ({F} + x * np.exp(-x**2 / 2) * np.sqrt(2 / np.pi))", right=BACKWARD),
        M("half-forgotten", lambda e: _with(e, exp(-(e.x * e.x)) * DENSITY), "e^(-x^2) in the place of e^(-x^2 / 2)",
          wrong=f"dy * ({F} + x * np.exp(-x**2) / np.sqrt(2 * np.pi))", right=BACKWARD),
        M("exponent-sign", lambda e: _with(e, exp(e.x * e.x * 0.5) * DENSITY),
          "e^(x^2 / 2) in the place of e^(-x^2 / 2)",
          wrong=f"dy * ({F} + x * np.exp(x**2 / 2) / np.sqrt(2 * np.pi))", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * _normal(e.x), "dx = dy F: the term x f is missing",
          wrong=f"dy * {F}", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * e.x * _bell(e.x) * DENSITY, "dx = dy x f: the term F is missing",
          wrong=f"dy * x * {DENSITY_TEXT}", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (_normal(e.x) + _bell(e.x) * DENSITY),
          "F + f in the place of F + x f: the factor x is missing",
          wrong=f"dy * ({F} + {DENSITY_TEXT})", right=BACKWARD),
        M("wrong-derivative", lambda e: _with(e, -_bell(e.x) * DENSITY), "F - x f in the place of F + x f",
          wrong=f"dy * ({F} - x * {DENSITY_TEXT})", right=BACKWARD),
        M("root-forgotten", lambda e: e.dy * ((1.0 + erf(e.x)) * 0.5 + e.x * _bell(e.x) * DENSITY),
          "erf(x) in the place of erf(x / sqrt 2)",
          wrong=f"dy * (0.5 * (1 + erf(x)) + x * {DENSITY_TEXT})", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * _slope(e.y), "the derivative is taken at y, not at x",
          wrong="dy * (0.5 * (1 + erf(y / np.sqrt(2))) + y * np.exp(-y**2 / 2) / np.sqrt(2 * np.pi))", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * (_normal(e.x) + e.y * _bell(e.x) * DENSITY),
          "F + y f in the place of F + x f",
          wrong=f"dy * ({F} + y * {DENSITY_TEXT})", right=BACKWARD),
        M("value-for-derivative", lambda e: e.dy * e.y, "dx = dy y: the output is taken for the derivative",
          wrong="dy * y", right=BACKWARD),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-missing", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p), "the derivative is ReLU's mask",
          wrong="dy * (x > 0)", right=BACKWARD),
        M("upstream-gradient-missing", lambda e: _slope(e.x), "dx is the derivative alone: dy is left out",
          wrong=f"{F} + x * {DENSITY_TEXT}", right=BACKWARD),
        M("derivative-twice", lambda e: e.ref * _slope(e.x), "the derivative is applied twice",
          wrong=f"dy * ({F} + x * {DENSITY_TEXT})**2", right=BACKWARD),
        M("gradient-clipped-with-input", clip_masked, "it is 0 outside {}, as if the input were clipped", listed=True,
          wrong=f"{BACKWARD} * (np.abs(x) <= 2)", right=BACKWARD, case={"scale": 3}),
    ],
}
# fmt: on

GELU.mistakes = MISTAKES
