r"""How far a correct computation can be from the exact one: an allowance for every operation, computed, never guessed.

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
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from compare.numbers.sizes import product_of_sizes

Array = NDArray[np.float64]

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
    """The allowed difference, element by element: `wide` always holds; `sharp` holds where `sums_well()` says so.

    wide = worst scale + floor + rest;  sharp = likely scale + floor + rest, floor only where the scale is not 0. They
    are made when they are asked for: a tensor is judged in blocks of rows, and the bounds of a block stay in the cache.
    `reach` bounds the numbers on the way, partial sums and squares, where they can be larger than the result: a correct
    computation may overflow there, and its result then be infinite or NaN.
    """

    scale: Array
    worst: float = 1.0
    likely: float | None = None
    sums_well: Callable[[], bool] = field(default=lambda: False)
    reach: Array | float = 0.0
    floor: float = 0.0
    rest: Array | float = 0.0

    @property
    def is_exact(self) -> bool:
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

    def unbounded_at(self, where: NDArray[np.bool_]) -> Allowance:
        """The same, but infinite there."""
        return replace(self, scale=np.where(where, np.inf, self.scale), rest=np.where(where, 0.0, self.rest))

    def bound(self) -> Array:
        """The bound that applies, for a difference not yet known."""
        return self.sharp if self.sharp is not None and self.sums_well() else self.wide


def exact(shape: Sequence[int]) -> Allowance:
    """No difference allowed: copies, comparisons, selections."""
    return Allowance(_zeros(tuple(shape)), worst=0.0)


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


def sigmoid(y: Array, p: Precision) -> Allowance:
    """y = 1 / (1 + e^-x), or e^x / (1 + e^x): 7 u y, of which exp 5 u, the sum u and the quotient u.

    Where e^-x overflows the first form gives 0 for a y below the smallest normal number: one such number more.
    """
    return Allowance((FUNCTION + 2) * p.u * y + p.normal)


def sigmoid_backward(y: Array, dy: Array, p: Precision) -> Allowance:
    """dx = dy y (1 - y), from a rounded y or from x: 8 u y |dy|.

    From y: y carries 7 u y where it is small, and 2 u y near 1, where e^-x is a small part of 1 + e^-x and where 1 - y
    makes its error an absolute one; the two products and the difference add 3 u y (1 - y). From x, as
    e^-x / (1 + e^-x)^2: 5 u, twice what the square carries, and 3 roundings, times y (1 - y), which is below it.
    """
    return Allowance(8 * p.u * y * np.abs(dy) + (p.normal + p.u * p.normal) * np.abs(dy) + 3 * p.subnormal)


def tanh(y: Array, p: Precision) -> Allowance:
    """y = tanh x: the elementary function, 5 u |y|."""
    return Allowance(FUNCTION * p.u * np.abs(y) + p.subnormal)


def tanh_backward(y: Array, dy: Array, p: Precision) -> Allowance:
    """dx = dy (1 - y^2), or dy / cosh^2 x: u max(3 + 8 y^2, 12 (1 - y^2)) |dy|.

    From y: y carries 5 u |y| at most, so y^2 carries 10 u y^2 near 0, where 3 is enough for both, and near 1, where it
    matters, y is rounded to u/2 of 1 and y^2 carries 3 u y^2 with its own rounding; the difference and the product add
    u each to a value of at most 1. From x: cosh carries 5 u, its square 11 u, the quotient u.
    """
    slope = 1 - y * y
    return Allowance(p.u * np.maximum(3 + 8 * y * y, (2 * FUNCTION + 2) * slope) * np.abs(dy) + 3 * p.subnormal)


def softmax_relative(s: Array, y: Array, p: Precision) -> Array:
    """Relative error of softmax of s (m, n): e^E - 1, E = `log_softmax_error`."""
    return np.expm1(np.minimum(log_softmax_error(s, y, p), 700))


def log_softmax_error(s: Array, y: Array, p: Precision) -> Array:
    """Absolute error of log softmax of s (m, n): E = (2 |s - max| + sum_j y_j |s_j - max| + |lse| + n + 15) u.

    Shifted: s - max is rounded (u |s - max| in the exponent), exp 4 u, their sum inherits the y-weighted mean of both
    and adds (n - 1) u, the quotient u. As e^(s - lse): lse carries u |lse| and the error of the sum; s - lse, of size
    |s - max| + log n at most, is rounded. Unshifted: no error in the exponent. Two exps, a log and a quotient: 15.
    """
    shift = s.max(axis=1, keepdims=True)
    away = np.abs(s - shift)
    mean_away = (y * away).sum(axis=1, keepdims=True)
    lse = shift + np.log(np.exp(s - shift).sum(axis=1, keepdims=True))
    error: Array = (2 * away + mean_away + np.abs(lse) + s.shape[1] + 15) * p.u
    return error


def softmax(s: Array, y: Array, p: Precision) -> Allowance:
    """y = softmax s: the relative error above, times y; e^(s - max) may underflow, before a divisor of at least 1."""
    return Allowance(softmax_relative(s, y, p) * y + 2 * p.subnormal)


def softmax_backward(s: Array, y: Array, dy: Array, p: Precision) -> Allowance:
    """dx_k = y_k (dy_k - sum_j dy_j y_j), in that form or through the Jacobian diag(y) - y y^T.

    With E the relative error of y: E_k y_k (|dy_k| + c) + y_k sum_j E_j y_j |dy_j| + (n + 4) u y_k (|dy_k| + c), where
    c = sum_j y_j |dy_j|; the two terms are taken apart because the Jacobian form rounds y_k dy_k and y_k y_j dy_j so.
    """
    relative = softmax_relative(s, y, p)
    weighted = y * np.abs(dy)
    c = weighted.sum(axis=1, keepdims=True)
    carried = (relative * weighted).sum(axis=1, keepdims=True)
    n = s.shape[1]
    rounding = (relative + (n + 4) * p.u) * y * (np.abs(dy) + c) + (1 + relative) * y * carried
    subnormal = (n + 3) * p.subnormal * (1 + np.abs(dy) + np.abs(dy).max(axis=1, keepdims=True))
    return Allowance(rounding + subnormal, reach=np.abs(dy) + c)


def cross_entropy(s: Array, t: Array, count: int, p: Precision, value: Array) -> Allowance:
    """L = -(1/c) sum_i sum_k t_ik log softmax(s_i)_k on logits s (m, n).

    A row's log-probability carries the relative error of its softmax as an absolute one, and the roundings of its last
    steps, in either order: (max + log sum) - s_t, s_t - max - log sum, or log of softmax: 4 u (|max| + |s| + |log p|).
    """
    shift = s.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(s - shift).sum(axis=1, keepdims=True))
    log_p = s - shift - log_sum
    per_class = log_softmax_error(s, np.exp(log_p), p) + 4 * p.u * (np.abs(shift) + np.abs(s) + np.abs(log_p))
    inherited = (np.abs(t) * per_class).sum() / count
    return total((-t * log_p).ravel() / count, p, value, inherited, count)


def cross_entropy_backward(s: Array, y: Array, t: Array, count: int, p: Precision) -> Allowance:
    """ds = (y sum_k t_k - t) / c, fused, or through the softmax's Jacobian from t / y: (E y + 8 u (y + t)) / c."""
    weight = np.abs(t).sum(axis=1, keepdims=True)
    rounding = (softmax_relative(s, y, p) + 8 * p.u) * y * weight + 8 * p.u * np.abs(t)
    return Allowance(rounding / count + 4 * p.subnormal)


def probability_cross_entropy(terms: Array, count: int, p: Precision, value: Array) -> Allowance:
    """L = -(1/c) sum t log q, terms = -t log q: the logarithm and the product carry (5 + 2) u of each term."""
    inherited = (FUNCTION + 2) * p.u * np.abs(terms).sum() / count
    return total(terms.ravel() / count, p, value, inherited, count)


def probability_cross_entropy_backward(dq: Array, p: Precision) -> Allowance:
    """dq = -t / (c q): two quotients, or a reciprocal, a product and a quotient, in any order: 4 u |dq|."""
    return Allowance(4 * p.u * np.abs(dq) + 2 * p.subnormal)


def squared_error(d: Array, factor: float, p: Precision, value: Array) -> Allowance:
    """L = factor sum d^2, d = y - t: d carries u |d|, so d^2 2 u d^2, and 3 roundings of square and factor."""
    terms = factor * d * d
    return total(terms.ravel(), p, value, 5 * p.u * terms.sum() + d.size * factor * p.subnormal, 1 / factor)


def squared_error_backward(dy: Array, p: Precision) -> Allowance:
    """dy = factor (y - t): the difference, and the factor in at most three roundings (2 / m / n): 4 u |dy|."""
    return Allowance(4 * p.u * np.abs(dy) + 2 * p.subnormal)


def binary_cross_entropy(t: Array, terms: Array, count: int, p: Precision, value: Array) -> Allowance:
    """L = -(1/c) sum (t log q + (1 - t) log(1 - q)), terms = -t log q - (1 - t) log(1 - q), each part at least 0.

    1 - q is rounded: u |1 - t| more in its logarithm, log1p(-q) or not; each logarithm and its product carry (5 + 2) u.
    1 - t, where it is not exact, has relative error u, which is among the 2.
    """
    inherited = p.u * ((FUNCTION + 2) * terms + np.abs(1 - t)).sum() / count
    return total(terms.ravel() / count, p, value, inherited, count)


def binary_cross_entropy_backward(q: Array, t: Array, count: int, p: Precision) -> Allowance:
    """dq = ((1 - t) / (1 - q) - t / q) / c, or (q - t) / (q (1 - q)) / c: 6 u (|1 - t| / (1 - q) + |t| / q) / c."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(t == 1, 0, np.abs(1 - t) / np.abs(1 - q)) + np.where(t == 0, 0, np.abs(t / q))
    return Allowance(6 * p.u * scale / count + 2 * p.subnormal)


def logits_binary_cross_entropy(z: Array, t: Array, terms: Array, count: int, p: Precision, value: Array) -> Allowance:
    """L = (1/c) sum (max(z, 0) - z t + log(1 + e^-|z|)), or with log1p, or max(z, 0) - z + ..., or -log sigmoid(+-z).

    Each term: (5 + 2) u (|z| + |z t|) for the exact parts and their sums, and for the logarithm, whose argument is
    rounded near 1, (5 + 2) u absolute.
    """
    inherited = (FUNCTION + 2) * p.u * (np.abs(z) * (1 + np.abs(t)) + 1).sum() / count
    return total(terms.ravel() / count, p, value, inherited, count)


def logits_binary_cross_entropy_backward(y: Array, t: Array, count: int, p: Precision) -> Allowance:
    """dz = (sigmoid(z) - t) / c: 7 u y for the sigmoid, 3 u (y + |t|) for difference and quotients."""
    return Allowance(p.u * ((FUNCTION + 5) * y + 3 * np.abs(t)) / count + (p.normal + p.subnormal))


def sgd(terms: Array, p: Precision, reach: Array) -> Allowance:
    """p - lr v, v a sum of at most three products: 6 u times the sum of the sizes of all terms of the update.

    A term is the product of at most three factors (lr wd p) and enters three sums: at most 6 roundings on it. `reach`
    is the sum of the sizes before lr, or a dampening, makes them smaller.
    """
    return Allowance(6 * p.u * terms + 4 * p.subnormal, reach=(1 + 6 * p.u) * reach)


AVERAGE = 6  # u: of b m + (1 - b) g, with g = dL/dp + wd p carrying 3: two factors, a product and a sum
SQUARE = 11  # u: of b v + (1 - b) g^2: the square doubles g's 3, and the rest is two factors, two products and a sum


def moving_average(terms: Array, p: Precision, reach: Array, roundings: int = AVERAGE) -> Allowance:
    """b m + (1 - b) g, or m + (1 - b) (g - m): so many roundings of terms = |m| + (1 - b) |g|, or of those with g^2.

    `reach` is |g| + |m|, or g^2, before 1 - b makes it smaller.
    """
    return Allowance(roundings * p.u * terms + 4 * p.subnormal, reach=(1 + roundings * p.u) * reach)
