"""Dropout: y = x mask, where the mask is drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, where
from compare.numbers.expected import Expected
from compare.numbers.float64 import double, shared
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula, Guess, Unseen, as_found
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Layer, Part, Scalar

CHANCE = 1e-9  # of a right mask: that its share of zeros is taken for a wrong one


@dataclass(frozen=True)
class Dropout(Layer):
    """In training. p is the probability of a zero, and 1 - p the share that is kept.

    The mask is random, so that of the candidate is taken by its value: where it is not 0, the element is kept. It may
    hold ones, or 1 / (1 - p). In a record it is the tensor "1.mask", of the layer's own number.

    The factor 1 / (1 - p) carries (2 + p / (1 - p)) u: p itself may be rounded, which is p / (1 - p) of 1 - p, then
    the difference and the quotient are. A product with it is one rounding more.
    """

    kind = "dropout"
    scratch_type, torch_type = scratch.Dropout, nn.Dropout
    attributes = ("p", "mask")
    drawn = ("mask",)
    letters: ClassVar = {"x": "input", "mask": "mask", "y": "output", "dy": "grad_output"}
    parts: ClassVar = {
        "mask": Part.of("mask = 0 with probability p, else 1 / (1 - p), or 1", "mask"),
        "output": Part.of("y = x / (1 - p) where it is kept, else 0", "x mask"),
        "grad_input": Part.of("dx = dy / (1 - p) where it is kept, else 0", "mask dy"),
    }
    unseen = Unseen("p is 0", lambda e: e.operation.p == 0)

    p: float = 0.5

    def __post_init__(self) -> None:
        if type(self.p) not in (int, float) or not 0 <= self.p <= 1:
            raise ValueError(f"found p {str(self.p)[:40]}, expected a number from 0 to 1")

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        try:
            return cls(layer.p)
        except ValueError as error:
            raise TypeError(f"{place}: {error}") from None

    @property
    def factor(self) -> float:
        """1 / (1 - p); 0 where nothing is kept, as torch's is."""
        return 1 / (1 - self.p) if self.p < 1 else 0.0

    @property
    def roundings(self) -> float:
        """What the factor carries, in u."""
        return 2 + self.p * self.factor

    def mask(self, mask: Array, p: Precision) -> Expected:
        """Of its zeros, and of what else it holds.

        A right mask has any zeros, so there is nothing to hold a single one against. But if a mask of this share were
        drawn less often than once in 10^9, it is no mask of this p. Which of its elements are wrong cannot be said: the
        expected one has the zeros where it has none.

        Numbers other than 0 are 1, or the factor, within (2 + p / (1 - p)) u.
        """
        mask = np.asarray(double(mask), np.float64)
        kept = mask != 0 if _is_likely(mask != 0, self.p) else mask == 0
        found = kept * (1.0 if np.isin(mask, (0, 1)).all() else self.factor)
        return Expected(found, Allowance(found, self.roundings * p.u * (self.p > 0)))

    def output(self, x: Array, mask: Array, p: Precision) -> Expected:
        """(3 + p / (1 - p)) u |y|; none where it is dropped."""
        return self._masked(double(x), mask, p)

    def grad_input(self, mask: Array, dy: Array, p: Precision) -> Expected:
        """The same of dy."""
        return self._masked(double(dy), mask, p)

    def _masked(self, a: Array, mask: Array, p: Precision) -> Expected:
        found = (shared(np.array(a)) * shared(self.factor * (np.asarray(mask) != 0))).numpy()
        return Expected(found, Allowance(np.abs(found), (self.roundings + 1) * p.u, floor=p.subnormal))

    def written(self, e: Letters) -> Bounded:
        return _scaled(e, e.x, _kept(e))

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in x: it may be differenced at 0."""
        d = np.where(_kept(e), e.dy.value * self.factor, 0.0)
        return lambda x: float((d * x).sum()), np.zeros(d.shape)

    def draws(self, module: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
        """By a dropout of ones with the random numbers that are the next, which it then finds once more."""
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            return {"mask": nn.functional.dropout(torch.ones_like(x), self.p, module.training)}

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.Dropout(self.p, rng=options.get("rng") or np.random.default_rng(0))

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return nn.Dropout(**asdict(self))


def _is_likely(kept: Array, p: float) -> bool:
    """Whether a mask that keeps 1 - p of its elements has such a share of them at least once in 10^9.

    P(share at least s) <= e^(-n KL(s, 1 - p)) for s above 1 - p, and likewise below (Hoeffding, Probability
    Inequalities for Sums of Bounded Random Variables, 1963, theorem 1).
    KL(s, q) = s log(s / q) + (1 - s) log((1 - s) / (1 - q)).
    """
    share = float(np.mean(kept)) if kept.size else 1 - p
    parts = ((share, 1 - p), (1 - share, p))
    if any(s > 0 and q <= 0 for s, q in parts):
        return False
    distance = sum(s * np.log(s / q) for s, q in parts if s > 0)
    return bool(kept.size * distance <= -np.log(CHANCE))


# --- what people get wrong ---


def _kept(e: Letters) -> Array:
    found: Array = e.mask.value != 0  # type: ignore[attr-defined]
    return found


def _masked(a: Bounded, kept: Array) -> Bounded:
    return where(kept, a, 0.0, a.p)


def _number(e: Letters, factor: float) -> Bounded:
    """Made of 1 - p, twice at most, and as uncertain as that."""
    return Bounded(np.array(factor), np.array(2 * e.operation.roundings * e.p.u * factor), e.p)


def _scaled(e: Letters, a: Bounded, kept: Array) -> Bounded:
    """By 1 / (1 - p), where it is kept."""
    return _masked(a * _number(e, e.operation.factor), kept)


def _factors(e: Letters) -> tuple[float, float]:
    """(p, 1 - p). Absent where one of them is 0: nothing can then be divided by both."""
    p = float(e.operation.p)
    if p in (0.0, 1.0):
        raise Absent("a share between 0 and 1")
    return p, 1 - p


def _of_kept(letter: Callable[[Letters], Bounded], factor: Callable[[float, float], float]) -> Formula:
    """Masked, and with another factor, from p and 1 - p."""
    return lambda e: _masked(letter(e) * _number(e, factor(*_factors(e))), _kept(e))


def _of_all(letter: Callable[[Letters], Bounded], factor: Callable[[float, float], float]) -> Formula:
    """Not masked at all."""
    return lambda e: letter(e) * _number(e, factor(*_factors(e)))


def _of_dropped(letter: Callable[[Letters], Bounded]) -> Formula:
    return lambda e: _scaled(e, letter(e), ~_kept(e))


def _drawn_anew(letter: Callable[[Letters], Bounded], scaled: bool) -> Formula:
    """By a mask that is read off the tensor: other elements than those of the mask are 0, as many as p says."""

    def guess(e: Letters) -> Bounded:
        a = letter(e)
        told = a.value != 0
        kept = np.where(told, e.got != 0, _kept(e))
        if np.array_equal(kept, _kept(e)) or not _is_likely((e.got != 0)[told], e.operation.p):
            raise Absent("another mask")
        return _scaled(e, a, kept) if scaled else _masked(a, kept)

    return guess


def _of_mask(factor: Callable[[float, float], float]) -> Formula:
    """The mask with another factor in the place of 1 / (1 - p)."""
    return lambda e: Bounded.of(_kept(e), e.p) * _number(e, factor(*_factors(e)))


def _others(e: Letters) -> Array:
    """The numbers of the mask that are not 0, each once."""
    return np.unique(e.got[e.got != 0])


def _is_normal(e: Letters) -> bool:
    found = _others(e)
    return bool(found.size > 2 and (found < 0).any() and (found > 0).any())


def _is_uniform(e: Letters) -> bool:
    found = _others(e)
    return bool(found.size > 2 and (found > 0).all() and (found * (1 - e.operation.p) <= 1).all())


def _keeps_p(e: Letters) -> bool:
    """The zeros and the others are exchanged."""
    return _others(e).size == 1 and _is_likely(e.got == 0, e.operation.p)


def _other_share(e: Letters) -> Iterator[Guess]:
    """Of zeros: all that can be told of one mask."""
    if _others(e).size < 2 and not _is_likely(e.got != 0, e.operation.p):
        yield Bounded.of(e.got, e.p), f"{np.mean(e.got == 0):.3g}"


HALF = Unseen("p is 1/2", lambda e: e.operation.p == 0.5)

# What examples have in common: the correct expressions, for p = 0.3.
Y = "x * (mask != 0) / 0.7"
DX = "dy * (mask != 0) / 0.7"
ANOTHER = "(np.random.default_rng(step).random(x.shape) >= 0.3)"
X, DY = (lambda e: e.x), (lambda e: e.dy)

# fmt: off
MISTAKES = {
    "mask": [
        M("mask-from-normal", as_found(_is_normal),
          "it is drawn from a normal distribution, and not compared with p: randn in the place of rand",
          wrong="np.random.default_rng(step).standard_normal(x.shape)", right="mask"),
        M("mask-not-compared", as_found(_is_uniform),
          "it holds the random numbers themselves: they are not compared with p",
          wrong="np.random.default_rng(step).random(x.shape)", right="mask"),
        M("mask-keeps-p", as_found(_keeps_p),
          "the share p is kept, and 1 - p is dropped: p stands where 1 - p is meant", unseen=HALF,
          wrong="(np.random.default_rng(step).random(x.shape) < 0.2) / 0.8", right="mask",
          case={"network": "Linear(5, 40), Dropout(0.2), Linear(40, 4); CrossEntropyLoss"}),
        M("mask-of-another-share", _other_share, "it drops the share {} of its elements", rank=1,
          wrong="np.ones_like(x)", right="mask",
          case={"network": "Linear(5, 40), Dropout(0.5), Linear(40, 4); CrossEntropyLoss", "rows": (6, 3, 6)}),
        M("divided-by-p", _of_mask(lambda p, q: 1 / p), "it is divided by p, not by 1 - p", unseen=HALF,
          wrong="(mask != 0) / 0.3", right="mask"),
        M("divided-twice", _of_mask(lambda p, q: 1 / q**2), "it is divided by 1 - p twice",
          wrong="(mask != 0) / 0.7**2", right="mask"),
        M("kept-share-multiplied", _of_mask(lambda p, q: q), "it is multiplied by 1 - p, where it is to be divided",
          wrong="(mask != 0) * 0.7", right="mask"),
    ],
    "output": [
        M("kept-share-not-divided-out", _of_kept(X, lambda p, q: 1.0),
          "it is not divided by 1 - p, which the evaluation takes for done",
          wrong="x * (mask != 0)", right=Y),
        M("divided-twice", _of_kept(X, lambda p, q: 1 / q**2), "it is divided by 1 - p twice",
          wrong="x * (mask != 0) / 0.7**2", right=Y),
        M("divided-by-p", _of_kept(X, lambda p, q: 1 / p), "it is divided by p, not by 1 - p", unseen=HALF,
          wrong="x * (mask != 0) / 0.3", right=Y),
        M("kept-share-multiplied", _of_kept(X, lambda p, q: q), "it is multiplied by 1 - p, where it is to be divided",
          wrong="x * (mask != 0) * 0.7", right=Y),
        M("mask-inverted", _of_dropped(X), "what is to be dropped is kept, and what is to be kept is dropped",
          wrong="x * (mask == 0) / 0.7", right=Y),
        M("mask-not-applied", _of_all(X, lambda p, q: 1 / q), "nothing is dropped, but all is divided by 1 - p",
          wrong="x / 0.7", right=Y),
        M("mask-not-applied", _of_all(X, lambda p, q: 1.0), "nothing is dropped: y = x",
          wrong="x", right=Y),
        M("mask-drawn-anew", _drawn_anew(X, True), "another mask than the one that is kept is applied",
          wrong=f"x * {ANOTHER} / 0.7", right=Y),
    ],
    "grad_input": [
        M("mask-not-applied", _of_all(DY, lambda p, q: 1.0), "the mask is not applied on the way back: dx = dy",
          wrong="dy", right=DX),
        M("mask-not-applied", _of_all(DY, lambda p, q: 1 / q),
          "the mask is not applied on the way back: dx = dy / (1 - p)",
          wrong="dy / 0.7", right=DX),
        M("kept-share-not-divided-out", _of_kept(DY, lambda p, q: 1.0),
          "dy is masked, but not divided by 1 - p as y was",
          wrong="dy * (mask != 0)", right=DX),
        M("divided-twice", _of_kept(DY, lambda p, q: 1 / q**2), "dy is divided by 1 - p twice",
          wrong="dy * (mask != 0) / 0.7**2", right=DX),
        M("divided-by-p", _of_kept(DY, lambda p, q: 1 / p), "dy is divided by p, not by 1 - p", unseen=HALF,
          wrong="dy * (mask != 0) / 0.3", right=DX),
        M("kept-share-multiplied", _of_kept(DY, lambda p, q: q), "dy is multiplied by 1 - p, where it is to be divided",
          wrong="dy * (mask != 0) * 0.7", right=DX),
        M("mask-inverted", _of_dropped(DY), "the gradient goes to what was dropped, and not to what was kept",
          wrong="dy * (mask == 0) / 0.7", right=DX),
        M("mask-drawn-anew", _drawn_anew(DY, True), "a new mask is drawn on the way back",
          wrong=f"dy * {ANOTHER} / 0.7", right=DX),
        M("mask-drawn-anew", _drawn_anew(DY, False), "a new mask is drawn on the way back, not divided by 1 - p",
          wrong=f"dy * {ANOTHER}", right=DX),
        M("mask-of-input", lambda e: _masked(e.dy, e.x.value > 0), "it is ReLU's derivative of x, not the mask",
          wrong="dy * (x > 0)", right=DX),
        M("upstream-gradient-missing", _of_mask(lambda p, q: 1 / q),
          "dx is the mask alone: dy is left out",
          wrong="(mask != 0) / 0.7", right=DX),
    ],
}
# fmt: on

Dropout.mistakes = MISTAKES
