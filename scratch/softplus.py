"""Softplus: a smooth ReLU, whose derivative is the sigmoid."""

import numpy as np

from scratch.layers import Array, Layer, expect
from scratch.silu import sigmoid


class Softplus(Layer):
    """y = log(1 + e^(beta x)) / beta, elementwise;  x (m, n) -> y (m, n).

    Written as max(z, 0) + log(1 + e^-|z|), where z = beta x, so that it cannot overflow. Where z is above `threshold`,
    y = x and dx = dy, as in torch.

    LayerError where x is no matrix of floating-point numbers, or where dy differs from x in shape or dtype.

    Dugas, Bengio, Belisle, Nadeau and Garcia, Incorporating Second-Order Functional Knowledge for Better Option
    Pricing, 2000, section 3; Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural Networks, 2011, section 3.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        self._kept = x
        z = x * x.dtype.type(self.beta)
        y = (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / x.dtype.type(self.beta)
        return np.where(z > self.threshold, x, y)

    def backward(self, dy: Array) -> Array:
        """dx = dy / (1 + e^-z)."""
        x = self.kept
        expect(dy, x.shape, x.dtype)
        z = x * x.dtype.type(self.beta)
        return np.where(z > self.threshold, dy, dy * sigmoid(z))

    def __repr__(self) -> str:
        return f"Softplus({self.beta}, {self.threshold})"
