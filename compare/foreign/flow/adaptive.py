"""Adaptive: Adam's step (Kingma and Ba 2015, algorithm 1), recognised by its root and its two numbers near 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

from compare.foreign.flow.products import root
from compare.foreign.flow.updates import Move, shares
from compare.network.optimizer import OptimizerSpec
from compare.watching.dataflow import Array, Value, before

NEAR_ONE = (0.5, 1.0)  # in which betas are
LARGEST_EPS = 1e-3
USUAL_EPS = 1e-8
TYPED = 6  # digits
MOST = 6  # numbers that are tried for each of Adam's
MISCOUNTED = 9  # steps that are counted too many, as once for each parameter


class Numbers(NamedTuple):
    """Adam's, by torch's names."""

    lr: float
    beta1: float
    beta2: float
    eps: float

    @classmethod
    def of(cls, spec: OptimizerSpec) -> Numbers:
        return cls(*(float(spec.options[name]) for name in cls._fields))

    def is_usual(self) -> tuple[bool, bool, bool]:
        return self.beta1 == 0.9 and self.beta2 == 0.999, self.eps == USUAL_EPS, self.lr <= 0.1


class Correction(NamedTuple):
    """The number of steps by which each moment's bias is corrected, 0 where it is not; by which of the betas."""

    first: int
    second: int
    betas: tuple[int, int] = (0, 1)


def _corrections(t: int) -> Iterator[Correction]:
    """The right one, and those that are mistakes."""
    yield from (Correction(t, t), Correction(t + 1, t + 1), Correction(t - 1, t - 1))
    yield from (Correction(0, 0), Correction(t, 0), Correction(0, t))
    yield from (Correction(t, t, (0, 0)), Correction(t, t, (1, 1)), Correction(t, t, (1, 0)))


@dataclass
class Moments:
    """Of each parameter, the moving averages of the gradients as the code has them, from the first step on."""

    steps: int = 0
    held: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def of(self, move: Move) -> tuple[Array, Array]:
        """Before the step, on the scale of its gradient: batches of other sizes have other ones."""
        zeros = np.zeros(move.old.shape)
        m, v = self.held.get(move.name, (zeros, zeros))
        return m / move.scale, v / move.scale**2

    def take(self, moves: Sequence[Move], spec: OptimizerSpec | None) -> None:
        """The gradients of one more step."""
        self.steps += 1
        if spec is None:
            return
        b1, b2 = float(spec.options["beta1"]), float(spec.options["beta2"])
        for move in moves:
            m, v = self.of(move)
            m, v = b1 * m + (1 - b1) * move.along, b2 * v + (1 - b2) * move.along**2
            self.held[move.name] = m * move.scale, v * move.scale**2


def has_root(values: Sequence[Value], move: Move) -> bool:
    """Whether the step is computed through a square root of the parameter's size."""
    return any(_is_root(v) and v.size == move.value.size > 1 for v in values)


def _is_root(value: Value) -> bool:
    return value.what == "call:sqrt" or (value.what == "pow" and 0.5 in value.constants)


def has_two_betas(written: Sequence[float]) -> bool:
    """Whether two of the code's numbers may be Adam's betas: RMSprop has one. 0.5 is 1 less itself, and shows none."""
    return len(set(shares(written)) - {0.5}) > 1


def averages(move: Move, olds: Iterable[Value], gradient: Value | None) -> tuple[Value, Value] | None:
    """What stands in the places of Adam's moving averages: in the numerator of the step, and under its root.

    Without the numbers that they are multiplied by, but for those of the gradient.
    """
    behind = before([move.value], olds)
    size = move.value.size
    roots = [v for v in behind if _is_root(v) and v.size == size > 1]
    for quotient in (v for v in reversed(behind) if v.what == "truediv" and v.size == size and len(v.operands) == 2):
        over = {v.time for v in before(quotient.operands[1:], olds)}
        for each in roots:
            if each.time in over and quotient.operands[0].size == size:
                return _unscaled(quotient.operands[0], gradient), _unscaled(each.operands[0], gradient)
    return None


def is_gradient(value: Value, gradient: Value) -> bool:
    """Whether it is the gradient, computed again or summed over one sample, or before or after numbers multiply it."""
    is_equal = np.array_equal(value.array.ravel(), gradient.array.ravel())
    return is_equal or _is_multiple(value, gradient) or _is_multiple(gradient, value)


def _is_multiple(value: Value, gradient: Value) -> bool:
    """Whether it is the gradient, or that times numbers."""
    while value is not gradient and root(value) is not root(gradient) and value.what in ("mul", "truediv"):
        whole = [o for o in value.operands if o.size == value.size]
        if len(whole) != 1:
            return False
        value = whole[0]
    return root(value) is root(gradient)


def _unscaled(value: Value, gradient: Value | None) -> Value:
    """What it was before it was multiplied by numbers, down to the gradient itself."""
    while value.what in ("mul", "truediv"):
        whole = [o for o in value.operands if o.size == value.size]
        if len(whole) != 1 or whole[0] is gradient:
            return value
        value = whole[0]
    return value


def adam(
    moves: Sequence[Move], written: Sequence[float], moments: Moments, own: Mapping[str, Sequence[float]]
) -> OptimizerSpec | None:
    """Adam with the numbers of the code: those that explain most of the moves, else the usual order of the betas.

    A rate that somebody typed comes first, and of several one that is among every parameter's `own` numbers. Where no
    move is Adam's, one may be but for the correction of its bias.
    """
    written = sorted(written, key=lambda w: not _is_typed(w))
    betas = sorted(b for b in list(dict.fromkeys(w for w in written if NEAR_ONE[0] <= w < NEAR_ONE[1]))[:MOST])
    pairs = [(a, b) for a, b in permutations(betas, 2) if a < b] + [(b, b) for b in betas]
    eps = [w for w in written if w < LARGEST_EPS][:MOST] or [USUAL_EPS]
    rates = [w for w in written if eps[0] < w < NEAR_ONE[1]][: 4 * MOST]
    tried = [Numbers(lr, *pair, e) for pair in pairs for e in eps for lr in rates if lr not in (*pair, e)]
    if not tried:
        return None
    typed, others = [n for n in tried if _is_typed(n.lr)], [n for n in tried if not _is_typed(n.lr)]
    right, *wrong = _corrections(moments.steps + 1)
    shared = set[float].intersection(*(set(own[move.name]) for move in moves))
    rank = lambda pair: (  # noqa: E731
        sum(_explains(move, moments, *pair) for move in moves),
        pair[0].lr in shared,
        pair[0].is_usual(),
    )
    for numbers, corrections in ((typed, [right]), (typed, wrong), (others, [right]), (others, wrong)):
        best = max(product(numbers, corrections), key=rank, default=None)
        if best is not None and rank(best)[0]:
            break
    else:
        moves = [turned(move) for move in moves]  # or one that goes uphill
        best = max(product(tried, [right]), key=rank)
    return OptimizerSpec("Adam", best[0]._asdict() | {"weight_decay": 0.0})


def correction(move: Move, moments: Moments, spec: OptimizerSpec) -> Correction | None:
    """The wrong correction of the moments' bias that explains a move; None where none does."""
    t, numbers = moments.steps + 1, Numbers.of(spec)
    counts = (Correction(n, n) for n in range(1, t + MISCOUNTED) if n != t)
    wrong = (c for c in (*_corrections(t), *counts) if c != Correction(t, t))
    return next((c for c in wrong if _explains(move, moments, numbers, c)), None)


def turned(move: Move) -> Move:
    """The same change, the other way."""
    return replace(move, old=move.new, new=move.old)


def other_rate(move: Move, moments: Moments, spec: OptimizerSpec, numbers: Sequence[float]) -> float | None:
    """The number that explains a move in the place of the rate."""
    t, usual = moments.steps + 1, Numbers.of(spec)
    others = (n for n in numbers if n != usual.lr)
    return next((n for n in others if _explains(move, moments, usual._replace(lr=n), Correction(t, t))), None)


def corrected_at(
    move: Move, moments: Moments, spec: OptimizerSpec, olds: Sequence[Value], gradient: Value
) -> Value | None:
    """The first value that a wrong correction of a moment's bias is in; None where the move is wrong in another way."""
    t, made = moments.steps + 1, correction(move, moments, spec)
    if made is None:
        return None
    if made.first == made.second not in (0, t):
        powers = (v for v in before([move.value], olds) if v.what == "pow" and v.size == 1)
        return next((v for v in powers if made.first in v.constants), None)
    found = averages(move, olds, gradient)
    which = 0 if made.first != t or made.betas[0] != 0 else 1
    between = list(_between(move, olds, found[which])) if found is not None else []
    is_missing = 0 in (made.first, made.second)
    renamed = [v for v in found or () if is_missing and len(v.names) > 1]
    return next((v for v in between if v.names), None) or next(iter(renamed), None)


def _between(move: Move, olds: Sequence[Value], average: Value) -> Iterator[Value]:
    """What is made of an average by numbers, in order."""
    behind = {v.time for v in before([move.value], olds)}
    left = [average]
    while left:
        value = left.pop()
        left = [u for u in value.users if u.time in behind and u.what in ("mul", "truediv") and u.size == value.size]
        yield from left[:1]


def _is_typed(number: float) -> bool:
    """Whether somebody writes it so: a few digits."""
    return float(f"{number:.{TYPED}g}") == number


def explains(move: Move, moments: Moments, spec: OptimizerSpec | None) -> bool:
    """Whether this is Adam's step along the move's gradient."""
    t = moments.steps + 1
    return spec is not None and _explains(move, moments, Numbers.of(spec), Correction(t, t))


def _explains(move: Move, moments: Moments, numbers: Numbers, count: Correction) -> bool:
    lr, b1, b2, eps = numbers
    m, v = moments.of(move)
    m, v = b1 * m + (1 - b1) * move.along, b2 * v + (1 - b2) * move.along**2
    of = (b1, b2)
    c, d = (1 - of[k] ** n if n else 1.0 for k, n in zip(count.betas, (count.first, count.second), strict=True))
    with np.errstate(all="ignore"):
        changes = [lr * (m / c) / (np.sqrt(v / d) + e) for e in (eps, eps / abs(move.scale))]
    lost = 4 * float(move.lost.max(initial=0))
    return any(bool(np.allclose(move.change, change, rtol=1e-6, atol=lost)) for change in changes)
