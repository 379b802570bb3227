"""Windows: the patches of images that a filter or a pooling sees, and the way back, which adds them up.

Images are (m, channels, height, width), windows (m, channels, window height, window width, down, across): the last two
axes say which window it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratch.layers import Array, LayerError

Pair = int | tuple[int, int]  # one number for height and width, or one for each


def pair(name: str, given: Pair, least: int) -> tuple[int, int]:
    """(height, width). ValueError naming it unless both are whole numbers of at least `least`."""
    found = given if isinstance(given, tuple) else (given, given)
    if len(found) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < least for n in found):
        raise ValueError(f"{name}: got {given!r}, expected a whole number of at least {least}, or two in a tuple")
    return found


def brief(given: tuple[int, int]) -> Pair:
    """One number for two that are equal."""
    return given[0] if given[0] == given[1] else given


def option(name: str, given: tuple[int, int], usual: tuple[int, int]) -> str:
    """An argument as one would type it: ", padding=1"; "" for the usual one."""
    return "" if given == usual else f", {name}={brief(given)}"


@dataclass(frozen=True)
class Windows:
    """Of `size`, `stride` apart, over images with `padding` around them; `dilation` is the step inside a window."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    @classmethod
    def of_pooling(cls, kernel_size: Pair, stride: Pair | None, padding: Pair) -> Windows:
        """Next to each other unless `stride` is given. ValueError where one may lie in the padding alone, as torch."""
        size, around = pair("kernel_size", kernel_size, 1), pair("padding", padding, 0)
        if any(2 * p > n for p, n in zip(around, size, strict=True)):
            raise ValueError(f"padding: got {padding}, expected at most half of kernel_size={kernel_size}")
        return cls(size, size if stride is None else pair("stride", stride, 1), around)

    def of(self, x: Array, fill: float = 0.0) -> Array:
        """The windows of images x, as a view of the padded ones. LayerError where none fits in."""
        padded = self._padded(x.shape, x.dtype, fill)
        padded[self._inside(x.shape)] = x
        (span_h, span_w), (sh, sw), (dh, dw) = self._span, self.stride, self.dilation
        if padded.shape[2] < span_h or padded.shape[3] < span_w:
            raise LayerError(f"got {x.shape}, expected images of at least {span_h} x {span_w}, padding included")
        found = sliding_window_view(padded, self._span, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
        return found.transpose(0, 1, 4, 5, 2, 3)

    def add_up(self, d: Array, shape: tuple[int, ...]) -> Array:
        """The gradient of images of this shape from that of their windows: of each element, summed over its windows."""
        padded = self._padded(shape, d.dtype)
        (sh, sw), (dh, dw), (down, across) = self.stride, self.dilation, d.shape[4:]
        for i, j in np.ndindex(self.size):
            padded[:, :, i * dh : i * dh + sh * down : sh, j * dw : j * dw + sw * across : sw] += d[:, :, i, j]
        return padded[self._inside(shape)].copy()

    @property
    def _span(self) -> tuple[int, int]:
        """From the first to the last element of a window."""
        (h, w), (dh, dw) = self.size, self.dilation
        return dh * (h - 1) + 1, dw * (w - 1) + 1

    def _padded(self, shape: tuple[int, ...], dtype: np.dtype, fill: float = 0.0) -> Array:
        (m, channels, height, width), (ph, pw) = shape, self.padding
        return np.full((m, channels, height + 2 * ph, width + 2 * pw), fill, dtype)

    def _inside(self, shape: tuple[int, ...]) -> tuple[EllipsisType, slice, slice]:
        """Where the images are in the padded ones."""
        (ph, pw), (height, width) = self.padding, shape[2:]
        return ..., slice(ph, ph + height), slice(pw, pw + width)

    def __str__(self) -> str:
        """As the arguments of a pooling."""
        stride = option("stride", self.stride, self.size)
        return f"{brief(self.size)}{stride}{option('padding', self.padding, (0, 0))}"
