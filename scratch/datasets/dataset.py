"""What every loader returns: a training set, a validation set and the names that belong to them.

The arrays are checked once, here, so that a network never has to wonder whether a label is a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class DatasetError(ValueError):
    """Data that cannot be used; the message is one line that says what was found and what was expected."""


class DatasetMissing(DatasetError):
    """The data set is not there at all (as opposed to damaged or incomplete), so it may be fetched."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples are rows: x (n, features) in one float dtype, t (n,) class indices or (n, classes) one-hot.

    image_shape is the shape of a row seen as an image (None for points and tables), source a phrase for
    figures and files. The test arrays exist only where a lab keeps a third split (Iris).
    Raises DatasetError if the parts do not fit together or a value is not finite.
    """

    name: str
    x_train: np.ndarray
    t_train: np.ndarray
    x_val: np.ndarray
    t_val: np.ndarray
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...] | None
    source: str
    x_test: np.ndarray | None = None
    t_test: np.ndarray | None = None

    def __post_init__(self) -> None:
        for split, x, t in self._splits():
            self._check_x(f"{self.name} x_{split}", x)
            self._check_t(f"{self.name} t_{split}", t)
            if len(x) != len(t):
                raise DatasetError(
                    f"{self.name} {split}: found {len(x)} rows of x and {len(t)} of t, expected as many"
                )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split} {x.shape}" for split, x, _ in self._splits())
        return f"Dataset({self.name!r}, {sizes}, {self.x_train.dtype}, {len(self.class_names)} classes)"

    def astype(self, dtype: DTypeLike) -> Dataset:
        """The data with x (and one-hot labels) in another float dtype; arrays that have it stay shared."""
        dtype = float_dtype(dtype)

        def cast(array: np.ndarray) -> np.ndarray:
            return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array

        return self._map(cast, cast)

    def one_hot(self) -> Dataset:
        """The same data with labels (n, classes) of 0 and 1 in x's dtype; x is shared."""
        identity = np.eye(len(self.class_names), dtype=self.x_train.dtype)
        return self._map(lambda x: x, lambda t: identity[t] if t.ndim == 1 else t)

    def _splits(self) -> Iterator[tuple[str, Any, Any]]:
        """(name, x, t) of every split there is."""
        yield "train", self.x_train, self.t_train
        yield "val", self.x_val, self.t_val
        if self.x_test is not None or self.t_test is not None:
            yield "test", self.x_test, self.t_test

    def _map(
        self, of_x: Callable[[np.ndarray], np.ndarray], of_t: Callable[[np.ndarray], np.ndarray]
    ) -> Dataset:
        """A copy with of_x applied to every x and of_t to every t."""
        arrays: dict[str, Any] = {}
        for split, x, t in self._splits():
            arrays |= {f"x_{split}": of_x(x), f"t_{split}": of_t(t)}
        return replace(self, **arrays)

    def _check_x(self, where: str, x: Any) -> None:
        features = np.shape(self.x_train)[1:] if self.image_shape is None else (prod(self.image_shape),)
        if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1:] != features or x.size == 0:
            raise DatasetError(f"{where}: found {_describe(x)}, expected rows of shape {features}")
        if x.dtype.kind != "f" or x.dtype != self.x_train.dtype:
            raise DatasetError(f"{where}: found {x.dtype}, expected one float dtype in every split")
        # The extremes carry every NaN and infinity, and need no array of booleans as large as a quarter of x.
        if not (np.isfinite(x.min()) and np.isfinite(x.max())):
            row, column = np.argwhere(~np.isfinite(x))[0]
            raise DatasetError(f"{where}[{row}, {column}]: found {x[row, column]}, expected a finite number")

    def _check_t(self, where: str, t: Any) -> None:
        classes = len(self.class_names)
        if isinstance(t, np.ndarray) and t.ndim == 1 and t.dtype.kind in "iu":
            wrong = np.flatnonzero((t < 0) | (t >= classes))
            expected = f"a class, 0 to {classes - 1}"
        elif isinstance(t, np.ndarray) and t.shape[1:] == (classes,) and t.dtype == self.x_train.dtype:
            wrong = np.flatnonzero(((t != 0) & (t != 1)).any(axis=1) | (t.sum(axis=1) != 1))
            expected = f"a one-hot row of {classes}"
        else:
            raise DatasetError(
                f"{where}: found {_describe(t)}, expected class indices (n,) or one-hot rows (n, {classes})"
            )
        if wrong.size:
            raise DatasetError(f"{where}[{wrong[0]}]: found {t[wrong[0]]}, expected {expected}")


def float_dtype(dtype: DTypeLike) -> np.dtype:
    """dtype as NumPy's own object; DatasetError unless it is a floating-point type."""
    found = np.dtype(dtype)
    if found.kind != "f":
        raise DatasetError(f"dtype: found {found}, expected a float dtype such as float32 or float64")
    return found


def _describe(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
