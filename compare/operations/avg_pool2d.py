"""AvgPool2d: y = mean over each window."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision, gamma
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import derivative, double, value
from compare.operations.letters import Letters
from compare.operations.max_pool2d import largest
from compare.operations.mistake import Formula, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape
from compare.operations.window import NO_OVERLAP, Padding, Pair, Window, brief, expect_thin, two


@dataclass(frozen=True)
class AvgPool2d(Layer):
    """With torch's names; `stride` is the size of the windows where it is None."""

    kind = "avg_pool2d"
    scratch_type, torch_type = scratch.AvgPool2d, nn.AvgPool2d
    attributes = ("kernel_size", "stride", "padding", "count_include_pad")
    constants = (int, bool, tuple, type(None))
    parts: ClassVar = {
        "output": Part.of("y[n,c,i,j] = sum over u,v of x[n,c,si+u-p,sj+v-p] / k, k the elements of the window", "x"),
        "grad_input": Part.of("dx = sum of dy / k over the windows that hold it", "x dy"),
    }
    reshapes = True
    entering: ClassVar = (ANY, ANY, ANY, ANY)

    kernel_size: Pair
    stride: Pair | None = None
    padding: Padding = 0
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        size, stride = brief("kernel_size", self.kernel_size, 1), self.stride
        object.__setattr__(self, "kernel_size", size)
        object.__setattr__(self, "stride", None if stride in (None, size, two(size)) else brief("stride", stride, 1))
        object.__setattr__(self, "padding", brief("padding", self.padding, 0))
        expect_thin(self.kernel_size, self.padding)
        if type(self.count_include_pad) is not bool:
            raise ValueError(f"found count_include_pad {str(self.count_include_pad)[:40]}, expected True or False")

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        for name, usual in (("ceil_mode", False), ("divisor_override", None)):
            if (found := getattr(layer, name, usual)) != usual:
                raise TypeError(f"{place}: got {name}={found}, which is not checked")
        return cls(layer.kernel_size, layer.stride, layer.padding, layer.count_include_pad)

    @property
    def window(self) -> Window:
        return Window.of_pooling(self.kernel_size, self.stride, self.padding)

    def leaving(self, entering: Shape) -> Shape:
        return self.window.leaving(entering, str(self))

    def output(self, x: Array, p: Precision) -> Expected:
        """gamma_{k+2} |x|, averaged: k - 1 additions, and a quotient or a product with 1 / k, before them or after.

        A mean of the rows' means has fewer roundings. Each of k products may underflow. Sums before the quotient are k
        times as large.
        """
        x, k = double(x), prod(self.window.size)
        scale = value(self._by_torch, np.abs(x))
        allowance = Allowance(scale, gamma(k + 2, p.u), reach=scale, floor=(k + 2) * p.subnormal)
        return Expected(value(self._by_torch, x), allowance, headroom=2 * k)

    def grad_input(self, x: Array, dy: Array, p: Precision) -> Expected:
        """x gives the shape alone. gamma_{k+2} |dy| / elements, summed over the k windows that an element is in."""
        dy, at, k = double(dy), np.zeros(x.shape), self.window.overlap
        scale = derivative(self._by_torch, at, np.abs(dy))
        allowance = Allowance(scale, gamma(k + 2, p.u), reach=scale, floor=(k + 2) * p.subnormal)
        return Expected(derivative(self._by_torch, at, dy), allowance, headroom=2 * prod(self.window.size))

    def _by_torch(self, x: Tensor) -> Tensor:
        geometry = self.window.size, self.window.stride, self.window.padding
        return nn.functional.avg_pool2d(x, *geometry, count_include_pad=self.count_include_pad)

    def count(self, shape: Shape) -> Array:
        """The elements of each window: (down, across), or one number for all."""
        if self.count_include_pad:
            return np.array(float(prod(self.window.size)))
        inside: Array = self.window.seen(np.ones((1, 1, *shape[2:]))).sum(axis=(0, 1, 2, 3))
        return inside

    def written(self, e: Letters) -> Bounded:
        return self.window.patches(e.x).sum(axis=(2, 3)) / self.count(e.x.shape)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in x: it may be differenced at 0."""
        d = e.dy.value / self.count(e.x.shape)
        return lambda x: float((d * self.window.seen(x).sum(axis=(2, 3))).sum()), np.zeros(e.x.shape)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.AvgPool2d(**asdict(self))

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return nn.AvgPool2d(**asdict(self))


# --- what people get wrong ---


def _sums(e: Letters) -> Bounded:
    found: Bounded = e.operation.window.patches(e.x).sum(axis=(2, 3))
    return found


def _windows(e: Letters, d: Bounded) -> Bounded:
    """d for every element of its window."""
    size = e.operation.window.size
    return d.arranged(lambda a: np.broadcast_to(a[:, :, None, None], (*a.shape[:2], *size, *a.shape[2:])))


def _gradient(e: Letters, count: Array) -> Bounded:
    return e.operation.window.added_up(_windows(e, e.dy / count), e.x.shape)


def _overwritten(by: str) -> Formula:
    def guess(e: Letters) -> Bounded:
        windows = _windows(e, e.dy / e.operation.count(e.x.shape))
        return e.operation.window.overwritten(windows, e.x.shape, by)

    return guess


def _other(**options: Any) -> Formula:
    """y with other arguments."""

    def guess(e: Letters) -> Bounded:
        other = replace(e.operation, **options)
        return other.window.patches(e.x).sum(axis=(2, 3)) / other.count(e.x.shape)

    return guess


def _other_count(e: Letters) -> Array:
    """Of the padding counted where it is not to be, or the other way round."""
    other = replace(e.operation, count_include_pad=not e.operation.count_include_pad)
    found: Array = other.count(e.x.shape)
    return found


def _at_maxima(e: Letters) -> Bounded:
    """All of dy for the first maximum of each window."""
    window = e.operation.window
    m, channels, h, w, down, across = (seen := window.seen(e.x.value, -np.inf)).shape
    first = seen.reshape(m, channels, h * w, down, across).argmax(axis=2)[:, :, np.newaxis]
    mask = (np.arange(h * w)[:, np.newaxis, np.newaxis] == first).reshape(seen.shape)
    return window.added_up(_windows(e, e.dy) * mask, e.x.shape)


NO_PADDING = Unseen("there is no padding", lambda e: not e.operation.padding)

# What examples have in common: the correct expressions.
Y = "windows(x, 3, 2, 1).sum(axis=(4, 5)) / 9"
D = "dy[..., None, None] * np.full((3, 3), 1 / 9)"
DX = f"added_up({D}, x.shape, 2, 1)"
COUNT = "windows(np.ones_like(x), 3, 2, 1).sum(axis=(4, 5))"

# fmt: off
MISTAKES = {
    "output": [
        M("sum-for-average", _sums,
          "it is not divided by the number of elements",
          wrong=Y.replace(" / 9", ""), right=Y),
        M("maximum-for-average", lambda e: largest(e.operation.window, e.x),
          "it is the maximum of each window, not the mean",
          wrong="windows(x, 3, 2, 1, fill=-np.inf).max(axis=(4, 5))", right=Y),
        M("padding-in-the-count", lambda e: _sums(e) / _other_count(e),
          "the padding is counted where it is not to be, or not counted where it is (count_include_pad)",
          unseen=NO_PADDING,
          wrong=Y.replace("9", COUNT), right=Y),
        M("one-side-for-the-window", lambda e: _sums(e) / e.operation.window.size[0],
          "it is divided by the height of the window, not by the number of its elements",
          wrong=Y.replace("9", "3"), right=Y),
        M("stride-forgotten", _other(stride=1), "the stride is 1: a window at every element",
          wrong=Y.replace("3, 2, 1", "3, 1, 1"), right=Y),
        M("stride-of-the-size", _other(stride=None), "the stride is the size of the windows, not what is given",
          wrong=Y.replace("3, 2, 1", "3, 3, 1"), right=Y),
    ],
    "grad_input": [
        M("not-divided-by-window", lambda e: _gradient(e, np.ones(())),
          "dy is not divided by the number of elements of the window",
          wrong=DX.replace("1 / 9", "1.0"), right=DX),
        M("padding-in-the-count", lambda e: _gradient(e, _other_count(e)),
          "the padding is counted where it is not to be, or not counted where it is (count_include_pad)",
          unseen=NO_PADDING,
          wrong=f"added_up((dy / {COUNT})[..., None, None] * np.ones((3, 3)), x.shape, 2, 1)", right=DX),
        M("one-side-for-the-window", lambda e: _gradient(e, np.array(float(e.operation.window.size[0]))),
          "dy is divided by the height of the window, not by the number of its elements",
          wrong=DX.replace("1 / 9", "1 / 3"), right=DX),
        M("divided-twice", lambda e: _gradient(e, e.operation.count(e.x.shape) ** 2),
          "dy is divided by the number of elements twice",
          wrong=DX.replace("1 / 9", "1 / 81"), right=DX),
        M("gradient-of-maximum", _at_maxima, "dy goes to the maximum of each window alone",
          wrong="added_up(at_maxima(windows(x, 3, 2, 1, fill=-np.inf), 'first') * dy[..., None, None], x.shape, 2, 1)",
          right=DX),
        M("windows-not-added-up", _overwritten("window"),
          "where windows overlap, the last one is written (=), not added (+=), to those before", unseen=NO_OVERLAP,
          wrong=f"added_up({D}, x.shape, 2, 1, last='window')", right=DX),
        M("windows-not-added-up", _overwritten("element"),
          "where windows overlap, their last elements are written (=), not added (+=), to those before",
          unseen=NO_OVERLAP,
          wrong=f"added_up({D}, x.shape, 2, 1, last='element')", right=DX),
    ],
}
# fmt: on

AvgPool2d.mistakes = MISTAKES
