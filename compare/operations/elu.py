"""ELU: y = x where x > 0, else alpha (e^x - 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, exp, relu, where
from compare.operations.any_activation import dropout_scaling, other_slope
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


@dataclass(frozen=True)
class ELU(Activation):
    """torch's derivative at 0 is alpha: with alpha = 1 it does not jump there."""

    kind = "elu"
    scratch_type, torch_type = scratch.ELU, nn.ELU
    parts: ClassVar = {
        "output": Part.of("y = x where x > 0, else alpha (e^x - 1)", "x"),
        "grad_input": Part.of("dx = dy where x > 0, else dy alpha e^x", "x dy"),
    }

    alpha: float = 1.0

    @property
    def kinked(self) -> bool:  # type: ignore[override]
        return self.alpha != 1

    def function(self, x: Tensor) -> Tensor:
        return nn.functional.elu(x, self.alpha)

    def bounded(self, x: Bounded) -> Bounded:
        return where(x.value > 0, x, _expm1(_below(x)) * self.alpha, x.p)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """Where x > 0, y is a copy of x: 0. Elsewhere 7 u |alpha|.

        As alpha expm1(x): expm1 5 u, alpha rounded u, the product u: 7 u |y|. As alpha (e^x - 1): exp 5 u of
        |alpha| e^x, and the difference, alpha and the product 3 u |y|. As alpha e^x - alpha: exp and the product 6 u of
        |alpha| e^x, alpha and the difference 2 u |y|. As |alpha| e^x + |y| is |alpha|, all of it is below 7 u |alpha|.
        """
        return self._selected(7.0, x, np.ones_like(x), p)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """Where x > 0, dx is a copy of dy: 0. Elsewhere 9 u |alpha dy|, from x or from y.

        As dy alpha e^x: exp 5 u, alpha and two products 3 u: 8 u |dx|. As dy (y + alpha), where y brings what was not
        the rounding of alpha: of alpha e^x - alpha 6 u |alpha| e^x + u |y|, more than of the other forms near 0. alpha,
        the sum and the product add 3 u of |alpha| e^x, so it is 9 u |alpha| e^x + u |y|.
        """
        return self._selected(9.0, x, np.abs(dy), p)

    def _selected(self, roundings: float, x: Array, size: Array, p: Precision) -> Allowance:
        """e^x below the smallest normal number may be given as 0."""
        off = (roundings * p.u + p.normal) * abs(self.alpha) * size
        return Allowance(np.where(x > 0, 0.0, off) + 3 * p.subnormal)


# --- what people get wrong ---


def _below(x: Bounded) -> Bounded:
    """min(x, 0): the other side must not overflow."""
    return where(x.value < 0, x, 0.0, x.p)


def _alpha(e: Letters) -> float:
    alpha: float = e.operation.alpha
    return alpha


def _expm1(x: Bounded) -> Bounded:
    """As it is written least accurately."""
    return exp(x) - 1.0


def _elu(e: Letters, below: Bounded) -> Bounded:
    """x where x > 0, else what is said."""
    return where(e.x.value > 0, e.x, below, e.p)


def _slope(e: Letters, below: Any, positive: Any = None) -> Bounded:
    """dy where x > 0, or where it is said, else dy times what is said."""
    return where(e.x.value > 0 if positive is None else positive, e.dy, e.dy * below, e.p)


# What examples have in common: their cases, and the correct expressions.
EXPM1 = "np.where(x > 0, x, np.expm1(x))"
HALF = {"network": "5-7-4 elu(0.5), softmax cross-entropy"}
HALVED = "np.where(x > 0, x, 0.5 * np.expm1(x))"
BACKWARD = "dy * np.where(x > 0, 1, np.exp(x))"
FROM_Y = "dy * np.where(y > 0, 1, y + 1)"
HALVED_BACKWARD = "dy * np.where(x > 0, 1, 0.5 * np.exp(x))"

# fmt: off
MISTAKES = {
    "output": [
        M("alpha-forgotten", lambda e: _elu(e, _expm1(_below(e.x))),
          "alpha is forgotten: e^x - 1 where x < 0",
          wrong="np.where(x > 0, x, np.expm1(x))", right=HALVED, case=HALF),
        M("alpha-in-the-exponent", lambda e: _elu(e, _expm1(_below(e.x) * _alpha(e))),
          "alpha is a factor of x, not of e^x - 1: e^(alpha x) - 1 where x < 0",
          wrong="np.where(x > 0, x, np.expm1(0.5 * x))", right=HALVED, case=HALF),
        M("alpha-on-both-sides", lambda e: _elu(e, _expm1(_below(e.x))) * _alpha(e),
          "alpha is applied where x > 0, too",
          wrong="0.5 * np.where(x > 0, x, np.expm1(x))", right=HALVED, case=HALF),
        M("parentheses-missing", lambda e: _elu(e, exp(_below(e.x)) * _alpha(e) - 1.0),
          "alpha e^x - 1 where x < 0: parentheses are missing",
          wrong="np.where(x > 0, x, 0.5 * np.exp(x) - 1)", right="np.where(x > 0, x, 0.5 * (np.exp(x) - 1))",
          case=HALF),
        M("one-not-subtracted", lambda e: _elu(e, exp(_below(e.x)) * _alpha(e)),
          "alpha e^x where x < 0: the 1 is not subtracted",
          wrong="np.where(x > 0, x, np.exp(x))", right=EXPM1),
        M("curve-on-the-wrong-side", lambda e: where(e.x.value < 0, e.x, _expm1(e.x) * _alpha(e), e.p),
          "alpha (e^x - 1) is taken where x > 0, and x where x < 0",
          wrong="np.where(x < 0, x, np.expm1(x))", right="np.where(x < 0, np.expm1(x), x)"),
        M("curve-on-both-sides", lambda e: _expm1(e.x) * _alpha(e), "alpha (e^x - 1) is taken on both sides",
          wrong="np.expm1(x)", right=EXPM1),
        M("curve-added", lambda e: relu(e.x) + _expm1(e.x) * _alpha(e),
          "alpha (e^x - 1) is added where x > 0, too: it must be that of min(x, 0)",
          wrong="np.maximum(x, 0) + np.expm1(x)", right="np.maximum(x, 0) + np.expm1(np.minimum(x, 0))"),
        M("exponent-sign", lambda e: _elu(e, _expm1(-e.x) * _alpha(e)),
          "the sign in the exponent is wrong: alpha (e^-x - 1) where x < 0",
          wrong="np.where(x > 0, x, np.expm1(-x))", right=EXPM1),
        M("difference-turned-round", lambda e: _elu(e, _expm1(_below(e.x)) * -_alpha(e)),
          "alpha (1 - e^x) where x < 0: the difference is turned round",
          wrong="np.where(x > 0, x, 1 - np.exp(x))", right="np.where(x > 0, x, np.exp(x) - 1)"),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not an ELU",
          wrong="np.maximum(x, 0)", right=EXPM1),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right=EXPM1, case={"scale": 3}),
        M("approximation", lambda e: where(e.x.value > -_alpha(e), e.x, -_alpha(e), e.p),
          "a straight line cut off: max(x, -alpha)",
          wrong="np.maximum(x, -1)", right=EXPM1, case={"scale": 3}),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong="np.where(x > 0, x, np.expm1(x)) / 0.8", right=EXPM1),
        M("wrong-activation", other_slope(lambda e: e.x), "a leaky ReLU of slope {} where x < 0, not an ELU", rank=1,
          wrong="np.where(x > 0, x, 0.01 * x)", right=EXPM1),
    ],
    "grad_input": [
        M("alpha-forgotten", lambda e: _slope(e, exp(_below(e.x))),
          "alpha is forgotten: the derivative where x < 0 is e^x",
          wrong="np.where(x > 0, dy, dy * np.exp(x))", right=HALVED_BACKWARD, case=HALF),
        M("alpha-forgotten", lambda e: _slope(e, e.y + 1.0), "y + 1 in the place of y + alpha",
          wrong="dy * np.where(x > 0, 1, y + 1)", right="dy * np.where(x > 0, 1, y + 0.5)", case=HALF),
        M("derivative-of-pre-activation", lambda e: _slope(e, e.x + _alpha(e)), "x + alpha in the place of y + alpha",
          wrong="dy * np.where(x > 0, 1, x + 1)", right=FROM_Y),
        M("derivative-of-activated", lambda e: _slope(e, exp(where(e.x.value > 0, 0.0, e.y, e.p)) * _alpha(e)),
          "the derivative is taken at y: alpha e^y in the place of alpha e^x",
          wrong="dy * np.where(y > 0, 1, np.exp(y))", right=BACKWARD),
        M("value-for-derivative", lambda e: _slope(e, e.y), "the derivative where x < 0 is y: alpha is not added",
          wrong="dy * np.where(x > 0, 1, y)", right=FROM_Y),
        M("value-for-derivative", lambda e: e.dy * e.y, "dx = dy y: the output is taken for the derivative",
          wrong="dy * y", right=FROM_Y),
        M("wrong-derivative", lambda e: _slope(e, _alpha(e) - e.y), "alpha - y in the place of y + alpha",
          wrong="dy * np.where(y > 0, 1, 1 - y)", right=FROM_Y),
        M("exponent-sign", lambda e: _slope(e, exp(-_below(e.x)) * _alpha(e)),
          "the sign in the exponent is wrong: alpha e^-x where x < 0",
          wrong="dy * np.where(x > 0, 1, np.exp(-x))", right=BACKWARD),
        M("curve-on-the-wrong-side", lambda e: _slope(e, exp(e.x) * _alpha(e), e.x.value < 0),
          "alpha e^x is taken where x > 0, and 1 where x < 0",
          wrong="dy * np.where(x < 0, 1, np.exp(x))", right=BACKWARD),
        M("curve-on-both-sides", lambda e: e.dy * (exp(e.x) * _alpha(e)), "alpha e^x is taken on both sides",
          wrong="dy * np.exp(x)", right="dy * np.exp(np.minimum(x, 0))"),
        M("curve-on-both-sides", lambda e: e.dy * (e.y + _alpha(e)), "y + alpha is taken on both sides",
          wrong="dy * (y + 1)", right="dy * (np.minimum(y, 0) + 1)"),
        M("curve-in-forward-only", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p),
          "the derivative is ReLU's: the curve is in the forward pass only",
          wrong="dy * (x > 0)", right=BACKWARD),
        M("mask-from-gradient", lambda e: _slope(e, exp(_below(e.x)) * _alpha(e), e.dy.value > 0),
          "the mask is dy > 0: it must come from x, not from the gradient",
          wrong="np.where(dy > 0, dy, dy * np.exp(np.minimum(x, 0)))", right=BACKWARD),
        M("mask-at-zero", lambda e: _slope(e, exp(_below(e.x)) * _alpha(e), e.x.value >= 0),
          "the mask is x >= 0, and the derivative at x = 0 is 1, not alpha",
          wrong="np.where(x >= 0, dy, dy * 0.5 * np.exp(x))", right="np.where(x > 0, dy, dy * 0.5 * np.exp(x))",
          case=HALF | {"zero_row": True, "bias": 0.0}),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy everywhere",
          wrong="dy", right=BACKWARD),
        M("upstream-gradient-missing", lambda e: where(e.x.value > 0, 1.0, exp(_below(e.x)) * _alpha(e), e.p),
          "dx is the derivative alone: dy is left out",
          wrong="np.where(x > 0, 1, np.exp(x))", right=BACKWARD),
        M("wrong-derivative", other_slope(lambda e: e.dy), "the derivative where x < 0 is {}, a leaky ReLU's", rank=1,
          wrong="np.where(x > 0, dy, 0.01 * dy)", right=BACKWARD),
    ],
}
# fmt: on

ELU.mistakes = MISTAKES
