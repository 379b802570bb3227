"""TensorName: the name of a tensor of a training step, as in a torch state_dict, and what it says.

`input`, `target`, `loss`; of layer 0 `0.input`, `0.output`, `0.weight`, `0.grad_output`, `0.grad_input`,
`0.grad_weight`, and `0.mask` where it draws one; the optimiser's state before the step `0.weight.exp_avg`, and after it
`0.new_weight`, `0.new_weight.exp_avg`. What entered layer 0 is `input`.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["input", "output", "parameter", "gradient", "loss", "update"]


class TensorName(str):
    """A name, which is a text like any other in records and files, with its parts."""

    __slots__ = ()

    @classmethod
    def of(cls, layer: int | str, part: str) -> TensorName:
        """The tensor `part` of a layer."""
        return cls("input" if part == "input" and int(layer) == 0 else f"{layer}.{part}")

    @property
    def layer(self) -> str:
        """ "0", "1", ...; what enters the network belongs to layer 0, target and loss to "loss"."""
        head = self.partition(".")[0]
        return head if head.isdigit() else "0" if self == "input" else "loss"

    @property
    def part(self) -> str:
        """What it is of its layer: "weight", "grad_weight", "output"; of an update "new_weight", without its state."""
        return self.partition(".")[2].partition(".")[0] or str(self)

    @property
    def state(self) -> str:
        """The optimiser's state that it is, such as "exp_avg"; "" for none."""
        return self.partition(".")[2].partition(".")[2]

    @property
    def is_gradient(self) -> bool:
        return self.part.startswith("grad_")

    @property
    def is_new(self) -> bool:
        """Whether it is of after the optimiser's step."""
        return self.part.startswith("new_")

    @property
    def parameter(self) -> TensorName:
        """Of a parameter, its gradient, its state or its new value: the parameter's name."""
        part = self.part.removeprefix("grad_").removeprefix("new_")
        return TensorName(f"{self.partition('.')[0]}.{part}")

    @property
    def gradient(self) -> TensorName:
        """0.weight -> 0.grad_weight."""
        return TensorName(f"{self.partition('.')[0]}.grad_{self.parameter.part}")

    @property
    def new(self) -> TensorName:
        """0.weight -> 0.new_weight, 0.weight.exp_avg -> 0.new_weight.exp_avg: after the optimiser's step."""
        return TensorName(f"{self.partition('.')[0]}.new_{self.parameter.part}").with_state(self.state)

    @property
    def old(self) -> TensorName:
        """0.new_weight -> 0.weight, 0.new_weight.exp_avg -> 0.weight.exp_avg: what the next step begins with."""
        return self.parameter.with_state(self.state)

    def with_state(self, state: str) -> TensorName:
        """0.weight -> 0.weight.exp_avg; the name itself for ""."""
        return TensorName(f"{self}.{state}") if state else self

    @property
    def kind(self) -> Kind:
        """As the report's schema has it, for a tensor that was handed in."""
        if self in ("input", "target") or self.part in ("input", "other", "mask"):
            return "input"
        if self == "loss":
            return "loss"
        if self.is_gradient:
            return "gradient"
        return "output" if self.part == "output" else "update" if self.is_new or self.state else "parameter"


def of_torch(name: str) -> str:
    """A parameter's name in a state_dict, as a record has it: out_proj.weight -> out_proj_weight, 0.weight as it is.

    A dot after the layer's numbers would begin a state of the optimiser, so it is an underscore.
    """
    numbers, own = re.fullmatch(r"((?:\d+\.)*)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{numbers}{own.replace('.', '_')}"
