"""`fashion_mnist_cnn` through the scripts, on made-up images in files: what a run says, leaves, resumes and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from scratch.history import read_histories
from tests.made_up_images import fake_fashion

ROOT = Path(__file__).resolve().parents[2]
LAB = "fashion_mnist_cnn"
SMALL = ("--hidden", "3,4,12", "--batch-size", "64", "--no-check")
Script = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fake_fashion(tmp_path / "data")
    return tmp_path / "data"


def figures(run: Path) -> Any:
    return {name: history.figures for name, history in read_histories(run / "history.csv").items()}


def test_both_backends_are_in_parity(script: Script, folder: Path) -> None:
    code, out, _ = script("check_parity", LAB, "--batch-size", 16, "--data-dir", folder)
    assert code == 0
    assert out.count("PARITY in float64") == out.count("PARITY in float32") == 1


@pytest.mark.slow
def test_both_backends_are_in_parity_on_the_real_images(script: Script, data_dir: Path) -> None:
    code, out, _ = script("check_parity", LAB, "--data-dir", data_dir)
    assert code == 0
    assert out.count("PARITY in float64") == out.count("PARITY in float32") == 1


def test_weights_hold_the_running_statistics_and_every_backend_draws_the_same_masks(
    script: Script, folder: Path, tmp_path: Path
) -> None:
    found = {}
    for backend in ("both", "scratch", "torch"):
        options = ("--backend", backend, *SMALL, "--epochs", 2, "--dtype", "float64", "--data-dir", folder)
        done = script("train", LAB, *options, "--out", tmp_path / backend)
        assert done.code == 0
        assert "Fashion-MNIST, 300 + 60 images; 28x28-3-4-12-10, float64, seed 0" in done.out
        found[backend] = figures(tmp_path / backend)
    assert found["both"]["scratch"] == found["scratch"]["scratch"]
    for alone, together in zip(found["torch"]["torch"], found["both"]["torch"], strict=True):
        assert alone == pytest.approx(together, rel=1e-9)
    ours, theirs = load_file(tmp_path / "scratch" / "weights.safetensors"), torch.load(tmp_path / "torch/weights.pth")
    assert {"1.running_mean", "1.running_var", "5.running_mean", "5.running_var"} < ours.keys() < theirs.keys()
    assert all(np.abs(a - theirs[name].numpy()).max() < 1e-9 for name, a in ours.items())


@pytest.mark.parametrize("backend", ["both", "scratch", "torch"])
def test_a_resumed_run_goes_on_with_the_masks_that_come_next(
    script: Script, folder: Path, tmp_path: Path, backend: str
) -> None:
    options = (LAB, "--backend", backend, *SMALL, "--data-dir", folder)
    assert script("train", *options, "--epochs", 2, "--out", tmp_path / "whole").code == 0
    assert script("train", *options, "--epochs", 1, "--out", tmp_path / "run").code == 0
    resumed = script("train", LAB, "--resume", tmp_path / "run", "--epochs", 2, "--no-check", "--data-dir", folder)
    assert (resumed.code, resumed.err) == (0, "")
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")
    fingerprints = [(tmp_path / each / "fingerprints.csv").read_text() for each in ("run", "whole")]
    assert fingerprints[0] == fingerprints[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hidden", "8,16"), "got hidden sizes (8, 16), expected three: channels, channels, and features"),
        (("--hidden", "8,16,64,32"), "got hidden sizes (8, 16, 64, 32), expected three"),
    ],
)
def test_other_sizes_are_one_line(script: Script, folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = script("train", LAB, *arguments, "--data-dir", folder)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.usefixtures("no_hosts")
def test_without_data_it_is_one_line_and_no_other_lab_takes_its_place(script: Script, tmp_path: Path) -> None:
    done = script("train", LAB, "--data-dir", tmp_path / "absent")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no FashionMNIST files" in done.err


@pytest.mark.slow
def test_several_processes_are_one_line(folder: Path, tmp_path: Path) -> None:
    job = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "scripts/train.py", LAB, "--backend", "torch")
    command = [sys.executable, *job, "--data-dir", str(folder), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    message = "its network has statistics of its batch, each process its own, expected one process"
    assert done.stderr.count(message) == 1
    assert not (tmp_path / "run").exists()


def test_the_run_is_labelled_with_its_network(script: Script, folder: Path, tmp_path: Path) -> None:
    options = ("--backend", "scratch", *SMALL, "--epochs", 1, "--data-dir", folder)
    assert script("train", LAB, *options, "--out", tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["hidden"] == [3, 4, 12]
    assert config["network"].startswith("Conv2d 1 -> 3, 3 x 3, BatchNorm2d 3, ReLU, MaxPool2d, Conv2d 3 -> 4, 3 x 3")
    weights = 3 * 9 + 2 * 3 + 4 * 3 * 9 + 2 * 4 + 12 * 100 + 12 + 10 * 12 + 10
    assert config["parameters"] == weights
