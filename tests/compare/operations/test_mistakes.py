"""Every known mistake by its example: the wrong snippet is named so, the right one is not; and the order of ties."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from compare.diagnosis.diagnosis import Explanation, diagnose, explanations
from compare.operations import all_mistakes
from compare.operations.mistake import ANYWHERE, Mistake
from tests.compare.operations.examples import Case, judged, put

MISTAKES = all_mistakes()
TIES = json.loads(Path(__file__).with_name("ties.json").read_text())
EXAMPLES = [(m, Case.of(m), dtype) for m in MISTAKES for dtype in Case.of(m).dtypes]


def _keys() -> Iterator[str]:
    """A name for each mistake: its place, its cause, and its number among those that have both in common."""
    seen: Counter[str] = Counter()
    for m in MISTAKES:
        name = f"{m.place} {m.cause}"
        seen[name] += 1
        yield f"{name} {seen[name]}"


KEYS = {id(m): key for m, key in zip(MISTAKES, _keys(), strict=True)}


@pytest.mark.parametrize(("m", "case", "dtype"), EXAMPLES, ids=[f"{KEYS[id(m)]} {dtype}" for m, _, dtype in EXAMPLES])
def test_the_wrong_snippet_is_named(m: Mistake, case: Case, dtype: str) -> None:
    found = judged(m, case, m.wrong, dtype)
    assert found.first is not None
    assert found.first.tensor == case.tensor
    fitting = explanations(found.first, found.rows, found.steps)
    assert fitting[0].mistake is m
    assert ties(fitting) == [KEYS[id(m)], *TIES.get(f"{KEYS[id(m)]} {dtype}", [])]
    if dtype == case.dtypes[0]:  # it asks for the explanations once more, which takes half of the time
        assert diagnose(found.first, found.rows, found.steps)[0].cause == m.cause


def ties(found: Sequence[Explanation]) -> list[str]:
    """Those that explain as much as the best one: only their order in the table decides which of them is named."""
    best = found[0]
    return [KEYS[id(e.mistake)] for e in found if _worth(e) == _worth(best)]


def _worth(e: Explanation) -> tuple[float, int, bool]:
    return e.steps, e.rank, e.mistake.place == ANYWHERE


# Many mistakes have their right snippet in common.
RIGHT = {repr((case, m.place, m.right, dtype)): (m, case, dtype) for m, case, dtype in reversed(EXAMPLES)}


@pytest.mark.parametrize(
    ("m", "case", "dtype"), RIGHT.values(), ids=[f"{KEYS[id(m)]} {dtype}" for m, _, dtype in RIGHT.values()]
)
def test_the_right_snippet_is_right(m: Mistake, case: Case, dtype: str) -> None:
    found = judged(m, replace(case, touched={}, also={}), m.right or "right", dtype)
    assert not [r for r in found.rows if r.tensor == case.tensor and r.status == "off"]


def test_every_mistake_has_an_example() -> None:
    assert not [KEYS[id(m)] for m in MISTAKES if not m.wrong]


def test_every_tie_is_of_a_mistake_that_is_known() -> None:
    assert not set(TIES) - {f"{KEYS[id(m)]} {dtype}" for m, _, dtype in EXAMPLES}


def test_a_case_with_an_unknown_key_is_an_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        Case.of(replace(MISTAKES[0], case={"colour": "red"}))


def test_a_snippet_that_is_put_in_no_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="in no step"):
        put(MISTAKES[0], replace(Case.of(MISTAKES[0]), steps=()), "x", "float64")
