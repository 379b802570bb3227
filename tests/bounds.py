"""How far a result is from what it should be, in units of what is allowed: the one judgement that the tests share."""

import numpy as np

from compare.numbers.expected import Expected


def worst_ratio(got: np.ndarray, expected: Expected) -> float:
    """The largest |got - expected| / allowed; inf where anything is NaN, infinite or of another shape."""
    got, value = np.asarray(got, np.float64), expected.value
    if got.shape != value.shape or not np.isfinite(got).all():
        return float("inf")
    difference = np.abs(got - value)
    allowed = expected.allowance.for_difference(difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    return float(np.max(ratio, initial=0.0))


def assert_within(what: str, got: np.ndarray, expected: Expected, dtype: type) -> None:
    """Shape and dtype as expected, and every element within its allowance."""
    assert got.shape == expected.value.shape, f"{what}: shape {got.shape}, expected {expected.value.shape}"
    assert got.dtype == dtype, f"{what}: {got.dtype}, expected {np.dtype(dtype)}"
    ratio = worst_ratio(got, expected)
    assert ratio <= 1, f"{what}: {ratio:.3g} times what is allowed"
