"""Penalties: what a loss adds for the size of the weights, and whether the gradient has it too.

lambda / 2 sum(W^2) has the gradient lambda W, lambda sum(|W|) has lambda sign(W).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compare.foreign.flow.passes import Seen
from compare.foreign.flow.products import ADDED, root
from compare.foreign.naming.values import number
from compare.watching.dataflow import Value, before, with_elements


@dataclass(frozen=True)
class Penalty:
    """amount: lambda as above, in the network's own loss. kind: "L2" or "L1". names: the parameters that it is on."""

    amount: float
    kind: str
    names: tuple[str, ...]
    value: Value | None = None  # the loss with it; None for what a network's text declares


def penalty(
    losses: Sequence[tuple[Value, float]], old: Mapping[str, Seen], computed: set[int], until: int
) -> Penalty | None:
    """What is added to a loss until then and computed from parameters alone; None where nothing is."""
    for value, factor in losses:
        added, signs, total = _added(value, computed, until)
        if not added:
            continue
        behind = {v.time: v for each in added for v in before([each], _olds(old))}
        used = tuple(n for n, s in old.items() if _is_used(s, added, old) and not _is_cut_off(n, old, behind.values()))
        amount = sum(sign * number(each.array) for each, sign in zip(added, signs, strict=True)) / abs(factor)
        kind = "L1" if any("abs" in v.what for v in behind.values()) else "L2"
        whole = sum(size(old[name], kind) for name in used)
        if used and whole and _of_parameters(behind.values()):
            return Penalty(amount / whole, kind, used, total)
    return None


def _of_parameters(behind: Iterable[Value]) -> bool:
    """Whether it is of these parameters and numbers alone: no loss of an earlier step, with its data and weights."""
    return all(v.operands or v.size == 1 for v in behind)


def _olds(old: Mapping[str, Seen]) -> list[Value]:
    return [v for seen in old.values() for v in with_elements(root(seen.value))]


def _is_used(seen: Seen, added: Sequence[Value], old: Mapping[str, Seen]) -> bool:
    """Whether what is added is computed from this parameter, not from what became another one."""
    own = {v.time for v in with_elements(root(seen.value))}
    behind = [*added, *before(added, _olds(old))]
    return any(o.time in own for v in behind for o in (v, *v.operands))


def _is_cut_off(name: str, old: Mapping[str, Seen], behind: Iterable[Value]) -> bool:
    """Whether it is a bias that is attached to its weight, of which the weight alone is taken."""
    weight = old.get(name.replace(".bias", ".weight"))
    if not name.endswith(".bias") or weight is None or root(weight.value) is not root(old[name].value):
        return False
    return any(v.size == weight.view.array.size for v in _computed_from(weight, behind))


def _computed_from(seen: Seen, behind: Iterable[Value]) -> list[Value]:
    reached = {v.time for v in with_elements(root(seen.value))}
    found = []
    for value in sorted(behind, key=lambda v: v.time):
        if any(o.time in reached for o in value.operands):
            reached.add(value.time)
            found.append(value)
    return found


def _added(value: Value, computed: set[int], until: int) -> tuple[list[Value], list[int], Value]:
    """Numbers that are added to it, or subtracted, and are not computed from the output; their signs; and the sum."""
    found: list[Value] = []
    signs: list[int] = []
    while (more := next(_sums(value, computed, until), None)) is not None:
        value, other = more
        found.append(other)
        signs.append(-1 if "sub" in value.what else 1)
    return found, signs, value


def _sums(value: Value, computed: set[int], until: int) -> Iterator[tuple[Value, Value]]:
    for user in value.users:
        if user.what in ADDED and user.size == 1 and user.time <= until:
            for other in user.operands:
                if other is not value and other.size == 1 and other.time not in computed and other.operands:
                    yield user, other


def size(seen: Seen, kind: str) -> float:
    a = np.asarray(seen.view.array, dtype=np.float64)
    return float(np.abs(a).sum() if kind == "L1" else (a**2).sum() / 2)
