"""MaxPool2d: of every window the largest element."""

from __future__ import annotations

import numpy as np

from scratch.layers import Array, Layer, expect
from scratch.windows import Pair, Windows


class MaxPool2d(Layer):
    """y = max over each window of x;  x (m, channels, height, width) -> y (m, channels, down, across).

    `stride` is the window's size unless it is given. Padding is -inf, and never the largest. Of several that are
    equally large, the first in row order counts, as in torch.
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.windows = Windows.of_pooling(kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = self.windows.size, self.windows.stride, self.windows.padding

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, None, None))
        self._kept = x
        windows = self.windows.of(x, fill=-np.inf)
        m, channels, h, w, down, across = windows.shape
        # One axis for the window, in front of the others: NumPy then compares whole images, and not four numbers.
        y: Array = windows.reshape(m, channels, h * w, down, across).max(axis=2)
        return y

    def backward(self, dy: Array) -> Array:
        """dx = sum of dy over the windows whose first largest element it is."""
        x = self.kept
        windows = self.windows.of(x, fill=-np.inf)
        m, channels, h, w, down, across = windows.shape
        expect(dy, (m, channels, down, across), x.dtype)
        first = windows.reshape(m, channels, h * w, down, across).argmax(axis=2)
        d = np.zeros((m, channels, h * w, down, across), dy.dtype)
        np.put_along_axis(d, first[:, :, np.newaxis], dy[:, :, np.newaxis], axis=2)
        return self.windows.add_up(d.reshape(windows.shape), x.shape)

    def __repr__(self) -> str:
        return f"MaxPool2d({self.windows})"
