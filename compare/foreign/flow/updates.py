"""Updates: by what law the parameters moved in a step, and by which rate, as the code has it written.

change = before - after = rate (g + decay W) + momentum (the change before): plain steps, decay or an L2 penalty, and
momentum in torch's form and as a moving average are of this form; what is not is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compare.foreign import layout
from compare.foreign.convention import nearest
from compare.foreign.flow.backward import Backward
from compare.foreign.flow.products import VIEWS, is_of_numbers, root
from compare.foreign.layout import View
from compare.foreign.naming.values import number
from compare.network.tensor_name import TensorName
from compare.watching.dataflow import Array, Value, before

ROUNDINGS = 4  # of a parameter, in its change
ROUGHLY = 1e-3  # relative: of a fitted rate and a written one, where both explain a move
EQUAL = 1e-6  # relative: of two fitted rates
PARTS = 12  # numbers below 1 of which products are rates, as in alpha (1 - beta)
CHANGES = ("sub", "isub", "add", "iadd")
LARGEST_RATE = 100.0  # a number above it is a count or a size


@dataclass(frozen=True)
class Move:
    """One parameter in one step, in torch's layout: before, after, its gradient (unscaled) and the change before."""

    name: TensorName
    old: Array
    new: Array
    gradient: Array
    value: Value
    scale: float  # of the gradient, as the code has it
    earlier: Array | None = None
    right: bool = True  # the gradient is as it should be
    shrunk: Array = field(default_factory=lambda: np.zeros(()))  # the part of the change before that was a decay
    rate: float = 0.0  # of the change before; 0 where that is not known
    decayed: Array = field(default_factory=lambda: np.zeros(()))  # that of its own
    direction: Array | None = None  # what the step takes in the gradient's place, see directions.py
    taken: Value | None = None  # that value, where the code has it

    @property
    def change(self) -> Array:
        return self.old - self.new

    @property
    def along(self) -> Array:
        """What the step is a multiple of."""
        return self.gradient if self.direction is None else self.direction

    @property
    def lost(self) -> Array:
        """What rounding the parameter may have done to its change."""
        u = float(np.finfo(self.new.dtype if self.new.dtype.kind == "f" else np.float64).eps) / 2
        lost: Array = ROUNDINGS * u * (np.abs(self.old) + np.abs(self.new))
        return lost


@dataclass(frozen=True)
class Law:
    """change = rate (g + decay W + shrink sign(W)) + momentum (the change before); g or what is taken in its place."""

    rate: float
    decay: float = 0.0
    momentum: float = 0.0
    shrink: float = 0.0

    @property
    def terms(self) -> int:
        return sum(map(bool, (self.decay, self.momentum, self.shrink)))

    def variants(self) -> Iterator[Law]:
        """With its penalty, and without, as biases mostly are."""
        if self.decay or self.shrink:
            yield self
        yield replace(self, decay=0.0, shrink=0.0)

    def written_for(self, moves: Sequence[Move], numbers: Sequence[float]) -> Law:
        """As it is written, more freely where that explains these moves: in float32 a fit has few digits."""
        numbers = [*numbers, *self._with_another_rate(moves, numbers)]
        near = self.as_written(numbers, ROUGHLY)
        return near if all(near.explains(move) for move in moves) else self.as_written(numbers)

    def _with_another_rate(self, moves: Sequence[Move], numbers: Sequence[float]) -> list[float]:
        """A number times what the rate has become of that before: the change before had the rate before."""
        rates = {move.rate for move in moves if move.rate} if self.momentum else set[float]()
        rate = replace(self, momentum=0.0).as_written(numbers).rate
        return [number * rate / before_it for before_it in rates for number in numbers if number < 1]

    def as_written(self, numbers: Sequence[float], within: float = EQUAL) -> Law:
        """With the code's numbers in the place of what was fitted, where it is one of them."""

        def near(value: float) -> float:
            found = min((n for n in (*numbers, 1.0)), key=lambda n: abs(n - abs(value)), default=value)
            return found if value > 0 and abs(found - value) <= within * value else value

        return Law(near(self.rate), near(self.decay), near(self.momentum), near(self.shrink))

    def is_written(self, numbers: Sequence[float]) -> bool:
        """Whether what stands beside the rate is one of the code's numbers, or nothing."""
        beside = [v for v in (self.decay, self.momentum, self.shrink) if v]
        return all(is_written(value, numbers, 1e-15) for value in beside)

    def is_all_written(self, numbers: Sequence[float]) -> bool:
        return self.is_written(numbers) and is_written(abs(self.rate), numbers, 1e-15)

    def nesterov(self, numbers: Sequence[float]) -> float | None:
        """The mu of Nesterov's second step, if it is one; v = mu v + g, step lr (g + mu v) (Sutskever et al. 2013).

        The gradient then has the factor lr (1 + mu), and the change before mu^2 / (1 + mu).
        """
        if is_written(self.momentum, numbers):
            return None
        written = (mu for mu in numbers if 0 < mu < 1 and is_written(self.rate / (1 + mu), numbers))
        return next((mu for mu in written if same(self.momentum, mu**2 / (1 + mu))), None)

    def momentum_of(self, move: Move) -> float:
        """Its momentum; of what was zero before the change before, a decay is one."""
        began_at_zero = move.earlier is not None and np.any(move.earlier) and np.allclose(move.old, -move.earlier)
        return self.momentum - self.rate * self.decay if began_at_zero else self.momentum

    def change(self, move: Move) -> Array:
        found = self.rate * (move.along + self.decay * move.old + self.shrink * np.sign(move.old))
        return found + self.momentum * move.earlier if self.momentum and move.earlier is not None else found

    def beside(self, move: Move) -> Array:
        """The part of the change that is not the gradient's."""
        found: Array = self.change(move) - self.rate * move.gradient
        return found

    def explains(self, move: Move) -> bool:
        return _agrees(move, self.change(move))


def with_law(move: Move, law: Law | None) -> Move:
    """With its rate, and the part of its change that was a decay, for the step after it."""
    if law is None:
        return replace(move, rate=0.0)
    return replace(move, rate=law.rate, decayed=law.rate * law.decay * move.old if law.decay else np.zeros(()))


def _agrees(move: Move, change: Array) -> bool:
    far = np.abs(move.change - change)
    size = float(np.abs(change).max(initial=0))
    digits = 1e-8 if move.new.dtype == np.float64 else 1e-4
    return bool(np.all(far <= 4 * move.lost + digits * size))


LONGER = (("rate", "decay", "momentum"), ("rate", "momentum", "shrink"), ("rate", "decay", "shrink"))
JOINT = (("rate", "decay"), ("rate", "momentum"), ("rate", "shrink"), *LONGER[:2])
TERMS = (("rate",), ("rate", "decay"), ("rate", "momentum"), ("rate", "shrink"), *LONGER)


def laws(move: Move, numbers: Sequence[float]) -> Iterator[Law]:
    """All laws that explain a move, the simplest first, with the code's numbers.

    One with as many numbers as the move has says nothing, unless all of them are the code's.
    """
    columns = {"rate": move.along, "decay": move.old, "momentum": move.earlier, "shrink": np.sign(move.old)}
    for terms in TERMS:
        if any(columns[t] is None or not np.any(columns[t]) for t in terms):
            continue
        matrix = np.stack([np.asarray(columns[t], dtype=np.float64).ravel() for t in terms], axis=1)
        are_few = len(terms) > 1 and np.count_nonzero(matrix.any(axis=1)) <= len(terms)
        fit, rank = _fitted(matrix, move.change.ravel())
        if rank == len(terms) and fit[0]:
            law = _law(terms, fit)
            if law.explains(move) and _takes_the_gradient(law, move):
                law = law.written_for([move], numbers)
                if not are_few or law.is_all_written(numbers):
                    yield law


def _fitted(matrix: Array, change: Array) -> tuple[Array, int]:
    """By least squares, and of what rank; 0 where there are numbers that are not finite."""
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(change))):
        return np.zeros(matrix.shape[1]), 0
    fit, _, rank, _ = np.linalg.lstsq(matrix, change.astype(np.float64), rcond=None)
    return fit, int(rank)


def _takes_the_gradient(law: Law, move: Move) -> bool:
    """Whether the gradient has a part in the change that is more than its rounding."""
    part = np.linalg.norm(law.rate * move.along)
    return bool(part > EQUAL**1.5 * np.linalg.norm(move.change))


def _joint(moves: Sequence[Move], numbers: Sequence[float]) -> Iterator[Law]:
    """Laws of all parameters together, a penalty on the weights alone: what few numbers of each cannot tell."""
    if not moves:
        return
    weights = [move.old * (move.name.part == "weight") for move in moves]
    earlier = [np.zeros(m.old.shape) if m.earlier is None else m.earlier for m in moves]
    signs = [np.sign(old) for old in weights]
    parts = {"rate": [m.along for m in moves], "decay": weights, "momentum": earlier, "shrink": signs}
    change = np.concatenate([m.change.ravel() for m in moves])
    for terms in JOINT:
        columns = [np.concatenate([np.asarray(a, dtype=float).ravel() for a in parts[t]]) for t in terms]
        matrix = np.stack(columns, axis=1)
        fit, rank = _fitted(matrix, change)
        if rank == len(terms) and fit[0]:
            law = _law(terms, fit).written_for(moves, numbers)
            if len(terms) < len(change) or law.is_all_written(numbers):
                yield law


def _law(terms: Sequence[str], fit: Array) -> Law:
    found = dict(zip(terms, map(float, fit), strict=True))
    return Law(**{t: v / found["rate"] if t in ("decay", "shrink") else v for t, v in found.items()})


@dataclass
class Update:
    """The law of one step, by which every move is judged; None where none was found. written: numbers of the code."""

    moves: list[Move]
    law: Law | None = None
    of: dict[str, Law] = field(default_factory=dict)  # each parameter's own
    written: list[float] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # parameters that did not move
    penalties: dict[str, tuple[float, str]] = field(default_factory=dict)  # in gradients that a law cannot show
    direction: str = ""  # in words, where the step goes along another one than the gradient
    factors: Sequence[float] = ()  # counts by which a rate may be written
    numbers: dict[str, list[float]] = field(default_factory=dict)  # of each parameter's own update
    measured: bool = False  # a number that was computed from data, as a norm is, stands before the new values

    @property
    def rates(self) -> list[float]:
        """What a rate may be: one of the code's numbers, or of two of them, as alpha (1 - beta) or alpha (1 + mu)."""
        parts = [w for w in self.written if w < 2 and w != 1][:PARTS]
        products = [a * b for k, a in enumerate(parts) for b in parts[k:]]
        products += [a * (1 + b) for a in parts for b in parts if b < 1]
        return [*self.written, *products]

    @property
    def size(self) -> int:
        """How many elements moved."""
        return sum(move.change.size for move in self.moves)

    @property
    def has_written_rate(self) -> bool:
        """Whether the law's rate is one of the code's numbers, but for a count."""
        assert self.law is not None
        return any(is_written(abs(self.law.rate) / factor, self.rates) for factor in (1.0, *self.factors))

    @property
    def has_plain_rate(self) -> bool:
        """Whether it is one of them without any count."""
        assert self.law is not None
        return is_written(abs(self.law.rate), self.rates)

    def proven(self) -> Update:
        """Without its law, where that explains the lesser part of what moves: nobody is accused by such a one.

        A rate of the code's may instead explain half of the parameters. One that is measured is no rate of the code's.
        """
        if self.law is None:
            return self
        if self.measured and not self.has_written_rate:
            return replace(self, law=None, of={})
        moved = [move for move in self.moves if any(each.explains(move) for each in self.law.variants())]
        elements = sum(move.change.size for move in moved)
        by_count = self.has_written_rate and 2 * len(moved) >= len(self.moves)
        return self if 2 * elements > self.size or by_count else replace(self, law=None, of={})

    def is_number(self, law: Law, move: Move) -> bool:
        """Whether the law's rate is itself a number in this parameter's update, and no product of several."""
        rate = abs(law.rate / move.scale)
        return any(abs(rate - number) <= EQUAL * number for number in self.numbers.get(move.name, ()))

    def is_another_number(self, move: Move, other: Move, ratio: float) -> bool:
        """Whether one update has a number so many times one that both have, which the other has not."""
        own, beside = self.numbers[move.name], self.numbers[other.name]
        both = [number for number in own if number in beside and number != 1]
        return any(same(number, ratio * base) for number in own if number not in beside for base in both) or any(
            same(ratio * number, base) for number in beside if number not in own for base in both
        )

    def best(self, candidates: Iterable[Law]) -> Law:
        """The one that explains most elements.

        Where it leaves some parameters out: one that explains as many parameters as it leaves out, if its rate is in
        every update. The other rate is that, times a number.
        """
        rank = lambda law: (self.explained(law, right=True), self.explained(law), -law.terms)  # noqa: E731
        candidates = list(candidates)
        first = max(candidates, key=rank)
        if self.explained(first) == self.size or self.is_in_all(first):
            return first
        alike = (law for law in candidates if replace(law, rate=first.rate) == first and self.is_in_all(law))
        return max((law for law in alike if 2 * self._count(law) >= len(self.moves)), key=rank, default=first)

    def is_in_all(self, law: Law) -> bool:
        """Whether its rate is a number of every parameter's update."""
        return all(self.is_number(law, move) for move in self.moves)

    def _count(self, law: Law) -> int:
        """How many parameters moved by it."""
        return sum(any(each.explains(move) for each in law.variants()) for move in self.moves)

    def explained(self, law: Law, right: bool = False) -> int:
        """How many elements moved by it; `right`: of parameters whose gradient is right."""
        moves = [move for move in self.moves if move.right or not right]
        return sum(move.change.size for move in moves if any(each.explains(move) for each in law.variants()))


def moves(back: Backward, earlier: Mapping[str, Move]) -> list[Move]:
    """Of every parameter that moved and whose gradient is known."""
    made = []
    for name in back.network.parameters():
        seen, new, wanted = back.step.old.get(name), back.step.new.get(name), back.expected.get(name.gradient)
        if seen is None or new is None or wanted is None:
            continue
        view = reread(back, name, new)
        if view is None:
            continue
        found = back.found.get(name.gradient)
        is_right = found is None or found.equal
        gradient = wanted if is_right or found is None else np.asarray(found.view.array) / found.scale
        before_it = earlier.get(name)
        follows = before_it is not None and np.array_equal(before_it.new, seen.view.array)
        change = before_it.change if before_it is not None and follows else None
        old = np.asarray(seen.view.array, dtype=np.float64)
        shrunk = before_it.decayed if before_it is not None and follows else np.zeros(())
        rate = before_it.rate if before_it is not None and follows else 0.0
        scale = back.usual() if found is None else found.scale
        made.append(Move(name, old, view.array, gradient, new, scale, change, is_right, shrunk, rate))
    return made


def reread(back: Backward, name: TensorName, value: Value) -> View | None:
    """A later value of the parameter, read as the first was."""
    seen, weight = back.step.old[name], back.step.old[TensorName.of(name.layer, "weight")].view
    if name.part == "weight":
        return layout.like(value.array, weight)
    if weight.bias is None:
        return next(layout.biases(value.array, seen.view.array.size), None)
    view = layout.like(value.array, weight)
    return View(view.bias, view.layout) if view is not None and view.bias is not None else None


def update(back: Backward, earlier: Mapping[str, Move]) -> Update:
    """The law that explains most of the parameters' moves, weighed by their elements."""
    made = by_law(back, moves(back, earlier))
    plain = [replace(m, earlier=m.earlier - m.shrunk) if m.earlier is not None else m for m in made.moves]
    if any(np.any(m.shrunk) for m in plain):
        other = by_law(back, plain)  # a decay beside the velocity, not in it
        common = [each.explained(each.law) if each.law is not None else 0 for each in (made, other)]
        made = other if common[1] > common[0] else made
    made.kept = [n for n in back.step.old if n not in back.step.new and back.step.new]
    return made


def by_law(back: Backward, found: list[Move]) -> Update:
    """The law that explains most of these moves."""
    made = Update(found, factors=[abs(factor.value) for factor in back.known_of_few])
    for move in made.moves:
        made.numbers[move.name] = written(back, move)
        made.written += [w for w in made.numbers[move.name] if w not in made.written]
        made.measured |= is_measured(back, move)
    own = {move.name: list(laws(move, made.rates)) for move in made.moves}
    candidates = [law for found in own.values() for law in found]
    candidates += _joint(made.moves, made.rates)
    if candidates:
        made.law = made.best(candidates)
        for move in made.moves:
            variants = list(made.law.variants())[:: 1 if np.any(move.old) else -1]  # of zeros any decay is none
            common = (law for law in variants if law.explains(move))
            if (law := next(common, None) or next(iter(own[move.name]), None)) is not None:
                made.of[move.name] = law
    return made


def is_one_step(back: Backward, move: Move) -> bool:
    """Whether the new value is the old one, changed once."""
    olds, value, changes = {v.time for v in back.step.olds}, move.value, 0
    while value.time not in olds and value.operands:
        changes += value.what in CHANGES
        whole = [o for o in value.operands if o.size == value.size]
        before_it = [o for o in whole if o.time in olds or root(o).time in olds]
        if value.what not in (*CHANGES, *VIEWS, "changed", "setitem") or not (before_it or len(whole) == 1):
            return False
        value = (before_it or whole)[0]
    return changes == 1


def shares(numbers: Iterable[float]) -> list[float]:
    """What moving averages keep, as 0.9 beside 0.1: numbers above 1/2 that stand beside 1 less them."""
    numbers = list(numbers)
    return [n for n in numbers if 0.5 < n < 1 and any(same(n, 1 - other) for other in numbers)]


def broadcast(move: Move) -> Value | None:
    """A number computed from data that the step takes, times a rate, from every element alike: a sum over too much."""
    left = [o for o in move.value.operands if o.size == 1 and not is_of_numbers(o)]
    while len(left) == 1 and move.value.size > 1:
        value = left[0]
        inside = [o for o in value.operands if not is_of_numbers(o)]
        if value.what not in ("mul", "truediv") or value.names or len(inside) != 1 or inside[0].size > 1:
            return value
        left = inside
    return None


def forgotten(back: Backward, move: Move) -> tuple[float, Value] | None:
    """A momentum that is made of zeros anew, after the weights of the step were there: its number, and the zeros."""
    begun, size = root(back.step.old[move.name].value).time, move.value.size
    for value in before([move.value], back.step.olds):
        if value.what != "mul" or value.size != size or size == 1:
            continue
        beside = [float(o.array.item()) for o in value.operands if o.size == 1]
        factors = [f for f in (*value.constants, *beside) if 0 < f < 1]
        zeros = [root(o) for o in value.operands if o.size == size and not np.any(o.array) and root(o).time > begun]
        if factors and zeros:
            return factors[0], zeros[0]
    return None


def same(a: float, b: float) -> bool:
    return abs(a - b) <= EQUAL * max(abs(a), abs(b))


def written(back: Backward, move: Move) -> list[float]:
    """Numbers that stand between the gradient and the new value in this step, those that no count went into.

    Where nothing stands between, the rate may be in the gradient.
    """
    return _numbers(back, move, _own_gradient(back, move)) or _numbers(back, move, [])


def _numbers(back: Backward, move: Move, gradient: list[Value]) -> list[float]:
    """Python has one 0.1 for a bias and for a rate that is the same number: what multiplies is no bias."""
    counts = {float(back.step.m), float(back.network.sizes[-1]), float(back.step.m * back.network.sizes[-1])} - {1.0}
    found: dict[float, None] = {}
    begin = back.step.passes[0].begin.time
    for value in before([move.value], [*back.step.olds, *gradient], since=begin):
        shared = (o for o in value.operands if o.size == 1 and o.site is None and value.what in ("mul", "truediv"))
        found |= dict.fromkeys(map(abs, (*value.constants, *(number(o.array) for o in shared))))
        is_number = value.size == 1 and value.array.dtype.kind == "f" and not counts & set(value.constants)
        if is_number and is_of_numbers(value):
            found[abs(number(value.array))] = None
    return [w for w in found if 0 < w < LARGEST_RATE and w not in counts]


def is_measured(back: Backward, move: Move) -> bool:
    """Whether a number that was computed from data stands between the gradient and the new value."""
    begin, gradient = back.step.passes[0].begin.time, _own_gradient(back, move)
    between = before([move.value], [*back.step.olds, *gradient], since=begin)
    numbers = (v for v in between if v.size == 1 and v.array.dtype.kind == "f" and v.time >= begin)
    return bool(gradient) and move.value.size > 1 and any(not is_of_numbers(v) for v in numbers)


def _own_gradient(back: Backward, move: Move) -> list[Value]:
    """The gradient that was found, where no rate is in it."""
    found = back.found.get(move.name.gradient)
    if found is None or not found.equal or nearest(found.scale, back.known_of_few) is None:
        return []
    return [found.value]


def is_written(rate: float, numbers: Iterable[float], within: float = EQUAL) -> bool:
    """Whether a rate is one of the code's numbers, or 1, for a step that has none."""
    return any(abs(rate - w) <= within * w for w in (*numbers, 1.0))


def absorbed(back: Backward, rate: float, numbers: Sequence[float]) -> float | None:
    """The number that a rate would be but for a count or a sign; None where it is no multiple of one."""
    for w in numbers:
        factor = nearest(rate / w, back.known_of_few)
        if factor is not None and factor.value != 1:
            return w
    return None
