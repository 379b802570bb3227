"""A student's network, written once in every convention: what a script would hold after one training step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FACTORS = {"mean": lambda m, n: 1.0, "sum": lambda m, n: m, "half": lambda m, n: 0.5, "negative": lambda m, n: -1.0}


@dataclass(frozen=True)
class Student:
    """Sizes, activation ("relu", "sigmoid", "tanh"), softmax cross-entropy, and the conventions that are followed.

    bias: "separate", "last row", "first row" (of a weight (in, out)), "last column", "first column" (of (out, in)).
    divided: where the mean is taken, at the "loss" or at the "end". shown: the hidden arrays are handed in, too.
    """

    sizes: tuple[int, ...] = (5, 7, 4)
    activation: str = "tanh"
    m: int = 6
    samples: str = "rows"
    weights: str = "(in, out)"
    bias: str = "separate"
    factor: str = "mean"
    divided: str = "loss"
    dtype: str = "float64"
    shown: bool = True
    seed: int = 0

    @property
    def network(self) -> str:
        return f"{'-'.join(map(str, self.sizes))} {self.activation}, softmax cross-entropy"

    def data(self) -> tuple[Array, Array]:
        """x (m, in) and class numbers (m,)."""
        rng = np.random.default_rng(self.seed)
        return rng.normal(size=(self.m, self.sizes[0])).astype(self.dtype), rng.integers(0, self.sizes[-1], self.m)

    def arrays(self, fault: str = "") -> dict[str, Array]:
        """What one step computes, in this student's layouts, under names that say nothing."""
        rng, (x, t) = np.random.default_rng(self.seed + 1), self.data()
        pairs = list(pairwise(self.sizes))
        W = [rng.normal(size=(o, i)).astype(self.dtype) for i, o in pairs]
        b = [rng.normal(size=o).astype(self.dtype) for _, o in pairs]
        h, z = [x], []
        for k, (weight, bias) in enumerate(zip(W, b, strict=True)):
            z.append(h[-1] @ weight.T + bias)
            h.append(self._act(z[-1]) if k < len(W) - 1 else z[-1])
        p = np.exp(z[-1] - z[-1].max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        scale = FACTORS[self.factor](self.m, self.sizes[-1])
        loss = -np.log(p[np.arange(self.m), t]).mean() * scale
        d = (p - np.eye(self.sizes[-1], dtype=self.dtype)[t]) * np.dtype(self.dtype).type(scale)
        end = np.dtype(self.dtype).type(self.m)
        d = d / end if self.divided == "loss" else d
        found: dict[str, Array] = {"L": np.array(loss)}
        for k in reversed(range(len(W))):
            last = 1 if self.divided == "loss" else end
            dW, db = d.T @ h[k] / last, d.sum(axis=0) / last
            dW, db = self._spoilt(fault, k, dW, db)
            found |= self._kept(f"g{k}", dW, db) | ({f"u{k}": self._laid(d)} if self.shown else {})
            if k:
                back = W[k] if not (fault == "transposed" and W[k].shape[0] == W[k].shape[1]) else W[k].T
                d = d @ back
                d = d if fault == "derivative" else d * self._slope(z[k - 1], h[k])
        for k, (weight, bias) in enumerate(zip(W, b, strict=True)):
            found |= self._kept(f"w{k}", weight, bias)
            if self.shown or k == len(W) - 1:
                found |= {f"s{k}": self._laid(z[k])} | ({f"a{k}": self._laid(h[k + 1])} if k < len(W) - 1 else {})
        return {name: np.array(a) for name, a in found.items()}

    def is_alive(self) -> bool:
        """Whether every hidden layer shows its weights: of a ReLU whose units are all off, nobody can say which."""
        shown = replace(self, shown=True, samples="rows").arrays()
        return all(np.linalg.matrix_rank(shown[f"a{k}"]) > 0 for k in range(len(self.sizes) - 2))

    def _spoilt(self, fault: str, k: int, dW: Array, db: Array) -> tuple[Array, Array]:
        if fault == "one factor" and k == 0:
            return dW * np.dtype(self.dtype).type(self.m), db
        if fault == "bias sign" and k == 0:
            return dW, -db
        return dW, db

    def _act(self, z: Array) -> Array:
        one = z.dtype.type(1)
        return {"relu": np.maximum(z, 0), "tanh": np.tanh(z), "sigmoid": one / (one + np.exp(-z))}[self.activation]

    def _slope(self, z: Array, y: Array) -> Array:
        return {"relu": (z > 0).astype(z.dtype), "tanh": 1 - y * y, "sigmoid": y * (1 - y)}[self.activation]

    def _laid(self, a: Array) -> Array:
        return a if self.samples == "rows" else a.T

    def _kept(self, name: str, weight: Array, bias: Array) -> dict[str, Array]:
        """A weight (out, in) and its bias, or gradients of both, as this student keeps them."""
        place, _, along = self.bias.partition(" ")
        if self.bias == "separate":
            kept = bias if self.samples == "rows" else bias[:, None]
            return {name: weight if self.weights == "(out, in)" else weight.T, f"{name}b": kept}
        columns = [weight, bias[:, None]] if place == "last" else [bias[:, None], weight]
        joined = np.hstack(columns)
        return {name: joined if along == "column" else joined.T}
