"""Shapes: those that the network gives the tensors of a step, and a tensor that has another."""

from __future__ import annotations

from dataclasses import dataclass

from compare.network.architecture import Architecture
from compare.network.passing import passed
from compare.network.tensor_name import TensorName
from compare.operations import STATES
from compare.operations.operation import ANY, Shape


@dataclass(frozen=True)
class OtherShape:
    """A tensor whose shape is not what the network gives it."""

    found: tuple[int, ...]
    expected: tuple[int, ...]

    @property
    def is_transposed(self) -> bool:
        """Whether its axes are in the other order."""
        return self.expected == self.found[::-1]

    def __str__(self) -> str:
        return f"shape {self.found}, expected {str(self.expected).replace(str(ANY), 'any')}"


class ShapeMismatch(ValueError):
    """A source's shape is not what the network gives it."""


def shapes(network: Architecture, x: Shape | None) -> dict[str, Shape]:
    """The shapes that the network gives the tensors of a step, for an input of shape x; the target has none."""
    found: dict[str, Shape] = {"loss": ()}
    for name, shape in network.parameters().items():
        states = (of.with_state(state) for of in (name, name.new) for state in STATES)
        found |= dict.fromkeys((name, name.gradient, name.new, *states), shape)
    for name, shape in network.buffers().items():
        found |= dict.fromkeys((name, name.new), shape)
    for k, (entering, leaving) in enumerate(passed(network.layers, x)):
        if entering is not None and leaving is not None:
            found |= dict.fromkeys((TensorName.of(k, "input"), f"{k}.input", f"{k}.grad_input"), entering)
            drawn = (f"{k}.{part}" for part in network.layers[k].drawn)
            found |= dict.fromkeys((f"{k}.output", f"{k}.grad_output", *drawn), leaving)
    return found
