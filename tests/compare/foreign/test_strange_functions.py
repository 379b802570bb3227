"""Functions and objects as strangers write them, each file a sample of a kind: the verdicts that its top says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import compare
from compare.report.report import Report

FOLDER = Path(__file__).parent / "strangers"
NAMES = sorted(path.name for path in FOLDER.glob("*.py"))
REFUSED = {"probabilities_forward.py": "forward returns probabilities: .*; pass a function step"}
# file -> the first tensor that is off, and the code of the line that is guilty
WRONG = {
    "boolean_activation.py": ("1.output", "h = z * z > 0"),
    "linear_layers.py": ("0.output", "h = x @ W + 0.5"),
    "two_mistakes.py": ("2.grad_output", "d = t - y"),
}


def checked(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """Of every check that the file makes."""
    check, reports = compare.check, []

    def kept(*args: Any, **options: Any) -> Report:
        reports.append(check(*args, **options))
        return reports[-1]

    monkeypatch.setattr(compare, "check", kept)
    runpy.run_path(str(FOLDER / name))
    return reports


def expected(name: str) -> set[str]:
    found = re.search(r"Expected: (.*?)(Found|Never|\"\"\")", (FOLDER / name).read_text(), re.DOTALL)
    assert found, name
    verdicts = {word.lower() for word in re.findall("PARITY|MISMATCH|INCOMPLETE", found[1])}
    return verdicts or {"mismatch"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_verdict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for report in checked(name, monkeypatch):
        assert report.verdict in expected(name), f"\n{report}"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=REFUSED[name]):
        checked(name, monkeypatch)


@pytest.mark.parametrize("name", WRONG)
def test_first_tensor_and_its_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (report,) = checked(name, monkeypatch)
    assert report.first is not None
    assert (report.first.tensor, report.code.strip()) == WRONG[name]


def test_both_mistakes_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    (report,) = checked("two_mistakes.py", monkeypatch)
    assert "also wrong, on its own inputs: 1.grad_input (two_mistakes.py line 14, e)" in report.findings
