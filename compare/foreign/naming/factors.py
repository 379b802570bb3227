"""Factors: the multiples of the network's loss and gradients that somebody may keep in this step."""

from __future__ import annotations

from compare.foreign.convention import Factor, factors, nearest
from compare.foreign.naming import hints
from compare.foreign.naming.named import most
from compare.foreign.naming.state import State
from compare.foreign.naming.values import number

LARGEST_RATE = 100  # a number above it is a count or a size, whatever it is called


def of_loss(state: State) -> list[Factor]:
    """Known multiples of the loss, the plainest first."""
    return factors(state.m, state.n)


def of_gradients(state: State) -> list[Factor]:
    """The same, and each times every learning rate."""
    return factors(state.m, state.n, rates(state))


def rates(state: State) -> list[float]:
    """Learning rates: as declared, else the numbers that are called like one."""
    if state.rates is None:
        state.rates = _rates(state)
    return state.rates


def _rates(state: State) -> list[float]:
    if state.convention.rate is not None:
        return [state.convention.rate]
    called = [number(o.array) for o in state.seen.scalars() if hints.is_rate(o.name)]
    return [rate for rate in dict.fromkeys(called) if 0 < rate < LARGEST_RATE and rate != 1]


def usual(state: State) -> float:
    """The scale that most of the gradients have that are right."""
    scales = [n.scale for name, n in state.tensors.items() if ".grad_" in name and n.equal]
    return most(scales) if scales else 1.0


def plainness(scale: float, known: list[Factor]) -> int:
    """The place of a scale among known factors, 0 being the plainest; behind them all for one that is none."""
    factor = nearest(scale, known)
    return known.index(factor) if factor else len(known)
