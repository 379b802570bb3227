"""What is seen of somebody's code while it runs: arrays, and the lines that left them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Observation:
    """An array (or number) as one line of somebody's code left it."""

    array: Array
    name: str
    file: str = ""
    line: int = 0
    function: str = "<module>"
    time: int = 0

    @property
    def origin(self) -> str:
        """In words: "student.py line 41, dz1"; the name alone where it comes from no line."""
        return f"{PurePath(self.file).name} line {self.line}, {self.name}" if self.line else self.name


@dataclass(frozen=True, eq=False)
class Watched:
    """All observations of a run in order of time, how it ended, and the source of every file that was watched.

    `complete` says whether the code ran to its end. `output` is the last part of what it printed.
    """

    observations: tuple[Observation, ...]
    ended: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    complete: bool = False
    output: str = ""
