"""ELU: a ReLU that goes smoothly down to -alpha, so that the mean of its outputs is nearer to 0."""

import numpy as np

from scratch.layers import Array, Layer, expect


class ELU(Layer):
    """y = x where x > 0, else alpha (e^x - 1), elementwise;  x (m, n) -> y (m, n).

    Its derivative at 0 is alpha, as in torch. LayerError where x is no matrix of floating-point numbers, or where dy
    differs from x in shape or dtype.

    Clevert, Unterthiner and Hochreiter, Fast and Accurate Deep Network Learning by Exponential Linear Units (ELUs),
    2016, section 3.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        self._kept = x
        return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else dy alpha e^x."""
        x = self.kept
        expect(dy, x.shape, x.dtype)
        return np.where(x > 0, dy, dy * x.dtype.type(self.alpha) * np.exp(np.minimum(x, 0)))

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"
