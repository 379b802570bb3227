"""Losses: a reported loss that is not the network's: one that is kept finite, and one that is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compare.foreign.flow.backward import EXACT, Backward
from compare.foreign.guards import guard_of
from compare.foreign.naming import hints
from compare.foreign.naming.values import number
from compare.watching.dataflow import Value

PLAINEST = 5  # known factors that a wrong loss may have: the mean, half of it, twice, and the negatives


def guarded(back: Backward) -> tuple[Value, float, float] | None:
    """What is the loss with a tiny number inside its logarithms, its factor, and that number."""
    if (plain := _plain(back)) is None:
        return None
    held = list(_numbers(back))
    y, t = back.tensors[_last(back)], back.tensors["target"]
    found = guard_of(back.network.loss, y, t, plain, [number(v.array) for v in held], back.known_of_few)
    return None if found is None else (held[found[0]], found[1], found[2])


def called(back: Backward) -> tuple[Value, float] | None:
    """The first number that is called a loss and computed from output and target: a wrong one; its plainest factor."""
    if (plain := _plain(back)) is None:
        return None
    for value in _numbers(back):
        if value.time in back.aimed and any(hints.is_loss(bound.name) for bound in value.names):
            known = back.known_of_few[:PLAINEST]
            return value, min(known, key=lambda f: abs(number(value.array) - f.value * plain)).value
    return None


def _last(back: Backward) -> str:
    return f"{len(back.network.layers) - 1}.output"


def _plain(back: Backward) -> float | None:
    """The network's loss; None where output or target was not found."""
    if _last(back) not in back.tensors or "target" not in back.tensors:
        return None
    with np.errstate(all="ignore"):
        found = float(back.network.loss.loss(back.tensors[_last(back)], back.tensors["target"], EXACT).value)
    return found if np.isfinite(found) and found else None


def _numbers(back: Backward) -> Iterator[Value]:
    """Those that are computed from the output."""
    return (v for v in back.later[0] if v.size == 1 and v.array.dtype.kind == "f")
