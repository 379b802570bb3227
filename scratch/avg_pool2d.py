"""AvgPool2d: of every window the mean."""

from __future__ import annotations

import numpy as np

from scratch.layers import Array, Layer, expect
from scratch.windows import Pair, Windows


class AvgPool2d(Layer):
    """y = mean over each window of x;  x (m, channels, height, width) -> y (m, channels, down, across).

    `stride` is the window's size unless it is given. Zeros of the padding count as elements, unless `count_include_pad`
    is False.
    """

    def __init__(
        self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, count_include_pad: bool = True
    ) -> None:
        super().__init__()
        self.windows = Windows.of_pooling(kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = self.windows.size, self.windows.stride, self.windows.padding
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, None, None))
        self._kept = x
        y: Array = self.windows.of(x).sum(axis=(2, 3)) / self._count(x)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = sum of dy / count over the windows that hold it."""
        x = self.kept
        windows = self.windows.of(x)
        expect(dy, (*x.shape[:2], *windows.shape[4:]), x.dtype)
        d = (dy / self._count(x))[:, :, np.newaxis, np.newaxis]
        return self.windows.add_up(np.broadcast_to(d, windows.shape), x.shape)

    def _count(self, x: Array) -> Array:
        """The elements of each window: (down, across), or one number for all."""
        if self.count_include_pad:
            return np.asarray(np.prod(self.kernel_size), x.dtype)
        inside: Array = self.windows.of(np.ones_like(x[:1, :1])).sum(axis=(2, 3))
        return inside[0, 0]

    def __repr__(self) -> str:
        pad = "" if self.count_include_pad else ", count_include_pad=False"
        return f"AvgPool2d({self.windows}{pad})"
