"""Judging block by block gives what judging the whole tensor gives; and a report is on the weights of its time."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import compare
from compare.judging import judge as judging
from compare.judging.step import Rule
from compare.judging.verdict import Row
from compare.network.architecture import Architecture
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.expected import Expected
from compare.numbers.same_bits import same_bits
from compare.recording.record import Record
from scratch import CrossEntropyLoss, Linear, ReLU, Sequential

P = Precision.of(np.float32)
SHAPES = [(), (7,), (300, 401), (2, 90_000), (150_000,), (1, 1), (70_000, 1)]


def case(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, Expected]:
    """A tensor within its allowance, which is 0 in some places, where it is exact."""
    rng = np.random.default_rng(seed)
    value, scale = rng.standard_normal(shape), np.asarray(rng.random(shape))
    scale = np.where(rng.random(shape) < 0.1, 0.0, scale)
    allowance = Allowance(scale, 1e-3, likely=1e-4, floor=1e-30, rest=np.zeros(shape[-1:]) if shape else 0.0)
    return value + 0.9 * allowance.wide * 0.1 * rng.uniform(-1, 1, shape), Expected(value, allowance)


def row(got: np.ndarray, expected: Expected) -> Row:
    rule = Rule("0.output", "0", "output", "isolated", (), lambda p: expected, "")
    return judging.judge(Record(Architecture.of("3-2, mse"), {}), rule, got, expected, "isolated", P)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_blocks_find_what_the_whole_tensor_shows(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    got, expected = case(shape)
    in_blocks = row(got, expected)
    assert in_blocks.status == "ok"
    monkeypatch.setattr(judging, "_within", lambda got, expected: None)
    assert row(got, expected) == in_blocks


WRONG = {
    "above what is allowed": lambda a: a + 1,
    "NaN": lambda a: a * np.nan,
    "infinite": lambda a: a + np.inf,
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape], ids=str)
def test_one_wrong_element_is_found_wherever_it_is(shape: tuple[int, ...], name: str) -> None:
    got, expected = case(shape)
    for at in (0, got.size // 2, got.size - 1):
        changed = got.copy()
        changed.flat[at] = WRONG[name](changed.flat[at])
        found = row(changed, expected)
        assert (found.status, found.wrong) == ("off", 1)
        assert found.index == tuple(int(i) for i in np.unravel_index(at, shape))


@pytest.mark.parametrize("exponent", [-1000, -400, -160, -140, -100, -60, 60, 140, 1000])
@pytest.mark.parametrize("share", [0.3, 1.5])
def test_no_scale_is_too_small_or_too_large_to_be_judged(exponent: int, share: float) -> None:
    """Judged first in float32, whose range is shorter than that of what is judged."""
    rng = np.random.default_rng(5)
    value = rng.uniform(1, 2, (300, 401)) * 2.0**exponent
    expected = Expected(value, Allowance(np.abs(value), 1e-11))
    within = value * (1 + 1e-12 * rng.uniform(-1, 1, value.shape))
    within[123, 45] = value[123, 45] * (1 + share * 1e-11)
    found = row(within, expected)
    assert (found.status, found.index) == ("ok" if share < 1 else "off", (123, 45))
    assert found.ratio == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize("more", [-3e-8, 0, 3e-8])
def test_the_bound_is_met_to_the_last_digits(more: float) -> None:
    """Nearer to it than float32 tells."""
    rng = np.random.default_rng(6)
    for value, scale in rng.uniform(1, 2, (200, 2)):
        expected = Expected(np.full((2, 3), value), Allowance(np.full((2, 3), scale), 0.3))
        allowed = 0.3 * scale
        got = expected.value.copy()
        got[1, 2] -= allowed * (1 + more)
        beyond = abs(got[1, 2] - value) > allowed
        assert row(got, expected).status == ("off" if beyond else "ok")
        assert beyond == (more > 0) or more == 0


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_on_both_sides_is_not_checked_though_it_is_the_same(value: float) -> None:
    got = np.ones((4, 5), np.float32)
    got[2, 3] = value
    assert row(got, Expected.itself(got.astype(np.float64))).status == "not checked"


def test_an_unbounded_element_is_not_checked_and_no_element_is_nothing() -> None:
    got, expected = case((300, 401))
    where = np.zeros(got.shape, bool)
    where[299, 400] = True
    assert row(got, replace(expected, allowance=expected.allowance.unbounded_at(where))).status == "not checked"
    assert row(np.zeros((0, 3)), Expected.itself(np.zeros((0, 3)))).status == "not checked"


def test_the_bounds_of_rows_are_rows_of_the_bounds() -> None:
    _, expected = case((300, 401))
    for own in (expected.allowance, expected.allowance.widened(np.full((300, 401), 1e-9), by=2)):
        part = own.rows(slice(10, 20))
        assert np.array_equal(part.wide, own.wide[10:20])
        assert np.array_equal(part.sharp, own.sharp[10:20])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.longdouble])
def test_same_bits_tells_minus_zero_and_compares_nan(dtype: type) -> None:
    a = np.arange(6).astype(dtype).reshape(2, 3)
    assert same_bits(a, a.copy())
    assert same_bits(np.asfortranarray(a), a)
    assert not same_bits(a, a.reshape(3, 2))
    b = a.copy()
    b[1, 2] = 0
    assert not same_bits(a, b)
    if np.issubdtype(dtype, np.floating):
        assert not same_bits(np.array([0.0], dtype), np.array([-0.0], dtype))
        assert same_bits(np.array([np.nan], dtype), np.array([np.nan], dtype))


def networks() -> tuple[Sequential, nn.Sequential]:
    rng = np.random.default_rng(1)
    ours = Sequential(Linear(5, 4, rng=rng), ReLU(), Linear(4, 3, rng=rng))
    return ours, nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_a_report_is_on_the_weights_of_its_time(side: str) -> None:
    rng = np.random.default_rng(2)
    x, t = rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 3, 7)
    ours, theirs = networks()
    candidate, loss = (ours, CrossEntropyLoss()) if side == "scratch" else (theirs, nn.CrossEntropyLoss())
    report = compare.check(candidate, x, t, loss=loss)
    before = {r.tensor: copy.deepcopy(report.judgement_of(r)) for r in report.rows}
    for p in ours.params.values():
        p += 1
    with torch.no_grad():
        for q in theirs.parameters():
            q += 1
    for r in report.rows:
        now = report.judgement_of(r)
        np.testing.assert_array_equal(now.got, before[r.tensor].got)
        np.testing.assert_array_equal(now.expected.value, before[r.tensor].expected.value)


class Scaling(Linear):
    """Its backward changes its own weights."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        self.params["weight"] *= 2
        return dx


def test_weights_that_backward_changes_are_told_though_no_copy_of_them_is_made() -> None:
    rng = np.random.default_rng(3)
    network = Sequential(Scaling(5, 3, rng=rng))
    before = network.params["0.weight"].copy()
    x, t = rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 3, 7)
    report = compare.check(network, x, t, loss=CrossEntropyLoss())
    assert report.verdict == "mismatch"
    assert [(r.tensor, r.check) for r in report.rows if r.status == "off"] == [("0.weight", "side_effects")]
    assert np.array_equal(network.params["0.weight"], before)
