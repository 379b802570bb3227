"""train.py and fashion_mnist.py as they are typed: what they write, what they say, and how they fail."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratch.checkpoint import Checkpoint
from scratch.history import read_histories
from tests.made_up_images import fake_fashion

Script = Callable[..., Any]
Trained = Callable[..., None]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SMALL = ("--hidden", "8", "--epochs", "2")
FIGURES = {"samples.png", "loss.png", "accuracy.png"}
FILES = {"config.json", "fingerprints.csv", "history.csv", "metrics.json", "checkpoints"}
WEIGHTS = {"scratch": {"weights.safetensors"}, "torch": {"weights.pth"}}
WEIGHTS["both"] = {*WEIGHTS["scratch"], *WEIGHTS["torch"], "curves.png", "differences.csv"}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def figures(folder: Path) -> Any:
    return {name: history.figures for name, history in read_histories(folder / "history.csv").items()}


@pytest.mark.parametrize("backend", ["scratch", "torch", "both"])
def test_a_run_writes_all_its_files_labelled_with_the_data(script: Script, tmp_path: Path, backend: str) -> None:
    out = tmp_path / "run"
    assert script("train", "digits", "--backend", backend, *SMALL, "--out", out).code == 0
    assert {path.name for path in out.iterdir()} == FILES | FIGURES | WEIGHTS[backend]
    config, metrics = (json.loads((out / name).read_text()) for name in ("config.json", "metrics.json"))
    assert "1,797" in config["data"]["source"]
    assert "1,797" in metrics["data"]
    assert config["options"]["hidden"] == [8]
    assert config["versions"]["numpy"] == np.__version__
    names = {"scratch", "torch"} if backend == "both" else {backend}
    histories = read_histories(out / "history.csv")
    assert set(histories) == set(metrics["backends"]) == names
    assert all(len(history) == 2 for history in histories.values())
    assert all(metrics["backends"][n]["val_accuracy"] == h[-1].val_accuracy for n, h in histories.items())


def test_the_weights_of_both_formats_are_those_that_were_trained(script: Script, tmp_path: Path) -> None:
    import torch
    from safetensors.numpy import load_file

    options = ("--dtype", "float64", *SMALL)
    assert script("train", "digits", "--backend", "both", *options, "--out", tmp_path / "run").code == 0
    ours = load_file(tmp_path / "run" / "weights.safetensors")
    theirs = torch.load(tmp_path / "run" / "weights.pth", weights_only=True)
    assert list(theirs) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(np.abs(ours[name] - theirs[name].numpy()).max() < 1e-14 for name in ours)
    checkpoint = load_file(tmp_path / "run" / "checkpoints" / "scratch" / "checkpoint.safetensors")
    assert all(checkpoint[name].tobytes() == ours[name].tobytes() for name in ours)


def test_both_in_float64_print_accuracies_and_differences_per_epoch(script: Script, tmp_path: Path) -> None:
    done = script("train", "digits", "--dtype", "float64", "--check", *SMALL, "--out", tmp_path / "run")
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2
    assert all("NumPy 0." in line and "PyTorch 0." in line and "weights apart by" in line for line in lines)
    assert done.out.index("PARITY in float64") < done.out.index("PARITY in float32") < done.out.index("epoch 1/2")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["check"] == dict.fromkeys(
        ("float64", "float32"), "parity"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "lab 'nope': expected one of fashion_mnist, digits, xor"),
        ((), "the following arguments are required: LAB"),
        (("digits", "--backend", "nope"), "--backend: invalid choice: 'nope'"),
        (("digits", "--epochs", "0"), "--epochs: got '0', expected a whole number of at least 1"),
        (("digits", "--epochs", "1.5"), "--epochs: got '1.5'"),
        (("digits", "--batch-size", "-3"), "--batch-size: got '-3', expected a whole number of at least 1"),
        (("digits", "--seed", "-1"), "--seed: got '-1', expected a whole number from 0"),
        (("digits", "--hidden", "8,0"), "--hidden: got '0', expected a whole number of at least 1"),
        (("digits", "--hidden", "a"), "--hidden: got 'a'"),
        (("digits", "--lr", "nan"), "--lr: got 'nan', expected a number above 0"),
        (("digits", "--dtype", "float16"), "--dtype: invalid choice: 'float16'"),
        (("digits", "--optimizer", "lion"), "--optimizer: invalid choice: 'lion'"),
        (("digits", "--device", "nope"), "--device nope: PyTorch cannot use it"),
        (("digits", "--device", "meta"), "--device meta: PyTorch cannot use it (a meta device does not train"),
        (("digits", "--device", "cuda:99"), "--device cuda:99: PyTorch cannot use it ("),
        (("digits", "--tf32"), "--tf32: a cpu device has none, expected --device cuda with it"),
        (("digits", "--compile"), "--compile: beside NumPy PyTorch trains step by step, expected --backend torch"),
        (("digits", "--backend", "scratch", "--device", "cuda"), "--device: NumPy computes on the CPU, expected"),
        (("digits", "--backend", "scratch", "--compile"), "--compile: NumPy computes on the CPU, expected"),
        (("digits", "--checkpoint-steps", "0"), "--checkpoint-steps: got '0', expected a whole number of at least 1"),
        (("digits", "--resume", "a", "--out", "b"), "--out and --resume: expected one of them"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(script: Script, arguments: tuple[str, ...], message: str) -> None:
    done = script("train", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_an_out_folder_that_cannot_be_used_is_refused_before_training(script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    before = content(tmp_path)
    for out, message in [
        (tmp_path / "file", "found a file, expected a folder"),
        (tmp_path / "file" / "run", "cannot be written to (File exists)"),
        (tmp_path / "file" / "a" / "run", "cannot be written to (Not a directory)"),
        (tmp_path / "full", "found files in it, expected a new or empty folder"),
    ]:
        done = script("train", "digits", "--backend", "scratch", *SMALL, "--out", out)
        assert done.code == 2
        assert message in done.err
        assert "epoch" not in done.out
    assert content(tmp_path) == before


def test_a_finished_run_is_not_overwritten(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import _run_folder

    monkeypatch.setattr(_run_folder, "CHECKOUT", tmp_path)
    options = ("train", "digits", "--backend", "scratch", *SMALL)
    assert script(*options).code == 0
    before = content(tmp_path / "runs" / "digits-0")
    again = script(*options)
    assert again.code == 0
    assert str(tmp_path / "runs" / "digits-0-2") in again.out
    refused = script(*options, "--out", tmp_path / "runs" / "digits-0")
    assert refused.code == 2
    assert "found an earlier run in it" in refused.err
    assert content(tmp_path / "runs" / "digits-0") == before


@pytest.mark.parametrize(("backend", "fused"), [("scratch", False), ("torch", True), ("both", False)])
def test_pytorch_alone_trains_with_its_fused_update_and_says_so(
    script: Script, tmp_path: Path, backend: str, fused: bool
) -> None:
    assert script("train", "digits", "--backend", backend, *SMALL, "--out", tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [config[name] for name in ("fused", "device", "compile", "tf32")] == [fused, "cpu", False, False]
    if backend != "scratch":
        saved = Checkpoint.read(tmp_path / "run" / "checkpoints" / "torch" / "checkpoint.safetensors")
        assert ("fused=True" in saved.configuration["optimizer"]) is fused


def test_a_run_that_began_without_the_fused_update_goes_on_without(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of an earlier version, whose config says nothing of it."""
    options = ("digits", "--backend", "torch", "--hidden", "8")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("_training_run")._Run, "is_fused", False)
        assert script("train", *options, "--epochs", 4, "--out", tmp_path / "whole").code == 0
        assert script("train", *options, "--epochs", 2, "--out", tmp_path / "part").code == 0
    config = json.loads((tmp_path / "part" / "config.json").read_text())
    del config["fused"]
    (tmp_path / "part" / "config.json").write_text(json.dumps(config))
    done = script("train", "digits", "--resume", tmp_path / "part", "--epochs", 4)
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "part" / "weights.pth").read_bytes() == (tmp_path / "whole" / "weights.pth").read_bytes()
    assert json.loads((tmp_path / "part" / "config.json").read_text())["fused"] is False


def test_the_fused_update_ends_where_the_plain_one_does_within_rounding(script: Script, tmp_path: Path) -> None:
    """One epoch of digits in float64, by itself and beside NumPy."""
    ends = []
    for backend in ("torch", "both"):
        options = ("--backend", backend, "--dtype", "float64", "--epochs", 1, "--hidden", "8")
        assert script("train", "digits", *options, "--out", tmp_path / backend).code == 0
        ends.append(torch.load(tmp_path / backend / "weights.pth", weights_only=True))
    fused, plain = ends
    for name, a in plain.items():
        assert (fused[name] - a).abs().max() < 1e-13 * a.abs().max(), name


@pytest.mark.slow
def test_a_compiled_run_goes_on_compiled_and_ends_in_the_same_bits(script: Script, tmp_path: Path) -> None:
    options = ("digits", "--backend", "torch", "--hidden", "8", "--compile")
    first = script("train", *options, "--epochs", 2, "--out", tmp_path / "whole")
    if "torch.compile does not work here" in first.err:
        pytest.skip(first.err)
    assert first.code == 0
    assert script("train", *options, "--epochs", 1, "--out", tmp_path / "part").code == 0
    assert script("train", "digits", "--resume", tmp_path / "part", "--epochs", 2).code == 0
    assert json.loads((tmp_path / "part" / "config.json").read_text())["compile"] is True
    assert (tmp_path / "part" / "weights.pth").read_bytes() == (tmp_path / "whole" / "weights.pth").read_bytes()


def test_without_a_compiler_compile_is_one_line_and_nothing_is_trained(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Any) -> Any:
        def forward(x: Any) -> Any:
            raise RuntimeError("backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found")

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    done = script("train", "digits", "--backend", "torch", "--compile", *SMALL, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    expected = "torch.compile does not work here (RuntimeError: backend='inductor' raised: InvalidCxxCompiler"
    assert expected in done.err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_resumed_run_stays_where_it_was_unless_told_otherwise_which_is_said(script: Script, tmp_path: Path) -> None:
    options = ("digits", "--backend", "torch", *SMALL, "--out", tmp_path)
    assert script("train", *options).code == 0
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"device": "cuda:99"}))
    stays = script("train", "digits", "--resume", tmp_path, "--epochs", 3)
    assert stays.code == 2
    assert "--device cuda:99: PyTorch cannot use it" in stays.err
    moves = script("train", "digits", "--resume", tmp_path, "--epochs", 3, "--device", "cpu")
    assert moves.code == 0
    assert "not as when this run began: device cuda:99 and cpu; its bits may be others" in moves.out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("more", [(), ("--compile",)])
def test_a_run_on_a_cuda_device_ends_where_one_on_the_cpu_does(
    script: Script, tmp_path: Path, more: tuple[str, ...]
) -> None:
    ends = []
    for device, extra in (("cpu", ()), ("cuda", more)):
        options = ("--backend", "torch", "--dtype", "float64", "--check", "--device", device, *extra, *SMALL)
        assert script("train", "digits", *options, "--out", tmp_path / device).code == 0
        ends.append(torch.load(tmp_path / device / "weights.pth", weights_only=True))
    for name, a in ends[0].items():
        assert (ends[1][name] - a).abs().max() < 1e-9 * a.abs().max(), name


@pytest.mark.parametrize("backend", ["scratch", "torch", "both"])
def test_a_longer_run_resumed_is_the_same_as_one_in_one_go(script: Script, tmp_path: Path, backend: str) -> None:
    options = ("digits", "--backend", backend, "--hidden", "8")
    assert script("train", *options, "--epochs", 4, "--out", tmp_path / "whole").code == 0
    assert script("train", *options, "--epochs", 2, "--out", tmp_path / "part").code == 0
    assert script("train", "digits", "--resume", tmp_path / "part", "--epochs", 4).code == 0
    assert figures(tmp_path / "part") == figures(tmp_path / "whole")
    for name in WEIGHTS[backend] & {"weights.safetensors", "weights.pth", "differences.csv"}:
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    config = json.loads((tmp_path / "part" / "config.json").read_text())
    assert [config["options"]["epochs"], *(each["options"]["epochs"] for each in config["resumed"])] == [4, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("xor",), "a run of lab 'digits', expected 'xor'"),
        (("digits", "--seed", "5"), "run with --seed 0, expected 5"),
        (("digits", "--backend", "torch"), "run with --backend scratch, expected torch"),
        (("digits", "--dtype", "float64"), "run with --dtype float32, expected float64"),
        (("digits", "--hidden", "9"), "run with --hidden (8,), expected (9,)"),
        (("digits", "--batch-size", "64"), "run with --batch-size 128, expected 64"),
        (("digits", "--epochs", "1"), "at epoch 2, expected at most 1"),
    ],
)
def test_another_runs_folder_is_refused_and_untouched(
    script: Script, trained: Trained, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "run"
    trained(out, "digits", "--backend", "scratch", *SMALL)
    before = content(out)
    done = script("train", *arguments, "--resume", out)
    assert done.code == 2
    assert message in done.err
    assert content(out) == before


def test_a_damaged_checkpoint_is_said_and_the_previous_one_used(script: Script, tmp_path: Path) -> None:
    options = ("train", "digits", "--backend", "scratch", "--hidden", "8")
    assert script(*options, "--epochs", 4, "--out", tmp_path / "whole").code == 0
    assert script(*options, "--epochs", 2, "--out", tmp_path / "part").code == 0
    newest = tmp_path / "part" / "checkpoints" / "scratch" / "checkpoint.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    command = [sys.executable, SCRIPTS / "train.py", "digits", "--resume", tmp_path / "part", "--epochs", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith(f"train: {newest}: damaged")
    assert done.stderr.endswith("going on from checkpoint.previous.safetensors, epoch 1\n")
    assert figures(tmp_path / "part") == figures(tmp_path / "whole")


@pytest.mark.parametrize("backend", ["scratch", "torch", "both"])
def test_training_that_is_not_finite_ends_in_one_line(script: Script, tmp_path: Path, backend: str) -> None:
    options = ("--optimizer", "sgd", "--lr", "1e30", "--out", tmp_path / "run")
    done = script("train", "digits", "--backend", backend, *SMALL, *options)
    assert done.code == 2
    assert "train: epoch 1, batch 2: the output of layer 2 (Linear" in done.err
    assert done.err.count("\n") == 1


def test_a_mismatch_is_exit_code_1_and_nothing_is_trained(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratch import Linear

    honest = Linear.backward

    def twice(self: Linear, dy: Any) -> Any:
        dx = honest(self, dy)
        self.grads["bias"] = 2 * self.grads["bias"]
        return dx

    monkeypatch.setattr(Linear, "backward", twice)
    done = script("train", "digits", "--check", *SMALL, "--out", tmp_path / "run")
    assert done.code == 1
    assert "MISMATCH in float64" in done.out
    assert "grad_bias" in done.out
    assert "mismatch in float64, mismatch in float32; training was not started" in done.err
    assert "epoch 1" not in done.out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [("train", "iris", "--check"), ("check_parity", "iris")])
def test_a_mistake_that_only_large_biases_show_is_caught_by_both_gates(
    script: Script, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """The lab's own biases start at zero, and stay small over three steps."""
    from scratch import Linear

    honest = Linear.forward

    def clipped(self: Linear, x: Any) -> Any:
        bias = self.params["bias"]
        return honest(self, x) - bias + np.clip(bias, -0.05, 0.05)

    monkeypatch.setattr(Linear, "forward", clipped)
    done = script(*command)
    assert done.code == 1
    assert "MISMATCH in float64" in done.out
    assert "first divergence: step 1, layer 0 (Linear 4 -> " in done.out
    assert "the biases start at zero, which hides mistakes: checked with random ones" in done.out + done.err


def test_the_check_leaves_the_weights_that_are_trained_as_they_are(script: Script, tmp_path: Path) -> None:
    for check in ("check", "no-check"):
        assert script("train", "iris", f"--{check}", *SMALL, "--out", tmp_path / check).code == 0
    for name in ("fingerprints.csv", "weights.safetensors", "weights.pth"):
        assert (tmp_path / "check" / name).read_bytes() == (tmp_path / "no-check" / name).read_bytes(), name


# data


@pytest.mark.usefixtures("no_hosts")
@pytest.mark.parametrize("backend", ["both", "scratch", "torch"])
def test_without_data_or_hosts_the_digits_are_used_and_labelled(script: Script, tmp_path: Path, backend: str) -> None:
    options = ("--backend", backend, *SMALL, "--data-dir", tmp_path / "absent", "--out", tmp_path / "run")
    done = script("fashion_mnist", *options)
    assert done.code == 0
    first = done.out.splitlines()[0]
    assert "going on with the 1,797 handwritten digits embedded in scikit-learn instead" in first
    config, metrics = (json.loads((tmp_path / "run" / n).read_text()) for n in ("config.json", "metrics.json"))
    assert (config["lab"], config["data"]["name"], config["options"]["lab"]) == ("digits", "digits", "fashion_mnist")
    assert "1,797" in metrics["data"]
    assert not (tmp_path / "absent").exists()
    resumed = script("fashion_mnist", "--resume", tmp_path / "run", "--epochs", 3)
    assert (resumed.code, len(read_histories(tmp_path / "run" / "history.csv"))) == (0, 2 if backend == "both" else 1)


@pytest.mark.parametrize("backend", ["both", "scratch", "torch"])
def test_the_files_are_read_by_whoever_trains(script: Script, tmp_path: Path, backend: str) -> None:
    fake_fashion(tmp_path)
    before = content(tmp_path)
    options = ("--backend", backend, *SMALL, "--data-dir", tmp_path, "--out", tmp_path / "run")
    done = script("fashion_mnist", *options)
    assert done.code == 0
    assert "Fashion-MNIST, 300 + 60 images; 784-8-10" in done.out
    assert ("PARITY" in done.out) == (backend != "scratch")
    shutil.rmtree(tmp_path / "run")
    assert content(tmp_path) == before


@pytest.mark.parametrize("backend", ["both", "scratch", "torch"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: (raw / "t10k-labels-idx1-ubyte.gz").unlink(), "t10k-labels-idx1-ubyte"),
        (lambda raw: (raw / "train-images-idx3-ubyte.gz").write_bytes(b"nonsense"), "train-images-idx3-ubyte.gz"),
    ],
)
def test_missing_and_damaged_files_are_exit_code_2(
    script: Script, tmp_path: Path, backend: str, damage: Any, message: str
) -> None:
    damage(fake_fashion(tmp_path))
    before = content(tmp_path)
    done = script("fashion_mnist", "--backend", backend, "--data-dir", tmp_path, "--out", tmp_path / "run")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert content(tmp_path) == before


def test_readers_that_disagree_are_a_mismatch(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch_ref.datasets

    fake_fashion(tmp_path)
    honest = torch_ref.datasets.tensors
    monkeypatch.setattr(torch_ref.datasets, "tensors", lambda data: (honest(data)[0] / 2, honest(data)[1]))
    done = script("fashion_mnist", *SMALL, "--data-dir", tmp_path, "--out", tmp_path / "run")
    assert done.code == 1
    assert "mismatch: x_train[0, 0]: NumPy reads" in done.err
    assert not (tmp_path / "run").exists()


# in a process of its own


def test_scratch_alone_never_loads_torch(tmp_path: Path) -> None:
    arguments = ["digits", "--backend", "scratch", *SMALL, "--out", str(tmp_path / "run")]
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import _exit_code, _command, train\n"
        f"code = _exit_code.exit_code(train.main, {arguments!r})\n"
        "loaded = {'torch', 'torchvision', 'torch_ref', 'compare'} & set(sys.modules)\n"
        "sys.exit(f'{code} {loaded}' if code or loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def started(*options: object) -> subprocess.Popen[str]:
    """train.py in its own process, after its first epoch."""
    process = subprocess.Popen(
        [sys.executable, SCRIPTS / "train.py", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            return process
    raise AssertionError(process.communicate())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "number", "code"),
    [("scratch", signal.SIGTERM, 143), ("torch", signal.SIGINT, 130), ("both", signal.SIGTERM, 143)],
)
def test_an_interrupted_run_says_how_to_go_on_and_ends_the_same(
    script: Script, tmp_path: Path, backend: str, number: int, code: int
) -> None:
    options = ("digits", "--backend", backend, "--hidden", "8", "--no-check", "--batch-size", "4")
    process = started(*options, "--epochs", 1000, "--out", tmp_path / "part")
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "finishing this step, to save it" in err
    assert f"to go on: python scripts/train.py digits --resume {tmp_path / 'part'}" in out
    names = ("scratch", "torch") if backend == "both" else (backend,)
    newest = [Checkpoint.read(tmp_path / "part/checkpoints" / n / "checkpoint.safetensors") for n in names]
    assert any(checkpoint.training["position"]["batch"] for checkpoint in newest), "not saved within an epoch"
    epochs = max(checkpoint.epoch for checkpoint in newest) + 1
    assert script("train", "digits", "--resume", tmp_path / "part", "--epochs", epochs).code == 0
    assert script("train", *options, "--epochs", epochs, "--out", tmp_path / "whole").code == 0
    assert figures(tmp_path / "part") == figures(tmp_path / "whole")
    for name in WEIGHTS[backend] & {"weights.safetensors", "weights.pth", "differences.csv"} | {"fingerprints.csv"}:
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("prepare", ["absent", "empty", "killed at once", "killed before its first checkpoint"])
def test_where_there_is_nothing_to_resume_the_run_starts_anew_and_says_so(
    script: Script, trained: Trained, tmp_path: Path, prepare: str
) -> None:
    options = ("train", "digits", "--backend", "scratch", *SMALL)
    trained(tmp_path / "whole", *options[1:])
    run = tmp_path / "run"
    if prepare != "absent":
        run.mkdir()
    if prepare == "killed at once":
        (run / "config.json.new").write_text("{")
        (run / ".lock").touch()
    if prepare == "killed before its first checkpoint":
        shutil.copy(tmp_path / "whole" / "config.json", run)
        options = ("train", "digits")
    done = script(*options, "--resume", run)
    assert done.code == 0
    assert "starting anew" in done.out
    assert figures(run) == figures(tmp_path / "whole")


def test_a_finished_run_resumed_is_left_alone(script: Script, trained: Trained, tmp_path: Path) -> None:
    trained(tmp_path, "digits", "--backend", "scratch", *SMALL)
    before = content(tmp_path)
    done = script("train", "digits", "--resume", tmp_path)
    assert (done.code, done.out) == (0, f"{tmp_path}: finished already, 2 epochs\n")
    assert content(tmp_path) == before


def test_what_was_killed_while_it_wrote_its_results_writes_them(
    script: Script, trained: Trained, tmp_path: Path
) -> None:
    trained(tmp_path, "digits", "--backend", "both", *SMALL)
    names = ("fingerprints.csv", "weights.safetensors", "weights.pth")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for name in ("metrics.json", *before, "history.csv"):
        (tmp_path / name).unlink()
    assert script("train", "digits", "--resume", tmp_path).code == 0
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert (tmp_path / "metrics.json").exists()


def test_foreign_files_are_no_run_to_resume(script: Script, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    done = script("train", "digits", "--resume", tmp_path)
    assert done.code == 2
    assert f"{tmp_path}/config.json: cannot be read" in done.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": "8"}, "found hidden '8', which is none"),
        ({"hidden": [-8]}, "found hidden"),
        ({"epochs": "2"}, "found epochs '2'"),
        ({"epochs": True}, "found epochs 'True'"),
        ({"seed": -1}, "found seed '-1'"),
        ({"backend": ["torch"]}, "found backend"),
        ({"lr": "1"}, "found lr '1'"),
        ({"optimizer": "../x"}, "found optimizer '../x'"),
        ({"variant": 3}, "found variant '3'"),
        ({"lab": {}}, "found lab"),
    ],
)
def test_a_made_up_config_is_refused_in_one_line(
    script: Script, trained: Trained, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    trained(tmp_path, "digits", "--backend", "scratch", *SMALL)
    config = json.loads((tmp_path / "config.json").read_text())
    config["options"] |= change
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = script("train", "digits", "--resume", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


def test_a_folder_is_held_until_it_is_closed_and_nothing_is_left_of_that(tmp_path: Path) -> None:
    run_folder = importlib.import_module("_run_folder")
    first, second = run_folder.RunFolder(tmp_path), run_folder.RunFolder(tmp_path)
    first.hold()
    with pytest.raises(ValueError, match="another run is writing to it"):
        second.hold()
    second.close()
    first.close()
    assert not list(tmp_path.iterdir())
    second.hold()


def test_two_runs_do_not_share_a_folder(script: Script, tmp_path: Path) -> None:
    process = started("digits", "--backend", "scratch", "--hidden", 8, "--epochs", 10000, "--out", tmp_path)
    try:
        resumed = script("train", "digits", "--resume", tmp_path)
        assert resumed.code == 2
        assert "another run is writing to it" in resumed.err
    finally:
        process.kill()
        process.communicate()
    assert script("train", "digits", "--resume", tmp_path, "--epochs", 10).code in (0, 2)  # the lock is gone with it


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["scratch", "torch"])
def test_the_same_bits_in_separate_processes_one_of_them_beside_another(
    script: Script, tmp_path: Path, backend: str
) -> None:
    """This process and one of its own; while that one trains, another competes with it for the processor."""
    options = ("digits", "--backend", backend, "--hidden", "32", "--epochs", "3", "--no-check")
    options = (*options, "--fingerprint-steps", "1")
    assert script("train", *options, "--out", tmp_path / "a").code == 0
    command = [sys.executable, SCRIPTS / "train.py", *options, "--out", tmp_path / "b"]
    busy = subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"])
    try:
        assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    finally:
        busy.kill()
        busy.wait()
    done = script("compare_runs", tmp_path / "a", tmp_path / "b")
    assert done.code == 0, done.out
    assert f"{backend}: the same bits in all 3 epochs" in done.out
