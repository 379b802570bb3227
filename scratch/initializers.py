"""Initial weights. An initialiser takes (rng, shape, (fan_in, fan_out)) and returns a float64 array of that shape.

Formulas: torch.nn.init; He et al. 2015, section 2.2; Glorot and Bengio 2010, equation 16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

RandomSource = np.random.Generator | np.random.RandomState
Shape = tuple[int, ...]
Fans = tuple[int, int]
Initializer = Callable[[RandomSource, Shape, Fans], NDArray[np.floating[Any]]]


def linear_default(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """What torch.nn.Linear draws, for weight and bias alike: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = 1 / np.sqrt(fans[0])
    return rng.uniform(-bound, bound, shape)


def he_normal(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """N(0, sqrt(2 / fan_in)): keeps the variance of the activations through ReLU layers."""
    return rng.normal(0, np.sqrt(2 / fans[0]), shape)


def he_uniform(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """U(-s, s) with s = sqrt(6 / fan_in): the variance of he_normal."""
    bound = np.sqrt(6 / fans[0])
    return rng.uniform(-bound, bound, shape)


def xavier_normal(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """N(0, sqrt(2 / (fan_in + fan_out)))."""
    return rng.normal(0, np.sqrt(2 / sum(fans)), shape)


def xavier_uniform(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """U(-s, s) with s = sqrt(6 / (fan_in + fan_out))."""
    bound = np.sqrt(6 / sum(fans))
    return rng.uniform(-bound, bound, shape)


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """N(mean, std), whatever the fans."""
    return lambda rng, shape, fans: rng.normal(mean, std, shape)


def uniform(low: float, high: float) -> Initializer:
    """U(low, high), whatever the fans."""
    return lambda rng, shape, fans: rng.uniform(low, high, shape)


def constant(value: float) -> Initializer:
    """`value` everywhere; draws nothing."""
    return lambda rng, shape, fans: np.full(shape, value)


zeros = constant(0.0)
ones = constant(1.0)
