"""SiLU, or Swish: x times its own sigmoid, a smooth ReLU that is not monotonic."""

import numpy as np

from scratch.layers import Array, Layer, expect


class SiLU(Layer):
    """y = x s, elementwise, where s = 1 / (1 + e^-x);  x (m, n) -> y (m, n).

    LayerError where x is no matrix of floating-point numbers, or where dy differs from x in shape or dtype.

    Ramachandran, Zoph and Le, Searching for Activation Functions, 2017, section 4; Elfwing, Uchibe and Doya,
    Sigmoid-Weighted Linear Units for Neural Network Function Approximation in Reinforcement Learning, 2018, section 2.
    """

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        self._kept = x
        return x * sigmoid(x)

    def backward(self, dy: Array) -> Array:
        """dx = dy s (1 + x (1 - s))."""
        x = self.kept
        expect(dy, x.shape, x.dtype)
        s = sigmoid(x)
        return dy * s * (1 + x * (1 - s))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), elementwise; written in e^-|x| so that it cannot overflow."""
    e = np.exp(-np.abs(x))
    s: Array = np.where(x >= 0, x.dtype.type(1), e) / (1 + e)
    return s
