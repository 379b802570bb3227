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
from scratch.random_state import stream_state, stream_words
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
def test_a_network_that_draws_goes_on_with_the_masks_that_come_next(nested: bool) -> None:
    def learner() -> ScratchLearner:
        rng = np.random.default_rng(1)
        inner = Dropout(0.5, rng=rng)
        network = Sequential(Linear(5, 9, rng=rng), Sequential(inner) if nested else inner, Linear(9, 3, rng=rng))
        return ScratchLearner(network, CrossEntropyLoss(), SGD(network, 0.1))

    whole, first, second = learner(), learner(), learner()
    rng = np.random.default_rng(2)
    data = first.place(rng.standard_normal((8, 5)).astype(np.float32), rng.integers(0, 3, 8))
    losses = [whole.train_step(data, np.arange(8)) for _ in range(4)]
    assert [first.train_step(data, np.arange(8)) for _ in range(2)] == losses[:2]
    name = "1.0.rng" if nested else "1.rng"
    before = second.state_dict()
    assert first.state_dict()[name].tobytes() != before[name].tobytes()
    second.load_state_dict(first.state_dict())
    assert [second.train_step(data, np.arange(8)) for _ in range(2)] == losses[2:]
    assert all(a.tobytes() == whole.state_dict()[name].tobytes() for name, a in second.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words[:5], r"1\.rng: found uint64 \(5,\), expected uint64 \(6,\)"),
        (lambda words: words.astype(np.int64), r"1\.rng: found int64 \(6,\), expected uint64 \(6,\)"),
        (lambda words: words * np.uint64([1, 1, 1, 2, 1, 1]), r"the random stream is \[.*\], which is none"),
        (lambda words: words + np.uint64([0, 0, 0, 0, 2, 0]), r"the random stream is \[.*\], which is none"),
        (lambda words: words + np.uint64([0, 0, 0, 0, 0, 2**32]), r"the random stream is \[.*\], which is none"),
    ],
)
def test_a_stream_that_is_none_is_refused_and_nothing_is_loaded(change: Any, message: str) -> None:
    rng = np.random.default_rng(1)
    network = Sequential(Linear(5, 9, rng=rng), Dropout(0.5, rng=rng))
    learner = ScratchLearner(network, CrossEntropyLoss(), SGD(network, 0.1))
    before = learner.state_dict()
    state = {name: a + a.dtype.type(1) if name.startswith("0.") else a for name, a in before.items()}
    state["1.rng"] = change(before["1.rng"])
    with pytest.raises(ValueError, match=message):
        learner.load_state_dict(state)
    assert all(a.tobytes() == before[name].tobytes() for name, a in learner.state_dict().items())


@pytest.mark.parametrize("left", [0, 1])
def test_the_words_of_a_stream_are_all_that_comes_next(left: int) -> None:
    """Also where half of a draw is left over, as after a number of 32 bits."""
    one, other = np.random.default_rng(3), np.random.default_rng(4)
    one.random(5)
    one.integers(0, 2**32, 2 - left, dtype=np.uint32)
    words = stream_words(one)
    assert int(words[4]) == left
    other.bit_generator.state = stream_state(words)
    assert other.integers(0, 2**32, 9, dtype=np.uint32).tolist() == one.integers(0, 2**32, 9, dtype=np.uint32).tolist()
    with pytest.raises(TypeError, match="got a stream of MT19937, expected PCG64"):
        stream_words(np.random.Generator(np.random.MT19937(0)))


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
