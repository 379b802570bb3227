"""The runs behind docs/labs.md: every lab and every study, each an existing command with a folder of its own.

A run works in NAME.unfinished, which becomes NAME when it is over, so that what is called NAME is complete: a finished
run is never repeated, an unfinished one starts again, and an unfinished study goes on where it was. Beside what the
command writes there, run.json holds the command, its exit code and its seconds, and output.txt what it said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).resolve().parents[2]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class LabRun:
    """python scripts/SCRIPT.py ARGUMENTS --out FOLDER/NAME; code: the exit code that belongs to it.

    spreads: whether the command itself shares its work among the cores. keeps: what its --out names inside the folder,
    None for a command that has no --out.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    code: int = 0
    spreads: bool = False
    option: str = "--out"
    keeps: str = ""

    def command(self, folder: str, *, resume: bool = False) -> list[str]:
        """The words after `python`, with the results in `folder`."""
        out = f"{folder}/{self.keeps}" if self.keeps else folder
        return [f"scripts/{self.script}.py", *self.arguments, "--resume" if resume else self.option, out]

    def __str__(self) -> str:
        return " ".join(["python", *self.command(f"runs/labs/{self.name}")])


def training(name: str, *arguments: str, check: bool = True) -> LabRun:
    return LabRun(name, "train", (*arguments, "--backend", "both", "--check" if check else "--no-check"))


def study(name: str, *arguments: str, spreads: bool = False) -> LabRun:
    return LabRun(name, "sweep", arguments, spreads=spreads)


def in_float64(name: str, *arguments: str) -> LabRun:
    """The same training in float64, where rounding is too small to hide a difference; it was checked in float32."""
    return training(f"{name}_float64", *arguments, "--dtype", "float64", check=False)


def step_by_step(name: str, *arguments: str) -> LabRun:
    """Both backends compared after every update; exit code 1 if they part by more than rounding can explain."""
    return LabRun(name, "train", (*arguments, "--backend", "both", "--lockstep"))


def finding(name: str, *arguments: str) -> LabRun:
    """The check of a published mistake: exit code 1, and a report."""
    return LabRun(name, "check_parity", arguments, code=1, option="--json", keeps="report.json")


FIVE_EPOCHS = ("--steps", "320", "--every", "8")  # of `sequence`

# In this order: what is short first. `spreads` runs have the cores to themselves, after the others.
RUNS: tuple[LabRun, ...] = (
    LabRun("trace_published", "trace_autodiff", ("--published",)),
    LabRun("trace", "trace_autodiff", ()),
    training("xor", "xor"),
    training("digits", "digits"),
    in_float64("digits", "digits"),
    training("iris", "iris"),
    study("iris_published", "iris", "--published"),
    study("iris_seeds", "iris", "--seeds", "30"),
    training("spiral_0.2", "spiral", "--lr", "0.2"),
    training("spiral", "spiral"),
    training("spiral_5", "spiral", "--lr", "5", check=False),
    LabRun("spiral_5_check", "train", ("spiral", "--lr", "5", "--backend", "both", "--check"), code=1),  # incomplete
    study("spiral_seeds", "spiral", "--seeds", "5"),
    finding("clip_found", "linear", "--variant", "published"),
    finding("bug_found", "digit_pair", "--variant", "published_bug"),
    training("one_vs_rest_published", "one_vs_rest", "--variant", "published"),
    training("xor_line", "xor_line"),
    training("xor_line_0.1", "xor_line", "--lr", "0.1", check=False),
    step_by_step("xor_line_0.1_steps", "xor_line", "--lr", "0.1", "--steps", "42"),
    LabRun("xor_line_overflow", "train", ("xor_line", "--backend", "scratch", "--lr", "1"), code=2),
    study("mnist_stability", "mnist", "--seeds", "1"),
    training("linear", "linear"),
    training("one_vs_rest", "one_vs_rest"),
    training("digit_pair_1_5", "digit_pair", "--digits", "1,5"),
    training("digit_pair_7_9", "digit_pair", "--digits", "7,9"),
    training("fashion_mnist", "fashion_mnist"),
    in_float64("one_vs_rest", "one_vs_rest"),
    in_float64("digit_pair_1_5", "digit_pair", "--digits", "1,5"),
    in_float64("digit_pair_7_9", "digit_pair", "--digits", "7,9"),
    in_float64("fashion_mnist", "fashion_mnist"),
    training("fashion_mnist_cnn", "fashion_mnist_cnn", "--epochs", "3"),
    in_float64("fashion_mnist_cnn", "fashion_mnist_cnn", "--epochs", "3"),
    step_by_step("fashion_mnist_cnn_steps", "fashion_mnist_cnn", "--steps", "40"),
    step_by_step("fashion_mnist_cnn_float64_steps", "fashion_mnist_cnn", "--dtype", "float64", "--steps", "40"),
    *(
        run(f"sequence_{variant}", "sequence", "--variant", variant)
        for variant in ("rnn", "lstm", "gru", "transformer")
        for run in (training, in_float64)
    ),
    step_by_step("sequence_transformer_steps", "sequence", "--variant", "transformer", "--steps", "40"),
    *(
        step_by_step(f"sequence_{v}_float64_steps", "sequence", "--variant", v, "--dtype", "float64", *FIVE_EPOCHS)
        for v in ("rnn", "transformer")
    ),
    training("mnist", "mnist"),
    training("one_vs_rest_algorithm_7_1", "one_vs_rest", "--variant", "algorithm_7_1"),
    study("xor_line_published", "xor_line", "--published", "--seeds", "5", spreads=True),
    study("xor_line_study", "xor_line", "--seeds", "5", spreads=True),
    study("linear_published", "linear", "--published", "--seeds", "5", spreads=True),
    study("linear_study", "linear", "--seeds", "5", spreads=True),
    study("digit_pair_published_1_5", "digit_pair", "--published", "--digits", "1,5", "--seeds", "5", spreads=True),
    study("digit_pair_published_7_9", "digit_pair", "--published", "--digits", "7,9", "--seeds", "5", spreads=True),
    study("digit_pair_search", "digit_pair", "--digits", "7,9", "--seeds", "5", spreads=True),
)
QUICK: tuple[LabRun, ...] = (
    LabRun("trace_published", "trace_autodiff", ("--published",)),
    training("xor", "xor", "--epochs", "5"),
    training("digits", "digits", "--epochs", "2"),
)


@dataclass(frozen=True)
class Ended:
    """How a run went; error: its last line, where its exit code is not the one that belongs to it."""

    run: LabRun
    seconds: float
    error: str = ""


def is_done(run: LabRun, folder: Path) -> bool:
    """Whether it is there, made by this very command."""
    try:
        found = json.loads((folder / run.name / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("command") == str(run)


def _said(note: Path) -> str:
    """The command that began in this folder; empty where that is not known."""
    try:
        return note.read_text(encoding="utf-8")
    except OSError:
        return ""


class Runner:
    """Runs commands in processes of their own, `workers` at a time; `close` ends those that are under way."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.lock, self.closed = threading.Lock(), False

    def all(self, runs: Sequence[LabRun], begins: Callable[[LabRun], object] = lambda run: None) -> Iterator[Ended]:
        """Every run that is not done yet; those that spread last, one by one."""
        waiting = [run for run in runs if not is_done(run, self.folder)]
        for some, workers in (
            ([run for run in waiting if not run.spreads], self.workers),
            ([run for run in waiting if run.spreads], 1),
        ):
            with ThreadPoolExecutor(workers) as pool:
                pending = {pool.submit(self.one, run, begins) for run in some}
                try:
                    while pending:
                        done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                        yield from (each.result() for each in done)
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
                    if pending:
                        self.close()

    def one(self, run: LabRun, begins: Callable[[LabRun], object] = lambda run: None) -> Ended:
        if is_done(run, self.folder):  # by another process in the meantime
            return Ended(run, 0.0)
        begins(run)
        part, began = self.folder / f"{run.name}.unfinished", time.monotonic()
        output, note = (self.folder / f"{run.name}.{word}" for word in ("output", "begun"))
        resume = run.script == "sweep" and (part / "config.json").exists() and _said(note) == str(run)
        if not resume:
            shutil.rmtree(part, ignore_errors=True)
        if run.keeps:
            part.mkdir(parents=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(str(run), encoding="utf-8")
        with output.open("wb") as said:
            code = self._call([sys.executable, *run.command(str(part.resolve()), resume=resume)], said)
        seconds = time.monotonic() - began
        if code != run.code:
            lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return Ended(run, seconds, f"exit code {code}: {lines[-1] if lines else 'it said nothing'}")
        part.mkdir(exist_ok=True)
        text = json.dumps({"command": str(run), "exit_code": code, "seconds": round(seconds, 1)}, indent=2)
        (part / "run.json").write_text(text + "\n", encoding="utf-8")
        output.replace(part / "output.txt")
        done = self.folder / run.name
        shutil.rmtree(done, ignore_errors=True)
        part.rename(done)
        note.unlink()
        return Ended(run, seconds)

    def _call(self, command: list[str], said: IO[bytes]) -> int:
        environment = os.environ | dict.fromkeys(THREADS, "1") | {"MPLBACKEND": "Agg"}
        with self.lock:
            if self.closed:
                return -1
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
            self.processes.add(process)
        try:
            return int(process.wait())
        finally:
            with self.lock:
                self.processes.discard(process)

    def close(self) -> None:
        """End what is under way."""
        with self.lock:
            self.closed = True
            for process in self.processes:
                process.terminate()
