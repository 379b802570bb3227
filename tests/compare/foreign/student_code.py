"""A student's network as code that runs: an object, or functions with caches, in every convention of Student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.compare.foreign.student import FACTORS, Student

Array = NDArray[Any]


class Layout:
    """What a layer computes in one student's layouts: samples and weights either way, the bias anywhere."""

    def __init__(self, student: Student) -> None:
        self.rows, self.out_in = student.samples == "rows", student.weights == "(out, in)"
        self.place, _, self.along = student.bias.partition(" ")

    def extended(self, a: Array) -> Array:
        """With the ones that an attached bias is multiplied by."""
        ones = np.ones((len(a), 1) if self.rows else (1, a.shape[1]), a.dtype)
        parts = [ones, a] if self.place == "first" else [a, ones]
        return np.hstack(parts) if self.rows else np.vstack(parts)

    def forward(self, a: Array, W: Array, b: Array | None) -> tuple[Array, Any]:
        """The layer's output, and what backward needs."""
        if b is None:
            e = self.extended(a)
            if self.rows:
                return (e @ W.T if self.along == "column" else e @ W), (e, W)
            return (W @ e if self.along == "column" else W.T @ e), (e, W)
        if self.rows:
            return (a @ W.T if self.out_in else a @ W) + b, (a, W)
        return (W @ a if self.out_in else W.T @ a) + b, (a, W)

    def backward(
        self, d: Array, cache: Any, attached: bool, turned: bool = False, factor: float = 1, sign: int = 1
    ) -> tuple[Array, Array, Array | None]:
        """The gradients of what entered, of the weight, and of a separate bias.

        Mistakes: `turned`, W where it should be W^T; `factor` of dW and `sign` of db.
        """
        a, W = cache
        out_in = self.along == "column" if attached else self.out_in
        if self.rows:
            dW = factor * d.T @ a if out_in else factor * a.T @ d
            da = d @ W if out_in != turned else d @ W.T
        else:
            dW = factor * d @ a.T if out_in else factor * a @ d.T
            da = W.T @ d if out_in != turned else W @ d
        if attached:
            da = self.without_ones(da)
            return da, dW, None
        return da, dW, (sign * d).sum(axis=0) if self.rows else (sign * d).sum(axis=1, keepdims=True)

    def without_ones(self, da: Array) -> Array:
        kept = slice(1, None) if self.place == "first" else slice(None, -1)
        return da[:, kept] if self.rows else da[kept]


def act(z: Array, kind: str) -> Array:
    one = z.dtype.type(1)
    return {"relu": np.maximum(z, 0), "tanh": np.tanh(z), "sigmoid": one / (one + np.exp(-z))}[kind]


def slope(z: Array, y: Array, kind: str) -> Array:
    return {"relu": (z > 0).astype(z.dtype), "tanh": 1 - y * y, "sigmoid": y * (1 - y)}[kind]


def loss_gradient(scores: Array, t: Array, student: Student) -> tuple[Array, Array]:
    """The loss in the student's factor, and the gradient, divided at once or at the end."""
    s = scores if student.samples == "rows" else scores.T
    e = np.exp(s - s.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    number = s.dtype.type
    scale = number(FACTORS[student.factor](len(t), s.shape[1]))
    loss = -np.log(p[np.arange(len(t)), t]).mean() * scale
    d = (p - np.eye(s.shape[1], dtype=s.dtype)[t]) * scale
    if student.divided == "loss":
        d = d / number(len(t))
    return loss, d if student.samples == "rows" else d.T


def parameters(student: Student) -> tuple[list[Array], list[Array] | list[None]]:
    found = student.arrays()
    last = len(student.sizes) - 1
    W = [found[f"w{k}"] for k in range(last)]
    return W, [found[f"w{k}b"] for k in range(last)] if student.bias == "separate" else [None] * last


def spoilt(fault: str, m: int) -> tuple[int, int]:
    """The factor of the first layer's dW, and the sign of its db."""
    return m if fault == "one factor" else 1, -1 if fault == "bias sign" else 1


class Network:
    """The student's network as an object; forward takes samples as rows and turns them as the student keeps them."""

    def __init__(self, student: Student, fault: str = "") -> None:
        self.student, self.fault, self.layout = student, fault, Layout(student)
        self.W, self.b = parameters(student)
        self.dW: list[Any] = [None] * len(self.W)
        self.db: list[Any] = [None] * len(self.W)

    def forward(self, x: Array) -> Array:
        a = x if self.student.samples == "rows" else x.T
        self.caches: list[Any] = []
        self.z: list[Array] = []
        self.a: list[Array] = [a]
        for k, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            z, cache = self.layout.forward(a, W, b)
            self.caches.append(cache)
            self.z.append(z)
            a = act(z, self.student.activation) if k < len(self.W) - 1 else z
            self.a.append(a)
        return a

    def backward(self, t: Array) -> None:
        self.loss, d = loss_gradient(self.a[-1], t, self.student)
        m = d.dtype.type(len(t) if self.student.divided == "end" else 1)
        for k in reversed(range(len(self.W))):
            turned = self.fault == "transposed" and self.student.sizes[k] == self.student.sizes[k + 1]
            mistakes = spoilt(self.fault, len(t)) if k == 0 else (1, 1)
            da, dW, db = self.layout.backward(d, self.caches[k], self.b[k] is None, turned, *mistakes)
            self.dW[k], self.db[k] = dW / m, None if db is None else db / m
            if k:
                missing = self.fault == "derivative"
                d = da if missing else da * slope(self.z[k - 1], self.a[k], self.student.activation)


def step(student: Student, fault: str = "") -> Callable[[Array, Array], None]:
    """The same as one function of two layers and their caches; the network has no loop."""
    layout, kind = Layout(student), student.activation
    (W1, W2), (b1, b2) = parameters(student)

    def train(x: Array, t: Array) -> None:
        X = x if student.samples == "rows" else x.T
        z1, cache1 = layout.forward(X, W1, b1)
        a1 = act(z1, kind)
        scores, cache2 = layout.forward(a1, W2, b2)
        loss, dscores = loss_gradient(scores, t, student)  # noqa: RUF059
        m = scores.dtype.type(len(t) if student.divided == "end" else 1)
        da1, dW2, db2 = layout.backward(dscores, cache2, b2 is None, fault == "transposed")
        dz1 = da1 if fault == "derivative" else da1 * slope(z1, a1, kind)
        _, dW1, db1 = layout.backward(dz1, cache1, b1 is None, False, *spoilt(fault, len(t)))
        grad_W1, grad_W2 = dW1 / m, dW2 / m  # noqa: F841
        if db1 is not None and db2 is not None:
            grad_b1, grad_b2 = db1 / m, db2 / m  # noqa: F841

    return train
