"""A Dataset is checked when it is made: each wrong part beside the right one."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from scratch.datasets import Dataset, DatasetError, DatasetMissing


def points(**changes) -> Dataset:
    """Five rows to train and three to validate, two features, four classes: no two sizes alike."""
    parts = {
        "name": "points",
        "x_train": np.arange(10, dtype=np.float32).reshape(5, 2),
        "t_train": np.array([0, 1, 2, 3, 0]),
        "x_val": np.ones((3, 2), np.float32),
        "t_val": np.array([3, 0, 1]),
        "class_names": ("a", "b", "c", "d"),
        "image_shape": None,
        "source": "made up",
    }
    return Dataset(**(parts | changes))


ONE_HOT = np.eye(4, dtype=np.float32)[[3, 0, 1]]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"t_val": np.array([3, 0, 1], np.uint8)},
        {"t_val": ONE_HOT},
        {"image_shape": (1, 2)},
        {"x_train": np.zeros((5, 2), np.float64), "x_val": np.zeros((3, 2), np.float64)},
        {"x_test": np.zeros((1, 2), np.float32), "t_test": np.array([2])},
    ],
)
def test_right_parts(changes):
    points(**changes)


NAN = np.array([[0, 0], [0, np.nan], [0, 0]], np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t_val": np.array([3, 0])}, r"points val: found 3 rows of x and 2 of t, expected as many"),
        ({"t_val": np.array([3, 4, 1])}, r"t_val\[1\]: found 4, expected a class, 0 to 3"),
        ({"t_val": np.array([3, 0, -1])}, r"t_val\[2\]: found -1"),
        ({"t_val": np.array([3.0, 0.0, 1.0])}, r"t_val: found float64 \(3,\), expected class indices"),
        ({"t_val": np.array([[3], [0], [1]])}, r"t_val: found int64 \(3, 1\), expected class indices"),
        ({"t_val": ONE_HOT[:, :3]}, r"expected class indices \(n,\) or one-hot rows \(n, 4\)"),
        ({"t_val": ONE_HOT.astype(np.float64)}, r"t_val: found float64"),
        ({"t_val": 0 * ONE_HOT}, r"t_val\[0\]: found .*, expected a one-hot row of 4"),
        ({"t_val": ONE_HOT + ONE_HOT[::-1]}, r"expected a one-hot row of 4"),
        ({"t_val": np.full((3, 4), np.nan, np.float32)}, r"expected a one-hot row of 4"),
        ({"t_val": [3, 0, 1]}, r"t_val: found list"),
        ({"x_val": [[0, 0]]}, r"x_val: found list"),
        ({"x_val": NAN}, r"x_val\[1, 1\]: found nan, expected a finite number"),
        ({"x_val": np.nan_to_num(NAN, nan=-np.inf)}, r"x_val\[1, 1\]: found -inf"),
        ({"x_val": np.ones((3, 3), np.float32)}, r"found float32 \(3, 3\), expected rows of shape \(2,\)"),
        ({"x_val": np.ones((0, 2), np.float32), "t_val": np.zeros(0, int)}, r"x_val: found float32 \(0, 2\)"),
        ({"x_val": np.ones((3, 2))}, r"x_val: found float64, expected one float dtype"),
        ({"x_train": np.ones((5, 2), int)}, r"x_train: found int64"),
        ({"x_train": np.ones(5, np.float32)}, r"x_train: found float32 \(5,\)"),
        ({"x_train": None}, r"x_train: found NoneType"),
        ({"image_shape": (2, 2)}, r"x_train: found float32 \(5, 2\), expected rows of shape \(4,\)"),
        ({"x_test": np.zeros((1, 2), np.float32)}, r"t_test: found NoneType"),
        ({"t_test": np.array([0])}, r"x_test: found NoneType"),
    ],
)
def test_wrong_parts(changes, message):
    with pytest.raises(DatasetError, match=message):
        points(**changes)


def test_astype_changes_x_and_leaves_the_original_alone():
    data = points()
    wide = data.astype(np.float64)
    assert wide.x_train.dtype == wide.x_val.dtype == np.float64
    assert wide.t_train.dtype == np.int64
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(wide.x_train, data.x_train)


def test_astype_to_the_same_dtype_copies_nothing():
    data = points()
    assert data.astype("float32").x_train is data.x_train


def test_astype_refuses_integers():
    with pytest.raises(DatasetError, match="found int64, expected a float dtype"):
        points().astype(np.int64)


def test_one_hot_in_the_dtype_of_x_then_to_another():
    data = points(x_test=np.zeros((1, 2), np.float32), t_test=np.array([2])).one_hot()
    assert data.t_val.dtype == np.float32
    np.testing.assert_array_equal(data.t_val, [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(data.t_test, [[0, 0, 1, 0]])
    assert data.one_hot().t_val is data.t_val
    assert data.astype(np.float64).t_val.dtype == np.float64


def test_it_is_frozen_and_changed_by_replace_with_the_same_checks():
    data = points()
    with pytest.raises(FrozenInstanceError):
        data.name = "other"
    with pytest.raises(DatasetError, match="found 1 rows of x and 3 of t"):
        replace(data, x_val=data.x_val[:1])


def test_repr_is_one_line():
    assert repr(points()) == "Dataset('points', train (5, 2), val (3, 2), float32, 4 classes)"


def test_errors_are_value_errors():
    assert issubclass(DatasetError, ValueError)
    assert issubclass(DatasetMissing, DatasetError)
