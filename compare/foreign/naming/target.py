"""Target: what the outputs are compared with, and the loss, of which each speaks for the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.convention import Factor, nearest
from compare.foreign.guards import guard_of
from compare.foreign.layout import View
from compare.foreign.naming import factors, hints
from compare.foreign.naming.named import Named, distinct
from compare.foreign.naming.state import State
from compare.foreign.naming.values import number, tight
from compare.operations.operation import Activation
from compare.watching.observation import Observation

Array = NDArray[Any]

CLOSELY = 1e-2  # times as far as an array may be: asked first, since many a number is near to one of many factors
SUMMING = 10  # times as far as an array may be: a loss is a sum of logarithms, which cancel
PLAINEST = 5  # known factors that a wrong loss may have: the mean, half of it, twice, and the negatives


def target_and_loss(state: State) -> None:
    """The target whose loss or loss gradient is among the arrays, and that loss."""
    output = state.tensors.get(f"{state.last}.output")
    if output is None:
        return
    y = output.value
    best = max(_targets(state), key=lambda t: _agreement(state, y, t), default=None)
    if best is None:
        return
    state.tensors["target"] = best
    loss = _exact_loss(state, y, best)
    if guarded := _guarded_loss(state, y, best, loss):
        state.tensors["loss"], state.found.guard = guarded
    elif loss := loss or _called_loss(state, y, best):
        state.tensors["loss"] = loss


def _targets(state: State) -> list[Named]:
    """Arrays that may be the target, the last bound first; of those bound before the output, if there are any."""
    labels = state.network.loss.takes_labels
    if state.given_target is not None:
        held = [Observation(state.given_target, "t as given", time=-2)]
    else:
        held = [*state.seen.sized(state.m, state.n), *(state.seen.sized(state.m) if labels else [])]
    views = [Named(o, view) for o in held for view in layout.targets(o.array, state.m, state.n, labels)]
    taken = {n.observation.time for n in state.tensors.values()}
    kept = [named for named in distinct(reversed(views)) if named.observation.time not in taken]
    latest = state.latest()
    return [named for named in kept if named.observation.time < latest] or kept


def _agreement(state: State, y: Array, t: Named) -> tuple[int, int]:
    """Whether the loss's gradient, and the loss, of this target are among the arrays; else the earlier bound."""
    with np.errstate(all="ignore"):
        gradient = _loss_gradient(state, y, t)
        agreed = 2 * (state.equal(gradient, -1, scaled=True) is not None)
        agreed += _exact_loss(state, y, t) is not None
    return agreed, -t.observation.time


def _loss_gradient(state: State, y: Array, t: Named) -> Array:
    """Of the last linear layer's output, through an activation after it: what most people write in one."""
    dy = state.network.loss.gradient(y, t.target, state.precision).value
    last = state.network.layers[state.last]
    if not isinstance(last, Activation):
        return dy
    before = state.tensors.get(f"{state.last - 1}.output")
    z = state.product(state.last - 1) if before is None else before.value
    return dy if z is None else last.grad_input(z, dy, state.precision).value


def _exact_loss(state: State, y: Array, t: Named) -> Named | None:
    """The number that is a known multiple of the loss."""
    value, known = _loss(state, y, t), _known(state)
    if not value or not np.isfinite(value):
        return None
    for share in (CLOSELY, SUMMING):
        for o in state.seen.scalars(state.latest()):
            if factor := nearest(number(o.array) / value, known, tight(o.array) * share):
                return Named(o, View(o.array.reshape(()), "number"), factor.value)
    return None


def _guarded_loss(state: State, y: Array, t: Named, exact: Named | None) -> tuple[Named, float] | None:
    """The number that is the loss with a tiny number inside its logarithms, and that number."""
    plain, known = _loss(state, y, t), _known(state)
    held = [exact.observation] if exact else state.seen.scalars(state.latest())
    numbers = [number(o.array) for o in held]
    found = guard_of(state.network.loss, y, t.target, plain, numbers, known)
    if found is None:
        return None
    k, factor, guard = found
    return Named(held[k], View(held[k].array.reshape(()), "number"), factor), guard


def _called_loss(state: State, y: Array, t: Named) -> Named | None:
    """The first number that is called a loss and was bound before the weights moved: a wrong one."""
    latest = state.latest()
    weights = state.seen.after(state.tensors["0.weight"].observation)
    moved = min((o.time for o in weights if o.time > latest), default=np.inf)
    o = next((o for o in state.seen.scalars(latest) if hints.is_loss(o.name) and o.time < moved), None)
    if o is None:
        return None
    value = _loss(state, y, t)
    factor = min(_known(state)[:PLAINEST], key=lambda f: abs(number(o.array) - f.value * value))
    return Named(o, View(o.array.reshape(()), "number"), factor.value, equal=False)


def _loss(state: State, y: Array, t: Named) -> float:
    with np.errstate(all="ignore"):
        return float(state.network.loss.loss(y, t.target, state.precision).value)


def _known(state: State) -> list[Factor]:
    if state.convention.factor is not None:
        return [Factor(state.convention.factor)]
    return factors.of_loss(state)
