"""Stack: arrays of one reading side by side, to be held against a value all at once.

A loop over samples leaves thousands of small arrays, and one by one most of the time goes into the calls. A stack only
leaves out what is surely no match: what it gives is looked at once more, one by one.
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

    def along(self, start: Array, value: Array, within: float, lost: float) -> Sequence[Named]:
        """Those whose way from `start` may lie along `value`, with the sign of descent.

        A way may be off by `within`, relative to it, or by `lost`, whichever is more.
        """
        if self.rows is None:
            return self.named
        v = np.asarray(value, dtype=np.float64).ravel()
        with np.errstate(all="ignore"):
            change = np.asarray(start, dtype=np.float64).ravel() - self.rows
            c = change @ v / float(v @ v)
            way = np.abs(c) * np.linalg.norm(v)
            far = np.linalg.norm(change - c[:, None] * v, axis=1)
            allowed = np.maximum(within, lost / np.linalg.norm(change, axis=1))
            near = (c > 0) & (far <= SLACK * allowed * way)
        return [self.named[k] for k in np.flatnonzero(near).tolist()]
