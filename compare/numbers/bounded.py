"""Bounded: an array and how far a floating-point computation of it can be off, carried along by running error analysis.

A formula written with Bounded operands gives its value in float64 and, beside it, an absolute error bound for the same
formula computed in the candidate's precision (Higham, section 3.3). So a hypothesis about what a candidate computed
brings its own tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.numbers.allowance import FUNCTION, SHARP, Precision, gamma
from compare.numbers.array import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class Bounded:
    """value +- error, computed in precision p."""

    value: Array
    error: Array
    p: Precision

    __array_priority__ = 1000  # so that array * Bounded is ours
    __array_ufunc__ = None

    @classmethod
    def of(cls, a: Any, p: Precision) -> Bounded:
        """An operand without error of its own."""
        value = np.asarray(a, dtype=np.float64)
        return cls(value, np.zeros_like(value), p)

    def _of(self, other: Any) -> Bounded:
        if isinstance(other, float) and not other.is_integer():  # such as 0.1: rounded when it enters
            return Bounded(np.array(other), np.array(self.p.u * abs(other)), self.p)
        return other if isinstance(other, Bounded) else Bounded.of(other, self.p)

    def _rounded(self, value: Array, inherited: Array, roundings: float = 1.0) -> Bounded:
        return Bounded(value, inherited + roundings * self.p.u * np.abs(value) + self.p.subnormal, self.p)

    @property
    def T(self) -> Bounded:
        return Bounded(self.value.T, self.error.T, self.p)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def reshape(self, *shape: int) -> Bounded:
        """The same elements in another shape, row by row."""
        return self.arranged(lambda a: a.reshape(*shape))

    def arranged(self, f: Callable[[Array], Array]) -> Bounded:
        """The same elements arranged, repeated or left out by f, which computes nothing."""
        return Bounded(f(self.value), f(self.error), self.p)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Bounded:
        return Bounded(self.value[index], self.error[index], self.p)

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error, self.p)

    def __add__(self, other: Any) -> Bounded:
        b = self._of(other)
        return self._rounded(self.value + b.value, self.error + b.error)

    def __sub__(self, other: Any) -> Bounded:
        return self + -self._of(other)

    def __mul__(self, other: Any) -> Bounded:
        b = self._of(other)
        inherited = np.abs(self.value) * b.error + self.error * (np.abs(b.value) + b.error)
        return self._rounded(self.value * b.value, inherited)

    def __truediv__(self, other: Any) -> Bounded:
        b = self._of(other)
        value = self.value / b.value
        return self._rounded(value, (self.error + np.abs(value) * b.error) / np.maximum(np.abs(b.value) - b.error, 0))

    def __matmul__(self, other: Any) -> Bounded:
        b = self._of(other)
        a_size, b_size = np.abs(self.value), np.abs(b.value)
        inherited = a_size @ b.error + self.error @ (b_size + b.error)
        scale = a_size @ b_size
        rounding = _sum_error(self.value.shape[-1], self.p) * scale + len(b.value) * self.p.subnormal * (scale > 0)
        return Bounded(self.value @ b.value, inherited + rounding, self.p)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Bounded:
        return self._of(other) - self

    def __rtruediv__(self, other: Any) -> Bounded:
        return self._of(other) / self

    def __rmatmul__(self, other: Any) -> Bounded:
        return self._of(other) @ self

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Bounded:
        """Terms in any order."""
        terms = self._terms(axis)
        rounding = _sum_error(terms, self.p) * np.abs(self.value).sum(axis, keepdims=keepdims)
        error = self.error.sum(axis, keepdims=keepdims) + rounding
        return Bounded(np.asarray(self.value.sum(axis, keepdims=keepdims)), np.asarray(error), self.p)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Bounded:
        """sum / count."""
        return self.sum(axis, keepdims) / self._terms(axis)

    def _terms(self, axis: int | tuple[int, ...] | None) -> int:
        along = range(self.value.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        return math.prod(self.value.shape[i] for i in along)


def _sum_error(k: int, p: Precision) -> float:
    """The sharp bound throughout: a hypothesis is a guess at what was computed, and may be held to the likely error."""
    return min(gamma(k + 2, p.u), SHARP * float(np.sqrt(k + 2)) * p.u)


def exp(a: Bounded) -> Bounded:
    """e^a."""
    value = np.exp(a.value)
    return a._rounded(value, value * np.expm1(np.minimum(a.error, 700)), FUNCTION)


def log(a: Bounded) -> Bounded:
    """The natural logarithm."""
    value = np.log(a.value)
    return a._rounded(value, a.error / np.maximum(a.value - a.error, 0), FUNCTION)


def sqrt(a: Bounded) -> Bounded:
    """The square root: off by at most min(e / sqrt(a), sqrt(e))."""
    value = np.sqrt(a.value)
    return a._rounded(value, np.minimum(a.error / np.maximum(value, 1e-300), np.sqrt(a.error)))


def tanh(a: Bounded) -> Bounded:
    """Its slope is at most 1."""
    value = np.tanh(a.value)
    return a._rounded(value, np.minimum(1.0, 1 - value * value + 1e-16) * a.error, FUNCTION)


def erf(a: Bounded) -> Bounded:
    """Its slope is at most 2 / sqrt(pi)."""
    value = _erf(a.value)
    return a._rounded(value, 2 / np.sqrt(np.pi) * a.error, FUNCTION)


def sigmoid(a: Bounded) -> Bounded:
    """Its slope is at most y."""
    value = 1 / (1 + np.exp(-a.value))
    return a._rounded(value, np.minimum(value, 0.25) * a.error, FUNCTION + 4)


def softmax(a: Bounded, axis: int = 1) -> Bounded:
    """e^a over its sum along an axis, shifted by the maximum."""
    e = exp(a - a.value.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def where(condition: Array, a: Any, b: Any, p: Precision) -> Bounded:
    """Elementwise selection."""
    a, b = (s if isinstance(s, Bounded) else Bounded.of(s, p) for s in (a, b))
    return Bounded(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error), p)


def clip(a: Bounded, low: float, high: float) -> Bounded:
    """The limits are rounded when they enter."""
    outside = (a.value < low) | (a.value > high)
    return Bounded(np.clip(a.value, low, high), a.error + outside * a.p.u * max(abs(low), abs(high)), a.p)


def relu(a: Bounded) -> Bounded:
    """max(a, 0)."""
    return where(a.value > 0, a, 0.0, a.p)


def absolute(a: Bounded) -> Bounded:
    """|a|."""
    return Bounded(np.abs(a.value), a.error, a.p)
