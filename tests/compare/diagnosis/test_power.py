"""What a verdict of parity could have missed, and the batch that misses least."""

import numpy as np
import pytest

import scratch
from compare.check import check
from compare.recording.batches import ROWS, telling_rows, wake_biases
from scratch.initializers import constant, zeros


def _power(rows: int = 7, bias_init=None, optimizer=None, loss=None, columns: int = 4):
    rng = np.random.default_rng(0)
    options = {"rng": rng, "dtype": "float64"} | ({"bias_init": bias_init} if bias_init else {})
    net = scratch.Sequential(scratch.Linear(5, 6, **options), scratch.ReLU(), scratch.Linear(6, columns, **options))
    x, t = rng.standard_normal((rows, 5)), rng.integers(0, columns, rows)
    t = t if loss is None else rng.standard_normal((rows, columns))
    options = {"optimizer": optimizer(net)} if optimizer else {}
    report = check(net, x, t, loss=loss or scratch.CrossEntropyLoss(), **options)
    assert report.verdict == "parity"
    return report.power


@pytest.mark.parametrize(
    ("options", "cause", "why"),
    [
        ({"bias_init": zeros}, "bias-missing", "all biases are zero"),
        ({"bias_init": zeros}, "bias-on-the-way-back", "all biases are zero"),
        ({"rows": 1}, "mean-missing", "one row"),
        ({"columns": 1, "loss": scratch.MSELoss()}, "bias-along-rows", "one output column"),
        ({"bias_init": constant(100.0)}, "absolute-value", "no pre-activation is negative"),
        ({}, "relu-mask-at-zero", "no pre-activation is exactly 0"),
        ({}, "softmax-not-shifted", "no logit is large enough"),
    ],
)
def test_what_is_hidden_is_said_with_the_reason(options, cause: str, why: str) -> None:
    power = _power(**options)
    assert power.hidden[cause] == why
    assert f"{cause} ({why})" in str(power)


def test_what_shows_is_counted() -> None:
    power = _power()
    assert {"bias-missing", "mean-missing", "derivative-missing", "sign", "label-off-by-one"} <= set(power.shown)
    assert not set(power.shown) & set(power.hidden)
    assert str(power).startswith(f"this check would show {len(power.shown)} of ")


def test_mistakes_of_an_optimiser_are_counted_only_where_there_is_one() -> None:
    without = _power()
    adamw = _power(optimizer=lambda net: scratch.AdamW(net, 1e-3))
    assert "bias-correction-missing" not in {*without.shown, *without.hidden}
    assert {"bias-correction-missing", "epsilon-inside-root", "weight-decay-coupled"} <= set(adamw.shown)


def test_rows_are_chosen_with_every_class() -> None:
    rng = np.random.default_rng(0)
    t = np.array([0] * 90 + [1] * 5 + [2] * 5)
    x = np.arange(100.0)[:, None]
    rows, labels = telling_rows(x, t, 1, rng)
    assert len(rows) == len(labels) == ROWS
    assert set(labels) == {0, 1, 2}
    np.testing.assert_array_equal(t[rows[:, 0].astype(int)], labels)
    assert len(telling_rows(x[:4], t[:4], 10, rng)[0]) == 4


def test_only_biases_that_sleep_are_woken() -> None:
    rng = np.random.default_rng(0)
    net = scratch.Sequential(
        scratch.Linear(3, 4, rng=rng, bias_init=zeros), scratch.Tanh(), scratch.Linear(4, 2, rng=rng)
    )
    before = net.params["2.bias"].copy()
    assert wake_biases(net, rng)
    assert net.params["0.bias"].all()
    np.testing.assert_array_equal(net.params["2.bias"], before)
    assert not wake_biases(net, rng)
