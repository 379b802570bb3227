"""LSTM: a cell that is kept, forgotten and written to by gates, so that its gradient need not vanish."""

from __future__ import annotations

import numpy as np

from scratch.layers import Array
from scratch.recurrent import Recurrent, sigmoid


class LSTM(Recurrent):
    """i, f, o = sigmoid(a), g = tanh(a), a = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh in blocks of the order i, f, g, o;

    c_t = f c_{t-1} + i g;  y_t = h_t = o tanh(c_t).

    Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; Gers, Schmidhuber and Cummins, Learning to Forget, 2000
    (the gate f).
    """

    gates = 4

    def forward(self, x: Array) -> Array:
        x = self._steps_of(x)
        a = self._from_input(x)
        h, c = self._zeros(*x.shape[:2]), self._zeros(*x.shape[:2])
        for t in range(len(x)):
            a[t] += self._from_state(h[t])
            i, f, g, o = self._gates_of(a[t])
            i[...], f[...], g[...], o[...] = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            c[t + 1] = f * c[t] + i * g
            h[t + 1] = o * np.tanh(c[t + 1])
        self._h, self._c, self._gates = h, c, a
        return self._by_time(h[1:]).copy()

    def backward(self, dy: Array) -> Array:
        """dh_t = dy_t + W_hh^T da_{t+1};  dc_t = dh_t o tanh'(c_t) + f_{t+1} dc_{t+1};  da of each gate from dc and dh.

        dW, db and dx are sums over time as in RNN.
        """
        dy, h, c, gates = self._gradient_by_time(dy), self._h, self._c, self._gates
        da, dh, dc = np.empty_like(gates), np.zeros_like(h[0]), np.zeros_like(c[0])
        for t in reversed(range(len(dy))):
            i, f, g, o = self._gates_of(gates[t])
            di, df, dg, do = self._gates_of(da[t])
            dh = dh + dy[t]
            s = np.tanh(c[t + 1])
            dc = dc + dh * o * (1 - s * s)
            do[...] = dh * s * o * (1 - o)
            di[...] = dc * g * i * (1 - i)
            df[...] = dc * c[t] * f * (1 - f)
            dg[...] = dc * i * (1 - g * g)
            dc = dc * f
            dh = da[t] @ self.params["weight_hh_l0"]
        return self._through_time(da, da, h[:-1])
