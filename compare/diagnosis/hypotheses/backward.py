"""Mistakes in the backward pass of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from compare.diagnosis.evidence import Evidence
from compare.diagnosis.hypotheses.forward import oblong
from compare.diagnosis.hypotheses.hypothesis import LIMITS, Formula, Guess, fitted
from compare.diagnosis.hypotheses.hypothesis import Hypothesis as H
from compare.numbers.bounded import Bounded, absolute, clip, relu, sigmoid, tanh, where


def wrong_factor(
    names: tuple[str, ...], letter: Callable[[Evidence], Bounded], build: Callable[[Evidence, Bounded], Bounded]
) -> Formula:
    """Another tensor of the same shape in the place of one factor."""

    def guesses(e: Evidence) -> Iterator[Guess]:
        for name, other in e.others(letter(e), names):
            yield build(e, other), name

    return guesses


def _pre_activation(e: Evidence) -> Iterator[Guess]:
    if e.k > 0:
        name = "input" if e.k == 1 else f"{e.k - 1}.input"
        if e.tensor(name).shape == e.x.shape:
            yield e.dy.T @ e.tensor(name), name


def _before_derivative(build: Callable[[Evidence, Bounded], Bounded]) -> Formula:
    """The gradient as it was before the activation behind this layer took its derivative."""

    def guesses(e: Evidence) -> Iterator[Guess]:
        name = f"{e.k + 1}.grad_output"
        other = e.tensor(name)
        if other.shape == e.dy.shape:
            yield build(e, other), name

    return guesses


def _but_one_sample(e: Evidence) -> Iterator[Guess]:
    """The sum over the batch without one of its rows."""
    weight = e.row.tensor.endswith("weight")
    for i in range(e.m if 1 < e.m <= 256 else 0):
        kept = np.ones((e.m, 1))
        kept[i] = 0
        rest = e.dy * kept
        yield (rest.T @ e.x if weight else rest.sum(axis=0)), str(i)


def _decayed(e: Evidence) -> Iterator[Guess]:
    """got - ref is a multiple of the parameter itself."""
    parameter = e.tensor(f"{e.k}.{e.row.tensor.rpartition('grad_')[2]}")
    decay, words = fitted(e, e.got - e.ref.value, parameter.value)
    yield e.ref + parameter * decay, words


# fmt: off
GRADIENTS = [
    H("linear.grad_weight", "pre-activation-input", _pre_activation,
      "dW = dy^T x takes {}, before the activation, as x"),
    H("linear.grad_weight", "activation-derivative-lost", _before_derivative(lambda e, d: d.T @ e.x),
      "dW = dy^T x takes {} as dy: the activation's derivative is left out"),
    H("linear.grad_weight", "operands-swapped", lambda e: e.x @ e.dy.T, "the operands are swapped: x dy^T, not dy^T x"),
    H("linear.grad_weight", "operands-swapped", lambda e: e.dy @ e.x.T, "the operands are swapped: dy x^T, not dy^T x"),
    H("linear.grad_weight", "operands-swapped", lambda e: e.dy @ e.x, "a transpose is missing: dy x, not dy^T x"),
    H("linear.grad_weight", "input-changed", lambda e: e.dy.T @ absolute(e.x), "it takes |x| for x", 1),
    H("linear.grad_weight", "input-changed", lambda e: e.dy.T @ (e.x * e.x), "it takes x^2 for x", 1),
    H("linear.grad_weight", "input-changed", lambda e: e.dy.T @ relu(e.x), "it takes max(x, 0) for x", 1),
    H("linear.grad_weight", "input-changed", lambda e: e.dy.T @ (e.x - e.x.value.mean(axis=0)),
      "it takes x without its mean for x", 1),
    H("linear.grad_weight", "overwritten-before-use", lambda e: e.dy.T @ e.now(f"{e.k}.input"),
      "x was overwritten before dW = dy^T x was computed"),
    H("linear.grad_weight", "overwritten-before-use", lambda e: e.dy.T @ e.now(f"{e.k - 1}.output"),
      "x was overwritten before dW = dy^T x was computed"),
    H("linear.grad_weight", "overwritten-before-use", lambda e: e.dy.T @ e.now("input") if e.k == 0 else [],
      "x was overwritten before dW = dy^T x was computed"),
    H("linear.grad_weight", "previous-batch", lambda e: e.dy.T @ e.before("input" if e.k == 0 else f"{e.k}.input"),
      "dW = dy^T x takes the x of the step before"),
    H("linear.grad_weight", "last-sample-only", lambda e: e.dy[-1:].T @ e.x[-1:],
      "only the last sample of the batch enters"),
    H("linear.grad_weight", "first-sample-only", lambda e: e.dy[:1].T @ e.x[:1],
      "only the first sample of the batch enters"),
    H("linear.grad_weight", "reshaped-for-transposed", lambda e: (e.x.T @ e.dy).reshape(*oblong(e.W).shape),
      "x^T dy is reshaped where it should be transposed"),
    H("linear.grad_weight", "sample-left-out", _but_one_sample, "sample {} of the batch is left out"),
    H("linear.grad_bias", "sample-left-out", _but_one_sample, "sample {} of the batch is left out"),
    H("linear.grad_weight", "wrong-mean", lambda e: e.ref / e.x.shape[1],
      "it is divided by the number of the layer's inputs"),
    H("linear.grad_weight", "wrong-mean", lambda e: e.ref / e.dy.shape[1],
      "it is divided by the number of the layer's outputs"),
    H("linear.grad_bias", "wrong-mean", lambda e: e.ref / e.dy.shape[1],
      "it is divided by the number of the layer's outputs"),
    H("linear.grad_weight", "weight-decay-in-gradient", _decayed,
      "{} x the weight is added: weight decay in the gradient", 1),
    H("linear.grad_weight", "wrong-input", wrong_factor(("input", "output"), lambda e: e.x, lambda e, o: e.dy.T @ o),
      "dW = dy^T x takes {} as x", 1),
    H("linear.grad_weight", "wrong-gradient",
      wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o.T @ e.x),
      "dW = dy^T x takes {} as dy", 1),
    H("linear.grad_bias", "mean-doubled", lambda e: e.dy.mean(axis=0),
      "db is the mean over the batch of a gradient that has its 1/m already"),
    H("linear.grad_bias", "bias-over-features", lambda e: e.dy.sum(axis=1),
      "db is summed over the features (axis 1), not the samples"),
    H("linear.grad_bias", "bias-over-features", lambda e: e.dy.sum() + e.b * 0.0,
      "db is one sum over everything, in every entry"),
    H("linear.grad_bias", "bias-over-features", lambda e: e.dy.sum(), "db is one number, the sum over everything"),
    H("linear.grad_bias", "last-sample-only", lambda e: e.dy[-1], "db is the last sample's dy, not the sum"),
    H("linear.grad_bias", "first-sample-only", lambda e: e.dy[0], "db is the first sample's dy, not the sum"),
    H("linear.grad_bias", "activation-derivative-lost", _before_derivative(lambda e, d: d.sum(axis=0)),
      "db sums {}: the activation's derivative is left out"),
    H("linear.grad_bias", "weight-decay-in-gradient", _decayed,
      "{} x the bias is added: weight decay in the gradient", 1),
    H("linear.grad_bias", "wrong-gradient", lambda e: e.y.sum(axis=0), "db sums the outputs, not their gradients"),
    H("linear.grad_bias", "wrong-gradient",
      wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o.sum(axis=0)), "db sums {}", 1),
    H("linear.grad_input", "weight-transposed", lambda e: e.dy @ e.W.T, "the weight is transposed: dy W^T, not dy W"),
    H("linear.grad_input", "operands-swapped", lambda e: e.W @ e.dy, "the operands are swapped: W dy, not dy W"),
    H("linear.grad_input", "operands-swapped", lambda e: e.W.T @ e.dy, "the operands are swapped: W^T dy, not dy W"),
    H("linear.grad_input", "bias-on-the-way-back", lambda e: e.ref + e.b, "the bias is added to dx"),
    H("linear.grad_input", "bias-on-the-way-back", lambda e: (e.dy + e.b) @ e.W, "the bias is added to dy"),
    H("linear.grad_input", "input-as-factor", lambda e: e.ref * e.x, "dx is multiplied by x"),
    H("linear.grad_input", "gradient-not-multiplied-by-weight", lambda e: e.dy * 1.0,
      "dx = dy: the weight is left out"),
    H("linear.grad_input", "updated-weights", lambda e: e.dy @ e.now(f"{e.k}.weight"),
      "dx = dy W takes the weight after its update: the gradient must pass first"),
    H("linear.grad_input", "updated-weights", lambda e: e.dy @ e.tensor(f"{e.k}.new_weight"),
      "dx = dy W takes the weight after its update: the gradient must pass first"),
    H("linear.grad_input", "stale-weights", lambda e: e.dy @ e.before(f"{e.k}.weight"),
      "dx = dy W takes the weight of the step before"),
    H("linear.grad_input", "derivative-twice", lambda e: where(e.x.value > 0, e.ref, 0.0, e.p),
      "the ReLU's mask before it is applied here already"),
    H("linear.grad_input", "derivative-twice", lambda e: e.ref * e.x * (1.0 - e.x),
      "the sigmoid's derivative before it is applied here already"),
    H("linear.grad_input", "derivative-twice", lambda e: e.ref * (1.0 - e.x * e.x),
      "the tanh's derivative before it is applied here already"),
    H("linear.grad_input", "activation-derivative-lost", _before_derivative(lambda e, d: d @ e.W),
      "dx = dy W takes {}: the activation's derivative is left out"),
    H("linear.grad_input", "wrong-weight",
      wrong_factor(("grad_weight", "weight"), lambda e: e.W, lambda e, o: e.dy @ o),
      "dx = dy W takes {} for W", 1),
    H("linear.grad_input", "wrong-gradient",
      wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o @ e.W),
      "dx = dy W takes {} as dy", 1),
]
# fmt: on


def _masks(e: Evidence) -> Iterator[Guess]:
    for name, other in e.others(e.x, ("input", "output", "grad_output")):
        yield where(other.value > 0, e.dy, 0.0, e.p), name


def _mask_of_row(e: Evidence, row: int) -> Bounded:
    return where(np.broadcast_to(e.x.value[row] > 0, e.x.shape), e.dy, 0.0, e.p)


def _leaky_backward(e: Evidence) -> Iterator[Guess]:
    slope, words = fitted(e, e.got, np.where(e.x.value < 0, e.dy.value, 0))
    if abs(float(slope.value)) not in (0.0, 1.0):
        yield where(e.x.value > 0, e.dy, e.dy * slope, e.p), words


def _overwritten_mask(e: Evidence) -> Iterator[Guess]:
    for name, words in ((f"{e.k - 1}.output", "x"), (f"{e.k}.input", "x"), (f"{e.k}.output", "y")):
        if name in e.sweep.record.touched:
            yield where(e.now(name).value > 0, e.dy, 0.0, e.p), words


def _of_overwritten(e: Evidence, derivative: Callable[[Bounded], Bounded]) -> Bounded:
    return e.dy * derivative(e.now(f"{e.k}.output"))


def _clip_masked(e: Evidence) -> Iterator[Guess]:
    for limit in LIMITS:
        inside = np.abs(e.x.value) <= limit
        if not inside.all():
            yield where(inside, e.ref, 0.0, e.p), f"[-{limit:g}, {limit:g}]"


def _unclipped_gradient(derivative: Callable[[Bounded], Bounded], f: Callable[[Bounded], Bounded]) -> Formula:
    def guesses(e: Evidence) -> Iterator[Guess]:
        for limit in LIMITS:
            if np.abs(e.x.value).max() > limit:
                yield e.dy * derivative(f(clip(e.x, -limit, limit))), f"[-{limit:g}, {limit:g}]"

    return guesses


# fmt: off
DERIVATIVES = [
    H("relu.grad_input", "overwritten-before-use", _overwritten_mask,
      "the mask is taken of {} after it was overwritten"),
    H("sigmoid.grad_input", "overwritten-before-use", lambda e: _of_overwritten(e, lambda y: y * (1.0 - y)),
      "the derivative is taken of y after it was overwritten"),
    H("tanh.grad_input", "overwritten-before-use", lambda e: _of_overwritten(e, lambda y: 1.0 - y * y),
      "the derivative is taken of y after it was overwritten"),
    H("relu.grad_input", "derivative-missing", lambda e: e.dy * 1.0, "the mask is missing: dx = dy everywhere"),
    H("relu.grad_input", "relu-mask-at-zero", lambda e: where(e.x.value >= 0, e.dy, 0.0, e.p),
      "the mask is x >= 0, and lets the gradient through at x = 0"),
    H("relu.grad_input", "relu-mask-inverted", lambda e: where(e.x.value <= 0, e.dy, 0.0, e.p),
      "the mask is inverted: dx = dy where x <= 0"),
    H("relu.grad_input", "relu-mask-inverted", lambda e: where(e.x.value < 0, e.dy, 0.0, e.p),
      "the mask is inverted: dx = dy where x < 0"),
    H("relu.grad_input", "relu-mask-from-gradient", lambda e: where(e.dy.value > 0, e.dy, 0.0, e.p),
      "the mask is dy > 0: it must come from x, not from the gradient"),
    H("relu.grad_input", "relu-mask-from-gradient", lambda e: where((e.dy.value > 0) & (e.x.value > 0), e.dy, 0.0, e.p),
      "the mask is x > 0 and dy > 0: only x counts"),
    H("relu.grad_input", "leaky-relu", _leaky_backward, "the derivative where x < 0 is {}, not 0"),
    H("relu.grad_input", "upstream-gradient-missing", lambda e: where(e.x.value > 0, e.dy * 0.0 + 1.0, 0.0, e.p),
      "dx is the mask alone: dy is left out"),
    H("relu.grad_input", "value-for-derivative", lambda e: e.dy * relu(e.x),
      "dx = dy y: the output is taken for the derivative"),
    H("relu.grad_input", "value-for-derivative", lambda e: e.dy * e.x,
      "dx = dy x: the input is taken for the derivative"),
    H("relu.grad_input", "relu-sign-for-mask", lambda e: e.dy * np.sign(e.x.value),
      "the derivative is sign(x): -1 where x < 0, not 0"),
    H("relu.grad_input", "relu-mask-of-integers", lambda e: where(np.trunc(e.x.value) > 0, e.dy, 0.0, e.p),
      "the mask is x >= 1: x is cut to whole numbers first"),
    H("relu.grad_input", "relu-mask-of-one-sample", lambda e: _mask_of_row(e, -1),
      "the mask of the last sample is applied to all"),
    H("relu.grad_input", "relu-mask-of-one-sample", lambda e: _mask_of_row(e, 0),
      "the mask of the first sample is applied to all"),
    H("relu.grad_input", "value-for-gradient", lambda e: relu(e.x), "dx is the output y: no gradient at all"),
    H("relu.grad_input", "previous-batch", lambda e: where(e.before(f"{e.k}.input").value > 0, e.dy, 0.0, e.p),
      "the mask is that of the step before"),
    H("relu.grad_input", "relu-mask-from-elsewhere", _masks, "the mask is that of {}", 1),
    H("sigmoid.grad_input", "parentheses-missing", lambda e: e.dy * e.y - e.y, "dy y 1 - y: parentheses are missing"),
    H("tanh.grad_input", "parentheses-missing", lambda e: e.dy - e.y * e.y, "dy 1 - y^2: the parentheses are missing"),
    H("sigmoid.grad_input", "derivative-of-activated", lambda e: e.dy * sigmoid(e.y) * (1.0 - sigmoid(e.y)),
      "the derivative is taken at y: sigmoid is applied once more to the output"),
    H("sigmoid.grad_input", "derivative-of-pre-activation", lambda e: e.dy * e.x * (1.0 - e.x),
      "x (1 - x) in the place of y (1 - y)"),
    H("sigmoid.grad_input", "derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy"),
    H("sigmoid.grad_input", "derivative-incomplete", lambda e: e.dy * e.y, "dx = dy y: the factor 1 - y is missing"),
    H("sigmoid.grad_input", "derivative-incomplete", lambda e: e.dy * (1.0 - e.y),
      "dx = dy (1 - y): the factor y is missing"),
    H("sigmoid.grad_input", "upstream-gradient-missing", lambda e: e.y * (1.0 - e.y), "dx = y (1 - y): dy is left out"),

    H("sigmoid.grad_input", "wrong-derivative", lambda e: e.dy * (1.0 - e.y * e.y),
      "the derivative is tanh's, 1 - y^2"),
    H("sigmoid.grad_input", "wrong-derivative", lambda e: e.dy * e.y * (1.0 + e.y),
      "y (1 + y) in the place of y (1 - y)"),
    H("sigmoid.grad_input", "derivative-missing", lambda e: where(e.x.value > 0, e.dy, 0.0, e.p),
      "the derivative is ReLU's mask"),
    H("sigmoid.grad_input", "gradient-clipped-with-input", _clip_masked,
      "it is 0 outside {}, as if the input were clipped", listed=True),
    H("sigmoid.grad_input", "input-clipped", _unclipped_gradient(lambda y: y * (1.0 - y), sigmoid),
      "the derivative is that of the input clipped to {}", listed=True),
    H("tanh.grad_input", "derivative-of-activated", lambda e: e.dy * (1.0 - tanh(e.y) * tanh(e.y)),
      "the derivative is taken at y: tanh is applied once more to the output"),
    H("tanh.grad_input", "derivative-of-pre-activation", lambda e: e.dy * (1.0 - e.x * e.x),
      "1 - x^2 in the place of 1 - y^2"),
    H("tanh.grad_input", "derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy"),
    H("tanh.grad_input", "derivative-incomplete", lambda e: e.dy * (1.0 - e.y),
      "1 - y in the place of 1 - y^2: the square is missing"),
    H("tanh.grad_input", "wrong-derivative", lambda e: e.dy * (1.0 - e.y) * (1.0 - e.y),
      "(1 - y)^2 in the place of 1 - y^2"),
    H("tanh.grad_input", "derivative-twice", lambda e: e.ref * (1.0 - e.y * e.y), "the derivative is applied twice"),
    H("sigmoid.grad_input", "derivative-twice", lambda e: e.ref * e.y * (1.0 - e.y), "the derivative is applied twice"),
    H("tanh.grad_input", "derivative-incomplete", lambda e: -(e.dy * e.y * e.y),
      "-y^2 in the place of 1 - y^2: the 1 is missing"),
    H("tanh.grad_input", "upstream-gradient-missing", lambda e: 1.0 - e.y * e.y, "dx = 1 - y^2: dy is left out"),
    H("tanh.grad_input", "wrong-derivative", lambda e: e.dy * e.y * (1.0 - e.y),
      "the derivative is sigmoid's, y (1 - y)"),
    H("tanh.grad_input", "wrong-derivative", lambda e: e.dy * (1.0 + e.y * e.y), "1 + y^2 in the place of 1 - y^2"),
    H("tanh.grad_input", "gradient-clipped-with-input", _clip_masked,
      "it is 0 outside {}, as if the input were clipped", listed=True),
    H("softmax.grad_input", "softmax-diagonal", lambda e: e.dy * e.y * (1.0 - e.y),
      "the Jacobian is reduced to its diagonal: dx_k = dy_k y_k (1 - y_k)"),
    H("softmax.grad_input", "softmax-diagonal-missing", lambda e: -(e.y * (e.dy * e.y).sum(axis=1, keepdims=True)),
      "the Jacobian lacks its diagonal part: dx_k = -y_k sum_j dy_j y_j"),
    H("softmax.grad_input", "softmax-diagonal", lambda e: e.dy * e.y, "dx = dy y: the sum over the row is missing"),
    H("softmax.grad_input", "derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy"),
    H("softmax.grad_input", "derivative-missing", lambda e: (e.y - e.t) / e.count,
      "dx is y - t, the fused gradient: dy is not used"),
    H("softmax.grad_input", "wrong-derivative", lambda e: e.dy * e.y - (e.dy * e.y).sum(axis=1, keepdims=True),
      "the sum over the row lacks its factor y_k"),
    H("softmax.grad_input", "softmax-wrong-axis", lambda e: e.y * (e.dy - (e.dy * e.y).sum(axis=0, keepdims=True)),
      "the sum runs down the columns, not along the row"),
    H("softmax.grad_input", "softmax-over-batch", lambda e: e.y * (e.dy - (e.dy * e.y).sum()),
      "the sum runs over the whole batch, not along the row"),
    H("softmax.grad_input", "wrong-derivative", lambda e: e.y * (e.dy - e.dy.sum(axis=1, keepdims=True)),
      "the sum over the row is not weighted by y"),
    H("softmax.grad_input", "wrong-derivative", lambda e: e.y * (e.dy + (e.dy * e.y).sum(axis=1, keepdims=True)),
      "the sum over the row is added, not subtracted"),
]
# fmt: on
