"""torture.py: that it finds nothing lost where nothing is, and finds it where something is."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Script = Callable[..., Any]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kills_lose_nothing_and_are_counted(script: Script) -> None:
    done = script("torture", "--only", "kill", "--backend", "scratch", "--kills", 2)
    assert done.code == 0, done.out
    assert "killed, scratch: 2 tried, 0 lost" in done.out


@pytest.mark.slow
def test_another_bit_a_missing_file_and_a_traceback_are_losses(tmp_path: Path) -> None:
    from _torture_run import Ended, Rehearsal

    rehearsal = Rehearsal(tmp_path, "digits", "scratch")
    assert rehearsal.mended(tmp_path / "run") is None
    path = tmp_path / "run" / "fingerprints.csv"
    path.write_bytes(path.read_bytes()[:-2] + b"x\n")
    assert "fingerprints.csv differs" in str(rehearsal.difference(tmp_path / "run"))
    path.unlink()
    assert "fingerprints.csv is missing" in str(rehearsal.difference(tmp_path / "run"))
    assert "a traceback: KeyError" in str(Ended(1, "", "Traceback (most recent call last)\nKeyError: 1", 0.0).complaint)
    assert "resuming" in str(rehearsal.mended(tmp_path / "run", "--epochs", "1"))


def test_mutations_are_repeatable_and_bounded() -> None:
    import fuzz

    seeds = (b"abc" * 100, b"{}")
    again = [[fuzz.mutated(seeds[0], rng, seeds) for _ in range(50)] for rng in (random.Random(1), random.Random(1))]
    assert again[0] == again[1]
    assert len(set(again[0])) > 25
    assert all(len(each) <= fuzz.LARGEST for each in again[0])


def test_bad_usage_is_one_line(script: Script) -> None:
    for name, option in (("torture", "--kills"), ("fuzz", "--runs")):
        done = script(name, option, 0)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"{option}: got '0', expected a whole number of at least 1" in done.err
