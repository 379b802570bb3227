"""MaxPool2d: y = max over each window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision, gamma
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, where
from compare.numbers.expected import Expected
from compare.numbers.float64 import derivative, double, value
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape
from compare.operations.window import NO_OVERLAP, Padding, Pair, Window, brief, expect_thin, two


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """With torch's names; `stride` is the size of the windows where it is None.

    It selects, so no difference is allowed in y. Where several elements of a window are the largest, the derivative
    jumps; torch's gradient goes to the first of them in row order. So does the reference's.
    """

    kind = "max_pool2d"
    scratch_type, torch_type = scratch.MaxPool2d, nn.MaxPool2d
    attributes = ("kernel_size", "stride", "padding")
    constants = (int, tuple, type(None))
    parts: ClassVar = {
        "output": Part.of("y[n,c,i,j] = max over u,v of x[n,c,si+u-p,sj+v-p]", "x"),
        "grad_input": Part.of("dx = sum of dy over the windows of which it is the first maximum", "x dy"),
    }
    reshapes = True
    entering: ClassVar = (ANY, ANY, ANY, ANY)
    jumps = True

    kernel_size: Pair
    stride: Pair | None = None
    padding: Padding = 0

    def __post_init__(self) -> None:
        size, stride = brief("kernel_size", self.kernel_size, 1), self.stride
        object.__setattr__(self, "kernel_size", size)
        object.__setattr__(self, "stride", None if stride in (None, size, two(size)) else brief("stride", stride, 1))
        object.__setattr__(self, "padding", brief("padding", self.padding, 0))
        expect_thin(self.kernel_size, self.padding)

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        for name, usual in (("dilation", 1), ("return_indices", False), ("ceil_mode", False)):
            if (found := getattr(layer, name, usual)) != usual:
                raise TypeError(f"{place}: got {name}={found}, which is not checked")
        return cls(layer.kernel_size, layer.stride, layer.padding)

    @property
    def window(self) -> Window:
        return Window.of_pooling(self.kernel_size, self.stride, self.padding)

    def leaving(self, entering: Shape) -> Shape:
        return self.window.leaving(entering, str(self))

    def output(self, x: Array, p: Precision) -> Expected:
        return Expected.itself(value(self._by_torch, x))

    def grad_input(self, x: Array, dy: Array, p: Precision) -> Expected:
        """A sum of as many terms as there are windows that one element is in: gamma_{k-1} sum |dy|, and no product.

        Sums do not underflow, and one term alone is a copy.
        """
        x, dy = double(x), double(dy)
        dx = derivative(self._by_torch, x, dy)
        if self.window.overlap == 1:
            return Expected.itself(dx)
        scale = derivative(self._by_torch, x, np.abs(dy))
        return Expected(dx, Allowance(scale, gamma(self.window.overlap - 1, p.u), reach=scale))

    def _by_torch(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x, self.window.size, self.window.stride, self.window.padding)

    def near_kink(self, x: Array, allowed: Array) -> NDArray[np.bool_]:
        """The elements that may be the largest of a window in which another one may, too."""
        surely = self.window.seen(x - allowed, -np.inf).max(axis=(2, 3), keepdims=True)
        may_be = (self.window.seen(x + allowed, -np.inf) >= surely) & (self.window.seen(allowed) > 0)
        several = may_be & (may_be.sum(axis=(2, 3), keepdims=True) > 1)
        near: NDArray[np.bool_] = self.window.cut(self.window.laid(several.astype(np.int64), x.shape)) > 0
        return near

    def either_side(self, twin: Array, x: Array, allowed: Array, rng: np.random.Generator) -> Array:
        """These moved by more than they are apart, so that any of them may be the largest."""
        return np.where(self.near_kink(x, allowed), x + rng.uniform(-4, 4, x.shape) * allowed, twin)

    def written(self, e: Letters) -> Bounded:
        return largest(self.window, e.x)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y. Absent where the element is one of several maxima of a window: there is no derivative."""
        x, dy, window = e.x.value, e.dy.value, self.window
        seen = window.seen(x, -np.inf)
        largest = seen == seen.max(axis=(2, 3), keepdims=True)
        tied = largest & (largest.sum(axis=(2, 3), keepdims=True) > 1)
        if window.cut(window.laid(tied.astype(np.int64), x.shape))[index]:
            raise Absent("a derivative")
        return lambda a: float((dy * window.seen(a, -np.inf).max(axis=(2, 3))).sum()), x

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.MaxPool2d(**asdict(self))

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return nn.MaxPool2d(**asdict(self))


# --- what people get wrong ---


def largest(
    window: Window, x: Bounded, by: Callable[[Array], Array] = lambda a: a, fill: float = -np.inf
) -> Bounded:
    """Of each window the element for which `by` is largest, the first in row order; `fill` stands in the padding."""
    seen = _in_rows(window.patches(x, fill))
    first = by(seen.value).argmax(axis=2)[:, :, np.newaxis]
    return seen.arranged(lambda a: np.take_along_axis(a, first, axis=2)[:, :, 0])


def _in_rows(windows: Any) -> Any:
    """The elements of each window along one axis: (m, channels, elements, down, across)."""
    m, channels, h, w, down, across = windows.shape
    return windows.reshape(m, channels, h * w, down, across)


def _maxima(e: Letters) -> Array:
    """Where each window's elements are its maximum."""
    seen = _in_rows(e.operation.window.seen(e.x.value, -np.inf))
    found: Array = seen == seen.max(axis=2, keepdims=True)
    return found


def _first(e: Letters) -> Array:
    maxima = _maxima(e)
    return maxima & (maxima.cumsum(axis=2) == 1)


def _last(e: Letters) -> Array:
    maxima = _maxima(e)
    return maxima & (maxima[:, :, ::-1].cumsum(axis=2) == 1)[:, :, ::-1]


def sent(e: Letters, share: Array, dy: Bounded | None = None) -> Bounded:
    """The gradient of each window: dy times its elements' shares (m, channels, elements, down, across)."""
    d = e.dy if dy is None else dy
    whole = d.arranged(lambda a: np.broadcast_to(a[:, :, np.newaxis], (*a.shape[:2], share.shape[2], *a.shape[2:])))
    return where(share == 1, whole, whole * share, e.p).reshape(*d.shape[:2], *e.operation.window.size, *d.shape[2:])


def _shared(share: Callable[[Letters], Array]) -> Formula:
    """dx with other shares than 1 for the first maximum."""
    return lambda e: e.operation.window.added_up(sent(e, share(e)), e.x.shape)


def evenly(e: Letters, share: float) -> Array:
    """The same share for every element."""
    return np.full((1, 1, prod(e.operation.window.size), 1, 1), share)


def _overwritten(by: str) -> Formula:
    return lambda e: e.operation.window.overwritten(sent(e, _first(e)), e.x.shape, by)


def _mean(e: Letters) -> Bounded:
    return _in_rows(e.operation.window.patches(e.x)).mean(axis=2)


def _with_stride(stride: int | None) -> Formula:
    return lambda e: largest(replace(e.operation, stride=stride).window, e.x)


NO_TIES = Unseen("no window has two equal maxima", lambda e: bool((_maxima(e).sum(axis=2) == 1).all()))
NO_PADDING = Unseen("there is no padding", lambda e: not e.operation.padding)

# What examples have in common: their cases, and the correct expressions.
TIES = {"zero_row": True}
SEEN = "windows(x, 3, 2, 1, fill=-np.inf)"
Y = f"{SEEN}.max(axis=(4, 5))"
D = f"at_maxima({SEEN}, 'first') * dy[..., None, None]"
DX = f"added_up({D}, x.shape, 2, 1)"

# fmt: off
MISTAKES = {
    "output": [
        M("average-for-maximum", _mean, "it is the mean of each window, not the maximum",
          wrong="windows(x, 3, 2, 1).mean(axis=(4, 5))", right=Y),
        M("minimum-for-maximum", lambda e: -largest(e.operation.window, -e.x), "it is the minimum of each window",
          wrong="windows(x, 3, 2, 1, fill=np.inf).min(axis=(4, 5))", right=Y),
        M("largest-by-size", lambda e: largest(e.operation.window, e.x, np.abs, fill=0.0),
          "it is the element of the largest absolute value",
          wrong="np.where(-windows(x, 3, 2, 1).min(axis=(4, 5)) > windows(x, 3, 2, 1).max(axis=(4, 5)), "
            "windows(x, 3, 2, 1).min(axis=(4, 5)), windows(x, 3, 2, 1).max(axis=(4, 5)))", right=Y),
        M("padding-counted", lambda e: largest(e.operation.window, e.x, fill=0.0),
          "the padding is 0, not -inf, and larger than negative elements", unseen=NO_PADDING,
          wrong="windows(x, 3, 2, 1).max(axis=(4, 5))", right=Y, case={"zero_row": True, "scale": 0.1, "bias": 1.0}),
        M("stride-forgotten", _with_stride(1), "the stride is 1: a window at every element",
          wrong=Y.replace("3, 2, 1", "3, 1, 1"), right=Y),
        M("stride-of-the-size", _with_stride(None),
          "the stride is the size of the windows, not what is given",
          wrong=Y.replace("3, 2, 1", "3, 3, 1"), right=Y),
    ],
    "grad_input": [
        M("every-maximum", _shared(_maxima), "every one of several equal maxima gets all of dy, not the first alone",
          unseen=NO_TIES,
          wrong=DX.replace("first", "every"), right=DX, case=TIES),
        M("last-maximum", _shared(_last), "the last of several equal maxima gets dy, not the first", unseen=NO_TIES,
          wrong=DX.replace("first", "last"), right=DX, case=TIES),
        M("maxima-share", _shared(lambda e: _maxima(e) / _maxima(e).sum(axis=2, keepdims=True)),
          "several equal maxima share dy evenly; torch gives it to the first", unseen=NO_TIES,
          wrong=DX.replace(f"at_maxima({SEEN}, 'first')",
                           f"at_maxima({SEEN}, 'every') / at_maxima({SEEN}, 'every').sum(axis=(4, 5), keepdims=True)"),
          right=DX, case=TIES),
        M("divided-by-window", _shared(lambda e: _first(e) / prod(e.operation.window.size)),
          "dy is divided by the number of elements of a window, as for an average",
          wrong=DX.replace("dy", "(dy / 9)"), right=DX),
        M("scaled-by-window", lambda e: e.ref * float(prod(e.operation.window.size)),
          "dy is multiplied by the number of elements of a window",
          wrong=DX.replace("dy", "(9 * dy)"), right=DX),
        M("spread-evenly", _shared(lambda e: evenly(e, 1 / prod(e.operation.window.size))),
          "dy is spread evenly over the window, as for an average",
          wrong="added_up(dy[..., None, None] * np.full((3, 3), 1 / 9), x.shape, 2, 1)", right=DX),
        M("mask-missing", _shared(lambda e: evenly(e, 1.0)), "every element of a window gets dy",
          wrong="added_up(dy[..., None, None] * np.ones((3, 3)), x.shape, 2, 1)", right=DX),
        M("windows-not-added-up", _overwritten("window"),
          "where windows overlap, the last one is written (=), not added (+=), to those before", unseen=NO_OVERLAP,
          wrong=f"added_up({D}, x.shape, 2, 1, last='window')", right=DX),
        M("windows-not-added-up", _overwritten("element"),
          "where windows overlap, their last elements are written (=), not added (+=), to those before",
          unseen=NO_OVERLAP,
          wrong=f"added_up({D}, x.shape, 2, 1, last='element')", right=DX),
        M("upstream-gradient-missing",
          lambda e: e.operation.window.added_up(sent(e, _first(e), e.dy * 0.0 + 1.0), e.x.shape),
          "dx is the mask alone: dy is left out",
          wrong=DX.replace(" * dy[..., None, None]", ""), right=DX),
    ],
}
# fmt: on

MaxPool2d.mistakes = MISTAKES
