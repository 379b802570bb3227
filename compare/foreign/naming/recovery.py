"""Recovery: where no gradient was bound, it is the weight's change over the learning rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.convention import Factor, nearest
from compare.foreign.layout import View
from compare.foreign.naming import expected, factors, moves
from compare.foreign.naming.named import Named, most
from compare.foreign.naming.state import State
from compare.foreign.naming.values import distance, multiple
from compare.network.tensor_name import TensorName

Array = NDArray[Any]


def recover(state: State, exactly: bool) -> None:
    """Name the changes of parameters whose gradients have no name; `exactly`, those that are as they should be."""
    values = {rule.name: value for rule, value in expected.gradients(state)}
    for name in state.network.parameters():
        gradient = name.gradient
        if name in state.tensors and gradient not in state.tensors and gradient in values:
            _recover(state, name, values[gradient], exactly)


def _recover(state: State, name: TensorName, value: Array, exactly: bool) -> None:
    held = state.tensors[name]
    after = moves.moved(state, name, held, value)
    if after is None:
        return
    change = held.view.array - after.view.array
    scale, within = multiple(change, value), moves.digits_lost(held, change)
    if scale is None:
        return
    factor = _factor(state, scale, within)
    equal = factor is not None and distance(change, scale * value) <= within
    rate = factor.rate if factor else _usual_rate(state)
    if rate is None or (exactly and not equal):
        return
    o = replace(after.observation, array=change, name=f"the change of {held.observation.name}")
    scaled = factor.value if factor else rate
    state.tensors[name.gradient] = Named(o, View(change, held.view.layout), scaled, equal, rate=rate)
    state.found.recovered[name.gradient] = _rounding(held, after)


def _rounding(held: Named, after: Named) -> Array:
    """Half a unit in the last place of both values of the parameter: what their difference may be wrong by."""
    before, now = (np.abs(np.asarray(n.view.array, dtype=np.float64)) for n in (held, after))
    u = float(np.finfo((held.view.array - after.view.array).dtype).eps) / 2
    rounding: Array = u * (before + now)
    return rounding


def _factor(state: State, scale: float, within: float) -> Factor | None:
    """A known factor times a rate that was seen; where none was, the scale is the rate."""
    known = [f for f in factors.of_gradients(state) if f.rate != 1]
    if factor := nearest(scale, known, within):
        return factor
    return None if known or scale <= 0 else Factor(scale, rate=scale)


def _usual_rate(state: State) -> float | None:
    """The rate of the other changes, else the first that was seen."""
    rates = [state.tensors[name].rate for name in state.found.recovered]
    return most(rates) if rates else next(iter(factors.rates(state)), None)
