"""plot_runs.py: several runs in one figure, and every folder that holds none refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratch.history import History, Row, write_histories

Script = Callable[..., Any]


def run_folder(folder: Path, name: str = "digits", epochs: int = 3) -> Path:
    folder.mkdir()
    rows = (Row(e, 1 / e, 0.5, 1 / e, 0.5, 1.0) for e in range(1, epochs + 1))
    write_histories(folder / "history.csv", {"scratch": History(rows)})
    (folder / "config.json").write_text(json.dumps({"data": {"name": name, "source": f"{name}, a few images"}}))
    return folder


def test_runs_of_one_or_of_several_data_sets_are_drawn(script: Script, tmp_path: Path) -> None:
    import plot_runs

    runs = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b"), run_folder(tmp_path / "c", "MNIST")]
    done = script("plot_runs", *runs, "--out", tmp_path / "f.png")
    assert (done.code, done.out) == (0, f"3 curves are in {tmp_path / 'f.png'}\n")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert plot_runs.read(runs[:2])[1] == "digits, a few images"
    histories, title = plot_runs.read(runs)
    assert list(histories) == ["a scratch (digits)", "b scratch (digits)", "c scratch (MNIST)"]
    assert title == "digits, a few images\nMNIST, a few images"


def no_config(run: Path) -> None:
    (run / "config.json").unlink()


def no_history(run: Path) -> None:
    (run / "history.csv").unlink()


def broken_config(run: Path) -> None:
    (run / "config.json").write_text("{")


def foreign_config(run: Path) -> None:
    (run / "config.json").write_text("{}")


def listed_config(run: Path) -> None:
    (run / "config.json").write_text("[]")


def broken_history(run: Path) -> None:
    (run / "history.csv").write_text("epoch\n1\n")


def no_epoch(run: Path) -> None:
    write_histories(run / "history.csv", {})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_config, "config.json: cannot be read (No such file or directory), expected the folder of a run"),
        (no_history, "history.csv: cannot be read"),
        (broken_config, "config.json: damaged"),
        (foreign_config, "config.json: no 'data' in it"),
        (listed_config, "config.json: found list, expected an object"),
        (broken_history, "history.csv: found 'epoch' in line 1"),
        (no_epoch, "history.csv: found no epoch, expected at least one"),
    ],
)
def test_a_folder_that_holds_no_run_is_named(
    script: Script, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(run_folder(tmp_path / "run"))
    done = script("plot_runs", tmp_path / "run", "--out", tmp_path / "f.png")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("f.doc", "expected a name that ends in .png, .pdf or .svg"),
        ("none/f.png", "No such file or directory"),
    ],
)
def test_a_figure_that_cannot_be_written_is_refused(script: Script, tmp_path: Path, out: str, message: str) -> None:
    done = script("plot_runs", run_folder(tmp_path / "run"), "--out", tmp_path / out)
    assert done.code == 2
    assert message in done.err
