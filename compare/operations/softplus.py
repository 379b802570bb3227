"""Softplus: y = log(1 + e^(beta x)) / beta."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, exp, log, relu, sigmoid, where
from compare.numbers.float64 import value
from compare.operations.any_activation import clip_masked, dropout_scaling, in_candidates_arithmetic
from compare.operations.letters import Letters
from compare.operations.mistake import Guess
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


@dataclass(frozen=True)
class Softplus(Activation):
    """Below, z = beta x, s = 1 / (1 + e^-z), q = 1 - s, Y = beta y = log(1 + e^z). z carries 2 u: beta is rounded.

    torch's threshold, above which it takes y = x and dx = dy, is there against an overflow. The formula without it is
    as right: above it, the two may differ by as much as they do in exact numbers.
    """

    kind = "softplus"
    scratch_type, torch_type = scratch.Softplus, nn.Softplus
    parts: ClassVar = {
        "output": Part.of("y = log(1 + e^(beta x)) / beta", "x"),
        "grad_input": Part.of("dx = dy / (1 + e^(-beta x))", "x dy"),
    }

    beta: float = 1.0
    threshold: float = 20.0

    def function(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(x, self.beta, self.threshold)

    def bounded(self, x: Bounded) -> Bounded:
        return where(x.value * self.beta > self.threshold, x, _softplus(x * self.beta) / self.beta, x.p)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """u (2 + 7 Y + s (5 + 2 |z|)) / beta: z moves Y by 2 s |z| u, and beta with the quotient by 2 Y u.

        As log(1 + e^z): exp 5 u, which moves Y by 5 s u, the sum u, which the logarithm makes absolute, and log 5 Y u.
        As max(z, 0) + log(1 + e^-|z|), or logaddexp: exp moves Y by no more, log1p 5 u of Y - max(z, 0), and the sum u
        of Y. As -log(1 / (1 + e^z)) there is a quotient more, the 2.
        """
        z = self.beta * x
        roundings = 2 + 7 * np.abs(self.beta * y) + value(torch.sigmoid, z) * (5 + 2 * np.abs(z))
        off = p.u * roundings + self._above(z, np.logaddexp(0, -z), p)
        return Allowance(off / abs(self.beta) + 3 * p.subnormal)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """u (3 s + q (7 + 9 Y) + s q (5 + 2 |z|)) |dy|, from x or from y.

        As dy s, in a form of Sigmoid: z moves it by 2 s q |z| u, exp by 5 s q u; the sum, the quotient and the product
        with dy 3 s u. As dy (1 - e^-Y): Y carries 2 + 7 Y + s (5 + 2 |z|) of y and 2 Y of beta and its product; exp
        5 u, both of q; the difference and the product with dy 2 s u.
        """
        z = self.beta * x
        s, q = value(torch.sigmoid, z), value(torch.sigmoid, -z)
        roundings = 3 * s + q * (7 + 9 * np.logaddexp(0, z)) + s * q * (5 + 2 * np.abs(z))
        off = p.u * roundings + self._above(z, q, p) + p.normal
        return Allowance(off * np.abs(dy) + 3 * p.subnormal)

    def _above(self, z: Array, difference: Array, p: Precision) -> Array:
        """Where z is above the threshold, or is so when it is rounded."""
        return np.where(z > self.threshold - 4 * p.u * np.abs(z), difference, 0.0)


# --- what people get wrong ---


def _softplus(z: Bounded) -> Bounded:
    return relu(z) + log(1.0 + exp(-absolute(z)))


def _beta(e: Letters) -> float:
    beta: float = e.operation.beta
    return beta


def _z(e: Letters) -> Bounded:
    return e.x * _beta(e)


def _overflowing(e: Letters) -> Bounded | Iterable[Guess]:
    return in_candidates_arithmetic(lambda x: np.log(1 + np.exp(_beta(e) * x)) / _beta(e))(e)


# What examples have in common: their cases, and the correct expressions.
DOUBLE = {"network": "5-7-4 softplus(2), softmax cross-entropy"}
FORWARD = "np.log1p(np.exp(x))"
DOUBLED = "np.log1p(np.exp(2 * x)) / 2"
BACKWARD = "dy * sigmoid(x)"
FROM_Y = "dy * (1 - np.exp(-y))"
DOUBLED_BACKWARD = "dy * sigmoid(2 * x)"

# fmt: off
MISTAKES = {
    "output": [
        M("beta-forgotten", lambda e: _softplus(e.x), "beta is forgotten: y = log(1 + e^x)",
          wrong="np.log1p(np.exp(x))", right=DOUBLED, case=DOUBLE),
        M("beta-on-one-side", lambda e: _softplus(_z(e)), "log(1 + e^(beta x)) is not divided by beta",
          wrong="np.log1p(np.exp(2 * x))", right=DOUBLED, case=DOUBLE),
        M("beta-on-one-side", lambda e: _softplus(e.x) / _beta(e),
          "beta is missing in the exponent: log(1 + e^x) / beta",
          wrong="np.log1p(np.exp(x)) / 2", right=DOUBLED, case=DOUBLE),
        M("beta-inverted", lambda e: _softplus(e.x / _beta(e)) * _beta(e),
          "beta and 1 / beta are exchanged: beta log(1 + e^(x / beta))",
          wrong="2 * np.log1p(np.exp(x / 2))", right=DOUBLED, case=DOUBLE),
        M("exponent-sign", lambda e: _softplus(-_z(e)) / _beta(e), "the sign in the exponent is wrong: log(1 + e^-x)",
          wrong="np.log1p(np.exp(-x))", right=FORWARD),
        M("one-added-twice", lambda e: log(exp(_z(e)) + 2.0) / _beta(e),
          "log(2 + e^x): the 1 is added twice (log1p(1 + e^x)), or the softplus is applied twice",
          wrong="np.log1p(1 + np.exp(x))", right="np.log(1 + np.exp(x))"),
        M("stable-form-broken", lambda e: relu(_z(e)) + log(1.0 + exp(absolute(_z(e)))),
          "max(x, 0) + log(1 + e^|x|): the sign of |x| is wrong",
          wrong="np.maximum(x, 0) + np.log1p(np.exp(np.abs(x)))",
          right="np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))"),
        M("stable-form-broken", lambda e: log(1.0 + exp(-absolute(_z(e)))) / _beta(e),
          "log(1 + e^-|x|): max(x, 0) is not added",
          wrong="np.log1p(np.exp(-np.abs(x)))", right="np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))"),
        M("wrong-base", lambda e: _softplus(_z(e)) / float(np.log(2)), "the logarithm is that of base 2",
          wrong="np.log2(1 + np.exp(x))", right="np.log(1 + np.exp(x))"),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a softplus",
          wrong="np.maximum(x, 0)", right=FORWARD),
        M("wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not a softplus",
          wrong="sigmoid(x)", right=FORWARD),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right=FORWARD),
        M("exponential-overflows", _overflowing,
          "written with e^x, which overflows for large x", overflows=True,
          wrong="np.log(1 + np.exp(x))", right="np.logaddexp(0, x)", case={"scale": 3000}),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong="np.log1p(np.exp(x)) * 0.8", right=FORWARD),
    ],
    "grad_input": [
        M("beta-forgotten", lambda e: e.dy * sigmoid(e.x), "beta is forgotten: the derivative is 1 / (1 + e^-x)",
          wrong="dy * sigmoid(x)", right=DOUBLED_BACKWARD, case=DOUBLE),
        M("beta-on-one-side", lambda e: e.dy * sigmoid(_z(e)) * _beta(e),
          "the derivative is multiplied by beta: the factor 1 / beta of y is left out",
          wrong="dy * 2 * sigmoid(2 * x)", right=DOUBLED_BACKWARD, case=DOUBLE),
        M("beta-on-one-side", lambda e: e.dy * sigmoid(_z(e)) / _beta(e),
          "the derivative is divided by beta: the inner derivative is left out",
          wrong="dy * sigmoid(2 * x) / 2", right=DOUBLED_BACKWARD, case=DOUBLE),
        M("beta-forgotten", lambda e: e.dy * (1.0 - exp(-e.y)), "1 - e^-y in the place of 1 - e^(-beta y)",
          wrong="dy * (1 - np.exp(-y))", right="dy * (1 - np.exp(-2 * y))", case=DOUBLE),
        M("exponent-sign", lambda e: e.dy * sigmoid(-_z(e)), "the sign in the exponent is wrong: 1 / (1 + e^x)",
          wrong="dy / (1 + np.exp(x))", right="dy / (1 + np.exp(-x))"),
        M("derivative-of-activated", lambda e: e.dy * sigmoid(e.y * _beta(e)), "the derivative is taken at y, not at x",
          wrong="dy * sigmoid(y)", right=BACKWARD),
        M("derivative-of-pre-activation", lambda e: e.dy * (1.0 - exp(-_z(e))), "1 - e^-x in the place of 1 - e^-y",
          wrong="dy * (1 - np.exp(-x))", right=FROM_Y),
        M("derivative-incomplete", lambda e: e.dy * exp(_z(e)), "e^x: it is not divided by 1 + e^x",
          wrong="dy * np.exp(x)", right="dy * np.exp(x) / (1 + np.exp(x))"),
        M("wrong-derivative", lambda e: e.dy * sigmoid(_z(e)) * sigmoid(-_z(e)),
          "the derivative is the sigmoid's, s (1 - s): s itself is softplus'",
          wrong="dy * sigmoid(x) * (1 - sigmoid(x))", right=BACKWARD),
        M("wrong-derivative", lambda e: e.dy * e.y * (1.0 - e.y), "y (1 - y), as if y were a sigmoid",
          wrong="dy * y * (1 - y)", right=FROM_Y),
        M("value-for-derivative", lambda e: e.dy * e.y, "dx = dy y: the output is taken for the derivative",
          wrong="dy * y", right=BACKWARD),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-missing", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p), "the derivative is ReLU's mask",
          wrong="dy * (x > 0)", right=BACKWARD),
        M("upstream-gradient-missing", lambda e: sigmoid(_z(e)), "dx is the derivative alone: dy is left out",
          wrong="sigmoid(x)", right=BACKWARD),
        M("derivative-twice", lambda e: e.ref * sigmoid(_z(e)), "the derivative is applied twice",
          wrong="dy * sigmoid(x)**2", right=BACKWARD),
        M("gradient-clipped-with-input", clip_masked, "it is 0 outside {}, as if the input were clipped", listed=True,
          wrong="dy * sigmoid(x) * (np.abs(x) <= 2)", right=BACKWARD, case={"scale": 3}),
    ],
}
# fmt: on

Softplus.mistakes = MISTAKES
