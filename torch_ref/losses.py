"""The losses that torch.nn does not have, or has with a clamp, written out from their formulas.

torch.nn.BCELoss clamps its logarithms at -100, so that near 0 and 1 its gradient is not the derivative of the
binary cross-entropy; the one here is the plain formula.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Reduced(nn.Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"{type(self).__name__}: got reduction {reduction!r}, expected 'mean' or 'sum'")
        self.reduction = reduction

    def _reduce(self, total: Tensor, count: int) -> Tensor:
        return total / count if self.reduction == "mean" else total


def _times_log(t: Tensor, p: Tensor) -> Tensor:
    """t log p, and 0 with derivative 0 where t = 0, whatever p is (torch.xlogy has the value, but a NaN derivative)."""
    return t * torch.where(t == 0, torch.ones_like(p), p).log()


class ProbabilityCrossEntropyLoss(_Reduced):
    """L = -(1/m) sum_i sum_k t_ik log p_ik on probabilities p (m, n); t class indices (m,) or distributions (m, n)."""

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        if t.ndim == 1:
            t = nn.functional.one_hot(t, p.shape[1]).to(p.dtype)
        return self._reduce(-_times_log(t, p).sum(), len(p))


class HalfSquaredErrorLoss(_Reduced):
    """L = (1/m) sum_i 1/2 |y_i - t_i|^2."""

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        return self._reduce((y - t).square().sum() / 2, len(y))


class BCELoss(_Reduced):
    """L = -(1/mn) sum (t log p + (1 - t) log(1 - p)), without torch.nn.BCELoss's clamp."""

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        return self._reduce(-(_times_log(t, p) + _times_log(1 - t, 1 - p)).sum(), p.numel())


class HingeLoss(_Reduced):
    """L = (1/mn) sum max(0, 1 - t y), t -1 or 1; its derivative where t y is just 1 is 0, as relu's at 0."""

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        if t.shape != y.shape or not bool((t.abs() == 1).all()):
            raise ValueError(f"got a target {tuple(t.shape)}, expected -1 and 1 only, {tuple(y.shape)}")
        return self._reduce((1 - t * y).relu().sum(), y.numel())
