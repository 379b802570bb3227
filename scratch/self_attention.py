"""SelfAttention: each time step of a sequence takes a weighted mean over all steps, by how well they match it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from scratch.initializers import Initializer, RandomSource, linear_default, xavier_uniform, zeros
from scratch.layers import Array, Layer, expect, rows


class SelfAttention(Layer):
    """y = concat(P_1 v_1, ..., P_h v_h) W_out^T + b_out;  P_i = softmax(q_i k_i^T / sqrt(d));  x, y (m, t, E).

    [q, k, v] = x W_in^T + b_in, each (m, t, E). Head i has the i-th d = E / num_heads columns of each. The softmax is
    over the steps that are looked at. `causal`: a step looks at itself and at earlier ones only.

    Parameters are those of torch's MultiheadAttention, with an underscore where torch has a dot: in_proj_weight
    (3E, E), in_proj_bias (3E,), out_proj_weight (E, E), out_proj_bias (E,). `bias=False` leaves both biases out.
    Weights are drawn by `weight_init`; None is as in torch, xavier_uniform for W_in and linear_default for W_out.

    ValueError unless both numbers are at least 1 and num_heads divides embed_dim. Vaswani et al., Attention Is All You
    Need, 2017, section 3.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int = 1,
        *,
        bias: bool = True,
        causal: bool = False,
        rng: RandomSource,
        weight_init: Initializer | None = None,
        bias_init: Initializer = zeros,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(embed_dim, num_heads) < 1 or embed_dim % num_heads:
            raise ValueError(
                f"SelfAttention: got embed_dim={embed_dim}, num_heads={num_heads}, "
                "expected numbers of at least 1, of which num_heads divides embed_dim"
            )
        self.embed_dim, self.num_heads, self.causal, self.dtype = embed_dim, num_heads, causal, np.dtype(dtype)
        into, out = (embed_dim, 3 * embed_dim), (embed_dim, embed_dim)
        self.params["in_proj_weight"] = (weight_init or xavier_uniform)(rng, into[::-1], into).astype(dtype)
        if bias:
            self.params["in_proj_bias"] = bias_init(rng, into[1:], into).astype(dtype)
        self.params["out_proj_weight"] = (weight_init or linear_default)(rng, out, out).astype(dtype)
        if bias:
            self.params["out_proj_bias"] = bias_init(rng, out[1:], out).astype(dtype)

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, self.embed_dim), self.dtype)
        self._kept = x
        qkv = self._with_bias(x @ self.params["in_proj_weight"].T, "in_proj_bias")
        q, k, v = self._qkv = [self._split(a) for a in np.split(qkv, 3, axis=-1)]
        scores = q @ k.swapaxes(-1, -2) * self._scale
        if self.causal:
            scores = np.where(np.tri(x.shape[1], dtype=bool), scores, scores.dtype.type(-np.inf))
        self._p = _softmax(scores)
        self._o = self._merged(self._p @ v)
        return self._with_bias(self._o @ self.params["out_proj_weight"].T, "out_proj_bias")

    def backward(self, dy: Array) -> Array:
        """do = dy W_out;  dv = P^T do;  dP = do v^T;  ds = P (dP - sum of dP P over each row) / sqrt(d);
        dq = ds k;  dk = ds^T q;  dx = [dq, dk, dv] W_in.

        dW_out = dy^T o, dW_in = [dq, dk, dv]^T x, and the biases' are sums over batch and time. Of a step that is not
        looked at, P is 0, and so is ds.
        """
        x = self.kept
        expect(dy, x.shape, self.dtype)
        (q, k, v), p = self._qkv, self._p
        self._into("out_proj", dy, self._o)
        do = self._split(dy @ self.params["out_proj_weight"])
        dv, dp = p.swapaxes(-1, -2) @ do, do @ v.swapaxes(-1, -2)
        ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) * self._scale
        dq, dk = ds @ k, ds.swapaxes(-1, -2) @ q
        dqkv = np.concatenate([self._merged(a) for a in (dq, dk, dv)], axis=-1)
        self._into("in_proj", dqkv, x)
        dx: Array = dqkv @ self.params["in_proj_weight"]
        return dx

    @property
    def _scale(self) -> Any:
        """1 / sqrt(d): q_i . k_j of d independent terms has a deviation that grows as sqrt(d)."""
        return self.dtype.type(1 / np.sqrt(self.embed_dim // self.num_heads))

    def _split(self, a: Array) -> Array:
        """Heads apart: (m, t, E) -> (m, heads, t, d)."""
        return a.reshape(*a.shape[:2], self.num_heads, -1).swapaxes(1, 2)

    def _merged(self, a: Array) -> Array:
        """Heads side by side: (m, heads, t, d) -> (m, t, E)."""
        return a.swapaxes(1, 2).reshape(len(a), a.shape[2], self.embed_dim)

    def _with_bias(self, a: Array, name: str) -> Array:
        return a + self.params[name] if name in self.params else a

    def _into(self, name: str, d: Array, a: Array) -> None:
        """Gradients of a projection of a, from those of what it gives: sums over batch and time."""
        self.grads[f"{name}_weight"] = rows(d).T @ rows(a)
        if f"{name}_bias" in self.params:
            self.grads[f"{name}_bias"] = d.sum(axis=(0, 1))

    def __str__(self) -> str:
        return f"SelfAttention {self.embed_dim}"

    def __repr__(self) -> str:
        heads = f", num_heads={self.num_heads}" if self.num_heads != 1 else ""
        bias = "" if "in_proj_bias" in self.params else ", bias=False"
        causal = ", causal=True" if self.causal else ""
        return f"SelfAttention({self.embed_dim}{heads}{bias}{causal}, dtype={self.dtype})"


def _softmax(a: Array) -> Array:
    """Over the last axis, shifted by its maximum, so that e^a cannot overflow."""
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
