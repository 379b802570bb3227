"""Every layer: its values against torch and finite differences, its contract, and what it refuses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from compare.numbers.allowance import Precision
from compare.numbers.expected import Expected
from compare.operations import LAYERS as LAYERS_KNOWN
from scratch import (
    ELU,
    GELU,
    Layer,
    LayerError,
    LeakyReLU,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from scratch.initializers import normal
from tests.bounds import assert_within
from tests.finite_differences import assert_derivative

OUT = 4
DTYPES = [np.float32, np.float64]


@dataclass(frozen=True)
class Subject:
    """One layer on both sides, and by what name the reference knows it."""

    kind: str
    scratch: Callable[[int, np.random.Generator, type], Layer]
    torch: Callable[[int], nn.Module]


def linear(n: int, rng: np.random.Generator, dtype: type, bias: bool = True) -> Linear:
    return Linear(n, OUT, rng=rng, bias=bias, weight_init=normal(0.7), bias_init=normal(0.3), dtype=dtype)


LAYERS = {
    "linear": Subject("linear", linear, lambda n: nn.Linear(n, OUT)),
    "linear without bias": Subject(
        "linear", lambda n, rng, dtype: linear(n, rng, dtype, bias=False), lambda n: nn.Linear(n, OUT, bias=False)
    ),
    "relu": Subject("relu", lambda n, rng, dtype: ReLU(), lambda n: nn.ReLU()),
    "sigmoid": Subject("sigmoid", lambda n, rng, dtype: Sigmoid(), lambda n: nn.Sigmoid()),
    "tanh": Subject("tanh", lambda n, rng, dtype: Tanh(), lambda n: nn.Tanh()),
    "leaky_relu": Subject("leaky_relu", lambda n, rng, dtype: LeakyReLU(0.3), lambda n: nn.LeakyReLU(0.3)),
    "elu": Subject("elu", lambda n, rng, dtype: ELU(0.7), lambda n: nn.ELU(0.7)),
    "silu": Subject("silu", lambda n, rng, dtype: SiLU(), lambda n: nn.SiLU()),
    "gelu": Subject("gelu", lambda n, rng, dtype: GELU(), lambda n: nn.GELU()),
    "gelu_tanh": Subject("gelu_tanh", lambda n, rng, dtype: GELU("tanh"), lambda n: nn.GELU("tanh")),
    "softplus": Subject("softplus", lambda n, rng, dtype: Softplus(0.7), lambda n: nn.Softplus(0.7)),
    "softmax": Subject("softmax", lambda n, rng, dtype: Softmax(), lambda n: nn.Softmax(dim=1)),
}

INPUTS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "plain": lambda rng: rng.standard_normal((7, 5)),
    "one row": lambda rng: rng.standard_normal((1, 5)),
    "one column": lambda rng: rng.standard_normal((7, 1)),
    "one number": lambda rng: rng.standard_normal((1, 1)),
    "long sums": lambda rng: rng.standard_normal((130, 301)),
    "kinks": lambda rng: rng.choice([-1.0, -0.0, 0.0, 1.0], (6, 9)),
    "equal": lambda rng: np.full((6, 3), 0.75),
    "tiny": lambda rng: 1e-8 * rng.standard_normal((7, 5)),
    "large": lambda rng: 1e3 * rng.standard_normal((7, 5)),
    "huge": lambda rng: 1e8 * rng.standard_normal((7, 5)),
    "subnormal": lambda rng: 1e-42 * rng.standard_normal((7, 5)),
}


def on_scratch(layer: Layer, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    y = layer.forward(x)
    dx = layer.backward(dy)
    return {"output": y, "grad_input": dx} | {f"grad_{name}": g for name, g in layer.grads.items()}


def on_torch(module: nn.Module, layer: Layer, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    module.to(torch.from_numpy(x).dtype)
    module.load_state_dict({name: torch.from_numpy(p.copy()) for name, p in layer.params.items()})
    at = torch.from_numpy(x.copy()).requires_grad_()
    y = module(at)
    y.backward(torch.from_numpy(dy.copy()))
    grads = {f"grad_{name}": p.grad.numpy() for name, p in module.named_parameters()}
    return {"output": y.detach().numpy(), "grad_input": at.grad.numpy()} | grads


def expected(kind: str, layer: Layer, x: np.ndarray, dy: np.ndarray) -> dict[str, Expected]:
    known = LAYERS_KNOWN[kind].of(layer, "layer 0")
    letters = {"x": x, "dy": dy, "W": layer.params.get("weight"), "b": layer.params.get("bias")}
    letters = {name: a.astype(np.float64) for name, a in letters.items() if a is not None}
    p, parts = Precision.of(x.dtype), known.computed.items()
    return {name: getattr(known, name)(*(letters[letter] for letter in part.letters), p=p) for name, part in parts}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_forward_and_backward_are_right_on_both_sides(name: str, inputs: str, dtype: type) -> None:
    rng, subject = np.random.default_rng(11), LAYERS[name]
    x = INPUTS[inputs](rng).astype(dtype)
    layer = subject.scratch(x.shape[1], rng, dtype)
    dy = rng.standard_normal(layer.forward(x).shape).astype(dtype)
    wanted = expected(subject.kind, layer, x, dy)
    for side, got in {
        "scratch": on_scratch(layer, x, dy),
        "torch": on_torch(subject.torch(x.shape[1]), layer, x, dy),
    }.items():
        assert got.keys() == wanted.keys()
        for tensor, value in wanted.items():
            assert_within(f"{side} {name} {tensor}", got[tensor], value, dtype)


# --- finite differences -----------------------------------------------------------------------------------------------


def smooth(layer: Layer, rng: np.random.Generator) -> np.ndarray:
    """Inputs of ordinary size, and for ReLU away from its kink."""
    x = rng.standard_normal((7, 5))
    return np.where(np.abs(x) < 0.1, 0.5, x) if isinstance(layer, ReLU) else x


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_derivative_by_finite_differences(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = LAYERS[name].scratch(5, rng, np.float64)
    x = smooth(layer, rng)
    dy = rng.standard_normal(layer.forward(x).shape)
    dx = layer.backward(dy)
    grads = dict(layer.grads)
    assert_derivative(lambda a: float((layer.forward(a) * dy).sum()), x, dx, rng.standard_normal(x.shape))
    for key, p in list(layer.params.items()):

        def moved(a: np.ndarray, key: str = key) -> float:
            layer.params[key] = a
            return float((layer.forward(x) * dy).sum())

        assert_derivative(moved, p, grads[key], rng.standard_normal(p.shape))
        layer.params[key] = p


# --- the contract of a layer ------------------------------------------------------------------------------------------


def chain() -> Sequential:
    return Sequential(linear(5, np.random.default_rng(4), np.float32), Tanh(), Softmax())


@pytest.fixture(params=[*LAYERS, "sequential"])
def layer(request: pytest.FixtureRequest) -> Layer:
    """A layer from 5 columns that has not run yet."""
    if request.param == "sequential":
        return chain()
    return LAYERS[request.param].scratch(5, np.random.default_rng(3), np.float32)


def ran(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The layer has run forward: x, y and some dy."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((7, 5)).astype(np.float32)
    y = layer.forward(x)
    return x, y, rng.standard_normal(y.shape).astype(np.float32)


def test_backward_before_forward_is_an_error(layer: Layer) -> None:
    with pytest.raises(RuntimeError, match=r"(Linear 5 -> 4|\w+): backward was called before forward"):
        layer.backward(np.zeros((7, 5), np.float32))


def test_backward_changes_neither_its_argument_nor_x_nor_what_forward_kept(layer: Layer) -> None:
    x, y, dy = ran(layer)
    before = [a.tobytes() for a in (x, y, dy, *layer.params.values())]
    first = layer.backward(dy).tobytes(), {name: g.tobytes() for name, g in layer.grads.items()}
    assert [a.tobytes() for a in (x, y, dy, *layer.params.values())] == before
    second = layer.backward(dy).tobytes(), {name: g.tobytes() for name, g in layer.grads.items()}
    assert first == second


def test_returned_arrays_are_the_callers(layer: Layer) -> None:
    x, y, dy = ran(layer)
    first = layer.backward(dy)
    wanted = first.tobytes()
    grads = {name: g.copy() for name, g in layer.grads.items()}
    for mine in (y, first, *layer.grads.values()):
        mine += 1
    assert layer.backward(dy).tobytes() == wanted
    assert all(np.array_equal(g, grads[name]) for name, g in layer.grads.items())
    assert layer.forward(x) is not y


def test_parameters_and_gradients_have_the_same_keys_shapes_and_dtypes(layer: Layer) -> None:
    _, _, dy = ran(layer)
    layer.backward(dy)
    shapes = {name: (p.shape, p.dtype) for name, p in layer.params.items()}
    assert {name: (g.shape, g.dtype) for name, g in layer.grads.items()} == shapes


WRONG = {
    "linear": [
        ("forward", np.zeros((7, 6), np.float32), r"got \(7, 6\), expected \(m, 5\)"),
        ("forward", np.zeros(5, np.float32), r"got \(5,\), expected \(m, 5\)"),
        ("forward", np.zeros((7, 5)), "got float64, expected float32"),
        ("backward", np.zeros((7, 5), np.float32), r"got \(7, 5\), expected \(7, 4\)"),
        ("backward", np.zeros((1, 4), np.float32), r"got \(1, 4\), expected \(7, 4\)"),
        ("backward", np.zeros((7, 4)), "got float64, expected float32"),
    ],
    **{
        name: [
            ("forward", np.zeros(5, np.float32), r"got \(5,\), expected \(m, m\)"),
            ("forward", np.zeros((7, 5), int), "got int64, expected a floating-point array"),
            ("backward", np.zeros((5, 7), np.float32), r"got \(5, 7\), expected \(7, 5\)"),
            ("backward", np.zeros((7, 1), np.float32), r"got \(7, 1\), expected \(7, 5\)"),
            ("backward", np.zeros((7, 5)), "got float64, expected float32"),
        ]
        for name in ("relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "softplus", "sigmoid", "tanh", "softmax")
    },
}


@pytest.mark.parametrize(
    ("name", "method", "wrong", "message"),
    [pytest.param(name, *row, id=f"{name}-{row[2]}") for name, rows in WRONG.items() for row in rows],
)
def test_what_a_layer_refuses(name: str, method: str, wrong: np.ndarray, message: str) -> None:
    layer = LAYERS[name].scratch(5, np.random.default_rng(3), np.float32)
    ran(layer)
    with pytest.raises(LayerError, match=message):
        getattr(layer, method)(wrong)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_derivative_of_relu_at_zero_is_zero(dtype: type) -> None:
    x = np.array([[-1.0, -0.0, 0.0, 1.0]], dtype)
    layer = ReLU()
    layer.forward(x)
    dy = np.array([[3.0, 5.0, 7.0, 11.0]], dtype)
    assert layer.backward(dy).tolist() == [[0, 0, 0, 11]]


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh(), Softmax(), ELU(), SiLU(), GELU(), GELU("tanh"), Softplus()])
@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes_neither_overflow_nor_warn(layer: Layer, dtype: type) -> None:
    largest = np.finfo(dtype).max
    x = np.array([[-largest / 4, -1e4, 0, 1e4, largest / 4]], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        y = layer.forward(x)
        dx = layer.backward(np.ones_like(y))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("relu", [np.inf, -np.inf, -0.0, 1e-42], [np.inf, 0, 0, 1e-42]),
        ("sigmoid", [np.inf, -np.inf, 1e4, -1e4], [1, 0, 1, 0]),
        ("tanh", [np.inf, -np.inf, 1e4, 1e-42], [1, -1, 1, 1e-42]),
        ("elu", [np.inf, -np.inf, -1e4, 1e-42], [np.inf, np.float32(-0.7), np.float32(-0.7), 1e-42]),
        ("softplus", [np.inf, -np.inf, 1e4, -1e4], [np.inf, 0, 1e4, 0]),
        ("softmax", [3e38, -3e38, 0, 1], [1, 0, 0, 0]),
    ],
)
def test_at_the_ends_of_the_numbers_layers_are_as_torchs(name: str, x: list[float], expected: list[float]) -> None:
    a = np.array([x], np.float32)
    with np.errstate(all="ignore"):
        ours = LAYERS[name].scratch(4, np.random.default_rng(0), np.float32).forward(a)
    np.testing.assert_array_equal(ours, np.array([expected], np.float32))
    theirs = LAYERS[name].torch(4)(torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-37)


def test_a_gelu_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="got approximate='sigmoid', expected 'none' or 'tanh'"):
        GELU("sigmoid")


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 3)])
def test_a_linear_layer_without_size_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"Linear {sizes[0]} -> {sizes[1]}: both sizes must be at least 1"):
        Linear(*sizes, rng=np.random.default_rng(0))
