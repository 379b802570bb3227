"""A function that does one training step in somebody's code, watched while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

from compare.foreign.convention import Convention
from compare.foreign.flow.given import Given
from compare.foreign.flow.network import NotRead, network_of
from compare.foreign.flow.products import MULTIPLIED
from compare.foreign.flow.reading import Read, Reader, observed
from compare.foreign.flow.written import given_back
from compare.foreign.layout import SEPARATE
from compare.foreign.naming.search import NotFound, find
from compare.foreign.scripts import missing
from compare.foreign.steps import Step, recorded
from compare.foreign.two_rates import Run, depends_on_rate, rate_argument, run_of
from compare.network.architecture import Architecture
from compare.numbers.array import Array
from compare.recording.batches import Batch, consecutive
from compare.recording.notes import DidNotEnd, NetworkRead, Note
from compare.recording.recorded import Recorded
from compare.watching.calls import Between, watch_call
from compare.watching.dataflow import Dataflow

StepFunction = Callable[[Array, Array], Any]

CALLS = 2  # of a step function: all rows, then half of them, so that a factor of m is no constant


class Refused(BaseException):
    """It cannot be called; why, in one line. Nothing that watches takes it for an error of the code that is called."""


@dataclass(frozen=True)
class Candidate:
    """A step function, and what is known of it. of: whose code it is. between: what the step computes for that code.

    network: None as long as nobody said it and no call was seen.
    """

    step: StepFunction
    network: Architecture | None
    convention: Convention | None
    of: Any = None
    between: list[Between] = field(default_factory=list)

    def watched(self, args: Sequence[Array]) -> Dataflow:
        """What was seen of one call."""
        self.between.clear()
        try:
            return watch_call(self.step, *args, of=self.of, between=self.between)[1]
        except Refused as error:
            raise TypeError(str(error)) from None

    def of_network(self, given: Given) -> Candidate:
        """With the network that is read off this call. ValueError in one line where it cannot be."""
        try:
            return replace(self, network=network_of(given.flow, self.convention, given))
        except NotRead as error:
            ended = "" if given.flow.complete else f"; it did not run to its end: {given.flow.ended}"
            raise ValueError(f"{error}{ended}") from None

    def reader(self, given: Given) -> Reader:
        assert self.network is not None
        return Reader(self.network, given.flow, self.convention, given)

    def named(self, given: Given) -> Step:
        """By value, what was computed where nobody sees it, in a library say. NotFound says how the code ended.

        NotFound too where the code multiplies itself: what it computes is then seen, and no such step.
        """
        flow = given.flow
        assert self.network is not None
        try:
            seen = [observed(value) for value in flow.values]
            found = Step(find(self.network, seen, given.x, given.t, self.convention))
            if any(value.what in MULTIPLIED for value in flow.values):
                raise NotFound(missing(self.network, flow))
            return found
        except NotFound as error:
            ended = "" if flow.complete else f"; it did not run to its end: {flow.ended}"
            raise NotFound(f"{error}{ended}") from None


@dataclass(frozen=True)
class Calls:
    """The steps of a function's calls; as they were read, where their flow shows a step."""

    network: Architecture
    steps: list[Step]
    flows: list[Dataflow]
    read: list[Read]
    is_read_off: bool = False  # the network

    @property
    def first(self) -> Run:
        """The first step, to be compared with the same at another rate."""
        return run_of(self.steps[0].names, *self.read[:1])

    def recorded(self, more: Sequence[Note]) -> Recorded:
        """As a record, with these notes more."""
        notes = [*more, *(note for read in self.read[:1] for note in read.notes)]
        notes += [NetworkRead()] if self.is_read_off else []
        notes += [DidNotEnd(flow.ended) for flow in self.flows[:1] if not flow.complete]
        made = recorded(self.steps, notes)
        sources = {file: lines for flow in self.flows for file, lines in flow.sources.items()}
        return Recorded(made.records, made.given, made.notes, made.places, sources, made.later)


def watch_function(
    step: StepFunction, x: Array, t: Array, network: Architecture | None, convention: Convention | None
) -> Recorded:
    """step(x, t), called on two batches.

    Where its rate is an argument, it runs once more at half of it; that says something where it makes its weights anew.
    """
    found = calls(Candidate(step, network, convention), x, t)
    notes: list[Note] = []
    if (argument := rate_argument(step)) is not None and found.first.updates:
        name, rate = argument
        halved = Candidate(partial(step, **{name: rate / 2}), found.network, convention)
        notes += depends_on_rate(found.first, partial(run, halved, (x, t)), (rate, rate / 2))
    return found.recorded(notes)


def calls(candidate: Candidate, x: Array, t: Array) -> Calls:
    """Its steps on two batches, each with what it wrote into, x and t included."""
    given: list[Given] = []
    found: list[list[Read]] = []
    reader: Reader | None = None
    is_said = candidate.network is not None
    for batch in consecutive(x, t, CALLS):
        theirs = batch[0].copy(), batch[1].copy()
        given.append(Given(*batch, candidate.watched(theirs)))
        candidate = candidate if candidate.network is not None else candidate.of_network(given[-1])
        reader = candidate.reader(given[-1]) if reader is None else reader.following(given[-1])
        found.append(list(islice(reader, CALLS)))
        for each in found[-1][:1]:
            each.written |= given_back(given[-1], theirs)
    read = found[0] if len(found[0]) > 1 else [each for call in found for each in call[:1]]
    for each in read[:1]:
        _follow(each, candidate.convention or Convention())
    flows = [each.flow for each in given]
    assert candidate.network is not None
    if len(read) < CALLS:
        return Calls(candidate.network, [candidate.named(each) for each in given], flows, [], not is_said)
    steps = [Step(each.names, each.written, each.looked_at) for each in read]
    return Calls(candidate.network, steps, flows, read, not is_said)


def _follow(read: Read, declared: Convention) -> None:
    """ValueError in one line where an array is kept otherwise than was declared."""
    for name, named in read.names.tensors.items():
        part, view = name.rpartition(".")[2], named.view
        kind = "weights" if part == "weight" else "samples" if part in ("output", "input") else ""
        if kind and 1 not in view.array.shape and not declared.allows(view, kind):
            held = view.layout if view.attached == SEPARATE else f"{view.layout}, with the bias in its {view.attached}"
            raise ValueError(f"convention: {kind} are declared otherwise: {named.observation.name} was found as {held}")


def run(candidate: Candidate, batch: Batch) -> Run | None:
    """One step, at another rate."""
    given = Given(*batch, candidate.watched([a.copy() for a in batch]))
    read = next(iter(candidate.reader(given)), None)
    return run_of(read.names, read) if read is not None else None
