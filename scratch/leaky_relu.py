"""LeakyReLU: a ReLU that passes a small share of what is negative, so that no unit is dead."""

import numpy as np

from scratch.layers import Array, Layer, expect


class LeakyReLU(Layer):
    """y = x where x > 0, else s x, elementwise; s is `negative_slope`. Its derivative at 0 is s, as in torch.

    Maas, Hannun and Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013, section 2.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        self._kept = x
        return np.where(x > 0, x, x * x.dtype.type(self.negative_slope))

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else s dy."""
        x = self.kept
        expect(dy, x.shape, x.dtype)
        return np.where(x > 0, dy, dy * dy.dtype.type(self.negative_slope))

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope})"
