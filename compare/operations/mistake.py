"""Mistake: what a candidate that makes it computes instead, the words for it, and an example that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, where
from compare.operations.letters import Absent, Letters

Guess = tuple[Bounded, str]  # a value, and the parameter that goes into the words; "" for none
Formula = Callable[[Letters], "Bounded | Iterable[Guess]"]
Build = Callable[[Letters, Bounded], Bounded]

ANYWHERE = "*"


@dataclass(frozen=True)
class Unseen:
    """Why a mistake makes no difference in a batch: in words, and whether it is so here."""

    words: str
    here: Callable[[Letters], bool] = lambda e: True


@dataclass(frozen=True)
class Mistake:
    """A known mistake in the place where its table has it.

    `formula` gives what the candidate would have computed, with its own error bound; several guesses if it has a free
    parameter, each with what goes into `words` for it. `rank`: 0 for a formula of its own, 1 with a fitted parameter,
    2 for a mere description. `overflows`: the mistake is an overflow, and NaN and infinity are what it predicts; no
    other may explain those. `listed`: its guesses differ by a parameter from a list, which every step must share.

    `wrong` is an expression in plain NumPy, in the letters of its place, that must be named so; `right` one that must
    not, where it is another than the tensor as it is; `case` is what shows it: network, layer, optimiser, rows, scale.
    `unseen` is why it usually makes no difference where it makes none.
    """

    cause: str
    formula: Formula
    words: str
    rank: int = 0
    overflows: bool = False
    listed: bool = False
    wrong: str = ""
    right: str = ""
    case: Mapping[str, Any] = field(default_factory=dict)
    unseen: Unseen | None = None
    place: str = ""  # "linear.output", "loss.gradient", "update.exp_avg"; told by its table

    @property
    def parametric(self) -> bool:
        """Whether its guesses have a parameter, fitted or from a list, which must then be the same in each step."""
        return self.listed or self.rank > 0

    def guesses(self, e: Letters) -> Iterator[Guess]:
        """What the candidate would have computed, each with its parameter."""
        found = self.formula(e)
        yield from [(found, "")] if isinstance(found, Bounded) else found


Table = Mapping[str, Iterable[Mistake]]

EPSILONS = tuple(float(f"1e-{k}") for k in range(1, 17))
LIMITS = (0.5, 1.0, 2.0, 3.0, 5.0, 6.0, 8.0, 10.0, 15.0, 16.0, 20.0, 30.0, 50.0, 88.0, 100.0, 500.0, 709.0)


def fitted(e: Letters, change: Array, over: Array) -> tuple[Bounded, str]:
    """The number c with change = c * over, from the element where |over| is largest, and that number in words.

    It is as uncertain as the candidate's rounding makes it there, and is taken to be the shortest decimal within that.
    """
    if change.shape != over.shape or not over.size:
        raise Absent("nothing to fit a parameter to")
    at = np.unravel_index(int(np.argmax(np.abs(over))), over.shape)
    if over[at] == 0 or not np.isfinite(change[at] / over[at]):
        raise Absent("nothing to fit a parameter to")
    value = float(change[at] / over[at])
    error = float((2 * e.ref.error[at] + 4 * e.p.u * abs(float(e.got[at]))) / abs(over[at]) + 4 * e.p.u * abs(value))
    near = shortest(value, error)
    return Bounded(np.array(near), np.array(min(error, 1e-2 * abs(value))), e.p), f"{near:.9g}"


def shortest(value: float, error: float) -> float:
    """The decimal of fewest digits within the error: 0.01 rather than 0.0100000003."""
    for digits in range(1, 9):
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= error:
            return near
    return value


def wrong_factor(parts: tuple[str, ...], letter: Callable[[Letters], Bounded], build: Build) -> Formula:
    """Another tensor of the same shape in the place of one factor."""

    def guesses(e: Letters) -> Iterator[Guess]:
        for name, other in e.others(letter(e), parts):
            yield build(e, other), name

    return guesses


def as_found(holds: Callable[[Letters], bool]) -> Formula:
    """Whatever the candidate has, where this holds."""

    def guess(e: Letters) -> Bounded:
        if not holds(e):
            raise Absent(e.name)
        return Bounded.of(e.got, e.p)

    return guess


def dropped(e: Letters) -> Iterator[Guess]:
    """Some elements are 0, all others the same multiple of what they should be."""
    kept = (e.got != 0) & (e.ref.value != 0)
    lost = (e.got == 0) & (e.ref.value != 0)
    if kept.any() and lost.any():
        factor, words = fitted(e, e.got, np.where(kept, e.ref.value, 0))
        yield where(e.got != 0, e.ref * factor, 0.0, e.p), f"the others scaled by {words}"
