"""A script, unedited, watched in a process of its own: its first training step, and the second where that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from compare.foreign import second_step
from compare.foreign.convention import Convention
from compare.foreign.naming.named import Named, Names
from compare.foreign.naming.search import NotFound, find
from compare.foreign.steps import Step, recorded
from compare.network.architecture import Architecture
from compare.recording.notes import NeverUpdated, NotUpdated, SecondStep
from compare.recording.recorded import Later, Recorded
from compare.watching.observation import Observation
from compare.watching.watch import Watched, watch_script


def run_script(path: Path, network: Architecture, convention: Convention | None, **limits: Any) -> Recorded:
    """The steps of a script. ValueError in one line where it could not be run, or bound no array."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    watched = watch_script(path, **limits)
    if not watched.observations:
        how = "it ran to its end" if watched.complete else watched.ended
        raise ValueError(f"{path}: {how}, and no array was bound")
    first = Step.found(network, watched, None, None, convention)
    return recorded([first], later=partial(_later, first.names, watched, network, convention))


def _later(first: Names, watched: Watched, network: Architecture, convention: Convention | None) -> Later | None:
    """What the second step adds: that a parameter keeps its value, or a step of its own; None where there is none."""
    second = _second(first, watched.observations, network, convention)
    if second is None:
        return None
    if kept := second_step.never_updated(first, second):
        return Later(_with_kept(first, kept, watched), completes=True)
    step = Step.of(second_step.without_updates(second), watched)
    unmoved = {name: first.tensors[name].observation.name for name in second_step.unmoved(first, second)}
    return Later(recorded([step], [SecondStep()]), [NotUpdated(name, held) for name, held in unmoved.items()])


def _second(
    first: Names, observations: Sequence[Observation], network: Architecture, convention: Convention | None
) -> Names | None:
    seen = second_step.observations(first, observations)
    try:
        second = second_step.with_biases(first, find(network, seen, None, None, convention), seen)
    except NotFound:
        return None
    return second if second_step.follows(first, second) else None


def _with_kept(first: Names, kept: dict[str, Named], watched: Watched) -> Recorded:
    """The first step, completed by what parameters that are never updated are after it."""
    step = Step.of(replace(first, tensors=first.tensors | kept), watched)
    return recorded([step], [NeverUpdated(tuple(kept))])
