"""Softmax: y_k = e^x_k / sum_j e^x_j, over each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, clip, exp, log, sigmoid, softmax
from compare.operations.any_activation import in_candidates_arithmetic
from compare.operations.letters import Letters
from compare.operations.mistake import EPSILONS, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Part, RowActivation


@dataclass(frozen=True)
class Softmax(RowActivation):
    """Over each row of x (m, n), shifted by its maximum or not.

    Samples are rows, so torch's dim is 1, or -1, which is the same. Any other dim is another function, and refused; so
    is an x that is no matrix.
    """

    kind = "softmax"
    scratch_type, torch_type = scratch.Softmax, nn.Softmax
    parts: ClassVar = {
        "output": Part.of("y_k = e^x_k / sum_j e^x_j, over each row", "x"),
        "grad_input": Part.of("dx_k = y_k (dy_k - sum_j dy_j y_j)", "x dy"),
    }
    function = staticmethod(lambda s: torch.softmax(s, dim=1))
    bounded = staticmethod(softmax)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """`softmax_relative` times y; e^(x - max) may underflow, before a divisor of at least 1."""
        return Allowance(softmax_relative(x, y, p) * y + 2 * p.subnormal)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """dx_k = y_k (dy_k - sum_j dy_j y_j), in that form or through the Jacobian diag(y) - y y^T.

        With E the relative error of y: E_k y_k (|dy_k| + c) + y_k sum_j E_j y_j |dy_j| + (n + 4) u y_k (|dy_k| + c),
        where c = sum_j y_j |dy_j|; the two terms are taken apart because the Jacobian form rounds y_k dy_k and
        y_k y_j dy_j so.
        """
        y = self.apply(x)
        relative = softmax_relative(x, y, p)
        weighted = y * np.abs(dy)
        c = weighted.sum(axis=1, keepdims=True)
        carried = (relative * weighted).sum(axis=1, keepdims=True)
        n = x.shape[1]
        rounding = (relative + (n + 4) * p.u) * y * (np.abs(dy) + c) + (1 + relative) * y * carried
        subnormal = (n + 3) * p.subnormal * (1 + np.abs(dy) + np.abs(dy).max(axis=1, keepdims=True))
        return Allowance(rounding + subnormal, reach=np.abs(dy) + c)


def softmax_relative(s: Array, y: Array, p: Precision) -> Array:
    """Relative error of softmax of s (m, n): e^E - 1, E = `log_softmax_error`."""
    return np.expm1(np.minimum(log_softmax_error(s, y, p), 700))


def log_softmax_error(s: Array, y: Array, p: Precision) -> Array:
    """Absolute error of log softmax of s (m, n): E = (2 |s - max| + sum_j y_j |s_j - max| + |lse| + n + 15) u.

    Shifted: s - max is rounded (u |s - max| in the exponent), exp 4 u, their sum inherits the y-weighted mean of both
    and adds (n - 1) u, the quotient u. As e^(s - lse): lse carries u |lse| and the error of the sum; s - lse, of size
    |s - max| + log n at most, is rounded. Unshifted: no error in the exponent. Two exps, a log and a quotient: 15.
    A logit of -inf has a y of exactly 0, and takes no part.
    """
    shift = s.max(axis=1, keepdims=True)
    away = np.where(s == -np.inf, 0.0, np.abs(s - shift))
    mean_away = (y * away).sum(axis=1, keepdims=True)
    lse = shift + np.log(np.exp(s - shift).sum(axis=1, keepdims=True))
    error: Array = (2 * away + mean_away + np.abs(lse) + s.shape[1] + 15) * p.u
    return error


# --- what people get wrong ---


def _normalised(z: Bounded) -> Bounded:
    return z / z.sum(axis=1, keepdims=True)


def _row_shifted(e: Letters) -> Bounded:
    return exp(e.x - e.x.value.max(axis=1, keepdims=True))


def _softmax_of(a: Any, shift: Any, axis: int | None = 1) -> Any:
    z = np.exp(a - shift)
    return z / z.sum(axis=axis, keepdims=True)


def _softmax_epsilon(e: Letters, eps: float) -> Bounded:
    z = _row_shifted(e)
    return z / (z.sum(axis=1, keepdims=True) + eps)


TAME = Unseen("no logit is large enough")  # for e^x to overflow, or underflow


# What examples have in common: their cases, and the correct expressions.
UNSHIFTED = "np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)"
Z = "np.exp(x - x.max(axis=1, keepdims=True))"
SHIFTED = f"{Z} / {Z}.sum(axis=1, keepdims=True)"
BACKWARD = "y * (dy - (dy * y).sum(axis=1, keepdims=True))"
TWO_PARTS = "dy * y - y * (dy * y).sum(axis=1, keepdims=True)"

# fmt: off
MISTAKES = {
    "output": [
        M("output-clipped", lambda e: ((clip(e.ref, c, 1 - c), f"{c:g}") for c in EPSILONS),
          "y is clipped to [{0}, 1 - {0}]", listed=True,
          wrong="np.clip(softmax(x), 0.01, 0.99)", right="softmax(x)", case={"scale": 10}),
        M("softmax-twice", lambda e: softmax(softmax(e.x)), "the softmax is applied twice",
          wrong="softmax(softmax(x))", right="softmax(x)"),
        M("softmax-wrong-axis", lambda e: softmax(e.x, axis=0), "it is normalised down the columns (axis 0)",
          wrong="np.exp(x) / np.exp(x).sum(axis=0)", right=UNSHIFTED),
        M("softmax-over-batch", lambda e: exp(e.x - e.x.value.max()) / exp(e.x - e.x.value.max()).sum(),
          "it is normalised over the whole batch",
          wrong="np.exp(x) / np.exp(x).sum()", right=UNSHIFTED),
        M("softmax-wrong-axis", lambda e: _row_shifted(e) / _row_shifted(e).sum(axis=0, keepdims=True),
          "it is normalised down the columns (axis 0)", overflows=True,
          wrong="np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=0)",
          right=SHIFTED),
        M("softmax-over-batch", lambda e: _row_shifted(e) / _row_shifted(e).sum(),
          "it is normalised over the whole batch",
          wrong="np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x - x.max(axis=1, keepdims=True)).sum()",
          right=SHIFTED),
        M("wrong-base", lambda e: softmax(e.x * float(np.log(2))), "powers of 2, not of e",
          wrong="2**x / (2**x).sum(axis=1, keepdims=True)", right="np.e**x / (np.e**x).sum(axis=1, keepdims=True)"),
        M("wrong-base", lambda e: softmax(e.x * float(np.log(10))), "powers of 10, not of e",
          wrong="10**x / (10**x).sum(axis=1, keepdims=True)", right="np.e**x / (np.e**x).sum(axis=1, keepdims=True)"),
        M("softmax-shift-on-one-side", lambda e: _row_shifted(e) / exp(e.x).sum(axis=1, keepdims=True),
          "the maximum is subtracted in the numerator only",
          wrong="np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x).sum(axis=1, keepdims=True)", right=UNSHIFTED),
        M("softmax-shift-on-one-side", lambda e: exp(e.x) / _row_shifted(e).sum(axis=1, keepdims=True),
          "the maximum is subtracted in the denominator only",
          wrong="np.exp(x) / np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)", right=UNSHIFTED),
        M("softmax-shifted-by-column", lambda e: _normalised(exp(e.x - e.x.value.max(axis=0, keepdims=True))),
          "the column's maximum is subtracted, not the row's: a different number from each class",
          wrong="np.exp(x - x.max(axis=0)) / np.exp(x - x.max(axis=0)).sum(axis=1, keepdims=True)",
          right="np.exp(x - x.max()) / np.exp(x - x.max()).sum(axis=1, keepdims=True)"),
        M("softmax-not-normalised", lambda e: exp(e.x), "e^x is not divided by its sum",
          wrong="np.exp(x)", right=UNSHIFTED),
        M("softmax-not-normalised", _row_shifted, "e^(x - max) is not divided by its sum",
          wrong="np.exp(x - x.max(axis=1, keepdims=True))", right=UNSHIFTED),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right="softmax(x)"),
        M("wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not a softmax",
          wrong="1 / (1 + np.exp(-x))", right="softmax(x)"),
        M("log-softmax", lambda e: log(softmax(e.x)), "it is the logarithm of the softmax",
          wrong="np.log(softmax(x))", right="softmax(x)"),
        M("softmax-not-shifted", in_candidates_arithmetic(lambda s: _softmax_of(s, 0)),
          "the row's maximum is not subtracted, and e^x overflows", overflows=True, unseen=TAME,
          wrong=UNSHIFTED, right="softmax(x)", case={"network": "5-7-4 relu, softmax output, mse", "scale": 3000}),
        M("softmax-shifted-by-batch-maximum", in_candidates_arithmetic(lambda s: _softmax_of(s, s.max())),
          "the maximum of the whole batch is subtracted, not the row's, and e^(x - max) underflows", overflows=True,
          unseen=TAME,
          wrong="np.exp(x - x.max()) / np.exp(x - x.max()).sum(axis=1, keepdims=True)", right="softmax(x)",
          case={"network": "5-7-4 relu, softmax output, mse", "scale": 3000}),
        M("epsilon-in-denominator", lambda e: ((_softmax_epsilon(e, eps), f"{eps:g}") for eps in EPSILONS),
          "{} is added to the sum in the denominator", listed=True,
          wrong="np.exp(x - x.max(axis=1, keepdims=True)) / (np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1, "
            "keepdims=True) + 1e-3)", right="softmax(x)"),
    ],
    "grad_input": [
        M("softmax-diagonal", lambda e: e.dy * e.y * (1.0 - e.y),
          "the Jacobian is reduced to its diagonal: dx_k = dy_k y_k (1 - y_k)",
          wrong="dy * y * (1 - y)", right=BACKWARD),
        M("softmax-diagonal-missing", lambda e: -(e.y * (e.dy * e.y).sum(axis=1, keepdims=True)),
          "the Jacobian lacks its diagonal part: dx_k = -y_k sum_j dy_j y_j",
          wrong="-y * (dy * y).sum(axis=1, keepdims=True)", right=TWO_PARTS),
        M("softmax-diagonal", lambda e: e.dy * e.y, "dx = dy y: the sum over the row is missing",
          wrong="dy * y", right=TWO_PARTS),
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
          wrong="dy", right=BACKWARD),
        M("derivative-missing", lambda e: (e.y - e.t) / e.count, "dx is y - t, the fused gradient: dy is not used",
          wrong="(y - t) / y.size", right=BACKWARD,
          case={"network": "5-7-4 relu, softmax output, mse", "target": "one-hot"}),
        M("wrong-derivative", lambda e: e.dy * e.y - (e.dy * e.y).sum(axis=1, keepdims=True),
          "the sum over the row lacks its factor y_k",
          wrong="dy * y - (dy * y).sum(axis=1, keepdims=True)", right=TWO_PARTS),
        M("softmax-wrong-axis", lambda e: e.y * (e.dy - (e.dy * e.y).sum(axis=0, keepdims=True)),
          "the sum runs down the columns, not along the row",
          wrong="y * (dy - (dy * y).sum(axis=0))", right=BACKWARD),
        M("softmax-over-batch", lambda e: e.y * (e.dy - (e.dy * e.y).sum()),
          "the sum runs over the whole batch, not along the row",
          wrong="y * (dy - (dy * y).sum())", right=BACKWARD),
        M("wrong-derivative", lambda e: e.y * (e.dy - e.dy.sum(axis=1, keepdims=True)),
          "the sum over the row is not weighted by y",
          wrong="y * (dy - dy.sum(axis=1, keepdims=True))", right=BACKWARD),
        M("wrong-derivative", lambda e: e.y * (e.dy + (e.dy * e.y).sum(axis=1, keepdims=True)),
          "the sum over the row is added, not subtracted",
          wrong="y * (dy + (dy * y).sum(axis=1, keepdims=True))", right=BACKWARD),
    ],
}
# fmt: on

Softmax.mistakes = MISTAKES
