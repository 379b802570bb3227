"""L1Loss: the mean absolute error, which a few targets that are far off pull less than they pull the squared one."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch.layers import Array
from scratch.losses import Loss, _same_shape


class L1Loss(Loss):
    """L = (1/mn) sum |y - t|; y and t (m, n). "mean" is over all m n elements. Its derivative where y = t is 0.

    LayerError for a target of another shape or dtype. (torch.nn.L1Loss; Hastie, Tibshirani and Friedman, The Elements
    of Statistical Learning, 2nd ed., section 10.6)
    """

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        self._kept = y, _same_shape(y, t)
        return np.abs(y - self._kept[1]).sum() / self._per(y.size)

    def backward(self) -> Array:
        """dy = sign(y - t) / mn."""
        y, t = self.kept
        return np.sign(y - t) / self._per(y.size)
