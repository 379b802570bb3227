"""HingeLoss: by how much the output of each sample comes nearer than 1 to the wrong side of 0."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch.layers import Array, LayerError
from scratch.losses import Loss, _same_shape


class HingeLoss(Loss):
    """L = (1/mn) sum max(0, 1 - t y), t -1 or 1; y and t (m, n). "mean" is over all m n elements.

    The derivative where t y is just 1 is 0. LayerError for a target of another shape, dtype or number. torch has no
    such loss: its MultiMarginLoss takes class indices. (Cortes and Vapnik, Support-Vector Networks, 1995, section 3)
    """

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        t = _same_shape(y, t)
        if not (np.abs(t) == 1).all():
            raise LayerError(f"got a target that holds {t[np.abs(t) != 1][0]}, expected -1 and 1 only")
        self._kept = y, t
        return np.maximum(1 - t * y, 0).sum() / self._per(y.size)

    def backward(self) -> Array:
        """dy = -t / mn where t y < 1, else 0."""
        y, t = self.kept
        return np.where(t * y < 1, -t, y.dtype.type(0)) / self._per(y.size)
