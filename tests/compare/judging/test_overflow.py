"""Overflow on the way: a correct computation that passes through a number too large for its precision is not accused,
although its exact result would fit; one that has no such excuse is."""

from __future__ import annotations

import numpy as np
import pytest

import scratch
from compare.check import check
from compare.checking import check_records
from compare.judging.judge import judge
from compare.judging.step import rules
from compare.numbers.allowance import Precision
from compare.operations import OPTIMIZERS
from compare.recording.scratch_recorder import record_scratch

F32 = Precision.of(np.float32)
ADAM = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
SGD = {"lr": 0.01, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}

# kind, options, gradient, state, part, what the candidate has, whether that is accused
UPDATES = [
    ("Adam", ADAM, 3e19, {}, "exp_avg_sq", np.inf, False),  # g^2 overflows, 1e-3 g^2 would fit
    ("Adam", ADAM, 3e19, {}, "", 0.5, False),  # and the root of it then makes the step 0
    ("AdamW", ADAM, 3e19, {}, "", 0.5, False),
    ("Adam", ADAM, 1e18, {}, "exp_avg_sq", np.inf, True),  # g^2 fits
    ("Adam", ADAM, 1e18, {}, "", 0.5, True),
    ("Adam", ADAM, 3e38, {"exp_avg": -3e38, "exp_avg_sq": 0.0}, "exp_avg", np.inf, False),  # m + (1 - b1) (g - m)
    ("Adam", ADAM, 1e18, {"exp_avg": 1e18, "exp_avg_sq": 1e36}, "exp_avg", np.nan, True),
    ("SGD", SGD, 3e38, {"momentum_buffer": 3e38}, "", -np.inf, False),  # mu v + g overflows, lr v would fit
    ("SGD", SGD, 1e38, {"momentum_buffer": 1e38}, "", -np.inf, True),
]


@pytest.mark.parametrize(("kind", "options", "g", "state", "part", "got", "accused"), UPDATES)
def test_an_update_is_accused_only_where_nothing_on_its_way_overflows(
    kind: str, options: dict, g: float, state: dict, part: str, got: float, accused: bool
) -> None:
    before, gradient = np.array([0.5]), np.array([g])
    held = {name: np.array([value]) for name, value in state.items()}
    expected = OPTIMIZERS[kind]().update(options, 2 if state else 1, before, gradient, held, F32)[part]
    assert np.isfinite(expected.value).all()
    assert np.abs(expected.value).max() < F32.largest
    network = scratch.Sequential(scratch.Linear(1, 1, rng=np.random.default_rng(0), dtype="float32"))
    batch = (np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    (record,) = record_scratch(network, scratch.MSELoss(), None, [batch])
    rule = rules(record.network, None, 1, record)[0]
    row = judge(record, rule, np.array([got], np.float32), expected, "update", F32)
    assert row.status == ("off" if accused else "not checked")


@pytest.mark.parametrize(
    ("weights", "verdict"),
    [
        ((1, 1, -1), "incomplete"),  # x1 + x2 overflows, x1 + x2 - x3 would not
        ((1, 0, -1), "parity"),
    ],
)
def test_a_sum_may_overflow_on_its_way(weights: tuple[float, ...], verdict: str) -> None:
    network = scratch.Sequential(scratch.Linear(3, 1, rng=np.random.default_rng(0), bias=False, dtype="float32"))
    network.params["0.weight"][:] = np.array([weights])
    x = np.full((2, 3), 2.5e38, np.float32)
    with np.errstate(all="ignore"):
        report = check(network, x, np.zeros((2, 1), np.float32), loss=scratch.MSELoss())
    row = next(row for row in report.rows if row.tensor == "0.output")
    assert row.status == ("ok" if verdict == "parity" else "not checked")
    assert report.verdict != "mismatch"


@pytest.mark.parametrize("found", [np.nan, np.inf, -np.inf])
def test_a_sum_whose_terms_overflow_in_double_precision_may_be_any_that_is_not_finite(found: float) -> None:
    network = scratch.Sequential(scratch.Linear(3, 1, rng=np.random.default_rng(0), bias=False, dtype="float64"))
    network.params["0.weight"][:] = np.array([[1.0, 1.0, -1.0]])
    batch = np.full((1, 3), 1.7e308), np.zeros((1, 1))
    with np.errstate(all="ignore"):
        (record,) = record_scratch(network, scratch.MSELoss(), None, [batch])
        record.tensors["input"] = np.array([[1.7e308, 1.7e308, np.finfo(np.float64).max]])
        record.tensors["0.weight"] = np.array([[2.0, 2.0, -2.0]])
        record.tensors["0.output"] = np.array([[found]])
        report = check_records([record], {})
    row = next(row for row in report.rows if row.tensor == "0.output")
    assert row.status == "not checked"
