"""Words: what a report says in sentences, made once, from the notes, the diagnosis and the source that was watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from compare.judging.reasons import Diagnosis
from compare.judging.verdict import Row
from compare.recording.notes import Note
from compare.recording.place import Place
from compare.recording.recorded import Recorded
from compare.report.findings import findings, side_effects
from compare.report.reasons import explained

AROUND = 2  # lines of source shown before and after the one that is wrong


def in_words(
    recorded: Recorded, found: Sequence[Note], first: Row | None, diagnosis: Sequence[Diagnosis]
) -> dict[str, Any]:
    """The fields of a report that are words: on these notes and causes, and on where the first divergence is."""
    wrong = recorded.place(first.step, first.tensor) if first else None
    seen = recorded.places_of(first.step) if first else {}
    return {
        "diagnosis": explained(diagnosis),
        "findings": findings(found),
        "origins": {name: str(place) for places in (*recorded.places[:1], seen) for name, place in places.items()},
        "side_effects": side_effects(found, diagnosis, first is not None),
        "code": code(wrong, recorded.sources).strip(),
        "where": where(wrong, recorded.sources),
        "excerpt": excerpt(wrong, recorded.sources),
    }


def code(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """The line of a place; "" where it has none."""
    lines = sources.get(place.file, ()) if place else ()
    return lines[place.line - 1] if place and 0 < place.line <= len(lines) else ""


def where(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """A place as editors and terminals open it, "labs/student.py:41:11"; "" where it has no line in a file.

    Seen from the working directory where the file is in it. Columns are counted in characters from 1. A notebook's
    cells have no lines that an editor could open.
    """
    if place is None or not place.line or place.cell:
        return ""
    path, here = Path(place.file), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    column = f":{_characters(code(place, sources), place.span.column) + 1}" if place.span else ""
    return f"{shown}:{place.line}{column}"


def excerpt(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """The source around the line of a place, the line marked and the expression underlined; "" where it has none."""
    if place is None or not place.line or not (lines := sources.get(place.file)):
        return ""
    first = max(place.line - AROUND, 1)
    last = max(place.line, place.span.end_line if place.span else 0)
    shown = []
    for k, line in enumerate(lines[first - 1 : last + AROUND], first):
        shown.append(f"{'>' if k == place.line else ' '} {k:4} {line.rstrip()}")
        if under := underline(line.rstrip(), k, place):
            shown.append(f"{'':6} {under}")
    return "\n".join(shown)


def underline(line: str, number: int, place: Place) -> str:
    """What stands under a line of source, so that the place's expression in it is marked; "" where it is not in it."""
    if place.span is None or not place.line <= number <= place.span.end_line:
        return ""
    indent = len(line) - len(line.lstrip())
    start = _characters(line, place.span.column) if number == place.line else indent
    end = _characters(line, place.span.end_column) if number == place.span.end_line else len(line)
    before = "".join(c if c == "\t" else " " * cell_len(c) for c in line[:start])  # as wide as it is on a screen
    return before + "^" * cell_len(line[start:end]) if end > start else ""


def _characters(line: str, column: int) -> int:
    """How many characters the first bytes of a line are."""
    return len(line.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))
