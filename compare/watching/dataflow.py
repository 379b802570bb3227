"""Dataflow: the values that a program computed, each with those from which it was computed, in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from compare.recording.place import Place, Span
from compare.watching.rewriting import Site

Array = NDArray[Any]


WRITTEN = ("setitem", "isub", "iadd", "imul", "itruediv")  # into the first operand


class Binding(NamedTuple):
    """A name that a value was given, where, and how many values there were then."""

    name: str
    site: Site
    time: int


@dataclass(eq=False)
class Value:
    """What an expression computed. time: its number. operands: the values that it was computed from, in order.

    constants: the numbers among its operands. names: what it was bound to, in order. site: None for what
    was there before it was used. is_changed: the first operand, written into.
    """

    time: int
    site: Site | None
    array: Array
    operands: tuple[Value, ...] = ()
    constants: tuple[float, ...] = ()
    names: list[Binding] = field(default_factory=list)
    users: list[Value] = field(default_factory=list)
    is_changed: bool = False
    moves: int | None = None  # see foreign/flow/products.py
    elements: tuple[Value, ...] = ()  # the numbers that were gathered into it, see foreign/flow/gathered.py

    @property
    def what(self) -> str:
        """The operation: "matmul", "call:exp", "" for what was not computed."""
        if self.is_changed:
            return "changed"
        return self.site.what if self.site else ""

    @property
    def name(self) -> str:
        """As the code calls it; of what has no name, the operation."""
        if self.names:
            return self.names[0].name
        is_part = self.is_changed or self.what in WRITTEN
        return self.operands[0].name if is_part and self.operands else self.what

    @property
    def place(self) -> Place:
        """Where it was computed, else where it was bound; with the first name that it was given."""
        site = self.site or (self.names[0].site if self.names else None)
        if self.is_changed and site is None and len(self.operands) > 1:
            site = self.operands[-1].site
        if site is None:
            return Place("", 0, self.name or "a value")
        return Place(site.file, site.line, self.name, site.cell, _span(site))

    @property
    def size(self) -> int:
        return int(self.array.size)

    def __repr__(self) -> str:
        return f"<{self.time} {self.what} {self.name} {self.array.shape} line {self.site.line if self.site else 0}>"


@dataclass(frozen=True, eq=False)
class Dataflow:
    """All values of a run in order of time, how it ended in words, and the lines of every file that was watched.

    `complete` says whether the code ran to its end. `output` is the last part of what it printed. products: times of
    products that were gathered; None where all were computed as arrays.

    Of a call: `given` are its arguments, `left` what it returned or keeps; `replaced` has what stands in the place of a
    value that was there, `written` what an array became that was written into.
    """

    values: tuple[Value, ...]
    ended: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    complete: bool = False
    output: str = ""
    given: tuple[Value, ...] = ()
    left: tuple[Value, ...] = ()
    replaced: Mapping[int, Value] = field(default_factory=dict)
    written: Mapping[int, Value] = field(default_factory=dict)
    products: frozenset[int] | None = None
    unseen: tuple[str, ...] = ()  # of a script: what it may compute, and nothing shows


def _span(site: Site) -> Span | None:
    """From where to where an expression reaches; None of a binding, and where its end is not told."""
    if site.what == "bind" or site.is_loop or site.is_handed:
        return None
    return Span(site.column, site.end_line, site.end_column)


FILLED = ("list", "gather", "changed", "setitem")  # what these make holds other values as its elements


def with_elements(value: Value) -> list[Value]:
    """A value, and the numbers that a list was made of or an array filled with: code may go on with these."""
    if value.elements:
        return [value, *value.elements]
    if value.what not in FILLED:
        return [value]
    return [value, *(o for o in value.operands[value.what != "list" :] if o.size == 1)]


def before(values: Iterable[Value], stop: Iterable[Value] = (), since: int = -1) -> list[Value]:
    """All values from which these were computed, and these; none of `stop`, and nothing beyond them.

    Nor beyond what was there before the time `since`.
    """
    ended = {value.time for value in stop}
    found: dict[int, Value] = {}
    left = [value for value in values if value.time not in ended]
    while left:
        value = left.pop()
        if value.time not in found:
            found[value.time] = value
            operands = value.operands if value.time >= since else ()
            left += [o for o in operands if o.time not in ended and o.time not in found]
    return [found[time] for time in sorted(found)]


def after(values: Iterable[Value], until: int, but: Collection[Value] = ()) -> Iterator[Value]:
    """All values that were computed from these up to a time, and these; not by way of those in `but`."""
    found = {value.time: value for value in but}
    left = list(values)
    while left:
        value = left.pop()
        if value.time not in found and value.time <= until:
            found[value.time] = value
            left += [u for u in value.users if u.time not in found]
    return iter([found[time] for time in sorted(found.keys() - {value.time for value in but})])
