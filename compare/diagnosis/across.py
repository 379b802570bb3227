"""Across: a wrong tensor that follows from others which were not handed in, and a known mistake made in one of those.

In `d1 = (d2 @ W2) * (1 - h1**2)` no line binds d2 W2^T, so the mistake in it shows in d1 only. Each known mistake is
made in each absent tensor, and carried to the wrong one by the rules between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compare.diagnosis.evidence import Evidence
from compare.judging.judge import off
from compare.judging.judged_step import SPREAD, TWINS, JudgedStep, Wrong
from compare.judging.reasons import Made
from compare.judging.step import Rule
from compare.judging.verdict import Row
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.operations import mistakes_at
from compare.operations.letters import Absent
from compare.operations.mistake import Mistake

CANNOT_BE_MADE = (Absent, ValueError, IndexError, TypeError, ZeroDivisionError)  # the shapes do not allow the mistake


@dataclass(frozen=True)
class Carried:
    """What the wrong tensor would be if a mistake had been made in an absent one, which is in `layer`."""

    made: Made
    layer: str
    guess: Bounded

    @property
    def key(self) -> tuple[str, ...]:
        """The same of the same mistake in another step."""
        return self.made.mistake.cause, self.made.inside, self.made.mistake.words, self.made.parameter


def carried(row: Row, steps: Sequence[JudgedStep]) -> Iterator[Carried]:
    """Every known mistake in every absent tensor that the wrong one follows from, the nearest to it first."""
    judged = next(s for s in steps if s.record.step == row.step)
    target = next((rule for rule in judged.rules if rule.name == row.tensor), None)
    if target is None:
        return
    for rule in reversed(_absent_before(target, judged)):
        e = _evidence(rule, judged, steps)
        for mistake in mistakes_at(e.place, e):
            if mistake.place == e.place and not mistake.parametric and not mistake.overflows:
                for value, parameter in _guesses(mistake, e):
                    guess = _carry(value, rule, target, judged)
                    if guess is not None:
                        yield Carried(Made(mistake, parameter, rule.name), rule.layer, guess)


def _absent_before(target: Rule, judged: JudgedStep) -> list[Rule]:
    """The rules of tensors that were computed in the place of absent ones, and from which the target follows."""
    by_name = {rule.name: rule for rule in judged.rules}
    found: dict[str, Rule] = {}
    left = list(target.sources)
    while left:
        rule = by_name.get(left.pop())
        if rule is not None and rule.name not in judged.record and rule.name in judged.known and rule.name not in found:
            found[rule.name] = rule
            left += rule.sources
    return [rule for rule in judged.rules if rule.name in found and not rule.copies and rule.kind == "gradient"]


def _evidence(rule: Rule, judged: JudgedStep, steps: Sequence[JudgedStep]) -> Evidence:
    """The letters of the absent tensor's own place."""
    known = judged.known[rule.name]
    expected = rule.compute(*(judged.known[source].value for source in rule.sources), p=judged.precision_of(rule))
    nothing = np.full(known.value.shape, np.nan)
    return Evidence(off(judged.record, rule, ""), steps, Wrong(nothing, expected, judged.precision_of(rule), rule))


def _guesses(mistake: Mistake, e: Evidence) -> list[tuple[Bounded, str]]:
    try:
        with np.errstate(all="ignore"):
            found = [(g, parameter) for g, parameter in mistake.guesses(e) if g.shape == e.got.shape]
            return [(g, p) for g, p in found if np.any(np.abs(g.value - e.ref.value) > g.error + e.ref.error)]
    except CANNOT_BE_MADE:
        return []


def _carry(guess: Bounded, absent: Rule, target: Rule, judged: JudgedStep) -> Bounded | None:
    """The target's value if the absent tensor were the guess, with the deviation of twins as its bound."""
    rng = np.random.default_rng(0)
    exact = _through(guess.value, absent, target, judged, None)
    if exact is None:
        return None
    twins = []
    for _ in range(TWINS):
        moved = guess.value + rng.choice([-1.0, 1.0], guess.shape) * rng.uniform(0.5, 1, guess.shape) * guess.error
        twin = _through(moved, absent, target, judged, rng)
        assert twin is not None
        twins.append(twin.value)
    spread = SPREAD * np.max([np.abs(twin - exact.value) for twin in twins], axis=0)
    return Bounded(exact.value, exact.allowance.wide + spread, guess.p)


def _through(
    value: Array, absent: Rule, target: Rule, judged: JudgedStep, rng: np.random.Generator | None
) -> Expected | None:
    """The target by the rules between, each rounding moved at random where `rng` is given."""
    values: dict[str, Array] = {absent.name: value}
    begun = False
    for rule in judged.rules:
        begun |= rule is absent
        if not begun or rule is absent or not any(source in values for source in rule.sources):
            continue
        if rule is not target and rule.name in judged.record:
            continue
        expected = _computed(rule, values, judged)
        if rule is target or expected is None:
            return expected
        own = expected.allowance.wide
        moves = 0.0 if rng is None else rng.choice([-1.0, 1.0], own.shape) * rng.uniform(0.5, 1, own.shape)
        values[rule.name] = expected.value + moves * own
    return None


def _computed(rule: Rule, values: Mapping[str, Array], judged: JudgedStep) -> Expected | None:
    if any(source not in values and source not in judged.known for source in rule.sources):
        return None
    sources = (values[s] if s in values else judged.known[s].value for s in rule.sources)
    with np.errstate(all="ignore"):
        return rule.compute(*sources, p=judged.precision_of(rule))
