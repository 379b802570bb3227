"""train.py --lockstep as it is typed: its files, its words and its exit code."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compare.measuring.faults import find

Script = Callable[..., Any]
FILES = {"config.json", "metrics.json", "lockstep.csv", "lockstep.png", "weights.safetensors", "weights.pth"}


def test_a_run_in_lockstep_writes_its_files_and_says_that_it_stayed_inside(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--dtype", "float64", "--hidden", "8", "--steps", "15", "--every", "4")
    done = script("train", "digits", "--backend", "both", "--lockstep", *options, "--out", out)
    assert done.code == 0, done.err
    assert {path.name for path in out.iterdir()} == {*FILES, "history.csv"}
    assert "INSIDE the envelope of rounding at every step" in done.out
    assert "ReLU masks: none differs" in done.out
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["steps"], metrics["every"], metrics["inside"], metrics["first_outside"]) == (15, 4, True, None)
    with (out / "lockstep.csv").open(encoding="utf-8") as file:
        assert {int(row["step"]) for row in csv.DictReader(file)} == {0, 4, 8, 12, 15}


def test_a_fault_ends_with_exit_code_1_and_names_step_and_parameter(script: Script, tmp_path: Path) -> None:
    with find("bias-gradient-zero").planted():
        done = script("train", "xor", "--lockstep", "--steps", "4", "--out", tmp_path / "run")
    assert done.code == 1
    assert done.err.startswith("train: NumPy and PyTorch part by more than rounding at step 1, ")
    assert done.err.strip().endswith(".bias")
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["first_outside"]["step"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--every", "3"), "--every: expected --lockstep with it"),
        (("--steps", "3"), "--steps: expected --lockstep with it"),
        (("--lockstep", "--every", "0"), "argument --every: got '0', expected a whole number of at least 1"),
        (("--lockstep", "--backend", "torch"), "--lockstep and --backend torch: expected --backend both"),
        (("--lockstep", "--resume", "runs/xor-0"), "--lockstep and --resume: expected one of them"),
        (("--lockstep", "--steps", "2", "--epochs", "1"), "--steps and --epochs: expected one of them"),
    ],
)
def test_bad_usage_is_one_line(script: Script, arguments: tuple[str, ...], message: str) -> None:
    done = script("train", "xor", *arguments)
    assert done.code == 2
    assert done.err.startswith(f"train: {message}")
    assert done.err.count("\n") == 1
