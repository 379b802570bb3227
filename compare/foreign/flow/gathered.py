"""Gathered: of a program that computes number by number, the arrays that it never makes.

A sum of products is one element of a layer's output. Sums of one line that have the same factors on one side are a
layer's, and the others are its weights. From these and from the weights of the step before, what was computed in the
same way for every element is an array: of the same operations, at the same lines, of the same operands.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.flow.products import VIEWS
from compare.network.architecture import Architecture
from compare.operations.linear import Linear
from compare.watching.dataflow import FILLED, Array, Binding, Dataflow, Value
from compare.watching.rewriting import Site

Cells = NDArray[Any]  # of values that are one number each
Factors = tuple[Value, Value]

SUMS = ("add", "iadd", "call:sum", "call:fsum")
PRODUCTS = ("mul", "imul", "call:multiply")
SHIFTS = ("sub", "isub")
HOLDERS = ("list", "changed", "gather", "")
STORED = ("gather", "changed", "setitem")
UPDATES = ("sub", "isub", "add", "iadd")
DEEP = 200  # operations behind one number that are followed for all of an array
BEHIND = 8  # operations between a weight and what it becomes
LAYERS = 600  # layers' outputs that are gathered


def gathered(flow: Dataflow, network: Architecture) -> Dataflow | None:
    """With the arrays that the program's numbers make up; None where it has no sums of products for every layer."""
    layers = [layer for layer in network.layers if isinstance(layer, Linear)]
    numbers = Numbers(flow.values)
    forward = {(layer.out_features, layer.in_features + more) for layer in layers for more in (0, 1)}
    backward = {(n_in, n_out) for n_out, n_in in forward}
    sizes = forward | backward
    units = _units(numbers, {fan_in for _, fan_in in sizes})
    outputs = list(_outputs(units, sizes))
    seen = {(len(units), len(units[0].factors)) for units in outputs}
    if not all(seen & {(k.out_features, k.in_features), (k.out_features, k.in_features + 1)} for k in layers):
        return None
    arrays = Arrays(numbers, _biased(units))
    for each in outputs[:LAYERS]:
        arrays.add(each)
    arrays.follow()
    return _merged(flow, arrays)


class Numbers:
    """Single numbers, each as it was computed: not as it was taken from what it was stored in."""

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = values
        self.known: dict[int, Value] = {}
        self.taken: dict[tuple[int, int], Value] = {}  # (array, position) -> the first that was taken from there
        self.cells: dict[int, tuple[Value, int]] = {}
        self.whole: dict[int, dict[float, Value]] = {}
        self.constants: dict[float, Value] = {}
        self.users: dict[int, list[Value]] = defaultdict(list)
        for v in values:
            if v.size == 1 and v.operands and not _is_view(v) and v.what not in FILLED:
                for time in {self.origin(o).time for o in v.operands if o.size == 1}:
                    self.users[time].append(v)

    def constant(self, number: float) -> Value:
        """Of Python's whole numbers, which no line computes."""
        return self.constants.setdefault(number, Value(-1 - len(self.constants), None, np.asarray(number)))

    def origin(self, value: Value) -> Value:
        if value.time not in self.known:
            self.known[value.time] = self._origin(value)
        return self.known[value.time]

    def _origin(self, value: Value) -> Value:
        if not _is_view(value) or not value.operands:
            return value
        owner = value.operands[0]
        if value.what != "getitem" and owner.size == 1:
            return self.origin(owner) if owner.array.item() == value.array.item() else value
        place = _place(value)
        if place is None:
            return value
        owner, k = place
        if not _same(owner.array.flat[k], value.array):  # stored since the array was last looked at
            stored = (o for o in value.operands[1:] if o.size == 1 and _same(o.array, value.array))
            return self.origin(found) if (found := next(stored, None)) is not None else value
        return self._cell(value, owner, k)

    def _cell(self, value: Value, owner: Value, k: int) -> Value:
        """What was stored at a place of an array, or the first number that was taken from there."""
        while owner.operands:
            stored = owner.operands
            if owner.what in STORED:
                before = owner.operands[0]
                found = [o for o in owner.operands[1:] if o.size == 1 and _same(o.array, value.array)]
                if found:
                    return self.origin(found[_rank(owner.array, k) if len(found) > 1 else 0])
                if before.array.shape != owner.array.shape or not _same(before.array.flat[k], value.array):
                    break
                owner = before
            elif owner.what == "list" and all(o.size == 1 for o in stored) and len(stored) == owner.size:
                return self.origin(stored[k])
            elif owner.what == "list" and len(stored) > 1 and {o.size for o in stored} == {owner.size // len(stored)}:
                owner, k = stored[k // stored[0].size], k % stored[0].size
            elif owner.what in VIEWS and np.array_equal(stored[0].array, owner.array):
                owner = stored[0]
            else:
                break
        self.cells.setdefault(value.time, (owner, k))
        return self.taken.setdefault((owner.time, k), value)


def _is_view(value: Value) -> bool:
    return value.what in VIEWS and value.what != "" and not value.is_changed


def _same(a: Any, b: Any) -> bool:
    return bool(np.asarray(a).item() == np.asarray(b).item())


def _rank(array: Array, k: int) -> int:
    """Of equal numbers, which one this place has; stored in their order."""
    flat = array.reshape(-1)
    return min(int(np.count_nonzero(flat[:k] == flat[k])), 1)


def _place(value: Value) -> tuple[Value, int] | None:
    """The array that a number was taken from and its position there, where the code says it in numbers."""
    owner, index = value.operands[0], _index(value)
    while owner.what == "getitem" and not owner.is_changed and owner.operands and (more := _index(owner)):
        of = owner.operands[0]
        try:
            if not np.array_equal(of.array[more], owner.array):
                break
        except IndexError:
            break
        owner, index = of, more + index
    if len(index) != owner.array.ndim:
        return None
    shape = owner.array.shape
    places = [i + n if i < 0 else i for i, n in zip(index, shape, strict=True)]
    if any(not 0 <= i < n for i, n in zip(places, shape, strict=True)):
        return None
    return owner, int(np.ravel_multi_index(places, shape)) if shape else 0


def _index(value: Value) -> tuple[int, ...]:
    """Of an element or a row that was taken: constants, or numbers of an array of whole ones."""
    beside = [o for o in value.operands[1:] if o.size == 1 and o.array.dtype.kind in "iu"]
    if value.constants and beside:
        return ()
    return tuple(int(c) for c in value.constants) or tuple(int(o.array.item()) for o in beside)


@dataclass(frozen=True)
class Unit:
    """A sum of products: one number of a layer's output. rest: what is added that is no product."""

    value: Value
    factors: list[Factors]
    rest: list[Value]
    is_constant: tuple[bool, ...]  # of each product: the second factor is a whole number of Python's

    def entering(self, k: int) -> tuple[Value, ...]:
        return tuple(pair[1] if is_constant else pair[k] for pair, is_constant in self._pairs())

    def weights(self, k: int) -> tuple[Value, ...]:
        return tuple(pair[0] if is_constant else pair[1 - k] for pair, is_constant in self._pairs())

    def _pairs(self) -> Iterable[tuple[Factors, bool]]:
        return zip(self.factors, self.is_constant, strict=True)


def _units(numbers: Numbers, lengths: set[int]) -> list[Unit]:
    """All sums of so many products that are no part of another sum, in order of time."""
    found, inside = [], set[int]()
    for value in reversed(numbers.values):
        if value.what in SUMS and value.size == 1 and value.time not in inside:
            unit = _unit(numbers, value, inside)
            if len(unit.factors) in lengths:
                found.append(unit)
    return found[::-1]


def _unit(numbers: Numbers, value: Value, inside: set[int]) -> Unit:
    made = Unit(value, [], [], ())
    constant: list[bool] = []
    left = [value]
    while left:
        term = numbers.origin(left.pop()) if left[-1] is not value else left.pop()
        pair = _factors(numbers, term)
        if pair is not None:
            made.factors.append(pair)
            constant.append(pair[1].time < 0)
        elif term is value or (term.what in SUMS and len(numbers.users[term.time]) == 1):
            inside.add(term.time)
            left += reversed(_terms(numbers, term))
        else:
            made.rest.append(term)
    return replace(made, is_constant=tuple(constant))


def _biased(units: Sequence[Unit]) -> set[Site | None]:
    """The lines where mostly more than products is added up: a sum may have begun before it was watched."""
    more = Counter(unit.value.site for unit in units if not all(map(_is_nothing, unit.rest)))
    plain = Counter(unit.value.site for unit in units)
    return {site for site, n in more.items() if 2 * n > plain[site]}


def _terms(numbers: Numbers, value: Value) -> list[Value]:
    """What is added: numbers, or the elements of a list of these."""
    terms: list[Value] = []
    for o in value.operands:
        terms += o.operands if o.what == "list" and len(o.operands) == o.size and value.what in SUMS[2:] else [o]
    if any(o.size > 1 for o in terms):
        return []
    return [*terms, *(numbers.constant(c) for c in value.constants)]


def _factors(numbers: Numbers, value: Value) -> Factors | None:
    if value.what not in PRODUCTS or any(o.size > 1 for o in value.operands):
        return None
    parts = [*map(numbers.origin, value.operands), *(numbers.constant(c) for c in value.constants)]
    return (parts[0], parts[-1]) if 1 <= len(parts) <= 2 else None


def _outputs(units: Sequence[Unit], sizes: set[tuple[int, int]]) -> Iterator[list[Unit]]:
    """Layers' outputs in order of time: sums of one line, with the same factors on one side."""
    found: list[tuple[int, list[Unit], int]] = []
    lines: dict[tuple[Site | None, int], list[Unit]] = defaultdict(list)
    for unit in units:
        lines[unit.value.site, len(unit.factors)].append(unit)
    for (_, length), own in lines.items():
        for k in (1, 0):
            for _, run in groupby(own, key=lambda unit: [v.time for v in unit.entering(k)]):
                held = list(run)
                for n in {n for n, fan_in in sizes if fan_in == length and len(held) % n == 0 and (n > 1 or k)}:
                    found += [(k, held[i : i + n], n) for i in range(0, len(held), n)]
    found.sort(key=lambda each: each[1][-1].value.time)
    for k, held, _ in found:
        yield [_turned(unit, k) for unit in held]


def _turned(unit: Unit, k: int) -> Unit:
    """With the weight first in every product."""
    pairs = list(zip(unit.weights(k), unit.entering(k), strict=True))
    return replace(unit, factors=pairs, is_constant=(False,) * len(pairs))


@dataclass
class Arrays:
    """The arrays that numbers make up, by these."""

    numbers: Numbers
    biased: set[Site | None]  # lines where more than products is added up
    known: dict[tuple[Any, ...], Value] = field(default_factory=dict)
    made: list[tuple[int, Value]] = field(default_factory=list)  # each with the time after which it is
    weights: dict[int, Value] = field(default_factory=dict)
    places: dict[int, tuple[int, ...]] = field(default_factory=dict)  # of a weight's number in it
    products: list[Value] = field(default_factory=list)
    at: dict[int, int] = field(default_factory=dict)

    def add(self, units: Sequence[Unit]) -> None:
        """A layer's output, with its weights, what enters and its bias."""
        cells = _cells([unit.value for unit in units])
        if _key(cells) in self.known:
            return
        last = max(unit.value.time for unit in units)
        entering = self.array(_cells([x for _, x in units[0].factors]), last)
        rows = [[w for w, _ in unit.factors] for unit in units]
        weight = self.weight(_cells(rows if len(units) > 1 else rows[0]), last)
        if len(units) == 1:
            entering = self.weight(_cells([x for _, x in units[0].factors]), last)
        z = np.array([float(unit.value.array.item()) for unit in units])
        bias = self._bias(units)
        site = units[0].value.site
        product = z if bias is None else _product(weight, entering, len(units))
        made = self._new("matmul", site, product, (weight, entering), last)
        made.elements = tuple(cells)
        self.products.append(made)
        if bias is not None:
            made = self._new("add", site, z, (made, self.weight(bias, last)), last)
        made.elements = tuple(cells)
        made.names += units[0].value.names
        self.known[_key(cells)] = made

    def _bias(self, units: Sequence[Unit]) -> Cells | None:
        """What is added beside the products: one number each that is no mere beginning of the sum."""
        rests = [[v for v in unit.rest if not _is_nothing(v)] or unit.rest[-1:] for unit in units]
        if any(len(rest) != 1 for rest in rests):
            return None
        if units[0].value.site not in self.biased and all(_is_nothing(v) for (v,) in rests):
            return None
        return _cells([v for (v,) in rests])

    def weight(self, cells: Cells, at: int) -> Value:
        """As an array, that was made from the one before it in the same place."""
        if _key(cells) in self.known:
            return self.known[_key(cells)]
        if cells.ndim == 2 and (_key(cells.T) in self.known or self._is_turned(cells)):
            of = self.weight(cells.T, at)
            turned = self._new("attr:T", of.site, of.array.T, (of,), at)
            self.known[_key(cells)] = turned
            return turned
        value = self.array(cells, at)
        if value.size == 1:
            return value
        if (before := self._before(value)) is not None:
            step, place = value, self.at.get(value.time, value.time)
            value = self._new("setitem", step.site, step.array, (before, step), place)
            value.is_changed, value.elements, value.names = True, step.elements, step.names
            self.known[_key(cells)] = value
        self.weights[value.time] = value
        self.places |= {v.time: place for place, v in np.ndenumerate(cells)}
        return value

    def _is_turned(self, cells: Cells) -> bool:
        """Whether it was made from a weight that has its columns as rows."""
        return min(cells.shape) > 1 and self._place_before(cells[0, 1]) == (1, 0)

    def _place_before(self, value: Value) -> tuple[int, ...] | None:
        for _ in range(BEHIND):
            if value.time in self.places:
                return self.places[value.time]
            if value.what not in UPDATES or not value.operands:
                return None
            value = self.numbers.origin(value.operands[0])
        return None

    def _before(self, value: Value) -> Value | None:
        """The nearest weight that a value is computed from by steps, which may shrink it."""
        left = deque([(value, 0)])
        while left:
            v, depth = left.popleft()
            if v.time in self.weights and v is not value:
                return v
            like = [o for o in v.operands if o.array.shape == value.array.shape]
            is_step = v.what in UPDATES or (v.what in PRODUCTS and len(like) == 1)
            left += [(o, depth + 1) for o in like if is_step and depth < BEHIND]
        return None

    def follow(self) -> None:
        """What the weights became in a program's only step. Of many, the last may not be watched to its end."""
        for weight in list(self.weights.values()):
            cells = _cells(weight.elements) if weight.elements else None
            moved = weight.is_changed or any(u.operands[0] is weight and u.is_changed for u in weight.users)
            if cells is None or moved:
                continue
            steps = [self._step(v) for v in cells]
            if all(v is not None for v in steps):
                self.weight(_cells(steps).reshape(weight.array.shape), max(v.time for v in steps if v is not None))

    def _step(self, value: Value) -> Value | None:
        later = [u for u in self.numbers.users[value.time] if u.what in UPDATES]
        return later[-1] if later else None

    def array(self, cells: Cells, at: int, depth: int = 0) -> Value:
        """What these numbers make up: a number alone, what holds them, or a new array."""
        if cells.size == 1 and cells.flat[0].time >= 0:
            return cells.flat[0]
        key = _key(cells)
        if key not in self.known:
            self.known[key] = self._whole(cells) or self._computed(cells, at, depth) or self._listed(cells, at)
        return self.known[key]

    def _whole(self, cells: Cells) -> Value | None:
        """The array of the program's own that these are all elements of, in its order."""
        places = [self.numbers.cells.get(v.time) for v in cells.flat]
        owner = places[0][0] if places[0] else None
        if owner is None or owner.array.shape != cells.shape:
            return None
        is_whole = all(p is not None and p[0] is owner and p[1] == k for k, p in enumerate(places))
        return owner if is_whole else None

    def _computed(self, cells: Cells, at: int, depth: int) -> Value | None:
        """By the operation that made all of them, of the arrays of their operands."""
        first = cells.flat[0]
        n, constants = len(first.operands), len(first.constants)
        if depth > DEEP or not n or first.what in FILLED or _is_view(first):
            return None
        for v in cells.flat:
            if v.what != first.what or len(v.operands) != n or len(v.constants) != constants:
                return None
            if any(o.size > 1 for o in v.operands):
                return None
        at = max(v.time for v in cells.flat)
        operands: list[Value] = []
        same: list[float] = []
        for k in range(n):
            operands.append(self._reduced(_map(cells, lambda v: self.numbers.origin(v.operands[k])), at, depth))  # noqa: B023
        for k in range(constants):
            numbers = {v.constants[k] for v in cells.flat}
            if len(numbers) > 1 or first.what in SHIFTS:
                constant = _map(cells, lambda v: self.numbers.constant(v.constants[k]))  # noqa: B023
                operands.append(self._reduced(constant, at, depth))
            else:
                same += numbers
        made = self._new(first.what, first.site, _numbers(cells), operands, at)
        made.constants, made.elements = tuple(same), tuple(cells.flat)
        made.names += first.names
        return made

    def _reduced(self, cells: Cells, at: int, depth: int) -> Value:
        """Without the axes along which it is the same."""
        if _key(cells) in self.known:
            return self.known[_key(cells)]
        times: Array = _map(cells, lambda v: v.time).astype(np.int64)
        for axis in reversed(range(cells.ndim)):
            if cells.shape[axis] > 1 and np.all(times == times.take([0], axis)) and cells.ndim > 1:
                cells, times = cells.take(0, axis), times.take(0, axis)
        if cells.ndim == 1 and np.all(times == times[0]) and times[0] >= 0:
            return cells[0]
        return self.array(cells, at, depth + 1)

    def _listed(self, cells: Cells, at: int) -> Value:
        held = [v for v in dict.fromkeys(cells.flat) if v.time >= 0]
        at = max((v.time for v in held), default=at)
        site = next((v.site for v in held if v.site), None)
        made = self._new("list", site, _numbers(cells), held, at)
        made.elements = tuple(cells.flat)
        made.names += self._names(held, cells.size)
        return made

    def _names(self, held: Sequence[Value], size: int) -> list[Binding]:
        """Of what holds these numbers."""
        if held and held[0].time in self.numbers.cells:
            return self.numbers.cells[held[0].time][0].names
        rows = [u for v in held for u in v.users if u.names and u.what in HOLDERS]
        whole = [u for u in rows if u.size == size]
        return next((u.names for u in (*whole, *rows)), [])

    def _new(self, what: str, site: Site | None, array: Array, operands: Iterable[Value], at: int) -> Value:
        site = replace(site, what=what) if site is not None else Site(what, "", 0, 0, 0, 0, "")
        held = tuple(dict.fromkeys(o for o in operands if o.time >= 0 or o.time < -CONSTANTS))
        made = Value(-CONSTANTS - 1 - len(self.made), site, array, held)
        self.made.append((at, made))
        self.at[made.time] = at
        for operand in held:
            operand.users.append(made)
        return made


CONSTANTS = 1 << 40


def _cells(values: Any) -> Cells:
    return np.array(values, dtype=object)


def _map(cells: Cells, function: Any) -> Cells:
    made = np.empty(cells.shape, dtype=object)
    for k, v in enumerate(cells.flat):
        made.flat[k] = function(v)
    return made


def _key(cells: Cells) -> tuple[Any, ...]:
    return cells.shape, tuple(v.time for v in cells.flat)


def _numbers(cells: Cells) -> Array:
    return np.array([v.array.item() for v in cells.flat], dtype=np.float64).reshape(cells.shape)


def _product(weight: Value, entering: Value, n: int) -> Array:
    w, x = (np.asarray(v.array, dtype=np.float64) for v in (weight, entering))
    return w.reshape(n, -1) @ x.ravel()


def _is_nothing(value: Value) -> bool:
    return not value.operands and value.array.item() == 0


def _merged(flow: Dataflow, arrays: Arrays) -> Dataflow:
    """All in order of time, numbered anew."""
    order: list[tuple[int, int, Value]] = [(v.time, 0, v) for v in flow.values]
    order += [(at, k, v) for k, (at, v) in enumerate(arrays.made, 1)]
    order.sort(key=lambda each: each[:2])
    times = np.cumsum([1 if not k else 0 for _, k, _ in order])
    starts = np.searchsorted(times, np.arange(1, len(flow.values) + 1))
    for k, (_, _, value) in enumerate(order):
        value.time = k
    bound = {id(b): b for _, _, v in order for b in v.names}
    later = {k: b._replace(time=int(starts[b.time]) if b.time < len(starts) else len(order)) for k, b in bound.items()}
    for _, _, value in order:
        value.names = [later[id(b)] for b in value.names]
        value.users.sort(key=lambda u: u.time)
    return replace(flow, values=tuple(v for _, _, v in order), products=frozenset(v.time for v in arrays.products))
