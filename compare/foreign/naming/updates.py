"""Updates: the weights after the step, and the rate of plain gradient descent where they moved so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compare.foreign.convention import nearest
from compare.foreign.naming import factors, moves
from compare.foreign.naming.named import most
from compare.foreign.naming.state import State
from compare.foreign.naming.values import distance, multiple

DECIMALS = 8  # at most, of a rate that somebody wrote as a decimal number
SIGNIFICANT = 14  # digits of a product of two decimal numbers: one less than float64 holds, so that 0.1 * 3 is 0.3


def new_values(state: State) -> None:
    """Name the value of every parameter after the step: along its gradient, else the first other one."""
    for name in state.network.parameters():
        held, gradient = state.tensors.get(name), state.tensors.get(name.gradient)
        if held is None or gradient is None or held.observation.time < 0:
            continue
        after = moves.moved(state, name, held, np.asarray(gradient.view.array, dtype=np.float64))
        if after is not None:
            state.tensors[name.new] = after


def rate(state: State) -> float | None:
    """By how much the weights moved along torch's gradient; of one that was read off the move, its own factor."""
    tensors, read_off = state.tensors, state.found.recovered
    bound = [n.scale for name, n in tensors.items() if name.endswith(".grad_weight") and name not in read_off]
    plain = descent_rate(state)
    if plain is not None and bound:
        found = float(f"{plain * most(bound):.{SIGNIFICANT}g}")
    elif read_off:
        found = most([tensors[name].scale for name in read_off])
    else:
        return None
    return found if found > 0 else None


def descent_rate(state: State) -> float | None:
    """The rate by which most parameters moved against their gradient; None where they did not move so."""
    rates = list(_descent_rates(state))
    return most(rates) if rates else None


def _descent_rates(state: State) -> Iterator[float]:
    """Of every parameter whose gradient was bound, and along which it moved."""
    for name in state.network.parameters():
        held, after, g = (state.tensors.get(n) for n in (name, name.new, name.gradient))
        if held is None or after is None or g is None or name.gradient in state.found.recovered:
            continue
        gradient, change = np.asarray(g.view.array, dtype=np.float64), held.view.array - after.view.array
        scale, within = multiple(change, gradient), moves.digits_lost(held, change)
        if scale is not None and distance(change, scale * gradient) <= within:
            yield float(np.sign(scale)) * _as_written(state, abs(scale), within)


def _as_written(state: State, scale: float, within: float) -> float:
    """A rate as somebody writes it: a known multiple of a number that was seen, or the shortest decimal number."""
    if factor := nearest(scale, [f for f in factors.of_gradients(state) if f.value > 0], within):
        return factor.value
    shorter = (float(f"{scale:.{digits}g}") for digits in range(1, DECIMALS + 1))
    return next((value for value in shorter if abs(value - scale) <= within * abs(scale)), scale)
