"""HuberLoss: the squared error near the target and the absolute one far from it, with a derivative that never jumps."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch.layers import Array
from scratch.losses import Loss, Reduction, _same_shape


class HuberLoss(Loss):
    """L = (1/mn) sum h(y - t), h(d) = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); y and t (m, n).

    "mean" is over all m n elements. ValueError for a delta that is not above 0, LayerError for a target of another
    shape or dtype. (Huber, Robust Estimation of a Location Parameter, 1964, section 1; torch.nn.HuberLoss)
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: got delta={delta}, expected it above 0")
        self.delta = delta

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        self._kept = y, _same_shape(y, t)
        d = np.abs(y - self._kept[1])
        return np.where(d <= self.delta, d * d / 2, self.delta * (d - self.delta / 2)).sum() / self._per(y.size)

    def backward(self) -> Array:
        """dy = (y - t, but at least -delta and at most delta) / mn."""
        y, t = self.kept
        return np.clip(y - t, -self.delta, self.delta) / self._per(y.size)

    def __repr__(self) -> str:
        return f"HuberLoss(reduction={self.reduction!r}, delta={self.delta})"
