"""Place: where somebody's code bound an array, and under what name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A line and the name that it bound; file "" and line 0 where no line did, as of arrays in a dictionary.

    cell: of a notebook, "cell 4, line 12"; the line is that of all cells' lines together.
    """

    file: str
    line: int
    name: str
    cell: str = ""

    def __str__(self) -> str:
        """Where to look: "student.py line 41, dz1"."""
        return f"{Path(self.file).name} {self.cell or f'line {self.line}'}, {self.name}" if self.line else self.name
