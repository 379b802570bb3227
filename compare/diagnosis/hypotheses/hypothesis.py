"""Hypothesis: a mistake that is known, where it is made, and what a candidate that makes it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.diagnosis.evidence import Absent, Evidence
from compare.numbers.bounded import Bounded

Array = NDArray[Any]
Guess = tuple[Bounded, str]
Formula = Callable[[Evidence], "Bounded | Iterable[Guess]"]


@dataclass(frozen=True)
class Hypothesis:
    """`rank`: 0 for a mistake with a formula of its own, 1 with a fitted parameter, 2 for a mere description.

    `overflows`: the mistake is an overflow, and NaN and infinity are what it predicts; no other may explain those.
    `listed`: its guesses differ by a parameter from a list, an epsilon or a limit, which every step must share.
    """

    place: str
    cause: str
    formula: Formula
    words: str
    rank: int = 0
    overflows: bool = False
    listed: bool = False

    @property
    def parametric(self) -> bool:
        """Whether its guesses have a parameter, fitted or from a list: the words must then be the same in each step."""
        return self.listed or self.rank > 0

    def guesses(self, e: Evidence) -> Iterator[Guess]:
        """What the candidate would have computed, each with the words for it."""
        found = self.formula(e)
        if isinstance(found, Bounded):
            yield found, self.words
        else:
            for value, words in found:
                yield value, self.words.format(words)


EPSILONS = tuple(float(f"1e-{k}") for k in range(1, 17))
LIMITS = (0.5, 1.0, 2.0, 3.0, 5.0, 6.0, 8.0, 10.0, 15.0, 16.0, 20.0, 30.0, 50.0, 88.0, 100.0, 500.0, 709.0)


def fitted(e: Evidence, change: Array, over: Array) -> tuple[Bounded, str]:
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
