"""A function that does one training step in somebody's code, watched while it runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.typing import NDArray

from compare.foreign.convention import Convention
from compare.foreign.side_effects import given_back
from compare.foreign.steps import Step, recorded
from compare.foreign.two_rates import depends_on_rate, rate_argument, updates
from compare.network.architecture import Architecture
from compare.recording.batches import consecutive
from compare.recording.notes import Note
from compare.recording.recorded import Recorded
from compare.watching.watch import watch_call

Array = NDArray[Any]
StepFunction = Callable[[Array, Array], Any]

CALLS = 2  # of a step function: all rows, then half of them, so that a factor of m is no constant


def watch_function(
    step: StepFunction, x: Array, t: Array, network: Architecture, convention: Convention | None
) -> Recorded:
    """step(x, t), called on two batches.

    Where its rate is an argument, it runs once more at half of it; that says something where it makes its weights anew.
    """
    found = calls(step, x, t, network, convention)
    notes: list[Note] = []
    if (argument := rate_argument(step)) is not None and updates(found[0].names):
        name, rate = argument
        halved = partial(step, **{name: rate / 2})
        notes += depends_on_rate(found[0].names, halved, (rate, rate / 2), (x, t), convention)
    return recorded(found, notes)


def calls(step: StepFunction, x: Array, t: Array, network: Architecture, convention: Convention | None) -> list[Step]:
    """Its steps on two batches, each with what it wrote into, x and t included."""
    found = []
    for batch in consecutive(x, t, CALLS):
        theirs = [a.copy() for a in batch]
        _, seen = watch_call(step, *theirs)
        found.append(Step.found(network, seen, *batch, convention))
        for name, before, after in zip(("input", "target"), batch, theirs, strict=True):
            if (written := given_back(name, before, after, seen)) is not None:
                found[-1].written.setdefault(name, written)
    return found
