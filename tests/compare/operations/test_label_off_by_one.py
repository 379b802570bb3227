"""A target is called off by one only where it holds labels, and each of them is moved by one."""

from __future__ import annotations

import numpy as np
import pytest

from compare.checking import check_records
from compare.network.architecture import Architecture
from compare.recording.record import Record

ONE_HOT = np.eye(4)[[0, 2, 3, 1, 2]]
NUMBERS = np.random.default_rng(1).standard_normal((5, 1))
CLASSES = "5-4, softmax cross-entropy"
NUMBER = "5-1, mse"


def causes(network: str, target: np.ndarray, given: np.ndarray) -> list[str]:
    """Of a record that holds another target than what was given, and what comes of it."""
    x = np.random.default_rng(2).standard_normal((5, 5))
    record = Record(Architecture.of(network), {"input": x, "target": target})
    report = check_records([record], {"input": x, "target": given})
    assert report.first.tensor == "target"
    return [d.cause for d in report.diagnosis]


@pytest.mark.parametrize("by", [1, -1])
def test_one_hot_rows_that_are_moved_by_one_class_are_named(by: int) -> None:
    assert causes(CLASSES, np.roll(ONE_HOT, by, axis=1), ONE_HOT)[0] == "label-off-by-one"


def test_labels_in_a_column_that_are_one_too_large_are_named() -> None:
    labels = np.array([[0.0], [1], [1], [0], [2]])
    assert causes(NUMBER, labels + 1, labels)[0] == "label-off-by-one"


@pytest.mark.parametrize(
    ("network", "target", "given"),
    [
        (NUMBER, NUMBERS + 1, NUMBERS),
        (NUMBER, 3 * NUMBERS - 0.2, NUMBERS),
        (NUMBER, NUMBERS[[1, 4, 2, 0, 3]] ** 2, NUMBERS),
        (CLASSES, np.roll(ONE_HOT, 2, axis=1), ONE_HOT),
        (CLASSES, ONE_HOT + 1, ONE_HOT),
        (CLASSES, np.roll(ONE_HOT * 0.7 + 0.075, 1, axis=1), ONE_HOT * 0.7 + 0.075),
        ("5-4, mse", np.roll(NUMBERS @ NUMBERS[:4].T, 1, axis=1), NUMBERS @ NUMBERS[:4].T),
    ],
)
def test_any_other_change_is_not(network: str, target: np.ndarray, given: np.ndarray) -> None:
    assert "label-off-by-one" not in causes(network, target, given)
