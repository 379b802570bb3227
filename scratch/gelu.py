"""GELU: x times the probability that a normal number is below x, in torch's two forms."""

import math

import numpy as np

from scratch.layers import Array, Layer, expect

SCALE, CUBIC = math.sqrt(2 / math.pi), 0.044715
FAR = 50.0  # beyond it F is 0 or 1 in every digit, and powers of x could overflow

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


class GELU(Layer):
    """y = x F(x), elementwise;  x (m, n) -> y (m, n).

    F is the normal distribution, F(x) = 1/2 (1 + erf(x / sqrt 2)). With approximate="tanh" it is
    F(x) = 1/2 (1 + tanh g), where g = sqrt(2 / pi) (x + 0.044715 x^3). The two differ by up to 0.0005 in y, and each
    has its own derivative.

    ValueError for another `approximate`. LayerError where x is no matrix of floating-point numbers, or where dy differs
    from x in shape or dtype.

    Hendrycks and Gimpel, Gaussian Error Linear Units (GELUs), 2016, section 2.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"got approximate={approximate!r}, expected 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        self._kept = x
        return x * self._below(x)

    def backward(self, dy: Array) -> Array:
        """dx = dy (F(x) + x F'(x))."""
        x = self.kept
        expect(dy, x.shape, x.dtype)
        return dy * (self._below(x) + x * self._density(x))

    def _below(self, x: Array) -> Array:
        """F(x)."""
        near = np.clip(x, -FAR, FAR)
        return by_tanh(near) if self.approximate == "tanh" else normal(near)

    def _density(self, x: Array) -> Array:
        """F'(x)."""
        near = np.clip(x, -FAR, FAR)
        return by_tanh_density(near) if self.approximate == "tanh" else normal_density(near)

    def __repr__(self) -> str:
        return f"GELU({self.approximate!r})"


def normal(x: Array) -> Array:
    """F(x) = 1/2 erfc(-x / sqrt 2), which is 1/2 (1 + erf(x / sqrt 2)), but does not cancel where x < 0."""
    below: Array = _erfc(-x.astype(np.float64) / math.sqrt(2)) / 2
    return below.astype(x.dtype)


def normal_density(x: Array) -> Array:
    """F'(x) = e^(-x^2 / 2) / sqrt(2 pi)."""
    density: Array = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return density


def by_tanh(x: Array) -> Array:
    """F(x) = 1/2 (1 + tanh g)."""
    return (1 + np.tanh(_inner(x))) / 2


def by_tanh_density(x: Array) -> Array:
    """F'(x) = 1/2 (1 - tanh^2 g) g', where g' = sqrt(2 / pi) (1 + 3 0.044715 x^2)."""
    t = np.tanh(_inner(x))
    density: Array = (1 - t * t) / 2 * SCALE * (1 + 3 * CUBIC * x * x)
    return density


def _inner(x: Array) -> Array:
    g: Array = SCALE * (x + CUBIC * x * x * x)
    return g
