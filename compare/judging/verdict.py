"""Verdict: what is said of one tensor, and what a check could have missed; as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.judging.shapes import OtherShape

VERDICTS = ("parity", "incomplete", "mismatch")  # from best to worst


@dataclass(frozen=True)
class OtherDtype:
    """A tensor that is in none of the float types that what it is computed from gives it."""

    found: np.dtype[Any]
    expected: frozenset[np.dtype[Any]]

    @property
    def is_finer(self) -> bool:
        """Whether it has more digits than all that it is computed from."""
        return all(self.found.itemsize > dtype.itemsize for dtype in self.expected)

    @property
    def wanted(self) -> str:
        """The expected types, in words."""
        return " or ".join(sorted(map(str, self.expected)))

    def __str__(self) -> str:
        return f"{self.found}, expected {self.wanted}"


Oddity = OtherShape | OtherDtype  # what makes a tensor wrong whatever its values


@dataclass(frozen=True)
class Row:
    """One tensor of one step.

    `allowed` is the bound at the worst element (worst by ratio), `ratio` the difference over it.
    """

    step: int
    layer: str
    kind: str
    tensor: str
    shape: tuple[int, ...]
    check: str
    max_abs_diff: float
    index: tuple[int, ...]
    allowed: float
    ratio: float
    status: str
    note: str = ""
    formula: str = ""
    found: float = float("nan")
    expected: float = float("nan")
    wrong: int = 0
    oddity: Oddity | None = None

    @property
    def digits(self) -> int:
        """As many digits as found and expected need to differ; at least nine."""
        return next((d for d in range(9, 17) if f"{self.found:.{d}g}" != f"{self.expected:.{d}g}"), 17)

    def to_dict(self) -> dict[str, Any]:
        """The row as the JSON schema has it."""
        where = ("step", "layer", "kind", "tensor", "shape", "check")
        keys = (*where, "max_abs_diff", "index", "allowed", "ratio", "status")
        return {key: plain(getattr(self, key)) for key in keys} | ({"note": self.note} if self.note else {})


def verdict(rows: Sequence[Row], lacking: Sequence[str]) -> str:
    """mismatch if anything is off; incomplete if nothing was compared, a tensor could not be judged, or one that
    decides, the network's output or a parameter's gradient, is `lacking`; else parity."""
    statuses = {row.status for row in rows}
    if "off" in statuses:
        return "mismatch"
    compared = any(row.status != "not checked" and row.check != "side_effects" for row in rows)
    return "incomplete" if lacking or not compared or "not checked" in statuses else "parity"


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Power:
    """Causes that would show, and those that would not, each with the reason."""

    shown: tuple[str, ...]
    hidden: dict[str, str]

    def __str__(self) -> str:
        total = len(self.shown) + len(self.hidden)
        missed = ", ".join(f"{cause} ({why})" for cause, why in self.hidden.items())
        shown = f"this check would show {len(self.shown)} of {total} known mistakes"
        return f"{shown}; not: {missed}" if missed else shown
