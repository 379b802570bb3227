"""Departures: where the code computes another network than the text says, and the check must follow it."""

from __future__ import annotations

from dataclasses import replace

from compare.foreign.naming import hints
from compare.foreign.naming.probabilities import ACTIVATION, LOSS
from compare.foreign.naming.state import State
from compare.network.architecture import LayerSpec
from compare.operations import reference


def without_bias(state: State) -> None:
    """A layer that is exactly its product without a bias, where nothing is called one, has none."""
    layers = tuple(
        replace(layer, bias=False) if _lacks_bias(state, k, layer) else layer
        for k, layer in enumerate(state.network.layers)
    )
    if layers != state.network.layers:
        state.found.unbiased = [k for k, layer in enumerate(layers) if layer.kind == "linear" and not layer.bias]
        state.found.network = replace(state.network, layers=layers)


def _lacks_bias(state: State, position: int, layer: LayerSpec) -> bool:
    if layer.kind != "linear" or f"{position}.weight" not in state.tensors or f"{position}.bias" in state.tensors:
        return False
    return not any(hints.is_bias(o.name) for o in state.seen.sized(layer.out_features))


def fuse(state: State) -> None:
    """Where the probabilities were bound and the logits were not, the loss is that on probabilities."""
    network, last = state.network, state.last
    z = state.product(last) if network.loss in ACTIVATION and f"{last}.output" not in state.tensors else None
    if z is None:
        return
    kind = ACTIVATION[network.loss]
    output = state.equal(reference.apply(kind, z), state.tensors[f"{last}.weight"].observation.time)
    if output is not None:
        spec = replace(network.layers[last], kind=kind, in_features=0, out_features=0)
        state.found.network = replace(network, layers=(*network.layers, spec), loss=LOSS[network.loss])
        state.tensors[f"{last + 1}.output"] = output
