"""Parameters: arrays that may be a layer's weight and its bias."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from compare.foreign import layout
from compare.foreign.layout import View
from compare.foreign.naming import hints
from compare.foreign.naming.named import Named, distinct, earliest
from compare.foreign.naming.state import State
from compare.operations.linear import Linear
from compare.watching.observation import Observation


def of_weights_size(state: State, layer: Linear) -> list[Observation]:
    """Arrays of the weight's size, or with the bias as one more row or column."""
    return state.seen.sized(layer.out_features, layer.in_features, extra=(0, 1))


def weights(state: State, layer: Linear, held: Iterable[Observation]) -> list[Named]:
    """Arrays that may be this layer's weight, equal ones once."""
    return earliest(
        Named(o, view)
        for o in held
        for view in layout.weights(o.array, layer.out_features, layer.in_features)
        if o.array.dtype.kind == "f" and state.convention.allows(view, "weights") and np.any(view.array)
    )


def biases(state: State, weight: Named, fan_out: int, made: Observation | None) -> Iterator[Named | None]:
    """Attached to this weight; else of the right size, those named and placed most like it first, then none.

    made: the output, when a bias must have been held; None where that was not bound.
    """
    if weight.view.bias is not None:
        yield Named(weight.observation, View(weight.view.bias, weight.view.layout))
        return
    taken = {n.observation.time for name, n in state.tensors.items() if name.endswith(".bias")}
    sized = state.seen.sized(fan_out)
    held = state.seen.early(sized) if made is None else state.seen.held_at(made, sized)
    free = [o for o in held if o.time not in taken and o.array.dtype.kind == "f" and o.array.ndim > 0]
    free.sort(key=lambda o: _unlike(o, weight.observation))
    yield from distinct(Named(o, view) for o in free for view in layout.biases(o.array, fan_out))
    yield None


def _unlike(o: Observation, weight: Observation) -> tuple[bool, int]:
    return not hints.same_numbers(o.name, weight.name), abs(o.time - weight.time)


def pair(position: int, weight: Named, bias: Named | None) -> dict[str, Named]:
    """Under their record names."""
    return {f"{position}.weight": weight} | ({f"{position}.bias": bias} if bias else {})
