"""Points in the plane: the four sets on which a network can be followed by hand.

Except for the spiral, the points are few and a network is judged on the ones it was trained on: x_val and
t_val are copies of x_train and t_train. Labels are class indices; `.one_hot()` gives the other form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .dataset import Dataset, float_dtype

SPIRAL_CLASSES = 3
SPIRAL_POINTS = 100


def xor(dtype: DTypeLike = np.float32) -> Dataset:
    """The four corners in the order (0, 0), (0, 1), (1, 0), (1, 1): x (4, 2), t = 1, 0, 0, 1.

    Class 0 is "exactly one input is 1", as lab 2 has it.
    """
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    names = ("exactly one input is 1", "both inputs are equal")
    return _one_set("xor", x, np.array([1, 0, 0, 1]), names, "the four points of XOR", dtype)


def xor_line(dtype: DTypeLike = np.float32) -> Dataset:
    """Lab 4's 21 points on the two diagonals of the unit square: x (21, 2), 11 zeros and 10 ones.

    For i in 0..10: (i/10, i/10) with label 0, then (i/10, 1 - i/10) with label 1 except at i = 5.
    """
    points = []
    for i in range(11):
        points.append((i / 10, i / 10, 0))
        if i != 5:
            points.append((i / 10, 1 - i / 10, 1))
    rows = np.array(points)
    source = "21 points on the diagonals of the unit square"
    return _one_set("xor_line", rows[:, :2], rows[:, 2], ("x = y", "x + y = 1"), source, dtype)


def linear(
    n: int = 100, *, rng: np.random.RandomState | np.random.Generator, dtype: DTypeLike = np.float32
) -> Dataset:
    """n points uniform in the unit square, drawn as one (n, 2) array: label 0 if x > y, else 1."""
    x = rng.uniform(0, 1, (n, 2))
    t = np.where(x[:, 0] > x[:, 1], 0, 1)
    source = f"{n} random points on two sides of the line x = y"
    return _one_set("linear", x, t, ("x > y", "x <= y"), source, dtype)


def spiral(*, rng: np.random.RandomState | np.random.Generator, dtype: DTypeLike = np.float32) -> Dataset:
    """Three arms of 100 points each for training, then as many for validation, from the same rng: x (300, 2).

    With rng = RandomState(1234) these are lab 2's points. They are float32 numbers in whatever dtype they are
    stored, as in the lab.
    """
    x_train, t_train = _arms(rng)
    x_val, t_val = _arms(rng)
    names = tuple(f"arm {i}" for i in range(SPIRAL_CLASSES))
    return Dataset(
        "spiral", x_train, t_train, x_val, t_val, names, None, "three spiral arms of 100 random points each"
    ).astype(dtype)


def _arms(rng: np.random.RandomState | np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    r = np.linspace(0, 2.5, SPIRAL_POINTS)
    arms = []
    for i in range(SPIRAL_CLASSES):
        t = np.linspace(4 * i, 4 * (i + 1), SPIRAL_POINTS) + 0.2 * rng.standard_normal(SPIRAL_POINTS)
        arms.append(np.column_stack([r * np.sin(t), r * np.cos(t)]))
    return np.concatenate(arms).astype(np.float32), np.repeat(np.arange(SPIRAL_CLASSES), SPIRAL_POINTS)


def _one_set(
    name: str, x: np.ndarray, t: np.ndarray, class_names: tuple[str, ...], source: str, dtype: DTypeLike
) -> Dataset:
    x, t = x.astype(float_dtype(dtype)), t.astype(np.int64)
    return Dataset(name, x, t, x.copy(), t.copy(), class_names, None, source)
