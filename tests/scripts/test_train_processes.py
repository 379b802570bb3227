"""train.py --processes N: several processes train in NumPy, and what can go wrong with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch.crew import why_not
from scratch.history import read_histories
from scratch.processes import cores

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=f"no processes here: {why_not()}"),
    pytest.mark.skipif(cores() < 2, reason="needs two cores"),
]
Script = Callable[..., Any]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TWO = ("digits", "--backend", "scratch", "--hidden", "8", "--processes", "2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "--processes", "0"), "--processes: got '0', expected a whole number of at least 1"),
        (("digits", "--processes", "2"), "--processes 2: expected --backend scratch with it (torchrun starts"),
        (("digits", "--processes", "2", "--backend", "torch"), "--processes 2: expected --backend scratch with it"),
        (("digits", "--processes", "2", "--lockstep"), "--processes 2: expected --backend scratch with it"),
        ((*TWO, "--threads", "2"), "--processes and --threads: expected one of them"),
        ((*TWO[:-1], "4000"), f"--processes 4000: expected at most {cores()}, the cores that are here"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(script: Script, arguments: tuple[str, ...], message: str) -> None:
    done = script("train", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


def test_a_lab_that_trains_in_its_own_way_says_so(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    from scratch.labs import LABS

    lab = LABS["digits"]
    monkeypatch.setitem(LABS, "digits", replace(lab, learner=lambda setup: None))
    done = script("train", *TWO)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "processes=2: digits trains in a way of its own, expected 1" in done.err


def test_where_a_process_cannot_fork_it_is_said(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    done = script("train", *TWO)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "processes=2: this system cannot fork, expected 1" in done.err


def test_two_end_where_one_does_and_a_resumed_run_has_as_many_and_the_same_bits(
    script: Script, tmp_path: Path
) -> None:
    options = (*TWO, "--dtype", "float64")
    assert script("train", *options[:5], *options[7:], "--epochs", 4, "--out", tmp_path / "one").code == 0
    assert script("train", *options, "--epochs", 4, "--out", tmp_path / "whole").code == 0
    assert script("train", *options, "--epochs", 2, "--out", tmp_path / "part").code == 0
    resumed = script("train", "digits", "--resume", tmp_path / "part", "--epochs", 4)
    assert resumed.code == 0
    assert "not as when this run began" not in resumed.out
    assert json.loads((tmp_path / "part/config.json").read_text())["processes"] == 2
    for name in ("fingerprints.csv", "weights.safetensors"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    one, two = (read_histories(tmp_path / name / "history.csv")["scratch"] for name in ("one", "whole"))
    np.testing.assert_allclose([row[:5] for row in two], [row[:5] for row in one], rtol=1e-12)


def test_a_run_that_goes_on_with_another_number_says_so(script: Script, tmp_path: Path) -> None:
    assert script("train", *TWO, "--epochs", 1, "--out", tmp_path).code == 0
    done = script("train", "digits", "--resume", tmp_path, "--epochs", 2, "--processes", "1")
    assert done.code == 0
    assert "not as when this run began: processes 2 and 1; its bits may be others than in one go" in done.out


def test_a_run_that_goes_on_where_there_are_fewer_cores_says_how_many(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _threads

    assert script("train", *TWO, "--epochs", 1, "--out", tmp_path).code == 0
    monkeypatch.setattr(_threads, "cores", lambda: 1)
    done = script("train", "digits", "--resume", tmp_path, "--epochs", 2)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--processes 2, as this run began: expected at most 1, the cores that are here" in done.err
    assert script("train", "digits", "--resume", tmp_path, "--epochs", 2, "--processes", 1).code == 0


def started(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A run of two in its own session after its first epoch, and the number of its second process."""
    command = [sys.executable, SCRIPTS / "train.py", *TWO, "--batch-size", "4", "--epochs", "100000", "--out", folder]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return process, int(found[0])
    raise AssertionError(process.communicate())


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < until, f"process {pid} is left"
        time.sleep(0.01)


def assert_goes_on(script: Script, folder: Path, tmp_path: Path) -> None:
    """It ends in the bits of a run that nothing happened to."""
    from scratch.checkpoint import Checkpoint

    epochs = Checkpoint.read(folder / "checkpoints/scratch/checkpoint.safetensors").epoch + 1
    assert script("train", "digits", "--resume", folder, "--epochs", epochs).code == 0
    whole = (*TWO, "--batch-size", "4", "--epochs", epochs, "--out", tmp_path / "whole")
    assert script("train", *whole).code == 0
    for name in ("fingerprints.csv", "weights.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to"),
    [(signal.SIGINT, "all of them"), (signal.SIGTERM, "all of them"), (signal.SIGTERM, "the leader")],
)
def test_an_interrupted_run_is_saved_and_ends_the_same(
    script: Script, tmp_path: Path, number: signal.Signals, to: str
) -> None:
    process, other = started(tmp_path / "part")
    (os.killpg if to == "all of them" else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert "to go on: python scripts/train.py digits --resume" in out
    wait_until_gone(other)
    assert_goes_on(script, tmp_path / "part", tmp_path)


@linux
@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_in_one_line_and_loses_nothing(script: Script, tmp_path: Path) -> None:
    process, other = started(tmp_path / "part")
    os.kill(other, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == f"train: process 1 of 2 (number {other}) has ended: killed by SIGKILL\n"
    assert "to go on: python scripts/train.py digits --resume" in out
    assert_goes_on(script, tmp_path / "part", tmp_path)


@linux
@pytest.mark.slow
def test_when_the_leader_is_killed_the_other_ends_and_nothing_is_lost(script: Script, tmp_path: Path) -> None:
    process, other = started(tmp_path / "part")
    process.kill()
    process.communicate(timeout=60)
    wait_until_gone(other)
    assert_goes_on(script, tmp_path / "part", tmp_path)
