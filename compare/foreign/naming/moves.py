"""Moves: a parameter's later values, and whether they lie along a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.layout import View
from compare.foreign.naming.named import Named, split
from compare.foreign.naming.stack import Stack
from compare.foreign.naming.state import State
from compare.foreign.naming.values import distance, multiple, tight
from compare.watching.observation import Observation

Array = NDArray[Any]

ROUNDINGS = 4  # of a weight that its change may carry: in float64, of the rate, the product, the difference, the result


def moved(state: State, name: str, held: Named, value: Array) -> Named | None:
    """The later value of the variable that differs by a multiple of `value`; else the first that differs."""
    later = list(_later_values(state, name, held))
    along = next((after for after in later if is_along(held, after, value)), None)
    return along or _elsewhere(state, name, held, value) or (later[0] if later else None)


def _later_values(state: State, name: str, held: Named) -> Iterator[Named]:
    """Of the same variable, after the forward pass, where they differ."""
    since = state.forward_end()
    for o in state.seen.after(held.observation):
        view = _reread(state, name, o) if o.time > since else None
        if view is not None and not np.array_equal(view.array, held.view.array):
            yield Named(o, view)


def _elsewhere(state: State, name: str, held: Named, value: Array) -> Named | None:
    """The parameter moved downhill, under another name, as the optimiser may have for it."""
    since, lost = state.forward_end(), rounding(held)
    for named in _rereadings(state, name, held).along(held.view.array, value, tight(held.view.array), lost):
        if named.observation.time > since and named.observation.line:
            downhill = (multiple(held.view.array - named.view.array, value) or 0) > 0
            if downhill and is_along(held, named, value):
                return named
    return None


def _rereadings(state: State, name: str, held: Named) -> Stack:
    """Every array that can be read as this parameter was."""
    shape, weight = held.observation.array.shape, state.tensors[f"{split(name)[0]}.weight"].view
    read = ((o, _reread(state, name, o)) for o in state.seen.sized(*shape))
    key = (split(name)[1], shape, weight.array.shape, weight.layout, weight.attached)
    return state.seen.stack(key, lambda: (Named(o, view) for o, view in read if view is not None))


def is_along(held: Named, after: Named, value: Array) -> bool:
    """Whether the parameter's change is a multiple of `value`, as far as its digits say."""
    change = held.view.array - after.view.array
    scale = multiple(change, value)
    return scale is not None and distance(change, scale * value) <= digits_lost(held, change)


def digits_lost(held: Named, change: Array) -> float:
    """How exactly a change is known, relative to it: some roundings of the weight, which is much larger."""
    size = float(np.linalg.norm(change)) or 1.0
    return max(tight(held.view.array), rounding(held) / size)


def rounding(held: Named) -> float:
    """How far a parameter's change may be off, over the whole tensor."""
    u = float(np.finfo(held.view.array.dtype).eps) if held.view.array.dtype.kind == "f" else 1e-16
    return ROUNDINGS * u * float(np.linalg.norm(held.view.array))


def _reread(state: State, name: str, o: Observation) -> View | None:
    """A later value of the variable, read as the first was."""
    head, part = split(name)
    parameter, weight = state.tensors[name], state.tensors[f"{head}.weight"].view
    if o.array.shape != parameter.observation.array.shape or o.array.dtype.kind != "f":
        return None
    if part == "weight":
        return layout.like(o.array, weight)
    if weight.bias is None:
        return next(layout.biases(o.array, len(parameter.view.array)), None)
    view = layout.like(o.array, weight)
    return view if view is None or view.bias is None else View(view.bias, view.layout)
