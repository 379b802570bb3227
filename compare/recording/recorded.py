"""Recorded: all that is known of a candidate before anything of it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from compare.numbers.array import Array
from compare.recording.notes import Note
from compare.recording.place import Place
from compare.recording.record import Record


@dataclass(frozen=True)
class Recorded:
    """The records of consecutive steps, what was given to the first, and what was noted beside.

    places: of each step, tensor -> where it was bound. sources: file -> its lines, of code that was watched. `later` is
    asked only where nothing is wrong in these records.
    """

    records: Sequence[Record]
    given: Mapping[str, Array] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    places: Sequence[Mapping[str, Place]] = ()
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    later: Callable[[], Later | None] = lambda: None

    def places_of(self, step: int) -> Mapping[str, Place]:
        """Where the tensors of a step were bound, as far as that is known."""
        found = (places for record, places in zip(self.records, self.places, strict=False) if record.step == step)
        return next(found, {})

    def place(self, step: int, tensor: str) -> Place | None:
        """Where a tensor of a step was bound, if that is known."""
        return self.places_of(step).get(tensor)


@dataclass(frozen=True)
class Later:
    """What is judged next, and reported instead if something is wrong in it, or if it `completes` what was before.

    Else what was before is reported, with these notes more.
    """

    recorded: Recorded
    notes: Sequence[Note] = ()
    completes: bool = False
