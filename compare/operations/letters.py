"""Letters: what is known of one tensor that is off, in the letters of the mathematics.

Formulas of mistakes are written in the letters of their operation, such as `x`, `W`, `b`, `y` and `dy` of a linear
layer; `t` is the target, `m` the rows and `n` the columns of the network's output, `ref` the correct value, `got` the
candidate's. A letter that was not handed in raises Absent, and the mistake is passed over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded


class Absent(LookupError):
    """A tensor that a formula needs is not there."""


class Letters(ABC):
    """The letters of one tensor `name` (a TensorName) of one `step`, which layer `k` computes in precision `p`.

    `got` is the candidate's tensor. `operation` is what computes it, `network` what it belongs to; `options` are those
    of the optimiser. `touched` names the tensors that were written into; `changed_by` says in which phase of the step.
    """

    name: Any
    kind: str
    step: int
    k: int
    p: Precision
    got: Array
    operation: Any
    network: Any
    options: Mapping[str, float | bool]
    touched: Collection[str]
    changed_by: Mapping[str, str]

    @property
    @abstractmethod
    def ref(self) -> Bounded:
        """What it should be."""

    @abstractmethod
    def tensor(self, name: str) -> Bounded:
        """The step's tensor of that name, the candidate's own or what stands in for it. Absent if there is none."""

    @abstractmethod
    def before(self, name: str) -> Bounded:
        """The same of the step before."""

    @abstractmethod
    def now(self, name: str) -> Bounded:
        """What a tensor had become after backward. Absent if it was left as it was."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether the step has a tensor of that name."""

    @abstractmethod
    def values(self) -> Iterator[tuple[str, Array]]:
        """Every tensor of the step."""

    @property
    @abstractmethod
    def is_first(self) -> bool:
        """Whether nothing is known of a step before."""

    def others(self, like: Bounded, parts: Collection[str]) -> Iterator[tuple[str, Bounded]]:
        """Tensors of the step other than `like` that have its shape, among those whose names end as given."""
        for name, value in self.values():
            fits = value.shape == like.shape and name.rpartition(".")[2] in parts
            if fits and name != self.name and not np.array_equal(value, like.value):
                yield name, self.tensor(name)

    # --- of a layer or a loss ---

    if TYPE_CHECKING:
        x: Bounded
        y: Bounded
        dy: Bounded
        W: Bounded
        b: Bounded
        rm: Bounded
        rv: Bounded
        z: Bounded
    else:

        def __getattr__(self, letter: str) -> Bounded:
            """A letter of the operation's own."""
            parts = object.__getattribute__(self, "operation").letters
            if letter not in parts:
                raise AttributeError(f"{letter}: {self.operation} has no such letter")
            return self.tensor(self.network.tensor_name(self.k, parts[letter]))

    @property
    def t(self) -> Bounded:
        """The target as rows, in the shape of the network's output."""
        target, output = self.tensor("target").value, self._output
        rows = np.eye(output.shape[1])[target.astype(int)] if target.ndim == 1 else target
        return Bounded.of(rows, self.p)

    @property
    def m(self) -> int:
        """Rows."""
        return len(self.tensor("input"))

    @property
    def n(self) -> int:
        """Columns of the network's output."""
        return self._output.shape[1]

    @property
    def count(self) -> float:
        """What the loss divides by."""
        target = self.tensor("target").value
        count: float = self.network.loss.divisor(target, self.m, self._output.value.size)
        return count

    @property
    def _output(self) -> Bounded:
        return self.tensor(f"{len(self.network.layers) - 1}.output")

    # --- of an update ---

    @property
    def part(self) -> str:
        """The optimiser's state concerned, "" for the parameter."""
        state: str = self.name.state
        return state

    @property
    def parameter(self) -> Any:
        """The parameter's name, "0.weight"."""
        return self.name.parameter

    @property
    def before_update(self) -> Bounded:
        """The parameter before the step."""
        return self.tensor(self.parameter)

    @property
    def g(self) -> Bounded:
        """Its gradient."""
        return self.tensor(self.parameter.gradient)

    @property
    def g_before(self) -> Bounded:
        """The gradient of the step before; zero before the first."""
        return self.g * 0.0 if self.is_first else self.before(self.parameter.gradient)

    def state(self, name: str) -> Bounded:
        """The optimiser's state before the step; zeros if there is none."""
        try:
            return self.tensor(self.parameter.with_state(name))
        except Absent:
            return self.before_update * 0.0

    def option(self, name: str) -> float:
        """A hyper-parameter of the optimiser. Absent if it has none of that name."""
        if name not in self.options:
            raise Absent(name)
        return float(self.options[name])
