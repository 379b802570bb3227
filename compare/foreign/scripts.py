"""A script or notebook, unedited, watched in a process of its own: every training step that differs in kind."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from compare.foreign.convention import Convention
from compare.foreign.flow.gathered import gathered
from compare.foreign.flow.network import NotRead, network_of
from compare.foreign.flow.passes import UPDATES
from compare.foreign.flow.products import root
from compare.foreign.flow.reading import Read, Reader
from compare.foreign.flow.training import ENDLESS
from compare.foreign.naming.named import Named
from compare.foreign.steps import Step, recorded
from compare.network.architecture import Architecture
from compare.network.tensor_name import TensorName
from compare.recording.notes import (
    DidNotEnd,
    LaterStep,
    MomentumFound,
    NetworkRead,
    StepNotFound,
    Unseen,
    UpdateNotJudged,
)
from compare.recording.record import Record
from compare.recording.recorded import Later, Recorded
from compare.watching.dataflow import Dataflow, Value, after, before
from compare.watching.watch import watch_script

STEPS = 2  # the first ones, which are judged in any case
MOST = 60  # that are read for one of another size
SECONDS = 2.0  # for which they are read
STOPPED = "stopped"
LIBRARIES = r"^\s*(import|from) (torch|tensorflow|jax)\b"


def run_script(path: Path, network: Architecture | None, convention: Convention | None, **limits: Any) -> Recorded:
    """The steps of a script. ValueError in one line where it could not be run, or no step was found.

    Without a network that is said, of the one that is read off the code.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    flow = watch_script(path, **limits)
    said, network = network, network or _read_off(path, flow, convention)
    judged = _judged(Reader(network, flow, convention, read_off=said is None))
    if (numbers := gathered(flow, network)) is not None:
        judged = max(judged, _judged(Reader(network, numbers, convention, read_off=said is None)), key=_read_of)
    if judged and said is None and (unread := _unread(judged)) is not None:
        raise ValueError(
            f"{path}: {unread.place} is updated, and is no part of {network}, the network that is read off "
            "the code: such a layer is not read off scripts; docs/check-your-own.md has other ways to check it"
        )
    if judged:
        for read in (each for pair in judged for each in pair if each is not None and flow.unseen):
            read.names.tensors = _accused(read.names.tensors)
        made = _recorded(judged, flow)
        return made if said is not None else replace(made, notes=[*made.notes, NetworkRead()])
    if not flow.complete and not flow.ended.startswith(STOPPED):
        raise ValueError(f"{path}: {flow.ended}, and no training step was seen before that")
    return Recorded([Record(network, {})], notes=[StepNotFound(missing(network, flow))], sources=flow.sources)


def _unread(judged: list[Judged]) -> Value | None:
    """A parameter that is none of the network's: the output is computed from it, and it moves by what comes of that.

    It moves where it is written over, or where the next step's output is computed from what it became.
    """
    first = judged[0][0]
    output, begun = _output(first), first.step.passes[0].begin.time
    computed = {v.time for v in after([output], ENDLESS)}  # a convolution's update is many values after the others
    used = {v.time for read, _ in judged[1:2] for v in before([_output(read)], read.step.olds)}
    for value in before([output], first.step.olds):
        moved = [u for u in value.users if u.what in UPDATES and u.size == value.size > 1 and u.time in computed]
        if value.time < begun and any(u.time in used or u.what.startswith("i") for u in moved):
            return value
    return None


def _output(read: Read) -> Value:
    """The last one of the step's first pass."""
    seen = read.step.passes[0].tensors.items()
    return max((s.value for n, s in seen if n.endswith(".output")), key=lambda v: v.time)


def _accused(tensors: dict[str, Named]) -> dict[str, Named]:
    """Without the gradients of parameters that are right: where not all is seen, they may be a show."""
    parts = ("grad_weight", "grad_bias")
    return {name: held for name, held in tensors.items() if not held.equal or TensorName(name).part not in parts}


def _read_off(path: Path, flow: Dataflow, convention: Convention | None) -> Architecture:
    try:
        return network_of(flow, convention)
    except NotRead as error:
        why = f"it ended early: {flow.ended}; " if not flow.complete and not flow.ended.startswith(STOPPED) else ""
        raise ValueError(f"{path}: {why}{error}") from None


def missing(network: Architecture, flow: Dataflow) -> str:
    """Why no step was found, in a line: whose gradients there are, or what of the first layer was not seen."""
    text = "\n".join(line for lines in flow.sources.values() for line in lines)
    if re.search(r"\.backward\(", text) and re.search(LIBRARIES, text, re.MULTILINE):
        told = "a library computes the gradients here (backward): there are none of the program's own to be checked"
        return f"gradients by autograd: {told}"
    fan_in, fan_out = network.sizes[:2]
    sized = [v for v in flow.values if v.size == fan_in * fan_out and v.names and v.array.ndim == 2]
    held = ", ".join(dict.fromkeys(f"{v.name} (line {v.place.line})" for v in sized)) or "no array"
    return (
        f"nothing is an input times a weight of the first layer, {fan_out} x {fan_in} or {fan_in} x {fan_out}, that is "
        f"updated later; of that size: {held[:160]}"
    )


Judged = tuple[Read, Read | None]  # a step that is judged, and the one before it


def _judged(reader: Reader) -> list[Judged]:
    """The first two steps; of mini-batches also the first of another size, as an epoch's last, and the next one."""
    judged: list[Judged] = []
    before: Read | None = None
    begun = time.monotonic()
    for read in islice(reader, MOST):
        is_other = len(judged) == STEPS and read.step.m != judged[0][0].step.m
        if len(judged) < STEPS or is_other or len(judged) > STEPS:
            judged.append((read, before))
        if len(judged) > STEPS + 1 or (len(judged) >= STEPS and not _goes_on(judged, begun)):
            break
        before = read
    return [(judged[1][0], None), *judged[2:]] if _has_unseen_velocity(judged) else judged


def _read_of(judged: list[Judged]) -> int:
    """How many tensors of the first step were read, and are right: by a program's arrays, or by its numbers.

    An optimiser's state does not count: it is there where a step is not explained.
    """
    found = judged[0][0].names.tensors.items() if judged else ()
    return sum(held.equal and not TensorName(name).state for name, held in found)


def _has_unseen_velocity(judged: list[Judged]) -> bool:
    """Whether no rule explains the first step that was seen, and one the second: there was a step before the first."""
    unjudged = [any(isinstance(note, UpdateNotJudged) for note in read.notes) for read, _ in judged[:STEPS]]
    return unjudged == [True, False]


def _goes_on(judged: list[Judged], begun: float) -> bool:
    """Whether steps of another size may follow: not where each has one sample, or all in one order."""
    first, second = (read.step for read, _ in judged[:STEPS])
    inputs = [root(each.passes[0].tensors["input"].value) for each in (first, second)]
    return first.m > 1 and inputs[0] is not inputs[1] and time.monotonic() - begun < SECONDS


def _recorded(judged: list[Judged], flow: Dataflow) -> Recorded:
    """The first of these steps, after the one before it where that is known; the others are asked for later."""
    (first, earlier), *others = judged
    reads = [each for each in (earlier, first) if each is not None]
    steps = [Step(r.names, r.written, r.looked_at, r.became) for r in reads]
    made = recorded(steps, first.notes, later=partial(_later, others, flow))
    notes = [*made.notes, *([] if flow.complete else [DidNotEnd(flow.ended)])]
    notes += [Unseen(flow.unseen)] if flow.unseen else []
    for record, each in zip(made.records, reads, strict=True):
        record.step = each.number
    if earlier is not None:  # its update is judged already, and new values are kept without decay and momentum
        earliest = made.records[0]
        earliest.tensors = {name: a for name, a in earliest.tensors.items() if ".new_" not in name}
        earliest.optimizer = None
    return Recorded(made.records, {**made.given, **first.given}, notes, made.places, flow.sources, made.later)


def _later(others: list[Judged], flow: Dataflow) -> Later | None:
    if not others:
        return None
    made, read = _recorded(others, flow), others[0][0]
    told = [note for note in read.notes if isinstance(note, MomentumFound)]  # one step cannot show it
    notes = [*made.notes, LaterStep(read.number, read.step.m)]
    return Later(Recorded(made.records, made.given, notes, made.places, flow.sources, made.later), told)
