"""The same mathematics in other people's code: each operation of a training step in every correct form we know of.

Nothing here is taken from the project. A form is a function of the operation's inputs in one precision; `sensible`
says for which inputs a careful author would use it (e^x / (1 + e^x) not where e^x overflows). A new form costs one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import signal, special
from torch.nn import functional

from compare.numbers.allowance import Precision
from compare.numbers.expected import Expected
from compare.operations import LAYERS, LOSSES, OPTIMIZERS
from compare.operations.conv2d import Conv2d
from compare.operations.embedding import Embedding
from compare.operations.linear import Linear

Array = np.ndarray
Inputs = dict[str, Any]
Values = dict[str, Array]
EXP_RANGE = {np.dtype(np.float32): 80.0, np.dtype(np.float64): 650.0}  # e^+-x is finite and normal, and so are sums


@dataclass(frozen=True)
class Draw:
    """What inputs to draw: m samples, n columns, k outputs, their size, how they are distributed."""

    seed: int
    m: int = 7
    n: int = 5
    k: int = 3
    scale: float = 1.0
    flavour: str = "normal"

    def numbers(self, rng: np.random.Generator, *shape: int, scale: float | None = None) -> Array:
        scale = self.scale if scale is None else scale
        return scale * FLAVOURS[self.flavour](rng, shape)


FLAVOURS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.5, 1, shape),
    "equal": lambda rng, shape: np.full(shape, rng.uniform(0.5, 2)),
    "ties": lambda rng, shape: rng.integers(-4, 5, shape) / 4,
    "ramp": lambda rng, shape: np.linspace(-1, 1, int(np.prod(shape))).reshape(shape) + rng.uniform(0, 0.1),
    "one ahead": lambda rng, shape: np.where(np.arange(shape[-1]) == 0, 1.0, rng.uniform(0, 1)) * np.ones(shape),
    "mixed": lambda rng, shape: rng.standard_normal(shape) * 10 ** rng.uniform(-5, 0, shape),
}


@dataclass(frozen=True)
class Form:
    """One way to write an operation, and for which inputs."""

    compute: Callable[..., Any]
    sensible: Callable[[Inputs], bool] = lambda inputs: True


@dataclass(frozen=True)
class Operation:
    """An operation: how its inputs are drawn (in float64, cast after), what it should be, and its forms."""

    draw: Callable[[np.random.Generator, Draw], Inputs]
    expected: Callable[..., Expected | dict[str, Expected]]
    forms: Mapping[str, Form | Callable[..., Any]] = field(default_factory=dict)

    def inputs(self, draw: Draw, dtype: type) -> Inputs:
        drawn = self.draw(np.random.default_rng(draw.seed), draw)
        return {name: cast(a, dtype) for name, a in drawn.items()}

    def wanted(self, inputs: Inputs, dtype: type) -> dict[str, Expected]:
        with np.errstate(all="ignore"):
            found = self.expected(**{n: cast(a, np.float64) for n, a in inputs.items()}, p=Precision.of(dtype))
        return found if isinstance(found, dict) else {"": found}

    def results(self, inputs: Inputs) -> dict[str, Values]:
        """By form: its results, for the forms that are sensible here."""
        found = {}
        for name, row in self.forms.items():
            form = row if isinstance(row, Form) else Form(row)
            if form.sensible(inputs):
                with np.errstate(all="ignore"):
                    value = form.compute(**{n: copied(a) for n, a in inputs.items()})
                values = value if isinstance(value, dict) else {"": value}
                found[name] = {part: np.asarray(a) for part, a in values.items()}
        return found


def cast(a: Any, dtype: type) -> Any:
    if isinstance(a, dict):
        return {name: cast(b, dtype) for name, b in a.items()}
    return a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


def copied(a: Any) -> Any:
    if isinstance(a, dict):
        return {name: copied(b) for name, b in a.items()}
    return a.copy() if isinstance(a, np.ndarray) else a


def tensor(a: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a))


def gradient(f: Callable[[torch.Tensor], torch.Tensor], x: Array, dy: Array | None = None) -> Array:
    at = tensor(x).requires_grad_()
    y = f(at)
    y.backward(None if dy is None else tensor(dy))
    return at.grad.numpy()


# --- dropout ---------------------------------------------------------------------------------------------------------

SHARE = 0.3  # dropped
DROPOUT = {
    "x mask / (1 - p)": lambda x, mask: x * mask / x.dtype.type(1 - SHARE),
    "1 - p in the precision of x": lambda x, mask: x * mask / (1 - x.dtype.type(SHARE)),
    "x (mask / (1 - p))": lambda x, mask: x * (mask / x.dtype.type(1 - SHARE)),
    "reciprocal": lambda x, mask: mask * x * (1 / (1 - x.dtype.type(SHARE))),
    "scaled first": lambda x, mask: x / x.dtype.type(1 - SHARE) * mask,
    "selected": lambda x, mask: np.where(mask != 0, x * x.dtype.type(1 / (1 - SHARE)), 0).astype(x.dtype),
    "torch": lambda x, mask: (tensor(x) * tensor(mask).div_(1 - SHARE)).numpy(),
}
DROPOUT_MASK = {
    "mask / (1 - p)": lambda mask: (mask != 0).astype(mask.dtype) / mask.dtype.type(1 - SHARE),
    "1 - p in the precision of x": lambda mask: (mask != 0) / (1 - mask.dtype.type(SHARE)),
    "reciprocal": lambda mask: (mask != 0) * mask.dtype.type(1 / (1 - SHARE)),
}


def draw_x_and_mask(rng: np.random.Generator, d: Draw) -> Inputs:
    """Of ones; about as many as p says."""
    kept = rng.permutation(np.arange(d.m * d.n) >= SHARE * d.m * d.n).reshape(d.m, d.n)
    return {"x": d.numbers(rng, d.m, d.n), "mask": kept.astype(float)}


def draw_mask(rng: np.random.Generator, d: Draw) -> Inputs:
    return {"mask": draw_x_and_mask(rng, d)["mask"] / (1 - SHARE)}


# --- sums ------------------------------------------------------------------------------------------------------------


def sequentially(terms: Array) -> Array:
    """Over the first axis, one after the other."""
    return np.add.accumulate(terms, axis=0)[-1]


def pairwise(terms: Array) -> Array:
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return pairwise(terms[:half]) + pairwise(terms[half:])


def blocked(terms: Array, size: int = 8) -> Array:
    return sequentially(np.stack([sequentially(terms[i : i + size]) for i in range(0, len(terms), size)]))


def strided(terms: Array, lanes: int = 4) -> Array:
    """As a vector unit does: every lane its own sum, the lanes last."""
    return sequentially(np.stack([sequentially(terms[i::lanes]) for i in range(min(lanes, len(terms)))]))


def largest_first(terms: Array) -> Array:
    return sequentially(np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=0), axis=0))


SUMS: dict[str, Callable[[Array], Array]] = {
    "sum": lambda a: a.sum(axis=0),
    "sequential": sequentially,
    "reversed": lambda a: sequentially(a[::-1]),
    "pairwise": pairwise,
    "blocked": blocked,
    "strided": strided,
    "largest first": largest_first,
    "ones @": lambda a: (np.ones((1, len(a)), a.dtype) @ a.reshape(len(a), -1)).reshape(a.shape[1:]),
    "torch": lambda a: tensor(a).sum(dim=0).numpy(),
    "mean times m": lambda a: a.mean(axis=0) * len(a),
    "divided by m first": lambda a: (a / a.dtype.type(len(a))).sum(axis=0) * len(a),
}


def terms_of(a: Array, b: Array) -> Array:
    """The products of a b^T, a (m, k), b (n, k): (k, m, n)."""
    return a.T[:, :, None] * b.T[:, None, :]


def fused_multiply_add(a: Array, b: Array) -> Array:
    """Products are not rounded before they are added."""
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    total = np.zeros((len(a), len(b)), a.dtype)
    for i in range(a.shape[1]):
        total = (total.astype(wide) + a[:, i, None].astype(wide) * b[None, :, i]).astype(a.dtype)
    return total


PRODUCTS: dict[str, Callable[[Array, Array], Array]] = {
    "@": lambda a, b: a @ b.T,
    "einsum": lambda a, b: np.einsum("ik,jk->ij", a, b),
    "torch": lambda a, b: (tensor(a) @ tensor(b).T).numpy(),
    "fused multiply-add": fused_multiply_add,
    "scaled first": lambda a, b: (a / a.dtype.type(len(b))) @ b.T * a.dtype.type(len(b)),
    "scaled last": lambda a, b: (a * a.dtype.type(len(b))) @ b.T / a.dtype.type(len(b)),
    **{name: lambda a, b, f=f: f(terms_of(a, b)) for name, f in SUMS.items() if name not in ("ones @", "torch")},
}


def with_bias(weight: Array, x: Array, bias: Array) -> Array:
    total = np.broadcast_to(bias, (len(x), len(weight))).copy()
    for i in range(x.shape[1]):
        total += x[:, i, None] * weight[None, :, i]
    return total


def is_normal(inputs: Inputs) -> bool:
    """No input is so small that a division takes digits from it."""
    arrays = [a for a in inputs.values() if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    return all(np.abs(a[a != 0]).min(initial=np.inf) > 1e6 * np.finfo(a.dtype).tiny for a in arrays)


def product(compute: Callable[..., Array], name: str) -> Form:
    return Form(compute, is_normal if name in ("scaled first", "divided by m first") else lambda inputs: True)


LINEAR = {
    **{name: product(lambda x, weight, bias, f=f: f(x, weight) + bias, name) for name, f in PRODUCTS.items()},
    "bias first": lambda x, weight, bias: with_bias(weight, x, bias),
    "column of ones": lambda x, weight, bias: (
        np.hstack([x, np.ones((len(x), 1), x.dtype)]) @ np.hstack([weight, bias[:, None]]).T
    ),
    "torch linear": lambda x, weight, bias: functional.linear(*map(tensor, (x, weight, bias))).numpy(),
}

# --- convolution and pooling -----------------------------------------------------------------------------------------

STRIDE, PADDING, KERNEL, IMAGE = (2, 1), (1, 1), (3, 2), (4, 3)
ELEMENTS = KERNEL[0] * KERNEL[1]


def padded(x: Array, fill: float = 0.0) -> Array:
    return np.pad(x, [(0, 0), (0, 0), *((n, n) for n in PADDING)], constant_values=fill)


def windows(x: Array, fill: float = 0.0) -> Array:
    """(m, channels, down, across, kh, kw)."""
    seen = np.lib.stride_tricks.sliding_window_view(padded(x, fill), KERNEL, axis=(2, 3))
    return seen[:, :, :: STRIDE[0], :: STRIDE[1]]


def added_up(a: Array, shape: tuple[int, ...], by_window: bool = False) -> Array:
    """From windows (m, channels, down, across, kh, kw) to images of this shape."""
    total = padded(np.zeros(shape, a.dtype))
    down, across = a.shape[2:4]
    if by_window:
        for i, j in np.ndindex(down, across):
            row, column = i * STRIDE[0], j * STRIDE[1]
            total[:, :, row : row + KERNEL[0], column : column + KERNEL[1]] += a[:, :, i, j]
    else:
        for u, v in np.ndindex(KERNEL):
            rows, columns = slice(u, u + STRIDE[0] * down, STRIDE[0]), slice(v, v + STRIDE[1] * across, STRIDE[1])
            total[:, :, rows, columns] += a[..., u, v]
    return total[:, :, PADDING[0] : PADDING[0] + IMAGE[0], PADDING[1] : PADDING[1] + IMAGE[1]]


def as_matrix(a: Array) -> Array:
    """Windows as rows: (m down across, channels kh kw)."""
    m, channels, down, across = a.shape[:4]
    return a.transpose(0, 2, 3, 1, 4, 5).reshape(m * down * across, channels * ELEMENTS)


def as_rows(dy: Array) -> Array:
    """(m down across, channels)."""
    return dy.transpose(0, 2, 3, 1).reshape(-1, dy.shape[1])


def as_images(y: Array, x: Array) -> Array:
    """The way back from `as_rows`."""
    down, across = windows(x).shape[2:4]
    return y.reshape(len(x), down, across, -1).transpose(0, 3, 1, 2)


def torch_conv(x: Any, weight: Any, bias: Any = None) -> torch.Tensor:
    return functional.conv2d(x, weight, bias, STRIDE, PADDING)


def conv_by_shifts(x: Array, weight: Array, bias: Array) -> Array:
    seen = windows(x)
    y = np.broadcast_to(bias[:, None, None], (len(x), len(weight), *seen.shape[2:4])).copy()
    for u, v in np.ndindex(KERNEL):
        y += np.tensordot(weight[:, :, u, v], seen[..., u, v], (1, 1)).swapaxes(0, 1)
    return y


def conv_by_channels(x: Array, weight: Array, bias: Array) -> Array:
    parts = [torch_conv(tensor(x[:, c : c + 1]), tensor(weight[:, c : c + 1])).numpy() for c in range(x.shape[1])]
    return sequentially(np.stack(parts)) + bias[:, None, None]


def conv_by_scipy(x: Array, weight: Array, bias: Array) -> Array:
    y = np.stack(
        [
            [sequentially(np.stack([correlated(a, w) for a, w in zip(sample, each, strict=True)])) for each in weight]
            for sample in padded(x)
        ]
    )
    return y[:, :, :: STRIDE[0], :: STRIDE[1]] + bias[:, None, None]


def correlated(a: Array, w: Array) -> Array:
    return signal.correlate2d(a, w, mode="valid").astype(a.dtype)


CONV = {
    **{
        name: product(
            lambda x, weight, bias, f=f: as_images(f(as_matrix(windows(x)), weight.reshape(len(weight), -1)) + bias, x),
            name,
        )
        for name, f in PRODUCTS.items()
    },
    "einsum of windows": lambda x, weight, bias: (
        np.einsum("ncijuv,ocuv->noij", windows(x), weight) + bias[:, None, None]
    ),
    "shifted images": conv_by_shifts,
    "channel by channel": conv_by_channels,
    "scipy": conv_by_scipy,
    "torch conv2d": lambda x, weight, bias: torch_conv(*map(tensor, (x, weight, bias))).numpy(),
    "torch, channels last": lambda x, weight, bias: torch_conv(
        *(tensor(a).contiguous(memory_format=torch.channels_last) for a in (x, weight)), tensor(bias)
    ).numpy(),
}


def conv_by_samples(x: Array, dy: Array) -> Array:
    seen = windows(x)
    return sequentially(np.stack([np.einsum("oij,cijuv->ocuv", d, a) for d, a in zip(dy, seen, strict=True)]))


def weights_of(f: Callable[[Array, Array], Array], x: Array, dy: Array) -> Array:
    dw = f(as_rows(dy).T.copy(), as_matrix(windows(x)).T.copy())
    return dw.reshape(dy.shape[1], x.shape[1], *KERNEL)


CONV_WEIGHT = {
    **{name: product(lambda x, dy, f=f: weights_of(f, x, dy), name) for name, f in PRODUCTS.items()},
    "einsum of windows": lambda x, dy: np.einsum("noij,ncijuv->ocuv", dy, windows(x)),
    "sample by sample": conv_by_samples,
    "torch conv2d": lambda x, dy: gradient(
        lambda w: torch_conv(tensor(x), w), np.zeros((dy.shape[1], x.shape[1], *KERNEL), x.dtype), dy
    ),
}


def stuffed(dy: Array) -> Array:
    """Zeros between the elements and around them, so that a correlation with the flipped filters is dx."""
    m, channels, down, across = dy.shape
    apart = np.zeros((m, channels, (down - 1) * STRIDE[0] + 1, (across - 1) * STRIDE[1] + 1), dy.dtype)
    apart[:, :, :: STRIDE[0], :: STRIDE[1]] = dy
    before = [k - 1 - p for k, p in zip(KERNEL, PADDING, strict=True)]
    after = [n + k - 1 - b - a for n, k, b, a in zip(IMAGE, KERNEL, before, apart.shape[2:], strict=True)]
    return np.pad(apart, [(0, 0), (0, 0), *zip(before, after, strict=True)])


def input_by_correlation(weight: Array, dy: Array) -> Array:
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    return functional.conv2d(tensor(stuffed(dy)), tensor(flipped)).numpy()


def window_gradients(f: Callable[[Array, Array], Array], weight: Array, dy: Array) -> Array:
    d = f(as_rows(dy), weight.reshape(len(weight), -1).T.copy())
    return d.reshape(len(dy), *dy.shape[2:], weight.shape[1], *KERNEL).transpose(0, 3, 1, 2, 4, 5)


CONV_INPUT = {
    **{
        f"{name}, {'by window' if by_window else 'by element'}": product(
            lambda x, weight, dy, f=f, by=by_window: added_up(window_gradients(f, weight, dy), x.shape, by), name
        )
        for name, f in PRODUCTS.items()
        for by_window in (False, True)
    },
    "full correlation": lambda x, weight, dy: input_by_correlation(weight, dy),
    "torch conv2d": lambda x, weight, dy: gradient(lambda a: torch_conv(a, tensor(weight)), np.zeros_like(x), dy),
}
CONV_BIAS = {
    **{name: product(lambda dy, f=f: f(as_rows(dy)), name) for name, f in SUMS.items()},
    "batch, then positions": lambda dy: dy.sum(axis=0).sum(axis=(1, 2)),
    "positions, then batch": lambda dy: dy.sum(axis=(2, 3)).sum(axis=0),
    "axis by axis": lambda dy: dy.sum(axis=3).sum(axis=2).sum(axis=0),
    "einsum": lambda dy: np.einsum("noij->o", dy),
}


CLASSES = 3


def by_class(f: Callable[[Array], Array], x: Array, dy: Array) -> Array:
    """f over the places of each class number."""
    rows, classes = dy.reshape(-1, dy.shape[-1]), x.ravel()
    return np.stack([f(rows[classes == j]) if (classes == j).any() else np.zeros_like(rows[0]) for j in range(CLASSES)])


def added_at(x: Array, dy: Array) -> Array:
    total = np.zeros((CLASSES, dy.shape[-1]), dy.dtype)
    np.add.at(total, x, dy)
    return total


def one_hot(x: Array, dy: Array) -> Array:
    return np.eye(CLASSES, dtype=dy.dtype)[x.ravel()]


EMBEDDING_WEIGHT = {
    **{
        name: product(lambda x, dy, f=f: by_class(f, x, dy), name)
        for name, f in SUMS.items()
        if name not in ("ones @",)
    },
    "np.add.at": added_at,
    "one-hot rows": lambda x, dy: one_hot(x, dy).T @ dy.reshape(-1, dy.shape[-1]),
    "einsum": lambda x, dy: np.einsum("ntj,ntd->jd", one_hot(x, dy).reshape(*x.shape, CLASSES), dy),
    "time after time": lambda x, dy: sequentially(np.stack([added_at(x[:, t], dy[:, t]) for t in range(x.shape[1])])),
    "torch": lambda x, dy: gradient(
        lambda w: functional.embedding(tensor(x), w), np.zeros((CLASSES, dy.shape[-1]), dy.dtype), dy
    ),
}


# --- over time -------------------------------------------------------------------------------------------------------


def sigmoids(x: Array) -> dict[str, Array]:
    e = np.exp(-np.abs(x))
    return {
        "plain": 1 / (1 + np.exp(-x)),
        "by sign": np.where(x >= 0, x.dtype.type(1), e) / (1 + e),
        "by tanh": (np.tanh(x / 2) + 1) / 2,
    }


def tanh_slopes(a: Array, h: Array) -> dict[str, Array]:
    return {"plain": 1 - h * h, "by sign": (1 - h) * (1 + h), "by tanh": 1 / np.cosh(a) ** 2}


def sigmoid_slopes(a: Array, s: Array) -> dict[str, Array]:
    e = np.exp(-np.abs(a))
    return {"plain": s * (1 - s), "by sign": e / (1 + e) ** 2, "by tanh": s - s * s}


@dataclass(frozen=True)
class Style:
    """How somebody writes a recurrent layer: its products, the biases, functions and their slopes, sums over time."""

    product: str = "@"
    together: bool = False  # one product of [x, h], the biases added to each other before
    functions: str = "plain"
    added_up: bool = False  # += in the loop over time, not one product after it

    def affine(self, x: Array, W: Array, h: Array, U: Array, b: Array, c: Array) -> Array:
        if self.together:
            return PRODUCTS[self.product](np.hstack([h, x]), np.hstack([U, W])) + (b + c)
        return PRODUCTS[self.product](h, U) + (PRODUCTS[self.product](x, W) + b) + c

    def alone(self, x: Array, W: Array, b: Array) -> Array:
        return PRODUCTS[self.product](x, W) + b

    def sigmoid(self, a: Array) -> Array:
        return sigmoids(a)[self.functions]

    def tanh_slope(self, a: Array, h: Array) -> Array:
        return tanh_slopes(a, h)[self.functions]

    def sigmoid_slope(self, a: Array, s: Array) -> Array:
        return sigmoid_slopes(a, s)[self.functions]

    def back(self, d: Array, W: Array) -> Array:
        return PRODUCTS[self.product](d, W.T.copy())

    def gradients(self, x: Array, h: Array, W: Array, da: Array, dq: Array) -> Values:
        """From (t, m, ...)."""
        found = {"grad_input": np.stack([self.back(d, W) for d in da], axis=1)}
        for name, d, a in (("ih", da, x), ("hh", dq, h)):
            found[f"grad_bias_{name}_l0"] = d.sum(axis=(0, 1))
            if self.added_up:
                total = np.zeros((d.shape[2], a.shape[2]), d.dtype)
                for step, state in zip(d[::-1], a[::-1], strict=True):
                    total += step.T @ state
            else:
                flat, states = d.reshape(-1, d.shape[2]), a.reshape(-1, a.shape[2])
                total = PRODUCTS[self.product](flat.T.copy(), states.T.copy())
            found[f"grad_weight_{name}_l0"] = total
        return found


STYLES = {
    "plain": Style(),
    "together": Style(together=True, functions="by sign"),
    "added up": Style("einsum", functions="by tanh", added_up=True),
    "sequential": Style("sequential", functions="by sign"),
    "reversed": Style("reversed", together=True, added_up=True),
    "torch's products": Style("torch", functions="by tanh"),
}


def rnn(style: Style, x: Array, W: Array, U: Array, b: Array, c: Array, dy: Array) -> Values:
    steps, (m, k) = x.shape[1], (len(x), len(U))
    x, dy = np.ascontiguousarray(x.swapaxes(0, 1)), dy.swapaxes(0, 1)
    a, h = np.zeros((steps, m, k), x.dtype), np.zeros((steps + 1, m, k), x.dtype)
    for t in range(steps):
        a[t] = style.affine(x[t], W, h[t], U, b, c)
        h[t + 1] = np.tanh(a[t])
    da, dh = np.zeros_like(a), np.zeros_like(h[0])
    for t in reversed(range(steps)):
        da[t] = (dy[t] + dh) * style.tanh_slope(a[t], h[t + 1])
        dh = style.back(da[t], U)
    return {"output": h[1:].swapaxes(0, 1)} | style.gradients(x, h[:-1], W, da, da)


def lstm(style: Style, x: Array, W: Array, U: Array, b: Array, c: Array, dy: Array) -> Values:
    steps, (m, k) = x.shape[1], (len(x), U.shape[1])
    x, dy = np.ascontiguousarray(x.swapaxes(0, 1)), dy.swapaxes(0, 1)
    h, cell = np.zeros((2, steps + 1, m, k), x.dtype)
    a = np.zeros((steps, 4, m, k), x.dtype)
    gates = np.zeros_like(a)
    for t in range(steps):
        a[t] = np.split(style.affine(x[t], W, h[t], U, b, c), 4, axis=1)
        gates[t] = [np.tanh(z) if j == 2 else style.sigmoid(z) for j, z in enumerate(a[t])]
        i, f, g, o = gates[t]
        cell[t + 1] = f * cell[t] + i * g
        h[t + 1] = o * np.tanh(cell[t + 1])
    da, dh, dc = np.zeros((steps, m, 4 * k), x.dtype), np.zeros((m, k), x.dtype), np.zeros((m, k), x.dtype)
    for t in reversed(range(steps)):
        i, f, g, o = gates[t]
        dh, s = dh + dy[t], np.tanh(cell[t + 1])
        dc = dc + dh * (o * style.tanh_slope(cell[t + 1], s))
        of = dc * g, dc * cell[t], dc * i, dh * s
        slopes = [
            style.tanh_slope(a[t, j], z) if j == 2 else style.sigmoid_slope(a[t, j], z) for j, z in enumerate(gates[t])
        ]
        da[t] = np.hstack([d * s for d, s in zip(of, slopes, strict=True)])
        dc, dh = dc * f, style.back(da[t], U)
    return {"output": h[1:].swapaxes(0, 1)} | style.gradients(x, h[:-1], W, da, da)


def gru(style: Style, x: Array, W: Array, U: Array, b: Array, c: Array, dy: Array) -> Values:
    steps, (m, k) = x.shape[1], (len(x), U.shape[1])
    x, dy = np.ascontiguousarray(x.swapaxes(0, 1)), dy.swapaxes(0, 1)
    h = np.zeros((steps + 1, m, k), x.dtype)
    kept = []
    for t in range(steps):
        ar, az, an = np.split(style.alone(x[t], W, b), 3, axis=1)
        qr, qz, qn = np.split(style.alone(h[t], U, c), 3, axis=1)
        r, z = style.sigmoid(ar + qr), style.sigmoid(az + qz)
        n = np.tanh(an + r * qn)
        h[t + 1] = n + z * (h[t] - n) if style.together else (1 - z) * n + z * h[t]
        kept.append((ar + qr, az + qz, an + r * qn, qn, r, z, n))
    da, dq = np.zeros((2, steps, m, 3 * k), x.dtype)
    dh = np.zeros((m, k), x.dtype)
    for t in reversed(range(steps)):
        ar, az, an, qn, r, z, n = kept[t]
        dh = dh + dy[t]
        dn = dh * (1 - z) * style.tanh_slope(an, n)
        dz, dr = dh * (h[t] - n) * style.sigmoid_slope(az, z), dn * qn * style.sigmoid_slope(ar, r)
        da[t], dq[t] = np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r])
        dh = dh * z + style.back(dq[t], U)
    return {"output": h[1:].swapaxes(0, 1)} | style.gradients(x, h[:-1], W, da, dq)


def recurrent_by_torch(kind: str) -> Callable[..., Values]:
    def compute(x: Array, W: Array, U: Array, b: Array, c: Array, dy: Array) -> Values:
        layer = getattr(torch.nn, kind)(x.shape[2], U.shape[1], batch_first=True, dtype=tensor(x).dtype)
        for p, a in zip(layer.parameters(), (W, U, b, c), strict=True):
            p.data = tensor(a)
        at = tensor(x).requires_grad_()
        y = layer(at)[0]
        y.backward(tensor(dy))
        grads = {f"grad_{name}": p.grad.numpy() for name, p in layer.named_parameters()}
        return {"output": y.detach().numpy(), "grad_input": at.grad.numpy()} | grads

    return compute


def over_time(cell: Callable[..., Values], kind: str) -> dict[str, Callable[..., Values]]:
    written = {name: lambda style=style, **arrays: cell(style, **arrays) for name, style in STYLES.items()}
    return written | {"torch": recurrent_by_torch(kind)}


@dataclass(frozen=True)
class Attending:
    """How somebody writes self-attention: its products, where the scale goes, the softmax and its derivative."""

    product: str = "@"
    scaled: str = "after"  # q, k, both
    softmax: str = "shifted"  # plain, by its logarithm
    slope: str = "plain"  # jacobian, by o

    def times(self, a: Array, b: Array) -> Array:
        """a b^T for each sample and head."""
        rows = [PRODUCTS[self.product](c, d) for c, d in zip(flat_heads(a), flat_heads(b), strict=True)]
        return np.stack(rows).reshape(*a.shape[:-1], b.shape[-2])

    def scores(self, q: Array, k: Array, d: int) -> Array:
        root = q.dtype.type(np.sqrt(d))
        if self.scaled == "after":
            return self.times(q, k) / root
        if self.scaled == "both":
            fourth = q.dtype.type(d**-0.25)
            return self.times(q * fourth, k * fourth)
        return self.times(q / root, k) if self.scaled == "q" else self.times(q, k * q.dtype.type(d**-0.5))

    def probabilities(self, s: Array) -> Array:
        if self.softmax == "plain":
            return np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)
        top = s.max(axis=-1, keepdims=True)
        e = np.exp(s - top)
        if self.softmax == "by its logarithm":
            return np.exp(s - (top + np.log(e.sum(axis=-1, keepdims=True))))
        return e / e.sum(axis=-1, keepdims=True)

    def back(self, P: Array, do: Array, v: Array, o: Array) -> Array:
        dP = self.times(do, v)
        if self.slope == "jacobian":
            jacobian = P[..., None] * np.eye(P.shape[-1], dtype=P.dtype) - P[..., None] * P[..., None, :]
            return np.einsum("...ij,...j->...i", jacobian, dP)
        if self.slope == "two parts":
            return P * dP - P * (P * dP).sum(axis=-1, keepdims=True)
        return P * (dP - ((do * o) if self.slope == "by o" else (dP * P)).sum(axis=-1, keepdims=True))

    def __call__(self, x: Array, W: Array, b: Array, U: Array, c: Array, dy: Array, heads: int, causal: bool) -> Values:
        m, t, n = x.shape
        d = n // heads
        apart = lambda a: a.reshape(m, t, heads, d).transpose(0, 2, 1, 3).copy()  # noqa: E731
        beside = lambda a: np.concatenate([a[:, i] for i in range(heads)], axis=2)  # noqa: E731
        turned = lambda a: a.swapaxes(2, 3).copy()  # noqa: E731
        along = lambda a, w: PRODUCTS[self.product](a.reshape(m * t, -1), w).reshape(m, t, -1)  # noqa: E731
        over = lambda a, z: PRODUCTS[self.product](a.reshape(m * t, -1).T.copy(), z.reshape(m * t, -1).T.copy())  # noqa: E731
        q, k, v = map(apart, np.split(along(x, W) + b, 3, axis=2))
        s = self.scores(q, k, d)
        if causal:
            s = np.where(np.tri(t) == 0, s.dtype.type(-np.inf), s)
        P = self.probabilities(s)
        heads_of_o = self.times(P, turned(v))
        o = beside(heads_of_o)
        do = apart(along(dy, U.T.copy()))
        ds = self.back(P, do, v, heads_of_o) * x.dtype.type(d**-0.5)
        dq, dk, dv = self.times(ds, turned(k)), self.times(turned(ds), turned(q)), self.times(turned(P), turned(do))
        back = np.concatenate([beside(a) for a in (dq, dk, dv)], axis=2)
        return {
            "output": along(o, U) + c,
            "grad_out_proj_weight": over(dy, o),
            "grad_out_proj_bias": dy.sum(axis=(0, 1)),
            "grad_in_proj_weight": over(back, x),
            "grad_in_proj_bias": back.sum(axis=(0, 1)),
            "grad_input": along(back, W.T.copy()),
        }


def flat_heads(a: Array) -> Array:
    return a.reshape(-1, *a.shape[-2:])


def attention_by_torch(need_weights: bool) -> Callable[..., Values]:
    def compute(x: Array, W: Array, b: Array, U: Array, c: Array, dy: Array, heads: int, causal: bool) -> Values:
        layer = torch.nn.MultiheadAttention(x.shape[2], heads, batch_first=True, dtype=tensor(x).dtype)
        for p, a in zip(layer.parameters(), (W, b, U, c), strict=True):
            p.data = tensor(a)
        at = tensor(x).requires_grad_()
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool() if causal else None
        y = layer(at, at, at, need_weights=need_weights, attn_mask=mask)[0]
        y.backward(tensor(dy))
        grads = {f"grad_{name.replace('.', '_')}": p.grad.numpy() for name, p in layer.named_parameters()}
        return {"output": y.detach().numpy(), "grad_input": at.grad.numpy()} | grads

    return compute


def scores_stay_small(inputs: Inputs) -> bool:
    """No e^s overflows, nor do all of a row underflow."""
    x, W, b, heads = (inputs[name] for name in ("x", "W", "b", "heads"))
    q, k, _ = np.split(x.astype(np.float64) @ W.T.astype(np.float64) + b, 3, axis=2)
    d = x.shape[2] // heads
    pairs = zip(blocks(q, d), blocks(k, d), strict=True)
    largest = max(np.abs(np.einsum("mid,mjd->mij", a, c)).max() for a, c in pairs)
    return bool(largest / np.sqrt(d) <= EXP_RANGE[x.dtype])


def blocks(a: Array, d: int) -> list[Array]:
    return [a[..., i : i + d] for i in range(0, a.shape[-1], d)]


ATTENTION = {
    "plain": Attending(),
    "q scaled, not shifted": Form(Attending("einsum", "q", "plain", "two parts"), scores_stay_small),
    "k scaled, by the logarithm, by o": Attending("sequential", "k", "by its logarithm", "by o"),
    "both scaled, by the Jacobian": Attending("reversed", "both", "shifted", "jacobian"),
    "pairwise": Attending("pairwise", "q", "by its logarithm"),
    "torch's products": Attending("torch", "after", "shifted", "by o"),
    "torch": attention_by_torch(False),
    "torch, with the weights": attention_by_torch(True),
}


def draw_attention(rng: np.random.Generator, d: Draw) -> Inputs:
    """Of at most 4 samples, 6 steps, 2 heads and 6 columns a head."""
    m, steps, heads = 1 + d.m % 4, 1 + d.m % 6, 1 + d.k % 2
    n = heads * (1 + d.n % 6)
    weights = {"W": (3 * n, n), "b": (3 * n,), "U": (n, n), "c": (n,)}
    drawn = {name: d.numbers(rng, *shape, scale=0.5) for name, shape in weights.items()}
    x, dy = d.numbers(rng, m, steps, n), d.numbers(rng, m, steps, n, scale=1.0)
    return {"x": x} | drawn | {"dy": dy, "heads": heads, "causal": d.seed % 2 == 1}


def attention_expected(
    x: Array, W: Array, b: Array, U: Array, c: Array, dy: Array, heads: int, causal: bool, p: Precision
) -> dict[str, Expected]:
    layer = LAYERS["self_attention"](x.shape[2], heads, causal=causal)
    gradients = [part for part in layer.parts if part != "output"]
    return {"output": layer.output(x, W, b, U, c, p=p)} | {
        part: getattr(layer, part)(x, W, b, U, c, dy, p=p) for part in gradients
    }


def of_elements(f: Callable[[Array], Array], x: Array) -> Array:
    """f over the elements of each window."""
    seen = windows(x)
    return f(np.moveaxis(seen.reshape(*seen.shape[:4], -1), -1, 0))


def shared_out(dy: Array) -> Array:
    """dy / k for every element of its window."""
    return np.broadcast_to((dy / dy.dtype.type(ELEMENTS))[..., None, None], (*dy.shape, *KERNEL))


AVERAGE = {
    **{
        name: product(lambda x, f=f: of_elements(f, x) / x.dtype.type(ELEMENTS), name)
        for name, f in SUMS.items()
        if name != "ones @"
    },
    "mean": lambda x: windows(x).mean(axis=(4, 5)),
    "rows, then columns": lambda x: windows(x).mean(axis=5).mean(axis=4),
    "times the reciprocal": lambda x: windows(x).sum(axis=(4, 5)) * x.dtype.type(1 / ELEMENTS),
    "weights of 1 / k": lambda x: of_elements(lambda a: sequentially(a * a.dtype.type(1 / ELEMENTS)), x),
    "torch": lambda x: functional.avg_pool2d(tensor(x), KERNEL, STRIDE, PADDING).numpy(),
}
AVERAGE_BACKWARD = {
    "by element": lambda x, dy: added_up(shared_out(dy), x.shape),
    "by window": lambda x, dy: added_up(shared_out(dy), x.shape, True),
    "divided last": lambda x, dy: (
        added_up(np.broadcast_to(dy[..., None, None], (*dy.shape, *KERNEL)), x.shape) / dy.dtype.type(ELEMENTS)
    ),
    "times the reciprocal": lambda x, dy: added_up(
        dy[..., None, None] * np.full(KERNEL, 1 / ELEMENTS, dy.dtype), x.shape
    ),
    "torch": lambda x, dy: gradient(lambda a: functional.avg_pool2d(a, KERNEL, STRIDE, PADDING), x, dy),
}


def at_maximum(x: Array) -> Array:
    """1 at the first maximum of each window, else 0."""
    seen = windows(x, -np.inf)
    rows = seen.reshape(*seen.shape[:4], -1)
    return (np.arange(ELEMENTS) == rows.argmax(axis=-1)[..., None]).reshape(seen.shape).astype(x.dtype)


MAXIMUM_BACKWARD = {
    "by element": lambda x, dy: added_up(at_maximum(x) * dy[..., None, None], x.shape),
    "by window": lambda x, dy: added_up(np.where(at_maximum(x) > 0, dy[..., None, None], 0), x.shape, True),
    "torch": lambda x, dy: gradient(lambda a: functional.max_pool2d(a, KERNEL, STRIDE, PADDING), x, dy),
}

# --- activations -----------------------------------------------------------------------------------------------------


def call(form: Form | Callable[..., Any], *args: Any) -> Any:
    return (form.compute if isinstance(form, Form) else form)(*args)


def also(
    form: Form | Callable[..., Any], compute: Callable[..., Any], when: Callable[[Inputs], bool] | None = None
) -> Form:
    """A form built on another: sensible where both are."""
    first = form.sensible if isinstance(form, Form) else (lambda inputs: True)
    return Form(compute, lambda inputs: first(inputs) and (when is None or when(inputs)))


def range_of(a: Array) -> float:
    return float(np.abs(a).max())


def below(name: str, share: float = 1.0) -> Callable[[Inputs], bool]:
    return lambda inputs: range_of(inputs[name]) <= share * EXP_RANGE[inputs[name].dtype]


def spread_below(name: str, share: float = 1.0) -> Callable[[Inputs], bool]:
    return lambda inputs: float(np.ptp(inputs[name], axis=1).max()) <= share * EXP_RANGE[inputs[name].dtype]


def piecewise_sigmoid(x: Array) -> Array:
    y = np.empty_like(x)
    up = x >= 0
    y[up] = 1 / (1 + np.exp(-x[up]))
    e = np.exp(x[~up])
    y[~up] = e / (1 + e)
    return y


SIGMOID = {
    "1 / (1 + e^-x)": lambda x: 1 / (1 + np.exp(-x)),
    "e^x / (1 + e^x)": Form(lambda x: np.exp(x) / (1 + np.exp(x)), below("x")),
    "by sign": piecewise_sigmoid,
    "reciprocal": lambda x: np.reciprocal(np.exp(-x) + 1),
    "expit": lambda x: special.expit(x),
    "torch": lambda x: torch.sigmoid(tensor(x)).numpy(),
    "torch by hand": lambda x: (1 / (1 + torch.exp(-tensor(x)))).numpy(),
}
SIGMOID_SLOPE = {
    "y (1 - y)": lambda y: y * (1 - y),
    "y - y^2": lambda y: y - y * y,
}
SIGMOID_BACKWARD = {
    **{
        f"{slope} from {name}": Form(
            lambda x, dy, f=f, d=d: dy * d(f.compute(x) if isinstance(f, Form) else f(x)),
            f.sensible if isinstance(f, Form) else (lambda inputs: True),
        )
        for name, f in SIGMOID.items()
        for slope, d in SIGMOID_SLOPE.items()
    },
    "dy y (1 - y)": lambda x, dy: dy * piecewise_sigmoid(x) * (1 - piecewise_sigmoid(x)),
    "sigmoid(x) sigmoid(-x)": lambda x, dy: dy * piecewise_sigmoid(x) * piecewise_sigmoid(-x),
    "e^-x / (1 + e^-x)^2": Form(lambda x, dy: dy * np.exp(-x) / (1 + np.exp(-x)) ** 2, below("x", 0.5)),
    "e^x / (1 + e^x)^2": Form(lambda x, dy: dy * np.exp(x) / (1 + np.exp(x)) ** 2, below("x", 0.5)),
    "1 / (2 + e^x + e^-x)": Form(lambda x, dy: dy / (2 + np.exp(x) + np.exp(-x)), below("x")),
    "sech^2(x / 2) / 4": Form(lambda x, dy: dy / (4 * np.cosh(x / 2) ** 2), below("x")),
    "torch": lambda x, dy: gradient(torch.sigmoid, x, dy),
    "torch by hand": Form(lambda x, dy: gradient(lambda a: 1 / (1 + torch.exp(-a)), x, dy), below("x", 0.25)),
}
TANH = {
    "numpy": lambda x: np.tanh(x),
    "torch": lambda x: torch.tanh(tensor(x)).numpy(),
}
TANH_BACKWARD = {
    "dy (1 - y^2)": lambda x, dy: dy * (1 - np.tanh(x) ** 2),
    "dy - dy y^2": lambda x, dy: dy - dy * np.tanh(x) ** 2,
    "dy (1 - y) (1 + y)": lambda x, dy: dy * (1 - np.tanh(x)) * (1 + np.tanh(x)),
    "1 - y^2 of torch's": lambda x, dy: dy * (1 - np.square(TANH["torch"](x))),
    "sech^2": Form(lambda x, dy: dy / np.cosh(x) ** 2, below("x", 0.5)),
    "(1 / cosh)^2": Form(lambda x, dy: dy * (1 / np.cosh(x)) ** 2, below("x", 0.5)),
    "torch": lambda x, dy: gradient(torch.tanh, x, dy),
}


SLOPE = 0.3
LEAKY = {
    "selected": lambda x: np.where(x > 0, x, x * x.dtype.type(SLOPE)),
    "maximum": lambda x: np.maximum(x, x.dtype.type(SLOPE) * x),
    "two parts": lambda x: np.maximum(x, 0) + x.dtype.type(SLOPE) * np.minimum(x, 0),
    "a x + b |x|": lambda x: x.dtype.type(0.5 * (1 + SLOPE)) * x + x.dtype.type(0.5 * (1 - SLOPE)) * np.abs(x),
    "torch": lambda x: functional.leaky_relu(tensor(x), SLOPE).numpy(),
}
LEAKY_BACKWARD = {
    "selected": lambda x, dy: np.where(x > 0, dy, dy * dy.dtype.type(SLOPE)),
    "times the derivative": lambda x, dy: dy * np.where(x > 0, 1, SLOPE).astype(dy.dtype),
    "a dy + b sign": lambda x, dy: (
        dy.dtype.type(0.5 * (1 + SLOPE)) * dy
        + dy.dtype.type(0.5 * (1 - SLOPE)) * np.where(x > 0, 1, -1).astype(dy.dtype) * dy
    ),
    "torch": lambda x, dy: gradient(lambda a: functional.leaky_relu(a, SLOPE), x, dy),
}


ALPHA = 0.7


def elu(x: Array, curve: Callable[[Array], Array]) -> Array:
    return np.where(x > 0, x, curve(np.minimum(x, 0)))


ELU: dict[str, Callable[[Array], Array]] = {
    "alpha expm1": lambda x: elu(x, lambda z: x.dtype.type(ALPHA) * np.expm1(z)),
    "alpha (e^x - 1)": lambda x: elu(x, lambda z: x.dtype.type(ALPHA) * (np.exp(z) - 1)),
    "alpha e^x - alpha": lambda x: elu(x, lambda z: x.dtype.type(ALPHA) * np.exp(z) - x.dtype.type(ALPHA)),
    "two parts": lambda x: np.maximum(x, 0) + x.dtype.type(ALPHA) * (np.exp(np.minimum(x, 0)) - 1),
    "minimum": lambda x: np.maximum(x, 0) + np.minimum(x.dtype.type(ALPHA) * np.expm1(np.minimum(x, 0)), 0),
    "halves": lambda x: (x + np.abs(x)) / 2 + x.dtype.type(ALPHA) * np.expm1((x - np.abs(x)) / 2),
    "torch": lambda x: functional.elu(tensor(x), ALPHA).numpy(),
}
ELU_BACKWARD = {
    "alpha e^x": lambda x, dy: np.where(x > 0, dy, dy * x.dtype.type(ALPHA) * np.exp(np.minimum(x, 0))),
    "times the derivative": lambda x, dy: dy * np.where(x > 0, 1, x.dtype.type(ALPHA) * np.exp(np.minimum(x, 0))),
    **{
        f"y + alpha of {name}": lambda x, dy, f=f: dy * np.where(x > 0, 1, f(x) + x.dtype.type(ALPHA))
        for name, f in ELU.items()
    },
    "torch": lambda x, dy: gradient(lambda a: functional.elu(a, ALPHA), x, dy),
    "torch by hand": lambda x, dy: gradient(
        lambda a: torch.where(a > 0, a, ALPHA * (torch.exp(torch.where(a > 0, 0, a)) - 1)), x, dy
    ),
}


SILU: dict[str, Form | Callable[[Array], Array]] = {
    **{f"x times {name}": also(f, lambda x, f=f: x * call(f, x)) for name, f in SIGMOID.items()},
    "x / (1 + e^-x)": lambda x: x / (1 + np.exp(-x)),
    "x e^x / (1 + e^x)": Form(lambda x: x * np.exp(x) / (1 + np.exp(x)), below("x", 0.5)),
    "torch": lambda x: functional.silu(tensor(x)).numpy(),
}
SILU_SLOPE: dict[str, Callable[[Array, Array], Array]] = {
    "s + x s (1 - s)": lambda x, s: s + x * s * (1 - s),
    "s + x (s - s^2)": lambda x, s: s + x * (s - s * s),
    "s (1 + x (1 - s))": lambda x, s: s * (1 + x * (1 - s)),
    "s (1 + x - y)": lambda x, s: s * (1 + x - x * s),
    "y + s (1 - y)": lambda x, s: x * s + s * (1 - x * s),
}
SILU_BACKWARD = {
    **{
        f"{slope} of {name}": also(f, lambda x, dy, f=f, d=d: dy * d(x, call(f, x)))
        for name, f in SIGMOID.items()
        for slope, d in SILU_SLOPE.items()
    },
    "in turn": lambda x, dy: dy * piecewise_sigmoid(x) * (1 + x * piecewise_sigmoid(-x)),
    "y of another form": lambda x, dy: dy * (x / (1 + np.exp(-x)) + special.expit(x) * (1 - call(SILU["torch"], x))),
    "one fraction": Form(
        lambda x, dy: dy * (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2, below("x", 0.4)
    ),
    "torch": lambda x, dy: gradient(functional.silu, x, dy),
    "torch by hand": Form(lambda x, dy: gradient(lambda a: a / (1 + torch.exp(-a)), x, dy), below("x", 0.25)),
    "torch's sigmoid": lambda x, dy: gradient(lambda a: a * torch.sigmoid(a), x, dy),
}


def root(x: Array, number: float) -> Any:
    return x.dtype.type(np.sqrt(number))


NORMAL: dict[str, Callable[[Array], Array]] = {
    "1/2 (1 + erf)": lambda x: 0.5 * (1 + special.erf(x / root(x, 2))),
    "1/2 + 1/2 erf": lambda x: 0.5 + 0.5 * special.erf(x * root(x, 0.5)),
    "math.erf": lambda x: 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / root(x, 2))),
    "1/2 erfc": lambda x: 0.5 * special.erfc(-x / root(x, 2)),
    "ndtr": lambda x: special.ndtr(x),
    "torch's erf": lambda x: 0.5 * (1 + torch.erf(tensor(x / root(x, 2))).numpy()),
}
BELL: dict[str, Callable[[Array], Array]] = {
    "e^(-x^2 / 2)": lambda x: np.exp(-(x**2) / 2),
    "e^(-1/2 x x)": lambda x: np.exp(-0.5 * x * x),
    "e^-(x / sqrt 2)^2": lambda x: np.exp(-((x / root(x, 2)) ** 2)),
}
GELU: dict[str, Callable[[Array], Array]] = {
    **{f"x times {name}": lambda x, f=f: x * f(x) for name, f in NORMAL.items()},
    "1/2 x (1 + erf)": lambda x: 0.5 * x * (1 + special.erf(x / root(x, 2))),
    "1/2 x + 1/2 x erf": lambda x: 0.5 * x + 0.5 * x * special.erf(x / root(x, 2)),
    "torch": lambda x: functional.gelu(tensor(x)).numpy(),
}
GELU_BACKWARD = {
    **{
        f"{normal}, {bell}": lambda x, dy, f=f, g=g: dy * (f(x) + x * g(x) / root(x, 2 * np.pi))
        for normal, f in NORMAL.items()
        for bell, g in BELL.items()
    },
    "in turn": lambda x, dy: dy * special.ndtr(x) + dy * x * (root(x, 0.5 / np.pi) * np.exp(-(x**2) / 2)),
    "torch": lambda x, dy: gradient(functional.gelu, x, dy),
    "torch by hand": lambda x, dy: gradient(lambda a: 0.5 * a * (1 + torch.erf(a / 2**0.5)), x, dy),
}

CUBIC = 0.044715
INNER: dict[str, Callable[[Array], Array]] = {
    "c (x + a x^3)": lambda x: root(x, 2 / np.pi) * (x + x.dtype.type(CUBIC) * x**3),
    "c (x + a x x x)": lambda x: root(x, 2 / np.pi) * (x + x.dtype.type(CUBIC) * x * x * x),
    "c x (1 + a x^2)": lambda x: root(x, 2 / np.pi) * x * (1 + x.dtype.type(CUBIC) * x * x),
    "np.power": lambda x: root(x, 2 / np.pi) * (x + x.dtype.type(CUBIC) * np.power(x, x.dtype.type(3))),
}
INNER_SLOPE: dict[str, Callable[[Array], Array]] = {
    "c (1 + 3 a x^2)": lambda x: root(x, 2 / np.pi) * (1 + 3 * x.dtype.type(CUBIC) * x**2),
    "c + 3 c a x^2": lambda x: root(x, 2 / np.pi) + x.dtype.type(3 * CUBIC * np.sqrt(2 / np.pi)) * x * x,
}
TANH_SLOPE: dict[str, Callable[[Array], Array]] = {
    "1 - t^2": lambda g: 1 - np.tanh(g) ** 2,
    "(1 - t) (1 + t)": lambda g: (1 - np.tanh(g)) * (1 + np.tanh(g)),
    "sech^2": lambda g: 1 / np.cosh(g) ** 2,
    "4 s (1 - s)": lambda g: 4 * piecewise_sigmoid(2 * g) * (1 - piecewise_sigmoid(2 * g)),
}
NOT_HUGE = Form(lambda: None, lambda inputs: range_of(inputs["x"]) < 1e6)  # x^2 and x^3 do not overflow
GELU_TANH: dict[str, Callable[[Array], Array]] = {
    **{f"1/2 x (1 + tanh {name})": lambda x, f=f: 0.5 * x * (1 + np.tanh(f(x))) for name, f in INNER.items()},
    **{f"x sigmoid(2 {name})": lambda x, f=f: x * piecewise_sigmoid(2 * f(x)) for name, f in INNER.items()},
    "1/2 x + 1/2 x tanh": lambda x: 0.5 * x + 0.5 * x * np.tanh(INNER["c (x + a x^3)"](x)),
    "torch": lambda x: functional.gelu(tensor(x), approximate="tanh").numpy(),
}
GELU_TANH_BACKWARD = {
    **{
        f"{inner}, {inner_slope}, {slope}": also(
            NOT_HUGE,
            lambda x, dy, f=f, d=d, h=h: dy * (0.5 * (1 + np.tanh(f(x))) + 0.5 * x * h(f(x)) * d(x)),
        )
        for inner, f in INNER.items()
        for inner_slope, d in INNER_SLOPE.items()
        for slope, h in TANH_SLOPE.items()
    },
    "torch": also(NOT_HUGE, lambda x, dy: gradient(lambda a: functional.gelu(a, approximate="tanh"), x, dy)),
    "torch by hand": also(
        NOT_HUGE,
        lambda x, dy: gradient(
            lambda a: 0.5 * a * (1 + torch.tanh((2 / np.pi) ** 0.5 * (a + CUBIC * torch.pow(a, 3)))), x, dy
        ),
    ),
}


BETA = 0.7


def scaled(x: Array) -> Array:
    return x * x.dtype.type(BETA)


def over_beta(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: f(scaled(x)) / x.dtype.type(BETA)


SOFTPLUS_FORWARD: dict[str, Form | Callable[[Array], Array]] = {
    "max + log1p": over_beta(lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))),
    "max + log": over_beta(lambda z: np.maximum(z, 0) + np.log(1 + np.exp(-np.abs(z)))),
    "log(1 + e^z)": Form(over_beta(lambda z: np.log(1 + np.exp(z))), below("x")),
    "log1p(e^z)": Form(over_beta(lambda z: np.log1p(np.exp(z))), below("x")),
    "logaddexp": over_beta(lambda z: np.logaddexp(z.dtype.type(0), z)),
    "-log sigmoid(-z)": Form(over_beta(lambda z: -np.log(1 / (1 + np.exp(z)))), below("x")),
    "with the threshold": lambda x: np.where(scaled(x) > 20, x, call(SOFTPLUS_FORWARD["max + log1p"], x)),
    "torch": lambda x: functional.softplus(tensor(x), BETA).numpy(),
}
SOFTPLUS_BACKWARD = {
    **{f"dy times {name}": also(f, lambda x, dy, f=f: dy * call(f, scaled(x))) for name, f in SIGMOID.items()},
    **{
        f"1 - e^-(beta y) of {name}": also(f, lambda x, dy, f=f: dy * (1 - np.exp(-scaled(call(f, x)))))
        for name, f in SOFTPLUS_FORWARD.items()
    },
    "-expm1": lambda x, dy: -dy * np.expm1(-scaled(call(SOFTPLUS_FORWARD["max + log1p"], x))),
    "dy / (1 + e^-z)": lambda x, dy: dy / (1 + np.exp(-scaled(x))),
    "torch": lambda x, dy: gradient(lambda a: functional.softplus(a, BETA), x, dy),
    "torch by hand": Form(
        lambda x, dy: gradient(lambda a: torch.log(1 + torch.exp(BETA * a)) / BETA, x, dy), below("x")
    ),
}


def normalised(e: Array) -> Array:
    return e / e.sum(axis=1, keepdims=True)


def top(s: Array) -> Array:
    return s.max(axis=1, keepdims=True)


def lse_shifted(s: Array) -> Array:
    return top(s) + np.log(np.exp(s - top(s)).sum(axis=1, keepdims=True))


def lse_plain(s: Array) -> Array:
    return np.log(np.exp(s).sum(axis=1, keepdims=True))


SOFTMAX: dict[str, Form | Callable[[Array], Array]] = {
    "shifted": lambda s: normalised(np.exp(s - top(s))),
    "not shifted": Form(lambda s: normalised(np.exp(s)), below("s")),
    "shifted by the mean": Form(
        lambda s: normalised(np.exp(s - s.mean(axis=1, keepdims=True))), lambda inputs: np.ptp(inputs["s"]) < 4
    ),
    "e^(s - lse)": lambda s: np.exp(s - lse_shifted(s)),
    "e^(s - lse), not shifted": Form(lambda s: np.exp(s - lse_plain(s)), below("s")),
    "e^((s - max) - log sum)": lambda s: np.exp(special.log_softmax(s, axis=1)),
    "times the reciprocal": lambda s: np.exp(s - top(s)) * (1 / np.exp(s - top(s)).sum(axis=1, keepdims=True)),
    "summed in turn": lambda s: np.exp(s - top(s)) / sequentially(np.exp(s - top(s)).T)[:, None],
    "powers of 2": lambda s: normalised(np.exp2((s - top(s)) * s.dtype.type(np.log2(np.e)))),
    "scipy": lambda s: special.softmax(s, axis=1),
    "torch": lambda s: torch.softmax(tensor(s), dim=1).numpy(),
    "e^log_softmax in torch": lambda s: torch.log_softmax(tensor(s), dim=1).exp().numpy(),
}


def jacobian_rows(y: Array, dy: Array) -> Array:
    return np.stack([(np.diag(row) - np.outer(row, row)) @ d for row, d in zip(y, dy, strict=True)])


SOFTMAX_PULLBACK: dict[str, Callable[[Array, Array], Array]] = {
    "y (dy - sum)": lambda y, dy: y * (dy - (dy * y).sum(axis=1, keepdims=True)),
    "y dy - y sum": lambda y, dy: y * dy - y * (dy * y).sum(axis=1, keepdims=True),
    "y (dy - sum in turn)": lambda y, dy: y * (dy - sequentially((dy * y).T)[:, None]),
    "Jacobian": jacobian_rows,
    "Jacobian, einsum": lambda y, dy: np.einsum(
        "ijk,ik->ij", y[:, :, None] * (np.eye(y.shape[1], dtype=y.dtype) - y[:, None, :]), dy
    ),
}
SOFTMAX_BACKWARD = {
    **{
        f"{name} of {forward}": also(f, lambda s, dy, f=f, pull=pull: pull(call(f, s), dy))
        for name, pull in SOFTMAX_PULLBACK.items()
        for forward, f in SOFTMAX.items()
        if forward in ("shifted", "not shifted", "e^(s - lse)", "torch", "powers of 2", "summed in turn")
    },
    "torch": lambda s, dy: gradient(lambda a: torch.softmax(a, dim=1), s, dy),
    "e^log_softmax in torch": lambda s, dy: gradient(lambda a: torch.log_softmax(a, dim=1).exp(), s, dy),
}

# --- losses ----------------------------------------------------------------------------------------------------------

MEANS: dict[str, Callable[[Array, int], Any]] = {  # of an array of terms, by a count
    "sum / c": lambda a, c: a.sum() / a.dtype.type(c),
    "sum (a / c)": lambda a, c: (a / a.dtype.type(c)).sum(),
    "(1 / c) sum": lambda a, c: a.dtype.type(1 / c) * a.sum(),
    "in turn": lambda a, c: sequentially(a.ravel()) / a.dtype.type(c),
    "mean": lambda a, c: a.mean() * a.dtype.type(a.size / c),
    "row by row": lambda a, c: sequentially(a.reshape(len(a), -1).sum(axis=1)) / a.dtype.type(c),
}


def loss_of(kind: str, y: str = "y") -> dict[str, Callable[..., Any]]:
    return {
        "loss": lambda reduction, t, p, **rest: LOSSES[kind](reduction).loss(rest[y], t, p),
        "gradient": lambda reduction, t, p, **rest: LOSSES[kind](reduction).gradient(rest[y], t, p),
    }


PER_SAMPLE = ("cross_entropy", "probability_cross_entropy", "half_squared_error", "nll")


def count(kind: str, reduction: str, y: Array) -> int:
    if reduction == "sum":
        return 1
    return len(y) if kind in PER_SAMPLE else y.size


def rows(rng: np.random.Generator, m: int, n: int) -> Array:
    return np.eye(n)[rng.integers(0, n, m)] if rng.random() < 0.6 else rng.dirichlet(np.ones(n), m)


def draw_logits(rng: np.random.Generator, d: Draw) -> Inputs:
    return {
        "s": d.numbers(rng, d.m, d.n) + (d.scale * 3 if rng.random() < 0.3 else 0),
        "t": rows(rng, d.m, d.n),
        "reduction": ("mean", "sum")[rng.integers(2)],
    }


def draw_probabilities(rng: np.random.Generator, d: Draw) -> Inputs:
    s = np.clip(d.numbers(rng, d.m, d.n), -30, 30)
    p = np.exp(s - s.max(axis=1, keepdims=True))
    return {
        "y": p / p.sum(axis=1, keepdims=True),
        "t": rows(rng, d.m, d.n),
        "reduction": ("mean", "sum")[rng.integers(2)],
    }


def draw_numbers(rng: np.random.Generator, d: Draw) -> Inputs:
    return {
        "y": d.numbers(rng, d.m, d.n),
        "t": d.numbers(rng, d.m, d.n) if rng.random() < 0.5 else rng.standard_normal((d.m, d.n)),
        "reduction": ("mean", "sum")[rng.integers(2)],
    }


def bits(rng: np.random.Generator, d: Draw) -> Array:
    return (rng.integers(0, 2, (d.m, d.n)) if rng.random() < 0.6 else rng.random((d.m, d.n))).astype(float)


def draw_shares(rng: np.random.Generator, d: Draw) -> Inputs:
    z = np.clip(d.numbers(rng, d.m, d.n), -12, 12)
    return {"y": 1 / (1 + np.exp(-z)), "t": bits(rng, d), "reduction": ("mean", "sum")[rng.integers(2)]}


def draw_binary_logits(rng: np.random.Generator, d: Draw) -> Inputs:
    return {"z": d.numbers(rng, d.m, d.n), "t": bits(rng, d), "reduction": ("mean", "sum")[rng.integers(2)]}


def averaged(
    kind: str, terms: Callable[[Array, Array], Array], mean: Callable[[Array, int], Any]
) -> Callable[..., Any]:
    def compute(t: Array, reduction: str, **y: Array) -> Any:
        (value,) = y.values()
        return mean(terms(value, t), count(kind, reduction, value))

    return compute


LOG_SOFTMAX: dict[str, Form | Callable[[Array], Array]] = {
    "(s - max) - log sum": lambda s: s - top(s) - np.log(np.exp(s - top(s)).sum(axis=1, keepdims=True)),
    "s - lse": lambda s: s - lse_shifted(s),
    "s - lse, not shifted": Form(lambda s: s - lse_plain(s), below("s")),
    "s - logsumexp of scipy": lambda s: s - special.logsumexp(s, axis=1, keepdims=True),
    "log softmax": Form(lambda s: np.log(call(SOFTMAX["shifted"], s)), spread_below("s")),
    "log softmax, not shifted": Form(lambda s: np.log(call(SOFTMAX["not shifted"], s)), below("s", 0.5)),
    "log softmax in torch": Form(lambda s: torch.softmax(tensor(s), dim=1).log().numpy(), spread_below("s")),
    "log_softmax in torch": lambda s: torch.log_softmax(tensor(s), dim=1).numpy(),
    "-log sum e^(s_j - s)": Form(
        lambda s: -np.log(np.exp(s[:, None, :] - s[:, :, None]).sum(axis=2)), spread_below("s")
    ),
}
CROSS_ENTROPY = {
    **{
        f"{name}, {mean}": also(f, averaged("cross_entropy", lambda s, t, f=f: -t * call(f, s), g))
        for name, f in LOG_SOFTMAX.items()
        for mean, g in MEANS.items()
        if mean == "sum / c" or name == "s - lse"
    },
    "lse sum t - sum t s": lambda s, t, reduction: (
        (lse_shifted(s)[:, 0] * t.sum(axis=1) - (t * s).sum(axis=1)).sum()
        / s.dtype.type(count("cross_entropy", reduction, s))
    ),
    "torch": lambda s, t, reduction: functional.cross_entropy(tensor(s), tensor(t), reduction=reduction).numpy(),
    "nll_loss in torch": Form(
        lambda s, t, reduction: functional.nll_loss(
            tensor(s).log_softmax(dim=1), tensor(t.argmax(axis=1)), reduction=reduction
        ).numpy(),
        lambda inputs: bool(((inputs["t"] == 0) | (inputs["t"] == 1)).all()),
    ),
}


LOG_SOFTMAX_PULLBACK: dict[str, Callable[[Array, Array], Array]] = {
    "dy - q sum": lambda q, dy: dy - q * dy.sum(axis=1, keepdims=True),
    "dy - q sum in turn": lambda q, dy: dy - q * sequentially(dy.T)[:, None],
    "Jacobian": lambda q, dy: np.stack(
        [d - np.outer(row, np.ones_like(row)) @ d for row, d in zip(q, dy, strict=True)]
    ),
    "one Jacobian": lambda q, dy: np.stack(
        [(np.eye(len(row), dtype=row.dtype) - row[:, None]) @ d for row, d in zip(q, dy, strict=True)]
    ),
}
LOG_SOFTMAX_BACKWARD = {
    **{
        f"{name} of {softmax}": also(f, lambda s, dy, f=f, pull=pull: pull(call(f, s), dy))
        for name, pull in LOG_SOFTMAX_PULLBACK.items()
        for softmax, f in SOFTMAX.items()
    },
    "torch": lambda s, dy: gradient(lambda a: torch.log_softmax(a, dim=1), s, dy),
    "torch by hand": Form(
        lambda s, dy: gradient(lambda a: torch.softmax(a, dim=1).log(), s, dy), spread_below("s", 0.5)
    ),
}


def draw_log_probabilities(rng: np.random.Generator, d: Draw) -> Inputs:
    return {
        "y": -np.abs(d.numbers(rng, d.m, d.n)),
        "t": rng.integers(0, d.n, d.m),
        "reduction": ("mean", "sum")[rng.integers(2)],
    }


def own(y: Array, t: Array) -> Array:
    return y[np.arange(len(y)), t]


def in_rows(y: Array, t: Array) -> Array:
    return np.eye(y.shape[1], dtype=y.dtype)[t]


NLL = {
    **{f"own, {mean}": averaged("nll", lambda y, t: -own(y, t), g) for mean, g in MEANS.items()},
    "-sum t y": averaged("nll", lambda y, t: -(in_rows(y, t) * y), MEANS["sum / c"]),
    "torch": lambda y, t, reduction: functional.nll_loss(tensor(y), tensor(t), reduction=reduction).numpy(),
}


SMOOTHING, CLASS_WEIGHTS = 0.3, 0.5  # the smallest weight; the largest is 2


def draw_weighted(rng: np.random.Generator, d: Draw) -> Inputs:
    drawn = draw_logits(rng, d)
    return drawn | {"t": rng.integers(0, d.n, d.m), "w": rng.uniform(CLASS_WEIGHTS, 2, d.n)}


def weighted(part: str) -> Callable[..., Expected]:
    def expected(s: Array, t: Array, w: Array, reduction: str, p: Precision) -> Expected:
        found: Expected = getattr(LOSSES["cross_entropy"](reduction, SMOOTHING, tuple(w)), part)(s, t, p)
        return found

    return expected


def torch_weighted(s: torch.Tensor, t: Array, w: Array, reduction: str) -> torch.Tensor:
    return functional.cross_entropy(s, tensor(t), tensor(w), reduction=reduction, label_smoothing=SMOOTHING)


def smoothed(s: Array, t: Array, w: Array) -> Array:
    e = s.dtype.type(SMOOTHING)
    return (in_rows(s, t) * (1 - e) + e / s.dtype.type(s.shape[1])) * w


def weight_sum(s: Array, t: Array, w: Array, reduction: str) -> Any:
    return w[t].sum() if reduction == "mean" else s.dtype.type(1)


def two_losses(s: Array, t: Array, w: Array, reduction: str) -> Any:
    """(1 - e) of that of the classes, and e / n of that of all."""
    log_p, e = call(LOG_SOFTMAX["s - lse"], s), s.dtype.type(SMOOTHING)
    own_loss, of_all = -(w[t] * own(log_p, t)).sum(), -(w * log_p).sum()
    return ((1 - e) * own_loss + e / s.dtype.type(s.shape[1]) * of_all) / weight_sum(s, t, w, reduction)


WEIGHTED = {
    "smoothed target": lambda s, t, w, reduction: (
        -(smoothed(s, t, w) * call(LOG_SOFTMAX["(s - max) - log sum"], s)).sum() / weight_sum(s, t, w, reduction)
    ),
    "two losses": two_losses,
    "weights that are 1 in the mean": lambda s, t, w, reduction: (
        -(smoothed(s, t, w / w[t].mean()) * call(LOG_SOFTMAX["s - lse"], s)).sum() / s.dtype.type(len(s))
        if reduction == "mean"
        else two_losses(s, t, w, reduction)
    ),
    "torch": lambda s, t, w, reduction: torch_weighted(tensor(s), t, w, reduction).numpy(),
}
WEIGHTED_BACKWARD = {
    "q W - t": lambda s, t, w, reduction: (
        (call(SOFTMAX["shifted"], s) * smoothed(s, t, w).sum(axis=1, keepdims=True) - smoothed(s, t, w))
        / weight_sum(s, t, w, reduction)
    ),
    "torch": lambda s, t, w, reduction: gradient(lambda a: torch_weighted(a, t, w, reduction), s),
}


def divided(kind: str, top: Callable[[Array, Array], Array]) -> dict[str, Callable[..., Any]]:
    """A gradient divided by its count, in three ways."""

    def split(t: Array, reduction: str, y: Mapping[str, Array]) -> tuple[Array, Array, Any]:
        (value,) = y.values()
        return value, t, value.dtype.type(count(kind, reduction, value))

    def last(t: Array, reduction: str, **y: Array) -> Array:
        value, t, c = split(t, reduction, y)
        return top(value, t) / c

    def by_reciprocal(t: Array, reduction: str, **y: Array) -> Array:
        value, t, c = split(t, reduction, y)
        return (1 / c) * top(value, t)

    return {"/ c": last, "* (1 / c)": by_reciprocal}


def pulled(pull: str, softmax: str) -> Callable[..., Array]:
    """Not fused: dL/dp of the loss on probabilities, through the softmax."""

    def compute(s: Array, t: Array, reduction: str) -> Array:
        p = call(SOFTMAX[softmax], s)
        return SOFTMAX_PULLBACK[pull](p, -t / p / s.dtype.type(count("cross_entropy", reduction, s)))

    return compute


def subtracted_in_place(s: Array, t: Array, reduction: str) -> Array:
    p = call(SOFTMAX["shifted"], s)
    p[np.arange(len(p)), t.argmax(axis=1)] -= 1
    p /= count("cross_entropy", reduction, s)
    return p


CROSS_ENTROPY_BACKWARD = {
    **{
        f"(p - t) {division}, p {name}": also(f, g)
        for name, f in SOFTMAX.items()
        for division, g in divided("cross_entropy", lambda s, t, f=f: call(f, s) - t).items()
    },
    "p / c - t / c": lambda s, t, reduction: (
        call(SOFTMAX["shifted"], s) / count("cross_entropy", reduction, s)
        - t / s.dtype.type(count("cross_entropy", reduction, s))
    ),
    "p[t] -= 1": Form(subtracted_in_place, lambda inputs: bool(((inputs["t"] == 0) | (inputs["t"] == 1)).all())),
    **{
        f"not fused, {pull}, p {name}": also(SOFTMAX[name], pulled(pull, name), spread_below("s", 0.5))
        for pull in SOFTMAX_PULLBACK
        for name in ("shifted", "not shifted", "e^(s - lse)")
    },
    "torch": lambda s, t, reduction: gradient(lambda a: functional.cross_entropy(a, tensor(t), reduction=reduction), s),
    "not fused, torch": Form(
        lambda s, t, reduction: gradient(
            lambda a: -(tensor(t) * torch.softmax(a, dim=1).log()).sum() / count("cross_entropy", reduction, s), s
        ),
        spread_below("s", 0.5),
    ),
}
def draw_divergent(rng: np.random.Generator, d: Draw) -> Inputs:
    t = rng.dirichlet(np.ones(d.n), d.m)
    t[rng.random(t.shape) < 0.1] = 0
    y = np.log(np.maximum(rng.dirichlet(np.ones(d.n), d.m), 1e-30)) * min(d.scale, 2)
    return {"y": y, "t": t, "reduction": ("mean", "batchmean", "sum")[rng.integers(3)]}


def kl_count(y: Array, reduction: str) -> Any:
    return y.dtype.type({"mean": y.size, "batchmean": len(y), "sum": 1}[reduction])


def kl(terms: Callable[[Array, Array], Array]) -> Callable[..., Any]:
    return lambda y, t, reduction: np.where(t == 0, t.dtype.type(0), terms(y, t)).sum() / kl_count(y, reduction)


def kl_torch(y: torch.Tensor, t: Array, reduction: str) -> torch.Tensor:
    """Its "mean" by the sum: torch advises against it each time."""
    if reduction == "mean":
        return functional.kl_div(y, tensor(t), reduction="sum") / t.size
    return functional.kl_div(y, tensor(t), reduction=reduction)


KL = {
    "t (log t - y)": kl(lambda y, t: t * (np.log(t) - y)),
    "t log t - t y": kl(lambda y, t: t * np.log(t) - t * y),
    "t log (t / e^y)": kl(lambda y, t: t * np.log(t / np.exp(y))),
    "entropy apart": lambda y, t, reduction: (
        (special.xlogy(t, t).sum() - (t * y).sum()) / kl_count(y, reduction)
    ),
    "scipy": lambda y, t, reduction: special.rel_entr(t, np.exp(y)).sum() / kl_count(y, reduction),
    "torch": lambda y, t, reduction: kl_torch(tensor(y), t, reduction).numpy(),
}
KL_BACKWARD = {
    "-t / c": lambda y, t, reduction: -t / kl_count(y, reduction),
    "-t (1 / c)": lambda y, t, reduction: -t * (1 / kl_count(y, reduction)),
    "-t / n / m": lambda y, t, reduction: -t / (kl_count(y, reduction) / len(y)) / y.dtype.type(len(y)),
    "torch": lambda y, t, reduction: gradient(lambda a: kl_torch(a, t, reduction), y),
}
def draw_signed(rng: np.random.Generator, d: Draw) -> Inputs:
    return {
        "y": d.numbers(rng, d.m, d.n),
        "t": rng.choice([-1.0, 1.0], (d.m, d.n)),
        "reduction": ("mean", "sum")[rng.integers(2)],
    }


SIGNED_HINGE = {
    **{
        f"max(0, 1 - t y), {mean}": averaged("hinge", lambda y, t: np.maximum(0, 1 - t * y), g)
        for mean, g in MEANS.items()
    },
    "max(0, t (t - y))": averaged("hinge", lambda y, t: np.maximum(0, t * (t - y)), MEANS["sum / c"]),
    "half of z + |z|": averaged("hinge", lambda y, t: (1 - t * y + np.abs(1 - t * y)) / 2, MEANS["sum / c"]),
    "torch": lambda y, t, reduction: (
        (1 - tensor(t) * tensor(y)).clamp(min=0).sum() / count("hinge", reduction, y)
    ).numpy(),
    "hinge_embedding_loss in torch": lambda y, t, reduction: (
        functional.hinge_embedding_loss(tensor(t * y), -torch.ones(y.shape, dtype=tensor(y).dtype), reduction=reduction)
    ).numpy(),
}
SIGNED_HINGE_BACKWARD = {
    **{f"-t {how}": f for how, f in divided("hinge", lambda y, t: np.where(t * y < 1, -t, 0).astype(y.dtype)).items()},
    "/ n / m": lambda y, t, reduction: (
        -t * (1 - t * y > 0) / y.dtype.type(y.shape[1] if reduction == "mean" else 1)
        / y.dtype.type(y.shape[0] if reduction == "mean" else 1)
    ),
    "torch": lambda y, t, reduction: gradient(
        lambda a: (1 - tensor(t) * a).relu().sum() / count("hinge", reduction, y), y
    ),
}
NLL_BACKWARD = {
    **{f"-t {how}": f for how, f in divided("nll", lambda y, t: -in_rows(y, t)).items()},
    "torch": lambda y, t, reduction: gradient(
        lambda a: functional.nll_loss(a, tensor(t), reduction=reduction), y
    ),
}
PROBABILITY_CROSS_ENTROPY = {
    **{
        f"-t log p, {mean}": averaged("probability_cross_entropy", lambda y, t: -t * np.log(y), g)
        for mean, g in MEANS.items()
    },
    "t log (1 / p)": Form(
        averaged("probability_cross_entropy", lambda y, t: t * np.log(1 / y), MEANS["sum / c"]),
        lambda inputs: bool((inputs["y"] < 0.5).all()),  # near 1, 1 / p rounds the logarithm away
    ),
    "scipy": averaged("probability_cross_entropy", lambda y, t: -special.xlogy(t, y), MEANS["sum / c"]),
    "base 2": averaged(
        "probability_cross_entropy", lambda y, t: -t * (np.log2(y) * y.dtype.type(np.log(2))), MEANS["sum / c"]
    ),
    "torch": averaged(
        "probability_cross_entropy", lambda y, t: -(tensor(t) * tensor(y).log()).numpy(), MEANS["sum / c"]
    ),
}
PROBABILITY_CROSS_ENTROPY_BACKWARD = {
    **{f"-t / p {how}": f for how, f in divided("probability_cross_entropy", lambda y, t: -t / y).items()},
    **{f"-t (1 / p) {how}": f for how, f in divided("probability_cross_entropy", lambda y, t: -t * (1 / y)).items()},
    "-t / (c p)": lambda y, t, reduction: -t / (y.dtype.type(count("probability_cross_entropy", reduction, y)) * y),
    "-(t / c) / p": lambda y, t, reduction: -(t / y.dtype.type(count("probability_cross_entropy", reduction, y))) / y,
    "torch": lambda y, t, reduction: gradient(
        lambda a: -(tensor(t) * a.log()).sum() / count("probability_cross_entropy", reduction, y), y
    ),
}


def squared(kind: str) -> dict[str, Any]:
    half = kind == "half_squared_error"
    return {
        **{
            f"d d, {mean}": averaged(kind, lambda y, t: (y - t) * (y - t) * y.dtype.type(0.5 if half else 1), g)
            for mean, g in MEANS.items()
        },
        "(t - y) ** 2": averaged(kind, lambda y, t: (t - y) ** 2 / y.dtype.type(2 if half else 1), MEANS["sum / c"]),
        "norm": lambda y, t, reduction: (
            np.linalg.norm(y - t) ** 2 / y.dtype.type(count(kind, reduction, y) * (2 if half else 1))
        ),
        "d . d": lambda y, t, reduction: (
            np.vdot(y - t, y - t) / y.dtype.type(count(kind, reduction, y) * (2 if half else 1))
        ),
        "torch": lambda y, t, reduction: (
            functional.mse_loss(tensor(y), tensor(t), reduction="sum")
            / (count(kind, reduction, y) * (2 if half else 1))
        ).numpy(),
    }


def squared_backward(kind: str) -> dict[str, Any]:
    half = kind == "half_squared_error"
    factor = 1 if half else 2
    return {
        **{f"f (y - t) {how}": f for how, f in divided(kind, lambda y, t: factor * (y - t)).items()},
        **{f"-f (t - y) {how}": f for how, f in divided(kind, lambda y, t: -factor * (t - y)).items()},
        "(f / c) (y - t)": lambda y, t, reduction: y.dtype.type(factor / count(kind, reduction, y)) * (y - t),
        "/ n / m": lambda y, t, reduction: (
            factor * (y - t) / y.dtype.type(y.shape[1]) / y.dtype.type(y.shape[0])
            if count(kind, reduction, y) == y.size
            else factor * (y - t) / y.dtype.type(count(kind, reduction, y))
        ),
        "torch": lambda y, t, reduction: gradient(
            lambda a: functional.mse_loss(a, tensor(t), reduction="sum") * (factor / 2) / count(kind, reduction, y), y
        ),
    }


def differ(inputs: Inputs) -> bool:
    return bool((inputs["y"] != inputs["t"]).all())


L1 = {
    **{f"|y - t|, {mean}": averaged("l1", lambda y, t: np.abs(y - t), g) for mean, g in MEANS.items()},
    "sign": averaged("l1", lambda y, t: (y - t) * np.sign(y - t), MEANS["sum / c"]),
    "max - min": averaged("l1", lambda y, t: np.maximum(y, t) - np.minimum(y, t), MEANS["sum / c"]),
    "norm": lambda y, t, reduction: np.linalg.norm((y - t).ravel(), 1) / y.dtype.type(count("l1", reduction, y)),
    "torch": lambda y, t, reduction: functional.l1_loss(tensor(y), tensor(t), reduction=reduction).numpy(),
}
L1_BACKWARD = {
    **{f"sign {how}": f for how, f in divided("l1", lambda y, t: np.sign(y - t)).items()},
    **{
        f"d / |d| {how}": Form(f, differ)
        for how, f in divided("l1", lambda y, t: (y - t) / np.abs(y - t)).items()
    },
    **{
        f"(y > t) - (y < t) {how}": f
        for how, f in divided("l1", lambda y, t: (y > t).astype(y.dtype) - (y < t).astype(y.dtype)).items()
    },
    "/ n / m": lambda y, t, reduction: (
        np.sign(y - t) / y.dtype.type(y.shape[1]) / y.dtype.type(y.shape[0])
        if reduction == "mean"
        else np.sign(y - t)
    ),
    "torch": lambda y, t, reduction: gradient(lambda a: functional.l1_loss(a, tensor(t), reduction=reduction), y),
}


DELTA = 0.3


def huber_form(terms: Callable[[Array, Array, Any], Array], mean: str = "sum / c") -> Callable[..., Any]:
    """Of terms that are made of |y - t|, min(|y - t|, delta), and delta."""

    def of(y: Array, t: Array) -> Array:
        d, delta = np.abs(y - t), y.dtype.type(DELTA)
        return terms(d, np.minimum(d, delta), delta)

    return averaged("huber", of, MEANS[mean])


HUBER = {
    **{
        f"selected, {mean}": huber_form(lambda d, q, e: np.where(d <= e, d * d / 2, e * (d - e / 2)), mean)
        for mean in MEANS
    },
    "multiplied out": huber_form(lambda d, q, e: np.where(d < e, d**2 / 2, e * d - e * e / 2)),
    "q (d - q / 2)": huber_form(lambda d, q, e: q * (d - q / 2)),
    "q d - q^2 / 2": huber_form(lambda d, q, e: q * d - q * q / 2),
    "q^2 / 2 + delta (d - q)": huber_form(lambda d, q, e: q**2 / 2 + e * (d - q)),
    "torch": lambda y, t, reduction: functional.huber_loss(tensor(y), tensor(t), reduction, DELTA).numpy(),
    "delta smooth l1": lambda y, t, reduction: (
        functional.smooth_l1_loss(tensor(y), tensor(t), reduction=reduction, beta=DELTA) * DELTA
    ).numpy(),
}


def huber_slope(of: Callable[[Array, Any], Array]) -> Callable[[Array, Array], Array]:
    return lambda y, t: of(y - t, y.dtype.type(DELTA))


HUBER_SLOPES = {
    "clip": huber_slope(lambda d, e: np.clip(d, -e, e)),
    "selected": huber_slope(lambda d, e: np.where(np.abs(d) <= e, d, e * np.sign(d))),
    "max min": huber_slope(lambda d, e: np.maximum(np.minimum(d, e), -e)),
    "sign times q": huber_slope(lambda d, e: np.sign(d) * np.minimum(np.abs(d), e)),
}
HUBER_BACKWARD = {
    **{f"{name} {how}": f for name, slope in HUBER_SLOPES.items() for how, f in divided("huber", slope).items()},
    "/ n / m": lambda y, t, reduction: (
        HUBER_SLOPES["clip"](y, t) / y.dtype.type(y.shape[1] if reduction == "mean" else 1)
        / y.dtype.type(y.shape[0] if reduction == "mean" else 1)
    ),
    "torch": lambda y, t, reduction: gradient(lambda a: functional.huber_loss(a, tensor(t), reduction, DELTA), y),
}


def draw_scores(rng: np.random.Generator, d: Draw) -> Inputs:
    labels = rng.integers(0, d.n, d.m)
    return {"s": d.numbers(rng, d.m, d.n), "t": labels, "reduction": ("mean", "sum")[rng.integers(2)]}


HINGE_MARGINS: dict[str, Callable[[Array, Array], Array]] = {
    "(1 - s_t) + s_j": lambda own, s: 1 - own + s,
    "1 + (s_j - s_t)": lambda own, s: 1 + (s - own),
    "1 - (s_t - s_j)": lambda own, s: 1 - (own - s),
    "(s_j + 1) - s_t": lambda own, s: (s + 1) - own,
}


def hinge(margins: str, mean: str) -> Callable[..., Any]:
    def compute(s: Array, t: Array, reduction: str) -> Any:
        rows, (m, n) = np.arange(len(s)), s.shape
        z = np.maximum(HINGE_MARGINS[margins](s[rows, t][:, None], s), 0)
        c, dtype = m if reduction == "mean" else 1, s.dtype.type
        if mean == "less 1":
            return (z.sum(axis=1) - 1).sum() / dtype(n * c)
        z[rows, t] = 0
        if mean == "row by row":
            return sequentially(z.sum(axis=1) / dtype(n)) / dtype(c)
        return dtype(1 / n) * z.sum() * dtype(1 / c) if mean == "(1 / n) (1 / c) sum" else z.sum() / dtype(n * c)

    return compute


def hinge_slope(margins: str, how: str) -> Callable[..., Array]:
    def compute(s: Array, t: Array, reduction: str) -> Array:
        rows, (m, n) = np.arange(len(s)), s.shape
        above = (HINGE_MARGINS[margins](s[rows, t][:, None], s) > 0).astype(s.dtype)
        above[rows, t] = 0
        c, dtype = m if reduction == "mean" else 1, s.dtype.type
        if how == "class by class":
            g = above * dtype(1 / n) / dtype(c)
            g[rows, t] = -sequentially(g.T)
            return g
        above[rows, t] = -above.sum(axis=1)
        return above / dtype(n) / dtype(c) if how == "/ n / c" else above / dtype(n * c)

    return compute


HINGE = {
    **{f"{z}, {mean}": hinge(z, mean) for z in HINGE_MARGINS for mean in ("less 1", "row by row")},
    **{mean: hinge("(1 - s_t) + s_j", mean) for mean in ("/ (n c)", "(1 / n) (1 / c) sum")},
    "torch": lambda s, t, reduction: functional.multi_margin_loss(tensor(s), tensor(t), reduction=reduction).numpy(),
}
HINGE_BACKWARD = {
    **{f"{z}, {how}": hinge_slope(z, how) for z in HINGE_MARGINS for how in ("/ (n c)", "/ n / c", "class by class")},
    "torch": lambda s, t, reduction: gradient(
        lambda a: functional.multi_margin_loss(a, tensor(t), reduction=reduction), s
    ),
}


def is_hard(inputs: Inputs) -> bool:
    return bool(((inputs["t"] == 0) | (inputs["t"] == 1)).all())


BINARY = {
    **{
        f"t log p + (1 - t) log (1 - p), {mean}": averaged(
            "binary_cross_entropy", lambda y, t: -(t * np.log(y) + (1 - t) * np.log(1 - y)), g
        )
        for mean, g in MEANS.items()
    },
    "log1p": averaged("binary_cross_entropy", lambda y, t: -(t * np.log(y) + (1 - t) * np.log1p(-y)), MEANS["sum / c"]),
    "two sums": lambda y, t, reduction: (
        -((t * np.log(y)).sum() + ((1 - t) * np.log(1 - y)).sum())
        / y.dtype.type(count("binary_cross_entropy", reduction, y))
    ),
    "selected": Form(
        averaged("binary_cross_entropy", lambda y, t: -np.log(np.where(t == 1, y, 1 - y)), MEANS["sum / c"]), is_hard
    ),
    "log (1 - |t - p|)": Form(
        averaged("binary_cross_entropy", lambda y, t: -np.log(1 - np.abs(t - y)), MEANS["sum / c"]),
        lambda inputs: is_hard(inputs) and bool((np.abs(inputs["t"] - inputs["y"]) < 0.5).all()),
    ),
    "torch": lambda y, t, reduction: functional.binary_cross_entropy(tensor(y), tensor(t), reduction=reduction).numpy(),
}
BINARY_BACKWARD = {
    **{
        f"(1 - t) / (1 - p) - t / p {how}": f
        for how, f in divided("binary_cross_entropy", lambda y, t: (1 - t) / (1 - y) - t / y).items()
    },
    **{
        f"-(t / p - (1 - t) / (1 - p)) {how}": f
        for how, f in divided("binary_cross_entropy", lambda y, t: -(t / y - (1 - t) / (1 - y))).items()
    },
    **{
        f"(p - t) / (p (1 - p)) {how}": f
        for how, f in divided("binary_cross_entropy", lambda y, t: (y - t) / (y * (1 - y))).items()
    },
    **{
        f"(p - t) / p / (1 - p) {how}": f
        for how, f in divided("binary_cross_entropy", lambda y, t: (y - t) / y / (1 - y)).items()
    },
    **{
        f"(p - t) / (p - p^2) {how}": Form(f, lambda inputs: bool((inputs["y"] < 0.75).all()))
        for how, f in divided("binary_cross_entropy", lambda y, t: (y - t) / (y - y * y)).items()
    },
    "torch": lambda y, t, reduction: gradient(
        lambda a: functional.binary_cross_entropy(a, tensor(t), reduction=reduction), y
    ),
}
SOFTPLUS = {
    "max + log1p": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "max + log": lambda z: np.maximum(z, 0) + np.log(1 + np.exp(-np.abs(z))),
    "logaddexp": lambda z: np.logaddexp(z.dtype.type(0), z),
    "log (1 + e^z)": Form(lambda z: np.log(1 + np.exp(z)), below("z")),
    "log1p (e^z)": Form(lambda z: np.log1p(np.exp(z)), below("z")),
}
LOGITS_BINARY = {
    **{
        f"softplus {name} - z t, {mean}": also(
            f, averaged("logits_binary_cross_entropy", lambda z, t, f=f: call(f, z) - z * t, g)
        )
        for name, f in SOFTPLUS.items()
        for mean, g in MEANS.items()
        if mean == "sum / c" or name == "max + log1p"
    },
    "(1 - t) z + softplus (-z)": averaged(
        "logits_binary_cross_entropy",
        lambda z, t: (1 - t) * z + np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z))),
        MEANS["sum / c"],
    ),
    "-log sigmoid of +-z": averaged(
        "logits_binary_cross_entropy",
        lambda z, t: t * np.logaddexp(z.dtype.type(0), -z) + (1 - t) * np.logaddexp(z.dtype.type(0), z),
        MEANS["sum / c"],
    ),
    "log of sigmoid (z), of sigmoid (-z)": Form(
        averaged(
            "logits_binary_cross_entropy",
            lambda z, t: -t * np.log(piecewise_sigmoid(z)) - (1 - t) * np.log(piecewise_sigmoid(-z)),
            MEANS["sum / c"],
        ),
        below("z"),
    ),
    "torch": lambda z, t, reduction: functional.binary_cross_entropy_with_logits(
        tensor(z), tensor(t), reduction=reduction
    ).numpy(),
    "logsigmoid in torch": averaged(
        "logits_binary_cross_entropy",
        lambda z, t: (
            -tensor(t) * functional.logsigmoid(tensor(z)) - (1 - tensor(t)) * functional.logsigmoid(-tensor(z))
        ).numpy(),
        MEANS["sum / c"],
    ),
}
LOGITS_BINARY_BACKWARD = {
    **{
        f"(sigmoid - t) {how}, sigmoid {name}": also(f, g)
        for name, f in ((n, f if not isinstance(f, Form) else Form(f.compute, below("z"))) for n, f in SIGMOID.items())
        for how, g in divided("logits_binary_cross_entropy", lambda z, t, f=f: call(f, z) - t).items()
    },
    "sigmoid / c - t / c": lambda z, t, reduction: (
        piecewise_sigmoid(z) / z.dtype.type(count("logits_binary_cross_entropy", reduction, z))
        - t / z.dtype.type(count("logits_binary_cross_entropy", reduction, z))
    ),
    "(1 - t) sigmoid (z) - t sigmoid (-z)": lambda z, t, reduction: (
        ((1 - t) * piecewise_sigmoid(z) - t * piecewise_sigmoid(-z))
        / z.dtype.type(count("logits_binary_cross_entropy", reduction, z))
    ),
    "torch": lambda z, t, reduction: gradient(
        lambda a: functional.binary_cross_entropy_with_logits(a, tensor(t), reduction=reduction), z
    ),
}

# --- optimisers ------------------------------------------------------------------------------------------------------


def draw_sgd(rng: np.random.Generator, d: Draw) -> Inputs:
    momentum = float(rng.choice([0, 0.5, 0.9]))
    nesterov = momentum > 0 and rng.random() < 0.4
    options = {
        "lr": float(10 ** rng.uniform(-4, 0)),
        "momentum": momentum,
        "dampening": 0.0 if nesterov else float(rng.choice([0, 0.1])),
        "weight_decay": float(rng.choice([0, 1e-2])),
        "nesterov": bool(nesterov),
    }
    step = int(rng.integers(1, 4))
    state = {"momentum_buffer": d.numbers(rng, d.m, d.n)} if momentum and step > 1 else {}
    return {
        "options": options,
        "step": step,
        "before": rng.standard_normal((d.m, d.n)),
        "g": d.numbers(rng, d.m, d.n),
        "state": state,
    }


def draw_adam(rng: np.random.Generator, d: Draw) -> Inputs:
    step = int(rng.choice([1, 2, 3, 10, 1000]))
    options = {
        "lr": float(10 ** rng.uniform(-4, 0)),
        "beta1": float(rng.choice([0.9, 0.5])),
        "beta2": float(rng.choice([0.999, 0.9])),
        "eps": float(rng.choice([1e-8, 1e-3])),
        "weight_decay": float(rng.choice([0, 1e-2])),
    }
    g, old = d.numbers(rng, d.m, d.n), d.numbers(rng, d.m, d.n)
    state = {"exp_avg": old, "exp_avg_sq": old**2 * rng.uniform(0.5, 2, old.shape)} if step > 1 else {}
    return {"options": options, "step": step, "before": rng.standard_normal(g.shape), "g": g, "state": state}


def velocity(options: Inputs, step: int, before: Array, g: Array, state: Values) -> tuple[Array, Values, Array]:
    d = g + options["weight_decay"] * before
    if not options["momentum"]:
        return d, {}, d
    v = d
    if step > 1:
        v = options["momentum"] * state["momentum_buffer"] + (1 - options["dampening"]) * d
    return (d + options["momentum"] * v if options["nesterov"] else v), {"momentum_buffer": v}, d


def sgd_plain(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
    direction, kept, _ = velocity(options, step, before, g, state)
    return {"": before - options["lr"] * direction} | kept


def sgd_parts(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
    """The terms of the step subtracted one by one."""
    lr, mu, decay = options["lr"], options["momentum"], options["weight_decay"]
    _, kept, _ = velocity(options, step, before, g, state)
    if not mu:
        return {"": before - lr * g - lr * decay * before}
    v = kept["momentum_buffer"]
    if options["nesterov"]:
        return {"": before - lr * g - lr * decay * before - lr * mu * v} | kept
    return {"": before - lr * v} | kept


def sgd_shrinking(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
    """Weight decay as a factor, which it is without momentum."""
    lr = options["lr"]
    return {"": before * (1 - lr * options["weight_decay"]) - lr * g}


def sgd_scaled_velocity(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
    """The velocity with the rate in it, as Keras keeps it."""
    lr, mu = options["lr"], options["momentum"]
    d = g + options["weight_decay"] * before
    w = -lr * d
    if step > 1:
        w = mu * (-lr * state["momentum_buffer"]) - lr * ((1 - options["dampening"]) * d)
    return {"": before + (mu * w - lr * d if options["nesterov"] else w), "momentum_buffer": -w / lr}


def torch_optimizer(kind: str, **how: Any) -> Callable[..., Values]:
    def compute(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
        named = dict(options)
        if "beta1" in named:
            named["betas"] = (named.pop("beta1"), named.pop("beta2"))
        p = torch.nn.Parameter(tensor(before))
        p.grad = tensor(g)
        optimizer = getattr(torch.optim, kind)([p], **named, **how)
        if state:
            optimizer.state[p].update({name: tensor(a) for name, a in state.items()})
            if kind != "SGD":
                optimizer.state[p]["step"] = torch.tensor(float(step - 1))
        optimizer.step()
        kept = {n: a.numpy() for n, a in optimizer.state[p].items() if n != "step" and a is not None}
        return {"": p.detach().numpy()} | kept

    return compute


def no_momentum(inputs: Inputs) -> bool:
    return not inputs["options"]["momentum"]


def some_momentum(inputs: Inputs) -> bool:
    return not no_momentum(inputs)


SGD = {
    "by the book": sgd_plain,
    "term by term": sgd_parts,
    "decay as a factor": Form(sgd_shrinking, no_momentum),
    "velocity with the rate": Form(sgd_scaled_velocity, some_momentum),
    "torch": torch_optimizer("SGD", foreach=False),
    "torch foreach": torch_optimizer("SGD", foreach=True),
    "torch fused": torch_optimizer("SGD", fused=True),
}
MOMENTS: dict[str, Callable[[Array, Array, float], Array]] = {
    "b m + (1 - b) g": lambda m, g, b: b * m + (1 - b) * g,
    "m + (1 - b) (g - m)": lambda m, g, b: m + (1 - b) * (g - m),
    "b m + g - b g": lambda m, g, b: b * m + g - b * g,
    "g + b (m - g)": lambda m, g, b: g + b * (m - g),
}


def adam_paper(p: Array, m: Array, v: Array, o: Inputs, t: int) -> Array:
    return o["lr"] * (m / (1 - o["beta1"] ** t)) / (np.sqrt(v / (1 - o["beta2"] ** t)) + o["eps"])


def adam_torch(p: Array, m: Array, v: Array, o: Inputs, t: int) -> Array:
    return o["lr"] / (1 - o["beta1"] ** t) * (m / (np.sqrt(v) / (1 - o["beta2"] ** t) ** 0.5 + o["eps"]))


def adam_folded(p: Array, m: Array, v: Array, o: Inputs, t: int) -> Array:
    """Both corrections in the rate, and eps corrected with them."""
    root = (1 - o["beta2"] ** t) ** 0.5
    return o["lr"] * root / (1 - o["beta1"] ** t) * m / (np.sqrt(v) + o["eps"] * root)


def adam_power(p: Array, m: Array, v: Array, o: Inputs, t: int) -> Array:
    return o["lr"] * (m / (1 - o["beta1"] ** t)) * ((v / (1 - o["beta2"] ** t)) ** 0.5 + o["eps"]) ** -1


STEPS = {"paper": adam_paper, "torch's": adam_torch, "folded": adam_folded, "powers": adam_power}
DECAYS: dict[str, Callable[[Array, Array, float], Array]] = {
    "(1 - lr wd) p - d": lambda p, d, a: (1 - a) * p - d,
    "p - lr wd p - d": lambda p, d, a: p - a * p - d,
    "p - (d + lr wd p)": lambda p, d, a: p - (d + a * p),
}


def adam(average: str, size: str, decay: str = "") -> Callable[..., Values]:
    def compute(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
        if not decay:
            g = g + options["weight_decay"] * before
        m, v = (state.get(name, np.zeros_like(before)) for name in ("exp_avg", "exp_avg_sq"))
        m = MOMENTS[average](m, g, options["beta1"])
        v = MOMENTS[average](v, g * g, options["beta2"])
        d = STEPS[size](before, m, v, options, step)
        after = DECAYS[decay](before, d, options["lr"] * options["weight_decay"]) if decay else before - d
        return {"": after, "exp_avg": m, "exp_avg_sq": v}

    return compute


# the second moment must not become negative: only the first two averages cannot
ADAM = {
    **{f"{a}, {s}": adam(a, s) for a in list(MOMENTS)[:2] for s in STEPS},
    "torch": torch_optimizer("Adam", foreach=False),
    "torch foreach": torch_optimizer("Adam", foreach=True),
    "torch fused": torch_optimizer("Adam", fused=True),
}


def draw_nadam(rng: np.random.Generator, d: Draw) -> Inputs:
    drawn = draw_adam(rng, d)
    drawn["options"]["momentum_decay"] = float(rng.choice([0.004, 0.0, 0.3]))
    drawn["options"]["decoupled_weight_decay"] = bool(rng.choice([False, True]))
    return drawn


def nadam_momentum(o: Inputs, t: int) -> float:
    mu: float = o["beta1"] * (1 - 0.5 * 0.96 ** (t * o["momentum_decay"]))
    return mu


def nadam_product(o: Inputs, t: int) -> float:
    return float(np.prod([nadam_momentum(o, k) for k in range(1, t + 1)]))


def nadam_of_torch(o: Inputs, t: int) -> tuple[float, float]:
    mu, ahead, product = nadam_momentum(o, t), nadam_momentum(o, t + 1), nadam_product(o, t)
    return (1 - mu) / (1 - product), ahead / (1 - product * ahead)


def nadam_in_float32(o: Inputs, t: int) -> tuple[float, float]:
    """The product of mu is a float32, as in torch."""
    product = np.float32(1)
    for k in range(1, t + 1):
        product = np.float32(product * np.float32(nadam_momentum(o, k)))
    mu, ahead = nadam_momentum(o, t), nadam_momentum(o, t + 1)
    return (1 - mu) / (1 - float(product)), ahead / (1 - float(product) * ahead)


NADAM_FACTORS = {"float64": nadam_of_torch, "float32": nadam_in_float32}
NADAM_STEPS: dict[str, Callable[..., Array]] = {
    "term by term": lambda p, a, g, b, m, r: p - a * g / r - b * m / r,
    "their sum": lambda p, a, g, b, m, r: p - (a * g + b * m) / r,
    "quotients first": lambda p, a, g, b, m, r: p - (g / r * a + m / r * b),
    "reciprocal": lambda p, a, g, b, m, r: p - (1 / r) * (b * m + a * g),
}


def nadam(average: str, factors: str, how: str) -> Callable[..., Values]:
    def compute(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
        decayed = before
        if options["decoupled_weight_decay"]:
            shrink = 1 - options["lr"] * options["weight_decay"]
            decayed = before * shrink if "sum" in how else before - options["lr"] * options["weight_decay"] * before
        else:
            g = g + options["weight_decay"] * before
        m, v = (state.get(name, np.zeros_like(before)) for name in ("exp_avg", "exp_avg_sq"))
        m = MOMENTS[average](m, g, options["beta1"])
        v = MOMENTS[average](v, g * g, options["beta2"])
        a, b = (options["lr"] * factor for factor in NADAM_FACTORS[factors](options, step))
        root = np.sqrt(v / (1 - options["beta2"] ** step)) + options["eps"]
        return {"": NADAM_STEPS[how](decayed, a, g, b, m, root), "exp_avg": m, "exp_avg_sq": v}

    return compute


def torch_nadam(**how: Any) -> Callable[..., Values]:
    """torch's own, with the product of mu that it would have at this step."""

    def compute(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
        product = torch.tensor(1.0)
        for k in range(1, step):
            product *= nadam_momentum(options, k)
        held = state | {"mu_product": product.numpy()} if state else state
        found = torch_optimizer("NAdam", **how)(options, step, before, g, held)
        return {name: a for name, a in found.items() if name != "mu_product"}

    return compute


NADAM = {
    **{f"{a}, {f}, {s}": nadam(a, f, s) for a in list(MOMENTS)[:2] for f in NADAM_FACTORS for s in NADAM_STEPS},
    "torch": torch_nadam(foreach=False),
    "torch foreach": torch_nadam(foreach=True),
}
ADAMW = {
    **{f"{a}, {s}, {d}": adam(a, s, d) for a in list(MOMENTS)[:2] for s in STEPS for d in DECAYS},
    "torch": torch_optimizer("AdamW", foreach=False),
    "torch foreach": torch_optimizer("AdamW", foreach=True),
    "torch fused": torch_optimizer("AdamW", fused=True),
}



def draw_rmsprop(rng: np.random.Generator, d: Draw) -> Inputs:
    step = int(rng.choice([1, 2, 100]))
    options = {
        "lr": float(10 ** rng.uniform(-4, 0)),
        "alpha": float(rng.choice([0.99, 0.9, 0.45, 0.1])),
        "eps": float(rng.choice([1e-8, 1e-3])),
        "weight_decay": float(rng.choice([0, 1e-2])),
        "momentum": float(rng.choice([0, 0.9])),
        "centered": bool(rng.random() < 0.4),
    }
    g, old = d.numbers(rng, d.m, d.n), d.numbers(rng, d.m, d.n)
    g *= rng.random(g.shape) < 0.9
    state = {"square_avg": old**2 * rng.uniform(1, 2, old.shape)}
    state |= {"grad_avg": old} if options["centered"] else {}
    state |= {"momentum_buffer": rng.standard_normal(old.shape)} if options["momentum"] else {}
    before = rng.standard_normal(g.shape) * (rng.random(g.shape) < 0.9)
    return {"options": options, "step": step, "before": before, "g": g, "state": state if step > 1 else {}}


def draw_adagrad(rng: np.random.Generator, d: Draw) -> Inputs:
    step = int(rng.choice([1, 2, 100]))
    options = {
        "lr": float(10 ** rng.uniform(-4, 0)),
        "lr_decay": float(rng.choice([0, 0.1])),
        "eps": float(rng.choice([1e-10, 1e-3])),
        "weight_decay": float(rng.choice([0, 1e-2])),
        "initial_accumulator_value": float(rng.choice([0, 0.1])),
    }
    g, old = d.numbers(rng, d.m, d.n), d.numbers(rng, d.m, d.n)
    g *= rng.random(g.shape) < 0.9
    before = rng.standard_normal(g.shape) * (rng.random(g.shape) < 0.9)
    return {"options": options, "step": step, "before": before, "g": g, "state": {"sum": old**2} if step > 1 else {}}


QUOTIENTS: dict[str, Callable[[Array, Array, float], Array]] = {
    "g / (r + eps)": lambda g, v, eps: g / (np.sqrt(v) + eps),
    "(1 / (r + eps)) g": lambda g, v, eps: 1 / (np.sqrt(v) + eps) * g,
    "powers": lambda g, v, eps: g * (v**0.5 + eps) ** -1,
}


def rmsprop(average: str, quotient: str, rate: str) -> Callable[..., Values]:
    """`rate`: where the rate is: with the quotient, in the gradient, or with momentum in the velocity."""

    def compute(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
        lr, alpha, mu, zeros = options["lr"], options["alpha"], options["momentum"], np.zeros_like(before)
        g = g + options["weight_decay"] * before if options["weight_decay"] else g
        v = MOMENTS[average](state.get("square_avg", zeros), g * g, alpha)
        kept, root = {"square_avg": v}, v
        if options["centered"]:
            kept["grad_avg"] = MOMENTS[average](state.get("grad_avg", zeros), g, alpha)
            root = v - kept["grad_avg"] ** 2
        if not mu:
            first = rate == "in the gradient"
            d = QUOTIENTS[quotient](lr * g if first else g, root, options["eps"])
            return {"": before - (d if first else lr * d)} | kept
        d, b = QUOTIENTS[quotient](g, root, options["eps"]), state.get("momentum_buffer", zeros)
        if rate == "in the velocity":
            w = mu * (lr * b) + lr * d
            return {"": before - w, "momentum_buffer": w / lr} | kept
        kept["momentum_buffer"] = mu * b + d
        return {"": before - lr * kept["momentum_buffer"]} | kept

    return compute


RMSPROP = {
    **{f"{a}, {q}": rmsprop(a, q, "") for a in list(MOMENTS)[:2] for q in QUOTIENTS},
    "rate in the gradient": Form(rmsprop("b m + (1 - b) g", "g / (r + eps)", "in the gradient"), no_momentum),
    "rate in the velocity": Form(rmsprop("b m + (1 - b) g", "g / (r + eps)", "in the velocity"), some_momentum),
    "torch": torch_optimizer("RMSprop", foreach=False),
    "torch foreach": torch_optimizer("RMSprop", foreach=True),
}



def adagrad(quotient: str, rate: str) -> Callable[..., Values]:
    """`rate`: where its fall is: in the rate, or in the divisor."""

    def compute(options: Inputs, step: int, before: Array, g: Array, state: Values) -> Values:
        lr, dtype = options["lr"], before.dtype.type
        g = g + options["weight_decay"] * before if options["weight_decay"] else g
        s = state.get("sum", np.full_like(before, options["initial_accumulator_value"])) + g**2
        fall = dtype(1) + dtype(step - 1) * dtype(options["lr_decay"])
        if rate == "in the divisor":
            return {"": before - lr * g / (fall * (np.sqrt(s) + options["eps"])), "sum": s}
        return {"": before - dtype(lr) / fall * QUOTIENTS[quotient](g, s, options["eps"]), "sum": s}

    return compute


ADAGRAD = {
    **{q: adagrad(q, "in the rate") for q in QUOTIENTS},
    "fall in the divisor": adagrad("", "in the divisor"),
    "torch": torch_optimizer("Adagrad", foreach=False),
    "torch foreach": torch_optimizer("Adagrad", foreach=True),
    "torch fused": torch_optimizer("Adagrad", fused=True),
}

# --- all of them -----------------------------------------------------------------------------------------------------


def draw_x(rng: np.random.Generator, d: Draw) -> Inputs:
    return {"x": d.numbers(rng, d.m, d.n)}


def draw_x_and_dy(rng: np.random.Generator, d: Draw) -> Inputs:
    return draw_x(rng, d) | {"dy": d.numbers(rng, d.m, d.n, scale=10 ** rng.uniform(-6, 1))}


def draw_s_and_dy(rng: np.random.Generator, d: Draw) -> Inputs:
    drawn = draw_x_and_dy(rng, d)
    return {"s": drawn["x"], "dy": drawn["dy"]}


def draw_images(rng: np.random.Generator, d: Draw, scale: float | None = None) -> Inputs:
    return {"x": d.numbers(rng, d.m, d.n, *IMAGE, scale=scale)}


def draw_images_and_dy(rng: np.random.Generator, d: Draw, channels: int, scale: float | None = None) -> Inputs:
    """With dy of so many channels."""
    drawn = draw_images(rng, d, scale)
    return drawn | {"dy": d.numbers(rng, d.m, channels, *windows(drawn["x"]).shape[2:4])}


def draw_filters(rng: np.random.Generator, d: Draw) -> Array:
    return d.numbers(rng, d.k, d.n, *KERNEL, scale=1.0)


def convolution(part: str) -> Callable[..., Expected]:
    """Its channels are those of the arrays."""

    def expected(p: Precision, **arrays: Array) -> Expected:
        channels = (arrays[name].shape[1] for name in ("x", "weight") if name in arrays)
        out = arrays["dy"].shape[1] if "dy" in arrays else len(arrays["weight"])
        return getattr(Conv2d(next(channels, 1), out, KERNEL, STRIDE, PADDING), part)(**arrays, p=p)

    return expected


# --- normalisations --------------------------------------------------------------------------------------------------
# Written for groups (N, groups): mean and variance over the first axis.

EPS = 1e-5
MOMENTUM = 0.3
SHAPES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "layer_norm": (lambda a: a.T, lambda a: a.T),
    "batch_norm1d": (lambda a: a, lambda a: a),
    "batch_norm2d": (
        lambda a: np.moveaxis(a, 1, -1).reshape(-1, a.shape[1]),
        lambda a: np.moveaxis(a.reshape(-1, *IMAGE, a.shape[1]), -1, 1),
    ),
}
Statistics = Callable[[Array], tuple[Array, Array]]


def few_divide(name: str) -> bool:
    return name not in ("ones @", "mean times m", "divided by m first")


def two_passes(f: Callable[[Array], Array]) -> Statistics:
    def statistics(a: Array) -> tuple[Array, Array]:
        mean = f(a) / a.dtype.type(len(a))
        return mean, f((a - mean) ** 2) / a.dtype.type(len(a))

    return statistics


def one_pass(f: Callable[[Array], Array]) -> Statistics:
    def statistics(a: Array) -> tuple[Array, Array]:
        mean = f(a) / a.dtype.type(len(a))
        return mean, f(a * a) / a.dtype.type(len(a)) - mean * mean

    return statistics


def welford(a: Array) -> tuple[Array, Array]:
    mean, total = np.zeros_like(a[0]), np.zeros_like(a[0])
    for k, row in enumerate(a, 1):
        before = row - mean
        mean = mean + before / a.dtype.type(k)
        total = total + before * (row - mean)
    return mean, total / a.dtype.type(len(a))


def by_torch(a: Array) -> tuple[Array, Array]:
    var, mean = torch.var_mean(tensor(a), dim=0, correction=0)
    return mean.numpy(), var.numpy()


STATISTICS: dict[str, Statistics] = {
    **{f"two passes, {name}": two_passes(f) for name, f in SUMS.items() if few_divide(name)},
    **{f"one pass, {name}": one_pass(f) for name, f in SUMS.items() if few_divide(name)},
    "numpy": lambda a: (a.mean(axis=0), a.var(axis=0)),
    "std^2": lambda a: (a.mean(axis=0), a.std(axis=0) ** 2),
    "Welford": welford,
    "torch": by_torch,
}
SCALED: dict[str, Callable[..., Array]] = {
    "over the root": lambda a, mean, var, w, b: (a - mean) / np.sqrt(var + EPS) * w + b,
    "w over the root": lambda a, mean, var, w, b: w * (a - mean) / np.sqrt(var + EPS) + b,
    "times the reciprocal": lambda a, mean, var, w, b: w * ((a - mean) * (1 / np.sqrt(var + EPS))) + b,
    "power": lambda a, mean, var, w, b: w * (a - mean) * (var + EPS) ** -0.5 + b,
    "folded": lambda a, mean, var, w, b: a * (w / np.sqrt(var + EPS)) + (b - mean * (w / np.sqrt(var + EPS))),
    "parts": lambda a, mean, var, w, b: (a / np.sqrt(var + EPS) - mean / np.sqrt(var + EPS)) * w + b,
}


def does_not_cancel(kind: str) -> Callable[[Inputs], bool]:
    """Whether mean(x^2) - mean^2 has digits left, as an author makes sure of who writes it so."""

    def holds(inputs: Inputs) -> bool:
        a = SHAPES[kind][0](inputs["x"]).astype(np.float64)
        lost = 8 * (len(a) + 2) * np.finfo(inputs["x"].dtype).eps * (a * a).mean(axis=0)
        return bool(np.all(lost < a.var(axis=0) + EPS))

    return holds


def when_sensible(kind: str, name: str) -> Callable[[Inputs], bool]:
    return does_not_cancel(kind) if "one pass" in name else lambda inputs: True


def outputs(kind: str) -> dict[str, Any]:
    there, back = SHAPES[kind]

    def form(name: str, f: Statistics, of: Callable[..., Array]) -> Form:
        def compute(x: Array, weight: Array, bias: Array) -> Array:
            w, b = (there(np.broadcast_to(beside(kind, p, x.ndim), x.shape)) for p in (weight, bias))
            return back(of(there(x), *f(there(x)), w, b))

        return Form(compute, when_sensible(kind, name))

    every = {f"{n}, {how}": form(n, f, of) for n, f in STATISTICS.items() for how, of in SCALED.items()}
    return every | {"torch": lambda x, weight, bias: torch_norm(kind, *map(tensor, (x, weight, bias))).numpy()}


def beside(kind: str, parameter: Array, ndim: int) -> Array:
    return parameter if kind == "layer_norm" else parameter.reshape(1, -1, *[1] * (ndim - 2))


def torch_norm(kind: str, x: Any, weight: Any, bias: Any = None) -> torch.Tensor:
    if kind == "layer_norm":
        return functional.layer_norm(x, (x.shape[1],), weight, bias, EPS)
    return functional.batch_norm(x, None, None, weight, bias, True, 0.0, EPS)


def by_hand(kind: str, how: str) -> Callable[..., torch.Tensor]:
    """In torch, for autograd."""
    axes = {"layer_norm": (1,), "batch_norm1d": (0,), "batch_norm2d": (0, 2, 3)}[kind]

    def compute(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        w = w if kind == "layer_norm" else w.reshape(1, -1, *[1] * (x.ndim - 2))
        mean = x.mean(dim=axes, keepdim=True)
        if how == "one pass":
            var = (x * x).mean(dim=axes, keepdim=True) - mean * mean
        else:
            var = ((x - mean) ** 2).mean(dim=axes, keepdim=True)
        if how == "folded":
            scale = w * torch.rsqrt(var + EPS)
            return x * scale - mean * scale
        return (x - mean) / torch.sqrt(var + EPS) * w

    return compute


def compact(h: Array, s: Array, d: Array, t: Array, f: Callable[[Array], Array]) -> Array:
    n = t.dtype.type(len(t))
    return (t - f(t) / n - h * (f(t * h) / n)) / s


def times_n(h: Array, s: Array, d: Array, t: Array, f: Callable[[Array], Array]) -> Array:
    n = t.dtype.type(len(t))
    return 1 / (n * s) * (n * t - f(t) - h * f(t * h))


def step_by_step(h: Array, s: Array, d: Array, t: Array, f: Callable[[Array], Array]) -> Array:
    """Ioffe and Szegedy, section 3."""
    n = t.dtype.type(len(t))
    dvar = f(t * d * t.dtype.type(-0.5) * (s * s) ** -1.5)
    dmean = f(-t / s) + dvar * f(-2 * d) / n
    return t / s + dvar * 2 * d / n + dmean / n


def by_inverse(h: Array, s: Array, d: Array, t: Array, f: Callable[[Array], Array]) -> Array:
    """As the computation graph of the lecture notes of CS231n has it, from 1 / s."""
    n = t.dtype.type(len(t))
    inverse = 1 / s
    dsquare = f(t * d) * (-1 / (s * s)) * (t.dtype.type(0.5) * inverse) / n
    centred = t * inverse + 2 * d * dsquare
    return centred - f(centred) / n


BACKWARD = {"compact": compact, "times N": times_n, "step by step": step_by_step, "by 1 / s": by_inverse}


def input_gradients(kind: str) -> dict[str, Any]:
    there, back = SHAPES[kind]

    def form(name: str, f: Statistics, of: Callable[..., Array], sum_of: Callable[[Array], Array]) -> Form:
        def compute(x: Array, weight: Array, dy: Array) -> Array:
            mean, var = f(there(x))
            s, d = np.sqrt(var + x.dtype.type(EPS)), there(x) - mean
            t = there(dy) * there(np.broadcast_to(beside(kind, weight, x.ndim), x.shape))
            return back(of(d / s, s, d, t, sum_of))

        return Form(compute, when_sensible(kind, name))

    sums = {name: f for name, f in SUMS.items() if few_divide(name)}
    every = {
        **{f"{how}, {n}": form(n, two_passes(f), of, f) for n, f in sums.items() for how, of in BACKWARD.items()},
        **{f"{how}, {n}": form(n, f, of, sequentially) for n, f in STATISTICS.items() for how, of in BACKWARD.items()},
        "torch": lambda x, weight, dy: gradient(lambda a: torch_norm(kind, a, tensor(weight)), x, dy),
    }
    return every | {
        f"torch by hand, {how}": Form(
            lambda x, weight, dy, how=how: gradient(lambda a: by_hand(kind, how)(a, tensor(weight)), x, dy),
            when_sensible(kind, how),
        )
        for how in ("two passes", "one pass", "folded")
    }


def weight_gradients(kind: str) -> dict[str, Any]:
    there = SHAPES[kind][0]

    def form(name: str, f: Statistics, sum_of: Callable[[Array], Array], late: bool) -> Form:
        def compute(x: Array, dy: Array) -> Array:
            mean, var = f(there(x))
            s = np.sqrt(var + x.dtype.type(EPS))
            if kind == "layer_norm":
                return sum_of((there(dy) * (there(x) - mean) / s).T.copy())
            return sum_of(there(dy) * (there(x) - mean)) / s if late else sum_of(there(dy) * ((there(x) - mean) / s))

        return Form(compute, when_sensible(kind, name))

    sums = {name: f for name, f in SUMS.items() if few_divide(name)}
    every = {f"{n}, {late}": form(n, two_passes(f), f, late) for n, f in sums.items() for late in (False, True)}
    every |= {n: form(n, f, sequentially, False) for n, f in STATISTICS.items()}

    def torchs(f: Callable[..., torch.Tensor]) -> Callable[..., Array]:
        return lambda x, dy: gradient(lambda w: f(tensor(x), w), np.ones(x.shape[1], x.dtype), dy)

    every |= {"torch": torchs(lambda x, w: torch_norm(kind, x, w))}
    return every | {
        f"torch by hand, {how}": Form(torchs(by_hand(kind, how)), when_sensible(kind, how))
        for how in ("two passes", "one pass", "folded")
    }


FOLLOWED: dict[str, Callable[[Array, Array], Array]] = {
    "two products": lambda old, new: (1 - MOMENTUM) * old + MOMENTUM * new,
    "by the difference": lambda old, new: old + MOMENTUM * (new - old),
    "shrinking": lambda old, new: old - MOMENTUM * old + MOMENTUM * new,
    "lerp": lambda old, new: torch.lerp(tensor(old), tensor(new), MOMENTUM).numpy(),
}
SAMPLE_VARIANCES: dict[str, Callable[[Array, int], Array]] = {
    "times N / (N - 1)": lambda var, n: var * (n / (n - 1)),
    "times N over N - 1": lambda var, n: var * n / (n - 1),
    "over 1 - 1 / N": lambda var, n: var / (1 - 1 / n),
}


def torch_running(kind: str, which: int) -> Callable[..., Array]:
    def compute(x: Array, running: Array) -> Array:
        both = tensor(np.zeros_like(running)), tensor(np.zeros_like(running))
        both[which].copy_(tensor(running))
        functional.batch_norm(tensor(x), *both, None, None, True, MOMENTUM, EPS)
        return both[which].numpy()

    return compute


def running_means(kind: str) -> dict[str, Any]:
    there = SHAPES[kind][0]
    usual = FOLLOWED["two products"]
    by_mean = {n: lambda x, running, f=f: usual(running, f(there(x))[0]) for n, f in STATISTICS.items()}
    by_rule = {n: lambda x, running, f=f: f(running, there(x).mean(axis=0)) for n, f in FOLLOWED.items()}
    return by_mean | by_rule | {"torch": torch_running(kind, 0)}


def running_variances(kind: str) -> dict[str, Any]:
    there = SHAPES[kind][0]

    def form(name: str, f: Statistics, g: Callable[..., Array], h: Callable[..., Array]) -> Form:
        def compute(x: Array, running: Array) -> Array:
            return g(running, h(f(there(x))[1], len(there(x))))

        return Form(compute, when_sensible(kind, name))

    usual = FOLLOWED["two products"], SAMPLE_VARIANCES["times N / (N - 1)"]
    every = {n: form(n, f, *usual) for n, f in STATISTICS.items()} | {
        f"{how}, {more}": form("numpy", STATISTICS["numpy"], g, h)
        for how, g in FOLLOWED.items()
        for more, h in SAMPLE_VARIANCES.items()
    }
    return every | {
        "ddof": lambda x, running: FOLLOWED["two products"](running, there(x).var(axis=0, ddof=1)),
        "torch": torch_running(kind, 1),
    }


def draw_normalised(kind: str, *parts: str) -> Callable[[np.random.Generator, Draw], Inputs]:
    def draw(rng: np.random.Generator, d: Draw) -> Inputs:
        shape = (d.m, d.n) if kind != "batch_norm2d" else (d.m, d.n, *IMAGE)
        shape = shape if kind == "layer_norm" else (max(d.m, 2), *shape[1:])
        x = d.numbers(rng, *shape)
        drawn = {"x": x, "weight": d.numbers(rng, d.n, scale=1.0), "bias": d.numbers(rng, d.n, scale=1.0)}
        drawn |= {"mean": d.numbers(rng, d.n), "var": d.scale**2 * rng.uniform(0.5, 2, d.n)}
        drawn["dy"] = rng.standard_normal(shape) * 10 ** rng.uniform(-6, 1)
        return {{"mean": "running", "var": "running"}.get(name, name): drawn[name] for name in ("x", *parts)}

    return draw


def normalisation_part(kind: str, part: str, **options: Any) -> Callable[..., Expected]:
    def expected(p: Precision, **arrays: Array) -> Expected:
        found: Expected = getattr(LAYERS[kind](arrays["x"].shape[1], **options), part)(*arrays.values(), p=p)
        return found

    return expected


def normalisation(kind: str) -> dict[str, Operation]:
    return {
        kind: Operation(draw_normalised(kind, "weight", "bias"), normalisation_part(kind, "output"), outputs(kind)),
        f"{kind}, grad_weight": Operation(
            draw_normalised(kind, "dy"), normalisation_part(kind, "grad_weight"), weight_gradients(kind)
        ),
        f"{kind}, grad_input": Operation(
            draw_normalised(kind, "weight", "dy"), normalisation_part(kind, "grad_input"), input_gradients(kind)
        ),
    }


def batch_normalisation(kind: str) -> dict[str, Operation]:
    def of(part: str) -> Callable[..., Expected]:
        return normalisation_part(kind, part, momentum=MOMENTUM)

    return normalisation(kind) | {
        f"{kind}, running_mean": Operation(draw_normalised(kind, "mean"), of("new_running_mean"), running_means(kind)),
        f"{kind}, running_var": Operation(draw_normalised(kind, "var"), of("new_running_var"), running_variances(kind)),
    }
def draw_classes(rng: np.random.Generator, d: Draw) -> Inputs:
    return {"x": rng.integers(0, CLASSES, (d.m, d.k)), "dy": d.numbers(rng, d.m, d.k, d.n)}


def recurrent(kind: str, gates: int, cell: Callable[..., Values]) -> Operation:
    """Of at most 8 samples and 6 steps."""

    def draw(rng: np.random.Generator, d: Draw) -> Inputs:
        m, steps, n, k = 1 + d.m % 8, 1 + d.m % 6, d.n, d.k
        weights = {"W": (gates * k, n), "U": (gates * k, k), "b": (gates * k,), "c": (gates * k,)}
        drawn = {name: d.numbers(rng, *shape, scale=0.5) for name, shape in weights.items()}
        return {"x": d.numbers(rng, m, steps, n)} | drawn | {"dy": d.numbers(rng, m, steps, k, scale=1.0)}

    def expected(x: Array, W: Array, U: Array, b: Array, c: Array, dy: Array, p: Precision) -> dict[str, Expected]:
        layer = LAYERS[kind.lower()](x.shape[2], U.shape[1], batch_first=True)
        gradients = [part for part in layer.parts if part != "output"]
        found = {part: getattr(layer, part)(x, W, U, b, c, dy, p=p) for part in gradients}
        return {"output": layer.output(x, W, U, b, c, p=p)} | found

    return Operation(draw, expected, over_time(cell, kind))


LINEAR_LAYER = Linear(1, 1)  # its sizes do not enter
OPERATIONS = {
    "linear": Operation(
        lambda rng, d: {
            "x": d.numbers(rng, d.m, d.n),
            "weight": d.numbers(rng, d.k, d.n, scale=1.0),
            "bias": d.numbers(rng, d.k, scale=1.0),
        },
        lambda x, weight, bias, p: LINEAR_LAYER.output(x, weight, bias, p=p),
        LINEAR,
    ),
    "linear, grad_weight": Operation(
        lambda rng, d: {"x": d.numbers(rng, d.m, d.n), "dy": d.numbers(rng, d.m, d.k, scale=1.0)},
        LINEAR_LAYER.grad_weight,
        {name: product(lambda x, dy, f=f: f(dy.T.copy(), x.T.copy()), name) for name, f in PRODUCTS.items()},
    ),
    "linear, grad_bias": Operation(
        lambda rng, d: {"dy": d.numbers(rng, d.m, d.k)},
        LINEAR_LAYER.grad_bias,
        {name: product(lambda dy, f=f: f(dy), name) for name, f in SUMS.items()},
    ),
    "linear, grad_input": Operation(
        lambda rng, d: {"weight": d.numbers(rng, d.k, d.n, scale=1.0), "dy": d.numbers(rng, d.m, d.k)},
        LINEAR_LAYER.grad_input,
        {name: product(lambda weight, dy, f=f: f(dy, weight.T.copy()), name) for name, f in PRODUCTS.items()},
    ),
    "conv2d": Operation(
        lambda rng, d: draw_images(rng, d) | {"weight": draw_filters(rng, d), "bias": d.numbers(rng, d.k, scale=1.0)},
        convolution("output"),
        CONV,
    ),
    "conv2d, grad_weight": Operation(
        lambda rng, d: draw_images_and_dy(rng, d, d.k, scale=1.0), convolution("grad_weight"), CONV_WEIGHT
    ),
    "rnn": recurrent("RNN", 1, rnn),
    "lstm": recurrent("LSTM", 4, lstm),
    "gru": recurrent("GRU", 3, gru),
    "self_attention": Operation(draw_attention, attention_expected, ATTENTION),
    "embedding, grad_weight": Operation(
        draw_classes, lambda x, dy, p: Embedding(CLASSES, dy.shape[-1]).grad_weight(x, dy, p), EMBEDDING_WEIGHT
    ),
    "conv2d, grad_bias": Operation(
        lambda rng, d: {"dy": draw_images_and_dy(rng, d, d.k)["dy"]}, convolution("grad_bias"), CONV_BIAS
    ),
    "conv2d, grad_input": Operation(
        lambda rng, d: draw_images_and_dy(rng, d, d.k) | {"weight": draw_filters(rng, d)},
        convolution("grad_input"),
        CONV_INPUT,
    ),
    "avg_pool2d": Operation(draw_images, LAYERS["avg_pool2d"](KERNEL, STRIDE, PADDING).output, AVERAGE),
    "avg_pool2d, grad_input": Operation(
        lambda rng, d: draw_images_and_dy(rng, d, d.n, scale=1.0),
        LAYERS["avg_pool2d"](KERNEL, STRIDE, PADDING).grad_input,
        AVERAGE_BACKWARD,
    ),
    "max_pool2d, grad_input": Operation(
        lambda rng, d: draw_images_and_dy(rng, d, d.n, scale=1.0),
        LAYERS["max_pool2d"](KERNEL, STRIDE, PADDING).grad_input,
        MAXIMUM_BACKWARD,
    ),
    "dropout": Operation(draw_x_and_mask, LAYERS["dropout"](SHARE).output, DROPOUT),
    "dropout, mask": Operation(draw_mask, LAYERS["dropout"](SHARE).mask, DROPOUT_MASK),
    "dropout, grad_input": Operation(
        draw_x_and_mask, lambda x, mask, p: LAYERS["dropout"](SHARE).grad_input(mask, x, p), DROPOUT
    ),
    "sigmoid": Operation(draw_x, LAYERS["sigmoid"]().output, SIGMOID),
    "sigmoid, grad_input": Operation(
        draw_x_and_dy, LAYERS["sigmoid"]().grad_input, SIGMOID_BACKWARD
    ),
    "tanh": Operation(draw_x, LAYERS["tanh"]().output, TANH),
    "tanh, grad_input": Operation(
        draw_x_and_dy, LAYERS["tanh"]().grad_input, TANH_BACKWARD
    ),
    "leaky_relu": Operation(draw_x, LAYERS["leaky_relu"](SLOPE).output, LEAKY),
    "leaky_relu, grad_input": Operation(draw_x_and_dy, LAYERS["leaky_relu"](SLOPE).grad_input, LEAKY_BACKWARD),
    "elu": Operation(draw_x, LAYERS["elu"](ALPHA).output, ELU),
    "elu, grad_input": Operation(draw_x_and_dy, LAYERS["elu"](ALPHA).grad_input, ELU_BACKWARD),
    "silu": Operation(draw_x, LAYERS["silu"]().output, SILU),
    "silu, grad_input": Operation(draw_x_and_dy, LAYERS["silu"]().grad_input, SILU_BACKWARD),
    "gelu": Operation(draw_x, LAYERS["gelu"]().output, GELU),
    "gelu, grad_input": Operation(draw_x_and_dy, LAYERS["gelu"]().grad_input, GELU_BACKWARD),
    "gelu_tanh": Operation(draw_x, LAYERS["gelu_tanh"]().output, GELU_TANH),
    "gelu_tanh, grad_input": Operation(draw_x_and_dy, LAYERS["gelu_tanh"]().grad_input, GELU_TANH_BACKWARD),
    "softplus": Operation(draw_x, LAYERS["softplus"](BETA).output, SOFTPLUS_FORWARD),
    "softplus, grad_input": Operation(draw_x_and_dy, LAYERS["softplus"](BETA).grad_input, SOFTPLUS_BACKWARD),
    "softmax": Operation(
        lambda rng, d: {"s": draw_logits(rng, d)["s"]}, lambda s, p: LAYERS["softmax"]().output(s, p), SOFTMAX
    ),
    "softmax, grad_input": Operation(
        draw_s_and_dy, lambda s, dy, p: LAYERS["softmax"]().grad_input(s, dy, p), SOFTMAX_BACKWARD
    ),
    "log_softmax": Operation(
        lambda rng, d: {"s": draw_logits(rng, d)["s"]}, lambda s, p: LAYERS["log_softmax"]().output(s, p), LOG_SOFTMAX
    ),
    "log_softmax, grad_input": Operation(
        draw_s_and_dy, lambda s, dy, p: LAYERS["log_softmax"]().grad_input(s, dy, p), LOG_SOFTMAX_BACKWARD
    ),
    "binary hinge": Operation(draw_signed, loss_of("hinge")["loss"], SIGNED_HINGE),
    "binary hinge, gradient": Operation(draw_signed, loss_of("hinge")["gradient"], SIGNED_HINGE_BACKWARD),
    "kl divergence": Operation(draw_divergent, loss_of("kl_div")["loss"], KL),
    "kl divergence, gradient": Operation(draw_divergent, loss_of("kl_div")["gradient"], KL_BACKWARD),
    "nll": Operation(draw_log_probabilities, loss_of("nll")["loss"], NLL),
    "nll, gradient": Operation(draw_log_probabilities, loss_of("nll")["gradient"], NLL_BACKWARD),
    "cross-entropy": Operation(draw_logits, loss_of("cross_entropy", "s")["loss"], CROSS_ENTROPY),
    "cross-entropy, gradient": Operation(
        draw_logits, loss_of("cross_entropy", "s")["gradient"], CROSS_ENTROPY_BACKWARD
    ),
    "weighted cross-entropy": Operation(draw_weighted, weighted("loss"), WEIGHTED),
    "weighted cross-entropy, gradient": Operation(draw_weighted, weighted("gradient"), WEIGHTED_BACKWARD),
    "cross-entropy on probabilities": Operation(
        draw_probabilities, loss_of("probability_cross_entropy")["loss"], PROBABILITY_CROSS_ENTROPY
    ),
    "cross-entropy on probabilities, gradient": Operation(
        draw_probabilities, loss_of("probability_cross_entropy")["gradient"], PROBABILITY_CROSS_ENTROPY_BACKWARD
    ),
    "mse": Operation(draw_numbers, loss_of("mse")["loss"], squared("mse")),
    "mse, gradient": Operation(draw_numbers, loss_of("mse")["gradient"], squared_backward("mse")),
    "l1": Operation(draw_numbers, loss_of("l1")["loss"], L1),
    "l1, gradient": Operation(draw_numbers, loss_of("l1")["gradient"], L1_BACKWARD),
    "huber": Operation(
        draw_numbers, lambda y, t, reduction, p: LOSSES["huber"](reduction, DELTA).loss(y, t, p), HUBER
    ),
    "huber, gradient": Operation(
        draw_numbers, lambda y, t, reduction, p: LOSSES["huber"](reduction, DELTA).gradient(y, t, p), HUBER_BACKWARD
    ),
    "multi-class hinge": Operation(draw_scores, loss_of("multi_margin", "s")["loss"], HINGE),
    "multi-class hinge, gradient": Operation(draw_scores, loss_of("multi_margin", "s")["gradient"], HINGE_BACKWARD),
    "half squared error": Operation(draw_numbers, loss_of("half_squared_error")["loss"], squared("half_squared_error")),
    "half squared error, gradient": Operation(
        draw_numbers, loss_of("half_squared_error")["gradient"], squared_backward("half_squared_error")
    ),
    "binary cross-entropy": Operation(draw_shares, loss_of("binary_cross_entropy")["loss"], BINARY),
    "binary cross-entropy, gradient": Operation(
        draw_shares, loss_of("binary_cross_entropy")["gradient"], BINARY_BACKWARD
    ),
    "binary cross-entropy on logits": Operation(
        draw_binary_logits, loss_of("logits_binary_cross_entropy", "z")["loss"], LOGITS_BINARY
    ),
    "binary cross-entropy on logits, gradient": Operation(
        draw_binary_logits, loss_of("logits_binary_cross_entropy", "z")["gradient"], LOGITS_BINARY_BACKWARD
    ),
    "SGD": Operation(draw_sgd, OPTIMIZERS["SGD"]().update, SGD),
    "Adam": Operation(draw_adam, OPTIMIZERS["Adam"]().update, ADAM),
    "NAdam": Operation(draw_nadam, OPTIMIZERS["NAdam"]().update, NADAM),
    "AdamW": Operation(draw_adam, OPTIMIZERS["AdamW"]().update, ADAMW),
    "Adagrad": Operation(draw_adagrad, OPTIMIZERS["Adagrad"]().update, ADAGRAD),
    "RMSprop": Operation(draw_rmsprop, OPTIMIZERS["RMSprop"]().update, RMSPROP),
}
OPERATIONS |= normalisation("layer_norm") | batch_normalisation("batch_norm1d") | batch_normalisation("batch_norm2d")
