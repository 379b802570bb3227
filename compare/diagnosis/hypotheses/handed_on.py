"""Mistakes in what is handed on: data, targets, weights, and what passes from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.diagnosis.evidence import Absent, Evidence
from compare.diagnosis.hypotheses.backward import wrong_factor
from compare.diagnosis.hypotheses.forward import dropped
from compare.diagnosis.hypotheses.hypothesis import Guess
from compare.diagnosis.hypotheses.hypothesis import Hypothesis as H
from compare.diagnosis.hypotheses.losses import rolled, row_keys
from compare.numbers.bounded import Bounded


def _standardised(e: Evidence) -> Iterator[Guess]:
    for axis, words in ((0, "column by column"), (None, "as a whole"), (1, "row by row")):
        spread = e.ref.value.std(axis=axis, keepdims=True)
        centred = e.ref - e.ref.value.mean(axis=axis, keepdims=True)
        yield _loosely(centred / np.where(spread > 0, spread, 1.0)), words
        if not spread.all():
            yield _loosely(centred / spread), f"{words}, and 0 / 0 where all are equal"


def _loosely(a: Bounded) -> Bounded:
    """Means and deviations over a batch carry errors of their own: 100 u of the largest value more."""
    return Bounded(a.value, a.error + 100 * a.p.u * np.abs(a.value).max(initial=0), a.p)


def _past_derivatives(e: Evidence) -> Iterator[Guess]:
    """The gradient that entered a later layer, times the weights between; what activations would do to it left out."""
    layers = e.network.layers
    for last in range(e.k + 2, len(layers)) if e.row.tensor.endswith("grad_output") else ():
        kinds = [layer.kind for layer in layers[e.k + 1 : last + 1]]
        if all(kind == "linear" for kind in kinds):
            continue
        passed = e.tensor(f"{last}.grad_output")
        for i in range(last, e.k, -1):
            passed = passed @ e.tensor(f"{i}.weight") if layers[i].kind == "linear" else passed
        yield passed, f"{last}.grad_output"


# fmt: off
HANDED_ON = [
    H("input", "data-normalised-twice", lambda e: e.ref / 255.0, "it is divided by 255 once more"),
    H("input", "data-not-normalised", lambda e: e.ref * 255.0, "it is not divided by 255"),
    H("input", "data-normalised-twice", _standardised, "it is standardised once more, {}", 1, overflows=True),
    H("input", "column-of-ones", lambda e: _ones(e),
      "column {} is all ones: a column for the bias stands in the place of data", 1),
    H("input", "previous-batch", lambda e: e.before("input") * 1.0, "it is the batch of the step before"),
    H("target", "label-off-by-one", lambda e: e.ref + 1.0, "every label is one too large"),
    H("target", "label-off-by-one", lambda e: e.ref - 1.0, "every label is one too small"),
    H("target", "label-off-by-one",
      lambda e: e.ref + 1.0 - e.n * ((e.ref.value + 1) // e.n) if e.ref.value.ndim == 1 else rolled(e, 1),
      "class k is taken for class k + 1"),
    H("target", "label-off-by-one",
      lambda e: e.ref - 1.0 - e.n * ((e.ref.value - 1) // e.n) if e.ref.value.ndim == 1 else rolled(e, -1),
      "class k is taken for class k - 1"),
    H("target", "previous-batch", lambda e: e.before("target") * 1.0, "it is the target of the step before"),
    H("target", "targets-shuffled", lambda e: e.ref[::-1], "the targets are in reverse order"),
    H("target", "targets-shuffled",
      lambda e: Bounded.exact(e.got, e.p) if _same_multiset(e.got, e.ref.value) else _nothing(e),
      "the targets belong to other samples: their rows are in another order"),
    H("given", "initialisation-scale", lambda e: _initial_scales(e),
      "it is {} what was given: another initialisation", 1),
    H("given", "stale-weights", lambda e: e.before(e.row.tensor) * 1.0,
      "it is the parameter of the step before: the update was lost"),
    H("passed", "activation-derivative-lost", lambda e: e.tensor(f"{e.k + 1}.grad_output") * 1.0,
      "it is what entered the next layer's backward: that layer's derivative is lost on the way back"),
    H("passed", "activation-derivative-lost", _past_derivatives,
      "it is {}, through the weights alone: the derivative of every activation between is lost on the way back"),
    H("passed", "activation-missing", lambda e: e.tensor(f"{e.k - 1}.input" if e.k > 1 else "input") * 1.0,
      "it is what entered the layer before: that layer is left out"),
    H("passed", "dropout-left-in", dropped, "some elements are dropped, {}", 1),
    H("passed", "wrong-gradient",
      wrong_factor(("input", "output", "grad_output", "grad_input"), lambda e: e.ref, lambda e, o: o * 1.0),
      "it is {}", 1),
    H("side_effects", "overwritten-in-place", lambda e: _overwritten(e),
      "it is overwritten with {}: something works in place"),
    H("side_effects", "updated-in-backward", lambda e: _updated_early(e),
      "it is updated inside backward: the update belongs into the optimiser's step"),
    H("side_effects", "gradient-changed-by-step", lambda e: _by_the_step(e),
      "the optimiser's step writes into it: compute on a copy", -1),
    H("side_effects", "target-changed", lambda e: _target(e),
      "the target is written into, and belongs to the caller: compute on a copy", -1),
    H("side_effects", "activation-changed-by-backward", lambda e: Bounded.exact(e.got, e.p),
      "something writes into it: compute on a copy", 1),
]
# fmt: on


def _ones(e: Evidence) -> Iterator[Guess]:
    """One column is all ones, all others are right."""
    for j in np.flatnonzero((e.got == 1).all(axis=0) & (e.ref.value != 1).any(axis=0)):
        value = e.ref.value.copy()
        value[:, j] = 1
        yield Bounded.exact(value, e.p), str(j)


def _initial_scales(e: Evidence) -> Iterator[Guess]:
    """Weights of another usual standard deviation: 1 / n for 1 / sqrt(n), with He's 2 or without it."""
    n = float(e.got.shape[-1])
    for factor, words in ((n**-0.5, "1 / sqrt(inputs) x"), (n**0.5, "sqrt(inputs) x"), (2**0.5, "sqrt(2) x")):
        yield _loosely(e.ref * factor), words
        yield _loosely(e.ref / factor), words.replace(" x", " of")


def _same_multiset(a: Any, b: Any) -> bool:
    keys = (a, b) if a.ndim == 1 else (row_keys(a), row_keys(b))
    return bool(a.shape == b.shape and np.array_equal(np.sort(keys[0]), np.sort(keys[1])))


def _nothing(e: Evidence) -> Bounded:
    raise Absent(e.row.tensor)


def _overwritten(e: Evidence) -> Iterator[Guess]:
    for name, known in e.sweep.known.items():
        if known.value.shape == e.got.shape and name != e.row.tensor:
            yield e.tensor(name) * 1.0, name


def _by_the_step(e: Evidence) -> Bounded:
    if e.sweep.record.changed_by.get(e.row.tensor) != "the step":
        raise Absent(e.row.tensor)
    return Bounded.exact(e.got, e.p)


def _target(e: Evidence) -> Bounded:
    if e.row.tensor != "target":
        raise Absent(e.row.tensor)
    return Bounded.exact(e.got, e.p)


def _updated_early(e: Evidence) -> Bounded:
    if e.row.kind != "parameter":
        raise Absent(e.row.tensor)
    return Bounded.exact(e.got, e.p)
