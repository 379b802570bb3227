"""Departures: where the code computes another network than the text says, and the check must follow it."""

from __future__ import annotations

from dataclasses import replace

from compare.foreign.naming import hints
from compare.foreign.naming.probabilities import activation_of, on_probabilities
from compare.foreign.naming.state import State
from compare.operations.linear import Linear


def without_bias(state: State) -> None:
    """A layer that is exactly its product without a bias, where nothing is called one, has none."""
    layers = tuple(
        replace(layer, bias=False) if isinstance(layer, Linear) and _lacks_bias(state, k, layer) else layer
        for k, layer in enumerate(state.network.layers)
    )
    if layers != state.network.layers:
        linear = ((k, layer) for k, layer in enumerate(layers) if isinstance(layer, Linear))
        state.found.unbiased = [k for k, layer in linear if not layer.bias]
        state.found.network = replace(state.network, layers=layers)


def _lacks_bias(state: State, position: int, layer: Linear) -> bool:
    if f"{position}.weight" not in state.tensors or f"{position}.bias" in state.tensors:
        return False
    return not any(hints.is_bias(o.name) for o in state.seen.sized(layer.out_features))


def fuse(state: State) -> None:
    """Where the probabilities were bound and the logits were not, the loss is that on probabilities."""
    network, last = state.network, state.last
    activation = activation_of(network.loss)
    z = state.product(last) if activation and f"{last}.output" not in state.tensors else None
    if z is None or activation is None:
        return
    output = state.equal(activation.apply(z), state.tensors[f"{last}.weight"].observation.time)
    if output is not None:
        loss = on_probabilities(network.loss)
        state.found.network = replace(network, layers=(*network.layers, activation), loss=loss)
        state.tensors[f"{last + 1}.output"] = output
