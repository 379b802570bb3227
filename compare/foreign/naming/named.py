"""Named: an array that was found to be a tensor of the step; Names, all that were found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.layout import View
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.watching.observation import Observation

Array = NDArray[Any]


@dataclass(frozen=True)
class Named:
    """A tensor's array, in torch's layout, and where it was seen. The array is `scale` x torch's."""

    observation: Observation
    view: View
    scale: float = 1.0
    equal: bool = True  # equal to what it should be, up to rounding and the scale
    bound: bool = True  # seen; not computed in the place of a value that no line bound
    rate: float = 1.0  # the learning rate that is part of the scale

    @property
    def factor(self) -> float:
        """The scale without the learning rate."""
        return self.scale / self.rate

    @property
    def value(self) -> Array:
        """In float64, without the scale."""
        return np.asarray(self.view.array, dtype=np.float64) / self.scale

    @property
    def target(self) -> Array:
        """As a target: class numbers (m,) as they are, anything else in float64."""
        return self.view.array if self.view.array.ndim == 1 else self.value


@dataclass
class Names:
    """What was found: record name -> Named, and the step's size."""

    network: Architecture
    tensors: dict[str, Named] = field(default_factory=dict)
    m: int = 0
    rate: float | None = None  # of plain gradient descent on torch's gradient, where the weights moved so
    guard: float = 0.0  # what the reported loss adds inside its logarithms, or clips at, to keep them finite
    unbiased: list[int] = field(default_factory=list)  # layers that have no bias, whatever the network's text says
    optimizer: OptimizerSpec | None = None  # where the step is none of plain gradient descent
    slack: dict[str, Array] = field(default_factory=dict)  # rounding of what is written otherwise, or taken off
    recovered: dict[str, Array] = field(default_factory=dict)  # gradients read off the weights' change: its rounding

    @property
    def score(self) -> tuple[int, int, int]:
        """To choose between attempts: tensors of the step that are right, samples, and the earlier input."""
        right = sum(named.equal for name, named in self.tensors.items() if ".new_" not in name)
        return right, self.m, -self.tensors["input"].observation.time

    def values(self) -> dict[str, Array]:
        """What reference rules are computed from."""
        return {name: plain(name, named) for name, named in self.tensors.items()}


def plain(name: str, named: Named) -> Array:
    """A tensor as reference rules take it."""
    return named.target if name == "target" else named.value


def earliest(found: Iterable[Named]) -> list[Named]:
    """In order of time; of arrays with the same values, the earliest."""
    return distinct(sorted(found, key=lambda named: named.observation.time))


def distinct(found: Iterable[Named]) -> list[Named]:
    """Of arrays with the same values, the first that is given."""
    kept: dict[tuple[bytes, str], Named] = {}
    for named in found:
        kept.setdefault((named.view.array.tobytes(), named.view.array.dtype.char), named)
    return list(kept.values())


def most(numbers: Sequence[float]) -> float:
    """The number that is there most often; of several, the first."""
    return max(numbers, key=numbers.count)


def parameter_of(gradient: str) -> str:
    """0.grad_weight -> 0.weight."""
    return gradient.replace("grad_", "")


def split(name: str) -> tuple[str, str]:
    """0.grad_weight -> 0, grad_weight."""
    head, _, part = name.partition(".")
    return head, part
