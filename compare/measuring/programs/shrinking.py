"""Shrinking: the plainest program in which the checker still fails in the same way.

python -m compare.measuring.programs.shrinking right|wrong SEED
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
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
    before = None
    while style != before:
        before = style
        for change in CHANGES:
            for simpler in change(style):
                if _weight(simpler) < _weight(style) and fails(simpler):
                    style = simpler
                    if said:
                        said(style)
                    break
    return style


def _with(style: Style, **changed: Any) -> Style:
    """As a whole program."""
    return Program.of(replace(style, **changed)).style


def _a_layer_less(style: Style) -> Iterator[Style]:
    for k in range(1, style.layers):
        hidden = (*style.hidden[: k - 1], *style.hidden[k:])
        yield _with(style, sizes=(*style.sizes[:k], *style.sizes[k + 1 :]), hidden=hidden)


def _plain(name: str, style: Style) -> Iterator[Style]:
    yield _with(style, **{name: getattr(PLAIN, name)})


def _smaller(style: Style) -> Iterator[Style]:
    small = tuple(min(size, k + 2) for k, size in enumerate(style.sizes))
    yield _with(style, sizes=small)
    yield _with(style, count=5, epochs=2, batch=2)
    yield from (_with(style, **{name: n}) for name in ("count", "epochs") for n in (2, 3))


_NUMBERS = ("sizes", "hidden", "seed", "count", "epochs", "batch")
CHOICES = tuple(field.name for field in fields(Style) if field.name not in _NUMBERS)
CHANGES: tuple[Callable[[Style], Iterator[Style]], ...] = (
    *([_a_layer_less] * 3),
    *(partial(_plain, name) for name in CHOICES),
    _smaller,
)


def _weight(style: Style) -> tuple[int, int, int]:
    """How far a style is from the plainest: choices, layers, numbers."""
    choices = sum(getattr(style, name) != getattr(PLAIN, name) for name in CHOICES)
    return style.layers, choices, sum(style.sizes) + style.count + style.epochs + style.batch


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
    """The result of a program of this style, with an earlier one's mistake; None where there is no such program."""
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
