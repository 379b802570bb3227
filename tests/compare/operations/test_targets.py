"""The target of a loss: class numbers of any integer type, or rows; what fits no output is one clear line."""

from __future__ import annotations

import numpy as np
import pytest

import compare
from compare.operations import LOSSES
from tests.compare.operations.test_registry import each_loss

X = np.random.default_rng(0).standard_normal((6, 5))
CLASSES = "5-4, softmax cross-entropy"
LABELS = np.array([0, 1, 2, 3, 1, 2])


def check(t: np.ndarray, network: str = CLASSES) -> compare.Report:
    outputs = 1 if network.startswith("5-1") else 4
    W, b = np.eye(outputs, 5), np.zeros(outputs)
    return compare.check({"0.weight": W, "0.bias": b, "0.output": X @ W.T + b}, X, t, network=network)


@pytest.mark.parametrize(("label", "at"), [(9, 5), (4, 2), (-1, 0), (-100, 3)])  # -100: torch leaves it out
def test_a_label_out_of_range_is_one_line(label: int, at: int) -> None:
    t = LABELS.copy()
    t[at] = label
    with pytest.raises(ValueError, match=f"^target: got label {label} at row {at}, expected 0 to 3$"):
        check(t)


@pytest.mark.parametrize(
    ("t", "network", "line"),
    [
        (LABELS + 0.5, CLASSES, r"got float64 \(6,\), expected float64 \(6, 4\), or 6 class numbers"),
        (LABELS[:, None] * 1.0, "5-4, mse", r"got float64 \(6, 1\), expected float64 \(6, 4\)"),
        (LABELS, "5-1, mse", r"got int64 \(6,\), expected float64 \(6, 1\)"),
    ],
)
def test_a_target_of_another_shape_is_one_line(t: np.ndarray, network: str, line: str) -> None:
    with pytest.raises(ValueError, match=f"^target: {line}$"):
        check(t, network)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16, np.int32, np.int64])
def test_labels_of_any_integer_type_are_taken(dtype: type) -> None:
    assert check(LABELS.astype(dtype)).verdict == "incomplete"  # no gradients were handed in


def test_rows_of_labels_are_one_hot() -> None:
    loss = LOSSES["cross_entropy"]()
    assert np.array_equal(loss.as_rows(LABELS, np.zeros((6, 4))), np.eye(4)[LABELS])


@each_loss
def test_a_target_in_the_shape_of_the_output_is_itself(loss: compare.operations.operation.Loss) -> None:
    t = np.random.default_rng(1).random((6, 4))
    assert loss.as_rows(t, np.zeros((6, 4))) is t


@pytest.mark.parametrize("shape", [(6,), (6, 4, 2)])
def test_an_output_that_is_no_matrix_is_not_judged(shape: tuple[int, ...]) -> None:
    output = {"0.weight": np.eye(4, 5), "0.bias": np.zeros(4), "0.output": np.ones(shape)}
    report = compare.check(output, X, LABELS, network="5-4, softmax output, cross-entropy on probabilities")
    assert report.first.tensor == "0.output"
    assert f"shape {shape}, expected (6, 4)" in str(report)
