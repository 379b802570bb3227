"""Given: what a function was called with. Its inputs and targets are then known, and no guess."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compare.foreign.flow.passes import Pass
from compare.watching.dataflow import Array, Dataflow, Value, with_elements

UPDATES = ("sub", "add", "isub", "iadd", "setitem", "changed", "gather", "call:subtract", "call:add")


@dataclass(frozen=True)
class Given:
    """x and t, samples as rows, as they were before the call; `flow`: what was computed of them."""

    x: Array
    t: Array
    flow: Dataflow

    @property
    def input(self) -> Value:
        return self.flow.given[0]

    @property
    def target(self) -> Value:
        return self.flow.given[1]

    @cached_property
    def entered(self) -> frozenset[int]:
        """Times of what is computed from x: no weight is, but by its update."""
        found = {v.time for v in with_elements(self.input)}
        for value in self.flow.values:
            if not found.isdisjoint(o.time for o in value.operands) and not _is_update(value, found):
                found.add(value.time)
        return frozenset(found)

    @cached_property
    def left(self) -> tuple[Value, ...]:
        """What is returned or kept, and what has a name and is used no more: gradients, where nothing is updated."""
        unused = (v for v in self.flow.values if v.names and not v.users and v.operands)
        return tuple(sorted({v.time: v for v in (*self.flow.left, *unused)}.values(), key=lambda v: v.time))

    def targets(self, found: Pass) -> Array | None:
        """The rows of t whose inputs entered a pass, in their order; None where others did."""
        entering = np.asarray(found.tensors["input"].view.array, dtype=np.float64)
        x = np.asarray(self.x, dtype=np.float64).reshape(len(self.x), -1)
        if len(entering) == len(x):
            return self.t
        rows: dict[bytes, list[int]] = defaultdict(list)
        for k, row in enumerate(x):
            rows[row.tobytes()].append(k)
        taken = [rows.get(row.tobytes(), []) for row in entering]
        return self.t[[held[0] for held in taken]] if all(taken) else None

    def ends(self, sizes: set[int]) -> list[Value]:
        """Of what is left, what has one of these sizes."""
        return [v for v in self.left if v.size in sizes]


def _is_update(value: Value, entered: set[int]) -> bool:
    """Whether it is something that was used with x, and is not computed from it, with a step added."""
    old = value.operands[0]
    if value.what not in UPDATES or old.size != value.size or old.time in entered:
        return False
    return any(u.time in entered for u in old.users if u.time < value.time)
