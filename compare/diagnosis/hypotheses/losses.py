"""Mistakes in the loss and in its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.diagnosis.evidence import Absent, Evidence
from compare.diagnosis.hypotheses.hypothesis import EPSILONS, Array, Formula, Guess, fitted
from compare.diagnosis.hypotheses.hypothesis import Hypothesis as H
from compare.numbers.bounded import Bounded, absolute, clip, exp, log, relu, sigmoid, softmax, sqrt, tanh, where

LOGARITHMIC = ("cross_entropy", "probability_cross_entropy", "binary_cross_entropy", "logits_binary_cross_entropy")


def terms(e: Evidence, y: Bounded | None = None, t: Bounded | None = None, eps: float = 0.0) -> Bounded:
    """The summands of the loss (m, n), with another output or target, or an epsilon in its logarithms."""
    y, t = e.y if y is None else y, e.t if t is None else t
    kind = e.network.loss
    if kind == "cross_entropy":
        return -_times_log(t, softmax(y) + eps) if eps else -where(t.value == 0, 0.0, t * _log_softmax(y), t.p)
    if kind == "probability_cross_entropy":
        return -_times_log(t, y + eps if eps else y)
    if kind == "binary_cross_entropy":
        return -(_times_log(t, y + eps if eps else y) + _times_log(1.0 - t, 1.0 - y + eps if eps else 1.0 - y))
    if kind == "logits_binary_cross_entropy":
        q = sigmoid(y)
        return -(_times_log(t, q + eps if eps else q) + _times_log(1.0 - t, 1.0 - q + eps if eps else 1.0 - q))
    d = y - t
    return d * d * (0.5 if kind == "half_squared_error" else 1.0)


def _log_softmax(s: Bounded) -> Bounded:
    """log p from the logits: where p underflows its logarithm does not."""
    shifted = s - s.value.max(axis=1, keepdims=True)
    return shifted - log(exp(shifted).sum(axis=1, keepdims=True))


def _times_log(t: Bounded, q: Bounded) -> Bounded:
    with np.errstate(all="ignore"):
        return where(t.value == 0, 0.0, t * log(q), t.p)


def mean(e: Evidence, terms_: Bounded) -> Bounded:
    """Their sum over what the loss divides by."""
    return terms_.sum() / e.count


def gradient(e: Evidence, y: Bounded | None = None, t: Bounded | None = None, eps: float = 0.0) -> Bounded:
    """dL/dy (m, n), with another output or target, or an epsilon in the logarithms."""
    y, t = e.y if y is None else y, e.t if t is None else t
    kind = e.network.loss
    if kind == "cross_entropy":
        return (softmax(y) * t.value.sum(axis=1, keepdims=True) - t) / e.count
    if kind == "probability_cross_entropy":
        return -_over(t, y + eps if eps else y) / e.count
    if kind == "binary_cross_entropy":
        return (_over(1.0 - t, 1.0 - y + eps if eps else 1.0 - y) - _over(t, y + eps if eps else y)) / e.count
    if kind == "logits_binary_cross_entropy":
        return (sigmoid(y) - t) / e.count
    return (y - t) * (1.0 if kind == "half_squared_error" else 2.0) / e.count


def _over(t: Bounded, q: Bounded) -> Bounded:
    with np.errstate(all="ignore"):
        return where(t.value == 0, 0.0, t / q, t.p)


def rolled(e: Evidence, by: int) -> Bounded:
    """The target with every label moved by one class."""
    return Bounded.exact(np.roll(e.t.value, by, axis=1), e.p)


def _moved_targets(of: Callable[..., Bounded], finish: Callable[[Evidence, Bounded], Bounded]) -> Formula:
    def guesses(e: Evidence) -> Iterator[Guess]:
        for by, words in ((1, "k + 1"), (-1, "k - 1")):
            yield finish(e, of(e, t=rolled(e, by))), words

    return guesses


def _shuffled_targets(of: Callable[..., Bounded], finish: Callable[[Evidence, Bounded], Bounded]) -> Formula:
    def guesses(e: Evidence) -> Iterator[Guess]:
        t = e.t.value
        for order, words in (
            (t[::-1], "in reverse order"),
            (np.roll(t, 1, axis=0), "moved by one row"),
            (np.roll(t, -1, axis=0), "moved by one row"),
        ):
            yield finish(e, of(e, t=Bounded.exact(order, e.p))), words

    return guesses


def _permuted_gradient(e: Evidence) -> Iterator[Guess]:
    """Solve the gradient for the target: if its rows are those of the target in another order, they were shuffled."""
    if e.network.loss in ("probability_cross_entropy", "binary_cross_entropy"):
        return
    none = gradient(e, t=e.t * 0.0).value
    unit = gradient(e, t=e.t * 0.0 + 1.0).value - none
    if e.network.loss == "cross_entropy":
        none, unit = softmax(e.y).value / e.count, np.full(e.y.shape, -1 / e.count)
    implied = np.rint((e.got - none) / unit) if _is_binary(e.t.value) else (e.got - none) / unit
    same_rows = np.array_equal(np.sort(row_keys(implied)), np.sort(row_keys(e.t.value)))
    if same_rows and not np.array_equal(implied, e.t.value):
        yield gradient(e, t=Bounded.exact(implied, e.p)), "in another order"


def _is_binary(t: Any) -> bool:
    return bool(np.isin(t, (0, 1)).all())


def row_keys(rows: Any) -> Any:
    return rows @ np.sqrt(np.arange(2, rows.shape[1] + 2))


def _epsilons(of: Callable[..., Bounded], finish: Callable[[Evidence, Bounded], Bounded]) -> Formula:
    def guesses(e: Evidence) -> Iterator[Guess]:
        for eps in EPSILONS:
            yield finish(e, of(e, eps=eps)), f"{eps:g}"

    return guesses


def _clipped_loss(e: Evidence) -> Iterator[Guess]:
    """The logarithms are of probabilities within [eps, 1 - eps]."""
    q = probabilities(e)
    for eps in EPSILONS:
        p = clip(q, eps, 1 - eps)
        ones = _times_log(e.t, p)
        binary = "binary" in e.network.loss
        yield -mean(e, ones + _times_log(1.0 - e.t, 1.0 - p) if binary else ones), f"[{eps:g}, 1 - {eps:g}]"


def _clipped_gradient(e: Evidence) -> Iterator[Guess]:
    """dL/dy with the probabilities within [eps, 1 - eps]: in the denominators, or in p - t."""
    q = probabilities(e)
    on_logits = e.network.loss in ("cross_entropy", "logits_binary_cross_entropy")
    share = e.t.value.sum(axis=1, keepdims=True) if e.network.loss == "cross_entropy" else 1.0
    for eps in EPSILONS:
        p = clip(q, eps, 1 - eps)
        yield (p * share - e.t) / e.count if on_logits else gradient(e, y=p), f"[{eps:g}, 1 - {eps:g}]"


def probabilities(e: Evidence) -> Bounded:
    """What the loss takes the logarithm of: the output, or its softmax or sigmoid. Absent for a loss without one."""
    if e.network.loss in ("probability_cross_entropy", "binary_cross_entropy"):
        return e.y
    return softmax(e.y) if _only(e, *LOGARITHMIC).network.loss == "cross_entropy" else sigmoid(e.y)


def _activated(of: Callable[..., Bounded], finish: Callable[[Evidence, Bounded], Bounded]) -> Formula:
    """The loss of f(y): with the output y taken through an activation that is not in the network."""

    def guesses(e: Evidence) -> Iterator[Guess]:
        yield finish(e, of(e, y=relu(e.y))), "ReLU"
        yield finish(e, of(e, y=tanh(e.y))), "tanh"

    return guesses


def _derived_activated(e: Evidence) -> Iterator[Guess]:
    """dL/df f'(y), for the same activations."""
    yield where(e.y.value > 0, gradient(e, y=relu(e.y)), 0.0, e.p), "ReLU"
    a = tanh(e.y)
    yield gradient(e, y=a) * (1.0 - a * a), "tanh"


def _as_is(e: Evidence, value: Bounded) -> Bounded:
    return value


def _penalised(e: Evidence) -> Iterator[Guess]:
    """loss - ref over the sum of squares of all weights."""
    weights = [n for n in e.sweep.record.network.parameters() if n.endswith("weight")]
    squares = np.array(sum(float((e.tensor(n).value ** 2).sum()) for n in weights))
    rate, words = fitted(e, e.got - e.ref.value, squares)
    if rate.value > 0:
        yield e.ref + rate * squares, words


def _part_of_batch(e: Evidence) -> Iterator[Guess]:
    """The mean over the first or the last k rows."""
    per_row, m = terms(e).sum(axis=1), e.m
    for k in range(1, m if m <= 512 else 1):
        share = e.count / m if e.network.reduction == "mean" else 1 / k
        yield per_row[m - k :].sum() / (k * share), "last"
        yield per_row[:k].sum() / (k * share), "first"


def _hardened(e: Evidence) -> Bounded:
    """The target's most probable class alone. Absent if it is that already."""
    hardened = np.eye(e.n)[e.t.value.argmax(axis=1)]
    if np.array_equal(hardened, e.t.value):
        raise Absent("a soft target")
    return Bounded.exact(hardened, e.p)


def _uniform(e: Evidence) -> Bounded:
    return Bounded.exact(np.full(e.t.shape, 1 / e.n), e.p)


def _smoothed_loss(e: Evidence) -> Iterator[Guess]:
    """The loss is linear in the target, and so in the share of 1/n in it."""
    right, mixed = mean(e, terms(e)), mean(e, terms(e, t=_uniform(e)))
    share, words = fitted(e, e.got - e.ref.value, (mixed - right).value)
    if 0 < share.value < 1:
        yield e.ref + (mixed - right) * share, words


def _smoothed_gradient(e: Evidence) -> Iterator[Guess]:
    right, mixed = gradient(e), gradient(e, t=_uniform(e))
    share, words = fitted(e, e.got - e.ref.value, (mixed - right).value)
    if 0 < share.value < 1:
        yield e.ref + (mixed - right) * share, words


def _square_of_mean(e: Evidence) -> Bounded:
    error = (_only(e, "mse", "half_squared_error").y - e.t).sum() / (e.m * e.n)
    return error * error * (0.5 if e.network.loss == "half_squared_error" else 1.0)


def _labels_of_all_rows(e: Evidence) -> Bounded:
    """(softmax(s) - 1 at every column that is some row's label) / c."""
    some = np.broadcast_to((e.t.value == 1).any(axis=0), e.t.shape).astype(np.float64)
    return (softmax(_only(e, "cross_entropy").y) - some) / e.count


def _sample_weights(e: Evidence, got: Array) -> tuple[Array, str]:
    """The factor of each row of the loss's gradient. Absent if there is none, or the same for all."""
    right = gradient(e).value
    at = np.argmax(np.abs(right), axis=1)
    rows = np.arange(len(right))
    factors = got[rows, at] / right[rows, at]
    if not np.isfinite(factors).all() or np.ptp(factors) <= 1e-5:
        raise Absent("weights of the samples")
    labels = e.t.value.argmax(axis=1)
    by_class = all(np.ptp(factors[labels == k]) <= 1e-5 for k in np.unique(labels))
    left_out = np.abs(factors) <= 1e-6
    if left_out.any() and np.ptp(factors[~left_out]) <= 1e-5:
        which = f"class {labels[left_out][0]}" if by_class else f"samples {np.flatnonzero(left_out).tolist()}"
        return factors, f"{which} left out"
    return factors, "each class has its own weight" if by_class else "each sample has its own weight"


def _weighted_gradient(e: Evidence) -> Iterator[Guess]:
    factors, words = _sample_weights(e, e.got)
    weights = Bounded(factors[:, np.newaxis], 1e-5 * np.abs(factors[:, np.newaxis]), e.p)
    yield gradient(e) * weights, words


def _weighted_loss(e: Evidence) -> Iterator[Guess]:
    """The weights are read off the gradient, if that was handed in and is weighted."""
    last = f"{len(e.network.layers) - 1}.grad_output"
    factors, words = _sample_weights(e, e.tensor(last).value)
    weights = Bounded(factors[:, np.newaxis], 1e-5 * np.abs(factors[:, np.newaxis]), e.p)
    yield mean(e, terms(e) * weights), words


def _every_pair(e: Evidence) -> Bounded:
    """The mean of (y_i - t_j)^2 over all i and j."""
    if e.n != 1:
        raise Absent("one column")
    d = _only(e, "mse", "half_squared_error").y - e.t.T
    factor = 0.5 if e.network.loss == "half_squared_error" else 1.0
    return (d * d * factor).sum() / (e.count * (e.m if e.network.reduction == "mean" else 1))


def _without_absolute_value(e: Evidence) -> Bounded:
    """max(z, 0) - z t + log(1 + e^-z)."""
    z = _only(e, "logits_binary_cross_entropy").y
    return mean(e, relu(z) - z * e.t + log(1.0 + exp(-z)))


def _swapped_denominators(e: Evidence) -> Bounded:
    """((1 - t) / p - t / (1 - p)) / c."""
    y = _only(e, "binary_cross_entropy").y
    return (_over(1.0 - e.t, y) - _over(e.t, 1.0 - y)) / e.count


def _unnormalised(e: Evidence) -> Bounded:
    """The target, if its rows do not sum to 1."""
    if np.allclose(e.t.value.sum(axis=1), 1, rtol=0, atol=4 * e.p.u * e.n):
        raise Absent("a target that does not sum to 1")
    return e.t


def _exchanged(e: Evidence) -> Bounded:
    """Rows and labels exchanged: t[label, row] = 1."""
    t, labels = np.zeros(e.t.shape), e.t.value.argmax(axis=1)
    t[labels, np.arange(len(labels))] = 1
    return Bounded.exact(t, e.p)


def _overflowing_loss(e: Evidence) -> Bounded:
    """The loss from e^s as it is, in the candidate's own precision."""
    s, t = e.y.value.astype(e.p.dtype), e.t.value.astype(e.p.dtype)
    z = np.exp(s)
    value = -(t * (s - np.log(z.sum(axis=1, keepdims=True)))).sum() / e.count
    return Bounded(np.asarray(value, np.float64), np.asarray(1e-3 * abs(float(value))), e.p)


def _underflowing_loss(e: Evidence) -> Bounded:
    """The loss from e^(s - the batch's maximum), in the candidate's own precision."""
    s, t = e.y.value.astype(e.p.dtype), e.t.value.astype(e.p.dtype)
    shifted = s - s.max()
    value = -(t * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum() / e.count
    return Bounded(np.asarray(value, np.float64), np.asarray(1e-3 * abs(float(value))), e.p)


def _only(e: Evidence, *kinds: str) -> Evidence:
    if e.network.loss not in kinds:
        raise Absent(e.network.loss)
    return e


# fmt: off
LOSS = [
    H("loss", "mean-missing", lambda e: terms(e).sum(), "it is the sum, not the mean"),
    H("loss", "wrong-mean", lambda e: terms(e).sum() / e.m, "it is divided by the samples alone"),
    H("loss", "wrong-mean", lambda e: terms(e).sum() / e.n, "it is divided by the number of columns, not of samples"),
    H("loss", "wrong-mean", lambda e: terms(e).sum() / (e.m * e.n), "it is divided by samples x columns"),
    H("loss", "factor-half", lambda e: mean(e, terms(e)) * 0.5, "it is half of what it should be"),
    H("loss", "factor-two", lambda e: mean(e, terms(e)) * 2.0, "it is twice what it should be"),
    H("loss", "sign", lambda e: -mean(e, terms(e)), "its sign is wrong"),
    H("loss", "last-sample-only", lambda e: terms(e)[-1].sum(), "it is the last sample's loss only"),
    H("loss", "last-sample-only", lambda e: terms(e)[-1].sum() / e.count, "only the last sample of the batch enters"),
    H("loss", "first-sample-only", lambda e: terms(e)[0].sum(), "it is the first sample's loss only"),
    H("loss", "epsilon-in-log", _epsilons(terms, mean), "{} is added inside the logarithm", listed=True),
    H("loss", "probabilities-clipped", _clipped_loss, "the probabilities are clipped to {}", listed=True),
    H("loss", "output-activated", _activated(terms, mean), "a {} is applied to the output before the loss"),
    H("loss", "wrong-logarithm", lambda e: mean(e, terms(e)) / np.log(2.0), "the logarithm is to base 2"),
    H("loss", "wrong-logarithm", lambda e: mean(e, terms(e)) / np.log(10.0), "the logarithm is to base 10"),
    H("loss", "label-off-by-one", _moved_targets(terms, mean), "class k is taken for class {}"),
    H("loss", "targets-shuffled", _shuffled_targets(terms, mean), "the targets belong to other samples: they are {}"),
    H("loss", "softmax-twice", lambda e: mean(e, terms(e, y=softmax(e.y))),
      "a softmax is applied to the output once more"),
    H("loss", "activation-twice", lambda e: mean(e, terms(e, y=sigmoid(e.y))),
      "a sigmoid is applied to the output once more"),
    H("loss", "logarithm-missing", lambda e: -mean(e, e.t * e.y), "-sum t y: the logarithm is missing"),
    H("loss", "logarithm-missing", lambda e: -mean(e, e.t * softmax(e.y)), "-sum t p: the logarithm is missing"),
    H("loss", "labels-smoothed", _smoothed_loss, "the target is mixed with 1/n: label smoothing of {}", 1),
    H("loss", "target-broadcast", lambda e: _every_pair(e) * float(e.m),
      "every output is compared with every target: (m, 1) against (m,)"),
    H("loss", "target-broadcast", lambda e: _every_pair(e),
      "every output is compared with every target: (m, 1) against (m,)"),
    H("loss", "absolute-value-missing", lambda e: _without_absolute_value(e), "e^-z in the place of e^-|z|"),
    H("loss", "square-of-mean", lambda e: _square_of_mean(e), "it is the square of the mean error"),
    H("loss", "samples-weighted", _weighted_loss, "the samples are weighted: {}", 1),
    H("loss", "square-missing", lambda e: mean(e, absolute(e.y - e.t)), "|y - t| is not squared"),
    H("loss", "root-taken", lambda e: sqrt(mean(e, terms(e))), "it is the root of the loss"),
    H("loss", "last-term-missing", lambda e: -mean(e, _times_log(e.t, _only(e, "binary_cross_entropy").y)),
      "only t log p enters: (1 - t) log(1 - p) is missing"),
    H("loss", "last-sample-only", _part_of_batch, "it is the mean over the {} samples of the batch only", 1),
    H("loss", "mean-over-other-batch", lambda e: terms(e).sum() / len(e.before("input")),
      "it is divided by the size of the batch before"),
    H("loss", "target-hardened", lambda e: mean(e, terms(e, t=_hardened(e))),
      "the target's most probable class is taken for the target"),
    H("loss", "target-transposed", lambda e: mean(e, terms(e, t=_exchanged(e))), "rows and labels are exchanged"),
    H("loss", "softmax-not-shifted", _overflowing_loss,
      "the row's maximum is not subtracted, and e^s overflows or underflows", overflows=True),
    H("loss", "softmax-shifted-by-batch-maximum", _underflowing_loss,
      "the maximum of the whole batch is subtracted, not the row's, and e^(s - max) underflows", overflows=True),
    H("loss", "weight-penalty", _penalised, "{} x the sum of squared weights is added", 1),
    H("loss", "previous-batch", lambda e: _same_loss_before(e), "it is the loss of the step before"),
]
# fmt: on


def _same_loss_before(e: Evidence) -> Bounded:
    return e.before("loss")


# fmt: off
LOSS_GRADIENT = [
    H("loss.gradient", "mean-missing", lambda e: gradient(e) * e.count,
      "the division by the count of the mean is missing"),
    H("loss.gradient", "mean-doubled", lambda e: gradient(e) / e.count, "the mean is taken twice"),
    H("loss.gradient", "mean-doubled", lambda e: gradient(e) / e.m, "it is divided by the samples once too often"),
    H("loss.gradient", "wrong-mean", lambda e: gradient(e) * e.count / e.n,
      "it is divided by the number of columns, not of samples"),
    H("loss.gradient", "wrong-mean", lambda e: gradient(e) * e.count / e.m,
      "it is divided by the samples alone, not by all elements"),
    H("loss.gradient", "wrong-mean", lambda e: gradient(e) * e.count / (e.m * e.n),
      "it is divided by samples x columns"),
    H("loss.gradient", "factor-half", lambda e: gradient(e) * 0.5, "it is half of the derivative"),
    H("loss.gradient", "factor-two", lambda e: gradient(e) * 2.0, "it is twice the derivative"),
    H("loss.gradient", "mean-over-other-batch", lambda e: gradient(e) * e.count / len(e.before("input")),
      "it is divided by the size of the batch before"),
    H("loss.gradient", "target-hardened", lambda e: gradient(e, t=_hardened(e)),
      "the target's most probable class is taken for the target"),
    H("loss.gradient", "target-transposed", lambda e: gradient(e, t=_exchanged(e)), "rows and labels are exchanged"),
    H("loss.gradient", "exponential-missing", lambda e: (_log_softmax(_only(e, "cross_entropy").y) - e.t) / e.count,
      "log p stands where p is meant: the exponential is missing"),
    H("loss.gradient", "target-not-normalised",
      lambda e: (softmax(_only(e, "cross_entropy").y) - _unnormalised(e)) / e.count,
      "p - t is right only for a target that sums to 1: p sum(t) - t"),
    H("loss.gradient", "wrong-derivative", lambda e: -(_only(e, "probability_cross_entropy").t) / e.count,
      "-t in the place of -t / p: the division by p is missing"),
    H("loss.gradient", "labels-smoothed", _smoothed_gradient, "the target is mixed with 1/n: label smoothing of {}", 1),
    H("loss.gradient", "absolute-value", lambda e: absolute(gradient(_only(e, "mse", "half_squared_error"))),
      "|y - t| in the place of y - t"),
    H("loss.gradient", "samples-weighted", _weighted_gradient, "the samples are weighted: {}", 1),
    H("loss.gradient", "labels-of-all-rows", lambda e: _labels_of_all_rows(e),
      "1 is subtracted at every label of the batch, not at the row's own"),
    H("loss.gradient", "inner-derivative-missing",
      lambda e: -(_over(1.0 - e.t, 1.0 - _only(e, "binary_cross_entropy").y) + _over(e.t, e.y)) / e.count,
      "the second term has the wrong sign: d log(1 - p) = -dp / (1 - p)"),
    H("loss.gradient", "denominators-swapped", lambda e: _swapped_denominators(e),
      "p and 1 - p are exchanged in the denominators"),
    H("loss.gradient", "sign", lambda e: -gradient(e), "its sign is wrong: t - y, not y - t"),
    H("loss.gradient", "label-off-by-one", _moved_targets(gradient, _as_is), "class k is taken for class {}"),
    H("loss.gradient", "targets-shuffled", _shuffled_targets(gradient, _as_is),
      "the targets belong to other samples: they are {}"),
    H("loss.gradient", "targets-shuffled", _permuted_gradient,
      "the targets belong to other samples: their rows are {}", 1),
    H("loss.gradient", "epsilon-in-log", _epsilons(gradient, _as_is), "{} is added to the probability", listed=True),
    H("loss.gradient", "probabilities-clipped", _clipped_gradient, "the probabilities are clipped to {}", listed=True),
    H("loss.gradient", "output-activated", _activated(gradient, _as_is),
      "a {} is applied to the output before the loss, and its derivative is left out"),
    H("loss.gradient", "output-activated", _derived_activated, "a {} is applied to the output before the loss"),
    H("loss.gradient", "target-missing", lambda e: gradient(e, t=e.t * 0.0), "the target is not subtracted"),
    H("loss.gradient", "target-missing", lambda e: softmax(e.y) / e.count,
      "the target is not subtracted: p / m, not (p - t) / m"),
    H("loss.gradient", "softmax-missing",
      lambda e: (_only(e, "cross_entropy", "logits_binary_cross_entropy").y - e.t) / e.count,
      "(y - t) / m: y stands where its derivative's function is meant"),
    H("loss.gradient", "softmax-twice", lambda e: (softmax(softmax(e.y)) - e.t) / e.count,
      "a softmax is applied to the output once more"),
    H("loss.gradient", "softmax-twice", lambda e: _through_softmax(e), "a softmax is applied to the output once more"),
    H("loss.gradient", "softmax-diagonal", lambda e: -(e.t * (1.0 - softmax(e.y))) / e.count,
      "the softmax's Jacobian is reduced to its diagonal: -t (1 - p)"),
    H("loss.gradient", "derivative-twice", lambda e: gradient(e) * softmax(e.y) * (1.0 - softmax(e.y)),
      "(p - t) is multiplied by p (1 - p): that derivative is in p - t already"),
    H("loss.gradient", "derivative-twice", lambda e: gradient(e) * sigmoid(e.y) * (1.0 - sigmoid(e.y)),
      "(p - t) is multiplied by p (1 - p): that derivative is in p - t already"),
    H("loss.gradient", "derivative-twice",
      lambda e: gradient(_only(e, "mse", "half_squared_error")) * e.y * (1.0 - e.y),
      "the output's derivative y (1 - y) is applied here, and once more in its layer"),
    H("loss.gradient", "derivative-twice",
      lambda e: (_only(e, "probability_cross_entropy", "binary_cross_entropy").y - e.t) / e.count,
      "it is (p - t) / m, the gradient of the logits: the activation's derivative will be applied once more"),
    H("loss.gradient", "wrong-loss-gradient", lambda e: (e.y - e.t) / (e.y * (1.0 - e.y)) / e.count,
      "it is the gradient of binary cross-entropy, (p - t) / (p (1 - p))", overflows=True),
    H("loss.gradient", "last-term-missing", lambda e: -_over(e.t, _only(e, "binary_cross_entropy").y) / e.count,
      "only -t / p enters: (1 - t) / (1 - p) is missing"),
    H("loss.gradient", "wrong-derivative", lambda e: -(e.t * e.y) / e.count, "-t p in the place of -t / p"),
    H("loss.gradient", "wrong-derivative", lambda e: -_times_log(e.t, e.y) / e.count,
      "it is the loss of each element, not its derivative"),
    H("loss.gradient", "target-missing", lambda e: -(1.0 / e.y) / e.count,
      "-1 / p for every class: the factor t is missing"),
    H("loss.gradient", "wrong-logarithm", lambda e: gradient(e) / np.log(2.0),
      "it is the derivative of a logarithm to base 2"),
    H("loss.gradient", "wrong-logarithm", lambda e: gradient(e) / np.log(10.0),
      "it is the derivative of a logarithm to base 10"),
    H("loss.gradient", "square-missing",
      lambda e: where(e.y.value > e.t.value, 0.0 * e.y + 1.0, 0.0 * e.y - 1.0, e.p) / e.count,
      "it is the sign of y - t: the derivative of |y - t|"),
    H("loss.gradient", "last-sample-only", lambda e: _only_row(gradient(e), -1), "only the last sample has a gradient"),
    H("loss.gradient", "last-sample-only", lambda e: _only_row(gradient(e) * e.count, -1),
      "only the last sample has a gradient, undivided"),
    H("loss.gradient", "softmax-wrong-axis", lambda e: (softmax(e.y, axis=0) - e.t) / e.count,
      "the softmax is normalised down the columns"),
]
# fmt: on


def _only_row(a: Bounded, row: int) -> Bounded:
    mask = np.zeros((len(a.value), 1), bool)
    mask[row] = True
    return where(np.broadcast_to(mask, a.shape), a, 0.0, a.p)


def _through_softmax(e: Evidence) -> Bounded:
    """The true derivative of the loss of softmax(y)."""
    q = softmax(e.y)
    dq = gradient(e, y=q)
    return q * (dq - (dq * q).sum(axis=1, keepdims=True))
