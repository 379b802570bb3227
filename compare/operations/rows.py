"""Rows: letters of which every tensor is a matrix, where those of a layer have axes that it does not tell apart."""

from __future__ import annotations

from collections.abc import Iterator

from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.operations.letters import Letters
from compare.operations.mistake import Formula, Guess


def rows(a: Array) -> Array:
    """All axes but the last as one: (m, ..., n) -> (m ..., n)."""
    return a if a.ndim <= 2 else a.reshape(-1, a.shape[-1])


class Rows(Letters):
    """The same letters with the axes of each tensor but the last as one; `m` is the number of these rows."""

    def __init__(self, e: Letters) -> None:
        self._of = e
        self.name, self.kind, self.step, self.k, self.p = e.name, e.kind, e.step, e.k, e.p
        self.operation, self.network, self.options = e.operation, e.network, e.options
        self.touched, self.changed_by = e.touched, e.changed_by
        self.got = rows(e.got)

    @property
    def ref(self) -> Bounded:
        return self._of.ref.arranged(rows)

    def tensor(self, name: str) -> Bounded:
        return self._of.tensor(name).arranged(rows)

    def before(self, name: str) -> Bounded:
        return self._of.before(name).arranged(rows)

    def now(self, name: str) -> Bounded:
        return self._of.now(name).arranged(rows)

    def has(self, name: str) -> bool:
        return self._of.has(name)

    def values(self) -> Iterator[tuple[str, Array]]:
        return ((name, rows(a)) for name, a in self._of.values())

    @property
    def is_first(self) -> bool:
        return self._of.is_first

    @property
    def m(self) -> int:
        return len(self.x)


def by_rows(formula: Formula) -> Formula:
    """A formula that is written for matrices, where x may have more axes."""

    def guesses(e: Letters) -> Iterator[Guess]:
        shape, folded = e.ref.shape, rows(e.ref.value).shape
        found = formula(e if len(e.x.shape) == 2 else Rows(e))
        for guess, parameter in [(found, "")] if isinstance(found, Bounded) else found:
            yield guess.reshape(*shape) if guess.shape == folded else guess, parameter

    return guesses
