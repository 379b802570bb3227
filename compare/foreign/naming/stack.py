"""Stack: arrays of one reading side by side, to be held against a value all at once.

Of many small arrays, looked at one by one, most of the time goes into the calls. A stack only leaves out what is surely
no match: what it gives is looked at once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.naming.named import Named
from compare.foreign.naming.values import tight

Array = NDArray[Any]

LARGEST = 1 << 23  # numbers that are kept side by side, 64 MB; of large arrays it is not the calls that cost
SLACK = 2  # times as far as a match may be


@dataclass(frozen=True, eq=False)
class Stack:
    """Named arrays of one shape, and where they are not too large, their numbers as rows in float64."""

    named: Sequence[Named]
    rows: Array | None
    tight: Array

    @classmethod
    def of(cls, found: Iterable[Named]) -> Stack:
        """A stack of arrays whose views have one shape."""
        named = list(found)
        size = named[0].view.array.size if named else 0
        rows = None
        if named and len(named) * size <= LARGEST:
            rows = np.array([n.view.array.ravel() for n in named], dtype=np.float64)
        return cls(named, rows, np.array([tight(n.view.array) for n in named]))

    def like(self, value: Array, scaled: bool = True) -> Sequence[Named]:
        """Those that may equal `value`, or if `scaled` a multiple of it, in their order."""
        if self.rows is None:
            return self.named
        v = np.asarray(value, dtype=np.float64).ravel()
        with np.errstate(all="ignore"):
            square = float(v @ v)
            c = self.rows @ v / square if scaled else np.ones(len(self.rows))
            far = np.linalg.norm(self.rows - c[:, None] * v, axis=1)
            near = far <= SLACK * self.tight * np.abs(c) * np.sqrt(square)
        return [self.named[k] for k in np.flatnonzero(near).tolist()]
