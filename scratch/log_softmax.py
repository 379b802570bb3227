"""LogSoftmax: the logarithms of a softmax's probabilities, also of those that are too small to be told from 0."""

import numpy as np

from scratch.layers import Array, Layer, expect


class LogSoftmax(Layer):
    """y_k = x_k - log sum_j e^x_j, row by row;  x (m, n) -> y (m, n).

    The row's maximum is subtracted first, so that e^x cannot overflow, and the logarithm of a sum of at least 1 is
    finite. LayerError where x is no matrix of floating-point numbers, or where dy differs from x in shape or dtype.

    torch.nn.LogSoftmax(dim=1); Goodfellow, Bengio and Courville, Deep Learning, 2016, sections 4.1 and 6.2.2.3.
    """

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        shifted = x - x.max(axis=1, keepdims=True)
        self._kept = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return self._kept.copy()

    def backward(self, dy: Array) -> Array:
        """dx_k = dy_k - e^y_k sum_j dy_j."""
        y = self.kept
        expect(dy, y.shape, y.dtype)
        dx: Array = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
        return dx
