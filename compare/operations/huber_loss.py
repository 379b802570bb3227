"""The Huber loss: half the squared error up to delta, and from there on along the tangent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, clip, where
from compare.operations.any_loss import every_pair, mean
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import LIMITS, Formula, Guess
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss


@dataclass(frozen=True)
class HuberLoss(Loss):
    """L = 1/(m n) sum q (|d| - q / 2), d = y - t, q = min(|d|, delta)."""

    kind = "huber"
    scratch_type, torch_type = scratch.HuberLoss, nn.HuberLoss
    words = ("huber",)
    parts: ClassVar = {
        "loss": "L = sum d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = y - t, over all elements",
        "loss.gradient": "dy = (y - t, at least -delta, at most delta) / (m n)",
    }
    summed_gradient = "dy = y - t, at least -delta, at most delta"

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < np.inf:
            raise ValueError(f"got delta={self.delta}, expected a number above 0")

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return _huber(absolute(y - t), self.delta)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return clip(y - t, -self.delta, self.delta)

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        return None

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """Up to delta, q = |d|: 6 u of d^2 / 2, for d^2 / 2, q (|d| - q / 2) or q |d| - q^2 / 2 (2 u for d in both
        factors, u d^2 and u d^2 / 2 for the products and u d^2 / 2 for their difference, which is 4 u of d^2 / 2).

        Beyond: u delta (5 |d| + delta) for delta (|d| - delta / 2), delta |d| - delta^2 / 2 (3 u for each product and
        u for the difference, at most u (4 |d| + delta) delta), or delta^2 / 2 + delta (|d| - delta), which has
        u delta (5 |d| - delta). Near delta, which is rounded, either may be taken, and both are the same but for u^2.
        A sum of the terms counts the two roundings of 1 / c itself.
        """
        d, delta = np.abs(y - t), self.delta
        near = d < (1 - 4 * p.u) * delta
        off = p.u * np.where(near, 3 * d * d, delta * (5 * d + delta)) + 3 * p.subnormal
        q = np.minimum(d, delta)
        return total((q * (d - q / 2)).ravel() / count, p, value, off.sum() / count, count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """The difference, or delta, is rounded once, 1 / c or / n / m twice: 3 u |dy|. It does not jump at delta."""
        return Allowance(3 * p.u * np.abs(dy) + 3 * p.subnormal)


def _huber(d: Bounded, delta: float) -> Bounded:
    """q (|d| - q / 2) of |d|."""
    q = clip(d, 0.0, delta)
    return q * (d - q * 0.5)


# --- what people get wrong ---


def _error(e: Letters) -> Bounded:
    """|y - t|."""
    return absolute(e.y - e.t)


def _pieces(e: Letters, near: Bounded, far: Bounded) -> Bounded:
    """One up to delta, the other beyond."""
    return where(np.abs(e.y.value - e.t.value) <= e.operation.delta, near, far, e.p)


def _sign(e: Letters) -> Bounded:
    return Bounded.of(np.sign(e.y.value - e.t.value), e.p)


def _other_deltas(of: Callable[[Letters, float], Bounded]) -> Formula:
    """Those by which some error is limited."""

    def guesses(e: Letters) -> Iterator[Guess]:
        largest = np.abs(e.y.value - e.t.value).max()
        for delta in (0.1, 0.2, 1.345, 1.35, 1.5, *LIMITS):
            if delta != e.operation.delta and delta < largest:
                yield of(e, delta), f"{delta:g}"

    return guesses


def _not_of_one(e: Letters) -> float:
    """delta. Absent where it is 1: these mistakes cannot be made then."""
    delta: float = e.operation.delta
    if delta == 1:
        raise Absent("another delta than 1")
    return delta


# What examples have in common: their cases, and the correct expressions.
HUBER = {"network": "5-7-4 relu, huber(0.5)", "scale": 3}
NARROW = {"network": "5-7-4 relu, huber(0.4)", "scale": 3}
D = "np.abs(y - t)"
LOSS = f"np.where({D} <= 0.5, 0.5 * {D} ** 2, 0.5 * ({D} - 0.25)).mean()"
GRADIENT = "np.clip(y - t, -0.5, 0.5) / (m * n)"

# fmt: off
MISTAKES = {
    "loss": [
        M("square-unlimited", lambda e: mean(e, _error(e) * _error(e) * 0.5),
          "it is half the squared error beyond delta, too",
          wrong="0.5 * ((y - t) ** 2).mean()", right=LOSS, case=HUBER),
        M("square-missing", lambda e: mean(e, _error(e)), "it is |y - t|, near the target, too",
          wrong=f"{D}.mean()", right=LOSS, case=HUBER),
        M("half-missing", lambda e: mean(e, _pieces(e, _error(e) * _error(e), e.operation.terms(e.y, e.t))),
          "up to delta it is d^2, not d^2 / 2",
          wrong=f"np.where({D} <= 0.5, {D} ** 2, 0.5 * ({D} - 0.25)).mean()", right=LOSS, case=HUBER),
        M("half-missing", lambda e: mean(e, _pieces(e, e.operation.terms(e.y, e.t),
                                                    (_error(e) - e.operation.delta) * e.operation.delta)),
          "beyond delta it is delta (|d| - delta), not delta (|d| - delta / 2)",
          wrong=f"np.where({D} <= 0.5, 0.5 * {D} ** 2, 0.5 * ({D} - 0.5)).mean()", right=LOSS, case=HUBER),
        M("tangent-missing", lambda e: mean(e, _pieces(e, e.operation.terms(e.y, e.t), _error(e) * e.operation.delta)),
          "beyond delta it is delta |d|: delta / 2 is not subtracted, and it jumps there",
          wrong=f"np.where({D} <= 0.5, 0.5 * {D} ** 2, 0.5 * {D}).mean()", right=LOSS, case=HUBER),
        M("delta-missing", lambda e: mean(e, _pieces(e, e.operation.terms(e.y, e.t), _error(e) - _not_of_one(e) / 2)),
          "beyond delta it is |d| - delta / 2: the factor delta is missing",
          wrong=f"np.where({D} <= 0.5, 0.5 * {D} ** 2, {D} - 0.25).mean()", right=LOSS, case=HUBER),
        M("pieces-exchanged",
          lambda e: mean(e, _pieces(e, (_error(e) - e.operation.delta / 2) * e.operation.delta,
                                    _error(e) * _error(e) * 0.5)),
          "the two pieces are exchanged: the square is beyond delta",
          wrong=f"np.where({D} > 0.5, 0.5 * {D} ** 2, 0.5 * ({D} - 0.25)).mean()", right=LOSS, case=HUBER),
        M("smooth-l1", lambda e: mean(e, e.operation.terms(e.y, e.t)) / _not_of_one(e),
          "it is divided by delta: torch's SmoothL1Loss",
          wrong=f"np.where({D} <= 0.4, {D} ** 2 / 0.8, {D} - 0.2).mean()",
          right=f"np.where({D} <= 0.4, 0.5 * {D} ** 2, 0.4 * ({D} - 0.2)).mean()", case=NARROW),
        M("target-broadcast", lambda e: every_pair(e, _huber(absolute(e.y - e.t.T), e.operation.delta)),
          "every output is compared with every target: (m, 1) against (m,)",
          wrong=f"np.where({D} <= 0.5, 0.5 * {D} ** 2, 0.5 * ({D} - 0.25)).mean()".replace("t)", "t.ravel())"),
          right=LOSS, case={"network": "5-7-1 relu, huber(0.5)", "scale": 3}),
        M("other-delta", _other_deltas(lambda e, delta: mean(e, _huber(_error(e), delta))), "delta is {}", listed=True,
          wrong=f"np.where({D} <= 1, 0.5 * {D} ** 2, {D} - 0.5).mean()", right=LOSS, case=HUBER),
    ],
    "loss.gradient": [
        M("square-unlimited", lambda e: (e.y - e.t) / e.count, "it is y - t beyond delta, too",
          wrong="(y - t) / (m * n)", right=GRADIENT, case=HUBER),
        M("square-missing", lambda e: _sign(e) * e.operation.delta / e.count,
          "it is delta times the sign, near the target, too",
          wrong="0.5 * np.sign(y - t) / (m * n)", right=GRADIENT, case=HUBER),
        M("factor-two", lambda e: _pieces(e, (e.y - e.t) * 2.0, e.operation.slope(e.y, e.t)) / e.count,
          "up to delta it is twice y - t",
          wrong=f"np.where({D} <= 0.5, 2 * (y - t), 0.5 * np.sign(y - t)) / (m * n)", right=GRADIENT, case=HUBER),
        M("delta-missing",
          lambda e: _pieces(e, e.operation.slope(e.y, e.t), _sign(e) * (_not_of_one(e) > 0)) / e.count,
          "beyond delta it is the sign alone: the factor delta is missing",
          wrong=f"np.where({D} <= 0.5, y - t, np.sign(y - t)) / (m * n)", right=GRADIENT, case=HUBER),
        M("sign-missing", lambda e: _pieces(e, e.y - e.t, (e.y - e.t) * 0.0 + e.operation.delta) / e.count,
          "beyond delta it is delta, whatever the sign of y - t",
          wrong=f"np.where({D} <= 0.5, y - t, 0.5) / (m * n)", right=GRADIENT, case=HUBER),
        M("zero-beyond-delta", lambda e: _pieces(e, e.y - e.t, (e.y - e.t) * 0.0) / e.count,
          "beyond delta it is 0: the derivative of a limited loss",
          wrong=f"np.where({D} <= 0.5, y - t, 0) / (m * n)", right=GRADIENT, case=HUBER),
        M("smooth-l1", lambda e: e.operation.slope(e.y, e.t) / _not_of_one(e) / e.count,
          "it is divided by delta: torch's SmoothL1Loss",
          wrong="np.clip((y - t) / 0.4, -1, 1) / (m * n)", right="np.clip(y - t, -0.4, 0.4) / (m * n)", case=NARROW),
        M("other-delta", _other_deltas(lambda e, delta: clip(e.y - e.t, -delta, delta) / e.count), "delta is {}",
          listed=True, wrong="np.clip(y - t, -1, 1) / (m * n)", right=GRADIENT, case=HUBER),
    ],
}
# fmt: on

HuberLoss.mistakes = MISTAKES
