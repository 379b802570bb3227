"""Carried: its bounds hold for float32, element by element and for each row, and do not grow as |W| does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compare.numbers.allowance import Precision
from compare.numbers.carried import Carried, Matrix, length

P = Precision.of(np.float32)
RNG = np.random.default_rng(0)
W = RNG.standard_normal((6, 5)).astype(np.float32)
B = RNG.standard_normal(6).astype(np.float32)

# the same in Carried's words and in NumPy's
SAME: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "sum": (lambda a, b: a + b, lambda a, b: a + b),
    "difference": (lambda a, b: a - b, lambda a, b: a - b),
    "one minus": (lambda a, b: 1.0 - a, lambda a, b: 1 - a),
    "product": (lambda a, b: a * b, lambda a, b: a * b),
    "tanh": (lambda a, b: a.tanh(), lambda a, b: np.tanh(a)),
    "sigmoid": (lambda a, b: a.sigmoid(), lambda a, b: 1 / (1 + np.exp(-a))),
    "relu": (lambda a, b: a.relu(), lambda a, b: np.maximum(a, 0)),
    "slope of tanh": (lambda a, b: a.tanh().tanh_slope(), lambda a, b: 1 / np.cosh(a) ** 2),
    "slope of sigmoid": (lambda a, b: a.sigmoid().sigmoid_slope(), lambda a, b: np.exp(-a) / (1 + np.exp(-a)) ** 2),
    "affine": (
        lambda a, b: a.affine(Matrix(W), addends=(B,)),
        lambda a, b: a @ W.T.astype(a.dtype) + B.astype(a.dtype),
    ),
    "block": (lambda a, b: a.affine(Matrix(W)).block(1, 2), lambda a, b: (a @ W.T.astype(a.dtype))[..., 3:]),
    "joined": (lambda a, b: a.joined((a, b)), lambda a, b: np.concatenate([a, b], axis=-1)),
    "over time": (lambda a, b: a.over_time(b), lambda a, b: np.einsum("mtn,mtk->nk", a, b)),
    "summed": (lambda a, b: a.summed(), lambda a, b: a.sum(axis=(0, 1))),
    "step": (lambda a, b: a.step(1) * 2.0, lambda a, b: a[:, 1] * 2),
    "stacked": (lambda a, b: a.stacked([a.step(1), a.step(0)]), lambda a, b: a[:, [1, 0]]),
}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
@pytest.mark.parametrize("name", SAME)
def test_what_float32_makes_of_operands_that_are_off_is_within_the_bounds(name: str, scale: float) -> None:
    carried, plain = SAME[name]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        exact = [scale * rng.standard_normal((4, 3, 5)) for _ in range(2)]
        off = [a.astype(np.float32) for a in exact]
        operands = [Carried.of(a, P) for a in exact]
        operands = [
            Carried(c.value, np.abs(a - c.value), P, length(a - c.value)) for a, c in zip(off, operands, strict=True)
        ]
        found = carried(*operands)
        difference = (1 - 1e-12) * np.abs(plain(*off).astype(np.float64) - plain(*exact))  # bounds round, too
        np.testing.assert_allclose(found.value, plain(*exact), rtol=1e-12, atol=1e-14)
        assert np.all(difference <= found.error)
        if isinstance(found, Carried):
            assert np.all(length(difference) <= found.norm)


def test_the_slope_of_a_relu_is_open_where_its_argument_may_be_on_either_side() -> None:
    a = Carried(np.array([[1.0, -1.0, 0.5, -0.5, 0.0]]), np.array([[0.1, 0.1, 0.6, 0.6, 0.0]]), P, np.array([[1.0]]))
    assert a.relu_slope().value.tolist() == [[1, 0, 1, 0, 0]]
    assert a.relu_slope().error.tolist() == [[0, 0, 1, 1, 0]]


@pytest.mark.parametrize("value", [RNG.standard_normal((6, 5)), RNG.standard_normal((5, 6)), np.ones((3, 3))])
def test_the_norm_of_a_matrix_is_its_largest_singular_value(value: np.ndarray) -> None:
    largest = np.linalg.svd(value)[1][0]
    assert largest <= Matrix(value).norm <= largest * (1 + 1e-6)


def test_a_matrix_that_is_not_finite_may_move_anything() -> None:
    assert Matrix(np.array([[np.inf, 0.0]])).norm == np.inf


def test_an_error_that_goes_round_does_not_grow_as_the_sizes_of_the_weights_do() -> None:
    """|W| alone would multiply it by more than 2 in each of 30 steps."""
    rng = np.random.default_rng(1)
    w = Matrix(rng.uniform(-1, 1, (64, 64)) / 8)
    error = np.zeros((1, 64))
    error[0, 0] = 1e-6
    h = Carried(np.zeros((1, 64)), error, P, length(error))
    by_sizes = error
    for _ in range(30):
        h, by_sizes = h.affine(w), by_sizes @ w.size.T
    assert by_sizes.max() > 1e3
    assert h.error.max() < 1e-3
