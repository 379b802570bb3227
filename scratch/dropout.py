"""Dropout: while a network trains, elements are set to 0 at random, so that no unit relies on another being there."""

import numpy as np
from numpy.typing import DTypeLike

from scratch.initializers import RandomSource
from scratch.layers import Array, Layer, expect


class Dropout(Layer):
    """y = x mask, elementwise, where each element of mask is 0 with probability p, else 1 / (1 - p).

    x (m, n), or (m, channels, height, width), and y has its shape. `mask` is that of the last forward, None before the
    first. It is divided by the kept share 1 - p already ("inverted" dropout): so the mean of y is x, and evaluation,
    whose mask is ones, is y = x. With p = 1
    everything is 0, as in torch.

    The masks come from a stream of their own, whose seed is drawn from `rng`: how many masks are drawn changes neither
    the weights nor the order of batches that come from the same `rng`.

    ValueError where p is no number from 0 to 1. LayerError where x is no floating-point array of two axes at least, or
    where dy differs from x in shape or dtype.

    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting, 2014, sections 4 and 10 (the scaling at training time).
    """

    def __init__(self, p: float = 0.5, *, rng: RandomSource) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise ValueError(f"Dropout: got p={p!r}, expected a number from 0 to 1")
        self.p = p
        self.mask: Array | None = None
        self.rng = np.random.default_rng(list(rng.bytes(16)))

    @property
    def streams(self) -> dict[str, np.random.Generator]:
        return {"rng": self.rng}

    def draw(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """The next mask."""
        kept = self.rng.random(shape) >= self.p
        mask: Array = (kept / (1 - self.p) if self.p < 1 else kept).astype(dtype)
        return mask

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        self.mask = self.draw(x.shape, x.dtype) if self.training else np.ones_like(x)
        self._kept = self.mask
        return x * self.mask

    def backward(self, dy: Array) -> Array:
        """dx = dy mask."""
        mask = self.kept
        expect(dy, mask.shape, mask.dtype)
        return dy * mask

    def __repr__(self) -> str:
        return f"Dropout({self.p})"
