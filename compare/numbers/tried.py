r"""Tried: a recurrence computed in another arithmetic, to see how far its roundings move the result.

`Moved` adds to each product of matrices and to each elementary function as much as its rounding may be: 3 sqrt(n) v
times the sizes of a product of n terms, or n v where that is less, 5 v of an elementary function (Higham and Mary, SIAM
J. Sci. Comput. 41, 2019, theorem 2.4, for the first). Single products and sums round by v; each has a function's value
as a factor or a term, whose error of 5 v or more stands for both. v is the candidate's unit, or in float64, whose own
roundings would be as large, so much larger that they are nothing beside it; what the errors become is then
proportional to v. One of the runs moves all results the same way, for roundings with a bias; the others move each
result either way, at random. Where numbers/carried.py adds the largest errors of all steps, these cancel as roundings
do. So it is a likely bound, as the sharp one of a sum is.

`InTurn` has no errors but those of its own precision, and adds the terms of each product one after the other.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from compare.numbers.allowance import FUNCTION, SHARP, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.carried import BY_EXP, BY_TANH, SIGMOID, Matrix, length

LEAST = 2.0**-30  # v in float64
LEAST_RUNS = 2
MORE_RUNS, FEW = 6, 1 << 12  # so many more of few elements
POOLED = 8  # elements, at least, of which three deviations are taken together
MARGIN = 2.0  # x the largest of the runs
POOL = 1 << 16


class Arithmetic(ABC):
    """How each result is rounded."""

    runs: int
    unit: float

    @abstractmethod
    def of(self, a: Array) -> Array:
        """A given array."""

    @abstractmethod
    def rounded(self, value: Array, size: Array | float, units: float = 1.0) -> Array:
        """A result that is off by so many units of a size, at most, which all runs have in common."""

    @abstractmethod
    def product(self, a: Array, b: Array) -> Array:
        """a b^T of (..., m, k) and (..., n, k)."""


@cache
def _pool() -> Array:
    """Random numbers of size 1/2 to 1."""
    rng = np.random.default_rng(0)
    found: Array = rng.choice([-1.0, 1.0], POOL) * rng.uniform(0.5, 1, POOL)
    return found


@dataclass
class Moved(Arithmetic):
    """Several runs at once, the first axis: so many that are moved, each in its own way, and if `still` one that is
    left as it is."""

    unit: float
    moved: int = LEAST_RUNS
    still: bool = False
    _at: int = field(default=0, init=False)

    @classmethod
    def of_size(cls, p: Precision, elements: int, still: bool = False) -> Moved:
        """Of few elements more runs: what few numbers say of their size is little, and they cost little."""
        return cls(max(p.u, LEAST), LEAST_RUNS + min(MORE_RUNS, FEW // max(elements, 1)), still)

    @property
    def runs(self) -> int:  # type: ignore[override]
        return self.moved + self.still

    def of(self, a: Array) -> Array:
        return a[np.newaxis].astype(np.float64, copy=False)

    def rounded(self, value: Array, size: Array | float, units: float = 1.0) -> Array:
        """The first run moved by all of it, the others by numbers from the pool."""
        by = (units * self.unit) * size
        found = np.empty((self.runs, *value.shape[1:]))
        np.add(value[0], by, out=found[0])
        np.multiply(self._moves((self.moved - 1, *value.shape[1:])), by, out=found[1 : self.moved])
        found[1 : self.moved] += value[1 : self.moved] if len(value) > 1 else value
        found[self.moved :] = value[-1]
        return found

    def product(self, a: Array, b: Array) -> Array:
        """Of all runs at once, where they lie one after the other and have b in common."""
        if len(b) > 1 or not a.flags.c_contiguous:
            found: Array = a @ b.swapaxes(-1, -2)
            return found
        return (a.reshape(-1, a.shape[-1]) @ b[0].T).reshape(*a.shape[:-1], len(b[0]))

    def _moves(self, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        self._at = (self._at * 5 + 12347) % POOL
        pool = _pool()
        at = self._at % max(POOL - count, 1)
        moves = pool[at : at + count] if count <= POOL else np.resize(pool, count)
        return moves.reshape(shape)


@dataclass
class InTurn(Arithmetic):
    """In a precision, the terms of a product from the first to the last, or from the last to the first."""

    dtype: DTypeLike
    backwards: bool = False
    runs: int = 1
    unit: float = 0.0

    def of(self, a: Array) -> Array:
        return a[np.newaxis].astype(self.dtype)

    def rounded(self, value: Array, size: Array | float, units: float = 1.0) -> Array:
        return value

    def product(self, a: Array, b: Array) -> Array:
        total = np.zeros((*a.shape[:-1], b.shape[-2]), self.dtype)
        terms = range(a.shape[-1])
        for k in reversed(terms) if self.backwards else terms:
            total += a[..., :, k, np.newaxis] * b[..., np.newaxis, :, k]
        return total


@dataclass(frozen=True)
class Tried:
    """A value in such an arithmetic, the first axis its runs; it is written with as numbers/carried.py's are."""

    value: Array
    by: Arithmetic

    @classmethod
    def of(cls, a: Any, by: Arithmetic) -> Tried:
        return cls(by.of(np.asarray(a)), by)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape[1:]

    @staticmethod
    def stacked(steps: Sequence[Tried]) -> Tried:
        """Steps (m, n) one after the other: (m, t, n)."""
        return Tried(np.stack([s.value for s in _alike(steps)], axis=2), steps[0].by)

    def step(self, t: int) -> Tried:
        """Of (m, t, n), one step (m, n)."""
        return Tried(self.value[:, :, t], self.by)

    def block(self, i: int, blocks: int) -> Tried:
        """Of so many equal blocks of the last axis one."""
        n = self.value.shape[-1] // blocks
        return Tried(self.value[..., i * n : (i + 1) * n], self.by)

    def joined(self, blocks: Sequence[Tried]) -> Tried:
        """Blocks of the last axis side by side."""
        return Tried(np.concatenate([b.value for b in _alike(blocks)], axis=-1), self.by)

    def zeros(self, columns: int) -> Tried:
        return Tried(np.zeros((1, self.value.shape[1], columns), self.value.dtype), self.by)

    def __neg__(self) -> Tried:
        return Tried(-self.value, self.by)

    def __add__(self, other: Any) -> Tried:
        return Tried(self.value + (other.value if isinstance(other, Tried) else other), self.by)

    def __mul__(self, other: Any) -> Tried:
        return Tried(self.value * (other.value if isinstance(other, Tried) else other), self.by)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Tried:
        return self + -other

    def __rsub__(self, other: Any) -> Tried:
        return -self + other

    def tanh(self) -> Tried:
        value = np.tanh(self.value)
        return Tried(self.by.rounded(value, np.abs(value[0]), FUNCTION), self.by)

    def sigmoid(self) -> Tried:
        half = self.value.dtype.type(0.5)
        value = half + half * np.tanh(half * self.value)
        return Tried(self.by.rounded(value, BY_TANH + (SIGMOID - BY_TANH) * value[0]), self.by)

    def relu(self) -> Tried:
        return Tried(np.maximum(self.value, 0), self.by)

    def tanh_slope(self) -> Tried:
        square = self.value * self.value
        return Tried(self.by.rounded(1 - square, BY_EXP - (BY_EXP - 1) * square[0]), self.by)

    def sigmoid_slope(self) -> Tried:
        s = self.value
        value = s * (1 - s)
        return Tried(self.by.rounded(value, s[0] * s[0] + BY_EXP * value[0]), self.by)

    def relu_slope(self) -> Tried:
        return Tried((self.value > 0).astype(self.value.dtype), self.by)

    def affine(self, w: Matrix, *further: tuple[Tried, Matrix], addends: Sequence[Array] = ()) -> Tried:
        """Sizes by Cauchy and Schwarz: |W_i| |a|."""
        value, size = self.by.product(self.value, self.by.of(w.value)), length(self.value[0]) * w.rows
        for a, each in further:
            value = _plus(value, self.by.product(a.value, self.by.of(each.value)))
            size += length(a.value[0]) * each.rows
        for b in addends:
            value = _plus(value, self.by.of(b))
            size += np.abs(b)
        n = w.value.shape[1] + sum(each.value.shape[1] for _, each in further) + len(addends)
        return Tried(self.by.rounded(value, size, _likely(n)), self.by)

    def over_time(self, a: Tried) -> Tried:
        d, a = (Tried(b.value.reshape(len(b.value), -1, b.value.shape[-1]).swapaxes(1, 2), self.by) for b in (self, a))
        value = self.by.product(d.value, a.value)
        size = length(d.value[0]) * length(a.value[0]).T
        return Tried(self.by.rounded(value, size, _likely(d.value.shape[-1] + 2)), self.by)

    def summed(self) -> Tried:
        d = self.value.reshape(len(self.value), -1, self.value.shape[-1]).swapaxes(1, 2)
        value = self.by.product(d, np.ones((1, 1, d.shape[-1]), d.dtype))[..., 0]
        size = length(d[0])[..., 0] * np.sqrt(d.shape[-1])
        return Tried(self.by.rounded(value, size, _likely(d.shape[-1] + 2)), self.by)

    def off_by(self, error: Array) -> Tried:
        """A given array that is off already."""
        return Tried(self.by.rounded(self.value, error, 1 / self.by.unit), self.by) if error.any() else self

    def bounded(self, p: Precision) -> Bounded:
        """The run that was left as it is, and how far the others are from it."""
        value = _alike([self], self.by.runs)[0].value
        return Bounded(value[-1], Tried(value[:-1], self.by).spread(value[-1], p.u), p)

    def spread(self, value: Array, u: float) -> Array:
        """How far a correct result may be from the value, for a unit u: twice what any run is, or three deviations of
        all runs in its row, in several rows where they are short. What fewer than four runs say is taken twice: less
        may show in them than there is."""
        off = self.value - value
        np.abs(off, out=off)
        row = np.einsum("k...i,k...i->...", off, off)[..., np.newaxis] / len(off)
        count, axis = value.shape[-1], value.ndim - 2
        while count < POOLED and axis >= 0:
            row, count, axis = row.sum(axis=axis, keepdims=True), count * value.shape[axis], axis - 1
        units = max(1.0, 4 / len(off)) * u / self.by.unit
        found: Array = np.maximum(MARGIN * off.max(axis=0), SHARP * np.sqrt(row / count)) * units
        return found


def _alike(steps: Sequence[Tried], least: int = 1) -> Sequence[Tried]:
    """All with the runs of those that have most."""
    runs = max(least, *(len(s.value) for s in steps))
    return [Tried(np.broadcast_to(s.value, (runs, *s.shape)), s.by) for s in steps]


def _plus(a: Array, b: Array) -> Array:
    """a + b, in a where it has room for it."""
    return np.add(a, b, out=a if np.broadcast_shapes(a.shape, b.shape) == a.shape else None)


def _likely(n: int) -> float:
    """Units of n roundings of a sum."""
    return min(float(n), SHARP * float(np.sqrt(n)))
