"""NLLLoss: the negative log-likelihood of the right classes, from the logarithms of probabilities."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch.layers import Array, LayerError
from scratch.losses import Loss, _distributions


class NLLLoss(Loss):
    """L = -(1/m) sum_i y_{i, t_i} on log-probabilities y (m, n), as a log-softmax gives them; t: class indices (m,).

    "mean" is over the m samples. One-hot rows (m, n) may stand for the indices. LayerError for any other target.
    (torch.nn.NLLLoss without class weights; after a LogSoftmax it is the cross-entropy)
    """

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        rows = _distributions(y, t)
        if not (((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()):
            raise LayerError("got rows that are not one-hot, expected class indices or a single 1 in each row")
        self._kept = y, rows
        return -y[rows == 1].sum() / self._per(len(y))

    def backward(self) -> Array:
        """dy = -1 / m at the right class, else 0."""
        _, rows = self.kept
        return -rows / self._per(len(rows))
