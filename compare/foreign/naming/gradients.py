"""Gradients: the arrays that equal what a gradient should be, up to layout and a known factor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.convention import nearest
from compare.foreign.layout import View
from compare.foreign.naming import expected, factors
from compare.foreign.naming.named import Named, split
from compare.foreign.naming.stack import Stack
from compare.foreign.naming.state import State
from compare.foreign.naming.values import distance, multiple, tight
from compare.judging.step import Rule

Array = NDArray[Any]

# A factor is the mean of as many rounding errors as the array has elements, but one element has only its own.
FACTOR = 10  # times as far from a known factor as an array may be from what it should be
FACTOR_AT_LEAST = 1e-7  # and so far in any dtype: a rate written in float32 has this much
FEW = 3  # numbers; any array of one number is a multiple of the gradient, and one of two often is


def match(state: State) -> None:
    """Name every gradient that equals what it should be."""
    for rule, value in expected.gradients(state):
        if named := gradient(state, rule, value):
            state.tensors[rule.name] = named


def gradient(state: State, rule: Rule, value: Array) -> Named | None:
    """The first array that is a multiple of this gradient, by the reported loss's factor, else the plainest known."""
    known, loss = factors.of_gradients(state), state.tensors.get("loss")
    meant = loss.scale if loss is not None and loss.equal and ".grad_input" not in rule.name else None
    best: tuple[tuple[bool, int], Named] | None = None
    for named in candidates(state, rule, value.shape, value):
        scale = _exact_multiple(named, value)
        factor = nearest(scale, known, _within(named)) if scale is not None else None
        if factor is None or state.is_parameter(named):
            continue
        rank = factor.value != meant, known.index(factor)
        if best is None or rank < best[0]:
            best = rank, replace(named, scale=factor.value, rate=factor.rate)
    return _last_version(state, rule, value, best[1]) if best else None


def _exact_multiple(named: Named, value: Array) -> float | None:
    """The factor by which an array is `value`; None if it is no multiple."""
    scale = multiple(named.view.array, value)
    if scale is None or distance(named.view.array, scale * value) > tight(named.view.array):
        return None
    return scale


def _within(named: Named) -> float:
    return max(tight(named.view.array) * FACTOR, FACTOR_AT_LEAST)


def _last_version(state: State, rule: Rule, value: Array, named: Named) -> Named:
    """Where the variable was scaled afterwards: by a factor that is none (d /= m - 1), that later value, as wrong.

    By a known one other than the learning rate (dW *= m), a parameter's gradient is that later value, at its factor.
    """
    if value.size < FEW:
        return named
    known, o, last = factors.of_gradients(state), named.observation, named
    for after in candidates(state, rule, value.shape, value):
        if after.observation.name != o.name or after.observation.time <= o.time:
            continue
        scale = _exact_multiple(after, value)
        factor = nearest(scale, known, _within(after)) if scale is not None else None
        if scale is not None and factor is None:
            return replace(after, scale=1.0, equal=False)
        if factor and factor.rate == named.rate == 1 and ".grad_input" not in rule.name:
            last = replace(after, scale=factor.value)
    return last


def candidates(state: State, rule: Rule, shape: tuple[int, ...], value: Array | None = None) -> Iterator[Named]:
    """All arrays of its shape that were bound after the output; with `value`, those that may be a multiple of it."""
    since, stack = state.forward_end(), _readings(state, rule, shape)
    for named in stack.named if value is None else stack.like(value):
        if named.observation.time > since:
            yield named


def _readings(state: State, rule: Rule, shape: tuple[int, ...]) -> Stack:
    """Every array that can be read as this gradient."""
    head, part = split(rule.name)
    if part not in ("grad_weight", "grad_bias"):
        return state.seen.stack(("gradients", shape), lambda: _samples_gradients(state, shape))
    weight = state.tensors[f"{head}.weight"].view
    key = (part, weight.array.shape, weight.layout, weight.attached)
    if part == "grad_weight":
        return state.seen.stack(key, lambda: _weights_gradients(state, weight))
    return state.seen.stack(key, lambda: _biases_gradients(state, weight, shape[0]))


def _weights_gradients(state: State, weight: View) -> Iterator[Named]:
    """In the weight's layout, with the bias's gradient where the bias is part of the weight."""
    extra = (0, 1) if weight.bias is not None else (0,)
    for o in state.seen.sized(*weight.array.shape, extra=extra):
        if view := layout.like(o.array, weight):
            yield Named(o, view)


def _biases_gradients(state: State, weight: View, fan_out: int) -> Iterator[Named]:
    """Vectors; where the bias is part of the weight, the same part of its gradient."""
    if weight.bias is None:
        for o in state.seen.sized(fan_out):
            yield from (Named(o, view) for view in layout.biases(o.array, fan_out))
        return
    for o in state.seen.sized(*weight.array.shape, extra=(1,)):
        if (view := layout.like(o.array, weight)) and view.bias is not None:
            yield Named(o, View(view.bias, view.layout))


def _samples_gradients(state: State, shape: tuple[int, ...]) -> Iterator[Named]:
    for o in state.seen.sized(*shape):
        yield from (Named(o, view) for view in layout.samples(o.array, *shape))
