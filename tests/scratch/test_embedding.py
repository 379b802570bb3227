"""Embedding: against torch, one-hot rows and finite differences; what it refuses, and how a network trains on it."""

import re
from typing import Any

import numpy as np
import pytest
import torch

import compare
from compare.numbers.allowance import Precision
from compare.operations.embedding import Embedding as Known
from scratch import SGD, CrossEntropyLoss, Embedding, Flatten, LayerError, Linear, Sequential
from scratch.learner import ScratchLearner
from tests.bounds import assert_within
from tests.finite_differences import assert_derivative

SHAPES = [(7,), (1,), (7, 5), (40, 30)]


def ran(shape: tuple[int, ...], dtype: type) -> tuple[Embedding, np.ndarray, np.ndarray, np.ndarray]:
    """After forward and backward, with x, y and dy."""
    rng = np.random.default_rng(3)
    layer, x = Embedding(6, 4, rng=rng, dtype=dtype), rng.integers(0, 6, shape)
    y = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    assert layer.backward(dy) is None
    return layer, x, y, dy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs(shape: tuple[int, ...], dtype: type) -> None:
    layer, x, y, dy = ran(shape, dtype)
    module = torch.nn.Embedding.from_pretrained(torch.from_numpy(layer.params["weight"]), freeze=False)
    theirs = module(torch.from_numpy(x))
    theirs.backward(torch.from_numpy(dy))
    assert np.array_equal(y, theirs.detach().numpy())
    wanted = Known(6, 4).grad_weight(x, dy.astype(np.float64), Precision.of(dtype))
    for side, got in {"scratch": layer.grads["weight"], "torch": module.weight.grad.numpy()}.items():
        assert_within(side, got, wanted, dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_linear_layer_on_one_hot_rows(shape: tuple[int, ...]) -> None:
    layer, x, y, dy = ran(shape, np.float64)
    rows = np.eye(6)[x.ravel()]
    np.testing.assert_array_equal(y.reshape(-1, 4), rows @ layer.params["weight"])
    np.testing.assert_allclose(layer.grads["weight"], rows.T @ dy.reshape(-1, 4), rtol=1e-12, atol=1e-12)


def test_backward_is_the_derivative_by_finite_differences() -> None:
    layer, x, y, dy = ran((7, 5), np.float64)
    away = float(np.abs(y * dy).sum())

    def moved(w: np.ndarray) -> float:
        layer.params["weight"] = w
        return away + float((layer.forward(x) * dy).sum())

    direction = np.random.default_rng(4).standard_normal((6, 4))
    assert_derivative(moved, layer.params["weight"].copy(), layer.grads["weight"], direction)


def test_what_it_returns_is_the_callers() -> None:
    layer, x, y, dy = ran((7, 5), np.float32)
    before = [a.tobytes() for a in (x, dy, layer.params["weight"], layer.grads["weight"])]
    y += 1
    layer.backward(dy)
    assert [a.tobytes() for a in (x, dy, layer.params["weight"], layer.grads["weight"])] == before


WRONG: list[tuple[str, Any, str]] = [
    ("forward", np.zeros(3, np.float32), "got float32 (3,), expected class numbers (m,) or (m, t)"),
    ("forward", np.zeros((3, 2, 2), int), "got int64 (3, 2, 2), expected class numbers (m,) or (m, t)"),
    ("forward", np.array([0, 6]), "got class numbers from 0 to 6, expected them from 0 to 5"),
    ("forward", np.array([[-1, 2]]), "got class numbers from -1 to 2, expected them from 0 to 5"),
    ("backward", np.zeros((7, 4), np.float32), "got (7, 4), expected (7, 5, 4)"),
    ("backward", np.zeros((7, 5, 4)), "got float64, expected float32"),
]


@pytest.mark.parametrize(("method", "a", "message"), WRONG)
def test_what_it_cannot_take_is_refused(method: str, a: np.ndarray, message: str) -> None:
    layer, *_ = ran((7, 5), np.float32)
    with pytest.raises(LayerError, match=re.escape(message)):
        getattr(layer, method)(a)


def test_backward_before_forward_and_sizes_that_are_none_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RuntimeError, match="Embedding 6 -> 4: backward was called before forward"):
        Embedding(6, 4, rng=rng).backward(np.zeros((7, 4), np.float32))
    for sizes in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=rf"Embedding {sizes[0]} -> {sizes[1]}: both sizes must be at least 1"):
            Embedding(*sizes, rng=rng)


def small() -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(Embedding(6, 4, rng=rng), Flatten(), Linear(12, 2, rng=rng))


def test_a_learner_trains_on_class_numbers_and_takes_no_others() -> None:
    """The class is whether the first number is even."""
    net, x = small(), np.random.default_rng(1).integers(0, 6, (60, 3))
    learner = ScratchLearner(net, CrossEntropyLoss(), SGD(net, 1.0))
    data = learner.place(x, x[:, 0] % 2)
    for _ in range(60):
        learner.train_step(data, np.arange(60))
    assert learner.evaluate(data)[1] == 1
    with pytest.raises(TypeError, match="x is float32, expected class numbers: whole numbers"):
        learner.place(x.astype(np.float32), x[:, 0] % 2)


def test_a_gradient_that_is_not_finite_is_named() -> None:
    net = small()
    net.layers[2].params["weight"][...] = 3e38
    learner = ScratchLearner(net, CrossEntropyLoss(), SGD(net, 1.0))
    with pytest.raises(FloatingPointError, match=r"the output of layer 2 \(Linear 12 -> 2\) is not finite"):
        learner.train_step(learner.place(np.full((2, 3), 5), np.array([0, 1])), np.arange(2))


@pytest.mark.parametrize(
    "option", [{"padding_idx": 0}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}]
)
def test_torchs_options_that_are_not_checked_are_refused(option: dict[str, Any]) -> None:
    ((name, found),) = option.items()
    model = torch.nn.Sequential(torch.nn.Embedding(6, 4, **option), torch.nn.Linear(4, 2))
    with pytest.raises(TypeError, match=rf"layer 0 \(Embedding\): got {name}={found}, which is not checked"):
        compare.check(model, np.arange(6), np.zeros(6, int), loss=torch.nn.CrossEntropyLoss())


def test_class_numbers_out_of_range_are_one_line_that_names_the_layer() -> None:
    with pytest.raises(ValueError, match=r"layer 0 \(Embedding 6 -> 4\): got class numbers from 0 to 6, expected them"):
        compare.check(small(), np.arange(21).reshape(7, 3) % 7, np.zeros(7, int), loss=CrossEntropyLoss())
