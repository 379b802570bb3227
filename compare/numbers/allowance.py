r"""Allowance: how far a correct computation can be from the exact one; computed, never guessed.

The allowance of an operation is derived in its own file (compare/operations); sums and products, which all need, here.

The model is Higham's (Accuracy and Stability of Numerical Algorithms, 2nd ed., section 2.2): a floating-point operation
returns its exact result times (1 + d), |d| <= u, plus at most half the smallest subnormal number where it underflows.
u is the unit roundoff: 2^-24 in float32, 2^-53 in float64. Every allowance is componentwise, covers each algebraically
correct way to write the operation that a docstring names, and holds whatever the order of a sum. The reference that
candidates are held against is itself computed in float64, so u here is the sum of both sides' (`Precision.u`).

Elementary functions are taken to be good to 5 u, 2.5 units in the last place. In float32 NumPy's vectorised log reaches
4.6 u, exp and cosh 3.6 u, log1p 3.3 u, tanh 1.8 u (tests/compare/operations/test_allowances.py looks for more).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from compare.numbers.array import Array
from compare.numbers.sizes import product_of_sizes

FUNCTION = 5.0  # u: the relative error of exp, log, tanh and their like
SHARP = 3.0  # standard deviations: the errors of a sum are nearly independent, and grow as sqrt(k)
SPEAKS = 0.4  # the sharp bound is used only where a plain sequential sum stays within this share of it


@dataclass(frozen=True)
class Precision:
    """The arithmetic of the candidate: `u` (with the reference's float64 share), the smallest numbers, the largest."""

    dtype: np.dtype[Any]

    @classmethod
    def of(cls, dtype: DTypeLike) -> Precision:
        """TypeError unless dtype is float32 or float64."""
        found = np.dtype(dtype)
        if found not in (np.float32, np.float64):
            raise TypeError(f"got {found}, expected float32 or float64")
        return cls(found)

    @cached_property
    def u(self) -> float:
        """Unit roundoff of the candidate plus that of the float64 reference."""
        return float(np.finfo(self.dtype).eps) / 2 + 2.0**-53

    @cached_property
    def subnormal(self) -> float:
        """The smallest subnormal number: what one underflow can cost, at most."""
        return float(np.finfo(self.dtype).smallest_subnormal)

    @property
    def normal(self) -> float:
        """The smallest normal number: what a reciprocal of an overflow (1 / inf = 0) can cost."""
        return float(np.finfo(self.dtype).tiny)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.finfo(self.dtype).max)


@dataclass(frozen=True)
class Allowance:
    """The allowed difference of a tensor, element by element.

        wide  = worst scale + floor + rest      always holds
        sharp = likely scale + floor + rest     holds where `sums_well()` says so; None where `likely` is None

    - `scale`: the sizes that the roundings are relative to, such as |x| |W|^T for a product.
    - `floor`: what underflow can cost. It is added only where the scale is not 0.
    - `rest`: errors that the operands bring along.
    - `reach`: a bound of the numbers on the way, such as partial sums and squares, where they can be larger than the
      result. A correct computation may overflow there, and its result is then infinite or NaN.

    The bounds are made when they are asked for. A tensor is judged in blocks of rows, so a block's bounds stay in the
    cache.
    """

    scale: Array
    worst: float = 1.0
    likely: float | None = None
    sums_well: Callable[[], bool] = field(default=lambda: False)
    reach: Array | float = 0.0
    floor: float = 0.0
    rest: Array | float = 0.0

    @classmethod
    def none(cls, shape: Sequence[int]) -> Allowance:
        """No difference allowed: copies, comparisons, selections."""
        return cls(_zeros(tuple(shape)), worst=0.0)

    @property
    def is_none(self) -> bool:
        """Whether no difference is allowed anywhere."""
        return self.worst == 0 and self.floor == 0 and np.ndim(self.rest) == 0 and self.rest == 0

    @cached_property
    def wide(self) -> Array:
        return self._times(self.worst)

    @cached_property
    def sharp(self) -> Array | None:
        return None if self.likely is None else self._times(self.likely)

    @property
    def likely_bound(self) -> Array:
        """The sharp one where there is one, which may not speak."""
        return self.wide if self.sharp is None else self.sharp

    def proportional(self) -> tuple[Array, float]:
        """(a, f): the likely bound is f a and, where a is not 0, the floor."""
        if np.ndim(self.rest) == 0 and self.rest == 0:
            return self.scale, self.worst if self.likely is None else self.likely
        return self.likely_bound, 1.0

    def at(self, index: tuple[int, ...]) -> float:
        """The likely bound of one element."""
        size = float(self.scale[index])
        rest = self.rest if np.ndim(self.rest) == 0 else np.broadcast_to(self.rest, self.scale.shape)[index]
        factor = self.worst if self.likely is None else self.likely
        return factor * size + (self.floor if size > 0 else 0.0) + float(rest)

    def _times(self, factor: float) -> Array:
        bound: Array = self.scale if factor == 1 else factor * self.scale.astype(np.float64, copy=False)
        if self.floor:
            bound = bound + (self.floor if np.min(self.scale, initial=1.0) > 0 else self.floor * (self.scale > 0))
        return bound if np.ndim(self.rest) == 0 and self.rest == 0 else bound + self.rest

    def for_difference(self, difference: Array) -> Array:
        """The bound that applies: the sharp one unless it is exceeded and a plain sequential sum nearly does so too.

        The order matters for cost only: a sequential sum is slow, and not needed where nothing exceeds the sharp bound.
        """
        if self.sharp is None or (not np.all(difference <= self.sharp) and not self.sums_well()):
            return self.wide
        return self.sharp

    def widened(self, extra: Array | float, by: float = 1.0) -> Allowance:
        """`by` times the same, and so much more."""
        likely = None if self.likely is None else by * self.likely
        rest = by * self.rest + extra
        return replace(self, worst=by * self.worst, likely=likely, floor=by * self.floor, rest=rest)

    def rows(self, rows: Any) -> Allowance:
        """Of these rows of the tensor."""
        rest = self.rest if np.ndim(self.rest) == 0 else np.broadcast_to(self.rest, self.scale.shape)[rows]
        return replace(self, scale=self.scale[rows], rest=rest)

    def reshaped(self, shape: Sequence[int]) -> Allowance:
        """Of the tensor in another shape, row by row."""
        rest, reach = (
            a if np.ndim(a) == 0 else np.broadcast_to(a, self.scale.shape).reshape(shape)
            for a in (self.rest, self.reach)
        )
        return replace(self, scale=self.scale.reshape(shape), rest=rest, reach=reach)

    def unbounded_at(self, where: NDArray[np.bool_]) -> Allowance:
        """The same, but infinite there."""
        return replace(self, scale=np.where(where, np.inf, self.scale), rest=np.where(where, 0.0, self.rest))

    def bound(self) -> Array:
        """The bound that applies, for a difference not yet known."""
        return self.sharp if self.sharp is not None and self.sums_well() else self.wide


@dataclass(frozen=True)
class LikelyFirst(Allowance):
    """`scale` is the likely bound itself. The one that always holds is computed only where the likely one may not
    speak: `wide` is the one of the two that applies."""

    certain: Callable[[], Array] = field(default=lambda: np.zeros(()))

    @classmethod
    def of(cls, likely: Array, certain: Callable[[], Array], sums_well: Callable[[], bool], reach: float) -> Self:
        return cls(likely, likely=1.0, sums_well=sums_well, reach=reach, certain=certain)

    @cached_property
    def wide(self) -> Array:
        likely = self._times(self.worst)
        if self.sums_well():
            return likely
        certain = self.worst * self.certain() + self.rest
        return np.where(certain >= likely, certain, np.where(np.isnan(certain), np.inf, likely))

    def rows(self, rows: Any) -> LikelyFirst:
        rest = self.rest if np.ndim(self.rest) == 0 else np.broadcast_to(self.rest, self.scale.shape)[rows]
        return replace(self, scale=self.scale[rows], rest=rest, certain=lambda: self.certain()[rows])


@lru_cache
def _zeros(shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(0.0, shape)


def gamma(k: int, u: float) -> float:
    """gamma_k = k u / (1 - k u): the relative error of k roundings (Higham, lemma 3.1). inf where k u >= 1."""
    return k * u / (1 - k * u) if k * u < 1 else float("inf")


def summation(
    scale: Array,
    terms: int,
    p: Precision,
    value: Array,
    sequential: Callable[[], Iterator[Array]],
    inherited: Array | float = 0.0,
) -> Allowance:
    """A sum of `terms` products: gamma_{k+2} (|x| . |w|), k the number of terms, in any order (Higham, section 3.1).

    `scale` is |x| . |w|, `inherited` the error that the terms bring along. The 2 are a multiplication by a factor such
    as 1/m, before or after the sum. Each product may underflow; where the scale is 0 every product is exactly 0.

    The sharp bound 3 sqrt(k + 2) u |x| . |w| (Higham and Mary, SIAM J. Sci. Comput. 41, 2019, theorem 2.4, at three
    standard deviations) takes roundings for independent. Sums of nearly equal terms round with a bias and break it, so
    it may speak only where all that `sequential()` gives, plain sums of the same operands term after term in the
    candidate's precision, stay within 0.4 of it over the whole tensor. No partial sum is larger than |x| . |w|.
    """
    k = terms + 2
    bounds = Allowance(scale, gamma(k, p.u), reach=scale, floor=k * p.subnormal, rest=inherited)
    if SHARP * np.sqrt(k) >= k:
        return bounds
    likely = SHARP * float(np.sqrt(k)) * p.u

    def sums_well() -> bool:
        sharp = replace(bounds, worst=likely).wide
        with np.errstate(all="ignore"):
            return all(bool(np.all(np.abs(plain - value) <= SPEAKS * sharp)) for plain in sequential())

    return replace(bounds, likely=likely, sums_well=sums_well)


def product(a: Array, b: Array, p: Precision, value: Array, addend: Array | None = None) -> Allowance:
    """y = a b^T + addend;  a (m, k), b (n, k), addend (n,) -> y (m, n): k terms, and one more for the addend."""
    scale = product_of_sizes(a, b, addend, p.dtype)
    terms = a.shape[1] + (addend is not None)
    return summation(scale, terms, p, value, lambda: sequential_products(a, b, p.dtype, addend))


def sequential_products(a: Array, b: Array, dtype: DTypeLike, addend: Array | None = None) -> Iterator[Array]:
    """a b^T + addend, term after term in `dtype`, without blocking or fused multiply-add.

    Addend last, addend first, and, as the reference may itself sum in the first of these orders, from the other end.
    """
    a, b = a.astype(dtype), b.astype(dtype)
    rest = np.zeros(len(b), dtype) if addend is None else addend.astype(dtype)
    forth = range(a.shape[1])
    for first, last, order in ((0, rest, forth), (rest, 0, forth), (0, rest, reversed(forth))):
        if order is forth and first is rest and addend is None:
            continue
        total = np.zeros((len(a), len(b)), dtype) + np.asarray(first, dtype)
        for i in order:
            total += a[:, i, None] * b[None, :, i]
        yield (total + np.asarray(last, dtype)).astype(np.float64)


def total(terms: Array, p: Precision, value: Array, inherited: Array | float = 0.0, count: float = 1.0) -> Allowance:
    """A sum over the first axis: terms (m, ...) -> (...), in any order. `inherited` is the terms' own error.

    `count` is what the terms were divided by: divided afterwards, they have other mantissas and another bias.
    """
    scale = np.abs(terms).sum(axis=0)

    def sequential() -> Iterator[Array]:
        for factor in {1.0, count}:
            rounded = (terms * factor).astype(p.dtype)
            for ordered in (rounded, rounded[::-1]):
                yield np.add.accumulate(ordered, axis=0)[-1].astype(np.float64) / factor

    return summation(scale, len(terms), p, value, sequential, inherited)


def root_error(v: Array, error: Array) -> Array:
    """|sqrt(v + d) - sqrt(v)| <= min(d / sqrt(v), sqrt(d)) for |d| <= error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(v > 0, np.minimum(error / np.sqrt(v), np.sqrt(error)), np.sqrt(error))


def over_root(size: Array, error: Array, v: Array, v_error: Array, eps: float, p: Precision) -> tuple[Array, ...]:
    """Of x / (sqrt(v) + eps), |x| at most `size`: its size, what the errors of x and v make of it, and underflow.

    The divisor may be smaller than it should be. NaN or inf where it may be 0. Its own roundings are not among it.
    """
    root = np.sqrt(v)
    off = root_error(v, v_error)
    least = np.maximum(root - off, 0) + max(eps - p.subnormal, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = size / least
        carried = error / least + quotient * off / (root + eps)
        underflow = 4 * p.subnormal * (1 + size + 1 / least)
    return quotient, carried, underflow
