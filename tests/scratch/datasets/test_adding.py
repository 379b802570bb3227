"""The adding problem: two marks in each sequence, one in either half, and the label that their sum has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratch.datasets import DatasetError, adding


@pytest.mark.parametrize("make_rng", [np.random.RandomState, np.random.default_rng])
@pytest.mark.parametrize("steps", [2, 7, 16])
def test_a_row_is_numbers_and_marks_in_turn(make_rng: Callable[[int], Any], steps: int) -> None:
    data = adding(300, 100, steps, rng=make_rng(3), dtype=np.float64)
    for x, t in ((data.x_train, data.t_train), (data.x_val, data.t_val)):
        numbers, marks = np.moveaxis(x.reshape(len(x), steps, 2), 2, 0)
        half = steps // 2
        assert (numbers.min(), numbers.max()) == pytest.approx((0, 1), abs=0.02)
        assert set(np.unique(marks)) <= {0.0, 1.0}
        for part in (marks[:, :half], marks[:, half:]):
            np.testing.assert_array_equal(part.sum(axis=1), 1)
            assert part.any(axis=0).all()  # every step is marked in some row
        sums = [sum(numbers[i, marks[i] == 1]) for i in range(len(x))]
        np.testing.assert_array_equal(t, [1 if s > 1 else 0 for s in sums])
    assert not np.array_equal(data.x_train[:100], data.x_val)


def test_either_answer_is_right_for_half_of_them() -> None:
    data = adding(20_000, 10, rng=np.random.default_rng(0))
    assert data.t_train.mean() == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_same_again_and_in_the_dtype_that_is_asked_for(dtype: type) -> None:
    first, second = (adding(20, 5, rng=np.random.default_rng(1), dtype=dtype) for _ in range(2))
    assert first.x_train.dtype == dtype
    np.testing.assert_array_equal(first.x_train, second.x_train)
    np.testing.assert_array_equal(first.t_val, second.t_val)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 1}, ValueError, "adding: got steps=1, expected at least 2"),
        ({"n": 0}, DatasetError, "expected rows of shape"),
        ({"dtype": int}, DatasetError, "expected a float dtype"),
    ],
)
def test_what_makes_no_set_is_one_line(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adding(**{"n": 8, "n_val": 4, **options}, rng=np.random.default_rng(0))
