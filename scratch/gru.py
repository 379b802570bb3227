"""GRU: a hidden state that one gate keeps and another resets."""

from __future__ import annotations

import numpy as np

from scratch.layers import Array
from scratch.recurrent import Recurrent, sigmoid


class GRU(Recurrent):
    """r, z = sigmoid(a + q), n = tanh(a + r q), a = W_ih x_t + b_ih and q = W_hh h_{t-1} + b_hh in blocks r, z, n;

    y_t = h_t = (1 - z) n + z h_{t-1}.

    Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014, section 2.3, with the reset applied to
    the product W_hh h + b_hh, as in torch, and not to h before it.
    """

    gates = 3

    def forward(self, x: Array) -> Array:
        x = self._steps_of(x)
        a, h = self._from_input(x), self._zeros(*x.shape[:2])
        q = np.empty_like(a)
        for t in range(len(x)):
            q[t] = self._from_state(h[t])
            (r, z, n), (qr, qz, qn) = self._gates_of(a[t]), self._gates_of(q[t])
            r[...], z[...] = sigmoid(r + qr), sigmoid(z + qz)
            n[...] = np.tanh(n + r * qn)
            h[t + 1] = (1 - z) * n + z * h[t]
        self._h, self._q, self._gates = h, q, a
        return self._by_time(h[1:]).copy()

    def backward(self, dy: Array) -> Array:
        """dh_{t-1} = z dh_t + W_hh^T dq_t, and dy_{t-1};  dq is da, but for the block n, where it is r da.

        dW, db and dx are sums over time as in RNN.
        """
        dy, h, q, gates = self._gradient_by_time(dy), self._h, self._q, self._gates
        da, dq, dh = np.empty_like(q), np.empty_like(q), np.zeros_like(h[0])
        for t in reversed(range(len(dy))):
            (r, z, n), (_, _, qn) = self._gates_of(gates[t]), self._gates_of(q[t])
            dr, dz, dn = self._gates_of(da[t])
            dh = dh + dy[t]
            dn[...] = dh * (1 - z) * (1 - n * n)
            dz[...] = dh * (h[t] - n) * z * (1 - z)
            dr[...] = dn * qn * r * (1 - r)
            dq[t] = da[t]
            self._gates_of(dq[t])[2][...] *= r
            dh = dh * z + dq[t] @ self.params["weight_hh_l0"]
        return self._through_time(da, dq, h[:-1])
