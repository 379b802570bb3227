"""Wrong: a right program with one mistake, and what is known of it."""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compare.measuring.programs.mistakes import MISTAKES, Mistake
from compare.measuring.programs.mistakes.site import Site
from compare.measuring.programs.program import Program, Seen, guilty_lines
from compare.measuring.programs.style import settled

STEPS = 12  # that are compared: a mistake that shows in none of them is none on this data
SEEN = 1e-6  # of an update's largest element


@dataclass(frozen=True)
class Wrong:
    """The text, the program it was made from, the mistake, its lines, and the first step whose update differs."""

    text: str
    right: Program
    mistake: Mistake
    lines: tuple[int, ...]
    step: int


def planted(seed: int) -> Wrong:
    """A program with a mistake that changes what it does; drawn as often as people make it."""
    r = random.Random(f"mistake {seed}")
    mistakes = list(MISTAKES)
    order = sorted(mistakes, key=lambda m: -(r.random() ** (1 / m.often)))  # a draw by weights, without putting back
    program = Program.drawn(seed)
    for mistake in order:
        fitting = suited(program, mistake.family, r)
        if found := plant(fitting, mistake, r.randrange(2**32)):
            return found
    raise ValueError(f"seed {seed}: no mistake changes this program")


def suited(program: Program, family: str, r: random.Random) -> Program:
    """The program, in a style in which a mistake of this family can be made: few train with Adam or a penalty."""
    style = program.style
    changed = {
        "adam": {"optimizer": "adam"},
        "momentum": {"optimizer": r.choice(("torch momentum", "velocity", "average"))},
        "penalty": {"penalty": r.choice(("half l2", "half l2", "l2", "l1")), "penalty_in": "both",
                    "report": r.choice(("print", "list", "function"))},
        "accumulated": {"loop": "accumulated", "samples": r.choice(("rows", "columns", "vectors"))},
    }  # fmt: skip
    if family == "momentum" and style.optimizer != "sgd":
        return program
    if family not in changed:
        return program
    other = Program.of(settled(replace(style, **changed[family])))  # type: ignore[arg-type]
    return other if other.is_tame() else program


def plant(program: Program, mistake: Mistake, seed: int) -> Wrong | None:
    """The program with this mistake; None where it cannot be made there, or changes nothing."""
    site = Site(program, random.Random(seed))
    if not mistake.plant(site):
        return None
    tree = ast.fix_missing_locations(site.tree)
    text, lines = guilty_lines(tree)
    step = first_difference(program, Program(program.style, tree))
    return None if step is None else Wrong(text, program, mistake, lines, step)


def first_difference(right: Program, wrong: Program) -> int | None:
    """The first step, from 1, after which the weights differ; None where they do not, or the wrong program breaks."""
    try:
        other = wrong.run(STEPS)
    except Exception:
        return None
    found = right.run(STEPS)
    if len(other) != len(found) or not _finite(other):
        return None
    for step in range(1, len(found)):
        if _differ(found[step - 1], found[step], other[step]):
            return step
    return None


def _finite(run: Sequence[Seen]) -> bool:
    return all(np.all(np.abs(p) < 1e6) for seen in run for layer in seen.parameters for p in layer)


def _differ(before: Seen, after: Seen, other: Seen) -> bool:
    layers = zip(before.parameters, after.parameters, other.parameters, strict=True)
    for three in layers:
        for p, right, wrong in zip(*three, strict=True):
            if right.shape != wrong.shape:
                return True
            if np.max(np.abs(right - wrong)) > SEEN * np.max(np.abs(right - p)):
                return True
    return False
