"""Expected: the gradients as they should be, from the candidate's own tensors where these are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.naming.named import Named, plain
from compare.foreign.naming.state import State
from compare.judging.step import Rule, rules

Array = NDArray[Any]


def gradient_rules(state: State) -> list[Rule]:
    """Of every gradient that may have an array, in order of execution."""
    present = [*state.tensors, *(f"{k}.grad_input" for k in range(1, len(state.network.layers)))]
    return [rule for rule in rules(state.network, None, 1, present) if _is_gradient(rule) and _is_wanted(rule)]


def gradients(state: State, adopted: Mapping[str, Named] | None = None) -> Iterator[tuple[Rule, Array]]:
    """Every gradient that has no name yet, as it should be; `adopted` are taken for named.

    Lazily: a name that is given to a gradient before the next is asked for is what that next one is computed from.
    """
    adopted = adopted or {}
    values = state.found.values() | {name: plain(name, named) for name, named in adopted.items()}
    for rule in rules(state.network, None, 1, list(values)):
        if rule.name in state.tensors or rule.name in adopted:
            if _is_gradient(rule):
                values[rule.name] = (adopted.get(rule.name) or state.tensors[rule.name]).value
            continue
        if any(source not in values for source in rule.sources):
            continue
        with np.errstate(all="ignore"):
            value = rule.compute(*(values[source] for source in rule.sources), p=state.precision).value
        values[rule.name] = value
        if _is_gradient(rule) and _is_wanted(rule):
            yield rule, value
            if rule.name in state.tensors:
                values[rule.name] = state.tensors[rule.name].value


def _is_gradient(rule: Rule) -> bool:
    return rule.kind == "gradient" and not rule.copies


def _is_wanted(rule: Rule) -> bool:
    """Nothing needs the input's gradient, and few compute it."""
    return rule.name != "0.grad_input"
