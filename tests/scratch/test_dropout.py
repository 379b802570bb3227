"""Dropout: its masks, what it does with them in training and in evaluation, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.numbers.allowance import Precision
from compare.operations.dropout import Dropout as Known
from scratch import SGD, CrossEntropyLoss, Dropout, LayerError, Linear, ReLU, Sequential
from scratch.engine import Engine
from scratch.learner import ScratchLearner
from tests.bounds import assert_within

DTYPES = [np.float32, np.float64]
IMAGES = (3, 4, 7, 5)


def layer(p: float = 0.3, seed: int = 0) -> Dropout:
    return Dropout(p, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (60, 301), IMAGES])
@pytest.mark.parametrize("p", [0, 0.1, 0.3, 0.5, 0.9, 1])
def test_forward_and_backward_are_right(p: float, shape: tuple[int, ...], dtype: type) -> None:
    rng, dropout = np.random.default_rng(1), layer(p)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    y, dx = dropout.forward(x), dropout.backward(dy)
    assert dropout.mask is not None
    for name, got in {"mask": dropout.mask, "output": y, "grad_input": dx}.items():
        letters = {"mask": (dropout.mask,), "output": (x, dropout.mask), "grad_input": (dropout.mask, dy)}
        wanted = getattr(Known(p), name)(*letters[name], Precision.of(dtype))
        assert_within(f"{name} of p={p}", got, wanted, dtype)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_a_mask_holds_zeros_and_one_number_and_is_1_in_the_mean(p: float) -> None:
    mask = layer(p).draw((400, 500), np.float64)
    assert np.unique(mask).tolist() == [0, 1 / (1 - p)]
    assert abs(np.mean(mask == 0) - p) < 5 * np.sqrt(p * (1 - p) / mask.size)
    assert abs(mask.mean() - 1) < 5 * np.sqrt(p / (1 - p) / mask.size)


def test_each_forward_draws_anew_and_backward_takes_the_last() -> None:
    dropout, ones = layer(0.5), np.ones((20, 30))
    first, second = dropout.forward(ones), dropout.forward(ones)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(dropout.backward(ones), second)
    np.testing.assert_array_equal(dropout.mask, second)


def test_the_same_stream_gives_the_same_masks_and_is_drawn_from_once() -> None:
    one, same, other = layer(seed=1), layer(seed=1), layer(seed=2)
    masks = [dropout.draw((9, 9), np.float64) for dropout in (one, same, other)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
    rng = np.random.default_rng(3)
    dropout = Dropout(rng=rng)
    state = rng.bit_generator.state
    dropout.forward(np.ones((9, 9)))
    assert rng.bit_generator.state == state
    Dropout(rng=np.random.RandomState(3)).forward(np.ones((9, 9)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_evaluation_drops_nothing(dtype: type) -> None:
    x = np.random.default_rng(1).standard_normal((7, 5)).astype(dtype)
    dropout = layer().eval()
    y = dropout.forward(x)
    assert y is not x
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dropout.backward(x), x)
    assert (dropout.train().forward(x) == 0).any()


def test_a_network_hands_its_mode_on_to_nested_layers() -> None:
    inner = layer()
    network = Sequential(ReLU(), Sequential(inner))
    assert network.training
    assert inner.training
    assert network.eval() is network
    assert not any(each.training for each in (network, *network, inner))
    assert network.train() is network
    assert all(each.training for each in (network, *network, inner))


@pytest.mark.parametrize("kind", [ScratchLearner, Engine])
def test_a_learner_trains_with_masks_and_evaluates_without(kind: Any) -> None:
    rng = np.random.default_rng(1)
    dropout = Dropout(0.5, rng=rng)
    network = Sequential(Linear(5, 30, rng=rng), dropout, Linear(30, 3, rng=rng))
    learner = kind(network, CrossEntropyLoss(), SGD(network, 0.1))
    data = learner.place(rng.standard_normal((8, 5)).astype(np.float32), rng.integers(0, 3, 8))
    for _ in range(2):
        learner.train_step(data, np.arange(8))
        assert (dropout.mask == 0).any()
        assert learner.evaluate(data) == learner.evaluate(data)
        assert (dropout.mask == 1).all()


@pytest.mark.parametrize("nested", [False, True])
def test_a_network_that_draws_does_not_go_on_from_a_checkpoint(nested: bool) -> None:
    rng = np.random.default_rng(1)
    inner = Dropout(0.5, rng=rng)
    network = Sequential(Linear(5, 3, rng=rng), Sequential(inner) if nested else inner)
    learner = ScratchLearner(network, CrossEntropyLoss(), SGD(network, 0.1))
    with pytest.raises(ValueError, match=r"layer [01] \(Dropout\): its masks are in no checkpoint, expected a network"):
        learner.load_state_dict(learner.state_dict())


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), "half", None, True])
def test_a_share_that_is_none_is_refused(p: Any) -> None:
    with pytest.raises(ValueError, match=r"Dropout: got p=.*, expected a number from 0 to 1"):
        layer(p)


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        ("forward", np.zeros(5, np.float32), r"got \(5,\), expected \(m, m, \.\.\.\)"),
        ("forward", np.zeros((7, 5), int), "got int64, expected a floating-point array"),
        ("backward", np.zeros((5, 7), np.float32), r"got \(5, 7\), expected \(7, 5\)"),
        ("backward", np.zeros((7, 5)), "got float64, expected float32"),
    ],
)
def test_what_does_not_fit_is_refused(method: str, wrong: np.ndarray, message: str) -> None:
    dropout = layer()
    dropout.forward(np.zeros((7, 5), np.float32))
    with pytest.raises(LayerError, match=message):
        getattr(dropout, method)(wrong)


def test_backward_before_forward_is_an_error() -> None:
    assert layer().mask is None
    with pytest.raises(RuntimeError, match="Dropout: backward was called before forward"):
        layer().backward(np.zeros((7, 5), np.float32))


def test_it_changes_no_argument_and_is_shown_as_it_is_typed() -> None:
    x, dropout = np.ones((7, 5)), layer()
    y = dropout.forward(x)
    dropout.backward(x)
    assert (x == 1).all()
    y += 1
    np.testing.assert_array_equal(dropout.backward(x), dropout.mask)
    assert (repr(dropout), str(dropout)) == ("Dropout(0.3)", "Dropout")
