"""Places in the words of a report: what an editor opens, and the expression underlined in its line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import compare
from compare.recording.place import Place, Span
from compare.report.words import excerpt, where

NETWORK = "3-5-1 tanh, sigmoid output, binary cross-entropy"
MULTIPLE = ["dz = (da", "      * s)", "dW = dz.T @ x"]

# source, place, what is shown, and what an editor opens
SHOWN = [
    (["a = 1 + 2"], Span(4, 1, 9), ["> 1 a = 1 + 2", "        ^^^^^"], "s.py:1:5"),
    (["a = 1 + 2"], None, ["> 1 a = 1 + 2"], "s.py:1"),
    (["é = à + b"], Span(5, 1, 11), ["> 1 é = à + b", "        ^^^^^"], "s.py:1:5"),
    (["s = '漢字' + a"], Span(4, 1, 16), ["> 1 s = '漢字' + a", "        ^^^^^^^^^^"], "s.py:1:5"),
    (["\ta = b"], Span(5, 1, 6), ["> 1 \ta = b", "    \t    ^"], "s.py:1:6"),
    (
        MULTIPLE,
        Span(5, 2, 10),
        ["> 1 dz = (da", "         ^^^", "  2       * s)", "          ^^^^", "  3 dW = dz.T @ x"],
        "s.py:1:6",
    ),
]


@pytest.mark.parametrize(("lines", "span", "shown", "opened"), SHOWN, ids=lambda v: v if isinstance(v, str) else "")
def test_the_expression_is_underlined(lines: list[str], span: Span | None, shown: list[str], opened: str) -> None:
    place, sources = Place("s.py", 1, "a", span=span), {"s.py": lines}
    wide = [line[:2] + f"{line[2:3]:>4}" + line[3:] for line in shown]  # numbers have four columns
    assert excerpt(place, sources).splitlines() == wide
    assert where(place, sources) == opened


@pytest.mark.parametrize(
    "place", [None, Place("", 0, "W1"), Place("n.ipynb", 12, "dz", "cell 2, line 3")], ids=["none", "array", "cell"]
)
def test_what_no_editor_can_open_has_no_place(place: Place | None) -> None:
    assert where(place, {"n.ipynb": ["x"] * 12}) == ""


def test_a_file_is_named_as_it_is_seen_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert where(Place(str(tmp_path / "labs" / "s.py"), 3, "a"), {}) == "labs/s.py:3"
    assert where(Place("/elsewhere/s.py", 3, "a"), {}) == "/elsewhere/s.py:3"


def test_a_watched_script_is_marked_where_it_is_wrong() -> None:
    report = compare.check("examples/script_wrong.py", network=NETWORK)
    line, under = next(pair for pair in pairwise(report.excerpt.splitlines()) if pair[0].startswith(">"))
    marked = "".join(c for c, mark in zip(line, under, strict=False) if mark == "^")
    assert marked == "W2.T @ dZ2 * (1 - Z1**2)"
    assert report.where == "examples/script_wrong.py:21:11"
    assert f"--> {report.where}\n" in str(report)
