"""Values: what each expression of rewritten code computed, from which values, told to a sink as a growing graph.

A value is known by the object that holds it: arrays, floats and lists of numbers. An array that was written into is a
new value of the same object. Whole numbers, which Python shares, are constants.
"""

from __future__ import annotations

import builtins
import operator
import time
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from types import BuiltinMethodType, GeneratorType, MethodType, MethodWrapperType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.watching.held_arrays import as_array, attribute, fingerprint
from compare.watching.rewriting import PREFIX, Site

Array = NDArray[Any]
Operand = int | list[float]  # a value's number, or [constant]
Parts = tuple[Any, ...] | None  # what is unpacked, see rewriting

CONTAINED = 16  # values of one container that count as operands
CHECKED = 1 << 10  # visits of exhausted sites between two looks at the clock
SEEN, CHANGED = -1, -2  # in the place of a site: was there before; was written into where no line shows it
CALLED = (
    *("binary", "unary", "call", "loop", "attr", "getitem", "setitem", "whole", "gather", "bind", "items", "opened"),
    *("part_attr", "augment_attr", "part_item", "augment_item"),
)
METHODS = (BuiltinMethodType, MethodType, MethodWrapperType)
LOOPED = (np.ndarray, list, zip, enumerate)  # where a loop may find numbers that nothing has told yet
SUMMED = (sum, max, min)
TERMS = 1000  # of what a generator gives to these, those that are seen
LIBRARIES = ("torch", "pandas", "tensorflow", "jax")


@dataclass
class ValueLimits:
    """visits: of one site. total: values. bytes: of arrays. patience: seconds in which only exhausted sites run."""

    visits: int = 400
    total: int = 120_000
    bytes: int = 1 << 28
    patience: float = 0.4
    enough: float = 4.0  # seconds after which a loop that was seen a few times was seen enough
    rounds: int = 4  # of a site: a few times


@dataclass
class Held:
    """What an object holds: its value's number, and the mark by which a change is seen."""

    owner: Any  # the object, or a weak reference to it
    mark: Hashable
    number: int
    pending: list[Operand] = field(default_factory=list)  # what was stored into its elements since

    def is_of(self, value: Any) -> bool:
        return (self.owner() if type(self.owner) is weakref.ref else self.owner) is value


class Values:
    """Numbers every value; `sink` gets (site, operands, array or None for a constant's), `name` its names."""

    def __init__(
        self,
        sites: Sequence[Site],
        limits: ValueLimits,
        sink: Callable[[int, Sequence[Operand], Array, Hashable], None],
        name: Callable[[int, int, str], None],
        stop: Callable[[str], None],
    ) -> None:
        self.sites, self.limits, self.sink, self.name, self.stop = sites, limits, sink, name, stop
        self.visits: list[int] = []
        self.held: dict[int, Held] = {}
        self.written: dict[int, int] = {}  # what an object held -> what it held next
        self.count = 0
        self.bytes = 0
        self.exhausted = 0
        self.fresh = self.begun = time.monotonic()
        self.is_on = True

    # --- called by rewritten code -------------------------------------------------------------------------------------

    def binary(self, site: int, a: Any, b: Any, /) -> Any:
        op = _operator(self.sites[site].what)
        if not self._wanted(site):
            return op(a, b)
        operands = [*self._operands(a), *self._operands(b)]
        return self._made(site, op(a, b), operands)

    def unary(self, site: int, a: Any, /) -> Any:
        op = _operator(self.sites[site].what)
        if not self._wanted(site):
            return op(a)
        operands = list(self._operands(a))
        return self._made(site, op(a), operands)

    def call(self, site: int, function: Any, /, *args: Any, **keywords: Any) -> Any:
        if type(function) is BuiltinMethodType and function.__name__ == "resize":
            return self._resized(site, function, *args, **keywords)
        if not self._wanted(site):
            return function(*args, **keywords)
        seen = args
        if args and type(args[0]) is GeneratorType and any(function is each for each in SUMMED):
            first = list(islice(args[0], TERMS))
            seen, args = (*first, *args[1:]), (chain(first, args[0]), *args[1:])
        values = (*_owner(function), *seen, *keywords.values())
        operands = [operand for value in values for operand in self._operands(value)]
        result = function(*args, **keywords)
        if result is None:  # np.add.at(W, ...), x.sort(): what it wrote into
            for value in values:
                if isinstance(value, np.ndarray):
                    self._changed(site, value, operands)
        for value in values:
            if type(value) in (list, dict):
                self._put(site, value, operands)
        if type(result) is list:
            operands += self._base(result)
        return self._made(site, result, operands)

    def _put(self, site: int, container: Any, operands: Sequence[Operand]) -> None:
        """Arrays that a call put into a container."""
        parts = container.values() if type(container) is dict else container
        for part in list(islice(parts, CONTAINED)):
            if isinstance(part, np.ndarray) and self._known(part) is None:
                self._made(site, part, operands)

    def _resized(self, site: int, resize: Any, /, *args: Any, **keywords: Any) -> Any:
        """NumPy resizes no array that has a weak reference, or more references than its user's."""
        number = self._forget(resize.__self__)
        result = resize(*args, **keywords)
        array = _array(resize.__self__)
        if number is not None and array is not None and self.is_on:
            mark = fingerprint(array)
            self._keep(resize.__self__, mark, self._new(site, [number], array, mark))
        return result

    def _forget(self, value: Any) -> int | None:
        held = self._known(value)
        return self.held.pop(id(value)).number if held is not None else None

    def loop(self, site: int, taken: int, function: Any, /, *args: Any, **keywords: Any) -> Any:
        """A call of zip, enumerate or map, if it is Python's own."""
        if function is zip or function is enumerate or function is map:
            args = tuple(self.items(taken, each, None) for each in args)
        return self.call(site, function, *args, **keywords)

    def attr(self, site: int, owner: Any, name: str, /) -> Any:
        value = getattr(owner, name)
        if (isinstance(owner, np.ndarray) or _of_library(owner)) and self._wanted(site):
            return self._made(site, value, list(self._operands(owner)))
        return value

    def getitem(self, site: int, owner: Any, index: Any, /) -> Any:
        value = owner[index]
        if not self._wanted(site):
            return value
        if isinstance(value, np.generic | float):
            return self._made(site, value, [*self._quick(owner), *self._indices(index)])
        if isinstance(owner, np.ndarray | list | tuple | type(np.c_) | type(np.r_)) or _of_library(owner):
            return self._made(site, value, [*self._operands(owner), *self._indices(index)])
        return value

    def setitem(self, site: int, value: Any, owner: Any, index: Any, /) -> None:
        if not self._wanted(site) or not (isinstance(owner, np.ndarray | list) or _of_library(owner)):
            owner[index] = value
            return
        if _is_element(owner, index):
            if self._known(owner) is None:
                list(self._operands(owner))
            stored = list(self._operands(value))
            for holder in (owner, getattr(owner, "base", None)):  # W[i][j] = v stores into W
                if (held := self._known(holder)) is not None:
                    held.pending += stored
            owner[index] = value
            return
        stored = list(self._operands(value))
        held, array = self._known(owner), _array(owner)
        if held is not None and array is not None and held.mark != fingerprint(array):
            held.pending += stored  # w[:] -= v has written into w already
        operands = [*self._operands(owner), *stored, *self._indices(index)]
        owner[index] = value
        self._made(site, owner, operands)

    def part_attr(self, owner: Any, name: str, /) -> tuple[Any, ...]:
        return owner, name, getattr(owner, name)

    def augment_attr(self, op: int, bind: int, owner: Any, name: str, now: Any, value: Any, /) -> None:
        setattr(owner, name, self.bind(bind, self.binary(op, now, value)))

    def part_item(self, site: int, owner: Any, index: Any, /) -> tuple[Any, ...]:
        return owner, index, self.getitem(site, owner, index)

    def augment_item(self, op: int, bind: int, store: int, owner: Any, index: Any, now: Any, value: Any, /) -> None:
        self.setitem(store, self.bind(bind, self.binary(op, now, value)), owner, index)

    def items(self, site: int, values: Any, parts: Parts, /) -> Any:
        """What is looped over; each number that is taken from it is a value."""
        kind = type(values)
        is_looped = (kind in LOOPED or _of_library(values)) and self._wanted(site)
        if is_looped and (_is_of_numbers(values) or _is_opened(kind, parts)):
            return self._taken(site, values, parts)
        return values

    def _taken(self, site: int, values: Any, parts: Parts) -> Iterator[Any]:
        for k, value in enumerate(values):
            if not self._wanted(site):
                yield value
            elif isinstance(value, np.generic | float):
                yield self._made(site, value, [*self._quick(values), [float(k)]])
            else:
                yield self.opened(site, value, parts)

    def opened(self, site: int, value: Any, parts: Parts, /) -> Any:
        """What is to be unpacked: of an array of numbers, these, each a value that comes from it."""
        if parts is not None and type(value) is tuple and len(value) == len(parts):
            return tuple(self.opened(site, each, its) for each, its in zip(value, parts, strict=True))
        if parts is not None and type(value) is np.ndarray and value.shape == (len(parts),) and _is_of_numbers(value):
            return tuple(self._taken(site, value, None))
        return value

    def whole(self, site: int, value: Any, /) -> Any:
        if self._wanted(site) and type(value) is list and as_array(value) is not None:
            parts = [operand for part in value for operand in self._operands(part)]
            return self._made(site, value, parts)
        return value

    def gather(self, site: int, value: Any, /, *path: str) -> None:
        if not self._wanted(site):
            return
        for name in path:
            value = attribute(value, name)
        if isinstance(value, np.ndarray | list):
            list(self._operands(value, site))

    def bind(self, site: int, value: Any, /) -> Any:
        names = self.sites[site].names
        if self._wanted(site):
            if len(names) == 1:
                self._named(site, names[0], value)
            elif type(value) in (tuple, list) and len(value) == len(names):
                for name, part in zip(names, value, strict=True):
                    if name:
                        self._named(site, name, part)
        return value

    # --- called by who watches ----------------------------------------------------------------------------------------

    def see(self, value: Any) -> int:
        """The number of an array, number or list of numbers as it is now."""
        array = _array(value)
        assert array is not None
        return self._number(value, array, SEEN)

    def known(self, value: Any) -> int | None:
        """Its number, where it has one."""
        held = self._known(value)
        return None if held is None else held.number

    def see_changed(self) -> None:
        """Look once more at every array that is still there."""
        for held in list(self.held.values()):
            value = held.owner() if type(held.owner) is weakref.ref else held.owner
            if isinstance(value, np.ndarray | list) and held.is_of(value):
                self.see(value)

    # --- what becomes a value -----------------------------------------------------------------------------------------

    def _named(self, site: int, name: str, value: Any) -> None:
        if type(value) in (int, bool):
            self.name(site, self._new(site, (), np.asarray(value), None), name)
            return
        array = _array(value)
        if array is not None:
            self.name(site, self._number(value, array, site), name)
        elif type(value) in (list, tuple, dict):
            parts = value.items() if type(value) is dict else enumerate(value)
            for key, part in islice(parts, CONTAINED):
                if type(part) not in (int, bool) and _array(part) is not None:
                    self._named(site, f"{name}[{key!r}]" if type(key) in (str, int) else f"{name}[...]", part)

    def _made(self, site: int, value: Any, operands: Sequence[Operand]) -> Any:
        """Number a result, unless it is a value that is known already, unchanged."""
        array = _array(value)
        if array is None or type(value) in (int, bool) or type(value) is tuple:
            return value
        mark = fingerprint(array)
        held = self._known(value)
        if held is None or held.mark != mark or held.pending:
            more = [*held.pending] if held is not None else []
            self._keep(value, mark, self._new(site, [*operands, *more], array, mark))
        return value

    def _changed(self, site: int, value: Array, operands: Sequence[Operand]) -> None:
        held, array = self._known(value), _array(value)
        if held is not None and array is not None and held.mark != (mark := fingerprint(array)):
            self._keep(value, mark, self._new(site, operands, array, mark))

    def _operands(self, value: Any, site: int = SEEN) -> Iterator[Operand]:
        """The numbers of what a value holds, as it is now."""
        kind = type(value)
        if kind in (int, bool):
            yield [float(value)] if -(2**53) < value < 2**53 else [0.0]
            return
        array = _array(value)
        if array is not None:
            yield self._number(value, array, site)
        elif kind in (list, tuple, dict):
            parts = list(value.values() if kind is dict else value)[:CONTAINED]
            for part in parts:
                if _array(part) is not None and type(part) not in (int, bool):
                    yield from self._operands(part, site)
        elif _of_library(value) and (frame := _frame(value)) is not None:
            yield from self._operands(frame, site)

    def _indices(self, index: Any) -> list[Operand]:
        """Of an index, each of its parts."""
        parts = index if type(index) is tuple else (index,)
        return [operand for part in parts for operand in self._operands(part)]

    def _number(self, value: Any, array: Array, site: int) -> int:
        mark, held = fingerprint(array), self._known(value)
        if held is None:
            return self._keep(value, mark, self._new(site, self._base(value), array, mark))
        if held.mark != mark:
            stored = [*held.pending, *self._stored_below(value)]
            base = self._base(value) if not stored else []
            return self._keep(value, mark, self._new(CHANGED, [held.number, *stored, *base], array, mark))
        return held.number

    def _base(self, value: Any) -> list[Operand]:
        """What an array is a view of, as it is now; of a list, its parts."""
        if isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):
            held, array = self._known(value.base), _array(value.base)
            return [self._number(value.base, array, SEEN)] if held is not None and array is not None else []
        if type(value) is list:
            return [held.number for part in value if (held := self._known(part)) is not None]
        return []

    def _stored_below(self, value: Any) -> list[Operand]:
        """Of a list of lists, what was stored into the inner ones, and what they hold that is known."""
        found: list[Operand] = []
        for part in value if type(value) is list else ():
            if type(part) is list:
                held = self._known(part)
                found += (held.pending if held is not None else []) + self._stored_below(part)
            elif (held := self._known(part)) is not None:
                found.append(held.number)
        return found

    def _quick(self, owner: Any) -> list[Operand]:
        """An array from which one element is taken, without a look at the rest of it."""
        held = self._known(owner)
        if held is not None:
            return [held.number, *held.pending[-1:]]
        return [o for o in self._operands(owner) if type(o) is int]

    def _known(self, value: Any) -> Held | None:
        held = self.held.get(id(value))
        return held if held is not None and held.is_of(value) else None

    def _keep(self, value: Any, mark: Hashable, number: int) -> int:
        try:
            owner: Any = weakref.ref(value)
        except TypeError:
            owner = value
        before = self._known(value)
        if before is not None:
            self.written[before.number] = number
        self.held[id(value)] = Held(owner, mark, number)
        return number

    def _new(self, site: int, operands: Iterable[Operand], array: Array, mark: Hashable) -> int:
        self.fresh = time.monotonic()
        self.count += 1
        self.bytes += array.nbytes if array.ndim else 0
        self.sink(site, list(operands), array, mark)
        if self.count >= self.limits.total:
            self._stop(f"stopped after {self.count} values")
        elif self.bytes > self.limits.bytes:
            self._stop(f"stopped after {self.bytes / 1e6:.0f} MB of values")
        return self.count - 1

    # --- limits -------------------------------------------------------------------------------------------------------

    def _wanted(self, site: int) -> bool:
        if not self.is_on:
            return False
        visits = self.visits
        while len(visits) <= site:
            visits.append(0)
        visits[site] += 1
        if visits[site] <= self.limits.rounds:
            return True
        if visits[site] <= self.limits.visits:
            if visits[site] % 8 == 0 and time.monotonic() - self.begun > self.limits.enough:
                place = self.sites[site].place
                self._stop(f"stopped after {self.limits.enough:g} s, and {visits[site]} values of {place}")
            return True
        self.exhausted += 1
        if self.exhausted % CHECKED == 0 and time.monotonic() - self.fresh > self.limits.patience:
            self._stop(f"stopped after {self.limits.visits} values of {self.sites[site].place}")
        return False

    def _stop(self, reason: str) -> None:
        self.is_on = False
        self.stop(reason)

    def install(self) -> None:
        """What rewritten code calls, where it finds it: among Python's own names."""
        for name in CALLED:
            setattr(builtins, PREFIX + name, getattr(self, name))
        setattr(builtins, PREFIX + "slice", slice)
        setattr(builtins, PREFIX + "Exception", Exception)


def _owner(function: Any) -> tuple[Any, ...]:
    """What a method is of; a function of a module has none."""
    owner = function.__self__ if type(function) in METHODS else None
    return () if owner is None or type(owner) is ModuleType else (owner,)


def _operator(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(operator, name)
    return found


def _array(value: Any) -> Array | None:
    if _of_library(value):
        return _from_library(value)
    return as_array(value)


def _of_library(value: Any) -> bool:
    return _library(value) in LIBRARIES


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _frame(value: Any) -> Any:
    """The frame that df.iloc, df.loc or df.groupby(...) goes into; None of anything else."""
    frame = getattr(value, "obj", None) if _library(value) == "pandas" else None
    return frame if hasattr(type(frame), "__array__") else None


def _from_library(value: Any) -> Array | None:
    if not hasattr(type(value), "__array__"):
        return None
    try:
        value = value.detach() if hasattr(value, "detach") else value
        return as_array(np.asarray(value))
    except Exception:
        return None


def _is_of_numbers(values: Any) -> bool:
    """Whether the elements of an array, series or list are numbers, and of a list not all of them whole."""
    array = _array(values)
    return array is not None and array.ndim == 1 and (type(values) is not list or array.dtype.kind == "f")


def _is_opened(kind: type, parts: Parts) -> bool:
    """Whether a loop unpacks what may be an array."""
    return parts is not None and (kind is np.ndarray or any(each is not None for each in parts))


def _is_element(owner: Any, index: Any) -> bool:
    """Whether one number is stored into an array or a list."""
    if type(owner) is list:
        return type(index) is int
    if not isinstance(owner, np.ndarray):
        return False
    parts = index if type(index) is tuple else (index,)
    return len(parts) == owner.ndim and all(type(p) is int or isinstance(p, np.integer) for p in parts)
