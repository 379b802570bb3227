"""Networks that are no chain: residual sums and shortcuts on both sides, in texts, and in modules that are traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import compare
import scratch
from compare.network.architecture import Architecture
from compare.network.weights import from_torch, in_order, to_torch

RESIDUAL = "Linear(5, 6), ReLU, Linear(6, 6), Add(0), Tanh, Linear(6, 3); CrossEntropyLoss"
SHORTCUT = "Linear(5, 6), ReLU, Linear(6, 4), Take(-1), Linear(5, 4), Add(2), Linear(4, 3); CrossEntropyLoss"
THREE_WAYS = "Linear(5, 5), Add(-1), Tanh, Add(0), Add(2), Linear(5, 3); CrossEntropyLoss"
NETWORKS = {"residual": RESIDUAL, "shortcut": SHORTCUT, "three ways": THREE_WAYS}
each_network = pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS)


def data(columns: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, columns)), rng.integers(0, 3, 7)


def made(text: str) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    return in_order(*(layer.to_scratch(rng=rng, dtype=np.float64) for layer in Architecture.of(text).layers))


# --- both sides -------------------------------------------------------------------------------------------------------


@each_network
def test_both_sides_train_it_right(text: str) -> None:
    x, t = data()
    network = made(text)
    ours = compare.check(network, x, t, loss=scratch.CrossEntropyLoss(), optimizer=scratch.SGD(network, lr=0.1))
    model = to_torch(network)
    theirs = compare.check(model, x, t, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    assert [ours.verdict, theirs.verdict] == ["parity", "parity"], f"\n{ours}\n{theirs}"
    assert not ours.missing


@each_network
def test_gradients_are_those_of_autograd(text: str) -> None:
    x, t = data()
    network, loss = made(text), scratch.CrossEntropyLoss()
    loss.forward(network.forward(x), t)
    dx = network.backward(loss.backward())
    model, x_torch = to_torch(network), torch.tensor(x, requires_grad=True)
    nn.CrossEntropyLoss()(model(x_torch), torch.tensor(t)).backward()
    np.testing.assert_allclose(dx, x_torch.grad.numpy(), rtol=1e-12, atol=1e-15)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(network.grads[name], p.grad.numpy(), rtol=1e-12, atol=1e-15)


@each_network
def test_it_goes_to_the_other_side_and_back(text: str) -> None:
    network = made(text)
    again = from_torch(to_torch(network))
    assert isinstance(again, scratch.Graph)
    assert repr(again) == repr(network)


@each_network
def test_it_is_written_so_that_it_can_be_read(text: str) -> None:
    network = Architecture.of(text)
    assert Architecture.of(str(network)) == network == Architecture.from_dict(network.to_dict())


def test_numbers_within_a_nested_graph_are_those_in_line() -> None:
    rng = np.random.default_rng(0)
    block = scratch.Graph(scratch.Linear(4, 4, rng=rng), scratch.ReLU(), scratch.Add(-1))
    network = scratch.Sequential(scratch.Linear(5, 4, rng=rng), block, scratch.Linear(4, 3, rng=rng))
    found = Architecture.of(network, scratch.CrossEntropyLoss())
    assert str(found) == "Linear(5, 4), Linear(4, 4), ReLU, Add(0), Linear(4, 3); CrossEntropyLoss"
    x, t = data()
    assert compare.check(network, x.astype(np.float32), t, loss=scratch.CrossEntropyLoss()).verdict == "parity"


class Overwritten(scratch.Graph):
    """What two layers took gets the gradient of the later one alone."""

    def backward(self, dy: Any) -> Any:
        returned = {len(self.layers) - 1: dy}
        for i, layer in reversed(list(enumerate(self.layers))):
            dx: Any = layer.backward(returned.pop(i))
            for j, each in zip(self.sources(i), dx if isinstance(dx, tuple) else (dx,), strict=True):
                returned.setdefault(j, each)
        return returned[-1]


def test_a_branch_that_is_left_out_is_named() -> None:
    x, t = data()
    report = compare.check(Overwritten(*made(RESIDUAL).layers), x, t, loss=scratch.CrossEntropyLoss())
    assert report.first.tensor == "0.grad_output"
    assert (report.diagnosis[0].cause, report.diagnosis[0].confidence) == ("branch-missing", 0.95)
    assert "0.grad_output = 1.grad_input + 3.grad_other" in str(report)


# --- what does not go together ----------------------------------------------------------------------------------------

WRONG = [
    ("Linear(5, 6), Add(1), Linear(6, 3); MSELoss", r"layer 1 \(Add\(1\)\) takes what no earlier layer gives, ex"),
    ("Linear(5, 6), Add(-2), Linear(6, 3); MSELoss", "got source=-2, expected the number of an earlier layer, or -1"),
    ("Linear(5, 6), Add(0.5), Linear(6, 3); MSELoss", "got source=0.5, expected the number of an earlier layer"),
    ("Linear(5, 6), Add(-1), Linear(6, 3); MSELoss", "layer 1, Add.*: got 6 inputs, expected 5"),
    ("Linear(5, 6), Take(-1), Linear(5, 3); MSELoss", r"no layer takes what layer 0 \(Linear 5 -> 6\) gives"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_text_that_does_not_go_together_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.of(text)


def test_a_graph_that_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer 1 \(Add\(1\)\): expected an earlier layer, -1 to 0"):
        scratch.Graph(scratch.ReLU(), scratch.Add(1))
    with pytest.raises(ValueError, match=r"layer 0 \(ReLU\(\)\): no layer takes what it gives"):
        scratch.Graph(scratch.ReLU(), scratch.Take(-1), scratch.ReLU())


def test_shapes_that_cannot_be_added_are_one_line() -> None:
    rng = np.random.default_rng(0)
    network = scratch.Graph(scratch.Linear(5, 4, rng=rng), scratch.Add(-1))
    with pytest.raises(scratch.LayerError, match=r"layer 1 \(Add\): got \(7, 5\), expected \(7, 4\)"):
        network.forward(np.zeros((7, 5), np.float32))


# --- any module -------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.inner, self.outer, self.norm = nn.Linear(n, n), nn.Linear(n, n), nn.LayerNorm(n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.outer(torch.tanh(self.inner(self.norm(x)))))


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.2)
        self.blocks = nn.Sequential(Block(12), Block(12))
        self.head, self.shortcut = nn.Linear(12, 3), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = self.norm(x).relu()
        x = self.blocks(x.view(x.size(0), -1))
        return self.head(self.drop(x)) + self.shortcut(x)


def test_a_module_with_residual_blocks_is_checked() -> None:
    torch.manual_seed(0)
    model = Images()
    x, t = np.random.default_rng(0).normal(size=(6, 1, 4, 4)).astype(np.float32), np.arange(6) % 3
    report = compare.check(model, x, t, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(model.parameters()))
    assert report.verdict == "parity", f"\n{report}"
    assert not report.missing
    assert "Add(3)" in str(report.network)


class Digits(nn.Module):
    """As PyTorch's own MNIST example, which calls functions between its layers; `between` its halves are these."""

    def __init__(self, between: Any = None) -> None:
        super().__init__()
        self.conv1, self.conv2, self.dropout = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Dropout(0.25)
        self.fc1, self.fc2 = nn.Linear(36, 8), nn.Linear(8, 3)
        self.between = between or (lambda model, x: torch.flatten(model.dropout(functional.max_pool2d(x, 2)), 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        x = functional.relu(self.fc1(self.between(self, x)), inplace=True)
        return functional.log_softmax(self.fc2(x), dim=1)


def pooled(x: Any) -> Any:
    return functional.max_pool2d(x, 2)


BETWEEN = {
    "the example": (None, "ReLU, MaxPool2d(2), Dropout(p=0.25), Flatten, L"),
    "rows by their columns": (lambda _, x: pooled(x).view(-1, 36), "ReLU, MaxPool2d(2), Flatten, L"),
    "rows by a size": (lambda _, x: pooled(x).reshape(x.shape[0], -1), "ReLU, MaxPool2d(2), Flatten, L"),
    "means": (lambda _, x: functional.avg_pool2d(x, 2, stride=2).flatten(1), "ReLU, AvgPool2d(2), Flatten, L"),
    "dropout as a function": (
        lambda model, x: functional.dropout(pooled(x).flatten(1), 0.3, training=model.training),
        "ReLU, MaxPool2d(2), Flatten, Dropout(p=0.3), L",
    ),
    "what nobody uses": (lambda _, x: (torch.fft.fft(x), pooled(x).flatten(1))[1], "ReLU, MaxPool2d(2), Flatten, L"),
}
NOT_BETWEEN = {
    "rows of other lengths": (lambda _, x: pooled(x).view(-1, 72)[:, :36], "Digits: its forward pass calls "),
    "samples by number": (lambda _, x: pooled(x).view(8, -1), "Digits: its forward pass calls view"),
    "the length of something else": (lambda m, x: pooled(x).view(m.fc1.weight.size(0), -1), "uses fc1.weight, which"),
    "twice the length": (lambda _, x: pooled(x).view(2 * x.size(0), -1), "Digits: its forward pass calls mul"),
    "dropout in evaluation too": (lambda _, x: functional.dropout(pooled(x).flatten(1)), "Digits: in evaluation its"),
    "what was written over": (lambda _, x: (y := pooled(x).flatten(1), y.sin_())[0], "Digits: in evaluation its"),
    "an option of no layer": (lambda _, x: pooled(x).flatten(1).softmax(1, torch.float64), "options that no layer has"),
}


def images() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 1, 10, 10)).astype(np.float32), rng.integers(0, 3, 8)


@pytest.mark.parametrize(("between", "text"), BETWEEN.values(), ids=BETWEEN)
def test_functions_between_the_layers_are_layers(between: Any, text: str) -> None:
    torch.manual_seed(0)
    model = Digits(between).eval()
    report = compare.check(model, *images(), loss=nn.NLLLoss(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    assert report.verdict == "parity", f"\n{report}"
    assert text in str(report.network)
    assert not any(part.training for part in model.modules()), "its modes are as they were"


@pytest.mark.parametrize(("between", "message"), NOT_BETWEEN.values(), ids=NOT_BETWEEN)
def test_what_is_no_layer_between_them_is_refused_in_one_line(between: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        compare.check(Digits(between), *images(), loss=nn.NLLLoss())
    assert "\n" not in str(caught.value)


class Reversed(nn.Sequential):
    """Its own forward pass, in another order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in reversed(self):
            x = module(x)
        return x


def test_a_subclass_of_sequential_is_what_its_forward_pass_calls() -> None:
    x, t = data()
    model = Reversed(nn.Linear(6, 3), nn.Softplus(), nn.Linear(5, 6))
    report = compare.check(model, x.astype(np.float32), t, loss=nn.CrossEntropyLoss())
    assert report.verdict == "parity", f"\n{report}"
    assert str(report.network).startswith("5-6-3 softplus")


class OfOne(nn.Module):
    """A linear layer, and something else."""

    def __init__(self, then: Any) -> None:
        super().__init__()
        self.linear, self.then = nn.Linear(5, 3), then

    def forward(self, x: torch.Tensor) -> Any:
        return self.then(self.linear(x))


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.linear(z)


UNKNOWN = {
    "a function": (OfOne(torch.fft.fft), "OfOne: its forward pass calls fft_fft"),
    "a branch": (OfOne(lambda y: y if y.sum() > 0 else -y), "OfOne: its forward pass cannot be traced: symbolically"),
    "a product": (OfOne(lambda y: y * y), "OfOne: its forward pass calls mul"),
    "a number that is added": (OfOne(lambda y: y + 1), "OfOne: its forward pass calls add"),
    "two outputs": (OfOne(lambda y: (y, y)), "OfOne: its forward pass returns something else than one array"),
    "an unknown layer": (OfOne(nn.Bilinear(3, 3, 3)), "Bilinear"),
    "two inputs": (OfTwo(), "OfTwo: its forward pass takes several inputs, expected one"),
}


@pytest.mark.parametrize(("model", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_module_of_something_unknown_is_refused_in_one_line(model: nn.Module, message: str) -> None:
    x, t = data()
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        compare.check(model, x.astype(np.float32), t, loss=nn.CrossEntropyLoss())
    assert "\n" not in str(caught.value)


def test_a_block_over_sequences_is_right_on_both_sides() -> None:
    """A LayerNorm takes any axes before its own."""
    rng = np.random.default_rng(0)
    attention = scratch.SelfAttention(8, 2, causal=True, rng=rng, dtype=np.float64)
    norm, head = (of(8, *n, rng=rng, dtype=np.float64) for of, n in ((scratch.LayerNorm, ()), (scratch.Linear, (3,))))
    network = scratch.Graph(attention, scratch.Add(-1), norm, scratch.LastStep(), head)
    x, t = rng.normal(size=(6, 5, 8)), rng.integers(0, 3, 6)
    assert compare.check(network, x, t, loss=scratch.CrossEntropyLoss()).verdict == "parity"
    assert compare.check(to_torch(network), x, t, loss=nn.CrossEntropyLoss()).verdict == "parity"
