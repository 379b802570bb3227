"""Two rates: code that updates inside backward, run once more from the same weights at half the learning rate.

A gradient does not depend on the rate. Where (before - after) / rate does, beyond rounding, weights were updated before
the gradient went back through them.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.flow.reading import Read
from compare.foreign.naming.named import Names
from compare.network.architecture import Architecture
from compare.network.tensor_name import TensorName
from compare.numbers.same_bits import same_bits
from compare.recording.notes import RateDependence

Array = NDArray[Any]

RATES = ("lr", "rate", "learning_rate", "learningrate", "eta", "alpha", "step_size")
DEPTH = 3  # of objects in objects that may hold the rate: network, layer, optimiser
ROUNDINGS = 4  # of a gradient, and of a step, at each rate: their product, its rounding, the difference, the quotient


def rates_of(candidate: Any) -> list[tuple[Any, str, float]]:
    """(owner, attribute, value) of every learning rate that an object and what it holds keep as an attribute."""
    return list(_rates(candidate, DEPTH, set()))


def _rates(value: Any, depth: int, seen: set[int]) -> Iterator[tuple[Any, str, float]]:
    if depth < 0 or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list | tuple):
        for part in value:
            yield from _rates(part, depth, seen)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _rates(part, depth - 1, seen)
    for name, part in getattr(value, "__dict__", {}).items():
        if is_rate(name) and isinstance(part, float) and part > 0:
            yield value, name, part
        elif not callable(part) or hasattr(part, "__dict__"):
            yield from _rates(part, depth - 1, seen)


def is_rate(name: str) -> bool:
    """Whether an attribute or argument is called like a learning rate."""
    return name.lower().strip("_") in RATES


def at_half_the_rate(candidate: Any) -> tuple[Any, tuple[float, float]] | None:
    """A copy of an object with half its learning rate, and both rates; None where it keeps none, or several."""
    halved = copy.deepcopy(candidate)
    found = rates_of(halved)
    values = {value for _, _, value in found}
    if len(values) != 1:
        return None
    for owner, name, value in found:
        try:
            setattr(owner, name, value / 2)
        except AttributeError:
            return None
    rate = values.pop()
    return halved, (rate, rate / 2)


def rate_argument(step: Callable[..., Any]) -> tuple[str, float] | None:
    """The argument of a function that is a learning rate, and its default."""
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return None
    found = [(p.name, p.default) for p in parameters if is_rate(p.name) and isinstance(p.default, float)]
    return found[0] if len(found) == 1 and found[0][1] > 0 else None


@dataclass(frozen=True)
class Run:
    """One step's tensors, new values included, by record name."""

    network: Architecture
    tensors: Mapping[str, Array]

    @property
    def updates(self) -> bool:
        """Whether weights were seen to change in the step."""
        return any(".new_" in name for name in self.tensors)


def run_of(names: Names, read: Read | None = None) -> Run:
    """A step, with new values as they are."""
    tensors = {name: named.view.array for name, named in names.tensors.items()}
    moves = read.update.moves if read is not None else ()
    return Run(names.network, tensors | {move.name.new: move.new for move in moves})


def depends_on_rate(
    one: Run, again: Callable[[], Run | None], rates: tuple[float, float]
) -> list[RateDependence]:
    """What depends on the rate: `one` step at the first, and the same step `again`, at the second."""
    other = again()
    found = dependence(one, other, rates) if other is not None else None
    return [found] if found else []


def dependence(one: Run, other: Run, rates: tuple[float, float]) -> RateDependence | None:
    """What depends on the rate, of two runs from the same weights on the same data.

    None too where the runs differ before their updates, or where no change is a multiple of the rate: the number that
    was halved is then no learning rate.
    """
    if not _alike_until_backward(one, other):
        return None
    found = {name: far for name in one.network.parameters() if (far := _difference(name, one, other, rates))}
    depends = {name for name, (far, allowed) in found.items() if far > allowed}
    linear = [k for k, layer in enumerate(one.network.layers) if layer.parameters()]
    last = max((int(name.partition(".")[0]) for name in depends), default=linear[-1])
    if last == linear[-1] or not any(int(name.partition(".")[0]) > last for name in found):
        return None
    worst = max(depends, key=lambda name: found[name][0] / max(found[name][1], 1e-300))
    return RateDependence(str(next(k for k in linear if k > last)), worst, rates, *found[worst])


def _alike_until_backward(one: Run, other: Run) -> bool:
    """Whether both runs have the same bits in what they begin with and what goes forward."""
    names = [n for n in one.tensors if n.endswith((".weight", ".bias", ".output")) or n in ("input", "target")]
    return all(
        name in other.tensors and same_bits(one.tensors[name], other.tensors[name])
        for name in names
    )


def _difference(name: TensorName, one: Run, other: Run, rates: tuple[float, float]) -> tuple[float, float] | None:
    """How far a parameter's change over the rate differs between the runs, and may, where it does most."""
    ends = [run.tensors.get(name.new) for run in (one, other)]
    if name not in one.tensors or ends[0] is None or ends[1] is None:
        return None
    before = np.asarray(one.tensors[name])
    u = float(np.finfo(before.dtype).eps) / 2
    gradients, allowed = [], np.zeros(before.shape)
    for end, rate in zip(ends, rates, strict=True):
        after = np.asarray(before if end is None else end, dtype=np.float64)
        gradients.append((before - after) / rate)
        allowed = allowed + u * (np.abs(before) + np.abs(after)) / rate + ROUNDINGS * u * np.abs(gradients[-1])
    far = np.abs(gradients[0] - gradients[1])
    at = np.unravel_index(int(np.argmax(far - allowed)), far.shape)
    return float(far[at]), float(allowed[at])
