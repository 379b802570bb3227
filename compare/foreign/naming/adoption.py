"""Adoption: a gradient that nothing equals is wrong; which array it is, is told by what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.naming import expected, factors, gradients, hints
from compare.foreign.naming.named import Named, earliest, parameter_of
from compare.foreign.naming.state import State
from compare.foreign.naming.values import cosine
from compare.judging.step import Rule

Array = NDArray[Any]

ALIKE = 0.5  # the least cosine to the right gradient of an array that nothing else speaks for: 60 degrees


def adopt(state: State, rule: Rule) -> bool:
    """Name a wrong gradient: the array from which later ones follow, or of a parameter's, the likeliest."""
    value = next((value for r, value in expected.gradients(state) if r.name == rule.name), None)
    if value is None:
        return False
    found = _free(state, rule, value)
    best = _likeliest(state, rule, value, found) if _is_of_parameter(rule) else _leading(state, rule, found)
    if best is None or _is_behind_mask(state, rule, best):
        return False
    best = _under_its_own_name(state, best, found)
    state.tensors[rule.name] = replace(best, equal=False, scale=factors.usual(state))
    return True


def _under_its_own_name(state: State, best: Named, found: Sequence[Named]) -> Named:
    """Of an array that is another tensor already, the next name that it was given: d1 = dh1 leaves something out."""
    taken = {n.observation.time for n in state.tensors.values()}
    if best.observation.time not in taken:
        return best
    same = (n for n in found if n.observation.array is best.observation.array and n.observation.time not in taken)
    return min((n for n in same if n.observation.time > best.observation.time), key=_time, default=best)


def _time(named: Named) -> int:
    return named.observation.time


def _is_behind_mask(state: State, rule: Rule, best: Named) -> bool:
    """Whether this gradient has a ReLU's zeros already: it is then what left the ReLU, and its own was not bound."""
    k = int(rule.layer) if rule.layer.isdigit() else 0
    if not rule.name.endswith(".grad_input") or k == 0 or not state.network.layers[k - 1].kinked:
        return False
    y = state.tensors.get(f"{k - 1}.output")
    off = y is not None and y.value.shape == best.value.shape and y.value <= 0
    return bool(np.any(off) and not np.any(best.value[off]))


def _is_of_parameter(rule: Rule) -> bool:
    return rule.name.endswith((".grad_weight", ".grad_bias"))


def _free(state: State, rule: Rule, value: Array) -> list[Named]:
    """Arrays of its shape that are no parameter and have no other name, unless they hold two gradients by layout."""
    attached = rule.name.endswith(".grad_bias") and state.tensors[f"{rule.layer}.weight"].view.bias is not None
    ends = () if attached else (".grad_weight", ".grad_bias", ".output")
    taken = {n.observation.time for name, n in state.tensors.items() if name.endswith(ends)}
    return [
        named
        for named in gradients.candidates(state, rule, value.shape)
        if named.observation.time not in taken and not state.is_parameter(named) and np.any(named.view.array)
    ]


def _leading(state: State, rule: Rule, found: Sequence[Named]) -> Named | None:
    """The array from which most later gradients follow; None where none does."""
    follows = [(_followers(state, rule, named), named) for named in earliest(found)]
    count, best = max(follows, key=lambda pair: pair[0], default=(0, None))
    return best if count else None


def _followers(state: State, rule: Rule, named: Named) -> int:
    """How many gradients that nothing else explains follow from this array."""
    return sum(_is_seen(state, later, value) for later, value in expected.gradients(state, {rule.name: named}))


def _is_seen(state: State, rule: Rule, value: Array) -> bool:
    """Whether an array is this gradient."""
    return gradients.gradient(state, rule, value) is not None


def _likeliest(state: State, rule: Rule, value: Array, found: Sequence[Named]) -> Named | None:
    """The array that is called a gradient, else the nearest in direction."""
    held = state.tensors.get(parameter_of(rule.name))

    def rank(named: Named) -> tuple[bool, bool, float]:
        called = named.observation.name
        related = hints.same_numbers(called, held.observation.name if held else "")
        return not hints.is_gradient(called), not related, -abs(cosine(named.view.array, value))

    ranked = [(rank(named), named) for named in found]
    (uncalled, _, unlike), best = min(ranked, key=lambda pair: pair[0], default=((True, True, 0.0), None))
    return None if uncalled and unlike > -ALIKE else best
