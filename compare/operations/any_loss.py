"""Mistakes that can be made with any loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, clip, exp, log, relu, sigmoid, softmax, sqrt, tanh, where
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import EPSILONS, Formula, Guess, fitted
from compare.operations.mistake import Mistake as M


def terms(e: Letters, y: Bounded | None = None, t: Bounded | None = None, eps: float = 0.0) -> Bounded:
    """The summands of the loss (m, n), with another output or target, or an epsilon in its logarithms."""
    found: Bounded = e.operation.terms(e.y if y is None else y, e.t if t is None else t, eps)
    return found


def mean(e: Letters, summands: Bounded) -> Bounded:
    """Their sum over what the loss divides by."""
    return summands.sum() / e.count


def loss(e: Letters, **changes: Any) -> Bounded:
    """Its value, with the changes of `terms`."""
    return mean(e, terms(e, **changes))


def gradient(e: Letters, y: Bounded | None = None, t: Bounded | None = None, eps: float = 0.0) -> Bounded:
    """dL/dy (m, n), with another output or target, or an epsilon in the logarithms."""
    found: Bounded = e.operation.slope(e.y if y is None else y, e.t if t is None else t, eps)
    return found / e.count


def log_softmax(s: Bounded) -> Bounded:
    """log p from the logits: where p underflows its logarithm does not."""
    shifted = s - s.value.max(axis=1, keepdims=True)
    return shifted - log(exp(shifted).sum(axis=1, keepdims=True))


def times_log(t: Bounded, q: Bounded) -> Bounded:
    """t log q, 0 where t is."""
    with np.errstate(all="ignore"):
        return where(t.value == 0, 0.0, t * log(q), t.p)


def over(t: Bounded, q: Bounded) -> Bounded:
    """t / q, 0 where t is."""
    with np.errstate(all="ignore"):
        return where(t.value == 0, 0.0, t / q, t.p)


def probabilities(e: Letters) -> Bounded:
    """What the loss takes the logarithm of. Absent for a loss without one."""
    found: Bounded | None = e.operation.probabilities(e.y)
    if found is None:
        raise Absent("probabilities")
    return found


def every_pair(e: Letters, terms: Bounded) -> Bounded:
    """The mean of the terms (m, m) of every output and every target. Absent where there is not one column."""
    if e.n != 1:
        raise Absent("one column")
    return terms.sum() / (e.count * (1 if e.operation.reduction == "sum" else e.m))


def rolled(rows: Bounded, by: int) -> Bounded:
    """A target of one-hot rows with every label moved by one class. Absent for any other target."""
    t = rows.value
    if t.ndim != 2 or t.shape[1] < 2 or not (np.isin(t, (0, 1)).all() and (t.sum(axis=1) == 1).all()):
        raise Absent("one-hot rows")
    return Bounded.of(np.roll(t, by, axis=1), rows.p)


def _moved_targets(of: Callable[..., Bounded]) -> Formula:
    def guesses(e: Letters) -> Iterator[Guess]:
        for by, words in ((1, "k + 1"), (-1, "k - 1")):
            yield of(e, t=rolled(e.t, by)), words

    return guesses


def _shuffled_targets(of: Callable[..., Bounded]) -> Formula:
    def guesses(e: Letters) -> Iterator[Guess]:
        t = e.t.value
        for order, words in (
            (t[::-1], "in reverse order"),
            (np.roll(t, 1, axis=0), "moved by one row"),
            (np.roll(t, -1, axis=0), "moved by one row"),
        ):
            yield of(e, t=Bounded.of(order, e.p)), words

    return guesses


def _permuted_gradient(e: Letters) -> Iterator[Guess]:
    """Solve the gradient for the target: if its rows are those of the target in another order, they were shuffled."""
    found = e.operation.affine(e.y, e.t)
    if found is None:
        return
    none, unit = (a / e.count for a in found)
    implied = np.rint((e.got - none) / unit) if _is_binary(e.t.value) else (e.got - none) / unit
    same_rows = np.array_equal(np.sort(row_keys(implied)), np.sort(row_keys(e.t.value)))
    if same_rows and not np.array_equal(implied, e.t.value):
        yield gradient(e, t=Bounded.of(implied, e.p)), "in another order"


def _is_binary(t: Any) -> bool:
    return bool(np.isin(t, (0, 1)).all())


def row_keys(rows: Any) -> Any:
    return rows @ np.sqrt(np.arange(2, rows.shape[1] + 2))


def _epsilons(of: Callable[..., Bounded]) -> Formula:
    def guesses(e: Letters) -> Iterator[Guess]:
        for eps in EPSILONS:
            yield of(e, eps=eps), f"{eps:g}"

    return guesses


def _clipped_loss(e: Letters) -> Iterator[Guess]:
    """The logarithms are of probabilities within [eps, 1 - eps]."""
    q, t = probabilities(e), e.operation.asked(e.t)
    for eps in EPSILONS:
        p = clip(q, eps, 1 - eps)
        ones = times_log(t, p)
        binary = e.operation.binary
        yield -mean(e, ones + times_log(1.0 - t, 1.0 - p) if binary else ones), f"[{eps:g}, 1 - {eps:g}]"


def _clipped_gradient(e: Letters) -> Iterator[Guess]:
    """dL/dy with the probabilities within [eps, 1 - eps]: in the denominators, or in p - t."""
    q = probabilities(e)
    for eps in EPSILONS:
        p = clip(q, eps, 1 - eps)
        yield e.operation.slope_from(p, e.t) / e.count, f"[{eps:g}, 1 - {eps:g}]"


def _activated(of: Callable[..., Bounded]) -> Formula:
    """The loss of f(y): with the output y taken through an activation that is not in the network."""

    def guesses(e: Letters) -> Iterator[Guess]:
        yield of(e, y=relu(e.y)), "ReLU"
        yield of(e, y=tanh(e.y)), "tanh"

    return guesses


def _derived_activated(e: Letters) -> Iterator[Guess]:
    """dL/df f'(y), for the same activations."""
    yield where(e.y.value > 0, gradient(e, y=relu(e.y)), 0.0, e.p), "ReLU"
    a = tanh(e.y)
    yield gradient(e, y=a) * (1.0 - a * a), "tanh"


def _penalised(e: Letters) -> Iterator[Guess]:
    """loss - ref over the sum of squares of all weights."""
    weights = [n for n in e.network.parameters() if n.endswith("weight")]
    squares = np.array(sum(float((e.tensor(n).value ** 2).sum()) for n in weights))
    rate, words = fitted(e, e.got - e.ref.value, squares)
    if rate.value > 0:
        yield e.ref + rate * squares, words


def _part_of_batch(e: Letters) -> Iterator[Guess]:
    """The mean over the first or the last k rows."""
    per_row, m = terms(e).sum(axis=1), e.m
    for k in range(1, m if m <= 512 else 1):
        share = 1 / k if e.operation.reduction == "sum" else e.count / m
        yield per_row[m - k :].sum() / (k * share), "last"
        yield per_row[:k].sum() / (k * share), "first"


def _hardened(e: Letters) -> Bounded:
    """The target's most probable class alone. Absent if it is that already."""
    hardened = np.eye(e.n)[e.t.value.argmax(axis=1)]
    if np.array_equal(hardened, e.t.value):
        raise Absent("a soft target")
    return Bounded.of(hardened, e.p)


def _smoothed(of: Callable[..., Bounded]) -> Formula:
    """Loss and gradient are linear in the target, and so in the share of 1/n in it."""

    def guesses(e: Letters) -> Iterator[Guess]:
        uniform = Bounded.of(np.full(e.t.shape, 1 / e.n), e.p)
        more = of(e, t=uniform) - of(e)
        share, words = fitted(e, e.got - e.ref.value, more.value)
        if 0 < share.value < 1:
            yield e.ref + more * share, words

    return guesses


def _sample_weights(e: Letters, got: Array) -> tuple[Bounded, str]:
    """The factor of each row of the loss's gradient (m, 1). Absent if there is none, or the same for all."""
    right = gradient(e).value
    at = np.argmax(np.abs(right), axis=1)
    rows = np.arange(len(right))
    factors = got[rows, at] / right[rows, at]
    if not np.isfinite(factors).all() or np.ptp(factors) <= 1e-5:
        raise Absent("weights of the samples")
    column = factors[:, np.newaxis]
    weights, labels = Bounded(column, 1e-5 * np.abs(column), e.p), e.t.value.argmax(axis=1)
    by_class = all(np.ptp(factors[labels == k]) <= 1e-5 for k in np.unique(labels))
    left_out = np.abs(factors) <= 1e-6
    if left_out.any() and np.ptp(factors[~left_out]) <= 1e-5:
        which = f"class {labels[left_out][0]}" if by_class else f"samples {np.flatnonzero(left_out).tolist()}"
        return weights, f"{which} left out"
    return weights, "each class has its own weight" if by_class else "each sample has its own weight"


def _weighted_gradient(e: Letters) -> Iterator[Guess]:
    weights, words = _sample_weights(e, e.got)
    yield gradient(e) * weights, words


def _weighted_loss(e: Letters) -> Iterator[Guess]:
    """The weights are read off the gradient, if that was handed in and is weighted."""
    weights, words = _sample_weights(e, e.tensor(f"{len(e.network.layers) - 1}.grad_output").value)
    yield mean(e, terms(e) * weights), words


def _exchanged(e: Letters) -> Bounded:
    """Rows and labels exchanged: t[label, row] = 1."""
    t, labels = np.zeros(e.t.shape), e.t.value.argmax(axis=1)
    t[labels, np.arange(len(labels))] = 1
    return Bounded.of(t, e.p)


def _only_row(a: Bounded, row: int) -> Bounded:
    mask = np.zeros((len(a.value), 1), bool)
    mask[row] = True
    return where(np.broadcast_to(mask, a.shape), a, 0.0, a.p)


def _through_softmax(e: Letters) -> Bounded:
    """The true derivative of the loss of softmax(y)."""
    q = softmax(e.y)
    dq = gradient(e, y=q)
    return q * (dq - (dq * q).sum(axis=1, keepdims=True))


# What examples have in common: their cases, and the correct expressions.
MSE = {"network": "5-7-4 relu, mse"}
PROBABILITIES = {"network": "5-7-4 relu, softmax output, cross-entropy on probabilities"}
LOSS = "-(t * log_softmax(y)).sum() / m"
GRADIENT = "(softmax(y) - t) / m"
OF_SQUARES = "2 * (y - t) / (m * n)"

# fmt: off
MISTAKES = {
    "loss": [
        M("mean-missing", lambda e: terms(e).sum(), "it is the sum, not the mean",
          wrong="-(t * log_softmax(y)).sum()", right=LOSS),
        M("wrong-mean", lambda e: terms(e).sum() / e.m, "it is divided by the samples alone",
          wrong="((y - t) ** 2).sum() / m", right="((y - t) ** 2).mean()", case=MSE),
        M("wrong-mean", lambda e: terms(e).sum() / e.n, "it is divided by the number of columns, not of samples",
          wrong="-(t * log_softmax(y)).sum() / n", right=LOSS),
        M("wrong-mean", lambda e: terms(e).sum() / (e.m * e.n), "it is divided by samples x columns",
          wrong="-(t * log_softmax(y)).mean()", right=LOSS),
        M("factor-half", lambda e: loss(e) * 0.5, "it is half of what it should be",
          wrong="0.5 * ((y - t) ** 2).mean()", right="((y - t) ** 2).mean()", case=MSE),
        M("factor-two", lambda e: loss(e) * 2.0, "it is twice what it should be",
          wrong="((y - t) ** 2).sum() / m", right="0.5 * ((y - t) ** 2).sum() / m",
          case={"network": "5-7-4 relu, half squared error"}),
        M("sign", lambda e: -loss(e), "its sign is wrong",
          wrong="(t * log_softmax(y)).sum() / m", right=LOSS),
        M("last-sample-only", lambda e: terms(e)[-1].sum(), "it is the last sample's loss only",
          wrong="-(t[-1] * log_softmax(y)[-1]).sum()", right=LOSS),
        M("last-sample-only", lambda e: terms(e)[-1].sum() / e.count, "only the last sample of the batch enters",
          wrong="-(t[-1] * log_softmax(y)[-1]).sum() / m", right=LOSS),
        M("first-sample-only", lambda e: terms(e)[0].sum(), "it is the first sample's loss only",
          wrong="-(t[0] * log_softmax(y)[0]).sum()", right=LOSS),
        M("epsilon-in-log", _epsilons(loss), "{} is added inside the logarithm", listed=True,
          wrong="-(t * np.log(softmax(y) + 1e-5)).sum() / m", right="-(t * np.log(softmax(y))).sum() / m"),
        M("probabilities-clipped", _clipped_loss, "the probabilities are clipped to {}", listed=True,
          wrong="-(t * np.log(np.clip(softmax(y), 1e-3, 1 - 1e-3))).sum() / m", right=LOSS, case={"scale": 20}),
        M("output-activated", _activated(loss), "a {} is applied to the output before the loss",
          wrong="-(t * log_softmax(relu(y))).sum() / m", right=LOSS),
        M("wrong-logarithm", lambda e: loss(e) / np.log(2.0), "the logarithm is to base 2",
          wrong="-(t * np.log2(softmax(y))).sum() / m", right="-(t * np.log(softmax(y))).sum() / m"),
        M("wrong-logarithm", lambda e: loss(e) / np.log(10.0), "the logarithm is to base 10",
          wrong="-(t * np.log10(softmax(y))).sum() / m", right="-(t * np.log(softmax(y))).sum() / m"),
        M("label-off-by-one", _moved_targets(loss), "class k is taken for class {}",
          wrong="-log_softmax(y)[np.arange(m), t.argmax(axis=1) - 1].sum() / m",
          right="-log_softmax(y)[np.arange(m), t.argmax(axis=1)].sum() / m"),
        M("targets-shuffled", _shuffled_targets(loss), "the targets belong to other samples: they are {}",
          wrong="-(t[::-1] * log_softmax(y)).sum() / m", right=LOSS),
        M("softmax-twice", lambda e: loss(e, y=softmax(e.y)), "a softmax is applied to the output once more",
          wrong="-(t * log_softmax(softmax(y))).sum() / m", right=LOSS),
        M("activation-twice", lambda e: loss(e, y=sigmoid(e.y)),
          "a sigmoid is applied to the output once more",
          wrong="-(t * np.log(sigmoid(y)) + (1 - t) * np.log(1 - sigmoid(y))).mean()",
          right="-(t * np.log(y) + (1 - t) * np.log(1 - y)).mean()",
          case={"network": "5-7-1 relu, sigmoid output, binary cross-entropy"}),
        M("labels-smoothed", _smoothed(loss), "the target is mixed with 1/n: label smoothing of {}", rank=1,
          wrong="-((0.9 * t + 0.1 / n) * log_softmax(y)).sum() / m", right=LOSS),
        M("samples-weighted", _weighted_loss, "the samples are weighted: {}", rank=1,
          wrong="-(t * np.array([1, 2, 3, 4]) * log_softmax(y)).sum() / m", right=LOSS,
          case={"also": {"2.grad_output": "(softmax(y) - t) * (t @ np.array([1.0, 2, 3, 4]))[:, None] / m"}}),
        M("root-taken", lambda e: sqrt(loss(e)), "it is the root of the loss",
          wrong="np.sqrt(((y - t) ** 2).mean())", right="((y - t) ** 2).mean()", case=MSE),
        M("last-sample-only", _part_of_batch, "it is the mean over the {} samples of the batch only", rank=1,
          wrong="-(t[m // 2 :] * log_softmax(y)[m // 2 :]).sum() / (m - m // 2)", right=LOSS),
        M("mean-over-other-batch", lambda e: terms(e).sum() / len(e.before("input")),
          "it is divided by the size of the batch before",
          wrong="-(t * log_softmax(y)).sum() / before.m", right=LOSS, case={"rows": (6, 3, 5)}),
        M("target-hardened", lambda e: loss(e, t=_hardened(e)),
          "the target's most probable class is taken for the target",
          wrong="-log_softmax(y)[np.arange(m), t.argmax(axis=1)].sum() / m", right=LOSS, case={"target": "soft"}),
        M("target-transposed", lambda e: loss(e, t=_exchanged(e)), "rows and labels are exchanged",
          wrong="-(t.T * log_softmax(y)).sum() / m", right=LOSS, case={"rows": (4, 4, 4)}),
        M("weight-penalty", _penalised, "{} x the sum of squared weights is added", rank=1,
          wrong="-(t * log_softmax(y)).sum() / m + 0.01 * ((tensor(\"0.weight\") ** 2).sum() + (tensor(\"2.weight\") "
            "** 2).sum())", right="-(t * log_softmax(y)).sum() / m"),
        M("previous-batch", lambda e: e.before("loss"), "it is the loss of the step before",
          wrong="-(before.t * log_softmax(before.y)).sum() / before.m", right=LOSS),
    ],
    "loss.gradient": [
        M("mean-missing", lambda e: gradient(e) * e.count, "the division by the count of the mean is missing",
          wrong="softmax(y) - t", right=GRADIENT),
        M("mean-doubled", lambda e: gradient(e) / e.count, "the mean is taken twice",
          wrong="(softmax(y) - t) / m / m", right=GRADIENT),
        M("mean-doubled", lambda e: gradient(e) / e.m, "it is divided by the samples once too often",
          wrong="2 * (y - t) / (m * n) / m", right=OF_SQUARES, case=MSE),
        M("wrong-mean", lambda e: gradient(e) * e.count / e.n, "it is divided by the number of columns, not of samples",
          wrong="(softmax(y) - t) / n", right=GRADIENT),
        M("wrong-mean", lambda e: gradient(e) * e.count / e.m,
          "it is divided by the samples alone, not by all elements",
          wrong="2 * (y - t) / m", right=OF_SQUARES, case=MSE),
        M("wrong-mean", lambda e: gradient(e) * e.count / (e.m * e.n), "it is divided by samples x columns",
          wrong="(softmax(y) - t) / y.size", right=GRADIENT),
        M("factor-half", lambda e: gradient(e) * 0.5, "it is half of the derivative",
          wrong="(y - t) / (m * n)", right=OF_SQUARES, case=MSE),
        M("factor-two", lambda e: gradient(e) * 2.0, "it is twice the derivative",
          wrong="2 * (y - t) / m", right="(y - t) / m", case={"network": "5-7-4 relu, half squared error"}),
        M("mean-over-other-batch", lambda e: gradient(e) * e.count / len(e.before("input")),
          "it is divided by the size of the batch before",
          wrong="(softmax(y) - t) / before.m", right=GRADIENT, case={"rows": (6, 3, 5)}),
        M("target-hardened", lambda e: gradient(e, t=_hardened(e)),
          "the target's most probable class is taken for the target",
          wrong="(softmax(y) - np.eye(n)[t.argmax(axis=1)]) / m", right=GRADIENT, case={"target": "soft"}),
        M("target-transposed", lambda e: gradient(e, t=_exchanged(e)), "rows and labels are exchanged",
          wrong="(softmax(y) - t.T) / m", right=GRADIENT, case={"rows": (4, 4, 4)}),
        M("labels-smoothed", _smoothed(gradient), "the target is mixed with 1/n: label smoothing of {}", rank=1,
          wrong="(softmax(y) - (0.9 * t + 0.1 / n)) / m", right=GRADIENT),
        M("samples-weighted", _weighted_gradient, "the samples are weighted: {}", rank=1,
          wrong="(softmax(y) - t) * (t @ np.array([1.0, 2, 3, 4]))[:, None] / m", right=GRADIENT),
        M("sign", lambda e: -gradient(e), "its sign is wrong: t - y, not y - t",
          wrong="(t - softmax(y)) / m", right=GRADIENT),
        M("label-off-by-one", _moved_targets(gradient), "class k is taken for class {}",
          wrong="(softmax(y) - np.eye(n)[t.argmax(axis=1) - 1]) / m", right=GRADIENT),
        M("targets-shuffled", _shuffled_targets(gradient), "the targets belong to other samples: they are {}",
          wrong="(softmax(y) - t[::-1]) / m", right=GRADIENT),
        M("targets-shuffled", _permuted_gradient, "the targets belong to other samples: their rows are {}", rank=1,
          wrong="(softmax(y) - t[np.argsort(t.argmax(axis=1))]) / m", right=GRADIENT),
        M("epsilon-in-log", _epsilons(gradient), "{} is added to the probability", listed=True,
          wrong="-t / (y + 1e-5) / m", right="-t / y / m", case=PROBABILITIES),
        M("probabilities-clipped", _clipped_gradient, "the probabilities are clipped to {}", listed=True,
          wrong="-t / np.clip(y, 1e-3, 1 - 1e-3) / m", right="-t / y / m",
          case={"network": "5-7-4 relu, softmax output, cross-entropy on probabilities", "scale": 20}),
        M("output-activated", _activated(gradient),
          "a {} is applied to the output before the loss, and its derivative is left out",
          wrong="(softmax(relu(y)) - t) / m", right=GRADIENT),
        M("output-activated", _derived_activated, "a {} is applied to the output before the loss",
          wrong="2 * (tanh(y) - t) * (1 - tanh(y) ** 2) / (m * n)", right=OF_SQUARES, case=MSE),
        M("target-missing", lambda e: gradient(e, t=e.t * 0.0), "the target is not subtracted",
          wrong="2 * y / (m * n)", right=OF_SQUARES, case=MSE),
        M("softmax-twice", _through_softmax, "a softmax is applied to the output once more",
          wrong="softmax(y) * (softmax(softmax(y)) - t - (softmax(y) * (softmax(softmax(y)) - t)).sum(axis=1, "
            "keepdims=True)) / m", right="(softmax(y) - t) / m"),
        M("wrong-loss-gradient", lambda e: (e.y - e.t) / (e.y * (1.0 - e.y)) / e.count,
          "it is the gradient of binary cross-entropy, (p - t) / (p (1 - p))", overflows=True,
          wrong="(y - t) / (y * (1 - y)) / m", right="-t / y / m", case=PROBABILITIES),
        M("wrong-logarithm", lambda e: gradient(e) / np.log(2.0), "it is the derivative of a logarithm to base 2",
          wrong="-t / (y * np.log(2)) / m", right="-t / y / m", case=PROBABILITIES),
        M("wrong-logarithm", lambda e: gradient(e) / np.log(10.0), "it is the derivative of a logarithm to base 10",
          wrong="-t / (y * np.log(10)) / m", right="-t / y / m", case=PROBABILITIES),
        M("last-sample-only", lambda e: _only_row(gradient(e), -1), "only the last sample has a gradient",
          wrong="(softmax(y) - t) * (np.arange(m) == m - 1)[:, None] / m", right=GRADIENT),
        M("last-sample-only", lambda e: _only_row(gradient(e) * e.count, -1),
          "only the last sample has a gradient, undivided",
          wrong="(softmax(y) - t) * (np.arange(m) == m - 1)[:, None]", right=GRADIENT),
    ],
}
# fmt: on
