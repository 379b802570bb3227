"""Mistakes in the forward pass of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.diagnosis.evidence import Absent, Evidence
from compare.diagnosis.hypotheses.hypothesis import EPSILONS, LIMITS, Formula, Guess, fitted
from compare.diagnosis.hypotheses.hypothesis import Hypothesis as H
from compare.numbers.bounded import Bounded, absolute, clip, exp, log, relu, sigmoid, softmax, tanh, where


def linear(e: Evidence, x: Any = None, W: Any = None) -> Bounded:
    """x W^T + b with something else in the place of x or W."""
    y = (e.x if x is None else x) @ (e.W if W is None else W).T
    return y + e.b if f"{e.k}.bias" in e.sweep.known else y


def _but_one_feature(e: Evidence) -> Iterator[Guess]:
    """The product without one of its terms."""
    columns = e.x.shape[1]
    for k in range(columns) if columns <= 64 else (0, columns - 1):
        kept = np.ones(columns)
        kept[k] = 0
        yield linear(e, x=e.x * kept), str(k)


def _on_one_row(e: Evidence, row: int) -> Bounded:
    here = np.zeros((len(e.x), 1))
    here[row] = 1
    return e.x @ e.W.T + e.b * here


def oblong(W: Bounded) -> Bounded:
    """A matrix that is not square: else reshaping it changes nothing."""
    if W.shape[0] == W.shape[1]:
        raise Absent("a matrix that is not square")
    return W


def _halved(a: Bounded) -> Bounded:
    with np.errstate(over="ignore"):
        return Bounded.exact(a.value.astype(np.float16), a.p)


def _other_inputs(e: Evidence) -> Iterator[Guess]:
    for name, other in e.others(e.x, ("input", "output")):
        yield linear(e, x=other), name


def _before_activation(e: Evidence) -> Iterator[Guess]:
    """The layer before this one left out: its input instead of its output."""
    if e.k > 0:
        name = "input" if e.k == 1 else f"{e.k - 1}.input"
        skipped = e.tensor(name)
        if skipped.shape == e.x.shape:
            yield linear(e, x=skipped), name


# fmt: off
LINEAR = [
    H("linear.output", "bias-missing", lambda e: e.x @ e.W.T, "the bias is not added: y = x W^T"),
    H("linear.output", "bias-doubled", lambda e: e.x @ e.W.T + e.b + e.b, "the bias is added twice"),
    H("linear.output", "bias-subtracted", lambda e: e.x @ e.W.T - e.b, "the bias is subtracted: y = x W^T - b"),
    H("linear.output", "weight-transposed", lambda e: e.x @ e.W + e.b, "the weight is transposed: x W, not x W^T"),
    H("linear.output", "bias-along-rows", lambda e: e.x @ e.W.T + _column(e.b), "the bias is added along the batch"),
    H("linear.output", "feature-left-out", _but_one_feature, "input feature {} is left out of the product"),
    H("linear.output", "bias-along-rows", lambda e: e.x @ e.W.T + _column(e.b[: e.m]),
      "the bias is taken by the sample's number, not by the unit's"),
    H("linear.output", "bias-on-one-row", lambda e: _on_one_row(e, 0), "the bias is added to the first sample only"),
    H("linear.output", "bias-on-one-row", lambda e: _on_one_row(e, -1), "the bias is added to the last sample only"),
    H("linear.output", "reshaped-for-transposed", lambda e: e.x @ oblong(e.W).reshape(*e.W.shape[::-1]) + e.b,
      "the weight is reshaped where it should be transposed"),
    H("linear.output", "float16-round-trip", lambda e: linear(e, W=_halved(e.W)), "the weight went through float16"),
    H("linear.output", "float16-round-trip", lambda e: linear(e, x=_halved(e.x)), "the input went through float16"),
    H("linear.output", "input-ignored", lambda e: e.x * 0.0 @ e.W.T + e.b, "the input does not enter: y = b"),
    H("linear.output", "activation-twice", lambda e: relu(linear(e)), "a ReLU is applied inside the linear layer"),
    H("linear.output", "activation-twice", lambda e: sigmoid(linear(e)),
      "a sigmoid is applied inside the linear layer"),
    H("linear.output", "activation-twice", lambda e: tanh(linear(e)), "a tanh is applied inside the linear layer"),
    H("linear.output", "softmax-twice", lambda e: softmax(linear(e)), "a softmax is applied inside the linear layer"),
    H("linear.output", "output-layer-left-in", lambda e: softmax(linear(e)),
      "the output layer is left in: the loss has its own softmax"),
    H("linear.output", "stale-weights", lambda e: e.x @ e.before(f"{e.k}.weight").T + e.before(f"{e.k}.bias"),
      "the weights are those of the step before: the update did not reach this layer"),
    H("linear.output", "stale-weights", lambda e: linear(e, W=e.before(f"{e.k}.weight")),
      "the weight is that of the step before: the update did not reach this layer"),
    H("linear.output", "activation-missing", _before_activation,
      "the activation before it is left out: {} enters instead"),
    H("linear.output", "wrong-input", _other_inputs, "{} enters instead of what left the layer before", 1),
]
# fmt: on


def _slope(e: Evidence) -> Iterator[Guess]:
    """Where x < 0, y / x is the slope of a leaky ReLU."""
    negative = e.x.value < 0
    slope, words = fitted(e, e.got, np.where(negative, e.x.value, 0))
    if abs(float(slope.value)) not in (0.0, 1.0):
        yield where(negative, e.x * slope, e.x, e.p), words


def dropped(e: Evidence) -> Iterator[Guess]:
    """Some elements are 0, all others the same multiple of what they should be."""
    kept = (e.got != 0) & (e.ref.value != 0)
    lost = (e.got == 0) & (e.ref.value != 0)
    if kept.any() and lost.any():
        factor, words = fitted(e, e.got, np.where(kept, e.ref.value, 0))
        yield where(e.got != 0, e.ref * factor, 0.0, e.p), f"the others scaled by {words}"


def _clipped_input(f: Callable[[Bounded], Bounded]) -> Formula:
    def guesses(e: Evidence) -> Iterator[Guess]:
        for limit in LIMITS:
            if np.abs(e.x.value).max() > limit:
                yield f(clip(e.x, -limit, limit)), f"[-{limit:g}, {limit:g}]"

    return guesses


def _in_candidates_arithmetic(f: Callable[[Any], Any]) -> Formula:
    """A formula whose overflow is the point: computed in the candidate's own precision."""

    def guess(e: Evidence) -> Bounded:
        with np.errstate(all="ignore"):
            value = np.asarray(f(e.x.value.astype(e.p.dtype)), dtype=np.float64)
        relative = (e.x.shape[1] + 20 + np.abs(e.x.value)) * e.p.u
        return Bounded(value, relative * np.abs(value) + e.p.normal, e.p)

    return guess


def _normalised(z: Bounded) -> Bounded:
    return z / z.sum(axis=1, keepdims=True)


def _dropout_scaling(e: Evidence) -> Iterator[Guess]:
    """1 / (1 - rate), or 1 - rate, for the usual rates."""
    for rate in (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 0.9):
        yield e.ref / (1 - rate), f"1 / (1 - {rate:g}) x what it should be"
        yield e.ref * (1 - rate), f"1 - {rate:g} x what it should be"


def _row_shifted(e: Evidence) -> Bounded:
    return exp(e.x - e.x.value.max(axis=1, keepdims=True))


def _column(a: Bounded) -> Bounded:
    return Bounded(a.value[:, np.newaxis], a.error[:, np.newaxis], a.p)


def _softmax_of(a: Any, shift: Any, axis: int | None = 1) -> Any:
    z = np.exp(a - shift)
    return z / z.sum(axis=axis, keepdims=True)


# fmt: off
ACTIVATIONS = [
    H("relu.output", "activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x"),
    H("relu.output", "leaky-relu", _slope, "a leaky ReLU of slope {} where x < 0, not max(x, 0)"),
    H("relu.output", "relu-wrong-side", lambda e: where(e.x.value < 0, e.x, 0.0, e.p), "y = min(x, 0): the wrong side"),
    H("relu.output", "relu-wrong-side", lambda e: -relu(-e.x), "y = min(x, 0): the wrong side"),
    H("relu.output", "absolute-value", lambda e: where(e.x.value > 0, e.x, -e.x, e.p), "y = |x|, not max(x, 0)"),
    H("relu.output", "dropout-left-in", dropped, "some elements are dropped, {}: dropout is left on", 1),
    H("relu.output", "relu-clipped", lambda e: ((clip(relu(e.x), 0, c), f"{c:g}") for c in LIMITS),
      "y is cut off at {}", listed=True),
    H("relu.output", "wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not ReLU"),
    H("relu.output", "wrong-activation", lambda e: tanh(e.x), "the activation is a tanh, not ReLU"),
    H("sigmoid.output", "output-clipped", lambda e: ((clip(e.ref, c, 1 - c), f"{c:g}") for c in EPSILONS),
      "y is clipped to [{0}, 1 - {0}]", listed=True),
    H("softmax.output", "output-clipped", lambda e: ((clip(e.ref, c, 1 - c), f"{c:g}") for c in EPSILONS),
      "y is clipped to [{0}, 1 - {0}]", listed=True),
    H("sigmoid.output", "activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x"),
    H("sigmoid.output", "activation-twice", lambda e: sigmoid(sigmoid(e.x)), "the sigmoid is applied twice"),
    H("sigmoid.output", "input-clipped", _clipped_input(sigmoid), "its input is clipped to {}", listed=True),
    H("sigmoid.output", "wrong-activation", lambda e: tanh(e.x), "the activation is a tanh, not a sigmoid"),
    H("sigmoid.output", "wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a sigmoid"),
    H("sigmoid.output", "exponent-sign", lambda e: sigmoid(-e.x), "the sign in the exponent is wrong: 1 / (1 + e^x)"),
    H("relu.output", "dropout-scaling", _dropout_scaling, "it is {}: dropout's scaling is left in", 1),
    H("sigmoid.output", "dropout-scaling", _dropout_scaling, "it is {}: dropout's scaling is left in", 1),
    H("tanh.output", "dropout-scaling", _dropout_scaling, "it is {}: dropout's scaling is left in", 1),
    H("tanh.output", "activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x"),
    H("tanh.output", "activation-twice", lambda e: tanh(tanh(e.x)), "the tanh is applied twice"),
    H("tanh.output", "input-clipped", _clipped_input(tanh), "its input is clipped to {}", listed=True),
    H("tanh.output", "exponent-halved", lambda e: 2.0 * sigmoid(e.x) - 1.0,
      "2 sigmoid(x) - 1, which is tanh(x / 2): 2 sigmoid(2 x) - 1 is meant"),
    H("tanh.output", "exponential-overflows", _in_candidates_arithmetic(lambda x: np.sinh(x) / np.cosh(x)),
      "written with e^x, which overflows for large x", overflows=True),
    H("tanh.output", "approximation", lambda e: e.x * (27.0 + e.x * e.x) / (27.0 + 9.0 * e.x * e.x),
      "a rational approximation, x (27 + x^2) / (27 + 9 x^2)"),
    H("tanh.output", "approximation", lambda e: e.x / (1.0 + absolute(e.x)), "an approximation, x / (1 + |x|)"),
    H("tanh.output", "approximation", lambda e: clip(e.x, -1.0, 1.0), "an approximation, x clipped to [-1, 1]"),
    H("sigmoid.output", "approximation", lambda e: (1.0 + e.x / (1.0 + absolute(e.x))) * 0.5,
      "an approximation, (1 + x / (1 + |x|)) / 2"),
    H("sigmoid.output", "approximation", lambda e: clip(0.2 * e.x + 0.5, 0.0, 1.0),
      "an approximation, 0.2 x + 0.5 clipped to [0, 1]"),
    H("sigmoid.output", "approximation", lambda e: clip(e.x / 6.0 + 0.5, 0.0, 1.0),
      "an approximation, x / 6 + 0.5 clipped to [0, 1]"),
    H("sigmoid.output", "exponential-overflows", _in_candidates_arithmetic(lambda x: np.exp(x) / (1 + np.exp(x))),
      "written with e^x, which overflows for large x", overflows=True),
    H("tanh.output", "wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not a tanh"),
    H("tanh.output", "wrong-activation", lambda e: relu(e.x), "the activation is a ReLU, not a tanh"),
    H("tanh.output", "exponent-halved", lambda e: tanh(e.x * 0.5), "tanh(x / 2): e^x where e^2x is meant"),
    H("softmax.output", "softmax-twice", lambda e: softmax(softmax(e.x)), "the softmax is applied twice"),
    H("softmax.output", "softmax-wrong-axis", lambda e: softmax(e.x, axis=0),
      "it is normalised down the columns (axis 0)"),
    H("softmax.output", "softmax-over-batch", lambda e: exp(e.x - e.x.value.max()) / exp(e.x - e.x.value.max()).sum(),
      "it is normalised over the whole batch"),
    H("softmax.output", "softmax-wrong-axis", lambda e: _row_shifted(e) / _row_shifted(e).sum(axis=0, keepdims=True),
      "it is normalised down the columns (axis 0)", overflows=True),
    H("softmax.output", "softmax-over-batch", lambda e: _row_shifted(e) / _row_shifted(e).sum(),
      "it is normalised over the whole batch"),
    H("softmax.output", "wrong-base", lambda e: softmax(e.x * float(np.log(2))), "powers of 2, not of e"),
    H("softmax.output", "wrong-base", lambda e: softmax(e.x * float(np.log(10))), "powers of 10, not of e"),
    H("softmax.output", "softmax-shift-on-one-side", lambda e: _row_shifted(e) / exp(e.x).sum(axis=1, keepdims=True),
      "the maximum is subtracted in the numerator only"),
    H("softmax.output", "softmax-shift-on-one-side", lambda e: exp(e.x) / _row_shifted(e).sum(axis=1, keepdims=True),
      "the maximum is subtracted in the denominator only"),
    H("softmax.output", "softmax-shifted-by-column",
      lambda e: _normalised(exp(e.x - e.x.value.max(axis=0, keepdims=True))),
      "the column's maximum is subtracted, not the row's: a different number from each class"),
    H("softmax.output", "softmax-not-normalised", lambda e: exp(e.x), "e^x is not divided by its sum"),
    H("softmax.output", "softmax-not-normalised", lambda e: exp(e.x - e.x.value.max(axis=1, keepdims=True)),
      "e^(x - max) is not divided by its sum"),
    H("softmax.output", "activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x"),
    H("softmax.output", "wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not a softmax"),
    H("softmax.output", "log-softmax", lambda e: log(softmax(e.x)), "it is the logarithm of the softmax"),
    H("softmax.output", "softmax-not-shifted", _in_candidates_arithmetic(lambda s: _softmax_of(s, 0)),
      "the row's maximum is not subtracted, and e^x overflows", overflows=True),
    H("softmax.output", "softmax-shifted-by-batch-maximum",
      _in_candidates_arithmetic(lambda s: _softmax_of(s, s.max())),
      "the maximum of the whole batch is subtracted, not the row's, and e^(x - max) underflows", overflows=True),
    H("softmax.output", "epsilon-in-denominator",
      lambda e: ((_softmax_epsilon(e, eps), f"{eps:g}") for eps in EPSILONS),
      "{} is added to the sum in the denominator", listed=True),
]
# fmt: on


def _softmax_epsilon(e: Evidence, eps: float) -> Bounded:
    z = exp(e.x - e.x.value.max(axis=1, keepdims=True))
    return z / (z.sum(axis=1, keepdims=True) + eps)
