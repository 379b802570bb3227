"""Self-attention once more, head by head in plain NumPy, with what people get wrong as options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Change = Callable[[Array], Array]


def attention(
    x: Array,
    W_in: Array,
    b_in: Array,
    W_out: Array,
    b_out: Array,
    dy: Array | None = None,
    *,
    heads: int = 2,
    causal: bool = False,
    scale: float | None = None,
    seen: Array | None = None,
    after: Array | None = None,
    axis: int = -1,
    split: Change | None = None,
    merged: Change | None = None,
    slope: Callable[[Array, Array], Array] = lambda P, d: P * (d - (d * P).sum(axis=-1, keepdims=True)),
    back_scale: float | None = None,
    order: Sequence[int | None] = (0, 1, 2),
    turned: tuple[bool, bool] = (True, True),
    o_merged: Change | None = None,
    only: int | None = None,
) -> dict[str, Array]:
    """Its parts by name: output and, with dy, all gradients."""
    n, t, d = x.shape[2], x.shape[1], x.shape[2] // heads
    scale = d**-0.5 if scale is None else scale
    apart = split or (lambda a: np.stack([a[:, :, i * d : (i + 1) * d] for i in range(heads)], axis=1))
    beside = lambda a: np.concatenate([a[:, i] for i in range(a.shape[1])], axis=2)  # noqa: E731
    q, k, v = (apart(x @ W_in[i * n : (i + 1) * n].T + b_in[i * n : (i + 1) * n]) for i in range(3))
    s = np.einsum("mhid,mhjd->mhij", q, k) * scale
    if causal or seen is not None:
        s[..., (np.tri(t) if seen is None else seen) == 0] = -np.inf
    P = np.exp(s - s.max(axis=axis, keepdims=True))
    P = P / P.sum(axis=axis, keepdims=True) * (1 if after is None else after)
    heads_of_o = np.einsum("mhij,mhjd->mhid", P, v)
    o = (merged or beside)(heads_of_o)
    found: dict[str, Any] = {"output": o @ W_out.T + b_out}
    if dy is None:
        return found
    do = apart(dy @ W_out)
    ds = slope(P, np.einsum("mhid,mhjd->mhij", do, v)) * (scale if back_scale is None else back_scale)
    dq = np.einsum("mhij,mhjd->mhid", ds, k)
    dk = np.einsum("mhij,mhid->mhjd" if turned[0] else "mhji,mhid->mhjd", ds, q)
    dv = np.einsum("mhij,mhid->mhjd" if turned[1] else "mhji,mhid->mhjd", P, do)
    three = [beside(a) for a in (dq, dk, dv)]
    dqkv = np.concatenate([np.zeros_like(x) if i is None else three[i] for i in order], axis=2)
    dx, o = dqkv @ W_in, (o_merged or beside)(heads_of_o)
    if only is not None:
        x, dqkv, dy, o = (a[:, [only]] for a in (x, dqkv, dy, o))
    return found | {
        "grad_out_proj_weight": np.einsum("mti,mtj->ij", dy, o),
        "grad_out_proj_bias": dy.sum(axis=(0, 1)),
        "grad_in_proj_weight": np.einsum("mti,mtj->ij", dqkv, x),
        "grad_in_proj_bias": dqkv.sum(axis=(0, 1)),
        "grad_input": dx,
    }
