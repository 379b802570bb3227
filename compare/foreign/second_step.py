"""Second step: what a script computes after its first update, when weights and biases are no longer what they began as.

Biases that begin as zeros hide that they are left out of the forward pass, or are never updated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.naming.named import Named, Names
from compare.network.tensor_name import TensorName
from compare.numbers.same_bits import same_bits
from compare.watching.observation import Observation

Array = NDArray[Any]


def observations(first: Names, seen: Sequence[Observation]) -> list[Observation]:
    """What the second step is found among: what was bound after the first, and what that step began with or left.

    Of the time before the first step, the last value of every variable; of the first step itself, what may be a
    parameter's new value. Old values of parameters are left out, and so are the first step's tensors.
    """
    begun, ended = _span(first)
    if ended < 0:
        return []
    gone = {id(n.observation.array) for name, n in first.tensors.items() if name not in ("input", "target", "loss")}
    gone -= {id(n.observation.array) for name, n in first.tensors.items() if ".new_" in name}
    moved = set(_moved(first))
    old = [first.tensors[name].observation.array for name in moved]
    held = {name: first.tensors[name] for name in first.network.parameters() if name in first.tensors}
    stay = {n.observation.name for name, n in held.items() if name not in moved}  # two biases may begin alike, as zeros
    shapes = {n.observation.array.shape for n in held.values()}
    before: dict[tuple[str, str, str], Observation] = {}
    kept: list[Observation] = []
    for o in seen:
        if o.time > ended:
            kept.append(o)
        elif o.name not in stay and any(same_bits(o.array, a) for a in old):
            continue
        elif o.time < begun:
            before[(o.name, o.file, o.function)] = o
        elif o.array.shape in shapes and id(o.array) not in gone:
            kept.append(o)
    return sorted([*before.values(), *kept], key=lambda o: o.time)


def _span(first: Names) -> tuple[int, int]:
    """When the first step's first output was bound, and its last gradient or new value."""
    outputs = [n.observation.time for name, n in first.tensors.items() if name.endswith(".output")]
    last = [n.observation.time for name, n in first.tensors.items() if ".grad_" in name or ".new_" in name]
    return min(outputs, default=-1), max(last, default=-1)


def _moved(first: Names) -> Iterator[str]:
    tensors = first.tensors
    return (name for name in first.network.parameters() if name in tensors and name.new in tensors)


def follows(first: Names, second: Names) -> bool:
    """Whether this is another step of the same kind: its weights are other ones, and all gradients are known."""
    known = {name for name in first.tensors if name.endswith((".weight", ".grad_weight", ".grad_bias"))}
    if first.m != second.m or not known <= set(second.tensors):
        return False
    if any(not second.tensors[name].equal for name in second.recovered):
        return False  # read off a variable that may stand for several parameters in turn
    return any(not _same(first, second, name) for name in first.network.parameters() if name.endswith("weight"))


def _same(first: Names, second: Names, name: str) -> bool:
    return same_bits(first.tensors[name].view.array, second.tensors[name].view.array)


def with_biases(first: Names, second: Names, seen: Sequence[Observation]) -> Names:
    """The second step, with the parameters that it computes without although the first one has them: its mistakes."""
    absent = [name for name in first.network.parameters() if name not in second.tensors]
    found = {name: named for name in absent if (named := _left_out(name, first, second, seen)) is not None}
    return replace(second, tensors=second.tensors | found, network=first.network, unbiased=first.unbiased)


def _left_out(name: str, first: Names, second: Names, seen: Sequence[Observation]) -> Named | None:
    """A parameter of the first step, as its variable holds it when the second computes its layer's output."""
    held, output = first.tensors.get(name), second.tensors.get(f"{name.partition('.')[0]}.output")
    if held is None or held.view.bias is not None or output is None:
        return None
    new = first.tensors.get(TensorName(name).new, held)
    variables = {held.observation.name, new.observation.name}
    now = [o for o in seen if o.name in variables and o.time < output.observation.time]
    if not now or now[-1].array.shape != held.observation.array.shape:
        return None
    view = replace(held.view, array=now[-1].array.reshape(held.view.array.shape))
    return replace(held, observation=now[-1], view=view)


def without_updates(second: Names) -> Names:
    """Updates are judged in the first step: in the second, a variable may stand for several parameters in turn."""
    tensors = {name: named for name, named in second.tensors.items() if ".new_" not in name}
    return replace(second, tensors=tensors, rate=None)


def never_updated(first: Names, second: Names) -> dict[str, Named]:
    """Parameters that begin the second step as they began the first, with a gradient, while others moved."""
    found: dict[str, Named] = {}
    for name in first.network.parameters():
        gradient, new = first.tensors.get(name.gradient), name.new
        if gradient is None or new in first.tensors or not np.any(gradient.view.array):
            continue
        if name in first.tensors and name in second.tensors and _same(first, second, name):
            found[new] = first.tensors[name]
    return found if first.rate is not None else {}


def unmoved(first: Names, second: Names) -> list[str]:
    """Parameters of which no gradient was seen and that begin both steps alike, while others moved."""
    if first.rate is None:
        return []
    held = [name for name in first.network.parameters() if name in first.tensors and name in second.tensors]
    seen = {name for name in held if name.gradient in first.tensors or name.new in first.tensors}
    return [name for name in held if name not in seen and _same(first, second, name)]
