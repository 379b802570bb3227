"""Conv2d: y = x * W + b; filters slide over images, and are not flipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice, product
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Precision, summation
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import derivative, double, tensor, value
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula, Unseen, wrong_factor
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape
from compare.operations.window import NO_OVERLAP, Padding, Pair, Window, brief, two


@dataclass(frozen=True)
class Conv2d(Layer):
    """With torch's names and orientation: x (m, in, height, width), W (out, in / groups, kh, kw), b (out,).

    Its output and its gradients are sums of products. `summation` (numbers/allowance.py) bounds them for every order of
    the terms: loops over elements, channels or windows, one matrix product of all windows (im2col), einsum, a sum of
    shifted images. Terms in the padding are 0, and may be left out. Winograd's and Fourier's forms are not covered:
    their errors are relative to the largest number of an image, not to the terms of one sum.
    """

    kind = "conv2d"
    scratch_type, torch_type = scratch.Conv2d, nn.Conv2d
    attributes = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    constants = (int, bool, tuple)
    letters: ClassVar = {"x": "input", "W": "weight", "b": "bias", "y": "output", "dy": "grad_output"}
    parts: ClassVar = {
        "output": Part.of("y[n,o,i,j] = b[o] + sum over c,u,v of W[o,c,u,v] x[n,c,si+du-p,sj+dv-p]", "x W b"),
        "grad_weight": Part.of("dW[o,c,u,v] = sum over n,i,j of dy[n,o,i,j] x[n,c,si+du-p,sj+dv-p]", "x dy"),
        "grad_bias": Part.of("db[o] = sum over n,i,j of dy[n,o,i,j]", "dy"),
        "grad_input": Part.of("dx[n,c,si+du-p,sj+dv-p] = sum over o,u,v of W[o,c,u,v] dy[n,o,i,j]", "x W dy"),
    }

    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = 0
    dilation: Pair = 1
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "padding", "dilation"):
            object.__setattr__(self, name, brief(name, getattr(self, name), 0 if name == "padding" else 1))
        numbers = self.in_channels, self.out_channels, self.groups
        if any(type(n) is not int or n < 1 for n in numbers) or any(n % self.groups for n in numbers):
            raise ValueError(f"found channels {numbers[:2]} in {self.groups} groups, expected groups that divide both")

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        named = {f.name: getattr(layer, f.name) for f in fields(cls) if f.name != "bias"}
        if (mode := getattr(layer, "padding_mode", "zeros")) != "zeros" or isinstance(layer.padding, str):
            shown = f"padding_mode={mode!r}" if mode != "zeros" else f"padding={layer.padding!r}"
            raise TypeError(f"{place}: got {shown}, which is not checked; expected zeros, as many as numbers say")
        if isinstance(layer, nn.Conv2d):
            return cls(**named, bias=layer.bias is not None)
        found = cls(**named, bias="bias" in layer.params)
        found.expect_parameters(layer, place)
        return found

    @property
    def computed(self) -> Mapping[str, Part]:
        if self.bias:
            return self.parts
        without = {name: part for name, part in self.parts.items() if name != "grad_bias"}
        return without | {"output": Part(self.parts["output"].formula, ("x", "W"))}

    @property
    def window(self) -> Window:
        return Window(two(self.kernel_size), two(self.stride), two(self.padding), two(self.dilation))

    @property
    def entering(self) -> Shape:  # type: ignore[override]
        return ANY, self.in_channels, ANY, ANY

    def leaving(self, entering: Shape) -> Shape:
        m, _, down, across = self.window.leaving(entering, str(self))
        return m, self.out_channels, down, across

    def parameters(self) -> dict[str, Shape]:
        weight: dict[str, Shape] = {"weight": self._filters}
        return weight | ({"bias": (self.out_channels,)} if self.bias else {})

    @property
    def _filters(self) -> Shape:
        return self.out_channels, self.in_channels // self.groups, *two(self.kernel_size)

    # --- the reference ---

    def output(self, x: Array, weight: Array, bias: Array | None = None, *, p: Precision) -> Expected:
        """k = in / groups kh kw terms, and one more for the bias."""
        y = self._convolved(x, weight, bias)
        scale = self._convolved(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias))
        plain = lambda: self._outputs_in_turn(x, weight, bias, p.dtype)  # noqa: E731
        return Expected(y, summation(scale, prod(self._filters[1:]) + (bias is not None), p, y, plain))

    def grad_weight(self, x: Array, dy: Array, p: Precision) -> Expected:
        """k = m down across terms."""
        x, dy = double(x), double(dy)
        dw, scale = self._of_weight(x, dy), self._of_weight(np.abs(x), np.abs(dy))
        plain = lambda: self._weights_in_turn(x, dy, p.dtype)  # noqa: E731
        return Expected(dw, summation(scale, dy.size // self.out_channels, p, dw, plain))

    def grad_bias(self, dy: Array, p: Precision) -> Expected:
        """A sum of m down across terms."""
        dy = double(dy)
        db, scale = (value(lambda a: a.sum(dim=(0, 2, 3)), a) for a in (dy, np.abs(dy)))
        return Expected(db, summation(scale, dy.size // self.out_channels, p, db, lambda: _biases_in_turn(dy, p.dtype)))

    def grad_input(self, x: Array, weight: Array, dy: Array, p: Precision) -> Expected:
        """x gives the shape alone. k = out / groups times the windows that one element is in, at most."""
        weight, dy = double(weight), double(dy)
        dx, scale = self._of_input(x, weight, dy), self._of_input(x, np.abs(weight), np.abs(dy))
        terms = self.out_channels // self.groups * self.window.overlap
        plain = lambda: self._inputs_in_turn(x.shape, weight, dy, p.dtype)  # noqa: E731
        return Expected(dx, summation(scale, terms, p, dx, plain))

    def _by_torch(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        geometry = two(self.stride), two(self.padding), two(self.dilation)
        return nn.functional.conv2d(x, weight, bias, *geometry, self.groups)

    def _convolved(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        y: Array = self._by_torch(tensor(x), tensor(weight), None if bias is None else tensor(bias)).numpy()
        return y

    def _of_weight(self, x: Array, dy: Array) -> Array:
        at = tensor(x)
        return derivative(lambda w: self._by_torch(at, w), np.zeros(self._filters), dy)

    def _of_input(self, x: Array, weight: Array, dy: Array) -> Array:
        at = tensor(weight)
        return derivative(lambda a: self._by_torch(a, at), np.zeros(x.shape), dy)

    # --- plain sums, term after term, in several orders ---

    def _grouped(self, a: Array) -> Array:
        """Channels by group: (m, groups, channels / groups, positions)."""
        return a.reshape(len(a), self.groups, a.shape[1] // self.groups, -1)

    def _columns(self, x: Array) -> Array:
        """Of every window its elements: (m, groups, in / groups kh kw, positions)."""
        seen = self.window.seen(x)
        return seen.reshape(len(x), self.groups, prod(self._filters[1:]), -1)

    def _rows(self, weight: Array) -> Array:
        """Filters by group: (groups, out / groups, in / groups kh kw)."""
        return weight.reshape(self.groups, self.out_channels // self.groups, -1)

    def _outputs_in_turn(self, x: Array, weight: Array, bias: Array | None, dtype: DTypeLike) -> Iterator[Array]:
        """With the bias last, and first."""
        columns, rows = self._columns(x.astype(dtype)), self._rows(weight.astype(dtype))
        b = np.zeros(self.out_channels, dtype) if bias is None else bias.astype(dtype)
        b, nothing, sizes = b.reshape(*rows.shape[:2], 1), np.zeros((), dtype), self._filters[1:]
        for order, (first, last) in product(_orders(*sizes), ((nothing, b), (b, nothing))):
            y = np.zeros((len(x), *rows.shape[:2], columns.shape[-1]), dtype) + first
            for at in order:
                k = np.ravel_multi_index(at, sizes)
                y += rows[:, :, k, np.newaxis] * columns[:, :, np.newaxis, k]
            yield (y + last).reshape(self.leaving(x.shape)).astype(np.float64)

    def _weights_in_turn(self, x: Array, dy: Array, dtype: DTypeLike) -> Iterator[Array]:
        columns, d = self._columns(x.astype(dtype)), self._grouped(dy.astype(dtype))
        sizes, terms = (len(x), *dy.shape[2:]), dy.size // self.out_channels
        yield from self._weights_in_order(columns, d, _orders(*sizes), sizes[1:])
        divided = self._weights_in_order(columns, d / d.dtype.type(terms), islice(_orders(*sizes), 1), sizes[1:])
        yield from (dw * terms for dw in divided)

    def _weights_in_order(self, columns: Array, d: Array, orders: Iterable[Places], counts: Shape) -> Iterator[Array]:
        for order in orders:
            dw = np.zeros((*d.shape[1:3], columns.shape[2]), d.dtype)
            for n, *at in order:
                i = np.ravel_multi_index(at, counts)
                dw += d[n, :, :, i, np.newaxis] * columns[n, :, np.newaxis, :, i]
            yield dw.reshape(self._filters).astype(np.float64)

    def _inputs_in_turn(self, shape: Shape, weight: Array, dy: Array, dtype: DTypeLike) -> Iterator[Array]:
        w, d = weight.astype(dtype), dy.astype(dtype)
        per_group = self.out_channels // self.groups
        for order in _orders(per_group, *two(self.kernel_size)):
            padded = self.window.padded(shape, dtype)
            for o, u, v in order:
                term = w[o::per_group, :, u, v, np.newaxis, np.newaxis] * d[:, o::per_group, np.newaxis]
                padded[self.window.places(u, v, dy.shape[2:])] += term.reshape(*shape[:2], *dy.shape[2:])
            yield self.window.cut(padded).astype(np.float64)

    # --- written out ---

    def convolve(self, x: Bounded, W: Bounded) -> Bounded:
        """y without the bias, as matrix products of all windows."""
        parts = [rows @ columns for rows, columns in zip(self.by_filter(W), self.by_window(x), strict=True)]
        leaving = self.leaving(x.shape)
        return _joined(parts).arranged(lambda a: a.reshape(leaving[1], leaving[0], *leaving[2:]).swapaxes(0, 1))

    def weight_gradient(self, x: Bounded, dy: Bounded) -> Bounded:
        """dW."""
        parts = [d @ columns.T for d, columns in zip(self.by_channel(dy), self.by_window(x), strict=True)]
        return _joined(parts).reshape(*self._filters)

    def window_gradient(self, W: Bounded, dy: Bounded) -> Bounded:
        """The gradient of every window: (m, in, kh, kw, down, across)."""
        parts = [rows.T @ d for rows, d in zip(self.by_filter(W), self.by_channel(dy), strict=True)]
        shape = self.in_channels, *two(self.kernel_size), len(dy), *dy.shape[2:]
        return _joined(parts).arranged(lambda a: np.moveaxis(a.reshape(shape), 3, 0))

    def input_gradient(self, W: Bounded, dy: Bounded, shape: Shape) -> Bounded:
        """dx."""
        return self.window.added_up(self.window_gradient(W, dy), shape)

    def by_window(self, x: Bounded) -> list[Bounded]:
        """Of each group a matrix (in / groups kh kw, windows of all samples)."""
        seen = self.window.patches(x).arranged(lambda a: np.moveaxis(a, 0, 3))
        return _split(seen, self.groups, prod(self._filters[1:]))

    def by_channel(self, dy: Bounded) -> list[Bounded]:
        """Of each group a matrix (out / groups, windows of all samples)."""
        return _split(dy.arranged(lambda a: a.swapaxes(0, 1)), self.groups, self.out_channels // self.groups)

    def by_filter(self, W: Bounded) -> list[Bounded]:
        """Of each group a matrix (out / groups, in / groups kh kw)."""
        return _split(W, self.groups, self.out_channels // self.groups)

    def written(self, e: Letters) -> Bounded:
        return biased(e, self.convolve(e.x, e.W))

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in W, b and x: it may be differenced at 0, where nothing is lost."""
        dy, x, weight = e.dy.value, e.x, e.W
        if part == "grad_weight":
            return lambda w: float((dy * self.convolve(x, Bounded.of(w, e.p)).value).sum()), np.zeros(weight.shape)
        if part == "grad_bias":
            return lambda b: float((dy * _along(b)).sum()), np.zeros(self.out_channels)
        return lambda a: float((dy * self.convolve(Bounded.of(a, e.p), weight).value).sum()), np.zeros(x.shape)

    # --- on either side ---

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.Conv2d(**asdict(self), **options)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        """Its weights are not initialised."""
        return nn.utils.skip_init(nn.Conv2d, **asdict(self), dtype=dtype)

    def __str__(self) -> str:
        return f"Conv2d {self.in_channels} -> {self.out_channels}, {' x '.join(map(str, two(self.kernel_size)))}"


Places = list[tuple[int, ...]]


def _orders(*sizes: int) -> Iterator[Places]:
    """All places, the last axis fastest and the first axis fastest, each from either end.

    Equal terms that follow each other, such as a column of equal pixels, round with a bias; in one of these they do.
    """
    rows = list(np.ndindex(*sizes))
    columns = sorted(rows, key=lambda at: at[::-1])
    yield from (rows, rows[::-1], columns, columns[::-1])


def _biases_in_turn(dy: Array, dtype: DTypeLike) -> Iterator[Array]:
    """Divided by their number, equal terms have other mantissas and another bias."""
    for order in _orders(len(dy), *dy.shape[2:]):
        n, i, j = zip(*order, strict=True)
        for divisor in (1, len(dy), len(order)):
            terms = (dy[n, :, i, j] / divisor).astype(dtype)
            yield np.add.accumulate(terms, axis=0)[-1].astype(np.float64) * divisor


def _joined(parts: list[Bounded]) -> Bounded:
    value, error = (np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "error"))
    return Bounded(value, error, parts[0].p)


def _split(a: Bounded, groups: int, rows: int) -> list[Bounded]:
    """As matrices of so many rows, one for each group."""
    found = a.arranged(lambda each: each.reshape(groups, rows, -1))
    return [found[g] for g in range(groups)]


def _along(b: Any) -> Any:
    """One number for each channel, for all its positions."""
    return b[:, np.newaxis, np.newaxis]


def biased(e: Letters, y: Bounded) -> Bounded:
    """y + b, where there is a bias."""
    return y + _along(e.b) if e.has(f"{e.k}.bias") else y


# --- what people get wrong ---


def _output(x: Any = None, W: Any = None, **geometry: Any) -> Formula:
    """y of something else in the place of x or W, or by another geometry."""

    def guess(e: Letters) -> Bounded:
        operation = replace(e.operation, **geometry)
        return biased(e, operation.convolve(x(e) if x else e.x, W(e) if W else e.W))

    return guess


def _flipped(W: Bounded) -> Bounded:
    return W[:, :, ::-1, ::-1]


def _padded_by(mode: str, first: int) -> Formula:
    """Padded by hand, `first` of two parts of the padding before the image."""

    def guess(e: Letters) -> Bounded:
        around = [(0, 0), (0, 0), *((first * n, (2 - first) * n) for n in two(e.operation.padding))]
        x = e.x.arranged(lambda a: np.pad(a, around, mode=mode))  # type: ignore[call-overload]
        return biased(e, replace(e.operation, padding=0).convolve(x, e.W))

    return guess


def _last_channel(W: Bounded) -> Bounded:
    last = np.zeros((W.shape[1], 1, 1))
    last[-1] = 1
    return W * last


def _interleaved(e: Letters, channels: int) -> Array:
    """Channels whose group is their number modulo the groups, group by group. Absent where there is one group."""
    if e.operation.groups == 1:
        raise Absent("groups")
    return np.arange(channels).reshape(-1, e.operation.groups).T.ravel()


def _mixed(x: Bounded, e: Letters) -> Bounded:
    order = _interleaved(e, x.shape[1])
    return x.arranged(lambda a: a[:, order])


def _mixed_outputs(e: Letters) -> Bounded:
    """Filter o takes the channels of group o modulo the groups."""
    order = _interleaved(e, e.operation.out_channels)
    y = e.operation.convolve(e.x, e.W[order])
    return biased(e, y.arranged(lambda a: a[:, np.argsort(order)]))


def _by_other(e: Letters, build: Any, **geometry: Any) -> Bounded:
    """A gradient by another geometry, where that has windows for all of dy."""
    other = replace(e.operation, **geometry)
    counts = other.leaving(e.x.shape)[2:]
    missing = [(0, n - k) for n, k in zip(counts, e.dy.shape[2:], strict=True)]
    return build(other, e.dy.arranged(lambda a: np.pad(a, [(0, 0), (0, 0), *missing])))


def _weight_by(**geometry: Any) -> Formula:
    return lambda e: _by_other(e, lambda other, dy: other.weight_gradient(e.x, dy), **geometry)


def _input_by(**geometry: Any) -> Formula:
    return lambda e: _by_other(e, lambda other, dy: other.input_gradient(e.W, dy, e.x.shape), **geometry)


def _weight_of(part: Any) -> Formula:
    """dW of a part of dy, the rest zero."""

    def guess(e: Letters) -> Bounded:
        kept = np.zeros(e.dy.shape)
        kept[part] = 1
        return e.operation.weight_gradient(e.x, e.dy * kept)

    return guess


def _input(e: Letters, W: Bounded | None = None, dy: Bounded | None = None) -> Bounded:
    return e.operation.input_gradient(W or e.W, dy or e.dy, e.x.shape)


def _overwritten(by: str) -> Formula:
    def guess(e: Letters) -> Bounded:
        return e.operation.window.overwritten(e.operation.window_gradient(e.W, e.dy), e.x.shape, by)

    return guess


def _cut(rows: Any, columns: Any) -> Formula:
    """The padded gradient, cut as (padding, size) says of each axis."""

    def guess(e: Letters) -> Bounded:
        (ph, pw), (height, width) = two(e.operation.padding), e.x.shape[2:]
        padded = e.operation.window.spread(e.operation.window_gradient(e.W, e.dy), e.x.shape)
        return padded[:, :, rows(ph, height), columns(pw, width)]

    return guess


def _all(padding: int, size: int) -> slice:
    return slice(None)


def _first(padding: int, size: int) -> slice:
    return slice(0, size)


def _last(padding: int, size: int) -> slice:
    return slice(2 * padding, None)


def _reordered(e: Letters) -> Bounded:
    """dW laid out as height, width, channel, and taken for channel, height, width."""
    return e.ref.arranged(lambda a: a.transpose(0, 2, 3, 1).reshape(a.shape))


ASLEEP = Unseen("all biases are zero", lambda e: not e.b.value.any())
ONE_ELEMENT = Unseen("the filters have one element", lambda e: e.operation.window.size == (1, 1))
NO_PADDING = Unseen("there is no padding", lambda e: not e.operation.padding)
NO_STRIDE = Unseen("the stride is 1", lambda e: e.operation.stride == 1)
NO_DILATION = Unseen("the dilation is 1", lambda e: e.operation.dilation == 1)

# What examples have in common: their cases, and the correct expressions.
THREE = {"network": "Conv2d(2, 3, 3, stride=2, padding=1), ReLU, Flatten, Linear(36, 4); CrossEntropyLoss"}
SQUARE = {"network": "Conv2d(3, 3, 3, padding=1), ReLU, Flatten, Linear(105, 4); CrossEntropyLoss"}
DILATED = {"network": "Conv2d(2, 4, 2, dilation=2), ReLU, Flatten, Linear(60, 4); CrossEntropyLoss"}
GROUPS = {"network": "Conv2d(4, 4, 3, groups=2), ReLU, Flatten, Linear(60, 4); CrossEntropyLoss"}
TWO = {
    "network": "Conv2d(2, 4, 3, padding=1), ReLU, Conv2d(4, 3, 3), Flatten, Linear(45, 4); CrossEntropyLoss",
    "layer": 2,
}
Y = "np.einsum('ncijuv,ocuv->noij', windows(x, 3, 2, 1), W) + b[:, None, None]"
Y_SQUARE = "np.einsum('ncijuv,ocuv->noij', windows(x, 3, 1, 1), W) + b[:, None, None]"
Y_GROUPS = ("np.concatenate([np.einsum('ncijuv,ocuv->noij', windows(x[:, :2], 3), W[:2]), "
            "np.einsum('ncijuv,ocuv->noij', windows(x[:, 2:], 3), W[2:])], axis=1) + b[:, None, None]")
DW = "np.einsum('noij,ncijuv->ocuv', dy, windows(x, 3, 2, 1))"
DW_SQUARE = "np.einsum('noij,ncijuv->ocuv', dy, windows(x, 3, 1, 1))"
DW_GROUPS = ("np.concatenate([np.einsum('noij,ncijuv->ocuv', dy[:, :2], windows(x[:, :2], 3)), "
             "np.einsum('noij,ncijuv->ocuv', dy[:, 2:], windows(x[:, 2:], 3))])")
D = "np.einsum('noij,ocuv->ncijuv', dy, W)"
DX = f"added_up({D}, x.shape, 2, 1)"
DX_SQUARE = f"added_up({D}, x.shape, 1, 1)"
DX_GROUPS = ("np.concatenate([added_up(np.einsum('noij,ocuv->ncijuv', dy[:, :2], W[:2]), x[:, :2].shape), "
             "added_up(np.einsum('noij,ocuv->ncijuv', dy[:, 2:], W[2:]), x[:, 2:].shape)], axis=1)")

# fmt: off
MISTAKES = {
    "output": [
        M("bias-missing", lambda e: e.operation.convolve(e.x, e.W), "the bias is not added", unseen=ASLEEP,
          wrong=Y.replace(" + b[:, None, None]", ""), right=Y),
        M("bias-along-width", lambda e: e.operation.convolve(e.x, e.W) + e.b,
          "the bias is added along the width: one number for each column, not for each channel", unseen=ASLEEP,
          wrong=Y.replace("b[:, None, None]", "b"), right=Y, case=THREE),
        M("filters-flipped", _output(W=lambda e: _flipped(e.W)),
          "the filters are flipped: a convolution of the mathematics, not the correlation that torch computes",
          unseen=ONE_ELEMENT,
          wrong=Y.replace("W)", "W[:, :, ::-1, ::-1])"), right=Y),
        M("filters-transposed", _output(W=lambda e: e.W.arranged(lambda a: a.swapaxes(2, 3))),
          "height and width of the filters are swapped", unseen=ONE_ELEMENT,
          wrong=Y.replace("W)", "W.swapaxes(2, 3))"), right=Y),
        M("channels-not-added-up", _output(W=lambda e: _last_channel(e.W)),
          "only the last channel of x enters: its sum is written, not added, to those before",
          wrong=Y.replace("W)", "W * [[[0]], [[1]]])"), right=Y),
        M("channels-in-another-order", _output(x=lambda e: e.x[:, ::-1]), "the channels of x are in reverse order",
          wrong=Y.replace("windows(x", "windows(x[:, ::-1]"), right=Y),
        M("groups-mixed", _mixed_outputs, "filter o takes the channels of group o modulo the groups, which are not its",
          wrong=Y_GROUPS.replace("W[:2]", "W[::2]").replace("W[2:]", "W[1::2]")
            .replace("axis=1)", "axis=1)[:, [0, 2, 1, 3]]"), right=Y_GROUPS, case=GROUPS),
        M("groups-mixed", _output(x=lambda e: _mixed(e.x, e)), "the groups of x are interleaved channels, not blocks",
          wrong=Y_GROUPS.replace("x[:, :2]", "x[:, ::2]").replace("x[:, 2:]", "x[:, 1::2]"), right=Y_GROUPS,
          case=GROUPS),
        M("padding-at-one-end", _padded_by("constant", 0), "all the padding is below and on the right of the image",
          unseen=NO_PADDING,
          wrong=Y.replace("windows(x, 3, 2, 1)", "windows(np.pad(x, [(0, 0), (0, 0), (0, 2), (0, 2)]), 3, 2)"),
          right=Y),
        M("padding-not-zeros", _padded_by("edge", 1), "the padding repeats the image's border, and is not zero",
          unseen=NO_PADDING,
          wrong=Y.replace("windows(x, 3, 2, 1)",
                          "windows(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode='edge'), 3, 2)"), right=Y),
        M("padding-forgotten", _output(padding=0), "x is not padded", unseen=NO_PADDING,
          wrong=Y.replace("windows(x, 3, 2, 1)", "windows(x, 3, 2)"), right=Y),
        M("stride-forgotten", _output(stride=1), "the stride is 1: a window at every element", unseen=NO_STRIDE,
          wrong=Y.replace("windows(x, 3, 2, 1)", "windows(x, 3, 1, 1)"), right=Y),
        M("dilation-forgotten", _output(dilation=1), "the elements of a window are next to each other",
          unseen=NO_DILATION,
          wrong="np.einsum('ncijuv,ocuv->noij', windows(x, 2), W) + b[:, None, None]",
          right="np.einsum('ncijuv,ocuv->noij', windows(x, 3)[..., ::2, ::2], W) + b[:, None, None]", case=DILATED),
        M("wrong-input",
          wrong_factor(("input", "output"), lambda e: e.x, lambda e, o: biased(e, e.operation.convolve(o, e.W))),
          "{} enters instead of what left the layer before", rank=1,
          wrong="np.einsum('ncijuv,ocuv->noij', windows(tensor('0.output'), 3), W) + b[:, None, None]",
          right="np.einsum('ncijuv,ocuv->noij', windows(tensor('1.output'), 3), W) + b[:, None, None]", case=TWO),
    ],
    "grad_weight": [
        M("filters-flipped", lambda e: _flipped(e.ref), "dW is flipped: its last element is the first",
          unseen=ONE_ELEMENT,
          wrong=f"{DW}[:, :, ::-1, ::-1]", right=DW),
        M("filters-transposed", lambda e: e.ref.arranged(lambda a: a.swapaxes(2, 3)),
          "height and width of the filters are swapped", unseen=ONE_ELEMENT,
          wrong=f"{DW}.swapaxes(2, 3)", right=DW),
        M("channels-swapped", lambda e: e.ref.arranged(lambda a: a.swapaxes(0, 1)),
          "its first two axes are swapped: channels of x stand for channels of y",
          wrong=f"{DW_SQUARE}.swapaxes(0, 1)", right=DW_SQUARE, case=SQUARE),
        M("channels-in-another-order", lambda e: e.ref[:, ::-1], "the channels of x are in reverse order",
          wrong=f"{DW}[:, ::-1]", right=DW),
        M("channels-in-another-order", _reordered,
          "each filter is laid out as height, width, channel, and taken for channel, height, width",
          wrong=f"{DW}.transpose(0, 2, 3, 1).reshape(W.shape)", right=DW),
        M("groups-mixed", lambda e: e.operation.weight_gradient(_mixed(e.x, e), e.dy),
          "the groups of x are interleaved channels, not blocks",
          wrong=DW_GROUPS.replace("x[:, :2]", "x[:, ::2]").replace("x[:, 2:]", "x[:, 1::2]"), right=DW_GROUPS,
          case=GROUPS),
        M("stride-forgotten", _weight_by(stride=1), "the windows of x are next to each other: the stride is left out",
          unseen=NO_STRIDE,
          wrong="np.einsum('noij,ncijuv->ocuv', dy, windows(x, 3, 1, 1)[:, :, :4, :3])", right=DW),
        M("dilation-forgotten", _weight_by(dilation=1), "the elements of a window are next to each other",
          unseen=NO_DILATION,
          wrong="np.einsum('noij,ncijuv->ocuv', dy, windows(x, 2)[:, :, :5, :3])",
          right="np.einsum('noij,ncijuv->ocuv', dy, windows(x, 3)[..., ::2, ::2])", case=DILATED),
        M("windows-not-added-up", _weight_of((..., slice(-1, None), slice(-1, None))),
          "only the last window of each image enters: it is written, not added, to those before",
          wrong="np.einsum('no,ncuv->ocuv', dy[:, :, -1, -1], windows(x, 3, 2, 1)[:, :, -1, -1])", right=DW),
        M("last-sample-only", _weight_of(slice(-1, None)), "only the last sample of the batch enters",
          wrong="np.einsum('oij,cijuv->ocuv', dy[-1], windows(x, 3, 2, 1)[-1])", right=DW),
        M("mean-over-positions", lambda e: e.ref / prod(e.dy.shape[2:]),
          "it is divided by the number of windows of an image: the mean, where the sum should be",
          wrong=f"{DW} / dy[0, 0].size", right=DW),
        M("mean-over-positions", lambda e: e.ref / (len(e.dy) * prod(e.dy.shape[2:])),
          "it is divided by the number of all windows: the mean, where the sum should be",
          wrong=f"{DW} / dy[:, 0].size", right=DW),
        M("wrong-input",
          wrong_factor(("input", "output"), lambda e: e.x, lambda e, o: e.operation.weight_gradient(o, e.dy)),
          "dW takes {} as x", rank=1,
          wrong="np.einsum('noij,ncijuv->ocuv', dy, windows(tensor('0.output'), 3))",
          right="np.einsum('noij,ncijuv->ocuv', dy, windows(tensor('1.output'), 3))", case=TWO),
        M("wrong-gradient",
          wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: e.operation.weight_gradient(e.x, o)),
          "dW takes {} as dy", rank=1,
          wrong=DW.replace("dy", "tensor('1.grad_output')"), right=DW.replace("dy", "tensor('1.grad_input')")),
    ],
    "grad_bias": [
        M("bias-over-batch-only", lambda e: e.dy.sum(axis=0),
          "dy is summed over the batch only: the positions are forgotten",
          wrong="dy.sum(axis=0)", right="dy.sum(axis=(0, 2, 3))"),
        M("bias-over-batch-only", lambda e: e.dy.sum(axis=0)[:, 0, 0], "dy is summed at the first position only",
          wrong="dy.sum(axis=0)[:, 0, 0]", right="dy.sum(axis=(0, 2, 3))"),
        M("bias-over-batch-only", lambda e: e.dy.sum(axis=0)[:, -1, -1], "dy is summed at the last position only",
          wrong="dy.sum(axis=0)[:, -1, -1]", right="dy.sum(axis=(0, 2, 3))"),
        M("bias-over-positions-only", lambda e: e.dy.sum(axis=(2, 3)),
          "dy is summed over the positions only: the batch is forgotten",
          wrong="dy.sum(axis=(2, 3))", right="dy.sum(axis=(0, 2, 3))"),
        M("last-sample-only", lambda e: e.dy[-1].sum(axis=(1, 2)), "only the last sample of the batch enters",
          wrong="dy[-1].sum(axis=(1, 2))", right="dy.sum(axis=(0, 2, 3))"),
        M("mean-over-positions", lambda e: e.ref / prod(e.dy.shape[2:]),
          "it is the mean over the positions, where the sum should be",
          wrong="dy.sum(axis=0).mean(axis=(1, 2))", right="dy.sum(axis=(0, 2, 3))"),
        M("mean-over-positions", lambda e: e.dy.mean(axis=(0, 2, 3)),
          "it is the mean over the batch and the positions, where the sum should be",
          wrong="dy.mean(axis=(0, 2, 3))", right="dy.sum(axis=(0, 2, 3))"),
        M("bias-over-channels", lambda e: e.dy.sum() + e.b * 0.0, "it is one sum over everything, in every entry",
          wrong="np.full_like(b, dy.sum())", right="dy.sum(axis=(0, 2, 3))"),
        M("wrong-gradient", lambda e: e.y.sum(axis=(0, 2, 3)), "it sums the outputs, not their gradients",
          wrong="y.sum(axis=(0, 2, 3))", right="dy.sum(axis=(0, 2, 3))"),
        M("wrong-gradient",
          wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: o.sum(axis=(0, 2, 3))),
          "db sums {}", rank=1,
          wrong="tensor('1.grad_output').sum(axis=(0, 2, 3))", right="tensor('1.grad_input').sum(axis=(0, 2, 3))"),
    ],
    "grad_input": [
        M("windows-not-added-up", _overwritten("window"),
          "where windows overlap, the last one is written (=), not added (+=), to those before", unseen=NO_OVERLAP,
          wrong=f"added_up({D}, x.shape, 2, 1, last='window')", right=DX),
        M("windows-not-added-up", _overwritten("element"),
          "where windows overlap, their last elements are written (=), not added (+=), to those before",
          unseen=NO_OVERLAP,
          wrong=f"added_up({D}, x.shape, 2, 1, last='element')", right=DX),
        M("filters-not-flipped", lambda e: _input(e, _flipped(e.W)),
          "the filters are not flipped on the way back: dx is a full correlation of dy with the flipped filters",
          unseen=ONE_ELEMENT,
          wrong=DX.replace("W)", "W[:, :, ::-1, ::-1])"), right=DX),
        M("filters-transposed", lambda e: _input(e, e.W.arranged(lambda a: a.swapaxes(2, 3))),
          "height and width of the filters are swapped", unseen=ONE_ELEMENT,
          wrong=DX.replace("W)", "W.swapaxes(2, 3))"), right=DX),
        M("channels-swapped", lambda e: _input(e, e.W.arranged(lambda a: a.swapaxes(0, 1))),
          "the first two axes of W are swapped: channels of x stand for channels of y",
          wrong=DX_SQUARE.replace("W)", "W.swapaxes(0, 1))"), right=DX_SQUARE, case=SQUARE),
        M("groups-mixed", lambda e: e.ref[:, np.argsort(_interleaved(e, e.ref.shape[1]))],
          "the groups of x are interleaved channels, not blocks",
          wrong=f"{DX_GROUPS}[:, [0, 2, 1, 3]]", right=DX_GROUPS, case=GROUPS),
        M("padding-not-cut", _cut(_all, _all), "the padding is not cut off: it has the shape of the padded images",
          unseen=NO_PADDING,
          wrong=f"added_up({D}, (len(x), 2, 9, 7), 2)", right=DX),
        M("padding-cut-wrongly", _cut(_first, _first), "all the padding is cut off below and on the right",
          unseen=NO_PADDING,
          wrong=f"added_up({D}, (len(x), 2, 9, 7), 2)[:, :, :7, :5]", right=DX),
        M("padding-cut-wrongly", _cut(_last, _last), "all the padding is cut off above and on the left",
          unseen=NO_PADDING,
          wrong=f"added_up({D}, (len(x), 2, 9, 7), 2)[:, :, 2:, 2:]", right=DX),
        M("stride-forgotten", _input_by(stride=1), "the windows are laid next to each other: the stride is left out",
          unseen=NO_STRIDE,
          wrong=f"added_up({D}, x.shape, 1, 1)", right=DX),
        M("dilation-forgotten", _input_by(dilation=1), "the elements of a window are laid next to each other",
          unseen=NO_DILATION,
          wrong=f"added_up({D}, x.shape)", right=f"added_up({D}, x.shape, d=2)", case=DILATED),
        M("updated-weights", lambda e: _input(e, e.tensor(f"{e.k}.new_weight")),
          "dx takes the weight after its update: the gradient must pass first",
          wrong=DX.replace("W)", "tensor('0.new_weight'))"), right=DX),
        M("wrong-gradient", wrong_factor(("grad_output", "grad_input"), lambda e: e.dy, lambda e, o: _input(e, dy=o)),
          "dx takes {} as dy", rank=1,
          wrong=DX.replace("dy", "tensor('1.grad_output')"), right=DX.replace("dy", "tensor('1.grad_input')")),
    ],
}
# fmt: on

Conv2d.mistakes = MISTAKES
