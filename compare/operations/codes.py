"""Codes: the short name of each cause, "B017", by which it is looked up.

codes.txt has a line for each, "B017 bias-missing". A new cause gets the next number at the end. A code is never given
again: one whose cause is gone stays, with "-" in the place of the cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("codes.txt")
CONVENTION = "convention: "  # before the cause, where the loss shows that it is no mistake
GONE = "-"


@cache
def codes() -> dict[str, str]:
    """By cause, its code. ValueError for a line that is none, and for a code or a cause that has two lines."""
    return read(TABLE.read_text(encoding="utf-8").splitlines())


def read(lines: Iterable[str]) -> dict[str, str]:
    """By cause, its code; each line's number is the code's. ValueError as `codes`."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        code, _, cause = line.partition(" ")
        if code != f"B{number:03}" or not cause:
            raise ValueError(f"codes.txt line {number}: got {line!r}, expected B{number:03} and a cause")
        if cause in found:
            raise ValueError(f"codes.txt line {number}: {cause} is {found[cause]} already")
        if cause != GONE:
            found[cause] = code
    return found


def code_of(cause: str) -> str:
    """The code of a cause, also where it is a convention; "" where none was found, which has no code."""
    return codes().get(cause.removeprefix(CONVENTION), "")
