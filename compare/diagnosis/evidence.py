"""Evidence: what is known about one tensor that is off, in the letters of the mathematics.

Hypotheses are written in these letters: `x`, `W`, `b`, `y` and `dy` of the layer concerned, `t` the target, `m` rows
and `n` columns of the network's output, `ref` the correct value, `got` the candidate's. A letter that was not handed in
raises Absent, and the hypothesis is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.judging.sweep import Sweep, Wrong
from compare.judging.verdict import Row
from compare.numbers.bounded import Bounded
from compare.operations.reference import PER_SAMPLE

Array = NDArray[Any]


class Absent(LookupError):
    """A tensor that a hypothesis needs is not there."""


class Evidence:
    """One wrong tensor of one step, with the step before for what may have been kept from it."""

    def __init__(self, row: Row, sweeps: Sequence[Sweep], wrong: Wrong | None = None) -> None:
        self.row = row
        self.sweep = next(s for s in sweeps if s.record.step == row.step)
        self.previous = next((s for s in sweeps if s.record.step == row.step - 1), None)
        self.wrong: Wrong = wrong or self.sweep.judgement(row.check, row.tensor)
        self.p = self.wrong.precision
        self.network = self.sweep.record.network
        self.k = int(row.layer) if row.layer.isdigit() else len(self.network.layers) - 1

    # --- the tensor itself ---

    @property
    def got(self) -> Array:
        """The candidate's tensor."""
        return self.wrong.got

    @property
    def ref(self) -> Bounded:
        """What it should be."""
        return Bounded(self.wrong.expected.value, self.wrong.expected.allowance.wide, self.p)

    @property
    def place(self) -> str:
        """Where in a step it is: "linear.grad_weight", "loss", "loss.gradient", "update.exp_avg", "input", ..."""
        name, last = self.row.tensor, self.row.tensor.rpartition(".")[2]
        if self.row.check == "side_effects":
            return "side_effects"
        if name in ("loss", "input", "target"):
            return name
        if ".new_" in name:
            return f"update.{self.part or 'parameter'}"
        if self.row.check == "wiring":
            return "given" if last in ("weight", "bias") else "passed"
        if self.row.layer == "loss":
            return "loss.gradient"
        return f"{self.network.layers[self.k].kind}.{last}"

    @property
    def part(self) -> str:
        """Of an update: the optimiser's state concerned, "" for the parameter."""
        return self.row.tensor.partition(".new_")[2].partition(".")[2]

    # --- tensors by name ---

    def tensor(self, name: str) -> Bounded:
        """The step's tensor of that name, the candidate's own or what stands in for it."""
        return _bounded(self.sweep, name, self.p)

    def before(self, name: str) -> Bounded:
        """The same of the step before."""
        if self.previous is None:
            raise Absent(name)
        return _bounded(self.previous, name, self.p)

    def now(self, name: str) -> Bounded:
        """What a tensor had become after backward. Absent if it was left as it was."""
        if name not in self.sweep.record.touched:
            raise Absent(name)
        return Bounded.exact(self.sweep.record.touched[name], self.p)

    def others(self, like: Bounded, names: Sequence[str]) -> Iterator[tuple[str, Bounded]]:
        """Tensors of the step other than `like` that have its shape, among the names ending as given."""
        for name, known in self.sweep.known.items():
            fits = known.value.shape == like.shape and name.rpartition(".")[2] in names
            if fits and name != self.row.tensor and not np.array_equal(known.value, like.value):
                yield name, self.tensor(name)

    # --- the letters ---

    @property
    def x(self) -> Bounded:
        """What entered the layer."""
        return self.tensor("input" if self.k == 0 else f"{self.k}.input")

    @property
    def W(self) -> Bounded:
        """Its weight (out, in)."""
        return self.tensor(f"{self.k}.weight")

    @property
    def b(self) -> Bounded:
        """Its bias (out,)."""
        return self.tensor(f"{self.k}.bias")

    @property
    def y(self) -> Bounded:
        """What left the layer; for the loss, the network's output."""
        return self.tensor(f"{self.k}.output")

    @property
    def dy(self) -> Bounded:
        """The gradient of what left it."""
        return self.tensor(f"{self.k}.grad_output")

    @property
    def t(self) -> Bounded:
        """The target as rows, in the shape of the network's output."""
        target = self.tensor("target").value
        output = self.tensor(f"{len(self.network.layers) - 1}.output")
        rows = np.eye(output.shape[1])[target.astype(int)] if target.ndim == 1 else target
        return Bounded.exact(rows, self.p)

    @property
    def m(self) -> int:
        """Rows."""
        return len(self.tensor("input"))

    @property
    def n(self) -> int:
        """Columns of the network's output."""
        return self.tensor(f"{len(self.network.layers) - 1}.output").shape[1]

    @property
    def count(self) -> int:
        """What the loss divides by."""
        if self.network.reduction == "sum":
            return 1
        return self.m if self.network.loss in PER_SAMPLE else self.m * self.n

    # --- of an update ---

    @property
    def parameter(self) -> str:
        """Of an update: the parameter's record name, "0.weight"."""
        head, _, tail = self.row.tensor.partition(".new_")
        return f"{head}.{tail.partition('.')[0]}"

    @property
    def before_update(self) -> Bounded:
        """The parameter before the step."""
        return self.tensor(self.parameter)

    @property
    def g_before(self) -> Bounded:
        """The gradient of the step before; zero before the first."""
        layer, _, name = self.parameter.partition(".")
        return self.before(f"{layer}.grad_{name}") if self.previous else self.g * 0.0

    @property
    def g(self) -> Bounded:
        """Its gradient."""
        layer, _, name = self.parameter.partition(".")
        return self.tensor(f"{layer}.grad_{name}")

    def state(self, name: str) -> Bounded:
        """The optimiser's state before the step; zeros if there is none."""
        try:
            return self.tensor(f"{self.parameter}.{name}")
        except Absent:
            return self.before_update * 0.0

    def option(self, name: str) -> float:
        """A hyper-parameter of the optimiser. Absent if it has none of that name."""
        optimizer = self.sweep.record.optimizer
        if optimizer is None or name not in optimizer.options:
            raise Absent(name)
        return float(optimizer.options[name])


def _bounded(sweep: Sweep, name: str, p: Any) -> Bounded:
    if name not in sweep.known:
        raise Absent(name)
    known = sweep.known[name]
    value = np.asarray(known.value, dtype=np.float64)
    return Bounded(value, known.allowance.wide if known.allowance else np.zeros_like(value), p)
