"""Self-attention for an nn.Sequential: torch's own, which returns the output and not the weights beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SelfAttention(nn.MultiheadAttention):
    """x (m, t, embed_dim) -> y (m, t, embed_dim), with batch_first; `causal`: no step looks at a later one."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int = 1,
        bias: bool = True,
        causal: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, bias=bias, batch_first=True, device=device, dtype=dtype)
        self.bias, self.causal = bias, causal

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        t = x.shape[1]
        hidden = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        y: Tensor = super().forward(x, x, x, need_weights=False, attn_mask=hidden)[0]
        return y
