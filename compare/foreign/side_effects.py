"""Side effects of somebody's code: arrays of the forward pass that the backward pass writes into.

An array object that held a tensor and later in the step holds something else was written into, under whatever name.
That is told, not judged: it may do no harm. Where it does, a gradient is wrong, and what the array became explains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.naming.named import Named, Names
from compare.numbers.same_bits import same_bits
from compare.recording.notes import SharedArray, Written
from compare.recording.place import Place
from compare.watching.observation import Observation
from compare.watching.watch import Watched

Array = NDArray[Any]


def written_into(names: Names, watched: Watched) -> dict[str, Written]:
    """Tensor name -> what its array became, for input, target and outputs that backward wrote into."""
    end = _forward_end(names)
    if end < 0:
        return {}
    window = _backward(names, watched.observations, end)
    found = ((name, _written(name, names, watched, window, end)) for name in ("input", "target", *_outputs(names)))
    return {name: written for name, written in found if written is not None}


def shared(arrays: Mapping[str, Any]) -> Iterator[SharedArray]:
    """Of a dictionary: which of its names stand for one array, so that what the first stood for may be gone."""
    held = [(name, a) for name, a in arrays.items() if isinstance(a, np.ndarray) and a.size > 1]
    for (one, a), (other, b) in combinations(held, 2):
        if a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data:
            yield SharedArray(one, other)


def followed(names: Names, watched: Watched) -> int:
    """How many of these tensors are kept in arrays that were watched."""
    end = _forward_end(names)
    return sum(
        bool(_holders(names.tensors[name], watched.observations, end))
        for name in ("input", "target", *_outputs(names))
        if name in names.tensors
    )


def given_back(name: str, before: Array, after: Array, watched: Watched) -> Written | None:
    """x or t as the caller has it after the step, if it is not what it was."""
    if same_bits(before, after):
        return None
    held: set[int] = set()
    place: Place | None = None
    for o in watched.observations:
        if o.holder and same_bits(o.array, before):
            held.add(o.holder)
        elif o.holder in held:
            place = o.place
            break
    return Written(name, after if name == "target" else after.reshape(len(after), -1), place)


def _outputs(names: Names) -> list[str]:
    return [name for name, n in names.tensors.items() if name.endswith(".output") and n.bound]


def _forward_end(names: Names) -> int:
    """When the last output was bound; -1 where none was bound by a line."""
    bound = [names.tensors[name].observation for name in _outputs(names)]
    return max((o.time for o in bound if o.line), default=-1)


def _backward(names: Names, observations: Sequence[Observation], end: int) -> list[Observation]:
    """What lines bound between the forward pass and the last gradient or new weight, statement by statement.

    A line that has run in the forward pass fills its array anew for the next one: what it binds is left out.
    """
    last = max((n.observation.time for name, n in names.tensors.items() if _ends_step(name)), default=end)
    forward = {_place(o) for o in observations if o.time <= end}
    found: list[Observation] = []
    for o in (o for o in observations if o.time > end):
        if o.time > last and not (found and _place(o) == _place(found[-1])):
            break
        found.append(o)
    return [o for o in found if _place(o) not in forward]


def _ends_step(name: str) -> bool:
    return ".grad_" in name or ".new_" in name


def _place(o: Observation) -> tuple[str, int, str]:
    return o.file, o.line, o.function


def _holders(named: Named, observations: Sequence[Observation], end: int) -> set[int]:
    """The array objects that held this tensor in the forward pass: what is copied later may be written into."""
    same = named.observation.array
    return {o.holder for o in observations if o.holder and o.array is same and o.time <= end}


def _written(name: str, names: Names, watched: Watched, window: Sequence[Observation], end: int) -> Written | None:
    named = names.tensors.get(name)
    if named is None:
        return None
    holders = _holders(named, watched.observations, end)
    for after, place in _later(holders, named, watched, window):
        if (view := _reread(named, names, after)) is not None:
            return Written(name, view, place)
    return None


def _later(
    holders: set[int], named: Named, watched: Watched, window: Sequence[Observation]
) -> Iterator[tuple[Array, Place | None]]:
    for o in window:
        if o.holder in holders and o.array is not named.observation.array:
            yield o.array, o.place
    for holder in holders & set(watched.left):
        yield watched.left[holder], None


def _reread(named: Named, names: Names, after: Array) -> Array | None:
    """What the array became, read as it was read before."""
    view, shape = named.view, named.view.array.shape
    if view.array.ndim != 2:
        return after.reshape(shape) if after.size == view.array.size else None
    found = layout.inputs(after, *shape) if view.bias is not None else layout.samples(after, *shape)
    return next((v.array for v in found if (v.layout, v.attached) == (view.layout, view.attached)), None)
