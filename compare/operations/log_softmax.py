"""LogSoftmax: y_k = x_k - log sum_j e^x_j, over each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, exp, log, softmax
from compare.operations.any_activation import in_candidates_arithmetic
from compare.operations.any_loss import log_softmax
from compare.operations.letters import Letters
from compare.operations.mistake import EPSILONS
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Part, RowActivation
from compare.operations.softmax import TAME, Softmax, log_softmax_error, softmax_relative


@dataclass(frozen=True)
class LogSoftmax(RowActivation):
    """Over each row of x (m, n), shifted by its maximum or not. torch's dim is 1, or -1, as for the softmax."""

    kind = "log_softmax"
    scratch_type, torch_type = scratch.LogSoftmax, nn.LogSoftmax
    parts: ClassVar = {
        "output": Part.of("y_k = x_k - log sum_j e^x_j, over each row", "x"),
        "grad_input": Part.of("dx_k = dy_k - e^y_k sum_j dy_j", "x dy"),
    }
    function = staticmethod(lambda s: torch.log_softmax(s, dim=1))
    bounded = staticmethod(log_softmax)

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """The relative error of the softmax is an absolute one of its logarithm. The last steps round in either order:
        (max + log sum) - x, x - max - log sum, or the log of the softmax: 4 u (|max| + |x| + |y|).
        """
        shift = np.abs(x.max(axis=1, keepdims=True))
        rounding = log_softmax_error(x, np.exp(y), p) + 4 * p.u * (shift + np.abs(x) + np.abs(y))
        return Allowance(rounding, reach=shift + np.abs(x))

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """dx_k = dy_k - q_k sum_j dy_j, q the softmax, or a product with the Jacobian 1 - 1 q^T.

        With E the relative error of q, and c = sum_j |dy_j|: E q c for q, and (n + 4) u (|dy_k| + q_k c) for a sum of n
        terms, its product with q, the last difference, and a derivative that went through log q and back.
        """
        q, c = Softmax().apply(x), np.abs(dy).sum(axis=1, keepdims=True)
        relative, n = softmax_relative(x, q, p), x.shape[1]
        rounding = relative * q * c + (n + 4) * p.u * (np.abs(dy) + q * c)
        return Allowance(rounding + (n + 3) * p.subnormal * (1 + c), reach=np.abs(dy) + c)


# --- what people get wrong ---


def _shifted(e: Letters) -> Bounded:
    return e.x - e.x.value.max(axis=1, keepdims=True)


def _along(e: Letters, axis: int | None) -> Bounded:
    """Normalised down the columns, or over the whole batch."""
    shifted = e.x - e.x.value.max(axis=axis, keepdims=True)
    total = exp(shifted).sum() if axis is None else exp(shifted).sum(axis=axis, keepdims=True)
    return shifted - log(total)


def _log_of(x: Any) -> Any:
    """log softmax, as two steps."""
    z = np.exp(x - x.max(axis=1, keepdims=True))
    return np.log(z / z.sum(axis=1, keepdims=True))


def _unshifted(x: Any) -> Any:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def _row_sum(e: Letters) -> Bounded:
    return e.dy.sum(axis=1, keepdims=True)


# What examples have in common: their cases, and the correct expressions.
Y = "log_softmax(x)"
SHIFTED = "(x - x.max(axis=1, keepdims=True))"
SUM = f"np.exp({SHIFTED}).sum(axis=1, keepdims=True)"
DX = "dy - softmax(x) * dy.sum(axis=1, keepdims=True)"
LARGE = {
    "network": "5-7-4 relu, log_softmax output, nll",
    "layer": 3,
    "scale": 3000,
    "optimizer": {"kind": "SGD", "lr": 1e-6},
}

# fmt: off
MISTAKES = {
    "output": [
        M("logarithm-missing", lambda e: softmax(e.x), "it is the softmax itself: the logarithm is missing",
          wrong="softmax(x)", right=Y),
        M("logarithm-missing", lambda e: _shifted(e) - exp(_shifted(e)).sum(axis=1, keepdims=True),
          "the sum of e^(x - max) is subtracted, not its logarithm",
          wrong=f"{SHIFTED} - {SUM}", right=f"{SHIFTED} - np.log({SUM})"),
        M("softmax-not-normalised", _shifted, "the logarithm of the sum is not subtracted: it is x - max",
          wrong=SHIFTED, right=f"{SHIFTED} - np.log({SUM})"),
        M("softmax-shift-on-one-side", lambda e: e.x - log(exp(_shifted(e)).sum(axis=1, keepdims=True)),
          "the maximum is subtracted in the sum only: x - log sum e^(x - max)",
          wrong=f"x - np.log({SUM})", right=f"x - x.max(axis=1, keepdims=True) - np.log({SUM})"),
        M("softmax-shift-on-one-side", lambda e: _shifted(e) - log(exp(e.x).sum(axis=1, keepdims=True)),
          "the maximum is subtracted outside of the sum only: x - max - log sum e^x",
          wrong=f"{SHIFTED} - np.log(np.exp(x).sum(axis=1, keepdims=True))",
          right="x - np.log(np.exp(x).sum(axis=1, keepdims=True))"),
        M("softmax-wrong-axis", lambda e: _along(e, 0), "it is normalised down the columns (axis 0)",
          wrong="log_softmax(x, axis=0)", right=Y),
        M("softmax-over-batch", lambda e: _along(e, None), "it is normalised over the whole batch",
          wrong="x - np.log(np.exp(x).sum())", right=Y),
        M("sign", lambda e: -log_softmax(e.x), "its sign is wrong: -log p", wrong="-log_softmax(x)", right=Y),
        M("wrong-logarithm", lambda e: log_softmax(e.x) / np.log(2.0), "the logarithm is to base 2",
          wrong="np.log2(softmax(x))", right="np.log(softmax(x))"),
        M("wrong-logarithm", lambda e: log_softmax(e.x) / np.log(10.0), "the logarithm is to base 10",
          wrong="np.log10(softmax(x))", right="np.log(softmax(x))"),
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x", wrong="x", right=Y),
        M("softmax-twice", lambda e: log_softmax(softmax(e.x)), "a softmax is applied before the log-softmax",
          wrong="log_softmax(softmax(x))", right=Y),
        M("epsilon-in-log", lambda e: ((log(softmax(e.x) + eps), f"{eps:g}") for eps in EPSILONS),
          "{} is added inside the logarithm", listed=True,
          wrong="np.log(softmax(x) + 1e-5)", right="np.log(softmax(x))"),
        M("softmax-not-shifted", in_candidates_arithmetic(_unshifted),
          "the row's maximum is not subtracted, and e^x overflows", overflows=True, unseen=TAME,
          wrong="x - np.log(np.exp(x).sum(axis=1, keepdims=True))", right=Y, case=LARGE),
        M("logarithm-of-underflow", in_candidates_arithmetic(_log_of),
          "it is the logarithm of a softmax that underflows to 0", overflows=True, unseen=TAME,
          wrong="np.log(softmax(x))", right=Y, case=LARGE),
    ],
    "grad_input": [
        M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy", wrong="dy", right=DX),
        M("row-sum-missing", lambda e: e.dy - softmax(e.x), "dx = dy - e^y: the sum of dy over the row is missing",
          wrong="dy - softmax(x)", right=DX),
        M("softmax-diagonal", lambda e: e.dy * (1.0 - softmax(e.x)),
          "the Jacobian is reduced to its diagonal: dx_k = dy_k (1 - e^y_k)",
          wrong="dy * (1 - softmax(x))", right=DX),
        M("wrong-derivative", lambda e: softmax(e.x) * (e.dy - (e.dy * softmax(e.x)).sum(axis=1, keepdims=True)),
          "it is the derivative of the softmax, without the logarithm",
          wrong="softmax(x) * (dy - (dy * softmax(x)).sum(axis=1, keepdims=True))", right=DX),
        M("exponential-missing", lambda e: e.dy - e.y * _row_sum(e),
          "y stands where e^y is meant: the exponential is missing",
          wrong="dy - y * dy.sum(axis=1, keepdims=True)", right="dy - np.exp(y) * dy.sum(axis=1, keepdims=True)"),
        M("wrong-derivative", lambda e: e.dy - (e.dy * softmax(e.x)).sum(axis=1, keepdims=True),
          "e^y is summed with dy: dx_k = dy_k - sum_j e^y_j dy_j",
          wrong="dy - (softmax(x) * dy).sum(axis=1, keepdims=True)", right=DX),
        M("mean-for-sum", lambda e: e.dy - softmax(e.x) * _row_sum(e) / e.x.shape[1],
          "the mean of dy over the row stands where its sum is meant",
          wrong="dy - softmax(x) * dy.mean(axis=1, keepdims=True)", right=DX),
        M("softmax-wrong-axis", lambda e: e.dy - softmax(e.x) * e.dy.sum(axis=0, keepdims=True),
          "the sum runs down the columns, not along the row",
          wrong="dy - softmax(x) * dy.sum(axis=0)", right=DX),
        M("softmax-over-batch", lambda e: e.dy - softmax(e.x) * e.dy.sum(),
          "the sum runs over the whole batch, not along the row",
          wrong="dy - softmax(x) * dy.sum()", right=DX),
        M("wrong-derivative", lambda e: e.dy + softmax(e.x) * _row_sum(e),
          "the sum over the row is added, not subtracted",
          wrong="dy + softmax(x) * dy.sum(axis=1, keepdims=True)", right=DX),
    ],
}
# fmt: on

LogSoftmax.mistakes = MISTAKES
