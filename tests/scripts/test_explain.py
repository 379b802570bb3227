"""explain.py: the page of a code in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CAUSES = Path(__file__).parents[2] / "docs" / "causes"


@pytest.mark.parametrize("code", ["B017", "b017"])
def test_the_page_of_a_code_is_printed(script: Callable[..., Any], code: str) -> None:
    outcome = script("explain", code)
    assert (outcome.code, outcome.out) == (0, (CAUSES / "B017.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("code", ["B000", "B17", "sign", ""])
def test_a_code_that_is_not_known_is_said(script: Callable[..., Any], code: str) -> None:
    outcome = script("explain", code)
    assert outcome.code == 2
    assert outcome.err.startswith(f"explain: {code!r} is no code of a cause: expected one of B001 to B")
    assert outcome.err.count("\n") == 1
