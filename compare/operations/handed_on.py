"""Mistakes in what is handed on: data, targets, weights, and what passes from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.numbers.bounded import Bounded
from compare.operations.any_loss import rolled, row_keys
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Guess, as_found, dropped, wrong_factor
from compare.operations.mistake import Mistake as M


def _standardised(e: Letters) -> Iterator[Guess]:
    of_sample = tuple(range(1, e.ref.value.ndim))
    for axis, words in ((0, "column by column"), (None, "as a whole"), (of_sample, "row by row")):
        spread = e.ref.value.std(axis=axis, keepdims=True)
        centred = e.ref - e.ref.value.mean(axis=axis, keepdims=True)
        yield _loosely(centred / np.where(spread > 0, spread, 1.0)), words
        if not spread.all():
            yield _loosely(centred / spread), f"{words}, and 0 / 0 where all are equal"


def _loosely(a: Bounded) -> Bounded:
    """Means and deviations over a batch carry errors of their own: 100 u of the largest value more."""
    return Bounded(a.value, a.error + 100 * a.p.u * np.abs(a.value).max(initial=0), a.p)


def _past_derivatives(e: Letters) -> Iterator[Guess]:
    """The gradient that entered a later layer, times the weights between; what activations would do to it left out."""
    layers = e.network.layers
    for last in range(e.k + 2, len(layers)) if e.name.endswith("grad_output") else ():
        if all(layer.is_affine for layer in layers[e.k + 1 : last + 1]):
            continue
        passed = e.tensor(f"{last}.grad_output")
        for i in range(last, e.k, -1):
            passed = passed @ e.tensor(f"{i}.weight") if layers[i].is_affine else passed
        yield passed, f"{last}.grad_output"


def _ones(e: Letters) -> Iterator[Guess]:
    """One column is all ones, all others are right."""
    for j in np.flatnonzero((e.got == 1).all(axis=0) & (e.ref.value != 1).any(axis=0)):
        value = e.ref.value.copy()
        value.reshape(len(value), -1)[:, j] = 1
        yield Bounded.of(value, e.p), str(j)


def _initial_scales(e: Letters) -> Iterator[Guess]:
    """Weights of another usual standard deviation: 1 / n for 1 / sqrt(n), with He's 2 or without it."""
    n = float(e.got.shape[-1])
    for factor, words in ((n**-0.5, "1 / sqrt(inputs) x"), (n**0.5, "sqrt(inputs) x"), (2**0.5, "sqrt(2) x")):
        yield _loosely(e.ref * factor), words
        yield _loosely(e.ref / factor), words.replace(" x", " of")


def _same_multiset(a: Any, b: Any) -> bool:
    keys = (a, b) if a.ndim == 1 else (row_keys(a), row_keys(b))
    return bool(a.shape == b.shape and np.array_equal(np.sort(keys[0]), np.sort(keys[1])))


def _overwritten(e: Letters) -> Iterator[Guess]:
    """With another tensor; a parameter that holds its own new value was updated early."""
    for name, value in e.values():
        if value.shape == e.got.shape and name.replace(".new_", ".") != e.name:
            yield e.tensor(name) * 1.0, name


def _labels(e: Letters) -> Bounded:
    """The target, where it is one whole number for each sample. Absent for any other target."""
    t = e.ref.value
    if t.shape not in ((e.m,), (e.m, 1)) or (t != np.rint(t)).any():
        raise Absent("labels")
    return e.ref


def _other_class(e: Letters, by: int) -> Bounded:
    """Every label, as a number or as a one-hot row, moved by one class, the last to the first."""
    return Bounded.of((_labels(e).value + by) % e.n, e.p) if e.ref.value.ndim == 1 else rolled(e.ref, by)


def _without_one(e: Letters) -> Iterator[Guess]:
    """The sum of the gradients that come back, but for one."""
    names = e.network.returned(e.k)
    for left_out in names:
        first, *others = (e.tensor(name) for name in names if name != left_out)
        yield sum(others, first * 1.0), left_out


RESIDUAL = {"network": "Linear(5, 6), ReLU, Linear(6, 6), Add(0), Linear(6, 4); CrossEntropyLoss",
            "tensor": "0.grad_output"}  # fmt: skip

# fmt: off
MISTAKES = {
    "input": [
        M("data-normalised-twice", lambda e: e.ref / 255.0, "it is divided by 255 once more",
          wrong="x / 255", right="x"),
        M("data-not-normalised", lambda e: e.ref * 255.0, "it is not divided by 255",
          wrong="x * 255", right="x"),
        M("data-normalised-twice", _standardised, "it is standardised once more, {}", rank=1, overflows=True,
          wrong="(x - x.mean(axis=0)) / x.std(axis=0)", right="x"),
        M("column-of-ones", _ones, "column {} is all ones: a column for the bias stands in the place of data", rank=1,
          wrong="np.hstack([np.ones((len(x), 1)), x[:, 1:]])", right="x"),
        M("previous-batch", lambda e: e.before("input") * 1.0, "it is the batch of the step before",
          wrong="before.right", right="x", case={"rows": (6, 6, 6)}),
    ],
    "target": [
        M("label-off-by-one", lambda e: _labels(e) + 1.0, "every label is one too large",
          wrong="right + 1", case={"rows": (3, 2, 3)}),
        M("label-off-by-one", lambda e: _labels(e) - 1.0, "every label is one too small",
          wrong="right - 1", case={"network": "5-7-1 relu, mse", "target": "bits"}),
        M("label-off-by-one", lambda e: _other_class(e, 1), "class k is taken for class k + 1",
          wrong="(right + 1) % 4"),
        M("label-off-by-one", lambda e: _other_class(e, -1), "class k is taken for class k - 1",
          wrong="(right - 1) % 4"),
        M("previous-batch", lambda e: e.before("target") * 1.0, "it is the target of the step before",
          wrong="before.value", case={"rows": (6, 6, 6)}),
        M("targets-shuffled", lambda e: e.ref[::-1], "the targets are in reverse order",
          wrong="right[::-1]"),
        M("targets-shuffled", as_found(lambda e: _same_multiset(e.got, e.ref.value)),
          "the targets belong to other samples: their rows are in another order",
          wrong="np.random.default_rng(step).permutation(right)"),
    ],
    "given": [
        M("initialisation-scale", _initial_scales, "it is {} what was given: another initialisation", rank=1,
          wrong="W * np.sqrt(2)", right="W"),
        M("stale-weights", lambda e: e.before(e.name) * 1.0,
          "it is the parameter of the step before: the update was lost",
          wrong="before.value", right="W"),
    ],
    "passed": [
        M("activation-derivative-lost", lambda e: e.tensor(f"{e.k + 1}.grad_output") * 1.0,
          "it is what entered the next layer's backward: that layer's derivative is lost on the way back",
          wrong="tensor('1.grad_output')", right="tensor('1.grad_input')", case={"tensor": "0.grad_output"}),
        M("activation-derivative-lost", _past_derivatives,
          "it is {}, through the weights alone: the derivative of every activation between is lost on the way back",
          wrong="tensor('4.grad_output') @ tensor('4.weight') @ tensor('2.weight')", right="tensor('1.grad_input')",
          case={"network": "5-6-6-6 relu, softmax cross-entropy", "tensor": "0.grad_output"}),
        M("activation-missing", lambda e: e.tensor(f"{e.k - 1}.input" if e.k > 1 else "input") * 1.0,
          "it is what entered the layer before: that layer is left out",
          wrong="tensor('1.input')", right="tensor('1.output')", case={"tensor": "2.input"}),
        M("dropout-left-in", dropped, "some elements are dropped, {}", rank=1,
          wrong="x * (np.random.default_rng(step).random(x.shape) < 0.8) / 0.8", right="x",
          case={"tensor": "2.input"}),
        M("wrong-gradient",
          wrong_factor(("input", "output", "grad_output", "grad_input"), lambda e: e.ref, lambda e, o: o * 1.0),
          "it is {}", rank=1,
          wrong="tensor('3.grad_output')", right="tensor('2.grad_input')",
          case={"network": "5-6-6-6 relu, softmax cross-entropy", "tensor": "1.grad_output"}),
    ],
    "returned": [
        M("branch-missing", _without_one, "{} is left out: what several layers took gets the sum of their gradients",
          wrong="tensor('1.grad_input')", right="tensor('1.grad_input') + tensor('3.grad_other')", case=RESIDUAL),
        M("gradient-shared-out", lambda e: e.ref * (1 / len(e.network.returned(e.k))),
          "it is the mean of the gradients that come back, not their sum",
          wrong="(tensor('1.grad_input') + tensor('3.grad_other')) / 2",
          right="tensor('1.grad_input') + tensor('3.grad_other')", case=RESIDUAL),
    ],
    "side_effects": [
        M("overwritten-in-place", _overwritten, "it is overwritten with {}: something works in place",
          wrong="tensor('1.output')", case={"tensor": "0.output"}),
        M("updated-in-backward", as_found(lambda e: e.kind == "parameter"),
          "it is updated inside backward: the update belongs into the optimiser's step",
          wrong="right - 0.01 * tensor('2.grad_weight')", case={"tensor": "2.weight"}),
        M("gradient-changed-by-step", as_found(lambda e: e.changed_by.get(e.name) == "the step"),
          "the optimiser's step writes into it: compute on a copy", rank=-1,
          wrong="right + 0.01 * W", case={"tensor": "2.grad_weight", "changed_by": {"2.grad_weight": "the step"}}),
        M("target-changed", as_found(lambda e: e.name == "target"),
          "the target is written into, and belongs to the caller: compute on a copy", rank=-1,
          wrong="t - y", case={"tensor": "target", "target": "one-hot"}),
        M("activation-changed-by-backward", as_found(lambda e: True),
          "something writes into it: compute on a copy", rank=1,
          wrong="y - 0.1", case={"tensor": "1.output"}),
    ],
}
# fmt: on
