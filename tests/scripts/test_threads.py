"""--threads: read before NumPy is loaded, one unless it is asked for, and only where one backend trains alone."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def threads() -> Any:
    return importlib.import_module("_threads")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["digits", "--threads", "2"], "2"),
        (["--threads=3", "digits"], "3"),
        (["--thread", "2"], None),
        (["--threads", "2", "--threads=4"], "4"),
        (["--threads"], None),
        (["--threads", "0"], None),
        (["--threads", "-1"], None),
        (["--threads", "two"], None),
        (["--threshold", "2"], None),
        (["--", "--threads", "2"], None),
        ([], None),
    ],
)
def test_the_option_is_seen_before_arguments_are_parsed(
    threads: Any, arguments: list[str], expected: str | None
) -> None:
    assert threads.asked_for(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "before", "expected"),
    [([], None, "1"), ([], "3", "3"), (["--threads", "2"], None, "2"), (["--threads", "2"], "3", "2")],
)
def test_the_option_outweighs_the_environment_which_outweighs_one(
    threads: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], before: str | None, expected: str
) -> None:
    for name in threads.VARIABLES:
        monkeypatch.setenv(name, before or "")  # so that it is undone
        if before is None:
            monkeypatch.delenv(name)
    threads.choose(arguments)
    assert [os.environ[name] for name in threads.VARIABLES] == [expected] * 3


@pytest.mark.parametrize("backend", ["scratch", "torch"])
def test_a_run_has_as_many_as_it_was_asked_for_and_says_so_in_its_folder(
    tmp_path: Path, threads: Any, backend: str
) -> None:
    n = min(2, threads.cores())
    environment = {k: v for k, v in os.environ.items() if k not in threads.VARIABLES}
    command = [sys.executable, str(SCRIPTS / "train.py"), "digits", "--backend", backend, "--epochs", "1"]
    command += ["--threads", str(n), "--out", str(tmp_path / "run")]
    subprocess.run(command, capture_output=True, env=environment, check=True)
    found = json.loads((tmp_path / "run" / "config.json").read_text())
    assert found["threads"]["OMP_NUM_THREADS"] == str(n)
    if backend == "torch":
        assert found["threads"]["torch"] == n


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "1"], "--threads: NumPy and PyTorch in turns have one each, expected --backend"),
        (["--backend", "scratch", "--threads", "9999"], "--threads 9999: expected at most "),
        (["--backend", "scratch", "--threads", "0"], "got '0', expected a whole number of at least 1"),
        (["--backend", "scratch", "--threads", "two"], "got 'two', expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_told(
    script: Callable[..., Any],
    tmp_path: Path,
    threads: Any,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    for name in threads.VARIABLES:
        monkeypatch.setenv(name, "1")  # so that it is undone
    done = script("train", "digits", "--out", str(tmp_path / "run"), *options)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "run").exists()
