"""MultiMarginLoss: the hinge loss of several classes, which asks that the right score be ahead of all others by 1."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch.layers import Array, LayerError
from scratch.losses import Loss, _distributions


class MultiMarginLoss(Loss):
    """L = (1/m) sum_i (1/n) sum_{j != t_i} max(0, 1 - s_it + s_ij) on scores s (m, n); t: class indices (m,).

    "mean" is over the m samples. One-hot rows (m, n) may stand for the indices. LayerError for any other target. The
    derivative where a difference is just 1 is 0. (Weston and Watkins, Support Vector Machines for Multi-Class Pattern
    Recognition, 1999, section 3; torch.nn.MultiMarginLoss)
    """

    def forward(self, s: Array, t: ArrayLike) -> np.floating[Any]:
        rows = _distributions(s, t)
        if not (((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()):
            raise LayerError("got rows that are not one-hot, expected class indices or a single 1 in each row")
        own = s[rows == 1][:, np.newaxis]
        margins = np.where(rows == 1, s.dtype.type(0), np.maximum(1 - own + s, 0))
        self._kept = margins, rows
        return margins.sum() / s.shape[1] / self._per(len(s))

    def backward(self) -> Array:
        """ds_j = 1 / mn where the margin of j is above 0; ds_t is minus the sum of these."""
        margins, rows = self.kept
        m, n = rows.shape
        above = (margins > 0).astype(margins.dtype)
        return (above - rows * above.sum(axis=1, keepdims=True)) / n / self._per(m)
