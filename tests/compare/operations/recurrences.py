"""RNN, LSTM and GRU once more, sample by sample in plain NumPy, with what people get wrong as options.

Each gives its parts by name: output and, with dy, all gradients. Time is the second axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Parts = dict[str, Array]


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def parts(x: Array, W_ih: Array, da: Array, dq: Array, h: Array, only: int | None, after: bool) -> Parts:
    """The gradients, from those of W_ih x_t and W_hh h of all steps, and the states with the first one."""
    dx, states = da @ W_ih, h[:, 1:] if after else h[:, :-1]
    if only is not None:
        x, da, dq, states = (a[:, [only]] for a in (x, da, dq, states))
    return {
        "grad_weight_ih_l0": np.einsum("mtn,mtk->nk", da, x),
        "grad_weight_hh_l0": np.einsum("mtn,mtk->nk", dq, states),
        "grad_bias_ih_l0": da.sum(axis=(0, 1)),
        "grad_bias_hh_l0": dq.sum(axis=(0, 1)),
        "grad_input": dx,
    }


def rnn(
    x: Array,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array,
    b_hh: Array,
    dy: Array | None = None,
    *,
    f: Callable[[Array], Array] = np.tanh,
    carries: bool = True,
    adds: bool = True,
    reach: int | None = None,
    transposed: bool = False,
    slope: Callable[[Array, Array, Array], Any] = lambda a, h, before: 1 - h * h,
    only: int | None = None,
    after: bool = False,
) -> Parts:
    m, steps = x.shape[:2]
    h, a = np.zeros((m, steps + 1, len(W_hh)), x.dtype), np.zeros((m, steps, len(W_hh)), x.dtype)
    for t in range(steps):
        before = h[:, t] if carries or dy is not None else h[:, 0]
        a[:, t] = x[:, t] @ W_ih.T + b_ih + before @ W_hh.T + b_hh
        h[:, t + 1] = f(a[:, t])
    if dy is None:
        return {"output": h[:, 1:]}
    da = np.zeros_like(a)
    for source in range(steps):  # what dy of one step gives to all steps before it
        if not adds and source < steps - 1:
            continue
        dh = dy[:, source]
        for t in range(source, -1, -1):
            if source - t > (0 if not carries else steps if reach is None else reach):
                break
            d = dh * slope(a[:, t], h[:, t + 1], h[:, t])
            da[:, t] += d
            dh = d @ (W_hh.T if transposed else W_hh)
    return {"output": h[:, 1:]} | parts(x, W_ih, da, da, h, only, after)


def gates(a: Array, order: list[int]) -> Array:
    """Blocks of rows in another order."""
    blocks = np.split(a, len(order))
    return np.concatenate([blocks[k] for k in order])


def lstm(
    x: Array,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array,
    b_hh: Array,
    dy: Array | None = None,
    *,
    order: list[int] = [0, 1, 2, 3],  # noqa: B006
    carries: bool = True,
    adds: bool = True,
    keeps: bool = True,
    forgets: bool = True,
    squashes: bool = True,
    sums: bool = True,
    only: int | None = None,
    after: bool = False,
) -> Parts:
    """`order` says which block is taken for i, f, g and o. The options are those of the way back where dy is there."""
    ahead = dy is None
    (m, steps), k = x.shape[:2], W_hh.shape[1]
    h, c = np.zeros((2, m, steps + 1, k), x.dtype)
    i, f, g, o = np.zeros((4, m, steps, k), x.dtype)
    for t in range(steps):
        state = h[:, t] if carries or not ahead else h[:, 0]
        blocks = np.split(x[:, t] @ W_ih.T + b_ih + state @ W_hh.T + b_hh, 4, axis=1)
        a = [blocks[order.index(j)] for j in range(4)]
        i[:, t], f[:, t], g[:, t], o[:, t] = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
        before = c[:, t] if keeps or not ahead else c[:, 0]
        c[:, t + 1] = (f[:, t] * before if forgets or not ahead else before) + i[:, t] * g[:, t]
        h[:, t + 1] = o[:, t] * (np.tanh(c[:, t + 1]) if squashes or not ahead else c[:, t + 1])
    if dy is None:
        return {"output": h[:, 1:], "cell": c[:, 1:]}
    da = np.zeros((m, steps, 4 * k), x.dtype)
    dh, dc = np.zeros((2, m, k), x.dtype)
    for t in reversed(range(steps)):
        s, it, ft, gt, ot = np.tanh(c[:, t + 1]), i[:, t], f[:, t], g[:, t], o[:, t]
        dh = dh + dy[:, t] if adds or t == steps - 1 else dh
        own = dh * ot * (1 - s * s if squashes else 1)
        dc = dc + own if sums or t == steps - 1 else dc
        da[:, t] = np.hstack(
            [
                dc * gt * it * (1 - it),
                dc * c[:, t] * ft * (1 - ft),
                dc * it * (1 - gt * gt),
                dh * s * ot * (1 - ot),
            ]
        )
        dc = dc * (ft if forgets else 1) * keeps
        dh = da[:, t] @ W_hh * carries
    return {"output": h[:, 1:]} | parts(x, W_ih, da, da, h, only, after)


def gru(
    x: Array,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array,
    b_hh: Array,
    dy: Array | None = None,
    *,
    order: list[int] = [0, 1, 2],  # noqa: B006
    carries: bool = True,
    adds: bool = True,
    before: bool = False,
    exchanged: bool = False,
    direct: bool = True,
    resets: bool = True,
    through_reset: bool = True,
    only: int | None = None,
    after: bool = False,
) -> Parts:
    """`order` says which block is taken for r, z and n."""
    ahead = dy is None
    (m, steps), k = x.shape[:2], W_hh.shape[1]
    h = np.zeros((m, steps + 1, k), x.dtype)
    r, z, n, q = np.zeros((4, m, steps, k), x.dtype)
    for t in range(steps):
        state = h[:, t] if carries or not ahead else h[:, 0]
        blocks = np.split(x[:, t] @ W_ih.T + b_ih, 3, axis=1), np.split(state @ W_hh.T + b_hh, 3, axis=1)
        (ar, az, an), (qr, qz, qn) = ([each[order.index(j)] for j in range(3)] for each in blocks)
        r[:, t], z[:, t] = sigmoid(ar + qr), sigmoid(az + qz)
        if before:
            reset = np.split((r[:, t] * state) @ W_hh.T + b_hh, 3, axis=1)[2]
        else:
            reset = r[:, t] * qn if resets or not ahead else qn
        q[:, t], n[:, t] = qn, np.tanh(an + reset)
        new, old = (z[:, t], 1 - z[:, t]) if exchanged and ahead else (1 - z[:, t], z[:, t])
        h[:, t + 1] = new * n[:, t] + old * state
    if dy is None:
        return {"output": h[:, 1:]}
    da, dq = np.zeros((2, m, steps, 3 * k), x.dtype)
    dh = np.zeros((m, k), x.dtype)
    for t in reversed(range(steps)):
        new, old = (z[:, t], 1 - z[:, t]) if exchanged else (1 - z[:, t], z[:, t])
        dh = dh + dy[:, t] if adds or t == steps - 1 else dh
        dn = dh * new * (1 - n[:, t] ** 2)
        dz = dh * (h[:, t] - n[:, t]) * z[:, t] * (1 - z[:, t])
        dr = dn * q[:, t] * r[:, t] * (1 - r[:, t]) * through_reset
        da[:, t] = np.hstack([dr, dz, dn])
        dq[:, t] = np.hstack([dr, dz, dn * (r[:, t] if resets else 1)])
        dh = (dh * old * direct + dq[:, t] @ W_hh) * carries
    return {"output": h[:, 1:]} | parts(x, W_ih, da, dq, h, only, after)
