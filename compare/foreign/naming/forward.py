"""Forward: weights, biases and outputs, layer after layer, as those whose product is among the arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.layout import View
from compare.foreign.naming import parameters, unbound
from compare.foreign.naming.named import Named, distinct, earliest
from compare.foreign.naming.probabilities import activation_of
from compare.foreign.naming.state import State
from compare.foreign.naming.values import distance, tight
from compare.operations.linear import Linear
from compare.operations.operation import Activation
from compare.watching.observation import Observation

Array = NDArray[Any]

# Arrays that are tried as a layer's output: it is among the first of its shape that are bound after its input, and
# every further one costs a product with each weight and bias.
OUTPUTS = 24
# Relative: an array farther from what a layer should give is not its output. Two arrays that have nothing in common
# are at 1.4 when they are of one size, a small array and anything at 1: both are left out, a wrong bias is not.
NEAR = 0.9


def forward(state: State) -> bool:
    """Layer after layer; False where not even the first one's output, or a later one's that proves it, is seen."""
    layers, position = state.network.layers, 0
    while position < len(layers):
        layer = layers[position]
        if isinstance(layer, Activation):
            _activation(state, position, layer)
            position += 1
            continue
        after = _linear(state, position)
        if after is None:
            return position > 0
        position = after
    return True


def _linear(state: State, position: int) -> int | None:
    """Name a linear layer, by its output, else by a later one, else by the nearest array; the position after it."""
    exact, near = _by_product(state, position)
    if exact:
        state.tensors.update(exact)
        return position + 1
    if (reached := unbound.pass_through(state, position)) is not None:
        return reached
    if near and (position > 0 or state.lenient):
        state.tensors.update(near)
        return position + 1
    return None


def _by_product(state: State, position: int) -> tuple[dict[str, Named], dict[str, Named]]:
    """Weight, bias and output whose product, or its activation, is among the arrays; and the nearest, if none is.

    Arrays are tried as the output in order of time, with what its variables held at that moment.
    """
    closest, near = NEAR, {}
    makeable = _makeable(state, position)
    for k, made in enumerate(makeable):
        for names, z in _products(state, position, made.observation):
            if name := _made_name(state, made, z, position):
                found = names | {name: replace(made, equal=True)}
                return _with_bias_added_later(state, position, makeable[k + 1 :], names, z) or found, {}
            far = distance(made.view.array, z)
            if far < closest:
                closest, near = far, names | {f"{position}.output": made}
    return {}, near


def _with_bias_added_later(
    state: State, position: int, later: Sequence[Named], names: dict[str, Named], z: Array
) -> dict[str, Named]:
    """Where a product was found without a bias: the same with one that a later line adds (z = x @ W; z += b)."""
    if f"{position}.bias" in names:
        return {}
    weight = names[f"{position}.weight"]
    for made in later:
        for bias in parameters.biases(state, weight, _linear_at(state, position).out_features, made.observation):
            if bias is not None and (name := _made_name(state, made, z + bias.value, position)):
                return names | {f"{position}.bias": bias, name: replace(made, equal=True)}
    return {}


def _makeable(state: State, position: int) -> list[Named]:
    """Arrays that may be the output of a linear layer, or of the activation after it, the earliest first."""
    since, fan_out = state.latest(), _linear_at(state, position).out_features
    found = [
        Named(o, view, equal=False)
        for o in state.seen.sized(state.m, fan_out)
        if o.array.dtype.kind == "f" and (o.time > since or not o.line)
        for view in layout.samples(o.array, state.m, fan_out)
        if state.convention.allows(view, "samples") and np.any(view.array)
    ]
    return earliest(found)[:OUTPUTS]


def _products(state: State, position: int, made: Observation) -> Iterator[tuple[dict[str, Named], Array]]:
    """Every input, weight and bias that was held when `made` was bound, with their product."""
    layer = _linear_at(state, position)
    held = state.seen.held_at(made, parameters.of_weights_size(state, layer))
    weights = parameters.weights(state, layer, held)
    for x in _entering(state, position, made):
        supposed = {f"{position - 1}.output": x} if position and not x.equal and x.bound else {}
        for weight in weights:
            product = x.value @ weight.value.T
            for bias in parameters.biases(state, weight, layer.out_features, made):
                z = product if bias is None else product + bias.value
                yield parameters.pair(position, weight, bias) | supposed, z


def _made_name(state: State, made: Named, z: Array, position: int) -> str | None:
    """Which tensor an array is: the linear layer's output, or the activation's; None if neither."""
    if distance(made.view.array, z) <= tight(made.view.array):
        return f"{position}.output"
    following = _following(state, position)
    if following is None or distance(made.view.array, following.apply(z)) > tight(made.view.array):
        return None
    return f"{position + 1}.output" if position < state.last else "probabilities"


def _linear_at(state: State, position: int) -> Linear:
    layer = state.network.layers[position]
    assert isinstance(layer, Linear)
    return layer


def _following(state: State, position: int) -> Activation | None:
    """The activation after a layer; after the last, the one that is part of the loss."""
    if position < state.last:
        following = state.network.layers[position + 1]
        return following if isinstance(following, Activation) else None
    return activation_of(state.network.loss)


def _entering(state: State, position: int, made: Observation) -> list[Named]:
    """What entered: what left the layer before; where that is not known, every array of its shape before `made`."""
    known = state.entering(position)
    if known is not None and (known.equal or position == 0):
        return [known]
    first = [named for named in (known, _computed(state, position)) if named is not None]
    return distinct([*first, *_bound_between(state, position, made)])


def _bound_between(state: State, position: int, made: Observation) -> list[Named]:
    """Arrays of the size of what entered, bound after the last tensor that is known and before `made`."""
    since, width = state.latest(), _linear_at(state, position).in_features
    return [
        Named(o, view, equal=False)
        for o in state.seen.sized(state.m, width)
        if since <= o.time < made.time and o.array.dtype.kind == "f"
        for view in layout.samples(o.array, state.m, width)
        if state.convention.allows(view, "samples")
    ]


def _computed(state: State, position: int) -> Named | None:
    """What should have entered, where it was never bound."""
    before = state.tensors.get(f"{position - 2}.output")
    activation = state.network.layers[position - 1]
    if before is None or not isinstance(activation, Activation):
        return None
    value = activation.apply(before.value)
    return Named(replace(before.observation, array=value), View(value, layout.ROWS), equal=False, bound=False)


def _activation(state: State, position: int, layer: Activation) -> None:
    """What equals the activation of the layer before; after the last layer, else what is nearest to it."""
    name, before = f"{position}.output", state.tensors.get(f"{position - 1}.output")
    if name in state.tensors or before is None:
        return
    y, since = layer.apply(before.value), before.observation.time
    output = state.equal(y, since, but=before.observation)
    if output is None and position == state.last:
        output = state.nearest(y, since, limit=NEAR)
    if output is not None:
        state.tensors[name] = output
