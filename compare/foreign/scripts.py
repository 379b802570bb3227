"""A script or notebook, unedited, watched in a process of its own: every training step that differs in kind."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from compare.foreign.convention import Convention
from compare.foreign.flow.gathered import gathered
from compare.foreign.flow.reading import Read, Reader
from compare.foreign.steps import Step, recorded
from compare.network.architecture import Architecture
from compare.recording.notes import DidNotEnd, MomentumFound, SecondStep, StepNotFound
from compare.recording.record import Record
from compare.recording.recorded import Later, Recorded
from compare.watching.dataflow import Dataflow
from compare.watching.watch import watch_script

STEPS = 2
STOPPED = "stopped"
LIBRARIES = r"^\s*(import|from) (torch|tensorflow|jax)\b"


def run_script(path: Path, network: Architecture, convention: Convention | None, **limits: Any) -> Recorded:
    """The steps of a script. ValueError in one line where it could not be run, or no step was found."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    flow = watch_script(path, **limits)
    arrays = gathered(flow, network) or flow
    read = list(islice(Reader(network, arrays, convention), STEPS))
    if read:
        return _recorded(read, flow)
    if not flow.complete and not flow.ended.startswith(STOPPED):
        raise ValueError(f"{path}: {flow.ended}, and no training step was seen before that")
    return Recorded([Record(network, {})], notes=[StepNotFound(missing(network, flow))], sources=flow.sources)


def missing(network: Architecture, flow: Dataflow) -> str:
    """Why no step was found, in a line: whose gradients there are, or what of the first layer was not seen."""
    text = "\n".join(line for lines in flow.sources.values() for line in lines)
    if re.search(r"\.backward\(", text) and re.search(LIBRARIES, text, re.MULTILINE):
        return "a library computes the gradients here (backward): there are none of the program's own to be checked"
    fan_in, fan_out = network.sizes[:2]
    sized = [v for v in flow.values if v.size == fan_in * fan_out and v.names and v.array.ndim == 2]
    held = ", ".join(dict.fromkeys(f"{v.name} (line {v.place.line})" for v in sized)) or "no array"
    return (
        f"nothing is an input times a weight of the first layer, {fan_out} x {fan_in} or {fan_in} x {fan_out}, that is "
        f"updated later; of that size: {held[:160]}"
    )


def _recorded(read: list[Read], flow: Dataflow, earlier: Read | None = None) -> Recorded:
    """The first of these steps, after the one before it where that is known; the others are asked for later."""
    first, *others = read
    steps = [Step(r.names, None, r.written, r.looked_at, r.became) for r in (earlier, first) if r is not None]
    made = recorded(steps, first.notes, later=partial(_later, others, flow, first))
    notes = [*made.notes, *([] if flow.complete else [DidNotEnd(flow.ended)])]
    for record, each in zip(made.records, [earlier, first] if earlier else [first], strict=True):
        record.step = each.number
    if earlier is not None:  # its update is judged already, and new values are kept without decay and momentum
        earliest = made.records[0]
        earliest.tensors = {name: a for name, a in earliest.tensors.items() if ".new_" not in name}
        earliest.optimizer = None
    return Recorded(made.records, {**made.given, **first.given}, notes, made.places, flow.sources, made.later)


def _later(others: list[Read], flow: Dataflow, earlier: Read) -> Later | None:
    if not others:
        return None
    follows = others[0].number == earlier.number + 1
    made = _recorded(others, flow, earlier if follows else None)
    told = [note for note in others[0].notes if isinstance(note, MomentumFound)]  # one step cannot show it
    notes = [*made.notes, SecondStep()]
    return Later(Recorded(made.records, made.given, notes, made.places, flow.sources, made.later), told)
