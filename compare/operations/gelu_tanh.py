"""GELU by tanh: y = 1/2 x (1 + tanh g), where g = sqrt(2 / pi) (x + 0.044715 x^3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, erf, exp, relu, sigmoid, tanh, where
from compare.numbers.float64 import value
from compare.operations.any_activation import clip_masked, dropout_scaling
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part

SCALE, CUBIC = float(np.sqrt(2 / np.pi)), 0.044715
FAR = 100.0  # beyond it tanh g is 1 or -1 with all digits


def _inner(x: Any) -> Any:
    return (x + x * x * x * CUBIC) * SCALE


def _inner_slope(x: Any) -> Any:
    return (x * x * (3 * CUBIC) + 1.0) * SCALE


def approximated(x: Bounded) -> Bounded:
    """The output."""
    return x * (1.0 + tanh(_inner(x))) * 0.5


def approximated_slope(x: Bounded) -> Bounded:
    """The derivative."""
    return _slope(x, tanh(_inner(x)), _inner_slope(x))


def _slope(x: Bounded, t: Bounded, inner: Any) -> Bounded:
    return (1.0 + t) * 0.5 + x * (1.0 - t * t) * inner * 0.5


@dataclass(frozen=True)
class GELUTanh(Activation):
    """torch's approximate="tanh". Below, t = tanh g, F = 1/2 (1 + t), h = max(F, 1/2), and g' is the derivative of g.

    g carries 10 u: in x^3, as a power, 5 u, 0.044715 and its product 2 u, the sum u, sqrt(2 / pi) and its product 2 u.
    That moves F by 5 |g| (1 - t^2) u. tanh has 5 u of t, of which F has half, and the sum u F: for x < 0 it is
    2.5 (1 - 2 F) + F, at most 2.5, and for x > 0 6 F - 2.5, at most 5 F. As sigmoid(2 g), which is F, it is
    5 F (1 - F) + 2 F, which is no more. So F carries (5 h + 5 |g| (1 - t^2)) u.
    """

    kind = "gelu_tanh"
    scratch_type, torch_type = scratch.GELU, nn.GELU
    variant: ClassVar = {"approximate": "tanh"}
    parts: ClassVar = {
        "output": Part.of("y = 1/2 x (1 + tanh g), where g = sqrt(2 / pi) (x + 0.044715 x^3)", "x"),
        "grad_input": Part.of(
            "dx = 1/2 dy (1 + t + x (1 - t^2) g'), where t = tanh g, g = sqrt(2 / pi) (x + 0.044715 x^3)", "x dy"
        ),
    }
    bounded = staticmethod(approximated)

    @staticmethod
    def function(x: Tensor) -> Tensor:
        """torch's own derivative is 0 times infinity where x^2 overflows, and its output ReLU's far before that."""
        near = nn.functional.gelu(x.clamp(-FAR, FAR), approximate="tanh")
        return torch.where(x.abs() < FAR, near, x.relu())

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """u |x| (6 h + 5 |g| (1 - t^2)): F, and a product. As x / 2 + x / 2 t, the product and the sum add
        |t| / 2 and F to 5/2 |t|: at most 3 for x < 0, and 7 F - 3 for x > 0."""
        g, sech, h = _parts(x)
        return Allowance(p.u * np.abs(x) * (6 * h + 5 * g * sech) + 3 * p.subnormal, reach=2 * np.abs(x))

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """(u (7 h + |A| (21 + 20 |g|)) + 1/2 |x| g' min(12 u, 48 (1 - t^2))) |dy|, where A = 1/2 x (1 - t^2) g'.

        F carries 5 h + 5 |g| (1 - t^2), which is at most 5 h + 10 |A|, as |g| is below |x| g'. In A, g moves 1 - t^2 by
        20 |g| of itself; g' carries 7 u, and two products 2 u. The sum and the product with dy add 2 (F + |A|).

        1 - t^2 itself carries 12 u: 2 |t| times 5 u |t|, the square and the difference. Where 1 - |t| is below u / 8,
        tanh is 1 or -1 in every library, so that 1 - t^2 is 0 and the error is 1 - t^2: it is below min(12 u,
        48 (1 - t^2)) on either side. As 4 s (1 - s) of s = sigmoid(2 g), or as 1 / cosh^2 g, it is no more.

        A product with dy may underflow before it is multiplied by 1/2 |x| g', which is below 32 where t is not 1.
        """
        g, sech, h = _parts(x)
        near = np.minimum(np.abs(x), FAR)
        reached = near * _inner_slope(near) / 2
        roundings = p.u * (7 * h + reached * sech * (21 + 20 * g)) + reached * np.minimum(12 * p.u, 48 * sech)
        with np.errstate(over="ignore"):
            reach = (1 + np.square(x)) * np.maximum(np.abs(dy), 1)  # x^2 may overflow before it is multiplied by dy
        return Allowance(roundings * np.abs(dy) + p.normal * np.abs(dy) + 100 * p.subnormal, reach=reach)


def _parts(x: Array) -> tuple[Array, Array, Array]:
    """|g|, 1 - tanh^2 g and h."""
    g = _inner(np.clip(x, -FAR, FAR))
    below, above = value(torch.sigmoid, 2 * g), value(torch.sigmoid, -2 * g)
    return np.abs(g), 4 * below * above, np.maximum(below, 0.5)


# --- what people get wrong ---


def _t(e: Letters) -> Bounded:
    return tanh(_inner(e.x))


def _of(e: Letters, g: Bounded) -> Bounded:
    """1/2 x (1 + tanh g), of another g."""
    return e.x * (1.0 + tanh(g)) * 0.5


def _with(e: Letters, inner: Any) -> Bounded:
    """The derivative, with another g'."""
    return e.dy * _slope(e.x, _t(e), inner)


def _exact_slope(x: Bounded) -> Bounded:
    normal = (1.0 + erf(x * float(np.sqrt(0.5)))) * 0.5
    return normal + x * exp(-(x * x) * 0.5) * float(1 / np.sqrt(2 * np.pi))


# What examples have in common: the correct expressions.
C = "np.sqrt(2 / np.pi)"
T = f"np.tanh({C} * (x + 0.044715 * x**3))"
FORWARD = f"0.5 * x * (1 + {T})"
SLOPE = f"0.5 * (1 + {T}) + 0.5 * x * (1 - {T}**2) * {C} * (1 + 3 * 0.044715 * x**2)"
BACKWARD = f"dy * ({SLOPE})"
EXACT = "0.5 * (1 + erf(x / np.sqrt(2)))"

# fmt: off
MISTAKES = {
    "output": [
        M("other-form", lambda e: e.x * (1.0 + erf(e.x * float(np.sqrt(0.5)))) * 0.5,
          "it is the exact form with erf (approximate='none'), not the tanh one",
          wrong=f"x * {EXACT}", right=FORWARD),
        M("approximation", lambda e: e.x * sigmoid(e.x * 1.702), "another approximation, x sigmoid(1.702 x)",
          wrong="x * sigmoid(1.702 * x)", right=FORWARD),
        M("cube-forgotten", lambda e: _of(e, e.x * SCALE), "the cube is missing: tanh(sqrt(2 / pi) x)",
          wrong=f"0.5 * x * (1 + np.tanh({C} * x))", right=FORWARD),
        M("cube-forgotten", lambda e: _of(e, (e.x + e.x * e.x * CUBIC) * SCALE), "x^2 in the place of x^3",
          wrong=f"0.5 * x * (1 + np.tanh({C} * (x + 0.044715 * x**2)))", right=FORWARD),
        M("constant-misplaced", lambda e: _of(e, (e.x + e.x * e.x * e.x * (10 * CUBIC)) * SCALE),
          "0.44715 in the place of 0.044715",
          wrong=f"0.5 * x * (1 + np.tanh({C} * (x + 0.44715 * x**3)))", right=FORWARD),
        M("parentheses-missing", lambda e: _of(e, e.x * SCALE + e.x * e.x * e.x * CUBIC),
          "sqrt(2 / pi) x + 0.044715 x^3: parentheses are missing",
          wrong=f"0.5 * x * (1 + np.tanh({C} * x + 0.044715 * x**3))", right=FORWARD),
        M("root-forgotten", lambda e: _of(e, (e.x + e.x * e.x * e.x * CUBIC) * float(2 / np.pi)),
          "2 / pi in the place of its root",
          wrong="0.5 * x * (1 + np.tanh(2 / np.pi * (x + 0.044715 * x**3)))", right=FORWARD),
        M("root-forgotten", lambda e: _of(e, e.x + e.x * e.x * e.x * CUBIC), "the factor sqrt(2 / pi) is missing",
          wrong="0.5 * x * (1 + np.tanh(x + 0.044715 * x**3))", right=FORWARD),
        M("half-forgotten", lambda e: e.x * (1.0 + _t(e)), "the factor 1/2 is missing: x (1 + tanh g)",
          wrong=f"x * (1 + {T})", right=FORWARD),
        M("one-forgotten", lambda e: e.x * _t(e) * 0.5, "the 1 is missing: 1/2 x tanh g",
          wrong=f"0.5 * x * {T}", right=FORWARD),
        M("factor-missing", lambda e: (1.0 + _t(e)) * 0.5, "it is 1/2 (1 + tanh g) alone: the factor x is missing",
          wrong=f"0.5 * (1 + {T})", right=FORWARD),
        M("wrong-activation", lambda e: e.x * sigmoid(e.x), "the activation is a SiLU, not a GELU",
          wrong="x * sigmoid(x)", right=FORWARD),
        M("wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a GELU",
          wrong="np.maximum(x, 0)", right=FORWARD),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right=FORWARD),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong=f"{FORWARD} * 0.8", right=FORWARD),
    ],
    "grad_input": [
        M("other-form", lambda e: e.dy * _exact_slope(e.x), "the derivative is that of the exact form with erf",
          wrong=f"dy * ({EXACT} + x * np.exp(-x**2 / 2) / np.sqrt(2 * np.pi))", right=BACKWARD),
        M("three-forgotten", lambda e: _with(e, (e.x * e.x * CUBIC + 1.0) * SCALE),
          "0.044715 x^2 in the place of 3 0.044715 x^2 in the derivative of g",
          wrong=f"dy * (0.5 * (1 + {T}) + 0.5 * x * (1 - {T}**2) * {C} * (1 + 0.044715 * x**2))", right=BACKWARD),
        M("inner-derivative-missing", lambda e: _with(e, 1.0),
          "the derivative of g is left out",
          wrong=f"dy * (0.5 * (1 + {T}) + 0.5 * x * (1 - {T}**2))", right=BACKWARD),
        M("inner-derivative-incomplete", lambda e: _with(e, SCALE),
          "the derivative of g is sqrt(2 / pi): that of the cube is left out",
          wrong=f"dy * (0.5 * (1 + {T}) + 0.5 * x * (1 - {T}**2) * {C})", right=BACKWARD),
        M("inner-derivative-incomplete", lambda e: _with(e, e.x * e.x * (3 * CUBIC) + 1.0),
          "the derivative of g lacks its factor sqrt(2 / pi)",
          wrong=f"dy * (0.5 * (1 + {T}) + 0.5 * x * (1 - {T}**2) * (1 + 3 * 0.044715 * x**2))", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * (1.0 + _t(e)) * 0.5,
          "dx = 1/2 dy (1 + t): the term with the derivative of tanh is missing",
          wrong=f"dy * 0.5 * (1 + {T})", right=BACKWARD),
        M("derivative-incomplete", lambda e: e.dy * e.x * (1.0 - _t(e) * _t(e)) * _inner_slope(e.x) * 0.5,
          "the term 1/2 (1 + t) is missing",
          wrong=f"dy * 0.5 * x * (1 - {T}**2) * {C} * (1 + 3 * 0.044715 * x**2)", right=BACKWARD),
        M("derivative-incomplete",
          lambda e: e.dy * ((1.0 + _t(e)) * 0.5 + (1.0 - _t(e) * _t(e)) * _inner_slope(e.x) * 0.5),
          "the factor x is missing in 1/2 x (1 - t^2) g'",
          wrong=f"dy * (0.5 * (1 + {T}) + 0.5 * (1 - {T}**2) * {C} * (1 + 3 * 0.044715 * x**2))", right=BACKWARD),
        M("half-forgotten", lambda e: _with(e, _inner_slope(e.x) * 2.0),
          "the factor 1/2 is missing in 1/2 x (1 - t^2) g'",
          wrong=f"dy * (0.5 * (1 + {T}) + x * (1 - {T}**2) * {C} * (1 + 3 * 0.044715 * x**2))", right=BACKWARD),
        M("square-forgotten", lambda e: e.dy * ((1.0 + _t(e)) * 0.5 + e.x * (1.0 - _t(e)) * _inner_slope(e.x) * 0.5),
          "1 - t in the place of 1 - t^2",
          wrong=f"dy * (0.5 * (1 + {T}) + 0.5 * x * (1 - {T}) * {C} * (1 + 3 * 0.044715 * x**2))", right=BACKWARD),
        M("wrong-derivative", lambda e: _with(e, -_inner_slope(e.x)), "the second term is subtracted, not added",
          wrong=f"dy * (0.5 * (1 + {T}) - 0.5 * x * (1 - {T}**2) * {C} * (1 + 3 * 0.044715 * x**2))", right=BACKWARD),
        M("derivative-of-activated", lambda e: e.dy * approximated_slope(e.y), "the derivative is taken at y, not at x",
          wrong="dy * (" + SLOPE.replace("x", "y").replace("eyp", "exp") + ")", right=BACKWARD),
        M("value-for-derivative", lambda e: e.dy * e.y, "dx = dy y: the output is taken for the derivative",
          wrong="dy * y", right=BACKWARD),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-missing", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p), "the derivative is ReLU's mask",
          wrong="dy * (x > 0)", right=BACKWARD),
        M("upstream-gradient-missing", lambda e: approximated_slope(e.x), "dx is the derivative alone: dy is left out",
          wrong=SLOPE, right=BACKWARD),
        M("derivative-twice", lambda e: e.ref * approximated_slope(e.x), "the derivative is applied twice",
          wrong=f"dy * ({SLOPE})**2", right=BACKWARD),
        M("gradient-clipped-with-input", clip_masked, "it is 0 outside {}, as if the input were clipped", listed=True,
          wrong=f"{BACKWARD} * (np.abs(x) <= 2)", right=BACKWARD, case={"scale": 3}),
    ],
}
# fmt: on

GELUTanh.mistakes = MISTAKES
