"""Lab 2 and iris through the scripts: what a run prints and leaves behind, and the parity of all four."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OWN = {"xor": {"regions.png", "amplitudes.png"}, "spiral": {"regions.png", "amplitudes.png"}, "iris": set()}


@pytest.mark.parametrize("name", ["xor", "spiral", "iris"])
def test_both_backends_are_in_parity(name: str, script: Callable[..., Any]) -> None:
    code, out, _ = script("check_parity", name)
    assert code == 0
    assert out.count("PARITY in float64") == out.count("PARITY in float32") == 1


@pytest.mark.slow
def test_both_backends_are_in_parity_on_mnist(data_dir: Path, script: Callable[..., Any]) -> None:
    code, out, _ = script("check_parity", "mnist", "--batch-size", 128, "--data-dir", data_dir)
    assert code == 0
    assert out.count("PARITY in float64") == out.count("PARITY in float32") == 1
    assert "246 of 246 tensors compared" in out


@pytest.mark.parametrize("backend", ["scratch", "torch", "both"])
@pytest.mark.parametrize("name", OWN)
def test_a_run_leaves_the_labs_own_figures(
    name: str, backend: str, tmp_path: Path, script: Callable[..., Any]
) -> None:
    code, out, err = script("train", name, "--backend", backend, "--epochs", 2, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= OWN[name] | {"config.json", "history.csv", "metrics.json", "loss.png", "accuracy.png"}
    assert {"xor": "(1, 1): ", "spiral": "dead hidden units: 0 of 10", "iris": "over all 30 test flowers"}[name] in out


def test_a_resumed_run_has_the_amplitudes_from_its_start(
    tmp_path: Path, script: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("scratch.plots.relative_amplitudes", lambda curves, *rest: seen.append(curves) or _nothing())
    assert script("train", "xor", "--epochs", 5, "--out", tmp_path / "whole")[0] == 0
    assert script("train", "xor", "--epochs", 2, "--out", tmp_path / "run")[0] == 0
    assert script("train", "xor", "--epochs", 5, "--resume", tmp_path / "run")[0] == 0
    whole, part, resumed = seen
    assert list(whole) == ["layer 0: Linear 2 -> 4", "layer 2: Linear 4 -> 2"]
    assert [len(curve) for curve in part.values()] == [3, 3]
    assert resumed == whole


def _nothing() -> Any:
    from matplotlib.figure import Figure

    return Figure()


def test_the_published_table_of_iris_in_a_file(tmp_path: Path, script: Callable[..., Any]) -> None:
    code, out, err = script("sweep", "iris", "--published", "--out", tmp_path / "study")
    assert (code, err) == (0, "")
    with (tmp_path / "study" / "study.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = [(row["settings"], row["test loss"], row["note"]) for row in rows if row["study"] == "published"]
    assert cells == [
        ("rate 0.01, h = 5", "1.1096", "all agree"),
        ("rate 0.01, h = 10", "0.4447 ≠", "≠: the figures of rate 0.1, h = 10"),
        ("rate 0.03, h = 10", "0.0535", "all agree"),
        ("rate 0.01, h = 100", "0.1831", "all agree"),
    ]
    assert "0.4447 ≠" in out
    assert (tmp_path / "study" / "study.png").exists()


@pytest.mark.parametrize("name", ["iris", "spiral"])
def test_the_studies_over_seeds_draw_a_figure(name: str, tmp_path: Path, script: Callable[..., Any]) -> None:
    code, _, err = script("sweep", name, "--seeds", 1, "--out", tmp_path / "study")
    assert (code, err) == (0, "")
    assert (tmp_path / "study" / "study.png").stat().st_size > 10_000


@pytest.mark.parametrize("variant", ["unshifted", "shifted"])
def test_the_float32_failure_is_one_line_with_epoch_and_batch(
    variant: str, data_dir: Path, tmp_path: Path, script: Callable[..., Any]
) -> None:
    options = ("--variant", variant, "--dtype", "float32", "--backend", "scratch", "--data-dir", data_dir)
    code, _, err = script("train", "mnist", *options, "--out", tmp_path / "run")
    assert code == 2
    assert err.startswith("train: epoch 1, batch 2: the loss (ProbabilityCrossEntropyLoss) is inf")
    assert err.count("\n") == 1
