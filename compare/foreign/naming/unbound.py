"""Unbound: hidden layers whose outputs no line bound, as in softmax(relu(x @ W1) @ W2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from compare.foreign.naming import parameters
from compare.foreign.naming.named import Named
from compare.foreign.naming.probabilities import activation_of
from compare.foreign.naming.state import State, affine
from compare.operations.linear import Linear
from compare.operations.operation import Activation

Array = NDArray[Any]
Pair = tuple[Named, Named | None]  # a weight and its bias
Way = tuple[dict[str, Named], Array]  # weights and biases through some layers, and what comes out

# Each way costs a product, and each layer multiplies them by its candidates; hidden layers of equal sizes with a few
# values each make some hundreds.
WAYS = 2000


def pass_through(state: State, position: int) -> int | None:
    """Name the weights and biases that lead to the next output that was bound.

    The position after that output; None where there is none, or where there are too many ways to get there.
    """
    entering = state.entering(position)
    if entering is None:
        return None
    ways: list[Way] = [({}, entering.value)]
    for k in range(position, len(state.network.layers)):
        ways = _through(state, k, ways)
        if not ways or len(ways) > WAYS:
            return None
        if k > position and _reaches_output(state, k, ways):
            return k + 1
    return len(state.network.layers) if _reaches_probabilities(state, ways) else None


def _reaches_output(state: State, position: int, ways: Sequence[Way]) -> bool:
    for names, value in ways:
        if (output := state.equal(value, -1)) is not None:
            state.tensors.update(names | {f"{position}.output": output})
            return True
    return False


def _reaches_probabilities(state: State, ways: Sequence[Way]) -> bool:
    """Where the probabilities were bound and the logits were not."""
    activation = activation_of(state.network.loss)
    if activation is None:
        return False
    for names, value in ways:
        if state.equal(activation.apply(value), -1) is not None:
            state.tensors.update(names)
            return True
    return False


def _through(state: State, position: int, ways: Sequence[Way]) -> list[Way]:
    """Every way through one layer; one more than WAYS where there are too many."""
    layer = state.network.layers[position]
    if isinstance(layer, Activation):
        return [(names, layer.apply(value)) for names, value in ways]
    assert isinstance(layer, Linear)
    found: list[Way] = []
    pairs = list(_pairs(state, layer))
    for names, value in ways:
        for weight, bias in _free(pairs, names):
            found.append((names | parameters.pair(position, weight, bias), affine(value, weight, bias)))
            if len(found) > WAYS:
                return found
    return found


def _pairs(state: State, layer: Linear) -> Iterator[Pair]:
    """Weights and biases that may be this layer's; not more than there are ways."""
    for weight in parameters.weights(state, layer, state.seen.early(parameters.of_weights_size(state, layer))):
        for bias in parameters.biases(state, weight, layer.out_features, None):
            yield weight, bias


def _free(pairs: Iterable[Pair], names: dict[str, Named]) -> Iterator[Pair]:
    """Those that an earlier layer of this way has not taken."""
    taken = {n.observation.time for n in names.values()}
    for weight, bias in pairs:
        if weight.observation.time not in taken and (bias is None or bias.observation.time not in taken):
            yield weight, bias
