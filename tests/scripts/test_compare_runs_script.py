"""compare_runs.py: what differs between two runs, and the step at which they parted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Script = Callable[..., Any]
Trained = Callable[..., None]
RUN = ("digits", "--backend", "scratch", "--hidden", "8", "--epochs", "2", "--fingerprint-steps", "1")


def parted_at(folder: Path, step: int) -> None:
    """As if another bit had come out of that update, and of all after it."""
    path = folder / "fingerprints.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: step + 1], *(line[:-1] + "x" for line in lines[step + 1 :])]) + "\n")


def test_two_trainings_of_one_run_have_the_same_bits(script: Script, tmp_path: Path) -> None:
    for name in "ab":
        assert script("train", *RUN, "--out", tmp_path / name).code == 0
    assert script("compare_runs", tmp_path / "a", tmp_path / "b").code == 0


@pytest.mark.parametrize("step", [1, 5, 12, 13, 24])
def test_the_step_at_which_two_runs_part_is_named(script: Script, trained: Trained, tmp_path: Path, step: int) -> None:
    for name in "ab":
        trained(tmp_path / name, *RUN)
    assert script("compare_runs", tmp_path / "a", tmp_path / "b").code == 0
    parted_at(tmp_path / "b", step)
    done = script("compare_runs", tmp_path / "a", tmp_path / "b")
    assert done.code == 1
    assert f"scratch: the weights part at step {step}, in epoch {1 if step <= 12 else 2}" in done.out


def test_what_was_asked_for_and_what_it_ran_on_are_told_apart(script: Script, trained: Trained, tmp_path: Path) -> None:
    trained(tmp_path / "a", *RUN)
    trained(tmp_path / "b", *RUN, "--seed", 1, "--epochs", 3)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["versions"]["numpy"], config["threads"]["OMP_NUM_THREADS"] = "1.0", "7"
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    done = script("compare_runs", tmp_path / "a", tmp_path / "b")
    assert done.code == 1
    options, environment, scratch, weights = done.out.splitlines()
    assert options == "options: options.epochs 2 and 3; options.seed 0 and 1"
    assert environment.startswith("environment: threads.OMP_NUM_THREADS 1 and 7; versions.numpy ")
    assert scratch.startswith("scratch: the weights differ from the start; the history differs from epoch 1 on")
    assert weights == "weights.safetensors: they differ"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"a\x1b[2J": "b\x1b[2J"}, r"options.a\x1b[2J None and b\x1b[2J"),
        ({"a": "x" * 9999}, f"options.a None and {'x' * 197}..."),
        ({"k" * 999: 1}, f"options.{'k' * 69}... None and 1"),
        ({f"a{k:03}": k for k in range(999)}, "options.a019 None and 19; 979 more"),
    ],
    ids=["an escape", "a long value", "a long name", "many"],
)
def test_what_a_file_says_is_shown_printable_and_cut(
    script: Script, trained: Trained, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    for name in "ab":
        trained(tmp_path / name, *RUN)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["options"] |= options
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    done = script("compare_runs", tmp_path / "a", tmp_path / "b")
    assert done.out.splitlines()[0].endswith(said)
    assert "".join(done.out.splitlines()).isprintable()


def test_a_config_nested_without_end_is_one_line(script: Script, trained: Trained, tmp_path: Path) -> None:
    trained(tmp_path / "a", *RUN)
    (tmp_path / "a" / "config.json").write_text('{"a":' * 400 + "1" + "}" * 400)
    done = script("compare_runs", tmp_path / "a", tmp_path / "a")
    assert done.code == 2
    assert done.err.endswith("config.json: damaged (nested more than 50 deep)\n")


def test_without_hashes_of_every_step_the_range_is_named(script: Script, trained: Trained, tmp_path: Path) -> None:
    trained(tmp_path / "a", *RUN[:-2])
    trained(tmp_path / "b", *RUN[:-2], "--lr", 0.1)
    done = script("compare_runs", tmp_path / "a", tmp_path / "b")
    assert "the weights part between steps 1 and 12, in epoch 1 (--fingerprint-steps 1 in both" in done.out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "config.json").write_text("["), "config.json: damaged"),
        (lambda run: (run / "history.csv").unlink(), "history.csv: cannot be read"),
        (lambda run: (run / "fingerprints.csv").write_text("a,b\n"), "fingerprints.csv: found 'a,b' in line 1"),
        (
            lambda run: (run / "fingerprints.csv").write_text("backend,step,epoch,fingerprint\nscratch,x,1,abc\n"),
            "fingerprints.csv: line 2: found 4 cells",
        ),
        (lambda run: (run / "fingerprints.csv").write_bytes(b"\xff\xfe"), "fingerprints.csv: "),
    ],
)
def test_a_folder_that_is_no_run_is_one_line(
    script: Script, trained: Trained, tmp_path: Path, damage: Any, message: str
) -> None:
    for name in "ab":
        trained(tmp_path / name, *RUN)
    damage(tmp_path / "b")
    done = script("compare_runs", tmp_path / "a", tmp_path / "b")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
