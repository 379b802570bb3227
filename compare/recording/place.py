"""Place: where somebody's code computed or bound an array, and under what name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Span(NamedTuple):
    """From where to where an expression reaches, as Python counts: lines from 1, columns in UTF-8 bytes from 0."""

    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Place:
    """A line and the name that it bound; file "" and line 0 where no line did, as of arrays in a dictionary.

    cell: of a notebook, "cell 4, line 12"; the line is that of all cells' lines together. span: of the expression that
    computed it, which begins on the line; None where that is not known.
    """

    file: str
    line: int
    name: str
    cell: str = ""
    span: Span | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Where to look: "student.py line 41, dz1"."""
        return f"{Path(self.file).name} {self.cell or f'line {self.line}'}, {self.name}" if self.line else self.name
