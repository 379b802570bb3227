"""Table: as much of pandas as a beginner's script uses, for where pandas is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.numbers.array import Array


class Table:
    """A frame, of a dictionary of columns; or a series, of an array."""

    __module__ = "pandas.core.frame"

    def __init__(self, columns: Any) -> None:
        self.columns = columns

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.stack(list(self.columns.values()), 1) if isinstance(self.columns, dict) else np.array(self.columns)

    def __getitem__(self, name: Any) -> Table:
        return Table({each: self.columns[each] for each in name} if isinstance(name, list) else self.columns[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self.columns[name] = np.asarray(value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.columns)

    def __truediv__(self, other: float) -> Table:
        return Table(self.columns / other)

    def to_numpy(self) -> Array:
        return np.array(self)

    @property
    def values(self) -> Array:
        return np.array(self)

    def drop(self, columns: str) -> Table:
        return Table({name: column for name, column in self.columns.items() if name != columns})

    @property
    def iloc(self) -> Rows:
        return Rows(self)


class Rows:
    """What df.iloc is."""

    __module__ = "pandas.core.indexing"

    def __init__(self, obj: Table) -> None:
        self.obj = obj

    def __getitem__(self, index: Any) -> Table:
        return Table(np.array(self.obj)[index])
