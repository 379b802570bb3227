"""A Linear on more axes than two: the rows of a matrix, in its bounds, in its known mistakes and in the shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

import compare
import scratch
from compare.network.architecture import Architecture
from compare.network.passing import shape_of
from compare.network.weights import to_torch
from compare.numbers.allowance import Precision
from compare.operations.linear import Linear

X, T = np.random.default_rng(0).standard_normal((7, 5, 3)), np.arange(7) % 4


def network(kind: type[scratch.Linear] = scratch.Linear, dtype: str = "float64") -> scratch.Sequential:
    """The layer in question is number 2, (m, 5, 6) -> (m, 5, 8)."""
    drawn: dict[str, Any] = {"rng": np.random.default_rng(1), "dtype": dtype}
    first, last = scratch.Linear(3, 6, **drawn), scratch.Linear(40, 4, **drawn)
    return scratch.Sequential(first, scratch.Tanh(), kind(6, 8, **drawn), scratch.Flatten(), last)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_both_sides_are_right(dtype: str) -> None:
    for net, loss in (
        (network(dtype=dtype), scratch.CrossEntropyLoss()),
        (to_torch(network(dtype=dtype)), nn.CrossEntropyLoss()),
    ):
        report = compare.check(net, X.astype(dtype), T, loss=loss)
        assert (report.verdict, report.compared) == ("parity", report.total)


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 6), (4, 1, 6), (2, 3, 4, 6)])
def test_value_and_bound_are_those_of_the_rows(shape: tuple[int, ...]) -> None:
    rng, p, layer = np.random.default_rng(0), Precision.of("float32"), Linear(6, 8)
    x, dy, W, b = (rng.standard_normal(s) for s in (shape, (*shape[:-1], 8), (8, 6), (8,)))
    a, d = x.reshape(-1, 6), dy.reshape(-1, 8)
    pairs = [
        (layer.output(x, W, b, p=p), layer.output(a, W, b, p=p)),
        (layer.grad_input(W, dy, p), layer.grad_input(W, d, p)),
        (layer.grad_weight(x, dy, p), layer.grad_weight(a, d, p)),
        (layer.grad_bias(dy, p), layer.grad_bias(d, p)),
    ]
    for found, flat in pairs:
        np.testing.assert_array_equal(found.value.reshape(flat.value.shape), flat.value)
        for bound, expected in zip(_bounds(found), _bounds(flat), strict=True):
            np.testing.assert_array_equal(bound.reshape(flat.value.shape), expected)


def _bounds(found: Any) -> tuple[np.ndarray, ...]:
    return found.allowance.wide, found.allowance.likely_bound, found.allowance.bound()


def overridden(method: str, f: Callable[..., np.ndarray]) -> type[scratch.Linear]:
    """A Linear with another output ("forward") or another dx ("backward")."""
    original = getattr(scratch.Linear, method)

    def wrong(self: scratch.Linear, a: np.ndarray) -> np.ndarray:
        right = original(self, a)
        return f(self, a, right)

    return type("Linear", (scratch.Linear,), {method: wrong})


def _put(self: scratch.Linear, name: str, g: np.ndarray, dx: np.ndarray) -> np.ndarray:
    self.grads[name] = g
    return dx


# What is known of matrices is named of sequences, too: the layer with the mistake, the tensor, the cause.
KNOWN = {
    "bias missing": ("forward", lambda s, x, y: y - s.params["bias"], "2.output", "bias-missing"),
    "bias twice": ("forward", lambda s, x, y: y + s.params["bias"], "2.output", "bias-doubled"),
    "tanh inside": ("forward", lambda s, x, y: np.tanh(y), "2.output", "activation-twice"),
    "derivative twice": ("backward", lambda s, d, dx: dx * (1 - s.kept**2), "2.grad_input", "derivative-twice"),
    "input as factor": ("backward", lambda s, d, dx: dx * s.kept, "2.grad_input", "input-as-factor"),
    "|x|": (
        "backward",
        lambda s, d, dx: _put(s, "weight", np.einsum("mto,mti->oi", d, abs(s.kept)), dx),
        "2.grad_weight",
        "input-changed",
    ),
    "one row left out": (
        "backward",
        lambda s, d, dx: _put(s, "bias", d.reshape(-1, 8)[:-1].sum(axis=0), dx),
        "2.grad_bias",
        "sample-left-out",
    ),
    "over the samples alone": (
        "backward",
        lambda s, d, dx: _put(s, "bias", d.sum(axis=0), dx),
        "2.grad_bias",
        "summed-over-one-axis",
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("method", "f", "tensor", "cause"), KNOWN.values(), ids=KNOWN)
def test_a_known_mistake_is_named(
    method: str, f: Callable[..., np.ndarray], tensor: str, cause: str, dtype: str
) -> None:
    net = network(overridden(method, f), dtype)
    report = compare.check(net, X.astype(dtype), T, loss=scratch.CrossEntropyLoss())
    assert (report.verdict, report.first.tensor) == ("mismatch", tensor)
    assert report.diagnosis[0].cause == cause


SHAPES = {
    "Linear(3, 4); MSELoss": (9, 3),
    "Linear(3, 6), LastStep, Linear(6, 4); MSELoss": (9, 5, 3),
    "ReLU, Linear(3, 6), Linear(6, 4), SelfAttention(4), Flatten, Linear(20, 2); MSELoss": (9, 5, 3),
}


@pytest.mark.parametrize("text", SHAPES)
def test_the_input_has_as_many_axes_as_the_layers_agree_with(text: str) -> None:
    assert shape_of(9, Architecture.of(text).layers, (7, 5)) == SHAPES[text]


def test_an_output_that_is_no_matrix_is_one_line() -> None:
    net = scratch.Sequential(scratch.Linear(3, 4, rng=np.random.default_rng(0), dtype=np.float64))
    with pytest.raises((ValueError, TypeError)) as raised:
        compare.check(net, X, T, loss=scratch.CrossEntropyLoss())
    assert "\n" not in str(raised.value)


def test_the_last_axis_must_be_the_layers() -> None:
    with pytest.raises(scratch.LayerError, match=r"got \(7, 5, 3\), expected \(m, m, 4\)"):
        scratch.Linear(4, 2, rng=np.random.default_rng(0), dtype=np.float64).forward(X)


@pytest.mark.parametrize("layer", [nn.Softmax(dim=-1), nn.Softmax(dim=1), nn.LogSoftmax(dim=-1)], ids=str)
def test_what_is_checked_on_rows_alone_is_refused_in_one_line(layer: nn.Module) -> None:
    """The softmax of a matrix is over its axis 1, the last one; of sequences that is another."""
    model = nn.Sequential(nn.Linear(3, 6), layer, nn.Flatten(), nn.Linear(30, 4)).double()
    with pytest.raises(ValueError, match=r"layer 1 \(\w+\(dim=-?1\)\): got x of shape \(7, 5, 6\)") as raised:
        compare.check(model, X, T, loss=nn.CrossEntropyLoss())
    assert "\n" not in str(raised.value)
