"""Scales: one factor for the loss and its gradients, so that what has another one shows as wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compare.foreign.naming import factors
from compare.foreign.naming.named import Named, most, split
from compare.foreign.naming.state import State


def settle(state: State) -> None:
    """Parameter gradients have the reported loss's factor; the tensors between, what leads to it."""
    tensors = state.tensors
    finals = [n for n in tensors if n.endswith((".grad_weight", ".grad_bias"))]
    if not finals:
        return
    wanted = _wanted(state, most([tensors[n].factor for n in finals if tensors[n].equal] or [1.0]))
    if any(tensors[n].factor != wanted or not tensors[n].equal for n in finals):
        _settle_gradients(state, finals, wanted)
    _settle_loss(state, wanted)


def _settle_gradients(state: State, finals: Sequence[str], wanted: float) -> None:
    tensors, ratio = state.tensors, _usual_ratio(state, finals)
    for name in finals:
        tensors[name] = replace(tensors[name], scale=wanted * tensors[name].rate)
    for name in [n for n in tensors if n.endswith((".grad_output", ".grad_input"))]:
        tensors[name] = replace(tensors[name], scale=wanted * ratio)


def _settle_loss(state: State, wanted: float) -> None:
    """A loss that has another factor than the gradients, which have the plainer one, is wrong."""
    loss = state.tensors.get("loss")
    if loss is not None and loss.scale != wanted:
        state.tensors["loss"] = replace(loss, scale=wanted)


def _wanted(state: State, usual: float) -> float:
    """The reported loss's factor, where the gradients share it.

    Where loss and gradients differ, the one with the plainer factor is taken to be meant, and the other is wrong.
    """
    loss = state.tensors.get("loss")
    if state.convention.factor is not None:
        return state.convention.factor
    if loss is None or not loss.equal or loss.scale == usual:
        return usual
    known = factors.of_loss(state)
    return min((usual, loss.scale), key=lambda scale: factors.plainness(scale, known))


def _usual_ratio(state: State, finals: Sequence[str]) -> float:
    """Tensors between over parameter gradients: 1, or m where the mean is taken last."""
    found = []
    for name in finals:
        leaving = _leaving(state, split(name)[0])
        if leaving is not None and state.tensors[name].equal:
            found.append(leaving.scale / state.tensors[name].factor)
    return most(found) if found else 1.0


def _leaving(state: State, head: str) -> Named | None:
    """The gradient of layer `head`'s output, under either of its names."""
    return state.tensors.get(f"{head}.grad_output") or state.tensors.get(f"{int(head) + 1}.grad_input")
