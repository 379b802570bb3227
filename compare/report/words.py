"""Words: what a report says in sentences, made once, from the notes, the diagnosis and the source that was watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
        "excerpt": excerpt(wrong, recorded.sources),
    }


def code(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """The line of a place; "" where it has none."""
    lines = sources.get(place.file, ()) if place else ()
    return lines[place.line - 1] if place and 0 < place.line <= len(lines) else ""


def excerpt(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """The source around the line of a place, marked; "" where it has none."""
    if place is None or not place.line or not (lines := sources.get(place.file)):
        return ""
    first = max(place.line - AROUND, 1)
    shown = enumerate(lines[first - 1 : place.line + AROUND], first)
    return "\n".join(f"{'>' if k == place.line else ' '} {k:4} {line.rstrip()}" for k, line in shown)
