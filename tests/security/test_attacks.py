"""Hostile programs in one class run: none is called right, none does harm, and every other row is as it would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compare.watching.box import why_not
from tests.security.attacks import AUTOGRAD, FORGED, HARM, HIDDEN, RIGHT, ROOT, WRONG

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "it runs"),
]
NETWORK = "3-5-1 tanh, sigmoid output, binary cross-entropy"
HONEST = 10
SENTINEL = "for nobody but the teacher"


@dataclass(frozen=True)
class Run:
    """One class run: its rows by file, and where it was."""

    rows: dict[str, dict[str, Any]]
    folder: Path
    beside: Path
    mark: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    top = tmp_path_factory.mktemp("class")
    folder, beside, mark = top / "handed_in", top / "beside.txt", f"mark_{os.getpid()}"
    folder.mkdir()
    beside.write_text(SENTINEL)
    places = {"folder": str(folder), "beside": str(beside), "root": str(ROOT), "mark": mark}
    harm = {name: f"{WRONG}\n{text.format(**places)}\n" for name, text in HARM.items()}
    for name, text in {**HIDDEN, **FORGED, **harm}.items():
        (folder / f"{name}.py").write_text(text)
    for k in range(HONEST):
        (folder / f"honest_{k}.py").write_text(RIGHT.replace("default_rng(4)", f"default_rng({k + 20})"))
    script = [sys.executable, str(ROOT / "scripts" / "check_submissions.py"), str(folder), "--network", NETWORK]
    options = ["--out", str(top / "out"), "--seconds", "8", "--workers", "2"]
    environment = os.environ | {"SECRET_OF_A_TEACHER": SENTINEL}
    done = subprocess.run([*script, *options], capture_output=True, text=True, timeout=1500, env=environment)
    assert done.returncode == 0, done.stderr
    rows = json.loads((top / "out" / "submissions.json").read_text())["submissions"]
    return Run({row["file"].removesuffix(".py"): row for row in rows}, folder, beside, mark)


def test_there_are_forty() -> None:
    assert len(HIDDEN) + len(FORGED) + len(HARM) >= 40


@pytest.mark.parametrize("name", [*HIDDEN, *FORGED, *HARM])
def test_it_is_not_called_right(run: Run, name: str) -> None:
    row = run.rows[name]
    assert row["verdict"] in ("mismatch", "incomplete", "not examined"), row
    assert row["cause"] or row["findings"] or row["line"], row


@pytest.mark.parametrize("k", range(HONEST))
def test_an_honest_one_among_them_is_right(run: Run, k: int) -> None:
    assert run.rows[f"honest_{k}"]["verdict"] == "parity", run.rows[f"honest_{k}"]


def test_nothing_is_harmed_and_nothing_is_left(run: Run) -> None:
    assert len(list(run.folder.iterdir())) == len(run.rows) == len(HIDDEN) + len(FORGED) + len(HARM) + HONEST
    assert run.beside.read_text() == SENTINEL
    assert SENTINEL not in json.dumps(run.rows)
    changed = subprocess.run(["grep", "-rlx", "# changed", str(ROOT / "compare")], capture_output=True, text=True)
    assert changed.stdout == ""
    assert not Path("/tmp", run.mark).exists()
    assert not list(_running(str(run.folder.name)))


def _running(word: str) -> list[str]:
    """The processes whose command line says so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "submission-" in said and word in said:
            found.append(said)
    return found


@pytest.mark.parametrize(("mask", "verdict"), [("d2 @ W2", "mismatch"), ("(d2 @ W2) * (Z1 > 0)", "parity")])
def test_autograd_beside_ones_own_is_not_taken_for_it(tmp_path: Path, mask: str, verdict: str) -> None:
    """A script that compares its gradients with autograd's: with ReLU's mask forgotten it is wrong."""
    import compare

    (tmp_path / "s.py").write_text(AUTOGRAD.replace("d1 = d2 @ W2", f"d1 = {mask}"))
    report = compare.check(tmp_path / "s.py", network="4-5-2 relu, mse", box=True)
    assert report.verdict == verdict, str(report)
