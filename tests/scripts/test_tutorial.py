"""docs/tutorial.md, as a reader would follow it: the changes are made, the commands typed, the outputs compared."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+(e[+-]?\d+)?|e[+-]?\d+)(?![\w.])")
VERDICTS = [1, 1, 1, 0]  # the exit codes, as the text says them


def normal(text: str) -> Iterator[str]:
    """The lines without what depends on the machine: floating-point numbers, and the columns that hold them."""
    for line in text.strip().splitlines():
        columns = re.split(r"\s{2,}", line.strip())
        if len(columns) == 7:  # tensor, shape, check, three numbers, status
            yield " ".join([*columns[:3], columns[6]])
        elif len(columns) == 6:  # layer, tensors, three numbers, where
            yield " ".join(columns[:2])
        elif line.startswith("this check would show"):
            yield "this check would show"
        else:
            yield NUMBER.sub("#", " ".join(columns))


def change(text: str, diff: str) -> str:
    """The text with the lines after - replaced by those after +."""
    old, new = (
        "".join(f"{line[1:]}\n" for line in diff.splitlines() if line.startswith(mark)) for mark in ("-", "+")
    )
    assert text.count(old) == 1
    return text.replace(old, new)


def test_what_is_compared_is_not_nothing() -> None:
    row = "1.output  40x8  isolated  0.1  2e-3  0.3  OFF 3 of 4 elements"
    assert list(normal(row)) == ["1.output 40x8 isolated OFF 3 of 4 elements"]
    assert list(normal("  0.x[0]: found -1.5e-3, 124 of 320")) == ["0.x[0]: found #, 124 of 320"]


@pytest.mark.slow
def test_the_six_steps(script: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine, codes = tmp_path / "mine.py", []
    (_, first), *steps = BLOCKS
    mine.write_text(first)
    for kind, text in steps[:-1]:
        if kind == "diff":
            mine.write_text(change(mine.read_text(), text))
            continue
        command, _, printed = text.partition("\n")
        assert command.startswith("$ python scripts/check_parity.py ")
        outcome = script("check_parity", *shlex.split(command)[3:])
        assert list(normal(outcome.out)) == list(normal(printed))
        codes.append(outcome.code)
    assert codes == VERDICTS
    assert len(re.findall(r"^## Step \d", PAGE, re.MULTILINE)) == 6
    names: dict[str, Any] = {}
    exec(steps[-1][1], names)
    names["test_backprop"]()
    mine.write_text(first)
    with pytest.raises(AssertionError, match=r"first divergence: the loss, 2\.grad_output"):
        names["test_backprop"]()
