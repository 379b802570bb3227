"""Every layer: its values against torch and finite differences, its contract, and what it refuses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import scratch
import torch_ref.attention as torch_attention
import torch_ref.recurrent as torch_recurrent
from compare.numbers.allowance import Precision
from compare.numbers.expected import Expected
from compare.operations import LAYERS as LAYERS_KNOWN
from scratch import (
    ELU,
    GELU,
    GRU,
    LSTM,
    RNN,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    LastStep,
    Layer,
    LayerError,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ReLU,
    SelfAttention,
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
    """One layer on both sides, from n columns or channels, by what name the reference knows it, and what it takes."""

    kind: str
    scratch: Callable[[int, np.random.Generator, type], Layer]
    torch: Callable[[int], nn.Module]
    shape: tuple[int, ...] = (7, 5)
    least: int = 1  # samples

    @property
    def draws(self) -> "dict[str, Callable[[np.random.Generator], np.ndarray]]":
        """Of rows, of sequences or of images."""
        return {2: INPUTS, 3: OF_SEQUENCES, 4: OF_IMAGES}[len(self.shape)]


def columns(shape: tuple[int, ...]) -> int:
    """Columns or channels: of sequences the last axis."""
    return shape[2] if len(shape) == 3 else shape[1]


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
    "log_softmax": Subject("log_softmax", lambda n, rng, dtype: LogSoftmax(), lambda n: nn.LogSoftmax(dim=1)),
    "softmax": Subject("softmax", lambda n, rng, dtype: Softmax(), lambda n: nn.Softmax(dim=1)),
}
IMAGES = (3, 4, 7, 5)  # samples, channels, height, width


def conv(size: Any, **options: Any) -> Subject:
    """From n to 6 channels."""

    def ours(n: int, rng: np.random.Generator, dtype: type) -> Layer:
        return Conv2d(n, 6, size, **options, rng=rng, weight_init=normal(0.7), bias_init=normal(0.3), dtype=dtype)

    return Subject("conv2d", ours, lambda n: nn.Conv2d(n, 6, size, **options), IMAGES)


def pooling(kind: str, ours: type[Layer], theirs: type[nn.Module], *sizes: Any, **options: Any) -> Subject:
    return Subject(kind, lambda n, rng, dtype: ours(*sizes, **options), lambda n: theirs(*sizes, **options), IMAGES)


LAYERS |= {
    "conv2d": conv(3),
    "conv2d without bias": conv(3, bias=False),
    "conv2d of one element": conv(1),
    "conv2d, padding": conv(3, padding=1),
    "conv2d, stride": conv((3, 2), stride=2),
    "conv2d, stride and padding": conv(3, stride=(3, 2), padding=(1, 2)),
    "conv2d, stride beyond the filter": conv(2, stride=3),
    "conv2d, dilation": conv((3, 2), dilation=2, padding=(0, 1)),
    "conv2d, stride and dilation": conv((2, 3), stride=(3, 2), dilation=(3, 1), padding=1),
    "conv2d, groups": conv(3, groups=2, padding=1),
    "conv2d of all the image": conv((7, 5)),
    "flatten": Subject("flatten", lambda n, rng, dtype: Flatten(), lambda n: nn.Flatten(), IMAGES),
    "flatten of rows": Subject("flatten", lambda n, rng, dtype: Flatten(), lambda n: nn.Flatten()),
    "relu of images": Subject("relu", lambda n, rng, dtype: ReLU(), lambda n: nn.ReLU(), IMAGES),
    "tanh of images": Subject("tanh", lambda n, rng, dtype: Tanh(), lambda n: nn.Tanh(), IMAGES),
    "max_pool2d": pooling("max_pool2d", MaxPool2d, nn.MaxPool2d, 2),
    "max_pool2d, overlapping": pooling("max_pool2d", MaxPool2d, nn.MaxPool2d, 3, stride=(2, 1)),
    "max_pool2d, padding": pooling("max_pool2d", MaxPool2d, nn.MaxPool2d, (3, 2), stride=2, padding=1),
    "max_pool2d, gaps": pooling("max_pool2d", MaxPool2d, nn.MaxPool2d, (2, 1), stride=3),
    "avg_pool2d": pooling("avg_pool2d", AvgPool2d, nn.AvgPool2d, 2),
    "avg_pool2d, overlapping": pooling("avg_pool2d", AvgPool2d, nn.AvgPool2d, 3, stride=(2, 1)),
    "avg_pool2d, padding": pooling("avg_pool2d", AvgPool2d, nn.AvgPool2d, (3, 2), stride=2, padding=1),
    "avg_pool2d, padding left out": pooling(
        "avg_pool2d", AvgPool2d, nn.AvgPool2d, 3, stride=2, padding=1, count_include_pad=False
    ),
}


def layer_norm(n: int, rng: np.random.Generator, dtype: type) -> Layer:
    return LayerNorm(n, 1e-3, rng=rng, weight_init=normal(0.7), bias_init=normal(0.3), dtype=dtype)


def batch_norm(
    kind: str, ours: type[Layer], theirs: type[nn.Module], shape: tuple[int, ...], **options: Any
) -> Subject:
    """With running statistics that are not those of a new one."""

    def make(n: int, rng: np.random.Generator, dtype: type) -> Layer:
        drawn = {"weight_init": normal(0.7), "bias_init": normal(0.3)}
        layer: Any = ours(n, **options, **drawn, rng=rng, dtype=dtype)
        layer.running_mean, layer.running_var = rng.normal(size=n).astype(dtype), rng.uniform(0.5, 2, n).astype(dtype)
        return layer

    return Subject(kind, make, lambda n: theirs(n, **options), shape, least=2)


LAYERS |= {
    "layer_norm": Subject("layer_norm", layer_norm, lambda n: nn.LayerNorm(n, 1e-3)),
    "layer_norm without bias": Subject(
        "layer_norm",
        lambda n, rng, dtype: LayerNorm(n, bias=False, rng=rng, weight_init=normal(0.7), dtype=dtype),
        lambda n: nn.LayerNorm(n, bias=False),
    ),
    "batch_norm1d": batch_norm("batch_norm1d", BatchNorm1d, nn.BatchNorm1d, (7, 5), eps=1e-3, momentum=0.3),
    "batch_norm1d without bias": batch_norm("batch_norm1d", BatchNorm1d, nn.BatchNorm1d, (7, 5), bias=False),
    "batch_norm1d without parameters": batch_norm("batch_norm1d", BatchNorm1d, nn.BatchNorm1d, (7, 5), affine=False),
    "batch_norm2d": batch_norm("batch_norm2d", BatchNorm2d, nn.BatchNorm2d, IMAGES, eps=1e-3, momentum=0.3),
    "batch_norm2d without parameters": batch_norm("batch_norm2d", BatchNorm2d, nn.BatchNorm2d, IMAGES, affine=False),
    "layer_norm without parameters": Subject(
        "layer_norm",
        lambda n, rng, dtype: LayerNorm(n, elementwise_affine=False, dtype=dtype),
        lambda n: nn.LayerNorm(n, elementwise_affine=False),
    ),
}

SEQUENCES = (3, 6, 4)  # samples, time, columns


def recurrent(kind: str, **options: Any) -> Subject:
    """From n columns to 5."""
    ours, theirs = (getattr(of, kind) for of in (scratch, torch_recurrent))

    def layer(n: int, rng: np.random.Generator, dtype: type) -> Layer:
        made: Layer = ours(
            n, 5, **options, batch_first=True, rng=rng, weight_init=normal(0.4), bias_init=normal(0.3), dtype=dtype
        )
        return made

    return Subject(kind.lower(), layer, lambda n: theirs(n, 5, **options, batch_first=True), SEQUENCES)


def attending(columns_as_heads: bool = False, **options: Any) -> Subject:
    """Of 2 heads where 2 divides n."""

    def heads(n: int) -> int:
        return n if columns_as_heads else 2 - n % 2

    def layer(n: int, rng: np.random.Generator, dtype: type) -> Layer:
        drawn = {"rng": rng, "weight_init": normal(0.4), "bias_init": normal(0.3), "dtype": dtype}
        return SelfAttention(n, heads(n), **options, **drawn)

    return Subject("self_attention", layer, lambda n: torch_attention.SelfAttention(n, heads(n), **options), SEQUENCES)


LAYERS |= {
    "rnn": recurrent("RNN"),
    "rnn of relu": recurrent("RNN", nonlinearity="relu"),
    "rnn without bias": recurrent("RNN", bias=False),
    "lstm": recurrent("LSTM"),
    "lstm without bias": recurrent("LSTM", bias=False),
    "gru": recurrent("GRU"),
    "gru without bias": recurrent("GRU", bias=False),
    "attention": attending(),
    "attention without bias": attending(bias=False),
    "attention, causal": attending(causal=True),
    "attention, a head a column": attending(columns_as_heads=True, causal=True),
    "last_step": Subject(
        "last_step", lambda n, rng, dtype: LastStep(), lambda n: torch_recurrent.LastStep(), SEQUENCES
    ),
    "linear of sequences": Subject("linear", linear, lambda n: nn.Linear(n, OUT), SEQUENCES),
    "linear of sequences, without bias": Subject(
        "linear",
        lambda n, rng, dtype: linear(n, rng, dtype, bias=False),
        lambda n: nn.Linear(n, OUT, bias=False),
        SEQUENCES,
    ),
    "relu of sequences": Subject("relu", lambda n, rng, dtype: ReLU(), lambda n: nn.ReLU(), SEQUENCES),
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
OF_IMAGES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "plain": lambda rng: rng.standard_normal(IMAGES),
    "one row": lambda rng: rng.standard_normal((1, 4, 7, 6)),
    "long sums": lambda rng: rng.standard_normal((30, 8, 7, 10)),
    "kinks": lambda rng: rng.choice([-1.0, -0.0, 0.0, 1.0], IMAGES),
    "equal": lambda rng: np.full(IMAGES, 0.75),
    "negative": lambda rng: -1 - rng.random(IMAGES),
    "tiny": lambda rng: 1e-8 * rng.standard_normal(IMAGES),
    "large": lambda rng: 1e3 * rng.standard_normal(IMAGES),
    "huge": lambda rng: 1e8 * rng.standard_normal(IMAGES),
    "subnormal": lambda rng: 1e-42 * rng.standard_normal(IMAGES),
}
OF_SEQUENCES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "plain": lambda rng: rng.standard_normal(SEQUENCES),
    "one row": lambda rng: rng.standard_normal((1, 6, 4)),
    "one step": lambda rng: rng.standard_normal((3, 1, 4)),
    "one number": lambda rng: rng.standard_normal((1, 1, 1)),
    "long": lambda rng: rng.standard_normal((20, 40, 30)),
    "kinks": lambda rng: rng.choice([-1.0, -0.0, 0.0, 1.0], SEQUENCES),
    "zero": lambda rng: np.zeros(SEQUENCES),
    "equal": lambda rng: np.full(SEQUENCES, 0.75),
    "tiny": lambda rng: 1e-8 * rng.standard_normal(SEQUENCES),
    "large": lambda rng: 1e3 * rng.standard_normal(SEQUENCES),
    "huge": lambda rng: 1e8 * rng.standard_normal(SEQUENCES),
    "subnormal": lambda rng: 1e-42 * rng.standard_normal(SEQUENCES),
}
DRAWN = [
    pytest.param(subject, draw, id=f"{name}-{inputs}")
    for name, subject in LAYERS.items()
    for inputs, draw in subject.draws.items()
    if len(subject.shape) > 2 or len(draw(np.random.default_rng(0))) >= subject.least
]


def on_scratch(layer: Layer, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    y = layer.forward(x)
    dx = layer.backward(dy)
    running = {f"new_{name}": b for name, b in layer.buffers.items()}
    return {"output": y, "grad_input": dx} | {f"grad_{name}": g for name, g in layer.grads.items()} | running


def on_torch(module: nn.Module, layer: Layer, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    module.to(torch.from_numpy(x).dtype)
    dotted = {name.replace(".", "_"): name for name in module.state_dict()}
    arrays = layer.params | layer.buffers
    ours = {dotted[name]: torch.from_numpy(p.copy()) for name, p in arrays.items()}
    counts = {name: b for name, b in module.named_buffers() if name not in ours}
    module.load_state_dict(ours | counts)
    at = torch.from_numpy(x.copy()).requires_grad_()
    y = module(at)
    y.backward(torch.from_numpy(dy.copy()))
    grads = {f"grad_{name.replace('.', '_')}": p.grad.numpy() for name, p in module.named_parameters()}
    running = {f"new_{name}": b.numpy() for name, b in module.named_buffers() if name in ours}
    return {"output": y.detach().numpy(), "grad_input": at.grad.numpy()} | grads | running


def expected(kind: str, layer: Layer, x: np.ndarray, dy: np.ndarray) -> dict[str, Expected]:
    known = LAYERS_KNOWN[kind].of(layer, "layer 0")
    arrays = layer.params | layer.buffers | {"input": x, "grad_output": dy}
    letters = {letter: arrays.get(part) for letter, part in known.letters.items()}
    letters = {name: a.astype(np.float64) for name, a in letters.items() if a is not None}
    p, parts = Precision.of(x.dtype), known.computed.items()
    return {name: getattr(known, name)(*(letters[letter] for letter in part.letters), p=p) for name, part in parts}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("subject", "draw"), DRAWN)
def test_forward_and_backward_are_right_on_both_sides(subject: Subject, draw: Any, dtype: type) -> None:
    rng = np.random.default_rng(11)
    x = draw(rng).astype(dtype)
    layer = subject.scratch(columns(x.shape), rng, dtype)
    dy = rng.standard_normal(layer.forward(x).shape).astype(dtype)
    wanted = expected(subject.kind, layer, x, dy)
    for side, got in {
        "torch": on_torch(subject.torch(columns(x.shape)), layer, x, dy),  # first: running statistics change in scratch
        "scratch": on_scratch(layer, x, dy),
    }.items():
        assert got.keys() == wanted.keys()
        for tensor, value in wanted.items():
            assert_within(f"{side} {subject.kind} {tensor}", got[tensor], value, dtype)


# --- finite differences -----------------------------------------------------------------------------------------------


def smooth(layer: Layer, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Inputs of ordinary size, and away from kinks: from 0 for ReLU, and from each other for a maximum."""
    x = rng.standard_normal(shape)
    if isinstance(layer, MaxPool2d):
        return 0.05 * rng.permutation(x.size).reshape(shape)
    return np.where(np.abs(x) < 0.1, 0.5, x) if isinstance(layer, ReLU) else x


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_derivative_by_finite_differences(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = LAYERS[name].shape
    layer = LAYERS[name].scratch(columns(shape), rng, np.float64)
    x = smooth(layer, shape, rng)
    y = layer.forward(x)
    dy = rng.standard_normal(y.shape)
    away = float(np.abs(y * dy).sum())  # from 0: where terms cancel, their sum is smaller than its roundings say
    dx = layer.backward(dy)
    grads = dict(layer.grads)
    assert_derivative(lambda a: away + float((layer.forward(a) * dy).sum()), x, dx, rng.standard_normal(x.shape))
    for key, p in list(layer.params.items()):

        def moved(a: np.ndarray, key: str = key) -> float:
            layer.params[key] = a
            return away + float((layer.forward(x) * dy).sum())

        assert_derivative(moved, p, grads[key], rng.standard_normal(p.shape))
        layer.params[key] = p


# --- the contract of a layer ------------------------------------------------------------------------------------------


def chain() -> Sequential:
    return Sequential(linear(5, np.random.default_rng(4), np.float32), Tanh(), Softmax())


def shape_of(name: str) -> tuple[int, ...]:
    return (7, 5) if name == "sequential" else LAYERS[name].shape


def made(name: str) -> Layer:
    """A layer that has not run yet."""
    rng = np.random.default_rng(3)
    return chain() if name == "sequential" else LAYERS[name].scratch(columns(shape_of(name)), rng, np.float32)


each_layer = pytest.mark.parametrize("name", [*LAYERS, "sequential"])


def ran(name: str) -> tuple[Layer, np.ndarray, np.ndarray, np.ndarray]:
    """A layer that has run forward: the layer, x, y and some dy."""
    rng, layer = np.random.default_rng(5), made(name)
    x = rng.standard_normal(shape_of(name)).astype(np.float32)
    y = layer.forward(x)
    return layer, x, y, rng.standard_normal(y.shape).astype(np.float32)


@each_layer
def test_backward_before_forward_is_an_error(name: str) -> None:
    said = r"(\w+ . -> .|Conv2d 4 -> 6, . x .|\w+Norm\w* [45]|\w+): backward was called before for"
    with pytest.raises(RuntimeError, match=said):
        made(name).backward(np.zeros((7, 5), np.float32))


@each_layer
def test_backward_changes_neither_its_argument_nor_x_nor_what_forward_kept(name: str) -> None:
    layer, x, y, dy = ran(name)
    before = [a.tobytes() for a in (x, y, dy, *layer.params.values())]
    first = layer.backward(dy).tobytes(), {name: g.tobytes() for name, g in layer.grads.items()}
    assert [a.tobytes() for a in (x, y, dy, *layer.params.values())] == before
    second = layer.backward(dy).tobytes(), {name: g.tobytes() for name, g in layer.grads.items()}
    assert first == second


@each_layer
def test_returned_arrays_are_the_callers(name: str) -> None:
    layer, x, y, dy = ran(name)
    given = x.tobytes()
    first = layer.backward(dy)
    wanted = first.tobytes()
    grads = {name: g.copy() for name, g in layer.grads.items()}
    for mine in (y, first, *layer.grads.values()):
        mine += 1
    assert layer.backward(dy).tobytes() == wanted
    assert all(np.array_equal(g, grads[name]) for name, g in layer.grads.items())
    assert layer.forward(x) is not y
    assert x.tobytes() == given


@each_layer
def test_parameters_and_gradients_have_the_same_keys_shapes_and_dtypes(name: str) -> None:
    layer, _, _, dy = ran(name)
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
            ("forward", np.zeros(5, np.float32), r"got \(5,\), expected \(m, m"),
            ("forward", np.zeros((7, 5), int), "got int64, expected a floating-point array"),
            ("backward", np.zeros((5, 7), np.float32), r"got \(5, 7\), expected \(7, 5\)"),
            ("backward", np.zeros((7, 1), np.float32), r"got \(7, 1\), expected \(7, 5\)"),
            ("backward", np.zeros((7, 5)), "got float64, expected float32"),
        ]
        for name in (
            *("relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "softplus", "sigmoid", "tanh", "softmax"),
            "log_softmax",
        )
    },
    "conv2d": [
        ("forward", np.zeros((3, 5, 7, 5), np.float32), r"got \(3, 5, 7, 5\), expected \(m, 4, m, m\)"),
        ("forward", np.zeros((3, 140), np.float32), r"got \(3, 140\), expected \(m, 4, m, m\)"),
        ("forward", np.zeros(IMAGES), "got float64, expected float32"),
        ("forward", np.zeros((3, 4, 7, 2), np.float32), r"got \(3, 4, 7, 2\), expected images of at least 3 x 3"),
        ("backward", np.zeros((3, 6, 5, 4), np.float32), r"got \(3, 6, 5, 4\), expected \(3, 6, 5, 3\)"),
        ("backward", np.zeros((3, 6, 5, 3)), "got float64, expected float32"),
    ],
    "batch_norm1d": [
        ("forward", np.zeros((7, 6), np.float32), r"got \(7, 6\), expected \(m, 5\)"),
        ("forward", np.zeros((7, 6, 2), np.float32), r"got \(7, 6, 2\), expected \(m, 5, m\)"),
        ("forward", np.zeros((7, 5, 2, 2), np.float32), r"got \(7, 5, 2, 2\), expected \(m, 5\)"),
        ("forward", np.zeros((7, 5)), "got float64, expected float32"),
        ("forward", np.zeros((1, 5), np.float32), r"got \(1, 5\), expected more than 1 value per channel when train"),
        ("backward", np.zeros((1, 5), np.float32), r"got \(1, 5\), expected \(7, 5\)"),
    ],
    "batch_norm2d": [
        ("forward", np.zeros((3, 5, 7, 5), np.float32), r"got \(3, 5, 7, 5\), expected \(m, 4, m, m\)"),
        ("forward", np.zeros((3, 4), np.float32), r"got \(3, 4\), expected \(m, 4, m, m\)"),
        ("forward", np.zeros((1, 4, 1, 1), np.float32), "expected more than 1 value per channel when training"),
        ("backward", np.zeros(IMAGES), "got float64, expected float32"),
    ],
    "layer_norm": [
        ("forward", np.zeros((7, 6), np.float32), r"got \(7, 6\), expected \(m, 5\)"),
        ("forward", np.zeros(5, np.float32), r"got \(5,\), expected \(m, 5\)"),
        ("forward", np.zeros((7, 5)), "got float64, expected float32"),
        ("backward", np.zeros((1, 5), np.float32), r"got \(1, 5\), expected \(7, 5\)"),
        ("backward", np.zeros((7, 5)), "got float64, expected float32"),
    ],
    "flatten": [
        ("forward", np.zeros(5, np.float32), r"got \(5,\), expected \(m, m, \.\.\.\)"),
        ("backward", np.zeros((3, 139), np.float32), r"got \(3, 139\), expected \(3, 140\)"),
    ],
    **{
        name: [
            ("forward", np.zeros((3, 140), np.float32), r"got \(3, 140\), expected \(m, m, m, m\)"),
            ("forward", np.zeros((3, 4, 1, 5), np.float32), "expected images of at least 2 x 2, padding included"),
            ("backward", np.zeros((3, 4, 3, 3), np.float32), r"got \(3, 4, 3, 3\), expected \(3, 4, 3, 2\)"),
            ("backward", np.zeros((3, 4, 3, 2)), "got float64, expected float32"),
        ]
        for name in ("max_pool2d", "avg_pool2d")
    },
    **{
        name: [
            ("forward", np.zeros((3, 6, 5), np.float32), r"got \(3, 6, 5\), expected \(m, m, 4\)"),
            ("forward", np.zeros((3, 4), np.float32), r"got \(3, 4\), expected \(m, m, 4\)"),
            ("forward", np.zeros(SEQUENCES), "got float64, expected float32"),
            ("backward", np.zeros((3, 5), np.float32), r"got \(3, 5\), expected \(3, 6, 5\)"),
            ("backward", np.zeros((3, 6, 5)), "got float64, expected float32"),
        ]
        for name in ("rnn", "lstm", "gru")
    },
    "attention": [
        ("forward", np.zeros((3, 6, 5), np.float32), r"got \(3, 6, 5\), expected \(m, m, 4\)"),
        ("forward", np.zeros((3, 4), np.float32), r"got \(3, 4\), expected \(m, m, 4\)"),
        ("forward", np.zeros(SEQUENCES), "got float64, expected float32"),
        ("backward", np.zeros((3, 5, 4), np.float32), r"got \(3, 5, 4\), expected \(3, 6, 4\)"),
        ("backward", np.zeros(SEQUENCES), "got float64, expected float32"),
    ],
    "last_step": [
        ("forward", np.zeros((3, 4), np.float32), r"got \(3, 4\), expected \(m, m, m\)"),
        ("backward", np.zeros((3, 6, 4), np.float32), r"got \(3, 6, 4\), expected \(3, 4\)"),
    ],
}


@pytest.mark.parametrize(
    ("name", "method", "wrong", "message"),
    [pytest.param(name, *row, id=f"{name}-{row[2]}") for name, rows in WRONG.items() for row in rows],
)
def test_what_a_layer_refuses(name: str, method: str, wrong: np.ndarray, message: str) -> None:
    layer = ran(name)[0]
    with pytest.raises(LayerError, match=message):
        getattr(layer, method)(wrong)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_derivative_of_relu_at_zero_is_zero(dtype: type) -> None:
    x = np.array([[-1.0, -0.0, 0.0, 1.0]], dtype)
    layer = ReLU()
    layer.forward(x)
    dy = np.array([[3.0, 5.0, 7.0, 11.0]], dtype)
    assert layer.backward(dy).tolist() == [[0, 0, 0, 11]]


@pytest.mark.parametrize(
    "layer", [Sigmoid(), Tanh(), Softmax(), LogSoftmax(), ELU(), SiLU(), GELU(), GELU("tanh"), Softplus()]
)
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


WRONG_SIZES = [
    (
        lambda: Conv2d(3, 4, 3, groups=2, rng=np.random.default_rng(0)),
        r"Conv2d 3 -> 4: groups=2, expected .* divide both",
    ),
    (lambda: Conv2d(0, 4, 3, rng=np.random.default_rng(0)), "Conv2d 0 -> 4: groups=1, expected numbers of at least 1"),
    (
        lambda: Conv2d(3, 4, 0, rng=np.random.default_rng(0)),
        "kernel_size: got 0, expected a whole number of at least 1",
    ),
    (lambda: Conv2d(3, 4, 3, padding=(1, -1), rng=np.random.default_rng(0)), r"padding: got \(1, -1\), expected"),
    (lambda: RNN(0, 4, rng=np.random.default_rng(0)), "RNN 0 -> 4: both sizes must be at least 1"),
    (lambda: LSTM(3, 0, rng=np.random.default_rng(0)), "LSTM 3 -> 0: both sizes must be at least 1"),
    (lambda: GRU(3, -1, rng=np.random.default_rng(0)), "GRU 3 -> -1: both sizes must be at least 1"),
    (
        lambda: RNN(3, 4, "sigmoid", rng=np.random.default_rng(0)),
        "RNN: got nonlinearity='sigmoid', expected 'tanh' or 'relu'",
    ),
    (
        lambda: SelfAttention(0, rng=np.random.default_rng(0)),
        "SelfAttention: got embed_dim=0, num_heads=1, expected num",
    ),
    (
        lambda: SelfAttention(4, 3, rng=np.random.default_rng(0)),
        "SelfAttention: got embed_dim=4, num_heads=3, .* of which num_heads divides embed_dim",
    ),
    (lambda: MaxPool2d(2, stride=0.5), r"stride: got 0\.5, expected a whole number of at least 1, or two in a tuple"),
    (lambda: MaxPool2d(3, padding=2), "padding: got 2, expected at most half of kernel_size=3"),
    (lambda: AvgPool2d((3, 1), padding=1), r"padding: got 1, expected at most half of kernel_size=\(3, 1\)"),
]


@pytest.mark.parametrize(("make", "message"), WRONG_SIZES)
def test_sizes_that_fit_nothing_are_refused(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (MaxPool2d(2), "MaxPool2d(2)"),
        (MaxPool2d((3, 2), stride=1, padding=1), "MaxPool2d((3, 2), stride=1, padding=1)"),
        (AvgPool2d(3, count_include_pad=False), "AvgPool2d(3, count_include_pad=False)"),
        (Flatten(), "Flatten()"),
        (LastStep(), "LastStep()"),
        (
            RNN(2, 3, "relu", bias=False, batch_first=True, rng=np.random.default_rng(0)),
            "RNN(2, 3, nonlinearity='relu', bias=False, batch_first=True, dtype=float32)",
        ),
        (
            SelfAttention(4, 2, bias=False, causal=True, rng=np.random.default_rng(0)),
            "SelfAttention(4, num_heads=2, bias=False, causal=True, dtype=float32)",
        ),
        (SelfAttention(3, rng=np.random.default_rng(0)), "SelfAttention(3, dtype=float32)"),
        (LSTM(2, 3, rng=np.random.default_rng(0)), "LSTM(2, 3, dtype=float32)"),
        (
            Conv2d(
                2, 4, (3, 1), stride=2, padding=(1, 0), dilation=2, groups=2, bias=False, rng=np.random.default_rng(0)
            ),
            "Conv2d(2, 4, (3, 1), stride=2, padding=(1, 0), dilation=2, groups=2, bias=False, dtype=float32)",
        ),
    ],
)
def test_a_layer_of_images_or_sequences_is_shown_as_it_is_typed(layer: Layer, said: str) -> None:
    assert repr(layer) == said


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (LayerNorm(5, bias=False), "LayerNorm(5, bias=False, dtype=float32)"),
        (BatchNorm1d(5, 1e-3, 0.2, bias=False), "BatchNorm1d(5, eps=0.001, momentum=0.2, bias=False, dtype=float32)"),
        (BatchNorm2d(5, affine=False), "BatchNorm2d(5, affine=False, dtype=float32)"),
        (LayerNorm((3, 4), 1e-3, False, dtype=np.float64), "LayerNorm((3, 4), eps=0.001, elementwise_affine=False, "),
    ],
)
def test_a_normalisation_is_shown_as_it_is_typed(layer: Layer, said: str) -> None:
    assert repr(layer).startswith(said)


@pytest.mark.parametrize("shape", [0, (), (3, 0)])
def test_a_layer_norm_without_size_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"LayerNorm: got normalized_shape=.*, expected sizes of at least 1"):
        LayerNorm(shape)


@pytest.mark.parametrize("kind", [BatchNorm1d, BatchNorm2d])
def test_a_batch_norm_without_channels_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"BatchNorm[12]d: got num_features=0, expected at least 1"):
        kind(0)


OF_BATCHES = {"rows": (7, 5), "rows of positions": (7, 5, 3), "images": (3, 5, 4, 2)}


@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 1e-3}, {"affine": False}, {"bias": False}], ids=str)
@pytest.mark.parametrize("inputs", OF_BATCHES)
def test_a_batch_norm_is_torchs_in_training_and_in_evaluation(inputs: str, options: dict[str, Any]) -> None:
    """Three batches in training, then one in evaluation, in which the running statistics stay as they are."""
    rng, (ours, theirs) = np.random.default_rng(1), (BatchNorm1d, nn.BatchNorm1d)
    if inputs == "images":
        ours, theirs = BatchNorm2d, nn.BatchNorm2d
    drawn = {"weight_init": normal(0.7), "bias_init": normal(0.3), "rng": rng}
    layer = ours(5, **options, **drawn, dtype=np.float64)
    for mode in (True, True, True, False):
        x, dy = rng.normal(0.5, 2, (2, *OF_BATCHES[inputs]))
        before = {name: b.copy() for name, b in layer.buffers.items()}
        wanted = on_torch(theirs(5, **options).train(mode), layer.train(mode), x, dy)
        for name, a in on_scratch(layer, x, dy).items():
            np.testing.assert_allclose(a, wanted[name], rtol=1e-10, atol=1e-12, err_msg=name)
        assert all(np.array_equal(b, before[name]) != mode for name, b in layer.buffers.items())


def test_a_batch_of_one_is_evaluated() -> None:
    layer = BatchNorm1d(3).eval()
    x = np.array([[1, 2, 4]], np.float32)
    np.testing.assert_allclose(layer.forward(x), x / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_a_layer_norm_takes_several_axes_of_a_sample_and_samples_of_several_axes() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 2, 3, 5))
    for shape in ((5,), (3, 5), (2, 3, 5)):
        layer = LayerNorm(shape, rng=rng, weight_init=normal(0.7), bias_init=normal(0.3), dtype=np.float64)
        dy = rng.standard_normal(x.shape)
        theirs = on_torch(nn.LayerNorm(shape), layer, x, dy)
        for name, a in on_scratch(layer, x, dy).items():
            np.testing.assert_allclose(a, theirs[name], rtol=1e-10, atol=1e-12, err_msg=name)


# --- ties ---


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_equal_maxima_the_first_in_row_order_gets_the_gradient(dtype: type) -> None:
    layer = MaxPool2d((2, 3))
    layer.forward(np.array([[[[1, 2, 2], [2, 0, 2]]]], dtype))
    assert layer.backward(np.array([[[[5]]]], dtype)).tolist() == [[[[0, 5, 0], [0, 0, 0]]]]


# --- convolution, number by number ---


def by_loops(layer: Conv2d, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    """The formula as it stands in the docstring: one product at a time."""
    W, b = layer.params["weight"], layer.params.get("bias")
    (height, width), (out, per_group, kh, kw) = x.shape[2:], W.shape
    y, dW, dx = np.zeros_like(dy), np.zeros_like(W), np.zeros_like(x)
    for n, o, i, j in np.ndindex(dy.shape):
        y[n, o, i, j] = 0 if b is None else b[o]
        for c, u, v in np.ndindex(per_group, kh, kw):
            row = i * layer.stride[0] + u * layer.dilation[0] - layer.padding[0]
            column = j * layer.stride[1] + v * layer.dilation[1] - layer.padding[1]
            channel = o // (out // layer.groups) * per_group + c
            if 0 <= row < height and 0 <= column < width:
                y[n, o, i, j] += W[o, c, u, v] * x[n, channel, row, column]
                dW[o, c, u, v] += dy[n, o, i, j] * x[n, channel, row, column]
                dx[n, channel, row, column] += W[o, c, u, v] * dy[n, o, i, j]
    gradients = {"output": y, "grad_weight": dW, "grad_input": dx}
    return gradients if b is None else gradients | {"grad_bias": dy.sum(axis=(0, 2, 3))}


@pytest.mark.parametrize("name", [name for name, subject in LAYERS.items() if subject.kind == "conv2d"])
def test_a_convolution_is_its_loops(name: str) -> None:
    rng = np.random.default_rng(7)
    layer, x = LAYERS[name].scratch(4, rng, np.float64), rng.standard_normal(IMAGES)
    dy = rng.standard_normal(layer.forward(x).shape)
    got, wanted = on_scratch(layer, x, dy), by_loops(layer, x, dy)
    assert got.keys() == wanted.keys()
    for tensor, a in wanted.items():
        np.testing.assert_allclose(got[tensor], a, rtol=1e-12, atol=1e-12, err_msg=tensor)


# --- time first ---


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_without_batch_first_time_is_the_first_axis(name: str) -> None:
    ran_first, x, y, dy = ran(name)
    dx = ran_first.backward(dy)
    turned = LAYERS[name].scratch(4, np.random.default_rng(3), np.float32)
    turned.batch_first = False
    np.testing.assert_array_equal(turned.forward(x.swapaxes(0, 1).copy()), y.swapaxes(0, 1))
    np.testing.assert_array_equal(turned.backward(dy.swapaxes(0, 1).copy()), dx.swapaxes(0, 1))
    for parameter, g in ran_first.grads.items():
        np.testing.assert_array_equal(turned.grads[parameter], g)
