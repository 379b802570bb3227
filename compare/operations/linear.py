"""Linear: y = x W^T + b;  x (m, ..., in), W (out, in), b (out,) -> y (m, ..., out)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Precision, product, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, relu, sigmoid, softmax, tanh, where
from compare.numbers.expected import Expected
from compare.numbers.float64 import double, tensor, value
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Build, Formula, Guess, Unseen, fitted, wrong_factor
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape
from compare.operations.rows import by_rows, rows


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer, with torch's names and orientation.

    Where x has more axes than two, all of them but the last are rows: nothing else tells them apart.
    """

    kind = "linear"
    is_affine = True
    leading = True
    scratch_type, torch_type = scratch.Linear, nn.Linear
    attributes = ("in_features", "out_features")
    letters: ClassVar = {"x": "input", "W": "weight", "b": "bias", "y": "output", "dy": "grad_output"}
    parts: ClassVar = {
        "output": Part.of("y = x W^T + b", "x W b"),
        "grad_weight": Part.of("dW = dy^T x", "x dy"),
        "grad_bias": Part.of("db = sum of dy over the batch", "dy"),
        "grad_input": Part.of("dx = dy W", "W dy"),
    }

    in_features: int
    out_features: int
    bias: bool = True

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        if isinstance(layer, nn.Linear):
            return cls(layer.in_features, layer.out_features, layer.bias is not None)
        found = cls(layer.in_features, layer.out_features, "bias" in layer.params)
        found.expect_parameters(layer, place)
        return found

    @property
    def computed(self) -> Mapping[str, Part]:
        if self.bias:
            return self.parts
        without = {name: part for name, part in self.parts.items() if name != "grad_bias"}
        return without | {"output": Part(self.parts["output"].formula, ("x", "W"))}

    @property
    def entering(self) -> Shape:  # type: ignore[override]
        return ANY, self.in_features

    @property
    def fans(self) -> tuple[int, int]:
        return self.in_features, self.out_features

    def leaving(self, entering: Shape) -> Shape:
        return *entering[:-1], self.out_features

    def parameters(self) -> dict[str, Shape]:
        weight: dict[str, Shape] = {"weight": (self.out_features, self.in_features)}
        return weight | ({"bias": (self.out_features,)} if self.bias else {})

    def output(self, x: Array, weight: Array, bias: Array | None = None, *, p: Precision) -> Expected:
        """k = in terms, and one more for the bias."""
        y: Array = nn.functional.linear(tensor(x), tensor(weight), None if bias is None else tensor(bias)).numpy()
        return Expected(y, product(rows(x), weight, p, rows(y), bias).reshaped(y.shape))

    def grad_weight(self, x: Array, dy: Array, p: Precision) -> Expected:
        """k = m terms."""
        x, dy = rows(x), rows(dy)
        dw: Array = (tensor(dy).T @ tensor(x)).numpy()
        return Expected(dw, product(dy.T, x.T, p, dw))

    def grad_bias(self, dy: Array, p: Precision) -> Expected:
        """A sum of m terms."""
        dy = rows(double(dy))
        db = value(lambda a: a.sum(dim=0), dy)
        return Expected(db, total(dy, p, db))

    def grad_input(self, weight: Array, dy: Array, p: Precision) -> Expected:
        """k = out terms."""
        dx: Array = (tensor(dy) @ tensor(weight)).numpy()
        return Expected(dx, product(rows(dy), weight.T, p, rows(dx)).reshaped(dx.shape))

    def written(self, e: Letters) -> Bounded:
        return linear(e)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in W, b and x: it may be differenced at 0, where nothing is lost."""
        dy = e.dy.value
        if part == "grad_weight":
            x = e.x.value
            return lambda w: float((dy * (x @ w.T)).sum()), np.zeros((dy.shape[-1], x.shape[-1]))
        if part == "grad_bias":
            return lambda b: float((dy * b).sum()), np.zeros(dy.shape[-1])
        weight = e.W.value
        return lambda x: float((dy * (x @ weight.T)).sum()), np.zeros((*dy.shape[:-1], weight.shape[1]))

    def products(self, part: str, e: Letters) -> tuple[Bounded, Bounded, Bounded | None] | None:
        if part == "output":
            return e.x, e.W.T, e.b if e.has(f"{e.k}.bias") else None
        if part == "grad_weight":
            return e.dy.arranged(rows).T, e.x.arranged(rows), None
        return (e.dy, e.W, None) if part == "grad_input" else None

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.Linear(self.in_features, self.out_features, bias=self.bias, **options)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        """Its weights are not initialised."""
        return nn.utils.skip_init(nn.Linear, self.in_features, self.out_features, bias=self.bias, dtype=dtype)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "in": self.in_features, "out": self.out_features, "bias": self.bias}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        match found:
            case {"in": int(fan_in), "out": int(fan_out), "bias": bool(bias)} if min(fan_in, fan_out) > 0:
                return cls(fan_in, fan_out, bias)
        raise ValueError(f"found the layer {str(found)[:80]}, expected linear with in, out and bias, or an activation")

    def __str__(self) -> str:
        return f"Linear {self.in_features} -> {self.out_features}"


def linear(e: Letters, x: Any = None, W: Any = None) -> Bounded:
    """x W^T + b with something else in the place of x or W."""
    y = (e.x if x is None else x) @ (e.W if W is None else W).T
    return y + e.b if e.has(f"{e.k}.bias") else y


# --- what people get wrong ---


def _but_one_feature(e: Letters) -> Iterator[Guess]:
    """The product without one of its terms."""
    columns = e.x.shape[1]
    for k in range(columns) if columns <= 64 else (0, columns - 1):
        kept = np.ones(columns)
        kept[k] = 0
        yield linear(e, x=e.x * kept), str(k)


def _on_one_row(e: Letters, row: int) -> Bounded:
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
        return Bounded.of(a.value.astype(np.float16), a.p)


def _neighbour(by: int, part: str, letter: Callable[[Letters], Bounded], build: Build) -> Formula:
    """The tensor of another layer, so many further on, in the place of a letter whose shape it has."""

    def guesses(e: Letters) -> Iterator[Guess]:
        name = e.network.tensor_name(e.k + by, part)
        if (other := e.tensor(name)).shape == letter(e).shape:
            yield build(e, other), name

    return guesses


def _before_activation(build: Build) -> Formula:
    """The layer before this one left out: its input in the place of x."""
    return _neighbour(-1, "input", lambda e: e.x, build)


def _before_derivative(build: Build) -> Formula:
    """The gradient as it was before the activation behind this layer took its derivative."""
    return _neighbour(1, "grad_output", lambda e: e.dy, build)


def _column(a: Bounded) -> Bounded:
    return Bounded(a.value[:, np.newaxis], a.error[:, np.newaxis], a.p)


def _but_one_sample(e: Letters) -> Iterator[Guess]:
    """The sum over the batch without one of its rows."""
    weight = e.name.endswith("weight")
    for i in range(e.m if 1 < e.m <= 256 else 0):
        kept = np.ones((e.m, 1))
        kept[i] = 0
        rest = e.dy * kept
        yield (rest.T @ e.x if weight else rest.sum(axis=0)), str(i)


def _over(build: Callable[[Letters, Bounded, Bounded], Bounded]) -> Formula:
    """From x and dy (m, t, n), the steps of which are the second axis; where there is none it cannot be made."""

    def guess(e: Letters) -> Bounded:
        if len(e.x.shape) != 3 or e.x.shape[1] == 1:
            raise Absent("a second axis")
        return build(e, e.x, e.dy)

    return guess


def _product(dy: Bounded, x: Bounded) -> Bounded:
    return dy.arranged(rows).T @ x.arranged(rows)


def _decayed(e: Letters) -> Iterator[Guess]:
    """got - ref is a multiple of the parameter itself."""
    parameter = e.tensor(f"{e.k}.{e.name.rpartition('grad_')[2]}")
    decay, words = fitted(e, e.got - e.ref.value, parameter.value)
    yield e.ref + parameter * decay, words


ASLEEP = Unseen("all biases are zero", lambda e: not e.b.value.any())


# What examples have in common: their cases, and the correct expressions.
SQUARE = "5-6-6-6 relu, softmax cross-entropy"

# fmt: off
MISTAKES = {
    "output": [
        M("bias-missing", lambda e: e.x @ e.W.T, "the bias is not added: y = x W^T", unseen=ASLEEP,
          wrong="x @ W.T", right="x @ W.T + b"),
        M("bias-doubled", lambda e: e.x @ e.W.T + e.b + e.b, "the bias is added twice", unseen=ASLEEP,
          wrong="x @ W.T + b + b", right="x @ W.T + b"),
        M("bias-subtracted", lambda e: e.x @ e.W.T - e.b, "the bias is subtracted: y = x W^T - b", unseen=ASLEEP,
          wrong="x @ W.T - b", right="x @ W.T + b"),
        M("weight-transposed", lambda e: e.x @ e.W + e.b, "the weight is transposed: x W, not x W^T",
          wrong="x @ W + b", right="x @ W.T + b", case={"network": SQUARE}),
        M("bias-along-rows", lambda e: e.x @ e.W.T + _column(e.b), "the bias is added along the batch", unseen=ASLEEP,
          wrong="x @ W.T + b[:, None]", right="x @ W.T + b", case={"rows": (4, 4, 4)}),
        M("feature-left-out", _but_one_feature, "input feature {} is left out of the product",
          wrong="x[:, 1:] @ W[:, 1:].T + b", right="x @ W.T + b"),
        M("bias-along-rows", lambda e: e.x @ e.W.T + _column(e.b[: e.m]),
          "the bias is taken by the sample's number, not by the unit's", unseen=ASLEEP,
          wrong="x @ W.T + b[:len(x), None]", right="x @ W.T + b", case={"rows": (3, 2, 3)}),
        M("bias-on-one-row", lambda e: _on_one_row(e, 0), "the bias is added to the first sample only", unseen=ASLEEP,
          wrong="np.vstack([x[:1] @ W.T + b, x[1:] @ W.T])", right="x @ W.T + b"),
        M("bias-on-one-row", lambda e: _on_one_row(e, -1), "the bias is added to the last sample only", unseen=ASLEEP,
          wrong="np.vstack([x[:-1] @ W.T, x[-1:] @ W.T + b])", right="x @ W.T + b"),
        M("reshaped-for-transposed", lambda e: e.x @ oblong(e.W).reshape(*e.W.shape[::-1]) + e.b,
          "the weight is reshaped where it should be transposed",
          wrong="x @ W.reshape(7, 4) + b", right="x @ W.T + b"),
        M("float16-round-trip", lambda e: linear(e, W=_halved(e.W)), "the weight went through float16",
          wrong="x @ W.astype(np.float16).astype(W.dtype).T + b", right="x @ W.T + b"),
        M("float16-round-trip", lambda e: linear(e, x=_halved(e.x)), "the input went through float16",
          wrong="x.astype(np.float16).astype(x.dtype) @ W.T + b", right="x @ W.T + b"),
        M("input-ignored", lambda e: e.x * 0.0 @ e.W.T + e.b, "the input does not enter: y = b",
          wrong="np.zeros_like(x) @ W.T + b", right="x @ W.T + b"),
        M("activation-twice", lambda e: relu(linear(e)), "a ReLU is applied inside the linear layer",
          wrong="relu(x @ W.T + b)", right="x @ W.T + b"),
        M("activation-twice", lambda e: sigmoid(linear(e)), "a sigmoid is applied inside the linear layer",
          wrong="sigmoid(x @ W.T + b)", right="x @ W.T + b"),
        M("activation-twice", lambda e: tanh(linear(e)), "a tanh is applied inside the linear layer",
          wrong="tanh(x @ W.T + b)", right="x @ W.T + b"),
        M("softmax-twice", lambda e: softmax(linear(e)), "a softmax is applied inside the linear layer",
          wrong="softmax(x @ W.T + b)", right="x @ W.T + b"),
        M("stale-weights", lambda e: e.x @ e.before(f"{e.k}.weight").T + e.before(f"{e.k}.bias"),
          "the weights are those of the step before: the update did not reach this layer",
          wrong="x @ before.W.T + before.b", right="x @ W.T + b"),
        M("stale-weights", lambda e: linear(e, W=e.before(f"{e.k}.weight")),
          "the weight is that of the step before: the update did not reach this layer",
          wrong="x @ before.W.T + b", right="x @ W.T + b"),
        M("activation-missing", _before_activation(lambda e, x: linear(e, x=x)),
          "the activation before it is left out: {} enters instead",
          wrong="tensor('1.input') @ W.T + b", right="relu(tensor('1.input')) @ W.T + b"),
        M("wrong-input", wrong_factor(("input", "output"), lambda e: e.x, lambda e, o: linear(e, x=o)),
          "{} enters instead of what left the layer before", rank=1,
          wrong="tensor('1.output') @ W.T + b", right="tensor('3.output') @ W.T + b",
          case={"network": SQUARE, "layer": 4}),
    ],
    "grad_weight": [
        M("pre-activation-input", _before_activation(lambda e, x: e.dy.T @ x),
          "dW = dy^T x takes {}, before the activation, as x",
          wrong="dy.T @ tensor('1.input')", right="dy.T @ tensor('1.output')"),
        M("activation-derivative-lost", _before_derivative(lambda e, d: d.T @ e.x),
          "dW = dy^T x takes {} as dy: the activation's derivative is left out",
          wrong="tensor('1.grad_output').T @ x", right="tensor('1.grad_input').T @ x", case={"layer": 0}),
        M("operands-swapped", lambda e: e.x @ e.dy.T, "the operands are swapped: x dy^T, not dy^T x",
          wrong="x @ dy.T", right="dy.T @ x", case={"network": SQUARE, "rows": (6, 6, 6)}),
        M("operands-swapped", lambda e: e.dy @ e.x.T, "the operands are swapped: dy x^T, not dy^T x",
          wrong="dy @ x.T", right="dy.T @ x", case={"network": SQUARE, "rows": (6, 6, 6)}),
        M("operands-swapped", lambda e: e.dy @ e.x, "a transpose is missing: dy x, not dy^T x",
          wrong="dy @ x", right="dy.T @ x", case={"rows": (4, 4, 4)}),
        M("input-changed", lambda e: e.dy.T @ absolute(e.x), "it takes |x| for x", rank=1,
          wrong="dy.T @ np.abs(x)", right="dy.T @ x", case={"layer": 0}),
        M("input-changed", lambda e: e.dy.T @ (e.x * e.x), "it takes x^2 for x", rank=1,
          wrong="dy.T @ x**2", right="dy.T @ x"),
        M("input-changed", lambda e: e.dy.T @ relu(e.x), "it takes max(x, 0) for x", rank=1,
          wrong="dy.T @ np.maximum(x, 0)", right="dy.T @ x", case={"layer": 0}),
        M("input-changed", lambda e: e.dy.T @ (e.x - e.x.value.mean(axis=0)), "it takes x without its mean for x",
          rank=1,
          wrong="dy.T @ (x - x.mean(axis=0))", right="dy.T @ x"),
        M("overwritten-before-use", lambda e: e.dy.T @ e.now(f"{e.k}.input"),
          "x was overwritten before dW = dy^T x was computed",
          wrong="dy.T @ after('2.input')", right="dy.T @ x", case={"touched": {"2.input": "it - 0.1"}}),
        M("overwritten-before-use", lambda e: e.dy.T @ e.now(f"{e.k - 1}.output"),
          "x was overwritten before dW = dy^T x was computed",
          wrong="dy.T @ after('1.output')", right="dy.T @ x", case={"touched": {"1.output": "it - 0.1"}}),
        M("overwritten-before-use", lambda e: e.dy.T @ e.now("input") if e.k == 0 else [],
          "x was overwritten before dW = dy^T x was computed",
          wrong="dy.T @ after('input')", right="dy.T @ x", case={"layer": 0, "touched": {"input": "it - 0.1"}}),
        M("previous-batch", lambda e: e.dy.T @ e.before("input" if e.k == 0 else f"{e.k}.input"),
          "dW = dy^T x takes the x of the step before",
          wrong="dy.T @ before.x", right="dy.T @ x", case={"rows": (6, 6, 6)}),
        M("last-sample-only", lambda e: e.dy[-1:].T @ e.x[-1:], "only the last sample of the batch enters",
          wrong="np.outer(dy[-1], x[-1])", right="dy.T @ x"),
        M("first-sample-only", lambda e: e.dy[:1].T @ e.x[:1], "only the first sample of the batch enters",
          wrong="np.outer(dy[0], x[0])", right="dy.T @ x"),
        M("reshaped-for-transposed", lambda e: (e.x.T @ e.dy).reshape(*oblong(e.W).shape),
          "x^T dy is reshaped where it should be transposed",
          wrong="(x.T @ dy).reshape(W.shape)", right="(x.T @ dy).T"),
        M("sample-left-out", _but_one_sample, "sample {} of the batch is left out",
          wrong="dy[:-1].T @ x[:-1]", right="dy.T @ x"),
        M("wrong-mean", lambda e: e.ref / e.x.shape[1], "it is divided by the number of the layer's inputs",
          wrong="dy.T @ x / x.shape[1]", right="dy.T @ x"),
        M("wrong-mean", lambda e: e.ref / e.dy.shape[1], "it is divided by the number of the layer's outputs",
          wrong="dy.T @ x / dy.shape[1]", right="dy.T @ x", case={"layer": 0}),
        M("weight-decay-in-gradient", _decayed, "{} x the weight is added: weight decay in the gradient", rank=1,
          wrong="dy.T @ x + 0.01 * W", right="dy.T @ x"),
        M("wrong-input", wrong_factor(("input", "output"), lambda e: e.x, lambda e, o: e.dy.T @ o),
          "dW = dy^T x takes {} as x", rank=1,
          wrong="dy.T @ tensor('1.output')", right="dy.T @ tensor('3.output')", case={"network": SQUARE, "layer": 4}),
        M("wrong-gradient", wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o.T @ e.x),
          "dW = dy^T x takes {} as dy", rank=1,
          wrong="tensor('4.grad_output').T @ x", right="tensor('3.grad_input').T @ x", case={"network": SQUARE}),
    ],
    "grad_bias": [
        M("sample-left-out", _but_one_sample, "sample {} of the batch is left out",
          wrong="dy[1:].sum(axis=0)", right="dy.sum(axis=0)"),
        M("wrong-mean", lambda e: e.ref / e.dy.shape[1], "it is divided by the number of the layer's outputs",
          wrong="dy.sum(axis=0) / dy.shape[1]", right="dy.sum(axis=0)", case={"layer": 0}),
        M("mean-doubled", lambda e: e.dy.mean(axis=0),
          "db is the mean over the batch of a gradient that has its 1/m already",
          wrong="dy.mean(axis=0)", right="dy.sum(axis=0)"),
        M("bias-over-features", lambda e: e.dy.sum(axis=1), "db is summed over the features (axis 1), not the samples",
          wrong="dy.sum(axis=1)", right="dy.sum(axis=0)", case={"network": SQUARE, "rows": (6, 6, 6)}),
        M("bias-over-features", lambda e: e.dy.sum() + e.b * 0.0, "db is one sum over everything, in every entry",
          wrong="np.full_like(b, dy.sum())", right="dy.sum(axis=0)", case={"layer": 0}),
        M("bias-over-features", lambda e: e.dy.sum(), "db is one number, the sum over everything",
          wrong="dy.sum()", right="dy.sum(axis=0)", case={"layer": 0}),
        M("last-sample-only", lambda e: e.dy[-1], "db is the last sample's dy, not the sum",
          wrong="dy[-1]", right="dy.sum(axis=0)"),
        M("first-sample-only", lambda e: e.dy[0], "db is the first sample's dy, not the sum",
          wrong="dy[0]", right="dy.sum(axis=0)"),
        M("activation-derivative-lost", _before_derivative(lambda e, d: d.sum(axis=0)),
          "db sums {}: the activation's derivative is left out",
          wrong="tensor('1.grad_output').sum(axis=0)", right="tensor('1.grad_input').sum(axis=0)", case={"layer": 0}),
        M("weight-decay-in-gradient", _decayed, "{} x the bias is added: weight decay in the gradient", rank=1,
          wrong="dy.sum(axis=0) + 0.01 * b", right="dy.sum(axis=0)"),
        M("wrong-gradient", lambda e: e.y.sum(axis=0), "db sums the outputs, not their gradients",
          wrong="y.sum(axis=0)", right="dy.sum(axis=0)"),
        M("wrong-gradient", wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o.sum(axis=0)),
          "db sums {}", rank=1,
          wrong="tensor('4.grad_output').sum(axis=0)", right="tensor('3.grad_input').sum(axis=0)",
          case={"network": SQUARE}),
    ],
    "grad_input": [
        M("weight-transposed", lambda e: e.dy @ e.W.T, "the weight is transposed: dy W^T, not dy W",
          wrong="dy @ W.T", right="dy @ W", case={"network": SQUARE}),
        M("operands-swapped", lambda e: e.W @ e.dy, "the operands are swapped: W dy, not dy W",
          wrong="W @ dy", right="dy @ W", case={"network": SQUARE, "rows": (6, 6, 6)}),
        M("operands-swapped", lambda e: e.W.T @ e.dy, "the operands are swapped: W^T dy, not dy W",
          wrong="W.T @ dy", right="dy @ W", case={"network": SQUARE, "rows": (6, 6, 6)}),
        M("bias-on-the-way-back", lambda e: e.ref + e.b, "the bias is added to dx", unseen=ASLEEP,
          wrong="dy @ W + b", right="dy @ W", case={"network": SQUARE}),
        M("bias-on-the-way-back", lambda e: (e.dy + e.b) @ e.W, "the bias is added to dy", unseen=ASLEEP,
          wrong="(dy + b) @ W", right="dy @ W"),
        M("input-as-factor", lambda e: e.ref * e.x, "dx is multiplied by x",
          wrong="dy @ W * x", right="dy @ W"),
        M("gradient-not-multiplied-by-weight", lambda e: e.dy * 1.0, "dx = dy: the weight is left out",
          wrong="dy", right="dy @ W", case={"network": SQUARE}),
        M("updated-weights", lambda e: e.dy @ e.now(f"{e.k}.weight"),
          "dx = dy W takes the weight after its update: the gradient must pass first",
          wrong="dy @ after('2.weight')", right="dy @ W",
          case={"touched": {"2.weight": "it - 0.1 * tensor('2.grad_weight')"}}),
        M("updated-weights", lambda e: e.dy @ e.tensor(f"{e.k}.new_weight"),
          "dx = dy W takes the weight after its update: the gradient must pass first",
          wrong="dy @ tensor('2.new_weight')", right="dy @ W"),
        M("stale-weights", lambda e: e.dy @ e.before(f"{e.k}.weight"), "dx = dy W takes the weight of the step before",
          wrong="dy @ before.W", right="dy @ W"),
        M("derivative-twice", lambda e: where(e.x.value > 0, e.ref, 0.0, e.p),
          "the ReLU's mask before it is applied here already",
          wrong="(dy @ W) * (x > 0)", right="dy @ W"),
        M("derivative-twice", lambda e: e.ref * e.x * (1.0 - e.x),
          "the sigmoid's derivative before it is applied here already",
          wrong="(dy @ W) * x * (1 - x)", right="dy @ W", case={"network": "5-7-4 sigmoid, softmax cross-entropy"}),
        M("derivative-twice", lambda e: e.ref * (1.0 - e.x * e.x),
          "the tanh's derivative before it is applied here already",
          wrong="(dy @ W) * (1 - x**2)", right="dy @ W", case={"network": "5-7-4 tanh, softmax cross-entropy"}),
        M("activation-derivative-lost", _before_derivative(lambda e, d: d @ e.W),
          "dx = dy W takes {}: the activation's derivative is left out",
          wrong="tensor('1.grad_output') @ W", right="tensor('1.grad_input') @ W", case={"layer": 0}),
        M("wrong-weight", wrong_factor(("grad_weight", "weight"), lambda e: e.W, lambda e, o: e.dy @ o),
          "dx = dy W takes {} for W", rank=1,
          wrong="dy @ tensor('2.grad_weight')", right="dy @ tensor('2.weight')"),
        M("wrong-gradient", wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o @ e.W),
          "dx = dy W takes {} as dy", rank=1,
          wrong="tensor('4.grad_output') @ W", right="tensor('3.grad_input') @ W", case={"network": SQUARE}),
    ],
}
# fmt: on

# --- of x with three axes ---

STEPS = {"network": "Linear(3, 6), ReLU, Linear(6, 8), Flatten, Linear(40, 4); CrossEntropyLoss", "image": (7, 5)}
DW = "np.einsum('mto,mti->oi', dy, x)"
DB = "dy.sum(axis=(0, 1))"

# fmt: off
OF_STEPS = {
    "grad_weight": [
        M("last-step-only", _over(lambda e, x, dy: dy[:, -1].T @ x[:, -1]),
          "of each sample only the last step (axis 1) enters",
          wrong="dy[:, -1].T @ x[:, -1]", right=DW, case=STEPS),
        M("first-step-only", _over(lambda e, x, dy: dy[:, 0].T @ x[:, 0]),
          "of each sample only the first step (axis 1) enters",
          wrong="dy[:, 0].T @ x[:, 0]", right=DW, case=STEPS),
        M("one-sample-only", _over(lambda e, x, dy: dy[-1].T @ x[-1]),
          "only the last sample enters, with all its steps",
          wrong="dy[-1].T @ x[-1]", right=DW, case=STEPS),
        M("wrong-mean", _over(lambda e, x, dy: e.ref / x.shape[1]), "it is divided by the number of steps (axis 1)",
          wrong=f"{DW} / x.shape[1]", right=DW, case=STEPS),
        M("wrong-mean", _over(lambda e, x, dy: e.ref / x.shape[0]), "it is divided by the number of samples",
          wrong=f"{DW} / len(x)", right=DW, case=STEPS),
        M("steps-summed-apart", _over(lambda e, x, dy: dy.sum(axis=1).T @ x.sum(axis=1)),
          "dy and x are each summed over the steps (axis 1) before they are multiplied",
          wrong="dy.sum(axis=1).T @ x.sum(axis=1)", right=DW, case=STEPS),
        M("steps-summed-apart", _over(lambda e, x, dy: dy.sum(axis=1).T @ x.mean(axis=1)),
          "x enters with its mean over the steps (axis 1)",
          wrong="dy.sum(axis=1).T @ x.mean(axis=1)", right=DW, case=STEPS),
        M("axes-in-another-order", _over(lambda e, x, dy: _product(dy, x.arranged(lambda a: a.swapaxes(0, 1)))),
          "the rows of x are in the order of its second axis, those of dy in the order of the first",
          wrong="dy.reshape(-1, dy.shape[2]).T @ x.swapaxes(0, 1).reshape(-1, x.shape[2])", right=DW, case=STEPS),
    ],
    "grad_bias": [
        M("last-step-only", _over(lambda e, x, dy: dy[:, -1].sum(axis=0)),
          "of each sample only the last step (axis 1) enters",
          wrong="dy[:, -1].sum(axis=0)", right=DB, case=STEPS),
        M("first-step-only", _over(lambda e, x, dy: dy[:, 0].sum(axis=0)),
          "of each sample only the first step (axis 1) enters",
          wrong="dy[:, 0].sum(axis=0)", right=DB, case=STEPS),
        M("summed-over-one-axis", _over(lambda e, x, dy: dy.sum(axis=0)),
          "db is summed over the samples, not over the steps (axis 1)",
          wrong="dy.sum(axis=0)", right=DB, case=STEPS),
        M("summed-over-one-axis", _over(lambda e, x, dy: dy.sum(axis=1)),
          "db is summed over the steps (axis 1), not over the samples",
          wrong="dy.sum(axis=1)", right=DB, case=STEPS),
        M("one-sample-only", _over(lambda e, x, dy: dy[-1].sum(axis=0)),
          "only the last sample enters, with all its steps",
          wrong="dy[-1].sum(axis=0)", right=DB, case=STEPS),
        M("wrong-mean", _over(lambda e, x, dy: e.ref / x.shape[1]), "it is divided by the number of steps (axis 1)",
          wrong="dy.mean(axis=1).sum(axis=0)", right=DB, case=STEPS),
        M("wrong-mean", _over(lambda e, x, dy: e.ref / x.shape[0]), "it is divided by the number of samples",
          wrong="dy.mean(axis=0).sum(axis=0)", right=DB, case=STEPS),
    ],
}
# fmt: on

Linear.mistakes = {
    part: [*(replace(m, formula=by_rows(m.formula)) for m in known), *OF_STEPS.get(part, ())]
    for part, known in MISTAKES.items()
}
