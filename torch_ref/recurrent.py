"""Recurrent layers for an nn.Sequential: torch's own, which return all hidden states and not the last ones beside them.

Their arguments are torch's, which torch.nn hides behind *args.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class _States(nn.RNNBase):
    """Of what torch returns, all hidden states."""

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = super().forward(x)[0]
        return states


class RNN(_States, nn.RNN):  # type: ignore[misc]
    """x (m, t, in) -> all hidden states (m, t, hidden), with batch_first."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        of = {"dropout": dropout, "bidirectional": bidirectional, "device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, **of)


class LSTM(_States, nn.LSTM):  # type: ignore[misc]
    """x (m, t, in) -> all hidden states (m, t, hidden), with batch_first."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        of = {"bidirectional": bidirectional, "proj_size": proj_size, "device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, **of)


class GRU(_States, nn.GRU):  # type: ignore[misc]
    """x (m, t, in) -> all hidden states (m, t, hidden), with batch_first."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        of = {"bidirectional": bidirectional, "device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, **of)


class LastStep(nn.Module):
    """x (m, t, n) -> its last time step (m, n)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]
