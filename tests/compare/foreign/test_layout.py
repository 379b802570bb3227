"""Layouts: every way to read an array as torch's, and none that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.foreign import layout
from compare.foreign.layout import COLUMNS, IN_OUT, OUT_IN, ROWS, View

Array = Any


def a(*shape: int) -> Array:
    """Different numbers, none of them 1, so that nothing is read as a row of ones."""
    return np.arange(2.0, 2.0 + np.prod(shape, dtype=int)).reshape(shape)


def with_ones(array: Array, axis: int, first: bool = False) -> Array:
    ones = np.ones_like(np.take(array, [0], axis=axis))
    return np.concatenate([ones, array] if first else [array, ones], axis=axis)


def read(views: Any) -> list[tuple[str, str]]:
    return [(view.layout, view.attached) for view in views]


SAMPLES = [
    # shape, m, n, layouts
    ((3, 2), 3, 2, [ROWS]),
    ((2, 3), 3, 2, [COLUMNS]),
    ((3, 3), 3, 3, [ROWS, COLUMNS]),
    ((3, 1), 3, 1, [ROWS]),
    ((1, 3), 3, 1, [COLUMNS]),
    ((3,), 3, 1, [ROWS]),
    ((2,), 1, 2, [ROWS]),
    ((1, 2), 1, 2, [ROWS]),
    ((2, 1), 1, 2, [COLUMNS]),
    ((1, 1), 1, 1, [ROWS]),
    ((), 1, 1, [ROWS]),
    ((3, 2, 1), 3, 2, [ROWS]),
    ((3, 1, 2), 3, 2, [ROWS]),
    # not samples
    ((6,), 3, 2, []),
    ((3, 3), 3, 2, []),
    ((2, 3, 1), 3, 2, []),
    ((), 3, 1, []),
]


@pytest.mark.parametrize(("shape", "m", "n", "layouts"), SAMPLES, ids=str)
def test_samples(shape: tuple[int, ...], m: int, n: int, layouts: list[str]) -> None:
    views = list(layout.samples(a(*shape), m, n))
    assert [view.layout for view in views] == layouts
    for view in views:
        assert view.array.shape == (m, n)
        kept = view.array.T if view.layout == COLUMNS else view.array
        np.testing.assert_array_equal(kept.ravel(), a(*shape).ravel())


@pytest.mark.parametrize(
    ("kept", "way", "attached"),
    [
        (a(3, 2), ROWS, "separate"),
        (a(3, 2).T, COLUMNS, "separate"),
        (with_ones(a(3, 2), 1), ROWS, "last"),
        (with_ones(a(3, 2), 1, first=True), ROWS, "first"),
        (with_ones(a(3, 2).T, 0), COLUMNS, "last"),
        (with_ones(a(3, 2).T, 0, first=True), COLUMNS, "first"),
    ],
)
def test_inputs(kept: Array, way: str, attached: str) -> None:
    views = list(layout.inputs(kept, 3, 2))
    assert read(views) == [(way, attached)]
    np.testing.assert_array_equal(views[0].array, a(3, 2))


@pytest.mark.parametrize("kept", [a(3, 3), a(4, 2), a(3), with_ones(a(3, 3), 1)], ids=lambda kept: str(kept.shape))
def test_what_is_no_input_of_three_samples_of_two(kept: Array) -> None:
    assert read(layout.inputs(kept, 3, 2)) == []


PLACES = {OUT_IN: ("last column", "first column"), IN_OUT: ("last row", "first row")}
WEIGHT, BIAS = a(4, 2), np.array([20.0, 30.0, 40.0, 50.0])


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        (WEIGHT, [(OUT_IN, "separate")]),
        (WEIGHT.T, [(IN_OUT, "separate")]),
        (np.column_stack([WEIGHT, BIAS]), [(OUT_IN, "last column"), (OUT_IN, "first column")]),
        (np.column_stack([BIAS, WEIGHT]), [(OUT_IN, "last column"), (OUT_IN, "first column")]),
        (np.vstack([WEIGHT.T, BIAS]), [(IN_OUT, "last row"), (IN_OUT, "first row")]),
        (a(4), []),
        (a(8), []),
        (a(4, 4), []),
        (a(4, 2, 1), []),
    ],
    ids=lambda value: str(getattr(value, "shape", "")),
)
def test_weights_of_two_inputs_and_four_outputs(kept: Array, found: list[tuple[str, str]]) -> None:
    assert read(layout.weights(kept, 4, 2)) == found


@pytest.mark.parametrize(
    ("kept", "attached"),
    [
        (np.column_stack([WEIGHT, BIAS]), "last column"),
        (np.column_stack([BIAS, WEIGHT]), "first column"),
        (np.vstack([WEIGHT.T, BIAS]), "last row"),
        (np.vstack([BIAS, WEIGHT.T]), "first row"),
    ],
    ids=str,
)
def test_a_bias_that_is_part_of_the_weight(kept: Array, attached: str) -> None:
    view = next(view for view in layout.weights(kept, 4, 2) if view.attached == attached)
    np.testing.assert_array_equal(view.array, WEIGHT)
    np.testing.assert_array_equal(view.bias, BIAS)


@pytest.mark.parametrize(
    ("shape", "fan_out", "fan_in", "found"),
    [
        # squares: by their shape nobody can say
        ((3, 3), 3, 3, [(IN_OUT, "separate"), (OUT_IN, "separate")]),
        ((3, 3), 3, 2, [(way, place) for way in (OUT_IN, IN_OUT) for place in PLACES[way]]),
        ((3, 3), 2, 3, []),
        ((2, 3), 3, 2, [(IN_OUT, "separate")]),
        ((2, 3), 2, 2, [(OUT_IN, "last column"), (OUT_IN, "first column")]),
        # one input or one output
        ((3,), 1, 3, [(IN_OUT, "separate")]),
        ((3,), 3, 1, [(OUT_IN, "separate")]),
        ((1, 1), 1, 1, [(IN_OUT, "separate")]),
        ((3, 1), 1, 3, [(IN_OUT, "separate")]),
        ((3,), 3, 3, []),
    ],
    ids=str,
)
def test_weights_of_ambiguous_shapes(
    shape: tuple[int, ...], fan_out: int, fan_in: int, found: list[tuple[str, str]]
) -> None:
    assert read(layout.weights(a(*shape), fan_out, fan_in)) == found


@pytest.mark.parametrize(
    ("shape", "fan_out", "layouts"),
    [
        ((3,), 3, [ROWS]),
        ((1, 3), 3, [ROWS]),
        ((3, 1), 3, [COLUMNS]),
        ((), 1, [ROWS]),
        ((1,), 1, [ROWS]),
        ((3,), 2, []),
        ((2, 2), 4, []),
        ((3, 1, 1), 3, []),
    ],
    ids=str,
)
def test_biases(shape: tuple[int, ...], fan_out: int, layouts: list[str]) -> None:
    views = list(layout.biases(a(*shape), fan_out))
    assert [view.layout for view in views] == layouts
    assert all(np.array_equal(view.array, a(fan_out)) for view in views)


@pytest.mark.parametrize(("way", "transposed"), [(OUT_IN, False), (IN_OUT, True)])
def test_a_square_gradient_is_read_as_its_weight_was(way: str, transposed: bool) -> None:
    found = layout.like(a(3, 3), View(a(3, 3), way))
    assert found is not None
    np.testing.assert_array_equal(found.array, a(3, 3).T if transposed else a(3, 3))
    assert layout.like(a(4, 3), View(a(3, 3), way)) is None


CLASSES = np.array([0, 2, 1, 2])
ONE_HOT = np.eye(3)[CLASSES]
NUMBERS = "class numbers"


@pytest.mark.parametrize(
    ("kept", "n", "labels", "layouts"),
    [
        (CLASSES, 3, True, [NUMBERS]),
        (CLASSES.astype(float), 3, True, [NUMBERS]),
        (CLASSES[:, None], 3, True, [NUMBERS]),
        (CLASSES[None], 3, True, [NUMBERS]),
        (ONE_HOT, 3, True, [ROWS]),
        (ONE_HOT.T, 3, True, [COLUMNS]),
        (a(4, 2), 2, False, [ROWS]),
        (a(4), 1, False, [ROWS]),
        # no targets: a class too many, a negative one, half a class, rows that are no distribution, class numbers
        # where none are asked for, one sample too few
        (CLASSES + 1, 3, True, []),
        (CLASSES - 1, 3, True, []),
        (CLASSES / 4, 3, True, []),
        (a(4, 3), 3, True, []),
        (CLASSES, 3, False, []),
        (CLASSES[:3], 3, True, []),
    ],
)
def test_targets_of_four_samples(kept: Array, n: int, labels: bool, layouts: list[str]) -> None:
    views = list(layout.targets(kept, 4, n, labels))
    assert [view.layout for view in views] == layouts
    for view in views:
        wanted = CLASSES if view.layout == NUMBERS else kept.T if view.layout == COLUMNS else kept.reshape(4, n)
        np.testing.assert_array_equal(view.array, wanted)


def test_one_hot_rows_of_as_many_samples_as_classes_are_read_both_ways() -> None:
    views = list(layout.targets(np.eye(3), 3, 3, labels=True))
    assert [view.layout for view in views] == [ROWS, COLUMNS]


def test_one_sample_of_one_class_number() -> None:
    assert [view.array.tolist() for view in layout.targets(np.array(2), 1, 3, labels=True)] == [[2]]
