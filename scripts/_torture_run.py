"""A training run that is tortured: started as a user starts it, disturbed, resumed, and held against one left alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _command import CHECKOUT

OPTIONS = ("--hidden", "16", "--batch-size", "8", "--epochs", "5", "--no-check", "--fingerprint-steps", "1")
SAVED_EVERY = ("--checkpoint-steps", "25")
SAME = ("history.csv", "fingerprints.csv", "weights.safetensors", "weights.pth", "differences.csv")
PATIENCE = 300.0  # seconds; a run that takes longer hangs
TRAIN = (sys.executable, str(CHECKOUT / "scripts" / "train.py"))


@dataclass
class Tally:
    """One row of the table: a fault, how often it was tried, and what was lost, in words."""

    fault: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    notes: str = ""

    def count(self, lost: str | None) -> None:
        self.tried += 1
        if lost:
            self.lost.append(lost)


@dataclass
class Ended:
    """How a run ended: its exit code (negative: the signal that killed it), what it said, and for how long it ran."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def complaint(self) -> str | None:
        """What no run may do, however it is disturbed: a traceback, or more than a few lines of complaint."""
        if "Traceback" in self.err and not self.is_before_the_script:
            return f"a traceback: {self.err.strip().splitlines()[-1][:200]}"
        if self.code == 2 and len(self.err.strip().splitlines()) > 3:
            return f"{len(self.err.splitlines())} lines on stderr"
        return None

    @property
    def is_before_the_script(self) -> bool:
        """Whether Ctrl-C met Python itself, or a script before it could answer: in the first hundredths of a second."""
        return "KeyboardInterrupt" in self.err and ", in exit_code" not in self.err


class Rehearsal:
    """One run left alone, and any number of others that must end as it did."""

    def __init__(self, place: Path, lab: str, backend: str, options: Sequence[str] = (), env: Any = None) -> None:
        self.place, self.backend, self.env = place, backend, {**os.environ, **(env or {})}
        self.command = (*TRAIN, lab, "--backend", backend, *OPTIONS, *options)
        self.whole = place / f"whole-{lab}-{backend}"
        ended = self.run("--out", str(self.whole))
        if ended.code != 0:
            raise RuntimeError(f"the run left alone ended with {ended.code}: {ended.err}")
        self.seconds = ended.seconds

    def start(self, *options: str, command: Sequence[str] | None = None, **more: Any) -> subprocess.Popen[str]:
        words = [*(command or self.command), *SAVED_EVERY, *options]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=self.env, stdout=pipe, stderr=pipe, text=True, **more)

    def run(self, *options: str, **more: Any) -> Ended:
        begun = time.monotonic()
        return finished(self.start(*options, **more), begun)

    def difference(self, folder: Path) -> str | None:
        """The first file that is not as the undisturbed run has it, seconds aside; None if there is none."""
        for name in SAME:
            ours, theirs = self.whole / name, folder / name
            if ours.exists() != theirs.exists():
                return f"{name} is {'missing' if ours.exists() else 'there'} in {folder}"
            if ours.exists() and _without_seconds(ours) != _without_seconds(theirs):
                return f"{name} differs in {folder}"
        return None

    def mended(self, folder: Path, *options: str) -> str | None:
        """Resume to the end: None if it ends in the same bits, else what is wrong."""
        ended = self.run("--resume", str(folder), *options)
        if ended.complaint or ended.code != 0:
            return ended.complaint or f"resuming {folder} ended with {ended.code}: {ended.err.strip()[:300]}"
        return self.difference(folder)


def finished(process: subprocess.Popen[str], begun: float) -> Ended:
    """Wait for it; one that hangs is killed, and its exit code shows it."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nTraceback: still at work after {PATIENCE:.0f} s"
    return Ended(process.returncode, out, err, time.monotonic() - begun)


def wait_for(found: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60.0) -> bool:
    """Until it is there, or the process has ended."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if found():
            return True
        time.sleep(0.005)
    return found()


def is_training(folder: Path) -> Callable[[], bool]:
    """Whether its first checkpoint is there."""
    return lambda: any((folder / "checkpoints").glob("*/checkpoint.safetensors"))


def pause(rng: random.Random, seconds: float) -> None:
    time.sleep(rng.uniform(0, seconds))


def _without_seconds(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name != "history.csv":
        return content
    return b"\n".join(line.rpartition(b",")[0] for line in content.splitlines())
