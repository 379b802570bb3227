"""Evidence: what is known about one tensor that is off, from a step that was judged and the step before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from compare.judging.judged_step import JudgedStep, Wrong
from compare.judging.verdict import Row
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.operations.letters import Absent, Letters
from compare.operations.operation import Layer


class Evidence(Letters):
    """One wrong tensor of one step, with the step before for what may have been kept from it."""

    name: TensorName

    def __init__(self, row: Row, steps: Sequence[JudgedStep], wrong: Wrong | None = None) -> None:
        self.row = row
        self.judged = next(s for s in steps if s.record.step == row.step)
        self.previous = next((s for s in steps if s.record.step == row.step - 1), None)
        self.wrong: Wrong = wrong or self.judged.judgement(row.check, row.tensor)
        self.record, self.network = self.judged.record, self.judged.record.network
        self.name, self.kind, self.step = TensorName(row.tensor), row.kind, row.step
        self.p, self.got = self.wrong.precision, self.wrong.got
        self.k = int(row.layer) if row.layer.isdigit() else len(self.network.layers) - 1
        self.touched, self.changed_by = self.record.touched, self.record.changed_by

    @classmethod
    def of(cls, row: Row, steps: Sequence[JudgedStep]) -> Self | None:
        """Of a row that is off; None where the arrays behind it were not kept."""
        kept = any(s.record.step == row.step and (row.check, row.tensor) in s.wrong for s in steps)
        return cls(row, steps) if kept else None

    @property
    def ref(self) -> Bounded:
        return Bounded(self.wrong.expected.value, self.wrong.expected.allowance.wide, self.p)

    @property
    def place(self) -> str:
        """Where in a step it is: "linear.grad_weight", "loss", "loss.gradient", "update.exp_avg", "input", ..."""
        if self.row.check == "side_effects":
            return "side_effects"
        if self.name in ("loss", "input", "target"):
            return self.name
        if self.name.is_new and self.row.check == "update":
            return f"update.{self.name.state or 'parameter'}"
        if self.row.check == "wiring":
            return "given" if self.name in self.network.parameters() | self.network.buffers() else "passed"
        if self.row.layer == "loss":
            return "loss.gradient"
        if self.name.part == "grad_output":
            return "returned"
        return f"{self.network.layers[self.k].kind}.{self.name.part}"

    @cached_property
    def operation(self) -> Any:
        """What computes it."""
        if self.name.is_new and self.row.check == "update" and self.record.optimizer:
            return self.record.optimizer.method
        return self.network.loss if self.row.layer == "loss" else self.network.layers[self.k]

    @property
    def layer(self) -> Layer | None:
        """The layer by whose formula it is computed; None where it is a loss's, an update's, or a copy."""
        operation = self.operation
        is_own = isinstance(operation, Layer) and self.place.startswith(f"{operation.kind}.")
        return operation if is_own else None

    @property
    def options(self) -> Mapping[str, float | bool]:  # type: ignore[override]
        return self.record.optimizer.options if self.record.optimizer else {}

    def tensor(self, name: str) -> Bounded:
        return _bounded(self.judged, name, self.p)

    def before(self, name: str) -> Bounded:
        if self.previous is None:
            raise Absent(name)
        return _bounded(self.previous, name, self.p)

    def now(self, name: str) -> Bounded:
        if name not in self.record.touched:
            raise Absent(name)
        return Bounded.of(self.record.touched[name], self.p)

    def has(self, name: str) -> bool:
        return name in self.judged.known

    def values(self) -> Iterator[tuple[str, Array]]:
        return ((name, known.value) for name, known in self.judged.known.items())

    @property
    def is_first(self) -> bool:
        return self.previous is None


def _bounded(judged: JudgedStep, name: str, p: Any) -> Bounded:
    if name not in judged.known:
        raise Absent(name)
    known = judged.known[name]
    value = np.asarray(known.value, dtype=np.float64)
    return Bounded(value, known.allowance.wide if known.allowance else np.zeros_like(value), p)
