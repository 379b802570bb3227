"""SiLU, or Swish: y = x s, where s = 1 / (1 + e^-x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, clip, relu, sigmoid, where
from compare.numbers.float64 import value
from compare.operations.any_activation import clip_masked, clipped_input, dropout_scaling, in_candidates_arithmetic
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


def _silu(x: Bounded) -> Bounded:
    return x * sigmoid(x)


@dataclass(frozen=True)
class SiLU(Activation):
    """Below, s is the sigmoid in one of its forms, 1 / (1 + e^-x) or e^x / (1 + e^x), and q = 1 - s.

    Its relative error is (5 q + 2) u: exp 5 u, of which its share in the sum leaves q, the sum u and the quotient u.
    """

    kind = "silu"
    scratch_type, torch_type = scratch.SiLU, nn.SiLU
    parts: ClassVar = {
        "output": Part.of("y = x s, where s = 1 / (1 + e^-x)", "x"),
        "grad_input": Part.of("dx = dy s (1 + x (1 - s)), where s = 1 / (1 + e^-x)", "x dy"),
    }
    function = staticmethod(nn.functional.silu)
    bounded = staticmethod(_silu)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """(5 q + 3) u |y|: as x s, the product adds u. As x / (1 + e^-x) there is one rounding less.

        Where e^-x overflows, s may be 0 for a number below the smallest normal one: |x| times that more.
        """
        q = _sigmoid(-x)
        return Allowance((5 * q + 3) * p.u * np.abs(y) + p.normal * np.abs(x) + p.subnormal)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """u s (7 + 5 q + |x| (4 + 10 q)) |dy|, from x, or from x and y.

        The derivative s + x s q moves with s as 1 + x (1 - 2 s), however it is written: the error of s costs at most
        (5 q + 2) (1 + |x|) u s |dy|. The other roundings are, in u s |dy|:

        - s + x s q: in q and two products 3 |x| q, in the sum and the product with dy 2 (1 + |x| q);
        - s (1 + x q): in q and the product 2 |x| q, in the sum and two products 3 (1 + |x| q);
        - y + s (1 - y): in y |x| q, in 1 - y and its product 2 (1 + |x| s), in the sum and the product with dy
          2 (1 + |x| q). Large terms cancel where x is large;
        - s (1 + x - y): in y |x| s, in the sum 1 + |x|, in the difference and two products 3 (1 + |x| q);
        - (1 + e + x e) / (1 + e)^2, where e = e^-x has 5 u and there is no s: 5 q (1 + |x|) of e, 1 in 1 + e, |x| q in
          x e, and 6 (1 + |x| q) in the sum, the square (3), the quotient and the product with dy.

        The largest sums are 7 + 5 q without |x|, of the last, and with it 4 + 7 q of s (1 + x - y), 12 q of the last.
        """
        s, q = _sigmoid(x), _sigmoid(-x)
        size = np.abs(x)
        roundings = p.u * s * (7 + 5 * q + size * (4 + 10 * q))
        lost = (p.normal * np.abs(dy) + 3 * p.subnormal) * (1 + size)
        return Allowance(roundings * np.abs(dy) + lost, reach=(1 + size) * np.abs(dy))


def _sigmoid(x: Array) -> Array:
    return value(torch.sigmoid, x)


# --- what people get wrong ---


def _slope(x: Bounded) -> Bounded:
    s = sigmoid(x)
    return s + x * s * (1.0 - s)


def _s(e: Letters) -> Bounded:
    return sigmoid(e.x)


# What examples have in common: the correct expressions.
FORWARD = "x * sigmoid(x)"
BACKWARD = "dy * (sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)))"
FACTORED = "dy * sigmoid(x) * (1 + x * (1 - sigmoid(x)))"
FROM_Y = "dy * (y + sigmoid(x) * (1 - y))"

# fmt: off
MISTAKES = {
    "output": [
        M("factor-missing", lambda e: _s(e) * 1.0, "it is the sigmoid alone: the factor x is missing",
          wrong="sigmoid(x)", right=FORWARD),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right=FORWARD),
        M("exponent-sign", lambda e: e.x * sigmoid(-e.x), "the sign in the exponent is wrong: x / (1 + e^x)",
          wrong="x / (1 + np.exp(x))", right="x / (1 + np.exp(-x))"),
        M("sum-for-product", lambda e: e.x + _s(e), "x + s: the sigmoid is added, not multiplied",
          wrong="x + sigmoid(x)", right=FORWARD),
        M("activation-twice", lambda e: _silu(_silu(e.x)), "the SiLU is applied twice",
          wrong="x * sigmoid(x) * sigmoid(x * sigmoid(x))", right=FORWARD),
        M("sigmoid-twice", lambda e: e.x * sigmoid(_s(e)), "the sigmoid is applied twice before it is multiplied by x",
          wrong="x * sigmoid(sigmoid(x))", right=FORWARD),
        M("factor-twice", lambda e: e.x * _s(e) * _s(e), "x s^2: the sigmoid is multiplied in twice",
          wrong="x * sigmoid(x)**2", right=FORWARD),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a SiLU",
          wrong="np.maximum(x, 0)", right=FORWARD),
        M("wrong-activation", lambda e: e.x * sigmoid(e.x * 1.702), "x sigmoid(1.702 x), an approximation of GELU",
          wrong="x * sigmoid(1.702 * x)", right=FORWARD),
        M("approximation", lambda e: e.x * clip(e.x + 3.0, 0.0, 6.0) / 6.0,
          "an approximation, the hard swish x max(0, min(x + 3, 6)) / 6",
          wrong="x * np.clip(x + 3, 0, 6) / 6", right=FORWARD),
        M("approximation", lambda e: e.x * clip(0.2 * e.x + 0.5, 0.0, 1.0),
          "an approximation, with 0.2 x + 0.5 clipped to [0, 1] as the sigmoid",
          wrong="x * np.clip(0.2 * x + 0.5, 0, 1)", right=FORWARD),
        M("input-clipped", clipped_input(lambda e, x: _silu(x)), "its input is clipped to {}", listed=True,
          wrong="np.clip(x, -5, 5) * sigmoid(np.clip(x, -5, 5))", right=FORWARD, case={"scale": 20}),
        M("exponential-overflows", in_candidates_arithmetic(lambda x: x * np.exp(x) / (1 + np.exp(x))),
          "written with e^x, which overflows for large x", overflows=True,
          wrong="x * np.exp(x) / (1 + np.exp(x))", right="x / (1 + np.exp(-x))", case={"scale": 3000}),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong="x * sigmoid(x) * 0.8", right=FORWARD),
    ],
    "grad_input": [
        M("derivative-incomplete", lambda e: e.dy * _s(e), "dx = dy s: the term x s (1 - s) is missing",
          wrong="dy * sigmoid(x)", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * e.x * _s(e) * (1.0 - _s(e)),
          "dx = dy x s (1 - s): the term s is missing",
          wrong="dy * x * sigmoid(x) * (1 - sigmoid(x))", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (_s(e) + _s(e) * (1.0 - _s(e))),
          "s + s (1 - s) in the place of s + x s (1 - s): the factor x is missing",
          wrong="dy * (sigmoid(x) + sigmoid(x) * (1 - sigmoid(x)))", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (_s(e) + e.x * (1.0 - _s(e))),
          "s + x (1 - s) in the place of s + x s (1 - s): a factor s is missing, or x is taken for y in y + s (1 - y)",
          wrong="dy * (sigmoid(x) + x * (1 - sigmoid(x)))", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (_s(e) + e.y), "s + y: the factor 1 - s of y is missing",
          wrong="dy * (sigmoid(x) + y)", right="dy * (sigmoid(x) + y * (1 - sigmoid(x)))"),
        M("wrong-derivative", lambda e: e.dy * _s(e) * (1.0 - _s(e)), "the derivative is the sigmoid's, s (1 - s)",
          wrong="dy * sigmoid(x) * (1 - sigmoid(x))", right=BACKWARD),
        M("wrong-derivative", lambda e: e.dy * e.y * (1.0 - e.y), "y (1 - y), as if y were a sigmoid",
          wrong="dy * y * (1 - y)", right=FROM_Y),
        M("wrong-derivative", lambda e: e.dy * (e.y + _s(e) * (1.0 - _s(e))),
          "y + s (1 - s) in the place of y + s (1 - y)",
          wrong="dy * (y + sigmoid(x) * (1 - sigmoid(x)))", right=FROM_Y),
        M("wrong-derivative", lambda e: e.dy * (e.y + _s(e) * (1.0 + e.y)),
          "y + s (1 + y) in the place of y + s (1 - y), or s (1 + x (1 + s)) in the place of s (1 + x (1 - s))",
          wrong="dy * (y + sigmoid(x) * (1 + y))", right=FROM_Y),
        M("wrong-derivative", lambda e: e.dy * _s(e) * (1.0 - e.x * (1.0 - _s(e))),
          "s (1 - x (1 - s)) in the place of s (1 + x (1 - s))",
          wrong="dy * sigmoid(x) * (1 - x * (1 - sigmoid(x)))", right=FACTORED),
        M("parentheses-missing", lambda e: e.dy * _s(e) + e.x * _s(e) * (1.0 - _s(e)),
          "dy s + x s (1 - s): the parentheses are missing",
          wrong="dy * sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x))", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * _slope(e.y),
          "the derivative is taken at y: the sigmoid is that of the output",
          wrong="dy * (sigmoid(y) + y * sigmoid(y) * (1 - sigmoid(y)))", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * (_s(e) + e.y * _s(e) * (1.0 - _s(e))),
          "s + y s (1 - s): y holds a factor s already",
          wrong="dy * (sigmoid(x) + y * sigmoid(x) * (1 - sigmoid(x)))", right=BACKWARD),
        M("value-for-derivative", lambda e: e.dy * e.y, "dx = dy y: the output is taken for the derivative",
          wrong="dy * y", right=FROM_Y),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-missing", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p), "the derivative is ReLU's mask",
          wrong="dy * (x > 0)", right=BACKWARD),
        M("upstream-gradient-missing", lambda e: _slope(e.x), "dx is the derivative alone: dy is left out",
          wrong="sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x))", right=BACKWARD),
        M("derivative-twice", lambda e: e.ref * _slope(e.x), "the derivative is applied twice",
          wrong="dy * (sigmoid(x) * (1 + x * (1 - sigmoid(x))))**2", right=FACTORED),
        M("gradient-clipped-with-input", clip_masked, "it is 0 outside {}, as if the input were clipped", listed=True,
          wrong="dy * sigmoid(x) * (1 + x * (1 - sigmoid(x))) * (np.abs(x) <= 2)", right=FACTORED, case={"scale": 3}),
    ],
}
# fmt: on

SiLU.mistakes = MISTAKES
