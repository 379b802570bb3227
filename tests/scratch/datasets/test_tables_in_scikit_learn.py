"""Iris and the embedded digits: the splits, and that the rows are scikit-learn's own."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

from scratch.datasets import digits, iris
from scratch.datasets.iris import TEST, TRAIN, VAL


def test_iris_splits_are_disjoint_and_complete():
    assert (len(TRAIN), len(VAL), len(TEST)) == (105, 15, 30)
    assert sorted(TRAIN + VAL + TEST) == list(range(150))


def test_iris_keeps_the_order_of_the_lab():
    assert (TRAIN[:3], TRAIN[-1]) == ((46, 64, 6), 91)
    assert (VAL[:3], VAL[-1]) == ((93, 7, 15), 37)
    assert (TEST[:3], TEST[-1]) == ((31, 122, 130), 78)


def test_iris_rows_are_raw_features():
    table, data = load_iris(), iris(np.float64)
    for rows, x, t in [
        (TRAIN, data.x_train, data.t_train),
        (VAL, data.x_val, data.t_val),
        (TEST, data.x_test, data.t_test),
    ]:
        np.testing.assert_array_equal(x, table.data[list(rows)])
        np.testing.assert_array_equal(t, table.target[list(rows)])
    assert data.class_names == ("setosa", "versicolor", "virginica")
    assert data.image_shape is None


def test_iris_in_float32_and_one_hot():
    data = iris().one_hot()
    assert data.x_test.dtype == data.t_test.dtype == np.float32
    assert data.t_test.shape == (30, 3)
    np.testing.assert_array_equal(data.t_test.argmax(axis=1), iris().t_test)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_digits_are_split_in_their_own_order(dtype):
    table, data = load_digits(), digits(dtype)
    assert data.x_train.dtype == dtype
    np.testing.assert_array_equal(data.x_train, table.data[:1437] / 16)
    np.testing.assert_array_equal(data.x_val, table.data[1437:] / 16)
    np.testing.assert_array_equal(data.t_val, table.target[-360:])
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert data.image_shape == (8, 8)
    assert data.source == "the 1,797 handwritten digits embedded in scikit-learn"
