"""Observation: an array that somebody's code computed, or that a dictionary holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from compare.recording.place import Place, Span

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Observation:
    """An array (or number) that somebody's code bound, and where.

    array: a copy with its own dtype; Python's numbers are arrays of no dimension. name: as the code says it, "dz1",
    "self.W1", "grads['W1']". file, line: of the statement; "" and 0 where it comes from
    none. function: "<module>" or the function's qualified name. time: order of appearance, strictly growing.
    """

    array: Array
    name: str
    file: str = ""
    line: int = 0
    function: str = "<module>"
    time: int = 0
    cell: str = ""
    span: Span | None = None  # of the expression that computed it

    @property
    def place(self) -> Place:
        """Where to look for it."""
        return Place(self.file, self.line, self.name, self.cell, self.span)
