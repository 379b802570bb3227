"""LastStep: of a sequence of hidden states the last one, for a network that goes on with it."""

import numpy as np

from scratch.layers import Array, Layer, expect


class LastStep(Layer):
    """y = x at the last time step: x (m, t, n) -> y (m, n)."""

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, None))
        self._kept = x
        return x[:, -1].copy()

    def backward(self, dy: Array) -> Array:
        """dx = dy at the last time step, else 0."""
        x = self.kept
        expect(dy, (len(x), x.shape[2]), x.dtype)
        dx = np.zeros_like(x)
        dx[:, -1] = dy
        return dx
