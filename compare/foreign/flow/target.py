"""Target and loss: what the output is held against, and the number that says how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compare.foreign import layout
from compare.foreign.convention import Factor, factors
from compare.foreign.flow.multiples import Pool
from compare.foreign.flow.passes import Pass, Seen
from compare.foreign.flow.products import alike, root
from compare.foreign.layout import View
from compare.foreign.naming.values import number
from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from compare.operations.operation import Activation
from compare.watching.dataflow import Array, Value, after, with_elements

EXACT = Precision.of(np.float64)
CLOSE = 1e-7  # relative: of a loss in double precision that is a sum of logarithms


@dataclass
class Aim:
    """Of one pass: the target, how it was recognised, and the losses that are reported, each with its factor."""

    target: Seen
    certain: bool
    losses: list[tuple[Value, float]] = field(default_factory=list)
    computed: set[int] = field(default_factory=set)  # from the output: times


def aim(network: Architecture, found: Pass, until: int, given: tuple[Value, Array] | None = None) -> Aim | None:
    """Of a pass, by what is computed from its output; None where nothing is held against it.

    `given`: the target, where it is known, and the value that has it, or of which it is rows.
    """
    last = f"{len(network.layers) - 1}.output"
    start = found.tensors.get(last) or _last_output(found)
    computed = list(after(with_elements(start.value), until))
    times = {v.time for v in computed}
    y = found.tensors[last].view.array if last in found.tensors else None
    best: tuple[tuple[int, bool, bool, bool, int, int], Aim] | None = None
    order = 0
    for order, seen in enumerate(_candidates(network, found, computed, given) if computed else ()):
        if y is None and given is not None:
            return Aim(seen, True, [], times)
        if y is None:
            continue
        t = seen.view.array
        is_held = bool(seen.value.users)
        made = {v.time for v in after(alike(seen.value), until)} if is_held else times
        used = [v for v in computed if v.time in made]
        found_slopes = _slopes(network, found, y, t, Pool(v for v in used if v is not start.value))
        losses = _losses(network, y, t, used, found.m)
        is_beside = not any(found.begin.time <= u.time < start.value.time for u in seen.value.users)
        rank = bool(found_slopes) + bool(losses), is_held, is_beside, bool(losses), found_slopes, -order
        if best is None or rank > best[0]:
            best = rank, Aim(seen, given is not None or found_slopes > 0 or bool(losses), losses, times)
    is_only = order == 0 and found.m * network.sizes[-1] > 1
    return best[1] if best and (best[1].certain or is_only) else None


def _last_output(found: Pass) -> Seen:
    return max((s for n, s in found.tensors.items() if n.endswith(".output")), key=lambda s: s.value.time)


def _candidates(
    network: Architecture, found: Pass, computed: Sequence[Value], given: tuple[Value, Array] | None
) -> Iterator[Seen]:
    """What is combined with something that is computed from the output and is not so itself."""
    labels, n = network.loss.takes_labels, network.sizes[-1]
    if given is not None:
        value, t = given
        yield from (Seen(value, view) for view in layout.targets(t, found.m, n, labels))
        return
    times, tried = {v.time for v in computed}, set()
    own = {v.time for s in found.tensors.values() for v in (root(s.value), *s.value.elements)}
    start = computed[0]
    for user in computed:
        for other in user.operands if user is not start else ():
            if other.time in times or other.time in tried or (root(other).time in own and not _is_shared(other, user)):
                continue
            tried.add(other.time)
            yield from (Seen(other, view) for view in layout.targets(other.array, found.m, n, labels))
    if labels and found.m == 1:
        yield from _numbers(found, computed, n)
    elif found.m == n == 1:
        subtractions = [user for user in computed if user.what in ("sub", "isub")]
        for each in sorted({c for user in subtractions for c in user.constants}):
            users = [user for user in subtractions if each in user.constants]
            value = Value(found.begin.time, None, np.array([[each]]), users=users)
            yield Seen(value, View(value.array, layout.ROWS))


def _is_shared(value: Value, user: Value) -> bool:
    """Whether it is a number of the source that is subtracted: Python has one 0.0 for a bias and a target."""
    return value.size == 1 and not value.operands and value.site is None and user.what in ("sub", "isub")


def _numbers(found: Pass, computed: Sequence[Value], n: int) -> Iterator[Seen]:
    """Class numbers of Python's own, by which the output is indexed, as they were bound."""
    whole = {c for user in computed if user.what in ("getitem", "setitem") for c in user.constants if c == round(c)}
    for each in sorted(whole):
        if 0 <= each < n:
            label = np.array([int(each)])
            yield Seen(Value(found.begin.time, None, label), next(layout.targets(label, 1, n, True)))


def _slopes(network: Architecture, found: Pass, y: Array, t: Array, pool: Pool) -> int:
    """How many of the gradients of the loss, back to the last linear layer, are among the values."""
    count, known = 0, factors(found.m, network.sizes[-1])
    for wanted in slopes(network, found, y, t):
        read = lambda a: layout.samples(a, *wanted.shape)  # noqa: B023, E731
        count += next(pool.multiples(wanted, read, known), None) is not None
    return count


def slopes(network: Architecture, found: Pass, y: Array, t: Array) -> Iterator[Array]:
    """The loss's gradient, then what each activation after the last linear layer makes of it."""
    with np.errstate(all="ignore"):
        dy = network.loss.gradient(np.asarray(y, dtype=np.float64), _target(t), EXACT).value
        yield dy
        for k in range(len(network.layers) - 1, 0, -1):
            layer, before = network.layers[k], found.tensors.get(f"{k - 1}.output")
            if not isinstance(layer, Activation) or before is None:
                return
            dy = layer.grad_input(np.asarray(before.view.array, dtype=np.float64), dy, EXACT).value
            yield dy


def _target(t: Array) -> Array:
    return t if t.ndim == 1 else np.asarray(t, dtype=np.float64)


def _losses(network: Architecture, y: Array, t: Array, computed: Sequence[Value], m: int) -> list[tuple[Value, float]]:
    """Numbers that are a known multiple of the loss, the last of each line of computation."""
    with np.errstate(all="ignore"):
        loss = float(network.loss.loss(np.asarray(y, dtype=np.float64), _target(t), EXACT).value)
    if not np.isfinite(loss) or loss == 0:
        return []
    known = factors(m, network.sizes[-1])
    found = {}
    for value in computed:
        if value.size == 1 and value.array.dtype.kind == "f":
            factor = _factor(number(value.array) / loss, known, value)
            if factor is not None:
                found[value.time] = value, factor.value
    return [pair for time, pair in found.items() if _is_final(pair[0], set(found) - {time})]


def totals(
    network: Architecture, aims: Sequence[Aim], y: Array, t: Array, until: int
) -> list[tuple[Value, float]]:
    """Of several passes, their whole loss that is reported: a sum over them, or what is made of one; and its factor."""
    began = [value for value, _ in aims[0].losses]
    return _losses(network, y, t, list(after(began, until)), len(y))


def _factor(scale: float, known: list[Factor], value: Value) -> Factor | None:
    within = CLOSE if value.array.dtype == np.float64 else 1e-4
    return next((f for f in known if abs(scale - f.value) <= within * abs(f.value)), None)


def _is_final(value: Value, others: set[int]) -> bool:
    """Whether it is not a mere part of another multiple of the loss; added up over batches, both count."""
    return all(user.time not in others or _is_added_up(user) for user in value.users)


def _is_added_up(value: Value) -> bool:
    counts = any(c > 1 and c == round(c) for c in value.constants)
    return value.what == "mul" and counts and bool(value.users) and all(u.what in ("add", "iadd") for u in value.users)


def stacked(aims: Sequence[Aim]) -> Seen:
    """The targets of several passes, one after the other; one-hot rows of whole numbers as floats."""
    array = np.concatenate([each.target.view.array for each in aims])
    array = array if array.ndim == 1 or array.dtype.kind == "f" else array.astype(np.float64)
    return Seen(aims[-1].target.value, replace(aims[0].target.view, array=array))
