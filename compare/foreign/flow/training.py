"""Training: which passes belong to one step, and what the parameters were before it and became by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType

import numpy as np

from compare.foreign.flow.passes import UPDATES, Pass, Seen
from compare.foreign.flow.products import root
from compare.watching.dataflow import Value, before, with_elements

ENDLESS = 1 << 62
BESIDE = 60  # values after the last new parameter
MOVES = ("sub", "add", "isub", "iadd", "setitem", "changed", "gather", "imul", "mul", "call:subtract", "call:add")


@dataclass
class TrainingStep:
    """Passes with the same weights, and parameter -> what it became; nothing where that was not seen.

    number: of all steps that were seen, from 1. behind: all that the new values were computed from, up to the old ones.
    """

    passes: list[Pass]
    number: int
    new: dict[str, Value] = field(default_factory=dict)
    behind: list[Value] = field(default_factory=list)
    left: Sequence[Value] | None = None  # of a call that moves no parameter: what it leaves

    @property
    def m(self) -> int:
        return sum(each.m for each in self.passes)

    @property
    def old(self) -> dict[str, Seen]:
        """The parameters, as the first pass used them."""
        return {n: seen for n, seen in self.passes[0].tensors.items() if n.endswith((".weight", ".bias"))}

    @property
    def olds(self) -> list[Value]:
        """The values of the parameters before the step, and their elements."""
        return [v for seen in self.old.values() for v in with_elements(root(seen.value))]

    @property
    def still_before(self) -> int:
        """How many steps before it moved no parameter at all, as where no unit of a layer was active."""
        return min((_still(root(seen.value)) for seen in self.old.values()), default=0)

    @property
    def until(self) -> int:
        """Up to when values belong to it: its end; where nothing moved, for ever."""
        return self.end if self.new else ENDLESS

    @property
    def beside(self) -> int:
        """Up to when what is said of it may come: a loss that is divided after the update, a bias that moves last."""
        return self.end + BESIDE if self.new else ENDLESS

    @property
    def end(self) -> int:
        """When the last parameter moved; without any, when the last pass's tensors were all computed."""
        return max((v.time for v in self.new.values()), default=-1)


def _still(value: Value) -> int:
    """How many updates, the last ones, left this parameter as it was."""
    count = 0
    while value.what in UPDATES and (old := root(value.operands[0])).size == value.size > 1:
        if not np.array_equal(old.array.ravel(), value.array.ravel()):
            break
        count, value = count + 1, old
    return count


def steps(
    passes: Iterable[Pass], replaced: Mapping[int, Value] = MappingProxyType({}), left: Sequence[Value] | None = None
) -> Iterator[TrainingStep]:
    """In order of time; a group of passes that no update follows is the last, if it is one at all.

    replaced: what stands at the end of a call in the place of a value. left: what it leaves beside.
    """
    number, waiting = 0, None
    for _, group in groupby(passes, key=Pass.key):
        made = list(group)
        if waiting is not None and (step := _between(waiting, made[0], number + 1)) is not None:
            number += 1
            yield step
        waiting = made
    if waiting is not None and (step := _last(waiting, number + 1, replaced, left)) is not None:
        yield step


def _between(passes: list[Pass], following: Pass, number: int) -> TrainingStep | None:
    """The step that leads from these weights to the next pass's; None where those do not come of these."""
    new, moved = {}, False
    for name, seen in TrainingStep(passes, number).old.items():
        later = following.tensors.get(name)
        if later is None:
            continue
        old, now = root(seen.value), root(later.value)
        if old is now or old.array is now.array or (old.size == 1 and old.array.item() == now.array.item()):
            continue
        if not _comes_of(now, old):
            continue
        if _is_later(now, old):
            return None
        new[name], moved = later.value if later.value.array.shape == seen.value.array.shape else now, True
    return _made(passes, number, new) if moved else None


def _is_later(now: Value, old: Value) -> bool:
    """Of what was gathered: whether there is a step between, whose pass was not read."""
    return bool(now.elements) and now.is_changed and now.operands[0] is not old


def _comes_of(now: Value, old: Value) -> bool:
    return not {v.time for v in with_elements(old)}.isdisjoint(v.time for v in before([now]))


def _last(
    passes: list[Pass], number: int, replaced: Mapping[int, Value], left: Sequence[Value] | None
) -> TrainingStep | None:
    """What the weights became is the last value that is computed from them in the same place."""
    new: dict[str, Value] = {}
    old = TrainingStep(passes, number).old
    for name, seen in old.items():
        if (now := _final(root(seen.value), replaced)) is not None:
            if _is_later(now, root(seen.value)):
                return None
            new[name] = now
    if 0 < len(new) < len(old) and any(root(seen.value).elements for seen in old.values()):
        return None  # number by number, a step may not be watched to its end
    return _made(passes, number, new, left)


def _final(old: Value, replaced: Mapping[int, Value]) -> Value | None:
    """Along what is written over it, or bound to its name, or put into its place."""
    found, names = None, {bound.name for bound in old.names}
    current = old
    while True:
        later = [u for u in current.users if u.size == old.size and u.what in MOVES and _replaces(u, current, names)]
        later += [new for new in (replaced.get(current.time),) if new is not None and new.size == old.size]
        if not later:
            return found
        current = found = later[0]
        names |= {bound.name for bound in found.names}


def _replaces(user: Value, current: Value, names: set[str]) -> bool:
    if user.what.startswith("i") or user.what in ("setitem", "changed", "gather"):
        return user.operands[:1] == (current,)
    if user.elements:  # a name that sums and biases share says nothing of arrays that no line binds
        return user.is_changed and user.operands[0] is current
    return any(bound.name in names for bound in user.names)


def _made(
    passes: list[Pass], number: int, new: dict[str, Value], left: Sequence[Value] | None = None
) -> TrainingStep | None:
    """With the passes that the new values were computed from; None where those are of none, as in a numeric check."""
    made = TrainingStep(passes, number, new)
    if left is not None and not new:
        sizes = {seen.value.size for seen in made.old.values()}
        made.left = [v for v in left if v.size in sizes]
    made.behind = before([*new.values(), *(made.left or ())], made.olds)
    used = {v.time for v in made.behind}
    kept = [p for p in passes if not used.isdisjoint(_outputs(p))]
    if new and (not kept or _is_unread(made, kept, used)):
        return None
    made.passes = _different(kept) if kept else passes[:1]
    return made


def _is_unread(step: TrainingStep, kept: Sequence[Pass], used: set[int]) -> bool:
    """Whether the new values come of a product of the first layer that is in no pass, where numbers make it up."""
    weight, known = root(step.passes[0].tensors["0.weight"].value), {v for p in kept for v in with_elements(p.begin)}
    products = (u for u in weight.users if u.what == "matmul" and u.elements and u.operands[0] is weight)
    return any(not known.intersection(u.elements) and any(v.time in used for v in u.elements) for u in products)


def _outputs(found: Pass) -> set[int]:
    outputs = [s.value for n, s in found.tensors.items() if n.endswith(".output")]
    return {v.time for value in outputs for v in with_elements(value)}


def _different(passes: Sequence[Pass]) -> list[Pass]:
    found: dict[int, Pass] = {}
    for each in passes:
        found[root(each.tensors["input"].value).time] = each
    return sorted(found.values(), key=lambda each: each.begin.time)
