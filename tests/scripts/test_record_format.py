"""The writers of docs/record-format.md, taken from the page, run, and their files checked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import scratch
from compare.checking import check_records
from compare.recording.files import load_records
from compare.recording.scratch_recorder import record_scratch
from compare.report.report import Report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "record-format.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^### ([^\n]+)\n.*?^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
# writer -> file, what must be there, the commands
RUN: dict[str, tuple[str, str, list[list[str]]]] = {
    "NumPy": ("step.py", sys.executable, [[sys.executable, "step.py"]]),
    "PyTorch": ("step.py", sys.executable, [[sys.executable, "step.py"]]),
    "C": ("step.c", "cc", [["cc", "-Wall", "-Wextra", "-Werror", "step.c", "-lm", "-o", "step"], ["./step"]]),
    "Julia": ("step.jl", "julia", [["julia", "step.jl"]]),
    "MATLAB and Octave": ("step.m", "octave", [["octave", "--no-gui", "--quiet", "step.m"]]),
}
# writer -> a piece of its text, what a mistake makes of it, and the tensor that is then wrong
MISTAKES = {
    "NumPy": ("dy.sum(axis=0)", "dy.mean(axis=0)", "0.grad_bias"),
    "PyTorch": ('"0.grad_input": x.grad', '"0.grad_input": -x.grad', "0.grad_input"),
    "C": ("db[o] += dy[s][o];", "db[o] = dy[s][o];", "0.grad_bias"),
    "Julia": ('"0.grad_input" => dy * W', '"0.grad_input" => -dy * W', "0.grad_input"),
    "MATLAB and Octave": ("sum(dy, 1)", "mean(dy, 1)", "0.grad_bias"),
}


def written(name: str, folder: Path, text: str) -> Path:
    """The file that the program writes; skipped where its language is not there."""
    file, needed, commands = RUN[name]
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed, so the writer in {name} has not been run")
    (folder / file).write_text(text, encoding="utf-8")
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "step.safetensors"


def judged(path: Path) -> Report:
    return check_records(load_records(path))


def test_the_page_has_the_writers() -> None:
    assert list(PROGRAMS) == ["NumPy", "PyTorch", "C", "Julia", "MATLAB and Octave"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_writer_is_in_parity_with_every_tensor_compared(name: str, tmp_path: Path) -> None:
    report = judged(written(name, tmp_path, PROGRAMS[name]))
    assert report.verdict == "parity", str(report)
    assert report.compared == report.total == 6


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_mistake_in_a_writer_is_found(name: str, tmp_path: Path) -> None:
    right, wrong, tensor = MISTAKES[name]
    assert right in PROGRAMS[name]
    report = judged(written(name, tmp_path, PROGRAMS[name].replace(right, wrong)))
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert report.first.tensor == tensor


@pytest.mark.parametrize("other", ["C", "MATLAB and Octave"])
def test_a_file_of_another_language_is_judged_like_numpys(
    other: str, script: Callable[..., Any], tmp_path: Path
) -> None:
    """The command of the page; the same rows, names and statuses."""
    rows = {}
    for name in (other, "NumPy"):
        folder = tmp_path / name
        folder.mkdir()
        path = written(name, folder, PROGRAMS[name])
        outcome = script("check_parity", "--record", path, "--json", folder / "r.json")
        assert outcome.code == 0, outcome.err
        report = json.loads((folder / "r.json").read_text())
        rows[name] = [(row["tensor"], row["check"], row["shape"], row["status"]) for row in report["rows"]]
    assert rows[other] == rows["NumPy"]
    theirs, numpy = (load_file(tmp_path / name / "step.safetensors") for name in (other, "NumPy"))
    assert set(theirs) == set(numpy)
    for name, array in numpy.items():
        np.testing.assert_allclose(theirs[name], array, rtol=1e-12, atol=1e-15)


def test_npz_needs_the_network(script: Callable[..., Any], tmp_path: Path) -> None:
    path = written("NumPy", tmp_path, PROGRAMS["NumPy"]).with_suffix(".npz")
    assert script("check_parity", "--record", path, "--network", "3-2, mse").code == 0
    outcome = script("check_parity", "--record", path)
    assert outcome.code == 2
    assert "names no network" in outcome.err


def test_the_table_has_every_name_of_a_record() -> None:
    """Those of this project's own records, with k for the layer; shapes are those that it has."""
    named = set(re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE))))
    rng = np.random.default_rng(0)
    net = scratch.Sequential(scratch.Linear(3, 2, rng=rng), scratch.Tanh(), scratch.Linear(2, 2, rng=rng))
    batches = [(rng.random((4, 3), np.float32), rng.random((4, 2), np.float32))] * 2
    for optimizer in (scratch.SGD(net, lr=0.1, momentum=0.9), scratch.AdamW(net, lr=0.1)):
        for name in record_scratch(net, scratch.MSELoss(), optimizer, batches)[0]:
            general = re.sub(r"^\d+\.", "k.", name).replace("new_bias.", "new_weight.")
            assert general in named, name
