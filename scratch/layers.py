"""The layers: forward and backward beside each other, in the letters of the mathematics.

A layer is two methods and two dictionaries with the same keys. Samples are rows: x is (m, in), y is (m, out); of images
(m, channels, height, width).
`backward` takes dL/dy, fills `grads` and returns dL/dx; it updates nothing, and changes neither its argument nor what
`forward` kept. Parameters have torch's names and orientation.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from scratch.initializers import Initializer, RandomSource, linear_default

Array = NDArray[np.floating[Any]]


class LayerError(ValueError):
    """An array that a layer cannot take: got one shape or dtype, expected another."""


Sizes = tuple["int | EllipsisType | None", ...]


def expect(a: Array, shape: Sizes, dtype: DTypeLike | None = None) -> None:
    """Raise LayerError unless `a` has this shape and this dtype (None: any float).

    In the shape, None is any size, and ... at its end any number of further axes.
    """
    sizes = shape[:-1] if shape[-1:] == (...,) else shape
    fits = a.ndim == len(shape) or (sizes is not shape and a.ndim >= len(sizes))
    if not fits or any(n not in (None, k) for n, k in zip(sizes, a.shape, strict=False)):
        wanted = ", ".join("m" if n is None else "..." if n is ... else str(n) for n in shape)
        raise LayerError(f"got {a.shape}, expected ({wanted}{',' * (len(shape) == 1)})")
    if dtype is None and not np.issubdtype(a.dtype, np.floating):
        raise LayerError(f"got {a.dtype}, expected a floating-point array")
    if dtype is not None and a.dtype != dtype:
        raise LayerError(f"got {a.dtype}, expected {np.dtype(dtype)}")


def rows(a: Array) -> Array:
    """All axes but the last as one: (m, ..., n) -> (m ..., n), of the same memory where that is possible."""
    return a.reshape(-1, a.shape[-1])


class Layer:
    """What every layer has: `params`, `grads`, and the one array that `forward` keeps for `backward`.

    `training` says whether it trains or evaluates, which for most layers is the same.
    """

    training = True

    takes_class_numbers = False  # whole numbers, which have no gradient

    instead: int | None = None  # the earlier layer whose output it takes, and not the last one's; -1: the input
    also: int | None = None  # the earlier layer whose output it takes as well

    def __init__(self) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self._kept: Array | None = None

    def forward(self, x: Array) -> Array:
        """y from x."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array) -> Array:
        """dx = dL/dx from dy = dL/dy; fills `grads`. RuntimeError before the first `forward`."""
        raise TypeError(f"{type(self).__name__} has no backward")

    def train(self, mode: bool = True) -> Self:
        """Into training, or out of it. Returns the layer itself, as in torch."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Into evaluation."""
        return self.train(False)

    @property
    def buffers(self) -> dict[str, Array]:
        """Arrays of its own that a forward pass in training changes, by torch's names; none in most layers."""
        return {}

    @property
    def streams(self) -> dict[str, np.random.Generator]:
        """The random streams that a forward pass in training draws from; none in most layers."""
        return {}

    @property
    def kept(self) -> Array:
        """What the last `forward` kept."""
        if self._kept is None:
            raise RuntimeError(f"{self}: backward was called before forward")
        return self._kept

    def __str__(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Linear(Layer):
    """y = x W^T + b;  x (m, ..., in), W (out, in), b (out,) -> y (m, ..., out).

    Weights are drawn from `rng` by `weight_init` and `bias_init` (torch's default: both uniform in
    +-1/sqrt(in)), the weight first. `bias=False` leaves b out.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rng: RandomSource,
        bias: bool = True,
        weight_init: Initializer = linear_default,
        bias_init: Initializer = linear_default,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ValueError(f"Linear {in_features} -> {out_features}: both sizes must be at least 1")
        self.in_features, self.out_features, self.dtype = in_features, out_features, np.dtype(dtype)
        fans = (in_features, out_features)
        self.params["weight"] = weight_init(rng, (out_features, in_features), fans).astype(dtype)
        if bias:
            self.params["bias"] = bias_init(rng, (out_features,), fans).astype(dtype)

    def forward(self, x: Array) -> Array:
        expect(x, (None,) * max(x.ndim - 1, 1) + (self.in_features,), self.dtype)
        self._kept = x
        y: Array = x @ self.params["weight"].T
        if "bias" in self.params:
            y += self.params["bias"]
        return y

    def backward(self, dy: Array) -> Array:
        """dW = dy^T x;  db = sum of dy over the batch;  dx = dy W. All axes but the last are the batch."""
        shape = self.kept.shape
        expect(dy, (*shape[:-1], self.out_features), self.dtype)
        x, dy = rows(self.kept), rows(dy)
        self.grads["weight"] = dy.T @ x
        if "bias" in self.params:
            self.grads["bias"] = dy.sum(axis=0)
        dx: Array = dy @ self.params["weight"]
        return dx.reshape(shape)

    def __str__(self) -> str:
        return f"Linear {self.in_features} -> {self.out_features}"

    def __repr__(self) -> str:
        bias = "" if "bias" in self.params else ", bias=False"
        return f"Linear({self.in_features}, {self.out_features}{bias}, dtype={self.dtype})"


class ReLU(Layer):
    """y = max(x, 0), elementwise. Its derivative at 0 is 0, as in torch."""

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        self._kept = x
        return np.maximum(x, 0)

    def backward(self, dy: Array) -> Array:
        """dx = dy where x > 0, else 0."""
        x = self.kept
        expect(dy, x.shape, x.dtype)
        return np.where(x > 0, dy, dy.dtype.type(0))


class Sigmoid(Layer):
    """y = 1 / (1 + e^-x), elementwise; written in e^-|x| so that it cannot overflow."""

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        e = np.exp(-np.abs(x))
        self._kept = np.where(x >= 0, x.dtype.type(1), e) / (1 + e)
        return self._kept.copy()

    def backward(self, dy: Array) -> Array:
        """dx = dy y (1 - y)."""
        y = self.kept
        expect(dy, y.shape, y.dtype)
        return dy * y * (1 - y)


class Tanh(Layer):
    """y = tanh x, elementwise."""

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        self._kept = np.tanh(x)
        return self._kept.copy()

    def backward(self, dy: Array) -> Array:
        """dx = dy (1 - y^2)."""
        y = self.kept
        expect(dy, y.shape, y.dtype)
        return dy * (1 - y * y)


class Softmax(Layer):
    """y_k = e^x_k / sum_j e^x_j, row by row.

    The row's maximum is subtracted first: y is the same, and e^x cannot overflow.
    """

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self._kept = e / e.sum(axis=1, keepdims=True)
        return self._kept.copy()

    def backward(self, dy: Array) -> Array:
        """dx_k = y_k (dy_k - sum_j dy_j y_j): the Jacobian diag(y) - y y^T, applied to dy."""
        y = self.kept
        expect(dy, y.shape, y.dtype)
        dx: Array = y * (dy - (dy * y).sum(axis=1, keepdims=True))
        return dx
