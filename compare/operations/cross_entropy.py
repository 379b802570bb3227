"""Cross-entropy: of class probabilities, from logits or from the probabilities themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

import scratch
import torch_ref.losses
from compare.numbers.allowance import FUNCTION, Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, softmax, where
from compare.operations.any_loss import gradient, log_softmax, mean, over, times_log
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss
from compare.operations.softmax import TAME, Softmax, log_softmax_error, softmax_relative

Weights = tuple[float, ...] | None  # of the classes


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """On logits s (m, n): L = -(1/m) sum_i sum_k t_ik log softmax(s_i)_k.

    Samples are rows, classes columns. torch's further dimensions, (m, n, d), are refused.

    With label smoothing e, (1 - e) t + e / n stands in the place of t, and with class weights w_k t_ik in that of t_ik.
    A mean over labels is then divided by the sum of their weights, one over rows by m, as torch does.
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

    label_smoothing: float = 0.0
    weight: Weights = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"got label_smoothing={self.label_smoothing}, expected 0 to 1")
        if self.weight is not None:
            object.__setattr__(self, "weight", tuple(map(float, self.weight)))

    @classmethod
    def of(cls, loss: Any) -> Self:
        reduction, weight = cls.reduction_of(loss), loss.weight
        return cls(reduction, float(loss.label_smoothing), None if weight is None else tuple(weight.tolist()))

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        numbers = [found.get("label_smoothing", 0.0), *(found.get("weight") or ())]
        if any(type(c) not in (int, float) for c in numbers):
            raise ValueError(f"found the loss {cls.kind} with {str(numbers)[:80]}, expected numbers")
        return cls(found["reduction"], numbers[0], tuple(numbers[1:]) or None)

    def torch_arguments(self) -> dict[str, Any]:
        weight = None if self.weight is None else torch.tensor(self.weight, dtype=torch.float64)
        return asdict(self) | {"weight": weight}

    def divisor(self, t: Array, rows: int, elements: int) -> float:
        if self.weight is None or self.reduction == "sum" or t.ndim > 1:
            return super().divisor(t, rows, elements)
        return float(np.array(self.weight)[t.astype(int)].sum())

    def formula(self, part: str) -> str:
        found = super().formula(part)
        if self.label_smoothing:
            found += f", of (1 - e) t + e / n for t, e = {self.label_smoothing:g}"
        return found if self.weight is None else f"{found}, class k weighted by {list(self.weight)}"

    def __str__(self) -> str:
        if self.weight is None:
            return super().__str__()
        said = f"weight={self.weight}, label_smoothing={self.label_smoothing!r}, reduction={self.reduction!r}"
        return f"CrossEntropyLoss({said})"

    def asked(self, t: Bounded) -> Bounded:
        """The target, smoothed and weighted."""
        if self.label_smoothing:
            e = float(self.label_smoothing)
            t = t * (1 - e) + e / t.shape[1]
        return t if self.weight is None else t * Bounded.of(self.weights, t.p)

    @property
    def weights(self) -> Array:
        """Of the classes, (n,)."""
        return np.array(self.weight)

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        t = self.asked(t)
        if eps:
            return -times_log(t, softmax(y) + eps)
        return -where(t.value == 0, 0.0, t * log_softmax(y), t.p)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return self.slope_from(softmax(y), t)

    def slope_from(self, q: Bounded, t: Bounded) -> Bounded:
        t = self.asked(t)
        return q * t.value.sum(axis=1, keepdims=True) - t

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        """Where the target's rows sum to 1."""
        if self.weight is not None:
            return None
        e = self.label_smoothing
        return softmax(y).value - e / y.shape[1], np.full(y.shape, e - 1.0)

    def probabilities(self, y: Bounded) -> Bounded:
        return softmax(y)

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """A row's log-probability carries the relative error of its softmax as an absolute one, and the roundings of
        its last steps, in either order: (max + log sum) - s_t, s_t - max - log sum, or log of softmax:
        4 u (|max| + |s| + |log p|).

        A smoothed and weighted target carries 6 u more: 1 - e, e / n, their products, their sum, or the two losses
        that they make apart, and the weight. The sum of the weights, of m terms, carries m u.
        """
        t, off = self._asked_of(t, p)
        shift = y.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(y - shift).sum(axis=1, keepdims=True))
        log_p = y - shift - log_sum
        per_class = log_softmax_error(y, np.exp(log_p), p) + 4 * p.u * (np.abs(shift) + np.abs(y) + np.abs(log_p))
        inherited = ((np.abs(t) * per_class).sum() + off * np.abs(t * log_p).sum()) / count
        return total((-t * log_p).ravel() / count, p, value, inherited, count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """ds = (q sum_k t_k - t) / c, q = softmax(s), fused, or through the softmax's Jacobian from t / q:
        (E q + 8 u (q + t)) / c, E the relative error of q. A smoothed and weighted target carries what `allowed` says,
        and its sum n u."""
        t, off = self._asked_of(t, p)
        q = Softmax().apply(y)
        weight = np.abs(t).sum(axis=1, keepdims=True)
        of_sum = off + y.shape[1] * p.u if off else 0.0
        rounding = (softmax_relative(y, q, p) + 8 * p.u + of_sum) * q * weight + (8 * p.u + off) * np.abs(t)
        return Allowance(rounding / count + 4 * p.subnormal)

    def _asked_of(self, t: Array, p: Precision) -> tuple[Array, float]:
        """The target as asked for, and its relative error with that of the divisor."""
        if self.weight is None and not self.label_smoothing:
            return t, 0.0
        return self.asked(Bounded.of(t, p)).value, (6 + len(t) * (self.weight is not None)) * p.u


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

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """The logarithm and the product carry (5 + 2) u of each term -t log q."""
        with np.errstate(all="ignore"):
            terms = np.where(t == 0, 0, -t * np.log(y))
        inherited = (FUNCTION + 2) * p.u * np.abs(terms).sum() / count
        return total(terms.ravel() / count, p, value, inherited, count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
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
    s, t = (a.value.astype(e.p.dtype) for a in (e.y, e.operation.asked(e.t)))
    z = np.exp(s)
    value = -(t * (s - np.log(z.sum(axis=1, keepdims=True)))).sum() / e.count
    return Bounded(np.asarray(value, np.float64), np.asarray(1e-3 * abs(float(value))), e.p)


def _underflowing_loss(e: Letters) -> Bounded:
    """The loss from e^(s - the batch's maximum), in the candidate's own precision."""
    s, t = (a.value.astype(e.p.dtype) for a in (e.y, e.operation.asked(e.t)))
    shifted = s - s.max()
    value = -(t * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum() / e.count
    return Bounded(np.asarray(value, np.float64), np.asarray(1e-3 * abs(float(value))), e.p)


def _unsmoothed(e: Letters) -> CrossEntropy:
    """The operation without its smoothing. Absent if it has none."""
    if not e.operation.label_smoothing:
        raise Absent("label smoothing")
    found: CrossEntropy = replace(e.operation, label_smoothing=0.0)
    return found


def _unweighted(e: Letters) -> CrossEntropy:
    """Without its weights. Absent if it has none."""
    if e.operation.weight is None:
        raise Absent("class weights")
    found: CrossEntropy = replace(e.operation, weight=None)
    return found


def _smoothed_by(share: Callable[[Letters, float], tuple[float, float]]) -> Callable[[Letters], Bounded]:
    """a t + b for the smoothed target, from e."""

    def target(e: Letters) -> Bounded:
        _unsmoothed(e)
        a, b = share(e, float(e.operation.label_smoothing))
        return e.t * a + b

    return target


def _of_loss(target: Callable[[Letters], Bounded]) -> Formula:
    """The loss of another smoothed target."""
    return lambda e: mean(e, _unsmoothed(e).terms(e.y, target(e)))


def _of_gradient(target: Callable[[Letters], Bounded]) -> Formula:
    return lambda e: _unsmoothed(e).slope(e.y, target(e)) / e.count


def _plain_mean(e: Letters) -> float:
    """m, where the sum of the weights is meant. Absent where that is not meant."""
    _unweighted(e)
    if e.count in (1, e.m):
        raise Absent("a weighted mean")
    return float(e.m)


OTHERS_ALONE = _smoothed_by(lambda e, s: (1 - s - s / max(e.n - 1, 1), s / max(e.n - 1, 1)))
BUT_ONE = _smoothed_by(lambda e, s: (1 - s, s / max(e.n - 1, 1)))
UNDIVIDED = _smoothed_by(lambda e, s: (1 - s, s))
NOT_LOWERED = _smoothed_by(lambda e, s: (1.0, s / e.n))
OF_SMOOTHING = (
    (OTHERS_ALONE, "the smoothing is spread over the n - 1 other classes, not over all n"),
    (BUT_ONE, "the smoothing is divided by n - 1, not by n"),
    (UNDIVIDED, "the smoothing is not divided by the number of classes"),
)

# What examples have in common: their cases, and the correct expressions.
SMOOTH = {"network": "5-7-4 relu, CrossEntropyLoss(label_smoothing=0.2)"}
WEIGHTED = {"network": "5-7-4 relu, CrossEntropyLoss(weight=(1.0, 2.0, 0.5, 3.0))", "rows": (6, 3, 6)}
W = "np.array([1, 2, 0.5, 3])"
SMOOTH_LOSS = "-((0.8 * t + 0.2 / n) * log_softmax(y)).sum() / m"
SMOOTH_GRADIENT = "(softmax(y) - (0.8 * t + 0.2 / n)) / m"
WEIGHTED_LOSS = f"-(t * {W} * log_softmax(y)).sum() / (t @ {W}).sum()"
WEIGHTED_GRADIENT = f"(softmax(y) - t) * (t @ {W})[:, None] / (t @ {W}).sum()"
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
        M("smoothing-missing", lambda e: mean(e, _unsmoothed(e).terms(e.y, e.t)),
          "the target is not smoothed",
          wrong="-(t * log_softmax(y)).sum() / m", right=SMOOTH_LOSS, case=SMOOTH),
        M("smoothing-over-wrong-classes", _of_loss(OTHERS_ALONE), OF_SMOOTHING[0][1],
          wrong=SMOOTH_LOSS.replace("(0.8 * t + 0.2 / n)", "np.where(t == 1, 0.8, 0.2 / (n - 1))"),
          right=SMOOTH_LOSS, case=SMOOTH),
        M("smoothing-over-wrong-classes", _of_loss(BUT_ONE), OF_SMOOTHING[1][1],
          wrong=SMOOTH_LOSS.replace("0.2 / n", "0.2 / (n - 1)"), right=SMOOTH_LOSS, case=SMOOTH),
        M("smoothing-over-wrong-classes", _of_loss(UNDIVIDED), OF_SMOOTHING[2][1],
          wrong=SMOOTH_LOSS.replace("0.2 / n", "0.2"), right=SMOOTH_LOSS, case=SMOOTH),
        M("smoothing-added", _of_loss(NOT_LOWERED), "the smoothing is added to t: the factor 1 - e of t is missing",
          wrong=SMOOTH_LOSS.replace("0.8 * t", "t"), right=SMOOTH_LOSS, case=SMOOTH),
        M("class-weights-missing", lambda e: mean(e, _unweighted(e).terms(e.y, e.t)),
          "the class weights are in the divisor alone",
          wrong=f"-(t * log_softmax(y)).sum() / (t @ {W}).sum()", right=WEIGHTED_LOSS, case=WEIGHTED),
        M("class-weights-missing", lambda e: _unweighted(e).terms(e.y, e.t).sum() / e.m,
          "the class weights are missing", wrong="-(t * log_softmax(y)).sum() / m", right=WEIGHTED_LOSS, case=WEIGHTED),
        M("mean-not-weighted", lambda e: e.operation.terms(e.y, e.t).sum() / _plain_mean(e),
          "it is divided by the number of samples, not by the sum of their weights",
          wrong=f"-(t * {W} * log_softmax(y)).sum() / m", right=WEIGHTED_LOSS, case=WEIGHTED),
        M("logarithm-missing", lambda e: -mean(e, e.operation.asked(e.t) * softmax(e.y)),
          "-sum t p: the logarithm is missing",
          wrong="-(t * softmax(y)).sum() / m", right="-(t * log_softmax(y)).sum() / m"),
    ],
    "loss.gradient": [
        M("smoothing-missing", lambda e: _unsmoothed(e).slope(e.y, e.t) / e.count,
          "the target of the gradient is not smoothed, that of the loss is",
          wrong=GRADIENT, right=SMOOTH_GRADIENT, case=SMOOTH),
        M("smoothing-over-wrong-classes", _of_gradient(OTHERS_ALONE), OF_SMOOTHING[0][1],
          wrong=SMOOTH_GRADIENT.replace("(0.8 * t + 0.2 / n)", "np.where(t == 1, 0.8, 0.2 / (n - 1))"),
          right=SMOOTH_GRADIENT, case=SMOOTH),
        M("smoothing-over-wrong-classes", lambda e: (softmax(e.y) - BUT_ONE(e)) / e.count, OF_SMOOTHING[1][1],
          wrong=SMOOTH_GRADIENT.replace("0.2 / n", "0.2 / (n - 1)"), right=SMOOTH_GRADIENT, case=SMOOTH),
        M("smoothing-over-wrong-classes", lambda e: (softmax(e.y) - UNDIVIDED(e)) / e.count, OF_SMOOTHING[2][1],
          wrong=SMOOTH_GRADIENT.replace("0.2 / n", "0.2"), right=SMOOTH_GRADIENT, case=SMOOTH),
        M("smoothing-added", lambda e: (softmax(e.y) - NOT_LOWERED(e)) / e.count,
          "the smoothing is added to t: the factor 1 - e of t is missing",
          wrong=SMOOTH_GRADIENT.replace("0.8 * t", "t"), right=SMOOTH_GRADIENT, case=SMOOTH),
        M("class-weights-missing", lambda e: _unweighted(e).slope(e.y, e.t) / e.m,
          "the class weights are in the loss, and not in its gradient",
          wrong=GRADIENT, right=WEIGHTED_GRADIENT, case=WEIGHTED),
        M("class-weights-missing", lambda e: _unweighted(e).slope(e.y, e.t) / e.count,
          "the class weights are in the divisor alone",
          wrong=f"(softmax(y) - t) / (t @ {W}).sum()", right=WEIGHTED_GRADIENT, case=WEIGHTED),
        M("mean-not-weighted", lambda e: e.operation.slope(e.y, e.t) / _plain_mean(e),
          "it is divided by the number of samples, not by the sum of their weights",
          wrong=f"(softmax(y) - t) * (t @ {W})[:, None] / m", right=WEIGHTED_GRADIENT, case=WEIGHTED),
        M("class-weight-of-every-class", lambda e: _unweighted(e).slope(e.y, e.t) * e.operation.weights / e.count,
          "column k is weighted by w_k, not every row by the weight of its class",
          wrong=f"(softmax(y) - t) * {W} / (t @ {W}).sum()", right=WEIGHTED_GRADIENT, case=WEIGHTED),
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
