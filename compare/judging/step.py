"""Step: one training step as rules: which tensor follows from which others, by what formula, in order of execution."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import Kind, TensorName
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.expected import Expected
from compare.numbers.float64 import double
from compare.operations.operation import Layer

Check = Literal["isolated", "wiring", "spanning", "side_effects", "update"]


@dataclass(frozen=True)
class Rule:
    """How one tensor of a step follows from others.

    compute(*arrays of the sources, p=precision) -> Expected; it takes them to float64 itself. `copies` says that the
    tensor is its only source, unchanged; `optional` that a complete record may lack it; `following` is the layer that
    it enters, where that one's derivative jumps.
    """

    name: TensorName
    layer: str
    kind: Kind
    check: Check
    sources: tuple[TensorName, ...]
    compute: Callable[..., Expected]
    formula: str
    copies: bool = False
    optional: bool = False
    following: Layer | None = None


def rules(network: Architecture, optimizer: OptimizerSpec | None, step: int, present: Collection[str]) -> list[Rule]:
    """All rules of training step `step` (from 1), in order of execution, for a record that holds `present`."""
    found = list(_forward(network)) + [_loss(network)] + list(_backward(network, present))
    if optimizer:
        found += _update(network, optimizer, step, present)
    return found


def _same(source: Array, p: Precision) -> Expected:
    return Expected.itself(source)


def _copy(name: TensorName, kind: Kind, source: TensorName, optional: bool) -> Rule:
    words = f"{name} = {source}"
    return Rule(name, name.layer, kind, "wiring", (source,), _same, words, copies=True, optional=optional)


def _forward(network: Architecture) -> Iterator[Rule]:
    for k in range(len(network.layers)):
        for part, source in network.takes(k).items():
            if (name := TensorName.of(k, part)) != source:
                yield _copy(name, "input", source, optional=True)
        following = next((network.layers[j] for j, _ in network.followed_by(k) if network.layers[j].jumps), None)
        for part in _parts(network, k, of_backward=False):
            yield _computed(network, k, part, following=following if part == "output" else None)


def _parts(network: Architecture, k: int, of_backward: bool) -> list[str]:
    """Those that layer k computes forward or backward, in order."""
    return [part for part in network.layers[k].computed if TensorName.of(k, part).is_gradient == of_backward]


def _computed(
    network: Architecture,
    k: int,
    part: str,
    present: Callable[[str], bool] = lambda letter: True,
    following: Layer | None = None,
) -> Rule:
    """A tensor that a layer computes, from the letters of its operation."""
    layer, name = network.layers[k], TensorName.of(k, part)
    sources = tuple(TensorName.of(k, layer.letters[letter]) for letter in layer.needs(part, present))
    formula = layer.computed[part].formula
    return Rule(name, str(k), name.kind, "isolated", sources, getattr(layer, part), formula, following=following)


def _of_loss(network: Architecture, name: TensorName, kind: Kind, part: str, compute: Callable[..., Expected]) -> Rule:
    sources = (TensorName.of(len(network.layers) - 1, "output"), TensorName("target"))
    return Rule(name, "loss", kind, "isolated", sources, compute, network.loss.formula(part))


def _loss(network: Architecture) -> Rule:
    return _of_loss(network, TensorName("loss"), "loss", "loss", network.loss.loss)


def _backward(network: Architecture, present: Collection[str]) -> Iterator[Rule]:
    last = len(network.layers) - 1
    for k in range(last, -1, -1):
        dy = TensorName.of(k, "grad_output")
        if k == last:
            yield _of_loss(network, dy, "gradient", "loss.gradient", network.loss.gradient)
        else:
            yield _returned(dy, network.returned(k), present)
        has = partial(_was_handed_in, network, k, present)
        yield from (_computed(network, k, part, has) for part in _parts(network, k, of_backward=True))


def _returned(dy: TensorName, parts: Sequence[TensorName], present: Collection[str]) -> Rule:
    """The gradient of an output: that of the layer which took it, or the sum of those of all that did."""
    is_given = all(part in present for part in parts)
    if len(parts) == 1:
        return _copy(dy, "gradient", parts[0], optional=is_given)
    words = f"{dy} = {' + '.join(parts)}"
    return Rule(dy, dy.layer, "gradient", "isolated", tuple(parts), _summed, words, optional=is_given)


def _summed(*parts: Array, p: Precision) -> Expected:
    """Every partial sum is rounded: (n - 1) u times the sum of what is added, in absolute value."""
    terms = np.stack([double(part) for part in parts])
    size = np.abs(terms).sum(axis=0)
    return Expected(terms.sum(axis=0), Allowance((len(terms) - 1) * p.u * size + p.subnormal))


def _was_handed_in(network: Architecture, k: int, present: Collection[str], letter: str) -> bool:
    """Whether a letter of layer k is known; what enters it is known, too, as what left the layer before."""
    name = TensorName.of(k, network.layers[k].letters[letter])
    return name in present or network.takes(k).get(name.part) in present


def _update(network: Architecture, optimizer: OptimizerSpec, step: int, present: Collection[str]) -> Iterator[Rule]:
    for before in network.parameters():
        states = [before.with_state(state) for state in optimizer.kept]
        held = [state for state in states if step > 1 or state in present]
        for part in (*optimizer.kept, ""):
            compute = partial(_updated, optimizer, step, tuple(state.state for state in held), part)
            sources, formula = (before, before.gradient, *held), optimizer.method.parts[part]
            name = before.new.with_state(part)
            yield Rule(name, before.layer, "update", "update", sources, compute, formula)


def _updated(
    optimizer: OptimizerSpec,
    step: int,
    held: tuple[str, ...],
    part: str,
    before: Array,
    g: Array,
    *state: Array,
    p: Precision,
) -> Expected:
    named = dict(zip(held, state, strict=True))
    return optimizer.method.update(optimizer.options, step, before, g, named, p)[part]
