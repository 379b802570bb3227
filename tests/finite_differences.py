"""A second opinion on derivatives, from function values alone: no formula of a gradient enters it."""

from collections.abc import Callable

import numpy as np

ROUNDOFF = float(np.finfo(np.float64).eps)


def directional_derivative(f: Callable[[np.ndarray], float], x: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """d f(x + h v) / dh at h = 0, and how wrong it may be.

    Central differences at h and h / 2, extrapolated: the error is of order h^4, so the step is roundoff^(1/5). What
    the extrapolation moved is a bound on what it left, and values good to 100 roundoffs cost 100 roundoffs / h.
    """
    h = ROUNDOFF**0.2 / max(1.0, float(np.abs(v).max()))
    coarse, fine = ((f(x + k * v) - f(x - k * v)) / (2 * k) for k in (h, h / 2))
    size = max(abs(f(x + h * v)), abs(f(x - h * v)))
    return fine + (fine - coarse) / 3, abs(fine - coarse) / 3 + 100 * ROUNDOFF * size / h


def assert_derivative(f: Callable[[np.ndarray], float], x: np.ndarray, gradient: np.ndarray, v: np.ndarray) -> None:
    """gradient . v is the derivative of f along v, and a gradient that is wrong by a hundredth part is not."""
    assert gradient.shape == x.shape
    slope, error = directional_derivative(f, x, v)
    found = float((gradient * v).sum())
    assert abs(found - slope) <= error, f"gradient says {found:.12g}, finite differences {slope:.12g} +- {error:.2g}"
    assert error < 0.01 * max(float(np.abs(gradient * v).sum()), 1e-12), "the finite differences say nothing"
