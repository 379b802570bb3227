"""Flatten: from images to rows, between the last convolution and the first linear layer."""

import math

from scratch.layers import Array, Layer, expect


class Flatten(Layer):
    """y = x, each sample as one row in C order: x (m, channels, height, width) -> y (m, channels height width)."""

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        self._kept = x
        return x.reshape(len(x), math.prod(x.shape[1:])).copy()

    def backward(self, dy: Array) -> Array:
        """dx = dy in the shape of x."""
        x = self.kept
        expect(dy, (len(x), math.prod(x.shape[1:])), x.dtype)
        return dy.reshape(x.shape).copy()
