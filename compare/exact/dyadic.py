"""Dyadic arithmetic with a proof: the value of a sum, and the bits that hold every partial sum of it in any order.

Let every term of a sum be a multiple of 2^low, and let the sum of their absolute values be below 2^(low + b). Then
every partial sum, in any order, is an integer below 2^b times 2^low, and a binary floating-point format with b digits
holds it without rounding, unless 2^low is below its smallest subnormal number or the sum above its largest. With a
fused multiply-add or without: the products are among the partial sums. So a sum of b bits is the same in every
implementation, bit for bit.

The bits are found in float64, whose own roundings cannot hide a sum that is too large: adding numbers that are not
negative, a computed sum falls below 2^53 2^low only if the exact one does, because rounding is monotonic and leaves
2^53 2^low where it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from compare.numbers.array import Array

CONSTANT_BITS = 8  # significant bits of a rate or momentum: each product with it costs as many


@dataclass(frozen=True)
class Need:
    """Every term is a multiple of 2^low, and the largest sum of absolute values is `size`. low = inf: all are 0."""

    size: float
    low: float

    @property
    def bits(self) -> float:
        """The smallest b with size < 2^b 2^low; inf where something is not finite."""
        if self.size == 0:
            return 0
        if not (math.isfinite(self.size) and math.isfinite(self.low)):
            return math.inf
        return math.frexp(self.size)[1] - self.low

    def fits(self, dtype: DTypeLike) -> bool:
        """Whether this dtype holds every partial sum: its digits, its smallest and its largest number."""
        if self.size == 0:
            return True
        f = np.finfo(np.dtype(dtype))
        least = f.minexp - f.nmant
        return self.bits <= f.nmant + 1 and self.low >= least and self.size < 2.0 ** (f.maxexp - 1)


@dataclass(frozen=True)
class Proven:
    """A value in float64, and what its computation needs: exact in a dtype that fits every need."""

    value: Array
    needs: tuple[Need, ...] = ()

    def fits(self, dtype: DTypeLike) -> bool:
        """Whether a correct computation in this dtype gives this very value."""
        return all(need.fits(dtype) for need in self.needs)

    @property
    def worst(self) -> Need:
        """The need with the most bits."""
        return max(self.needs, key=lambda need: need.bits, default=Need(0.0, math.inf))


def lowest_bit(a: Array | float) -> float:
    """The largest e for which every element is a multiple of 2^e; inf where all are 0, -inf where one is not finite.

    |a| = k 2^(e - 53), k an integer of 53 bits (frexp), whose lowest bit is k & -k.
    """
    fraction, exponent = np.frexp(np.asarray(a, np.float64))
    if not np.isfinite(fraction).all():
        return -math.inf
    there = fraction != 0
    if not there.any():
        return math.inf
    k = np.ldexp(fraction[there], 53).astype(np.int64)
    trailing = np.frexp((k & -k).astype(np.float64))[1] - 1
    return float((exponent[there] - 53 + trailing).min())


def significant_bits(c: float) -> float:
    """Digits from the highest to the lowest one of a constant: 0.75 has 2, 0.1 has 53 or so."""
    return Need(abs(c), lowest_bit(c)).bits


def combination(*terms: tuple[float, Array]) -> Proven:
    """sum c_i a_i, elementwise, for constants c_i: size is the largest sum |c_i| |a_i|."""
    there = [(c, np.asarray(a, np.float64)) for c, a in terms if c != 0]
    value = np.asarray(sum(c * a for c, a in there))
    size = np.asarray(sum(abs(c) * np.abs(a) for c, a in there))
    low = min((lowest_bit(c) + lowest_bit(a) for c, a in there), default=math.inf)
    return Proven(value, (Need(_largest(size), low),))


def product(a: Array, b: Array, addend: Array | None = None) -> Proven:
    """a b^T + addend;  a (m, k), b (n, k), addend (n,) -> (m, n): size is the largest (|a| |b|^T + |addend|)."""
    value, size = a @ b.T, np.abs(a) @ np.abs(b).T
    low = lowest_bit(a) + lowest_bit(b)
    if addend is not None:
        value, size = value + addend, size + np.abs(addend)
        low = min(low, lowest_bit(addend))
    return Proven(value, (Need(_largest(size), low),))


def column_sums(a: Array) -> Proven:
    """sum over the rows; a (m, n) -> (n,): size is the largest sum |a|."""
    return Proven(a.sum(axis=0), (Need(_largest(np.abs(a).sum(axis=0)), lowest_bit(a)),))


def square_sum(a: Array) -> Proven:
    """sum a^2 over all elements: it is its own size, and its terms are multiples of 4^low."""
    value = np.asarray((a * a).sum())
    return Proven(value, (Need(float(value), 2 * lowest_bit(a)),))


def scaled(a: Array, c: float) -> Proven:
    """c a for a power of two c: exact where a is, but for under- and overflow."""
    return combination((c, a))


def is_power_of_two(n: float) -> bool:
    """1, 2, 4, ... and 1/2, 1/4, ..."""
    return n > 0 and math.frexp(n)[0] == 0.5


def _largest(size: Array) -> float:
    """NaN is never below a bound: it counts as infinite."""
    found = float(np.max(size, initial=0.0))
    return math.inf if math.isnan(found) else found
