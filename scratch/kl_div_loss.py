"""KLDivLoss: how many more nats it takes to say samples of the target by the code of the output than by its own."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from scratch.layers import Array
from scratch.losses import Loss, _same_shape


class KLDivLoss(Loss):
    """L = (1/mn) sum t (log t - y), 0 where t is 0: the divergence of t from e^y, in torch's order of arguments.

    y (m, n) are logarithms of probabilities, as a log-softmax gives them, t (m, n) probabilities. "mean" is over all
    m n elements, as torch means it; "batchmean" is over the m samples, which is the divergence itself. LayerError for a
    target of another shape or dtype.

    Kullback and Leibler, On Information and Sufficiency, 1951, section 2; torch.nn.KLDivLoss.
    """

    reductions: ClassVar = ("mean", "batchmean", "sum")

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        t = _same_shape(y, t)
        self._kept = y, t
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(t == 0, t.dtype.type(0), t * (np.log(t) - y))
        return terms.sum() / self._count(y)

    def backward(self) -> Array:
        """dy = -t / mn."""
        y, t = self.kept
        return -t / self._count(y)

    def _count(self, y: Array) -> int:
        return len(y) if self.reduction == "batchmean" else self._per(y.size)
