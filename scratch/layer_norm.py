"""LayerNorm: each sample is brought to mean 0 and variance 1, by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from scratch.initializers import Initializer, RandomSource, ones, zeros
from scratch.layers import Array, Layer, expect


class LayerNorm(Layer):
    """y = W (x - mean) / sqrt(var + eps) + b;  x (m, ..., *normalized_shape), W and b (*normalized_shape).

    mean and var are those of each sample over its last axes, as many as `normalized_shape` has; var divides by the
    number of elements. Training and evaluation are the same. W begins as ones and b as zeros, as in torch; an
    initialiser that draws takes `rng`. `elementwise_affine=False` leaves both out, `bias=False` b alone.

    ValueError for a size below 1. Ba, Kiros and Hinton, Layer Normalization, 2016, section 3.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        rng: RandomSource | None = None,
        weight_init: Initializer = ones,
        bias_init: Initializer = zeros,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"LayerNorm: got normalized_shape={normalized_shape}, expected sizes of at least 1")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.dtype = np.dtype(dtype)
        self._axes = tuple(range(-len(shape), 0))
        if elementwise_affine:
            source, fans = rng or np.random.default_rng(0), (shape[-1], shape[-1])
            self.params["weight"] = weight_init(source, shape, fans).astype(dtype)
            if bias:
                self.params["bias"] = bias_init(source, shape, fans).astype(dtype)

    def forward(self, x: Array) -> Array:
        expect(x, (None,) * max(x.ndim - len(self._axes), 1) + self.normalized_shape, self.dtype)
        mean, var = x.mean(axis=self._axes, keepdims=True), x.var(axis=self._axes, keepdims=True)
        self._deviation = np.sqrt(var + x.dtype.type(self.eps))
        self._kept = (x - mean) / self._deviation
        y: Array = self._kept * self.params["weight"] if self.elementwise_affine else self._kept.copy()
        if "bias" in self.params:
            y += self.params["bias"]
        return y

    def backward(self, dy: Array) -> Array:
        """With h = (x - mean) / s, s = sqrt(var + eps), and d = W dy:

        dW = sum of dy h;  db = sum of dy, both over the samples;  dx = (d - mean(d) - h mean(d h)) / s.
        """
        h = self.kept
        expect(dy, h.shape, self.dtype)
        d = dy
        if self.elementwise_affine:
            samples = tuple(range(h.ndim - len(self._axes)))
            self.grads["weight"] = (dy * h).sum(axis=samples)
            if "bias" in self.params:
                self.grads["bias"] = dy.sum(axis=samples)
            d = dy * self.params["weight"]
        mean, along = d.mean(axis=self._axes, keepdims=True), (d * h).mean(axis=self._axes, keepdims=True)
        dx: Array = (d - mean - h * along) / self._deviation
        return dx

    def __str__(self) -> str:
        return f"LayerNorm {' x '.join(map(str, self.normalized_shape))}"

    def __repr__(self) -> str:
        shape = self.normalized_shape[0] if len(self.normalized_shape) == 1 else self.normalized_shape
        options = f", eps={self.eps}" if self.eps != 1e-5 else ""
        options += "" if self.elementwise_affine else ", elementwise_affine=False"
        options += ", bias=False" if self.elementwise_affine and "bias" not in self.params else ""
        return f"LayerNorm({shape}{options}, dtype={self.dtype})"
