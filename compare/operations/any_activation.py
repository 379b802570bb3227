"""Mistakes that several activations share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.numbers.bounded import Bounded, clip, where
from compare.operations.letters import Letters
from compare.operations.mistake import LIMITS, Build, Formula, Guess, fitted


def clipped_input(build: Build) -> Formula:
    """Of x within limits."""

    def guesses(e: Letters) -> Iterator[Guess]:
        for limit in LIMITS:
            if np.abs(e.x.value).max() > limit:
                yield build(e, clip(e.x, -limit, limit)), f"[-{limit:g}, {limit:g}]"

    return guesses


def in_candidates_arithmetic(f: Callable[[Any], Any]) -> Formula:
    """A formula whose overflow is the point: computed in the candidate's own precision."""

    def guess(e: Letters) -> Bounded:
        with np.errstate(all="ignore"):
            value = np.asarray(f(e.x.value.astype(e.p.dtype)), dtype=np.float64)
        relative = (e.x.shape[1] + 20 + np.abs(e.x.value)) * e.p.u
        size = np.where(np.isfinite(value), np.abs(value), 0.0)  # an infinite bound would admit every value
        return Bounded(value, relative * size + e.p.normal, e.p)

    return guess


def other_slope(a: Callable[[Letters], Bounded]) -> Formula:
    """a where x > 0, else a multiple of it that is not usual, found where x < 0."""

    def guesses(e: Letters) -> Iterator[Guess]:
        slope, words = fitted(e, e.got, np.where(e.x.value < 0, a(e).value, 0))
        if abs(float(slope.value)) not in (0.0, 1.0):
            yield where(e.x.value > 0, a(e), a(e) * slope, e.p), words

    return guesses


def dropout_scaling(e: Letters) -> Iterator[Guess]:
    """1 / (1 - rate), or 1 - rate, for the usual rates."""
    for rate in (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 0.9):
        yield e.ref / (1 - rate), f"1 / (1 - {rate:g}) x what it should be"
        yield e.ref * (1 - rate), f"1 - {rate:g} x what it should be"


def of_overwritten(e: Letters, derivative: Callable[[Bounded], Bounded]) -> Bounded:
    return e.dy * derivative(e.now(f"{e.k}.output"))


def clip_masked(e: Letters) -> Iterator[Guess]:
    for limit in LIMITS:
        inside = np.abs(e.x.value) <= limit
        if not inside.all():
            yield where(inside, e.ref, 0.0, e.p), f"[-{limit:g}, {limit:g}]"
