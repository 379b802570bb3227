"""The toy sets: every point that the labs fix, and where the random ones come from."""

from functools import partial

import numpy as np
import pytest

from scratch.datasets import DatasetError, linear, spiral, xor, xor_line


def test_xor_is_class_0_where_exactly_one_input_is_1():
    data = xor()
    np.testing.assert_array_equal(data.x_train, [[0, 0], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_array_equal(data.t_train, [1, 0, 0, 1])
    np.testing.assert_array_equal(data.one_hot().t_train, [[0, 1], [1, 0], [1, 0], [0, 1]])
    np.testing.assert_array_equal(data.t_train == 0, data.x_train.sum(axis=1) == 1)


def test_xor_line_lists_both_diagonals_and_their_crossing_once():
    data = xor_line(np.float64)
    assert data.x_train.shape == (21, 2)
    assert np.bincount(data.t_train).tolist() == [11, 10]
    np.testing.assert_array_equal(data.x_train[:4], [[0, 0], [0, 1], [0.1, 0.1], [0.1, 0.9]])
    np.testing.assert_array_equal(data.t_train[:4], [0, 1, 0, 1])
    np.testing.assert_array_equal(data.x_train[10:12], [[0.5, 0.5], [0.6, 0.6]])
    assert len(np.unique(data.x_train, axis=0)) == 21


@pytest.mark.parametrize("make_rng", [np.random.RandomState, np.random.default_rng])
def test_linear_draws_pairs_from_the_rng_it_is_given(make_rng):
    data = linear(30, rng=make_rng(7), dtype=np.float64)
    np.testing.assert_array_equal(data.x_train, make_rng(7).uniform(0, 1, (30, 2)))
    np.testing.assert_array_equal(data.t_train, [0 if x > y else 1 for x, y in data.x_train])
    assert set(data.t_train) == {0, 1}


def test_linear_has_100_points_unless_told():
    assert linear(rng=np.random.RandomState(0)).x_train.shape == (100, 2)


@pytest.mark.parametrize("n", [0, -3])
def test_linear_needs_points(n):
    with pytest.raises(ValueError, match=r"expected rows|negative dimensions"):
        linear(n, rng=np.random.RandomState(0))


@pytest.mark.parametrize("load", [xor, xor_line, partial(linear, rng=np.random.RandomState(0))])
def test_a_single_set_is_validated_on_its_own_points(load):
    data = load(dtype=np.float64)
    assert data.x_train.dtype == np.float64
    np.testing.assert_array_equal(data.x_val, data.x_train)
    np.testing.assert_array_equal(data.t_val, data.t_train)
    assert not np.shares_memory(data.x_val, data.x_train)
    with pytest.raises(DatasetError, match="expected a float dtype"):
        load(dtype=int)


def lab_2_arms(stream: np.random.RandomState) -> np.ndarray:
    """The lab's protocol, point by point."""
    rows = []
    for i in range(3):
        angles = np.linspace(4 * i, 4 * (i + 1), 100) + stream.randn(100) * 0.2
        for r, t in zip(np.linspace(0.0, 2.5, 100), angles, strict=True):
            rows.append((r * np.sin(t), r * np.cos(t)))
    return np.array(rows, np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spiral_is_lab_2s_train_then_test_from_one_stream(dtype):
    data = spiral(rng=np.random.RandomState(1234), dtype=dtype)
    stream = np.random.RandomState(1234)
    assert data.x_train.dtype == dtype
    np.testing.assert_array_equal(data.x_train, lab_2_arms(stream))
    np.testing.assert_array_equal(data.x_val, lab_2_arms(stream))
    np.testing.assert_array_equal(data.t_train, np.repeat([0, 1, 2], 100))
    np.testing.assert_array_equal(data.t_val, data.t_train)


def test_spiral_takes_a_generator_too():
    data = spiral(rng=np.random.default_rng(3))
    assert data.x_train.shape == data.x_val.shape == (300, 2)
    assert not np.array_equal(data.x_train, data.x_val)
    np.testing.assert_array_equal(data.x_train, spiral(rng=np.random.default_rng(3)).x_train)


@pytest.mark.parametrize("load", [linear, spiral])
def test_random_sets_ask_for_an_rng(load):
    with pytest.raises(TypeError, match="rng"):
        load()


def test_no_set_touches_the_global_stream():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  (that it stays unused is the point)
    xor(), xor_line(), linear(rng=np.random.RandomState(0)), spiral(rng=np.random.RandomState(0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
