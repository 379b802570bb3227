"""RNN: a hidden state that is computed from the input and from itself one step earlier."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch.layers import Array
from scratch.recurrent import Recurrent


class RNN(Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or max(0, ...) with nonlinearity="relu";  y_t = h_t.

    Elman, Finding Structure in Time, 1990.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        **drawn: Any,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: got nonlinearity={nonlinearity!r}, expected 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, bias, batch_first, **drawn)
        self.nonlinearity = nonlinearity

    def forward(self, x: Array) -> Array:
        x = self._steps_of(x)
        a, h = self._from_input(x), self._zeros(*x.shape[:2])
        for t in range(len(x)):
            z = a[t] + self._from_state(h[t])
            h[t + 1] = np.tanh(z) if self.nonlinearity == "tanh" else np.maximum(z, 0)
        self._h = h
        return self._by_time(h[1:]).copy()

    def backward(self, dy: Array) -> Array:
        """dh_t = dy_t + W_hh^T da_{t+1};  da_t = dh_t f';  dW_hh = sum of da_t h_{t-1}^T;  dx_t = W_ih^T da_t."""
        dy, h = self._gradient_by_time(dy), self._h
        da, dh = np.empty_like(h[1:]), np.zeros_like(h[0])
        for t in reversed(range(len(dy))):
            da[t] = (dy[t] + dh) * self._slope(h[t + 1])
            dh = da[t] @ self.params["weight_hh_l0"]
        return self._through_time(da, da, h[:-1])

    def _slope(self, h: Array) -> Array:
        return 1 - h * h if self.nonlinearity == "tanh" else (h > 0).astype(h.dtype)

    def _options(self) -> str:
        return ("" if self.nonlinearity == "tanh" else ", nonlinearity='relu'") + super()._options()
