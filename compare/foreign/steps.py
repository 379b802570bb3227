"""Steps: training steps of somebody's code, once it is known which of its arrays is which tensor, as records and notes.

Nothing is judged here: compare/checking.py does that, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from compare.foreign.findings import describe
from compare.foreign.naming.named import Named, Names
from compare.network.optimizer import OptimizerSpec
from compare.numbers.same_bits import same_bits
from compare.recording.notes import Note, Written
from compare.recording.place import Place
from compare.recording.record import Record
from compare.recording.recorded import Later, Recorded

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """One training step: its names, and what backward wrote into."""

    names: Names
    written: dict[str, Written] = field(default_factory=dict)
    looked_at: int = 0  # arrays that backward could have written into
    became: dict[str, Array] = field(default_factory=dict)  # parameters after it, where new values are not kept so

    @property
    def places(self) -> dict[str, Place]:
        """Tensor -> where it was bound."""
        return {name: named.observation.place for name, named in self.names.tensors.items()}


def recorded(
    steps: Sequence[Step], more: Sequence[Note] = (), later: Callable[[], Later | None] = lambda: None
) -> Recorded:
    """Consecutive steps, with what is noted of the first one's conventions, and `more`."""
    notes = [*describe(steps[0].names), *more, *_written(steps)]
    return Recorded(records(steps), {}, notes, [step.places for step in steps], {}, later)


def _written(steps: Sequence[Step]) -> list[Written]:
    """What was written into, each tensor as in the first step that shows it."""
    return list({name: each for step in reversed(steps) for name, each in step.written.items()}.values())


# --- records ----------------------------------------------------------------------------------------------------------


def records(steps: Sequence[Step]) -> list[Record]:
    """What was named, as records of consecutive steps, in torch's layout, with each tensor's own scale.

    A function that makes its network anew at every call begins each step with the same weights: what a step left is
    then not what the next one began with, and is no part of the record.
    """
    found = [_record(each, number) for number, each in enumerate(steps, 1)]
    for record, following in pairwise(found):
        if _begin_alike(record, following):
            record.tensors = {name: a for name, a in record.tensors.items() if ".new_" not in name}
    return found


def _begin_alike(one: Record, other: Record) -> bool:
    """Whether both steps began with the same weights, of those that both hold."""
    held = [name for name in one.network.parameters() if name in one and name in other]
    return bool(held) and all(same_bits(one[name], other[name]) for name in held)


def _record(step: Step, number: int) -> Record:
    names, kept = step.names, _kept(step.names)
    tensors = {name: named.view.array for name, named in kept.items()}
    for name, a in tensors.items():
        if a.dtype.kind != "f" and name != "target":  # whole numbers that enter, a mask that is taken for numbers
            tensors[name] = a.astype(tensors["0.weight"].dtype)
    return Record(
        names.network,
        tensors,
        names.optimizer or (OptimizerSpec("SGD", {"lr": names.rate}) if names.rate is not None else None),
        number,
        touched=_touched(step),
        watched=step.looked_at,
        plain_loss=True,
        scales=_scales(kept),
        slack=names.slack | names.recovered,
        told=True,
    )


def _kept(names: Names) -> dict[str, Named]:
    """The tensors that are judged: no update where its rule is not known, no loss that is not the exact formula."""
    kept = dict(names.tensors)
    if names.rate is None and names.optimizer is None:
        kept = {name: named for name, named in kept.items() if ".new_" not in name}
    if names.guard:
        kept.pop("loss", None)
    return kept


def _scales(kept: Mapping[str, Named]) -> dict[str, float]:
    """Of what is not in torch's scale; what left a layer backwards has the scale of what enters the one before."""
    scales = {name: named.scale for name, named in kept.items() if named.scale != 1}
    return scales | {
        f"{int(name.partition('.')[0]) - 1}.grad_output": scale
        for name, scale in scales.items()
        if "grad_input" in name
    }


def _touched(step: Step) -> dict[str, Array]:
    """What arrays of the forward pass became in the backward pass; weights that are updated, too."""
    held = step.names.tensors
    moved = (name for name in step.names.network.parameters() if name in held and name.new in held)
    new: dict[str, Array] = {name: held[name.new].view.array for name in moved}
    return new | step.became | {name: written.after for name, written in step.written.items()}
