"""LeakyReLU: y = x where x > 0, else s x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, relu, where
from compare.operations.any_activation import other_slope
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """With s = `negative_slope`. torch's derivative at 0 is s."""

    kind = "leaky_relu"
    scratch_type, torch_type = scratch.LeakyReLU, nn.LeakyReLU
    parts: ClassVar = {
        "output": Part.of("y = x where x > 0, else s x", "x"),
        "grad_input": Part.of("dx = dy where x > 0, else s dy", "x dy"),
    }
    kinked = True

    negative_slope: float = 0.01

    def function(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(x, self.negative_slope)

    def bounded(self, x: Bounded) -> Bounded:
        return where(x.value > 0, x, x * self.negative_slope, x.p)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """As a selection, max(x, s x), or a x + b |x| with a = (1 + s) / 2 and b = (1 - s) / 2: 5 u c |x|, where
        c = max(1, |s|).

        s is rounded, and so is s x: 2 u |s x|. In the last form a and b carry u each beside the rounding of s, and so
        do their products: 3 u of terms whose sizes add up to c |x|, and u |s x| for s; their sum is rounded: u |y|.
        """
        return self._selected(x, p)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """In the same forms, with the sign of x in the last: 5 u c |dy|."""
        return self._selected(dy, p)

    def _selected(self, a: Array, p: Precision) -> Allowance:
        return Allowance(5 * p.u * max(1.0, abs(self.negative_slope)) * np.abs(a) + 3 * p.subnormal)


# --- what people get wrong ---


def _leaky(e: Letters, slope: Any, a: Bounded, positive: Any = None) -> Bounded:
    """a where x > 0, or where it is said, else slope a."""
    return where(e.x.value > 0 if positive is None else positive, a, a * slope, e.p)


def _own(e: Letters) -> float:
    slope: float = e.operation.negative_slope
    return slope


# fmt: off
MISTAKES = {
    "output": [
        M("slope-forgotten", lambda e: relu(e.x), "it is ReLU: the slope where x < 0 is 0",
          wrong="np.maximum(x, 0)", right="np.where(x > 0, x, 0.01 * x)"),
        M("slope-on-the-wrong-side", lambda e: _leaky(e, _own(e), e.x, e.x.value < 0),
          "the slope is applied where x > 0, not where x < 0",
          wrong="np.where(x < 0, x, 0.01 * x)", right="np.maximum(x, 0.01 * x)"),
        M("slope-on-the-wrong-side", lambda e: e.x * _own(e), "the slope is applied on both sides: y = s x",
          wrong="0.01 * x", right="0.505 * x + 0.495 * np.abs(x)", case={"dtype": "float64"}),
        M("slope-sign", lambda e: _leaky(e, -_own(e), e.x), "the slope is negative: y = -s x where x < 0",
          wrong="np.where(x > 0, x, -0.01 * x)"),
        M("slope-added", lambda e: relu(e.x) + e.x * _own(e), "s x is added on both sides: y = max(x, 0) + s x",
          wrong="np.maximum(x, 0) + 0.01 * x", right="np.maximum(x, 0) + 0.01 * np.minimum(x, 0)"),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x"),
        M("other-slope", other_slope(lambda e: e.x), "the slope where x < 0 is {}", rank=1,
          wrong="np.where(x > 0, x, 0.2 * x)"),
    ],
    "grad_input": [
        M("slope-in-forward-only", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p),
          "the derivative is ReLU's: the slope is in the forward pass only",
          wrong="np.where(x > 0, dy, 0)", right="np.where(x > 0, dy, 0.01 * dy)"),
        M("slope-on-the-wrong-side", lambda e: _leaky(e, _own(e), e.dy, e.x.value < 0),
          "the slope is applied where x > 0, not where x < 0",
          wrong="np.where(x < 0, dy, 0.01 * dy)", right="dy * np.where(x > 0, 1, 0.01)"),
        M("mask-from-the-output", lambda e: _leaky(e, _own(e), e.dy, e.y.value > 0),
          "the mask is y > 0: where the slope is negative, y has not the sign of x",
          wrong="np.where(y > 0, dy, -0.5 * dy)", right="np.where(x > 0, dy, -0.5 * dy)",
          case={"network": "5-7-4 leaky_relu(-0.5), softmax cross-entropy"}),
        M("mask-from-gradient", lambda e: _leaky(e, _own(e), e.dy, e.dy.value > 0),
          "the mask is dy > 0: it must come from x, not from the gradient",
          wrong="np.where(dy > 0, dy, 0.01 * dy)"),
        M("mask-at-zero", lambda e: _leaky(e, _own(e), e.dy, e.x.value >= 0),
          "the mask is x >= 0, and the derivative at x = 0 is 1, not s",
          wrong="np.where(x >= 0, dy, 0.01 * dy)", right="np.where(x > 0, dy, 0.01 * dy)",
          case={"zero_row": True, "bias": 0.0}),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy everywhere",
          wrong="dy"),
        M("value-for-derivative", lambda e: e.dy * e.y, "dx = dy y: the output is taken for the derivative",
          wrong="dy * y"),
        M("upstream-gradient-missing", lambda e: _leaky(e, _own(e), e.dy * 0.0 + 1.0),
          "dx is the derivative alone: dy is left out",
          wrong="np.where(x > 0, 1, 0.01)"),
        M("other-slope", other_slope(lambda e: e.dy), "the derivative where x < 0 is {}, not s", rank=1,
          wrong="np.where(x > 0, dy, 0.2 * dy)"),
    ],
}
# fmt: on

LeakyReLU.mistakes = MISTAKES
