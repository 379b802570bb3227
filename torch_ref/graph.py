"""Graph: an nn.Sequential in which a layer may take what an earlier one gave, as around a residual block."""

from __future__ import annotations

import torch
from torch import nn


class Add(nn.Module):
    """y = x + z, where z is what the earlier layer `source` of the same Graph gave; -1 is what entered that."""

    def __init__(self, source: int) -> None:
        super().__init__()
        self.source = self.also = source

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return x + z

    def extra_repr(self) -> str:
        return str(self.source)


class Take(nn.Module):
    """y = z, what the earlier layer `source` of the same Graph gave; -1 is what entered that."""

    def __init__(self, source: int) -> None:
        super().__init__()
        self.source = self.instead = source

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.view_as(z)

    def extra_repr(self) -> str:
        return str(self.source)


class Graph(nn.Sequential):
    """Modules in order: each takes what the one before it gave, an Add what an earlier one gave as well, a Take that
    alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = {-1: x}
        for i, module in enumerate(self):
            instead, also = getattr(module, "instead", None), getattr(module, "also", None)
            sources = (i - 1 if instead is None else instead, *(() if also is None else (also,)))
            given[i] = module(*(given[j] for j in sources))
        return given[i]
