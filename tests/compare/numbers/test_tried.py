"""Tried: runs that are moved are as far off as roundings may be; in turn is the candidate's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from compare.numbers.allowance import LikelyFirst, Precision
from compare.numbers.carried import Matrix
from compare.numbers.latest import Latest
from compare.numbers.tried import LEAST, InTurn, Moved, Tried
from tests.compare.numbers.test_carried import SAME

P = Precision.of(np.float32)


@pytest.mark.parametrize("name", [name for name in SAME if name not in ("sum", "difference", "one minus", "product")])
def test_it_computes_what_is_written(name: str) -> None:
    written, plain = SAME[name]
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 4, 3, 5))
    for by, near in ((Moved(LEAST), 1e-6), (InTurn(np.float64), 1e-12), (InTurn(np.float32, backwards=True), 1e-5)):
        found = written(Tried.of(a, by), Tried.of(b, by)).value
        np.testing.assert_allclose(found, np.broadcast_to(plain(a, b), found.shape), rtol=near, atol=near)


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "slope of tanh", "slope of sigmoid", "affine", "over time", "summed"]
)
def test_float32_is_within_the_spread(name: str) -> None:
    written, plain = SAME[name]
    for seed in range(20):
        a, b = np.random.default_rng(seed).standard_normal((2, 4, 3, 5)).astype(np.float32)
        by, exact = Moved(P.u), plain(a.astype(np.float64), b.astype(np.float64))
        spread = written(Tried.of(a, by), Tried.of(b, by)).spread(exact, P.u)
        difference = np.abs(plain(a, b).astype(np.float64) - exact)
        assert np.all(difference <= spread)
        assert np.all(spread <= 1e-4 * (1 + np.abs(exact)))


def test_the_run_that_is_left_as_it_is_is_the_value() -> None:
    a = np.random.default_rng(0).standard_normal((4, 5))
    found = Tried.of(a, Moved(LEAST, still=True)).tanh().bounded(Precision.of(np.float64))
    np.testing.assert_array_equal(found.value, np.tanh(a))
    assert np.all((found.error > 0) & (found.error < 1e-13))
    given = Tried.of(a, Moved(LEAST, still=True)).off_by(np.full(a.shape, 1e-3)).bounded(Precision.of(np.float64))
    np.testing.assert_array_equal(given.value, a)
    assert np.all(given.error > 0)


def test_in_turn_adds_one_term_after_the_other() -> None:
    terms = np.array([[1.0, 1e-8, 1e-8, 1e-8, -1.0]])
    ones = Matrix(np.ones((1, 5)))
    for backwards, wanted in ((False, 0.0), (True, 0.0)):
        found = Tried.of(terms, InTurn(np.float32, backwards)).affine(ones).value
        assert found.dtype == np.float32
        assert found.item() == wanted
    assert Tried.of(terms, InTurn(np.float64)).affine(ones).value.item() == pytest.approx(3e-8, rel=1e-6)


def test_the_moves_are_the_same_in_every_process() -> None:
    a = np.random.default_rng(0).standard_normal((300, 400))  # beyond the pool of random numbers
    first, again = (Tried.of(a, Moved(LEAST)).tanh().value for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert np.unique(np.sign(first[1] - np.tanh(a))).size >= 2


# --- the bound that always holds is computed where it is needed ---


def bounds(well: bool, certain: np.ndarray, asked: list[str]) -> LikelyFirst:
    def always() -> np.ndarray:
        asked.append("certain")
        return certain

    return LikelyFirst.of(np.array([[1.0, 2.0], [3.0, 4.0]]), always, lambda: well, reach=1.0)


def test_the_certain_bound_is_asked_for_only_where_the_likely_one_may_not_speak() -> None:
    asked: list[str] = []
    small, large = np.full((2, 2), 0.5), np.full((2, 2), 2.5)
    allowance = bounds(True, np.full((2, 2), 10.0), asked)
    assert allowance.for_difference(small) is allowance.sharp
    assert allowance.for_difference(large) is allowance.sharp
    assert allowance.wide.tolist() == [[1, 2], [3, 4]]
    assert asked == []
    unsure = bounds(False, np.array([[10.0, 0.5], [np.nan, np.inf]]), asked)
    assert unsure.for_difference(small) is unsure.sharp
    assert asked == []
    assert unsure.for_difference(large).tolist() == [[10, 2], [np.inf, np.inf]]
    assert asked == ["certain"]


def test_its_rows_and_what_is_added_to_it() -> None:
    certain = np.array([[10.0, 20.0], [30.0, 40.0]])
    allowance = bounds(False, certain, [])
    assert allowance.rows(slice(1, 2)).wide.tolist() == [[30, 40]]
    assert allowance.rows(slice(1, 2)).sharp.tolist() == [[3, 4]]
    wider = allowance.widened(np.ones((2, 2)), by=2.0)
    assert wider.wide.tolist() == (2 * certain + 1).tolist()
    assert wider.rows(slice(0, 1)).sharp.tolist() == [[3, 5]]


# --- what was computed last ---


def test_equal_arrays_are_not_computed_again_and_changed_ones_are() -> None:
    latest: Latest[int] = Latest(keys=2)
    made: list[str] = []

    def of(key: str, a: np.ndarray) -> int:
        def make() -> int:
            made.append(key)
            return len(made)

        return latest.of(key, [a], make)

    a = np.zeros(3)
    assert of("x", a) == 1
    assert of("x", a.copy()) == 1
    a[1] = 5
    assert of("x", a) == 2
    assert of("y", a) == 3
    assert of("z", a) == 4
    assert of("x", a) == 5  # of more than two keys the oldest is forgotten
    assert made == ["x", "x", "y", "z", "x"]


def test_of_few_elements_there_are_more_runs() -> None:
    assert Moved.of_size(P, 10).moved == 8
    assert Moved.of_size(P, 100_000).moved == 2
    assert Moved.of_size(P, 100_000, still=True).runs == 3
    assert Moved.of_size(Precision.of(np.float64), 10).unit == LEAST


def test_short_rows_are_taken_together() -> None:
    """One element says little: the deviation is that of eight, where there are so many; of two runs twice that."""
    by = Moved(1.0)
    runs = Tried(np.array([[[0.0], [0.0], [8.0], [0.0]]] * 2), by)
    np.testing.assert_allclose(runs.spread(np.zeros((4, 1)), 1.0)[:, 0], [24, 24, 32, 24])
    long = Tried(np.concatenate([np.zeros((2, 1, 8)), np.full((2, 1, 8), 2.0)], axis=1), by)
    np.testing.assert_allclose(long.spread(np.zeros((2, 8)), 1.0), [[0] * 8, [12] * 8])
