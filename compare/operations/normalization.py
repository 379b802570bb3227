"""Normalization: what layers have in common that bring x to mean 0 and variance 1 over some of its axes.

h = (x - mean) / s, s = sqrt(var + eps), y = W h + b. Mean and variance are those of N elements, a group. W and b have
the other axes, or these.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from torch import Tensor

from compare.numbers.allowance import SHARP, SPEAKS, Allowance, Precision, gamma, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, sqrt
from compare.numbers.expected import Expected
from compare.numbers.float64 import derivative, double, tensor, value
from compare.operations.letters import Letters
from compare.operations.operation import Part, Scalar, Shape

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Spread:
    """How far a correct computation of mean, variance and h of x can be off; `share` of gamma_k is what a sum loses.

    With a = mean |x|, q = mean x^2, d = x - mean, w = var + eps, N elements, and g = share gamma_{N+2}, the 2 being the
    division by N (or the product with 1 / N) and the rounding of a term:

    - mean: e = g a.
    - d: e + u |d|.
    - var in two passes, mean(d^2): (g + 5 u) var + e^2. The error of the mean is the same in each d, and the d add up
      to 0, so that only its square remains; d, its square, and the square of a standard deviation have 5 roundings.
    - var in one pass, mean(x^2) - mean^2: g q + 2 |mean| e + e^2 + u mean^2, as the two are subtracted. It cancels:
      relative to var it is of the size g q / var = g (1 + mean^2 / var). Welford's recurrence loses less: the root of
      this factor (Chan, Golub and LeVeque, The American Statistician 37, 1983, table 1).
    - w: that, and u for the sum and for eps. 1 / s: r = (1 - off / w)^(-1/2) - 1, which is infinite where a correct w
      may be 0 or negative, or a sum of squares overflow; nothing is said of such a group.
    - h: r |h|, (e + u |d|) (1 + r) / s, and 7 u |h| for a root, quotient and product (a power -1/2 has 5 of them). As
      x W / s + (b - mean W / s), whose terms are larger than h, u (|x| + 2 |mean|) / s more.

    Every bound is a convex function of `share`, as it has only sums and products of such that are not negative.
    """

    x: Array
    axes: Axes
    eps: float
    p: Precision

    def mean_of(self, a: Array) -> Array:
        """Over each group, beside its elements."""
        found: Array = a.mean(axis=self.axes, keepdims=True)
        return found

    @property
    def count(self) -> int:
        """N."""
        return prod(self.x.shape[i] for i in self.axes)

    @cached_property
    def mean(self) -> Array:
        return self.mean_of(self.x)

    @cached_property
    def d(self) -> Array:
        found: Array = self.x - self.mean
        return found

    @cached_property
    def var(self) -> Array:
        return self.mean_of(self.d * self.d)

    @cached_property
    def s(self) -> Array:
        found: Array = np.sqrt(self.var + self.eps)
        return found

    @cached_property
    def h(self) -> Array:
        found: Array = self.d / self.s
        return found

    @cached_property
    def both(self) -> Array:
        """|x| + |mean|, over s: the size of the terms where h is taken apart."""
        found: Array = (np.abs(self.x) + np.abs(self.mean)) / self.s
        return found

    def gamma(self, share: float) -> float:
        return share * gamma(self.count + 2, self.p.u)

    @property
    def lost(self) -> float:
        """What underflows in a mean."""
        return (self.count + 2) * self.p.subnormal

    def of_mean(self, share: float) -> Array:
        return self.gamma(share) * self.mean_of(np.abs(self.x)) + self.lost

    def of_var(self, share: float) -> Array:
        e, mean = self.of_mean(share), np.abs(self.mean)
        squares = self.gamma(share) * self.mean_of(self.x * self.x)
        return squares + (2 * mean + e) * e + self.p.u * (mean * mean + 5 * self.var) + self.lost

    def of_inverse(self, share: float) -> Array:
        """r, relative to 1 / s."""
        w = self.var + self.eps
        off = self.of_var(share) + self.p.u * (w + self.eps)
        with np.errstate(divide="ignore", invalid="ignore"):
            bounded = (off < w) & (2 * self.count * self.mean_of(self.x * self.x) < self.p.largest)
            return np.where(bounded, 1 / np.sqrt(np.maximum(1 - off / w, 0)) - 1, np.inf)

    def of_h(self, share: float) -> Array:
        """Without r |h|."""
        u, r = self.p.u, self.of_inverse(share)
        shifted = (self.of_mean(share) + u * np.abs(self.d)) * (1 + r) / self.s
        return shifted + u * (7 * np.abs(self.h) + 2 * self.both) + 3 * self.p.subnormal * (1 + 1 / self.s)


def without(lacking: Sequence[str], parts: Mapping[str, Part]) -> dict[str, Part]:
    """Those of a layer that lacks W, b, or both."""
    gradients = {{"W": "grad_weight", "b": "grad_bias"}[letter] for letter in lacking}
    left = {name: part for name, part in parts.items() if name not in gradients}
    return {n: Part(part.formula, tuple(a for a in part.letters if a not in lacking)) for n, part in left.items()}


class Normalization:
    """What a layer that normalises has beside a Layer's own: its output and gradients, with their allowances."""

    eps: float

    @abstractmethod
    def axes(self, ndim: int) -> Axes:
        """Of x, those over which mean and variance are taken."""

    @abstractmethod
    def summed(self, ndim: int) -> Axes:
        """Of x, those that W and b do not have."""

    @abstractmethod
    def by_torch(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """y, of x alone."""

    @abstractmethod
    def parameters(self) -> dict[str, Shape]:
        """Names and shapes of W and b."""

    def beside(self, parameter: Array, ndim: int) -> Array:
        """W or b with the axes that it does not have, each of size 1."""
        sizes = iter(parameter.shape)
        return parameter.reshape([1 if i in self.summed(ndim) else next(sizes) for i in range(ndim)])

    def spread(self, x: Array, p: Precision) -> Spread:
        return Spread(x, self.axes(x.ndim), self.eps, p)

    # --- the reference ---

    def output(self, x: Array, weight: Array | None = None, bias: Array | None = None, *, p: Precision) -> Expected:
        """|W| times what h is off, and a rounding of the product and of the sum; in the other order one more of b."""
        x, weight, bias = double(x), self._or(1.0, weight), self._or(0.0, bias)
        y = value(lambda a: self.by_torch(a, tensor(weight), tensor(bias)), x)
        at, (w, b) = self.spread(x, p), (np.abs(self.beside(a, x.ndim)) for a in (weight, bias))

        def off(share: float) -> Array:
            h = np.abs(at.h)
            of_h = at.of_h(share) + at.of_inverse(share) * h
            return w * of_h + 2 * p.u * (w * h + b) + 2 * p.subnormal * (1 + w)

        plain = lambda: (each["output"] for each in self._in_turn(at, weight, bias))  # noqa: E731
        return Expected(y, between(off, at, [at.count], y, plain), headroom=2.0)

    def grad_weight(self, x: Array, dy: Array, p: Precision) -> Expected:
        """Sums of dy h, of R terms: |dy| times what h is off, and gamma_{R+2} |dy| |h|.

        From sums of dy x and of dy, gamma_{R+2} |dy| (|x| + |mean|) / s, which is larger where |mean| is.
        """
        x, dy, axes = double(x), double(dy), self.summed(x.ndim)
        dw = derivative(lambda w: self.by_torch(tensor(x), w), self._or(1.0), dy)
        at, terms = self.spread(x, p), prod(x.shape[i] for i in axes)

        def off(share: float) -> Array:
            g, h = share * gamma(terms + 2, p.u), np.abs(at.h)
            of_h = at.of_h(share) + at.of_inverse(share) * h
            each = np.abs(dy) * (of_h * (1 + g) + g * at.both + 2 * p.u * h) + p.subnormal
            found: Array = each.sum(axis=axes)
            return found

        plain = lambda: (each["grad_weight"] for each in self._in_turn(at, None, None, dy))  # noqa: E731
        return Expected(dw, between(off, at, [at.count, terms], dw, plain), headroom=2.0)

    def grad_bias(self, dy: Array, p: Precision) -> Expected:
        """A sum of dy."""
        dy, axes = double(dy), self.summed(dy.ndim)
        db, terms = value(lambda a: a.sum(dim=axes), dy), prod(dy.shape[i] for i in axes)
        rows = np.moveaxis(dy, axes, range(len(axes))).reshape(terms, *db.shape)
        return Expected(db, total(rows, p, db))

    def grad_input(self, x: Array, *weight_and_dy: Array, p: Precision) -> Expected:
        """dx = (t - mean(t) - h mean(t h)) / s, t = W dy, in this form or step by step, from dvar and dmean.

        - t: u |t|. mean(t): c = (g + u) mean |t|.
        - mean(t h): g mean(|t| (|h| + (|x| + |mean|) / s)), the latter where it is taken from sums of t x and of t; and
          mean(|t| off), off what h is off.
        - h mean(t h): |h| times that, and off |mean(t h)|. Step by step, dmean has a term dvar mean(d), which is 0 but
          for what d is off: mean(off) |mean(t h)|; and where dvar goes through mean(x^2) - mean^2, its parts are
          rounded apart: 4 u (|x| + |mean|) / s |mean(t h)|.
        - 1 / s is off by r in the first terms, and as 1 / s^3 by (1 + r)^3 - 1 in the last one. Quotients, powers and
          sums are 12 roundings of each term.

        It overflows where sums of t x do, or these over s^3 times x: torch's kernel has such terms.
        """
        x, weight, dy = double(x), self._or(1.0, *weight_and_dy[:-1]), double(weight_and_dy[-1])
        dx = derivative(lambda a: self.by_torch(a, tensor(weight)), x, dy)
        at, t = self.spread(x, p), dy * self.beside(weight, x.ndim)
        size, h = np.abs(t), np.abs(at.h)
        first, along = t - at.mean_of(t), np.abs(at.mean_of(t * at.h))

        def off(share: float) -> Array:
            g, r, of_h = at.gamma(share), at.of_inverse(share), at.of_h(share)
            cubed = (1 + r) ** 3
            of_along = at.mean_of(size * (g * (h + at.both) + of_h)) + p.u * at.mean_of(size * h)
            parts = g * at.mean_of(size) + h * of_along + of_h * (along + of_along)
            parts = parts + along * (at.mean_of(of_h) + 4 * p.u * at.both)
            terms = 12 * p.u * (size + at.mean_of(size) + h * at.mean_of(size * h))
            carried = r * np.abs(first) + (cubed - 1) * h * along
            return (cubed * (parts + terms) + carried + at.lost) / at.s + at.lost

        plain = lambda: (each["grad_input"] for each in self._in_turn(at, weight, None, dy))  # noqa: E731
        with np.errstate(all="ignore"):
            far = np.abs(x) + np.abs(at.mean)
            sums = at.count * at.mean_of(size * far)
            reach = max(sums.max(initial=0.0), (sums / at.s**3 * far).max(initial=0.0))
        return Expected(dx, between(off, at, [at.count], dx, plain, reach), headroom=2.0 * at.count)

    def _or(self, usual: float, parameter: Array | None = None) -> Array:
        """A parameter, or what stands for one that the layer has not."""
        return np.full(self._shape, usual) if parameter is None else double(parameter)

    @property
    @abstractmethod
    def _shape(self) -> Shape:
        """Of W and b, also where the layer has none."""

    # --- the same once more ---

    def written(self, e: Letters) -> Bounded:
        """The output."""
        return scaled(e, standardized(e))

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in W and b; of x in the element's own group alone: little is then lost."""
        x, dy = e.x.value, e.dy.value
        weight = e.W.value if e.has(f"{e.k}.weight") else self._or(1.0)
        if part == "grad_input":
            axes, along = self.axes(x.ndim), self.beside(weight, x.ndim)
            group = tuple(slice(None) if i in axes else index[i] for i in range(x.ndim))
            alone = np.zeros_like(dy)
            alone[group] = dy[group]
            return lambda a: float((alone * along * self.spread(a, e.p).h).sum()), x
        h = self.spread(x, e.p).h if part == "grad_weight" else np.ones_like(x)
        return lambda w: float((dy * h * self.beside(w, x.ndim)).sum()), np.zeros_like(weight)

    def _in_turn(
        self, at: Spread, weight: Array | None, bias: Array | None, dy: Array | None = None
    ) -> Iterator[dict[str, Array]]:
        """All parts by plain sums in the candidate's precision, in several orders, var in one pass or in two."""
        dtype, ndim = at.p.dtype, at.x.ndim
        x, n, eps = at.x.astype(dtype), dtype.type(at.count), dtype.type(self.eps)
        w, b = (self.beside(a, ndim).astype(dtype) for a in (self._or(1.0, weight), self._or(0.0, bias)))
        for summed in PLAIN:
            mean_of = lambda a, summed=summed: _sum_in_turn(a, at.axes, summed) / n  # noqa: E731
            mean = mean_of(x)
            d = x - mean
            for var in (mean_of(d * d), mean_of(x * x) - mean * mean):
                s = np.sqrt(var + eps)
                h = d / s
                found = {"output": h * w + b, "mean": mean, "var": var}
                if dy is not None:
                    t = dy.astype(dtype) * w
                    found["grad_weight"] = _sum_in_turn(dy.astype(dtype) * h, self.summed(ndim), summed)
                    found["grad_input"] = (t - mean_of(t) - h * mean_of(t * h)) / s
                yield {name: a.astype(np.float64) for name, a in found.items()}


def _one_by_one(rows: Array) -> Array:
    found: Array = np.add.accumulate(rows, axis=0)[-1]
    return found


def _largest_first(rows: Array) -> Array:
    return _one_by_one(np.take_along_axis(rows, np.argsort(-np.abs(rows), axis=0), axis=0))


def _in_blocks(rows: Array, size: int = 8) -> Array:
    return _one_by_one(np.stack([_one_by_one(rows[i : i + size]) for i in range(0, len(rows), size)]))


def _in_lanes(rows: Array, lanes: int = 4) -> Array:
    return _one_by_one(np.stack([_one_by_one(rows[i::lanes]) for i in range(min(lanes, len(rows)))]))


# Sums of equal terms round with a bias that depends on the order: one that rounds well does not speak for the others.
PLAIN: tuple[Callable[[Array], Array], ...] = (
    _one_by_one,
    lambda rows: _one_by_one(rows[::-1]),
    _largest_first,
    _in_blocks,
    _in_lanes,
)


def _sum_in_turn(a: Array, axes: Axes, summed: Callable[[Array], Array]) -> Array:
    """Over some axes, beside what is summed."""
    rows = np.moveaxis(a, axes, range(len(axes)))
    rest = [1 if i in axes else n for i, n in enumerate(a.shape)]
    return summed(rows.reshape(-1, prod(rest))).reshape(rest)


def _likely(terms: int, p: Precision) -> float:
    """The share of gamma_k that a sum of so many terms loses as a rule."""
    return min(1.0, SHARP * float(np.sqrt(terms + 2)) * p.u / gamma(terms + 2, p.u))


def between(
    off: Callable[[float], Array],
    at: Spread,
    counts: Sequence[int],
    value: Array,
    plain: Callable[[], Iterator[Array]],
    reach: float = 0.0,
) -> Allowance:
    """The allowance for sums of `counts` terms, where `off` is what they make of a share of their gamma_k.

    off(0) is what is lost beside the sums. As off is convex, it lies below the straight line from off(0) to off(1): the
    scale of the sums is their difference. The sharp bound takes 3 sqrt(k + 2) u for gamma_k, and may speak where plain
    sums stay within 0.4 of it, as of any sum (`summation`). Where the worst case has no bound, and so no line, it is
    asked at once whether it may.
    """
    share = max(_likely(k, at.p) for k in counts)
    with np.errstate(all="ignore"):
        least, likely, most = (np.broadcast_to(off(each), value.shape) for each in (0.0, share, 1.0))
        beyond = ~np.isfinite(most) & np.isfinite(value)
        scale, rest = np.where(beyond, np.inf, most - least), np.where(beyond, 0.0, least)

    def sums_well(sharp: Array) -> bool:
        with np.errstate(all="ignore"):
            near = (np.abs(a.reshape(value.shape) - value) <= SPEAKS * sharp for a in plain())
            return all(bool(np.all(each | ~np.isfinite(sharp))) for each in near)

    reach = max(reach, at.count * at.mean_of(at.x * at.x).max(initial=0.0))
    if share == 1:
        return Allowance(scale, rest=rest, reach=reach)
    if np.any(beyond & np.isfinite(likely)) and sums_well(likely):
        return Allowance(likely, reach=reach)
    sharp = Allowance(scale, worst=share, rest=rest).wide
    return Allowance(scale, likely=share, sums_well=lambda: sums_well(sharp), rest=rest, reach=reach)


# --- with bounds, for what people write ---


def own_axes(e: Letters) -> Axes:
    """Those over which the layer takes mean and variance."""
    found: Axes = e.operation.axes(e.x.value.ndim)
    return found


def over_samples(e: Letters) -> Axes:
    """Those over which the gradients of W and b are summed."""
    found: Axes = e.operation.summed(e.x.value.ndim)
    return found


def beside(e: Letters, parameter: Bounded) -> Bounded:
    """W or b, beside x."""
    return parameter.arranged(lambda a: e.operation.beside(a, e.x.value.ndim))


def mean(e: Letters, a: Bounded, axes: Axes | None = None) -> Bounded:
    """Over each group, or over other axes."""
    return a.mean(own_axes(e) if axes is None else axes, keepdims=True)


def centred(e: Letters, axes: Axes | None = None) -> Bounded:
    """x - mean."""
    return e.x - mean(e, e.x, axes)


def variance(e: Letters, axes: Axes | None = None) -> Bounded:
    """mean (x - mean)^2, or in one pass: with what it loses then."""
    d, axes = centred(e, axes), own_axes(e) if axes is None else axes
    found, at = mean(e, d * d, axes), Spread(e.x.value, axes, e.operation.eps, e.p)
    return Bounded(found.value, found.error + at.of_var(_likely(at.count, e.p)), e.p)


def deviation(e: Letters, axes: Axes | None = None) -> Bounded:
    """s = sqrt(var + eps)."""
    return sqrt(variance(e, axes) + e.operation.eps)


def standardized(e: Letters, axes: Axes | None = None) -> Bounded:
    """h = (x - mean) / s."""
    return centred(e, axes) / deviation(e, axes)


def scaled(e: Letters, h: Bounded) -> Bounded:
    """W h + b, or what the layer has of it."""
    y = h * beside(e, e.W) if e.has(f"{e.k}.weight") else h * 1.0
    return y + beside(e, e.b) if e.has(f"{e.k}.bias") else y


def into_h(e: Letters) -> Bounded:
    """t = W dy: the gradient of h."""
    return e.dy * beside(e, e.W) if e.has(f"{e.k}.weight") else e.dy * 1.0
