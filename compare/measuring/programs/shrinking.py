"""Shrinking: the plainest program in which the checker still fails in the same way.

python -m compare.measuring.programs.shrinking right|wrong SEED
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from compare.measuring.programs.measurement import Line, checked, right, style_of, wrong
from compare.measuring.programs.mistakes import MISTAKES
from compare.measuring.programs.program import Program
from compare.measuring.programs.style import Style
from compare.measuring.programs.tables import is_explained, is_found, is_placed
from compare.measuring.programs.wrong import Wrong, plant

PLAIN = Style()
TRIES = 5  # seeds of a mistake, which draws the layer that it is made in


def shrunk(style: Style, fails: Callable[[Style], bool], said: Callable[[Style], object] | None = None) -> Style:
    """Set one choice after another to the plainest that still fails, until none can be."""
    tried = {style}
    found = True
    while found:
        found = False
        for simpler in plainer(style):
            if simpler not in tried and fails(simpler):
                style, found = simpler, True
                if said:
                    said(style)
            tried.add(simpler)
    return style


def plainer(style: Style) -> Iterator[Style]:
    """Styles that differ in one choice, as whole programs: the largest steps first."""
    for changed in _changes(style):
        other = Program.of(replace(style, **changed)).style
        if _weight(other) < _weight(style):
            yield other


def _changes(style: Style) -> Iterator[dict[str, Any]]:
    for k in range(1, style.layers):
        hidden = [*style.hidden[: k - 1], *style.hidden[k:]]
        yield {"sizes": (*style.sizes[:k], *style.sizes[k + 1 :]), "hidden": tuple(hidden)}
    for field in fields(Style):
        if field.name not in ("sizes", "hidden", "seed"):
            yield {field.name: getattr(PLAIN, field.name)}
    for k, size in enumerate(style.sizes):
        for smaller in sorted({1, 2, size - 1} - {0}):
            if smaller < size:
                yield {"sizes": (*style.sizes[:k], smaller, *style.sizes[k + 1 :])}
    for name in ("count", "epochs", "batch"):
        yield from ({name: n} for n in (2, 3, 4) if n < getattr(style, name))


def _weight(style: Style) -> tuple[int, int, int]:
    """How far a style is from the plainest: choices, layers, numbers."""
    choices = sum(getattr(style, f.name) != getattr(PLAIN, f.name) for f in fields(Style) if f.name not in _NUMBERS)
    return style.layers, choices, sum(style.sizes) + style.count + style.epochs + style.batch


_NUMBERS = ("sizes", "hidden", "seed", "count", "epochs", "batch")


def outcome(line: Line) -> tuple[object, ...]:
    """The way in which the checker succeeds or fails on a program."""
    if line["part"] == "right" or not is_found(line):
        return (line["verdict"],)
    return line["verdict"], is_placed(line), is_explained(line)


def planted_again(style: Style, mistake: str) -> Wrong | None:
    """A program of this style with the same mistake."""
    wanted = next(m for m in MISTAKES if m.name == mistake)
    program = Program.of(style)
    found = (plant(program, wanted, random.Random(f"{style.seed} {n}").randrange(2**32)) for n in range(TRIES))
    return next((w for w in found if w), None)


def line_again(style: Style, before: Line) -> Line | None:
    """The result of a program of this style, with the mistake of an earlier one; None where there is no such program."""
    if before["part"] == "right":
        program = Program.of(style)
        return {"part": "right"} | checked(program.text, program.network) if program.is_tame() else None
    found = planted_again(style, before["mistake"])
    if found is None:
        return None
    known = {"part": "wrong", "guilty": list(found.lines), "expected": sorted(found.mistake.causes)}
    return known | checked(found.text, found.right.network)


def smallest(part: str, seed: int) -> tuple[Line, Style]:
    """The result of a drawn program, and the plainest style with the same outcome."""
    before = right(seed) if part == "right" else wrong(seed)
    wanted = outcome(before)

    def fails(style: Style) -> bool:
        line = line_again(style, before)
        return line is not None and outcome(line) == wanted

    def said(style: Style) -> None:
        print(f"still {wanted}: {differences(style)}", file=sys.stderr, flush=True)

    return before, shrunk(style_of(before), fails, said)


def differences(style: Style) -> str:
    """What is not plain: "loop='mini', samples='columns'"."""
    names = [f.name for f in fields(Style) if getattr(style, f.name) != getattr(PLAIN, f.name)]
    return ", ".join(f"{name}={getattr(style, name)!r}" for name in names)


def main(part: str, seed: int) -> None:
    before, style = smallest(part, seed)
    again = planted_again(style, before["mistake"]) if part == "wrong" else None
    text = again.text if again else Program.of(style).text
    print(f"# {outcome(before)}: Style({differences(style)})")
    if again:
        print(f"# {again.mistake.name}, lines {again.lines} below")
    print(f'# --network "{Program.of(style).network}"\n{text}', end="")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
