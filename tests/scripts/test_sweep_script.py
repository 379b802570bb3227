"""sweep.py as it is typed: a table, a CSV file and a figure; failures in one line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratch.labs import point_by_point

Script = Callable[..., Any]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    studies = {"rate": {"1": (None, (8,), 1e9), "0.1": (None, (8,), 0.1)}, "split": {"80/20": ("split", (8,), 0.1)}}
    monkeypatch.setattr(point_by_point, "studies", lambda published: studies)


@pytest.mark.usefixtures("few")
def test_a_sweep_writes_table_file_and_figure(script: Script, tmp_path: Path) -> None:
    done = script("sweep", "xor_line", "--seeds", 2, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    rows = list(csv.DictReader((tmp_path / "out" / "study.csv").read_text().splitlines()))
    assert [row["settings"] for row in rows] == ["1", "0.1", "80/20"]
    assert [row["non-finite"] for row in rows] == ["2", "0", "0"]
    assert "epoch 1, sample" in rows[0]["note"]
    assert float(rows[1]["loss min"]) <= float(rows[1]["loss"]) <= float(rows[1]["loss max"])
    assert (tmp_path / "out" / "study.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["options"]["seeds"] == 2
    assert "6 of 6 runs" in done.out


@pytest.mark.usefixtures("few")
def test_an_interrupted_sweep_goes_on_where_it_was(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs that were done are kept, the rows too, and the end is as if nothing had happened."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert script("sweep", "xor_line", "--seeds", 2, "--out", whole).code == 0
    monkeypatch.setattr("scratch.processes.cores", lambda: 1)  # in this process, where it can be interrupted
    real, done = point_by_point.run_one, []

    def interrupted(task: Any) -> Any:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(task)
        return real(task)

    monkeypatch.setattr(point_by_point, "run_one", interrupted)
    stopped = script("sweep", "xor_line", "--seeds", 2, "--out", broken)
    assert stopped.code == 130
    assert "--resume" in stopped.out
    assert len((broken / "runs.jsonl").read_text().splitlines()) == 3
    assert len((broken / "study.csv").read_text().splitlines()) == 1 + 1  # of two seeds each: one setting is whole
    again: list[Any] = []
    monkeypatch.setattr(point_by_point, "run_one", lambda task: (again.append(task), real(task))[1])
    resumed = script("sweep", "xor_line", "--resume", broken)
    assert resumed.code == 0, resumed.err
    assert "3 runs are done already" in resumed.out
    assert len(again) == 3
    for name in ("study.csv", "study.png"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.usefixtures("few")
def test_what_cannot_be_resumed_is_one_line(script: Script, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    assert script("sweep", "xor_line", "--seeds", 2, "--out", old).code == 0
    for message, arguments in {
        "a study with --seeds 2, expected 3": ("xor_line", "--resume", old, "--seeds", 3),
        "a study with LAB xor_line, expected linear": ("linear", "--resume", old),
        "a study with --published False, expected True": ("xor_line", "--resume", old, "--published"),
        "expected one of them": ("xor_line", "--resume", old, "--out", new),
        "cannot be read": ("xor_line", "--resume", new),
    }.items():
        done = script("sweep", *arguments)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert message in done.err
    (old / "runs.jsonl").write_text("damaged\n")
    done = script("sweep", "xor_line", "--resume", old)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "runs.jsonl, line 1" in done.err


def test_what_cannot_be_swept_is_one_line(script: Script, tmp_path: Path) -> None:
    done = script("sweep", "nothing")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    (tmp_path / "file").touch()
    assert script("sweep", "xor_line", "--out", tmp_path).code == 2
    done = script("sweep", "xor_line", "--digits", "1,5", "--out", tmp_path / "new")
    assert done.code == 2
    assert "no such option" in done.err


def test_variants_and_options_of_a_lab_that_it_does_not_have_are_refused(script: Script, tmp_path: Path) -> None:
    done = script("train", "xor_line", "--variant", "other", "--out", tmp_path / "out")
    assert done.code == 2
    assert "published, no_activation, split" in done.err
    done = script("train", "digit_pair", "--digits", "3,3", "--out", tmp_path / "out")
    assert done.code == 2
    assert "two different ones" in done.err


def test_a_run_of_a_variant_stops_early_and_tells_every_point(script: Script, tmp_path: Path) -> None:
    arguments = ("xor_line", "--backend", "scratch", "--hidden", "8", "--lr", "0.1", "--variant", "split")
    done = script("train", *arguments, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "point      x1      x2  truth" in done.out
    epochs = json.loads((tmp_path / "out" / "results.json").read_text())["backends"]["scratch"]["epochs"]
    assert 1 < epochs < 1000


def test_training_that_is_not_finite_is_one_line_with_layer_epoch_and_sample(script: Script, tmp_path: Path) -> None:
    arguments = ("xor_line", "--backend", "scratch", "--variant", "no_activation", "--lr", "0.01")
    done = script("train", *arguments, "--out", tmp_path / "out")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "epoch 1, sample" in done.err
    assert "layer" in done.err


def test_the_check_of_the_published_variant_finds_the_clip(script: Script) -> None:
    done = script("check_parity", "xor_line", "--variant", "published", "--dtype", "float64")
    assert done.code == 1
    assert "clipped to [-10, 10]" in done.out
