"""Cross-entropy: of class probabilities, from logits or from the probabilities themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
import torch_ref.losses
from compare.numbers.allowance import FUNCTION, Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, softmax, where
from compare.operations.any_loss import gradient, log_softmax, mean, over, times_log
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss
from compare.operations.softmax import TAME, Softmax, log_softmax_error, softmax_relative


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """On logits s (m, n): L = -(1/m) sum_i sum_k t_ik log softmax(s_i)_k.

    Samples are rows, classes columns. torch's further dimensions, (m, n, d), are refused.
    """

    kind = "cross_entropy"
    scratch_type, torch_type = scratch.CrossEntropyLoss, nn.CrossEntropyLoss
    words = ("softmax cross-entropy", "cross-entropy", "cross-entropy on logits")
    parts: ClassVar = {
        "loss": "L = -sum t log softmax(s), over the samples",
        "loss.gradient": "ds = (softmax(s) - t) / m",
    }
    summed_gradient = "ds = softmax(s) - t"
    per_sample = takes_labels = logarithmic = True

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        if eps:
            return -times_log(t, softmax(y) + eps)
        return -where(t.value == 0, 0.0, t * log_softmax(y), t.p)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return self.slope_from(softmax(y), t)

    def slope_from(self, q: Bounded, t: Bounded) -> Bounded:
        return q * t.value.sum(axis=1, keepdims=True) - t

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array]:
        """Where the target's rows sum to 1."""
        return softmax(y).value, np.full(y.shape, -1.0)

    def probabilities(self, y: Bounded) -> Bounded:
        return softmax(y)

    def allowed(self, y: Array, t: Array, count: int, p: Precision, value: Array) -> Allowance:
        """A row's log-probability carries the relative error of its softmax as an absolute one, and the roundings of
        its last steps, in either order: (max + log sum) - s_t, s_t - max - log sum, or log of softmax:
        4 u (|max| + |s| + |log p|).
        """
        shift = y.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(y - shift).sum(axis=1, keepdims=True))
        log_p = y - shift - log_sum
        per_class = log_softmax_error(y, np.exp(log_p), p) + 4 * p.u * (np.abs(shift) + np.abs(y) + np.abs(log_p))
        inherited = (np.abs(t) * per_class).sum() / count
        return total((-t * log_p).ravel() / count, p, value, inherited, count)

    def allowed_grad(self, y: Array, t: Array, count: int, p: Precision, dy: Array) -> Allowance:
        """ds = (q sum_k t_k - t) / c, q = softmax(s), fused, or through the softmax's Jacobian from t / q:
        (E q + 8 u (q + t)) / c, E the relative error of q."""
        q = Softmax().apply(y)
        weight = np.abs(t).sum(axis=1, keepdims=True)
        rounding = (softmax_relative(y, q, p) + 8 * p.u) * q * weight + 8 * p.u * np.abs(t)
        return Allowance(rounding / count + 4 * p.subnormal)


@dataclass(frozen=True)
class ProbabilityCrossEntropy(Loss):
    """On probabilities q: L = -(1/m) sum t log q, unclamped."""

    kind = "probability_cross_entropy"
    scratch_type = scratch.ProbabilityCrossEntropyLoss
    torch_type = torch_ref.losses.ProbabilityCrossEntropyLoss
    words = ("cross-entropy on probabilities",)
    parts: ClassVar = {
        "loss": "L = -sum t log p, over the samples",
        "loss.gradient": "dp = -t / (m p)",
    }
    summed_gradient = "dp = -t / p"
    per_sample = takes_labels = logarithmic = True

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return -times_log(t, y + eps if eps else y)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return -over(t, y + eps if eps else y)

    def affine(self, y: Bounded, t: Bounded) -> None:
        return None

    def probabilities(self, y: Bounded) -> Bounded:
        return y

    def allowed(self, y: Array, t: Array, count: int, p: Precision, value: Array) -> Allowance:
        """The logarithm and the product carry (5 + 2) u of each term -t log q."""
        with np.errstate(all="ignore"):
            terms = np.where(t == 0, 0, -t * np.log(y))
        inherited = (FUNCTION + 2) * p.u * np.abs(terms).sum() / count
        return total(terms.ravel() / count, p, value, inherited, count)

    def allowed_grad(self, y: Array, t: Array, count: int, p: Precision, dy: Array) -> Allowance:
        """dq = -t / (c q): two quotients, or a reciprocal, a product and a quotient, in any order: 4 u |dq|."""
        return Allowance(4 * p.u * np.abs(dy) + 2 * p.subnormal)


# --- what people get wrong ---


def _labels_of_all_rows(e: Letters) -> Bounded:
    """(softmax(s) - 1 at every column that is some row's label) / c."""
    some = np.broadcast_to((e.t.value == 1).any(axis=0), e.t.shape).astype(np.float64)
    return (softmax(e.y) - some) / e.count


def _unnormalised(e: Letters) -> Bounded:
    """The target, if its rows do not sum to 1."""
    if np.allclose(e.t.value.sum(axis=1), 1, rtol=0, atol=4 * e.p.u * e.n):
        raise Absent("a target that does not sum to 1")
    return e.t


def _overflowing_loss(e: Letters) -> Bounded:
    """The loss from e^s as it is, in the candidate's own precision."""
    s, t = e.y.value.astype(e.p.dtype), e.t.value.astype(e.p.dtype)
    z = np.exp(s)
    value = -(t * (s - np.log(z.sum(axis=1, keepdims=True)))).sum() / e.count
    return Bounded(np.asarray(value, np.float64), np.asarray(1e-3 * abs(float(value))), e.p)


def _underflowing_loss(e: Letters) -> Bounded:
    """The loss from e^(s - the batch's maximum), in the candidate's own precision."""
    s, t = e.y.value.astype(e.p.dtype), e.t.value.astype(e.p.dtype)
    shifted = s - s.max()
    value = -(t * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum() / e.count
    return Bounded(np.asarray(value, np.float64), np.asarray(1e-3 * abs(float(value))), e.p)


# What examples have in common: their cases, and the correct expressions.
PROBABILITIES = {"network": "5-7-4 relu, softmax output, cross-entropy on probabilities"}
GRADIENT = "(softmax(y) - t) / m"
OF_PROBABILITIES = "-t / y / m"

# fmt: off
MISTAKES = {
    "loss": [
        M("softmax-not-shifted", _overflowing_loss,
          "the row's maximum is not subtracted, and e^s overflows or underflows", overflows=True, unseen=TAME,
          wrong="-(t * np.log(np.exp(y) / np.exp(y).sum(axis=1, keepdims=True))).sum() / m",
          right="-(t * log_softmax(y)).sum() / m", case={"bias": 5000.0}),
        M("softmax-shifted-by-batch-maximum", _underflowing_loss,
          "the maximum of the whole batch is subtracted, not the row's, and e^(s - max) underflows", overflows=True,
          unseen=TAME,
          wrong="-(t * (y - y.max() - np.log(np.exp(y - y.max()).sum(axis=1, keepdims=True)))).sum() / m",
          right="-(t * log_softmax(y)).sum() / m",
          case={"network": "5-7-2 relu, softmax cross-entropy", "scale": 1200, "dtype": "float64"}),
        M("logarithm-missing", lambda e: -mean(e, e.t * softmax(e.y)), "-sum t p: the logarithm is missing",
          wrong="-(t * softmax(y)).sum() / m", right="-(t * log_softmax(y)).sum() / m"),
    ],
    "loss.gradient": [
        M("exponential-missing", lambda e: (log_softmax(e.y) - e.t) / e.count,
          "log p stands where p is meant: the exponential is missing",
          wrong="(log_softmax(y) - t) / m", right="(np.exp(log_softmax(y)) - t) / m"),
        M("target-not-normalised", lambda e: (softmax(e.y) - _unnormalised(e)) / e.count,
          "p - t is right only for a target that sums to 1: p sum(t) - t",
          wrong=GRADIENT, right="(softmax(y) * t.sum(axis=1, keepdims=True) - t) / m",
          case={"target": "unnormalised"}),
        M("labels-of-all-rows", _labels_of_all_rows,
          "1 is subtracted at every label of the batch, not at the row's own",
          wrong="(softmax(y) - t.max(axis=0)) / m", right=GRADIENT),
        M("softmax-missing", lambda e: (e.y - e.t) / e.count,
          "(y - t) / m: y stands where its derivative's function is meant",
          wrong="(y - t) / m", right=GRADIENT),
        M("softmax-twice", lambda e: (softmax(softmax(e.y)) - e.t) / e.count,
          "a softmax is applied to the output once more",
          wrong="(softmax(softmax(y)) - t) / m", right=GRADIENT),
        M("softmax-diagonal", lambda e: -(e.t * (1.0 - softmax(e.y))) / e.count,
          "the softmax's Jacobian is reduced to its diagonal: -t (1 - p)",
          wrong="-t * (1 - softmax(y)) / m", right=GRADIENT),
        M("target-missing", lambda e: softmax(e.y) / e.count, "the target is not subtracted: p / m, not (p - t) / m",
          wrong="softmax(y) / m", right=GRADIENT),
        M("derivative-twice", lambda e: gradient(e) * softmax(e.y) * (1.0 - softmax(e.y)),
          "(p - t) is multiplied by p (1 - p): that derivative is in p - t already",
          wrong="(softmax(y) - t) * softmax(y) * (1 - softmax(y)) / m", right=GRADIENT),
        M("softmax-wrong-axis", lambda e: (softmax(e.y, axis=0) - e.t) / e.count,
          "the softmax is normalised down the columns",
          wrong="(np.exp(y) / np.exp(y).sum(axis=0) - t) / m",
          right="(np.exp(y) / np.exp(y).sum(axis=1, keepdims=True) - t) / m"),
    ],
}
# fmt: on


# fmt: off
ON_PROBABILITIES = {
    "loss": [
        M("logarithm-missing", lambda e: -mean(e, e.t * e.y), "-sum t y: the logarithm is missing",
          wrong="-(t * y).sum() / m", right="-(t * np.log(y)).sum() / m", case=PROBABILITIES),
    ],
    "loss.gradient": [
        M("wrong-derivative", lambda e: -(e.t) / e.count, "-t in the place of -t / p: the division by p is missing",
          wrong="-t / m", right=OF_PROBABILITIES, case=PROBABILITIES),
        M("derivative-twice", lambda e: (e.y - e.t) / e.count,
          "it is (p - t) / m, the gradient of the logits: the activation's derivative will be applied once more",
          wrong="(y - t) / m", right=OF_PROBABILITIES, case=PROBABILITIES),
        M("wrong-derivative", lambda e: -(e.t * e.y) / e.count, "-t p in the place of -t / p",
          wrong="-t * y / m", right=OF_PROBABILITIES, case=PROBABILITIES),
        M("wrong-derivative", lambda e: -times_log(e.t, e.y) / e.count,
          "it is the loss of each element, not its derivative",
          wrong="-t * np.log(y) / m", right=OF_PROBABILITIES, case=PROBABILITIES),
        M("target-missing", lambda e: -(1.0 / e.y) / e.count, "-1 / p for every class: the factor t is missing",
          wrong="-1 / y / m", right=OF_PROBABILITIES, case=PROBABILITIES),
    ],
}
# fmt: on

CrossEntropy.mistakes = MISTAKES
ProbabilityCrossEntropy.mistakes = ON_PROBABILITIES
