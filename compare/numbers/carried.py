r"""Carried: bounded arrays for recurrences, where the error of one step enters the next.

Bounded holds its products to their likely error, and bounds what the operands bring along element by element: the
error e of h gives W h an error of |W| e. Over many steps that is too much. |W| is larger than W in every norm: for
weights drawn from +-1/sqrt(k) its largest singular value grows as sqrt(k) / 2, that of W stays near 1.2. So each row
(the last axis) has, beside the bounds of its elements, a bound of the Euclidean norm of its error:

    |W d| <= |W| e,  |W d|_i <= |W_i| |d|  (Cauchy and Schwarz),  |W d| <= |W|_2 |d|

All three hold for the same d, so the least of them holds for each element, and the last one for the row. Elementwise
factors b give |b d| <= max |b| |d|. Roundings of this step are added to either: their own norm is that of their bounds.

Sums of products round by gamma_n, n the number of terms, in any order (Higham, section 3.1), not by their likely error:
these bounds are the allowances of correct code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from compare.numbers.allowance import FUNCTION, Precision, gamma
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded

BEND_TANH = 0.385  # half of the largest |tanh''|, 4 / (3 sqrt 3)
BEND_SIGMOID = 0.0482  # half of the largest |sigmoid''|, 1 / (6 sqrt 3)
SIGMOID = FUNCTION + 2  # u: 1 / (1 + e^-x), or e^x / (1 + e^x), relative to its value
BY_TANH = FUNCTION / 2  # u: (1 + tanh(x / 2)) / 2, of 1 minus its value beside that
BY_EXP = 18.0  # u: e^-x / (1 + e^-x)^2 and 1 / cosh^2 x, relative to their value


def length(a: Array) -> Array:
    """Of each row: (..., n) -> (..., 1)."""
    found: Array = np.sqrt(np.einsum("...i,...i->...", a, a))[..., np.newaxis]
    return found


@dataclass(frozen=True)
class Matrix:
    """A matrix without error, and how far it can move an error."""

    value: Array

    @cached_property
    def size(self) -> Array:
        return np.abs(self.value)

    @cached_property
    def rows(self) -> Array:
        """The length of each row."""
        return length(self.value)[:, 0]

    @cached_property
    def norm(self) -> float:
        """Its largest singular value, from above."""
        small = self.value @ self.value.T if len(self.value) < self.value.shape[1] else self.value.T @ self.value
        if not np.isfinite(small).all():
            return float("inf")
        return float(np.sqrt(np.linalg.eigvalsh(small)[-1])) * (1 + 1e-8) if small.size else 0.0

    @cached_property
    def T(self) -> Matrix:
        return Matrix(self.value.T)


@dataclass(frozen=True)
class Carried(Bounded):
    """value +- error, and the norm of each row's error: (..., n), (..., n), (..., 1)."""

    norm: Array

    @classmethod
    def of(cls, a: Any, p: Precision) -> Carried:
        """What is bounded already, or an operand without error of its own."""
        found = a if isinstance(a, Bounded) else Bounded.of(np.atleast_1d(a), p)
        return found if isinstance(found, Carried) else cls(found.value, found.error, p, length(found.error))

    @classmethod
    def stacked(cls, steps: Sequence[Carried]) -> Carried:
        """Steps (m, n) one after the other: (m, t, n)."""
        value, error, norm = (np.stack([getattr(s, n) for s in steps], axis=1) for n in ("value", "error", "norm"))
        return cls(value, error, steps[0].p, norm)

    def step(self, t: int) -> Carried:
        """Of (m, t, n), one step (m, n)."""
        return Carried(self.value[:, t], self.error[:, t], self.p, self.norm[:, t])

    def block(self, i: int, blocks: int) -> Carried:
        """Of so many equal blocks of the last axis one; its error is no longer than that of all."""
        n = self.value.shape[-1] // blocks
        at = slice(i * n, (i + 1) * n)
        return Carried(self.value[..., at], self.error[..., at], self.p, self.norm)

    def joined(self, blocks: Sequence[Carried]) -> Carried:
        """Blocks of the last axis side by side."""
        value, error = (np.concatenate([getattr(b, name) for b in blocks], axis=-1) for name in ("value", "error"))
        return Carried(value, error, self.p, np.sqrt(sum(b.norm * b.norm for b in blocks)))

    def _with(self, value: Array, inherited: Array, norm: Array, local: Array) -> Carried:
        """From what it inherits, bounded by element and by row, and roundings of its own."""
        return Carried(value, inherited + local, self.p, norm + length(local))

    def __neg__(self) -> Carried:
        return Carried(-self.value, self.error, self.p, self.norm)

    def __add__(self, other: Any) -> Carried:
        b = Carried.of(other, self.p)
        value = self.value + b.value
        return self._with(value, self.error + b.error, self.norm + b.norm, self.p.u * np.abs(value))

    def __mul__(self, other: Any) -> Carried:
        b = Carried.of(other, self.p)
        a_size, b_size = np.abs(self.value), np.abs(b.value) + b.error
        inherited = a_size * b.error + self.error * b_size
        norm = _most(a_size) * b.norm + _most(b_size) * self.norm
        value = self.value * b.value
        return self._with(value, inherited, norm, self.p.u * np.abs(value) + self.p.subnormal)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Carried:
        return self + -Carried.of(other, self.p)

    def __rsub__(self, other: Any) -> Carried:
        return -self + other

    def _through(self, value: Array, slope: Array, bend: float, local: Array, room: Array) -> Carried:
        """A function of slope at most 1 and of a second derivative of at most twice the bend, with so much room on
        either side of its value."""
        steepest = np.minimum(slope + bend * self.error, 1.0)
        made = self._with(value, steepest * self.error, _most(steepest) * self.norm, local)
        error = np.minimum(made.error, room + local)
        return Carried(value, error, self.p, np.minimum(made.norm, length(error)))

    def tanh(self) -> Carried:
        """The elementary function."""
        value = np.tanh(self.value)
        local = FUNCTION * self.p.u * np.abs(value) + self.p.subnormal
        return self._through(value, 1 - value * value, BEND_TANH, local, 1 + np.abs(value))

    def sigmoid(self) -> Carried:
        """1 / (1 + e^-x), e^x / (1 + e^x), or (1 + tanh(x / 2)) / 2, which is good to u, not to u of its value."""
        value = 0.5 + 0.5 * np.tanh(0.5 * self.value)
        local = self.p.u * (SIGMOID * value + BY_TANH * (1 - value)) + self.p.normal
        return self._through(value, value * (1 - value), BEND_SIGMOID, local, np.maximum(value, 1 - value))

    def relu(self) -> Carried:
        """max(x, 0)."""
        error = np.where(self.value > -self.error, self.error, 0.0)
        return Carried(np.maximum(self.value, 0), error, self.p, self.norm)

    def tanh_slope(self) -> Carried:
        """Of a tanh, its slope: 1 - h^2 or (1 - h)(1 + h) from the value h, or 1 / cosh^2 from its argument."""
        h = np.abs(self.value)
        value = 1 - h * h
        local = self.p.u * (h * h + BY_EXP * value) + self.p.subnormal
        steepest = 2 * h + self.error
        return self._with(value, steepest * self.error, _most(steepest) * self.norm, local)

    def sigmoid_slope(self) -> Carried:
        """Of a sigmoid: s (1 - s) or s - s^2 from the value s, or e^-x / (1 + e^-x)^2 from its argument."""
        s = self.value
        value = s * (1 - s)
        local = self.p.u * (s * s + BY_EXP * value) + self.p.subnormal
        steepest = np.abs(1 - 2 * s) + self.error
        return self._with(value, steepest * self.error, _most(steepest) * self.norm, local)

    def relu_slope(self) -> Carried:
        """Of a ReLU's argument: 0 or 1, and either where a correct argument may be on either side of 0."""
        error = ((np.abs(self.value) <= self.error) & (self.error > 0)).astype(np.float64)
        return Carried((self.value > 0).astype(np.float64), error, self.p, length(error))

    def zeros(self, columns: int) -> Carried:
        """As many rows, without error."""
        return Carried.of(np.zeros((self.value.shape[0], columns)), self.p)

    def affine(self, w: Matrix, *further: tuple[Carried, Matrix], addends: Sequence[Array] = ()) -> Carried:
        """a W^T, and of further (a, W), and the addends: gamma_n of the sizes for all n terms in any order."""
        terms = ((self, w), *further)
        n = sum(w.value.shape[1] for _, w in terms) + len(addends)
        value, local, inherited, norm = (np.zeros(()) for _ in range(4))
        for b in addends:
            value, local = value + b, local + np.abs(b)
        for a, w in terms:
            value, local = value + a.value @ w.value.T, local + np.abs(a.value) @ w.size.T
            if a.error.any():
                row = np.minimum(a.norm, length(a.error))
                inherited = inherited + np.minimum(a.error @ w.size.T, row * w.rows)
                norm = norm + w.norm * row
        local = gamma(n, self.p.u) * local + n * self.p.subnormal * (local > 0)
        return Carried(value, inherited + local, self.p, norm + length(local))

    def over_time(self, a: Carried) -> Bounded:
        """Sum of d^T a over all axes but the last, (..., n), (..., k) -> (n, k): gamma of the terms, and of a factor
        before or after."""
        dv, de, av, ae = (b.reshape(-1, b.shape[-1]) for b in (self.value, self.error, a.value, a.error))
        worst = gamma(len(dv) + 2, self.p.u)
        error = (worst * np.abs(dv) + de).T @ np.abs(av) + len(dv) * self.p.subnormal
        return Bounded(dv.T @ av, error + (np.abs(dv) + de).T @ ae, self.p)

    def summed(self) -> Bounded:
        """Sum over all axes but the last: (..., n) -> (n,)."""
        axes = tuple(range(self.value.ndim - 1))
        worst = gamma(self.value.size // self.value.shape[-1] + 2, self.p.u)
        return Bounded(self.value.sum(axis=axes), (worst * np.abs(self.value) + self.error).sum(axis=axes), self.p)


def _most(size: Array) -> Array:
    """The largest of each row."""
    found: Array = size.max(axis=-1, keepdims=True, initial=0.0)
    return found
