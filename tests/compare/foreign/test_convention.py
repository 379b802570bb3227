"""Conventions: known factors, and which of them a number is."""

from __future__ import annotations

import pytest

from compare.foreign.convention import Factor, factors, nearest
from compare.report.findings import multiple

M, N = 7, 4


def words_of(factor: Factor) -> str:
    return multiple(factor.times, factor.summed)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, ""),
        (0.5, "half"),
        (2, "doubled"),
        (-1, "negative"),
        (-0.5, "half, negative"),
        (M, "summed over the samples, not their mean"),
        (M / 2, "half, summed over the samples, not their mean"),
        (-M, "negative, summed over the samples, not their mean"),
        (M * N, "summed over all elements, not their mean"),
        (N, "summed over the outputs"),
        (1 / N, "divided by the outputs too"),
        (1 / M, "divided by the samples twice"),
        (M * M, "summed over the samples, times their number"),
    ],
)
def test_known_factors(value: float, words: str) -> None:
    found = nearest(value, factors(M, N))
    assert found is not None
    assert (words_of(found), found.rate) == (words, 1.0)
    assert nearest(value * (1 + 1e-5), factors(M, N)) is None


@pytest.mark.parametrize("value", [0.0, 0.9, 3.0, 1e-3, M - 1, float("nan"), float("inf")])
def test_numbers_that_are_no_factor(value: float) -> None:
    assert nearest(value, factors(M, N)) is None


@pytest.mark.parametrize(
    ("value", "words", "rate"),
    [
        (0.3, "", 0.3),
        (-0.3, "negative", 0.3),
        (0.3 * M, "summed over the samples, not their mean", 0.3),
        (0.07, "", 0.07),
        (M, "summed over the samples, not their mean", 1.0),
    ],
)
def test_each_factor_may_also_carry_a_learning_rate(value: float, words: str, rate: float) -> None:
    found = nearest(value, factors(M, N, [0.3, 0.07]))
    assert found is not None
    assert (words_of(found), found.rate) == (words, rate)


def test_where_two_factors_are_one_number_the_plainer_is_meant() -> None:
    words = [words_of(found) for value in (1.0, 2.0) if (found := nearest(value, factors(2, 2)))]
    assert words == ["", "doubled"]
    assert nearest(1.0, factors(1, 1)) == factors(1, 1)[0]


@pytest.mark.parametrize(("within", "is_one"), [(1e-6, False), (1e-3, True)])
def test_within(within: float, is_one: bool) -> None:
    assert (nearest(1.0005, factors(M, N), within) is not None) is is_one
