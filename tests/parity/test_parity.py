"""The quick suite: every layer, loss and optimiser once, and a network for the digits, in both precisions and on both
sides, through the one entry point. It answers "is the backpropagation right?" in seconds; the tables are elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import compare
import scratch
from compare.network.weights import dtype_of, to_torch, to_torch_loss, to_torch_optimizer
from scratch.datasets.digits import digits
from scratch.learner import ScratchLearner

Array = np.ndarray
DTYPES = [np.float32, np.float64]
ACTIVATIONS: list[Callable[[], scratch.Layer]] = [
    scratch.ReLU,
    scratch.LeakyReLU,
    scratch.ELU,
    scratch.SiLU,
    scratch.GELU,
    partial(scratch.GELU, "tanh"),
    scratch.Softplus,
    scratch.Sigmoid,
    scratch.Tanh,
    scratch.Softmax,
    scratch.LogSoftmax,
    lambda: scratch.Dropout(0.3, rng=np.random.default_rng(4)),
]
LOSSES = [
    (None, scratch.CrossEntropyLoss),
    (scratch.Softmax, scratch.ProbabilityCrossEntropyLoss),
    (scratch.LogSoftmax, scratch.NLLLoss),
    (scratch.LogSoftmax, scratch.KLDivLoss),
    (None, scratch.HingeLoss),
    (None, scratch.MSELoss),
    (scratch.Tanh, scratch.HalfSquaredErrorLoss),
    (None, scratch.L1Loss),
    (None, scratch.MultiMarginLoss),
    (None, scratch.HuberLoss),
    (scratch.Sigmoid, scratch.BCELoss),
    (None, scratch.BCEWithLogitsLoss),
]
TO_CLASSES = (scratch.CrossEntropyLoss, scratch.ProbabilityCrossEntropyLoss, scratch.NLLLoss)
OPTIMIZERS: list[tuple[type[scratch.Optimizer], dict[str, Any]]] = [
    (scratch.SGD, {"lr": 0.1}),
    (scratch.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (scratch.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}),
    (scratch.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    (scratch.AdamW, {"lr": 0.01}),
    (scratch.NAdam, {"lr": 0.01}),
    (scratch.NAdam, {"lr": 0.01, "momentum_decay": 0.1, "weight_decay": 0.01}),
    (scratch.NAdam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (scratch.Adagrad, {"lr": 0.05}),
    (scratch.Adagrad, {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.1, "weight_decay": 0.01}),
    (scratch.RMSprop, {"lr": 0.01}),
    (scratch.RMSprop, {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.01}),
]


def convolutional(dtype: type, *between: scratch.Layer) -> scratch.Sequential:
    """Two convolutions, and layers between them that make 3 x 4 images of 6 x 8."""
    rng = np.random.default_rng(1)
    return scratch.Sequential(
        scratch.Conv2d(2, 4, 3, padding=1, rng=rng, dtype=dtype),
        scratch.ReLU(),
        *between,
        scratch.Conv2d(4, 6, 2, padding=(0, 1), groups=2, rng=rng, dtype=dtype),
        scratch.ReLU(),
        scratch.Flatten(),
        scratch.Linear(60, 5, rng=rng, dtype=dtype),
    )


def network(
    activation: Callable[[], scratch.Layer], ending: type[scratch.Layer] | None, dtype: type
) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    return scratch.Sequential(
        scratch.Linear(7, 6, rng=rng, dtype=dtype),
        activation(),
        scratch.Linear(6, 5, rng=rng, dtype=dtype),
        *([ending()] if ending else []),
    )


def batch(loss: type[scratch.Loss], dtype: type) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((11, 7)).astype(dtype)
    if loss in (*TO_CLASSES, scratch.MultiMarginLoss):
        return x, rng.integers(0, 5, 11)
    t = rng.integers(0, 2, (11, 5)).astype(dtype)
    return x, 2 * t - 1 if loss is scratch.HingeLoss else t


def assert_both_sides(
    net: scratch.Sequential, loss: scratch.Loss, optimizer: scratch.Optimizer, x: Array, t: Array
) -> None:
    """Parity of scratch and of torch, and every tensor compared on either side."""
    model = to_torch(net)
    for candidate, criterion, stepper in [
        (net, loss, optimizer),
        (model, to_torch_loss(loss, dtype_of(model)), to_torch_optimizer(optimizer, model)),
    ]:
        compare.assert_parity(candidate, x, t, loss=criterion, optimizer=stepper)
        report = compare.check(candidate, x, t, loss=criterion, optimizer=stepper)
        assert report.compared == report.total


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer(activation: Callable[[], scratch.Layer], dtype: type) -> None:
    net = network(activation, None, dtype)
    assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), *batch(scratch.CrossEntropyLoss, dtype))


NORMALISATIONS: dict[str, Callable[[type], scratch.Layer]] = {
    "layer": lambda dtype: scratch.LayerNorm(6, dtype=dtype),
    "batch": lambda dtype: scratch.BatchNorm1d(6, momentum=0.3, dtype=dtype),
    "batch, without parameters": lambda dtype: scratch.BatchNorm1d(6, 1e-3, affine=False, dtype=dtype),
    "layer, without parameters": lambda dtype: scratch.LayerNorm(6, 1e-3, False, dtype=dtype),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_every_normalisation(kind: str, dtype: type) -> None:
    net = network(lambda: NORMALISATIONS[kind](dtype), None, dtype)
    assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), *batch(scratch.CrossEntropyLoss, dtype))


BETWEEN = {
    "max": scratch.MaxPool2d(2),
    "max, overlapping": scratch.MaxPool2d(3, stride=2, padding=1),
    "average": scratch.AvgPool2d(2),
    "average, overlapping": scratch.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "stride": scratch.Conv2d(4, 4, 3, stride=2, padding=2, dilation=2, rng=np.random.default_rng(2), dtype=np.float64),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [True, False])
def test_a_normalisation_of_images(affine: bool, dtype: type) -> None:
    rng = np.random.default_rng(2)
    net = convolutional(dtype, scratch.BatchNorm2d(4, affine=affine, dtype=dtype), scratch.MaxPool2d(2))
    x, t = rng.standard_normal((5, 2, 6, 8)).astype(dtype), rng.integers(0, 5, 5)
    assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), x, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("black_and_white", [False, True])  # then many maxima are equal
@pytest.mark.parametrize("between", BETWEEN)
def test_every_layer_of_images(between: str, black_and_white: bool, dtype: type) -> None:
    rng, layer = np.random.default_rng(2), copy.deepcopy(BETWEEN[between])
    layer.params = {name: p.astype(dtype) for name, p in layer.params.items()}
    layer.dtype = np.dtype(dtype)
    net = convolutional(dtype, layer)
    x, t = rng.standard_normal((5, 2, 6, 8)).astype(dtype), rng.integers(0, 5, 5)
    x = (x > 0).astype(dtype) if black_and_white else x
    assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), x, t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_of_class_numbers(dtype: type) -> None:
    rng = np.random.default_rng(1)
    embedding = scratch.Embedding(6, 4, rng=rng, dtype=dtype)
    for shape, columns in (((11,), 4), ((11, 3), 12)):
        net = scratch.Sequential(embedding, scratch.Flatten(), scratch.Linear(columns, 5, rng=rng, dtype=dtype))
        x, t = rng.integers(0, 6, shape), rng.integers(0, 5, 11)
        assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), x, t)


def over_time(dtype: type, *layers: scratch.Layer) -> scratch.Sequential:
    """Layers that make 6 columns, and what goes on with the last time step."""
    rng = np.random.default_rng(3)
    return scratch.Sequential(*layers, scratch.LastStep(), scratch.Linear(6, 5, rng=rng, dtype=dtype))


RECURRENT: list[tuple[type[scratch.Layer], dict[str, Any]]] = [
    (scratch.RNN, {}),
    (scratch.RNN, {"nonlinearity": "relu"}),
    (scratch.LSTM, {}),
    (scratch.GRU, {}),
    (scratch.GRU, {"bias": False}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), RECURRENT)
def test_every_recurrent_layer(kind: Any, options: dict[str, Any], dtype: type) -> None:
    """Alone, and two of them with an activation between."""
    rng = np.random.default_rng(1)
    first, second = (kind(n, 6, **options, batch_first=True, rng=np.random.default_rng(n), dtype=dtype) for n in (4, 6))
    x, t = rng.standard_normal((7, 5, 4)).astype(dtype), rng.integers(0, 5, 7)
    for net in (over_time(dtype, first), over_time(dtype, first, scratch.Tanh(), second)):
        assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), x, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"num_heads": 3}, {"num_heads": 2, "causal": True}, {"bias": False}], ids=str)
def test_self_attention(options: dict[str, Any], dtype: type) -> None:
    """Alone, and two layers of it with a residual sum and an activation between, of class numbers."""
    rng = np.random.default_rng(1)
    first, second = (scratch.SelfAttention(6, **options, rng=rng, dtype=dtype) for _ in range(2))
    x, t = rng.standard_normal((7, 5, 6)).astype(dtype), rng.integers(0, 5, 7)
    net = over_time(dtype, first)
    assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), x, t)
    words = scratch.Embedding(9, 6, rng=rng, dtype=dtype)
    last = scratch.LastStep(), scratch.Linear(6, 5, rng=rng, dtype=dtype)
    block = scratch.Graph(words, first, scratch.Add(0), scratch.Tanh(), second, *last)
    numbers = rng.integers(0, 9, (7, 5))
    assert_both_sides(block, scratch.CrossEntropyLoss(), scratch.Adam(block, 0.01), numbers, t)


def test_one_wrong_line_of_an_attention_is_named() -> None:
    class WrongAttention(scratch.SelfAttention):
        """The scores are divided by the root of all columns, not of one head's."""

        @property
        def _scale(self) -> Any:
            return self.dtype.type(1 / np.sqrt(self.embed_dim))

    rng = np.random.default_rng(4)
    net = over_time(np.float32, WrongAttention(6, 2, rng=rng))
    x, t = rng.standard_normal((6, 5, 6)).astype(np.float32), rng.integers(0, 4, 6)
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss())
    assert (report.first.tensor, report.diagnosis[0].cause) == ("0.output", "scores-scaled-wrongly")
    assert "the root of embed_dim" in report.cause


def test_one_wrong_line_of_a_recurrence_is_named() -> None:
    class WrongRNN(scratch.RNN):
        """dW_hh takes h_t in the place of h_{t-1}."""

        def _through_time(self, da: Array, dr: Array, h: Array) -> Array:
            return super()._through_time(da, dr, self._h[1:])

    rng = np.random.default_rng(4)
    net = over_time(np.float32, WrongRNN(3, 6, batch_first=True, rng=rng))
    x, t = rng.standard_normal((6, 5, 3)).astype(np.float32), rng.integers(0, 4, 6)
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss())
    assert (report.first.tensor, report.diagnosis[0].cause) == ("0.grad_weight_hh_l0", "state-after-for-before")
    assert "dW_hh takes the state after each step" in report.cause


def test_a_network_for_images_is_in_parity_on_both_sides_over_three_steps() -> None:
    for dtype in DTYPES:
        net, rng = convolutional(dtype, scratch.MaxPool2d(2)), np.random.default_rng(3)
        batches = [(rng.random((m, 2, 6, 8)).astype(dtype), rng.integers(0, 5, m)) for m in (6, 3, 6)]
        report = compare.check_parity(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), batches)
        assert (report.verdict, report.reference.verdict, report.steps) == ("parity", "parity", 3)
        assert report.compared == report.total


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")  # torch's, of KLDivLoss
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("ending", "loss"), LOSSES)
def test_every_loss(ending: type[scratch.Layer] | None, loss: type[scratch.Loss], reduction: Any, dtype: type) -> None:
    net = network(scratch.Tanh, ending, dtype)
    assert_both_sides(net, loss(reduction), scratch.SGD(net, 0.1), *batch(loss, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("smoothing", "weight"), [(0.2, None), (0.0, [1, 2, 0.5, 0, 0.3]), (0.1, [1, 2, 0.5, 3, 0.3])])
def test_a_cross_entropy_with_smoothing_and_class_weights(
    smoothing: float, weight: list[float] | None, reduction: Any, dtype: type
) -> None:
    net, loss = network(scratch.Tanh, None, dtype), scratch.CrossEntropyLoss(reduction, smoothing, weight)
    assert_both_sides(net, loss, scratch.SGD(net, 0.1), *batch(scratch.CrossEntropyLoss, dtype))
    batches = [batch(scratch.CrossEntropyLoss, dtype)] * 2
    report = compare.check_parity(net, loss, scratch.SGD(net, 0.1), batches)
    assert (report.verdict, report.reference.verdict) == ("parity", "parity")


def test_a_mean_that_is_weighted_by_class_is_none_of_a_set() -> None:
    """Batches of it do not add up to the set, which an evaluation would have them do; both learners refuse it."""
    net, (x, t) = network(scratch.Tanh, None, np.float32), batch(scratch.CrossEntropyLoss, np.float32)
    loss = scratch.CrossEntropyLoss(weight=np.ones(5))
    learner = ScratchLearner(net, loss, scratch.SGD(net, 0.1))
    data = learner.place(x, t)
    learner.train_step(data, np.arange(len(x)))
    with pytest.raises(ValueError, match="the loss's mean is weighted by class, expected no class weights or reduc"):
        learner.evaluate(data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_every_optimiser(kind: type[scratch.Optimizer], options: dict[str, Any], dtype: type) -> None:
    net = network(scratch.ReLU, None, dtype)
    assert_both_sides(net, scratch.CrossEntropyLoss(), kind(net, **options), *batch(scratch.CrossEntropyLoss, dtype))


def for_digits(dtype: type) -> scratch.Sequential:
    rng = np.random.default_rng(3)
    return scratch.Sequential(
        scratch.Linear(64, 32, rng=rng, dtype=dtype), scratch.ReLU(), scratch.Linear(32, 10, rng=rng, dtype=dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_for_the_digits(dtype: type) -> None:
    data, net = digits(dtype), for_digits(dtype)
    rows = slice(0, 100)
    assert_both_sides(net, scratch.CrossEntropyLoss(), scratch.AdamW(net, 1e-3), data.x_train[rows], data.t_train[rows])


def test_in_float64_both_sides_train_alike() -> None:
    """The same weights, batches and optimiser: 28 steps later the same weights to 1e-13 of their norm."""
    data, net = digits(np.float64), for_digits(np.float64)
    loss, optimizer, model = scratch.CrossEntropyLoss(), scratch.AdamW(net, 1e-3), to_torch(net)
    criterion, theirs = to_torch_loss(loss), to_torch_optimizer(optimizer, model)
    for start in range(0, 1400, 50):
        x, t = data.x_train[start : start + 50], data.t_train[start : start + 50]
        loss.forward(net.forward(x), t)
        net.backward(loss.backward())
        optimizer.step()
        theirs.zero_grad()
        criterion(model(torch.from_numpy(x)), torch.from_numpy(t)).backward()
        theirs.step()
    for name, p in model.named_parameters():
        difference = np.linalg.norm(p.detach().numpy() - net.params[name])
        assert difference <= 1e-13 * np.linalg.norm(net.params[name])


def test_one_wrong_line_is_found() -> None:
    """The suite can fail: a derivative without its factor is a mismatch, in that layer."""

    class WrongTanh(scratch.Tanh):
        """dx = dy (1 - y)."""

        def backward(self, dy: Array) -> Array:
            return dy * (1 - self.kept)

    net, (x, t) = network(WrongTanh, None, np.float32), batch(scratch.CrossEntropyLoss, np.float32)
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss())
    assert report.verdict == "mismatch"
    assert (report.first.layer, report.first.tensor) == ("1", "1.grad_input")
    with pytest.raises(AssertionError, match=r"layer 1 \(Tanh\), 1\.grad_input"):
        compare.assert_parity(net, x, t, loss=scratch.CrossEntropyLoss())


def test_one_wrong_line_of_a_convolution_is_named() -> None:
    class WrongConv2d(scratch.Conv2d):
        """dW is flipped."""

        def backward(self, dy: Array) -> Array:
            dx = super().backward(dy)
            self.grads["weight"] = self.grads["weight"][:, :, ::-1, ::-1].copy()
            return dx

    rng = np.random.default_rng(4)
    net = scratch.Sequential(WrongConv2d(2, 3, 3, rng=rng), scratch.Flatten(), scratch.Linear(36, 4, rng=rng))
    x, t = rng.random((6, 2, 5, 6), np.float32), rng.integers(0, 4, 6)
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss())
    assert (report.first.tensor, report.diagnosis[0].cause) == ("0.grad_weight", "filters-flipped")
    assert "dW is flipped" in report.cause
