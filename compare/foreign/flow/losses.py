"""Losses: what is reported of a step's loss, and what is not the network's: kept finite, or wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compare.foreign.flow.backward import EXACT, Backward
from compare.foreign.flow.target import Aim, totals
from compare.foreign.guards import guard_of
from compare.foreign.naming import hints
from compare.foreign.naming.values import number
from compare.watching.dataflow import Value

PLAINEST = 5  # known factors that a wrong loss may have: the mean, half of it, twice, and the negatives


def reported(back: Backward, aims: Sequence[Aim]) -> list[float]:
    """The factors of the losses that are reported, those with a name first. A log-likelihood has the other sign."""
    named = sorted(of_step(back, aims), key=lambda pair: not pair[0].names)
    return [f for value, factor in named for f in _over_samples(abs(factor), value, back.step.m)]


def of_step(back: Backward, aims: Sequence[Aim]) -> list[tuple[Value, float]]:
    """What is reported of a step's loss: of several passes, of all together, for one says nothing of it."""
    last = f"{len(back.network.layers) - 1}.output"
    if not aims or last not in back.tensors or "target" not in back.tensors:
        return []
    if len(aims) == 1:
        return aims[0].losses
    return totals(back.network, aims, back.tensors[last], back.tensors["target"], back.step.beside)


def _over_samples(factor: float, value: Value, m: int) -> list[float]:
    """The factor; of a sum over samples that is added up over batches, also that of their mean: it is divided later."""
    is_added_up = any(v.what in ("iadd", "isub") and v.size == 1 for v in (value, *value.users))
    return [factor, factor / m] if is_added_up and factor >= m > 1 else [factor]


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
