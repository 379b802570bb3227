"""The scripts under torchrun: the same results and files as one process, one voice, and no rank left waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch.history import read_histories

ROOT = Path(__file__).resolve().parents[2]
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVIRONMENT = {**os.environ, **THREADS, "PYTHONPATH": str(ROOT)}
Script = Callable[..., Any]
LONG = ("digits", "--backend", "torch", "--dtype", "float64", "--epochs", "30")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the ranks in /proc")


def torchrun(size: int, *arguments: object) -> list[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(size)]
    return [*command, *map(str, arguments)]


def run(*command: str, limit: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=limit)


class Running:
    """A job that runs; `wait_for` a text in what it says, then do something to one of its processes."""

    def __init__(self, log: Path, *command: str) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, env=ENVIRONMENT, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, text=True
            )

    def wait_for(self, text: str, limit: float = 120) -> None:
        until = time.monotonic() + limit
        while text not in self.log.read_text():
            assert time.monotonic() < until, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def rank(self, number: int) -> int:
        """The process id of one rank, a child of torchrun's."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == self.process.pid and f"RANK={number}".encode() in variables:
                return int(folder.name)
        raise AssertionError(f"no rank {number}")

    def ends(self, limit: float) -> str:
        self.process.wait(limit)
        return self.log.read_text()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    jobs: list[Running] = []

    def start(*command: str) -> Running:
        jobs.append(Running(tmp_path / f"log{len(jobs)}", *command))
        return jobs[-1]

    yield start
    for job in jobs:
        if job.process.poll() is None:
            job.process.terminate()
            job.process.wait(60)


def weights(folder: Path) -> dict[str, np.ndarray]:
    import torch

    return {name: p.numpy() for name, p in torch.load(folder / "weights.pth", weights_only=True).items()}


def apart(a: Path, b: Path) -> float:
    ours, theirs = weights(a), weights(b)
    return max(float(np.linalg.norm(ours[n] - theirs[n]) / np.linalg.norm(ours[n])) for n in ours)


USAGE = [
    ("train", ("digits", "--backend", "both"), "several processes train --backend torch only, got --backend both"),
    ("train", ("digits",), "several processes train --backend torch only, got --backend both"),
    ("train", ("digits", "--backend", "scratch"), "--backend torch only, got --backend scratch"),
    ("train", ("digits", "--lockstep"), "several processes train --backend torch only, without --lockstep"),
    ("train", ("digits", "--backend", "torch", "--compile"), "--compile: several processes train without it"),
    ("train", ("digits", "--epochs", "0"), "--epochs: got '0', expected a whole number of at least 1"),
    ("fashion_mnist", ("--backend", "both"), "several processes train --backend torch only"),
    ("check_parity", ("digits", "--exact"), "--exact is checked by one process, expected it without torchrun"),
    ("check_parity", ("--record", "r.npz"), "--record is checked by one process, expected it without torchrun"),
    ("check_parity", ("digits", "--save-record", "r"), "--save-record is checked by one process"),
    ("check_parity", ("digits", "--inject", "bias-missing"), "under torchrun expected one of gradients-summed-over"),
    ("check_parity", ("nope",), "got lab 'nope'"),
]


def as_rank_0_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that torchrun sets; nobody listens at the address."""
    own = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("name", "arguments", "message"), USAGE)
def test_what_cannot_be_combined_is_one_line_from_rank_0(
    script: Script, monkeypatch: pytest.MonkeyPatch, name: str, arguments: tuple[str, ...], message: str
) -> None:
    """It is said before the ranks meet, so that one process is enough to see it."""
    as_rank_0_of_two(monkeypatch)
    done = script(name, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_each_process_needs_a_gpu_of_its_own(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank_0_of_two(monkeypatch)
    monkeypatch.setattr("_device.expect_usable", lambda args: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    done = script("train", "digits", "--backend", "torch", "--device", "cuda")
    assert (done.code, done.out) == (2, "")
    assert "--device cuda: 2 processes on this machine and 1 GPUs, expected one for each" in done.err
    done = script("train", "digits", "--backend", "torch", "--device", "cuda:1")
    assert "--device cuda:1: several processes have one each, expected cpu or cuda" in done.err


def test_a_fault_of_several_ranks_cannot_be_planted_in_one_process(script: Script) -> None:
    done = script("check_parity", "digits", "--inject", "same-data-on-every-rank")
    assert (done.code, done.out) == (2, "")
    assert "only several processes can have it, expected torchrun --nproc-per-node 2 scripts/check" in done.err


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (("--inject", "list"), "every rank takes the first shard of the batch"),
        (("--help",), "2 bad usage or bad input"),
    ],
)
def test_where_rank_0_has_nothing_to_do_it_lets_the_others_go(
    script: Script, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], last: str
) -> None:
    as_rank_0_of_two(monkeypatch)
    let_go: list[bool] = []
    monkeypatch.setattr("torch_ref.team.dissolve", lambda: let_go.append(True))
    done = script("check_parity", *arguments)
    assert (done.code, let_go) == (0, [True])
    assert done.out.rstrip().endswith(last)


def test_the_list_under_torchrun_is_that_of_several_ranks(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank_0_of_two(monkeypatch)
    monkeypatch.setattr("torch_ref.team.dissolve", lambda: None)
    done = script("check_parity", "--inject", "list")
    assert (done.code, len(done.out.splitlines())) == (0, 4)


@pytest.mark.slow
def test_where_rank_0_has_nothing_to_do_none_waits_for_it() -> None:
    done = run(*torchrun(2, "scripts/check_parity.py", "--inject", "list"), limit=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("every rank takes the first shard of the batch")


@pytest.mark.slow
def test_an_error_is_said_once_and_with_exit_code_2() -> None:
    done = run(*torchrun(2, "scripts/train.py", "digits", "--backend", "both"))
    assert done.returncode != 0
    assert done.stderr.count("several processes train --backend torch only") == 1
    assert "exitcode  : 2" in done.stderr  # in torchrun's own summary
    assert "error_file: <N/A>" in done.stderr


@pytest.mark.slow
def test_training_by_several_processes_equals_training_by_one(script: Script, tmp_path: Path) -> None:
    """1,437 samples: at batch 359 the shards have 180 and 179 rows, and of the last row one rank has none."""
    options = ("--backend", "torch", "--dtype", "float64", "--epochs", "2", "--batch-size", "359", "--check")
    alone = script("train", "digits", *options, "--out", tmp_path / "alone")
    several = run(*torchrun(2, "scripts/train.py", "digits", *options, "--out", tmp_path / "several"))
    assert (alone.code, several.returncode) == (0, 0), several.stderr[-2000:]
    assert apart(tmp_path / "alone", tmp_path / "several") < 1e-12
    assert {p.name for p in (tmp_path / "alone").iterdir()} == {p.name for p in (tmp_path / "several").iterdir()}
    ours, theirs = (read_histories(tmp_path / name / "history.csv")["torch"] for name in ("alone", "several"))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.train_accuracy, a.val_accuracy) == (b.train_accuracy, b.val_accuracy)
        np.testing.assert_allclose((a.train_loss, a.val_loss), (b.train_loss, b.val_loss), rtol=1e-12)
    said = several.stdout.splitlines()
    assert [line.split()[1] for line in said if line.startswith("epoch")] == ["1/2", "2/2"]
    assert said.count("2 processes, each with its shard of every batch") == 1
    assert sum(line.startswith("PARITY") for line in said) == 2


@pytest.mark.slow
def test_check_parity_judges_the_ranks_and_numpy(tmp_path: Path) -> None:
    options = ("iris", "--dtype", "float64", "--json", tmp_path / "r.json")
    done = run(*torchrun(2, "scripts/check_parity.py", *options))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("PARITY in float64") == 1
    assert "found: 2 ranks with shards of " in done.stdout
    assert "found: NumPy's own run on the whole batches by the same bounds: parity" in done.stdout
    assert (tmp_path / "r.json").exists()


def assert_says_who_was_killed(said: str, rank: int, pid: int) -> None:
    """In one line, and how to go on where rank 0 is left to save the run."""
    lines = [line for line in said.splitlines() if line.startswith("train: ")]
    assert len(lines) == 1, said
    assert lines[0].startswith(f"train: rank {rank} (process {pid} on ")
    assert "the others cannot go on without it" in lines[0]
    assert " killed" in lines[0]  # by signal 9, or, where torchrun was faster, as a process that is killed ends
    assert ("to go on: python scripts/train.py digits --resume" in said) is (rank != 0)
    assert "Traceback (most recent call last):\n  File \"" + str(ROOT / "scripts") not in said


@needs_proc
@pytest.mark.slow
def test_a_rank_0_that_is_killed_stops_the_job_with_one_line(running: Callable[..., Running], tmp_path: Path) -> None:
    job = running(*torchrun(2, "scripts/train.py", *LONG, "--epochs", "100000", "--out", tmp_path / "run"))
    job.wait_for("epoch      1/100000")
    pid = job.rank(0)
    os.kill(pid, signal.SIGKILL)
    assert_says_who_was_killed(job.ends(limit=60), 0, pid)


@needs_proc
@pytest.mark.slow
def test_a_run_that_was_ended_goes_on_under_torchrun_to_the_same_bits(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    """Ended by SIGTERM to torchrun, then by the death of a rank, and resumed by two processes each time."""
    whole = run(*torchrun(2, "scripts/train.py", *LONG, "--out", tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr[-2000:]
    first = running(*torchrun(2, "scripts/train.py", *LONG, "--out", tmp_path / "run"))
    first.wait_for("epoch  2/30")
    first.process.send_signal(signal.SIGTERM)
    said = first.ends(limit=60)
    assert "finishing this step, to save it" in said
    assert "to go on: python scripts/train.py digits --resume" in said
    resumed = ("scripts/train.py", "digits", "--resume", tmp_path / "run")
    second = running(*torchrun(2, *resumed))
    second.wait_for("epoch 12/30")
    pid = second.rank(1)
    os.kill(pid, signal.SIGKILL)
    assert_says_who_was_killed(second.ends(limit=60), 1, pid)
    third = run(*torchrun(2, *resumed))
    assert third.returncode == 0, third.stderr[-2000:]
    ours, theirs = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    histories = [read_histories(tmp_path / name / "history.csv")["torch"].figures for name in ("whole", "run")]
    assert histories[0] == histories[1]
