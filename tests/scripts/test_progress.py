"""The line that says how far a script is: on a terminal, after a moment, and gone afterwards."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from _progress import WatchedScript


def shown(seconds: float, name: str = "mine.py", **settings: bool) -> str:
    console = Console(file=io.StringIO(), width=80, **settings)
    with WatchedScript(name, 20, console) as line:
        line.tell(1.0, 10)
        line.tell(seconds, 12345)
    return console.file.getvalue()


def test_the_line_on_a_terminal_is_removed_at_the_end() -> None:
    text = shown(3.2, force_terminal=True)
    assert "mine.py: watched for 3 s (at most 20), 12,345 values seen" in text
    assert "10 values" not in text
    assert text.rstrip().endswith("\x1b[2K")  # the line is cleared


@pytest.mark.parametrize(("seconds", "is_terminal"), [(1.9, True), (3.2, False), (1.9, False)])
def test_nothing_at_first_and_nothing_elsewhere(seconds: float, is_terminal: bool) -> None:
    assert shown(seconds, force_terminal=is_terminal) == ""


def test_a_name_is_shown_as_text() -> None:
    assert "[red]a\\x1b[31m.py: watched" in shown(3.2, "[red]a\x1b[31m.py", force_terminal=True)
