"""BatchNorm: each channel is brought to mean 0 and variance 1 over the batch; what its two kinds have in common."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import DTypeLike

from scratch.initializers import Initializer, RandomSource, ones, zeros
from scratch.layers import Array, Layer, LayerError, expect


class BatchNorm(Layer):
    """y = W (x - mean) / sqrt(var + eps) + b;  x (m, channels, ...), W and b (channels,).

    In training, mean and var are those of each channel over all its N values in the batch; var divides by N. The
    running ones follow them, running = (1 - momentum) running + momentum new, where the new variance divides by N - 1,
    as in torch. In evaluation the running ones are taken. W begins as ones and b as zeros; an initialiser that draws
    takes `rng`. `affine=False` leaves both out, `bias=False` b alone.

    ValueError for no channels, LayerError in training for a batch with one value of each channel, which has no
    variance. Ioffe and Szegedy, Batch Normalization, 2015, section 3.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        bias: bool = True,
        rng: RandomSource | None = None,
        weight_init: Initializer = ones,
        bias_init: Initializer = zeros,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"{type(self).__name__}: got num_features={num_features}, expected at least 1")
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.dtype = np.dtype(dtype)
        self.running_mean, self.running_var = np.zeros(num_features, dtype), np.ones(num_features, dtype)
        source, shape, fans = rng or np.random.default_rng(0), (num_features,), (num_features, num_features)
        if affine:
            self.params["weight"] = weight_init(source, shape, fans).astype(dtype)
        if affine and bias:
            self.params["bias"] = bias_init(source, shape, fans).astype(dtype)

    @abstractmethod
    def _expect(self, x: Array) -> None:
        """LayerError unless x has the axes that this kind takes."""

    @property
    def buffers(self) -> dict[str, Array]:
        return {"running_mean": self.running_mean, "running_var": self.running_var}

    def forward(self, x: Array) -> Array:
        self._expect(x)
        mean, var = self.running_mean, self.running_var
        if self.training:
            axes, count = _but_channels(x), x.size // self.num_features
            if count == 1:
                raise LayerError(f"got {x.shape}, expected more than 1 value per channel when training")
            mean, var = x.mean(axis=axes), x.var(axis=axes)
            self._follow(mean, var * count / (count - 1))
        self._by_batch = self.training
        self._deviation = _beside(np.sqrt(var + x.dtype.type(self.eps)), x)
        self._kept = (x - _beside(mean, x)) / self._deviation
        y: Array = self._kept * _beside(self.params["weight"], x) if self.affine else self._kept.copy()
        if "bias" in self.params:
            y += _beside(self.params["bias"], x)
        return y

    def _follow(self, mean: Array, var: Array) -> None:
        """The running ones of this batch."""
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var

    def backward(self, dy: Array) -> Array:
        """With h = (x - mean) / s, s = sqrt(var + eps), and d = W dy:

        dW = sum of dy h;  db = sum of dy, of each channel;  dx = (d - mean(d) - h mean(d h)) / s, the means over each
        channel; in evaluation dx = d / s.
        """
        h = self.kept
        expect(dy, h.shape, self.dtype)
        d, axes = dy, _but_channels(h)
        if self.affine:
            self.grads["weight"] = (dy * h).sum(axis=axes)
            d = dy * _beside(self.params["weight"], dy)
        if "bias" in self.params:
            self.grads["bias"] = dy.sum(axis=axes)
        if self._by_batch:
            d = d - d.mean(axis=axes, keepdims=True) - h * (d * h).mean(axis=axes, keepdims=True)
        dx: Array = d / self._deviation
        return dx

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.num_features}"

    def __repr__(self) -> str:
        options = f", eps={self.eps}" if self.eps != 1e-5 else ""
        options += f", momentum={self.momentum}" if self.momentum != 0.1 else ""
        options += "" if self.affine else ", affine=False"
        options += ", bias=False" if self.affine and "bias" not in self.params else ""
        return f"{type(self).__name__}({self.num_features}{options}, dtype={self.dtype})"


def _but_channels(x: Array) -> tuple[int, ...]:
    """All axes but the second."""
    return (0, *range(2, x.ndim))


def _beside(a: Array, x: Array) -> Array:
    """One number for each channel, beside x."""
    return a.reshape(-1, *[1] * (x.ndim - 2))
