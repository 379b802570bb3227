"""Mistake: something that people get wrong, planted by an edit of the syntax tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compare.measuring.programs.mistakes.site import Site


@dataclass(frozen=True)
class Mistake:
    """`plant` edits the site's tree and says whether it could; `causes` are the checker's words that name it."""

    name: str
    family: str
    often: float  # how often people make it, among the others
    causes: frozenset[str]
    plant: Callable[[Site], bool]


MISTAKES: list[Mistake] = []


def mistake(family: str, often: float, *causes: str) -> Callable[[Callable[[Site], bool]], Callable[[Site], bool]]:
    """Register a function that plants one; its name is the mistake's."""

    def register(plant: Callable[[Site], bool]) -> Callable[[Site], bool]:
        MISTAKES.append(Mistake(plant.__name__.replace("_", " "), family, often, frozenset(causes), plant))
        return plant

    return register
