"""The assignment's program: its figures recomputed, what it writes, and how it fails."""

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from torch import nn
from torch.utils.data import TensorDataset
from torchvision.datasets import FashionMNIST

from torch_ref import assignment
from torch_ref.assignment import COLUMNS, MLP, Display, Row, main, train

PROGRAM = Path(assignment.__file__)
NAMES = ("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias")
FILES = {"samples.png", "history.csv", "loss.png", "accuracy.png", "weights.pth"}


def split(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 28, 28, generator=generator, dtype=torch.float64)
    return TensorDataset(x, torch.randint(10, (n,), generator=generator))


def network(dtype: torch.dtype = torch.float64) -> MLP:
    """The same weights in every precision."""
    model = MLP()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 20)
    return model.to(dtype)


def orders(n: int, epochs: int) -> list[list[int]]:
    rng = np.random.default_rng(7)
    return [rng.permutation(n).tolist() for _ in range(epochs)]


def by_hand(weights: dict[str, np.ndarray], data: list[np.ndarray], order: list[list[int]], size: int) -> list[Row]:
    """AdamW on the mean cross-entropy with the gradients written out, in NumPy: what train() must report."""
    x, t, val_x, val_t = data
    moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in weights.items()}
    history, step = [], 0
    for epoch, rows in enumerate(order, 1):
        losses, hits = [], []
        for batch in (rows[i : i + size] for i in range(0, len(rows), size)):
            loss, hit, grads = forward_backward(weights, x[batch], t[batch])
            losses.extend(loss)
            hits.extend(hit)
            step += 1
            for name, g in grads.items():
                m, v = moments[name]
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                weights[name] *= 1 - 1e-3 * 0.01
                rate = 1e-3 / (1 - 0.9**step)
                weights[name] -= rate * m / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        val_loss, val_hits, _ = forward_backward(weights, val_x, val_t)
        figures = (epoch, np.mean(losses), np.mean(hits), np.mean(val_loss), np.mean(val_hits))
        history.append(dict(zip(COLUMNS, figures, strict=True)))
    return history


def forward_backward(
    weights: dict[str, np.ndarray], x: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    w1, b1, w2, b2 = (weights[name] for name in NAMES)
    x = x.reshape(len(x), -1)
    z = x @ w1.T + b1
    h = np.maximum(z, 0)
    s = h @ w2.T + b2
    log_p = s - np.logaddexp.reduce(s, axis=1, keepdims=True)
    ds = (np.exp(log_p) - np.eye(10)[t]) / len(t)
    dz = (ds @ w2) * (z > 0)
    grads = dict(zip(NAMES, (dz.T @ x, dz.sum(0), ds.T @ h, ds.sum(0)), strict=True))
    return -log_p[np.arange(len(t)), t], s.argmax(1) == t, grads


@pytest.mark.parametrize("batch_size", [16, 50, 64])
def test_the_history_is_the_one_computed_by_hand(batch_size: int) -> None:
    train_data, val_data = split(50, seed=1), split(33, seed=2)
    order = orders(50, epochs=3)
    model = network()
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    assert tuple(weights) == NAMES
    history = train(model, train_data, val_data, epochs=3, batch_size=batch_size, order=order, dtype=torch.float64)
    data = [part.numpy() for dataset in (train_data, val_data) for part in dataset.tensors]
    for row, expected in zip(history, by_hand(weights, data, order, batch_size), strict=True):
        assert tuple(row) == COLUMNS
        assert row == pytest.approx(expected, rel=1e-12)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), weights[name], rtol=0, atol=1e-9)


def test_float32_follows_float64_and_weights_stay_float32() -> None:
    data = split(50, seed=1), split(33, seed=2)
    narrow = network(torch.float32)
    history = train(narrow, *data, epochs=2, batch_size=16, order=orders(50, 2))
    wide = train(network(), *data, epochs=2, batch_size=16, order=orders(50, 2), dtype=torch.float64)
    assert {parameter.dtype for parameter in narrow.parameters()} == {torch.float32}
    for row, expected in zip(history, wide, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)


def test_the_generator_decides_the_order() -> None:
    data = split(50, seed=1), split(33, seed=2)
    runs = [
        train(network(), *data, epochs=2, batch_size=16, generator=torch.Generator().manual_seed(seed))
        for seed in (5, 5, 6)
    ]
    assert runs[0] == runs[1] != runs[2]


WRONG_SIZES = [
    ({"epochs": 0}, "epochs 0, .*expected positive numbers"),
    ({"batch_size": -1}, "batch size -1"),
    ({"lr": 0.0}, "rate 0.0"),
    ({"lr": float("nan")}, "rate nan"),
    ({"epochs": 3, "order": orders(50, 2)}, "an order for 2 epochs, expected one for each of the 3"),
]


@pytest.mark.parametrize(("sizes", "message"), WRONG_SIZES)
def test_sizes_that_allow_no_training(sizes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(network(), split(50, seed=1), split(33, seed=2), **sizes)


def test_a_loss_that_is_not_finite_names_epoch_and_batch() -> None:
    model = network()
    with torch.no_grad():
        model.layers[2].bias[3] = torch.nan
    with pytest.raises(FloatingPointError, match="epoch 1, batch 1: the loss is nan"):
        train(model, split(50, seed=1), split(33, seed=2), dtype=torch.float64)


def test_progress_bars_on_a_terminal_and_plain_lines_elsewhere() -> None:
    texts = []
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
        display = Display(2, console)
        train(network(), split(50, seed=1), split(33, seed=2), epochs=2, dtype=torch.float64, display=display)
        texts.append(console.file.getvalue())
    bars, plain = texts
    assert "epochs" in bars
    assert "batches" in bars
    assert "1/1" in bars
    assert "\x1b" not in plain
    lines = plain.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  train loss ")


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return (2048 + array.ndim).to_bytes(4, "big") + sizes + array.astype(np.uint8).tobytes()


def write_root(root: Path, form: str = "{}-idx{}-ubyte.gz") -> Path:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for part, n in (("train", 40), ("t10k", 20)):
        for kind, array in (("images", rng.integers(256, size=(n, 28, 28))), ("labels", rng.integers(10, size=n))):
            content = idx(array)
            path = raw / form.format(f"{part}-{kind}", array.ndim)
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return raw


def arguments(root: Path, out: Path, *more: str) -> list[str]:
    return ["--data-dir", str(root), "--out", str(out), "--epochs", "2", "--batch-size", "16", *more]


@pytest.mark.parametrize("form", ["{}-idx{}-ubyte.gz", "{}.idx{}-ubyte.gz", "{}-idx{}-ubyte", "{}.idx{}-ubyte"])
def test_a_run_writes_its_files_and_leaves_the_data_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    raw, out = write_root(tmp_path / "root", form), tmp_path / "deep" / "out"
    before = sorted(raw.parent.rglob("*"))
    assert main(arguments(tmp_path / "root", out)) == 0
    assert sorted(raw.parent.rglob("*")) == before
    assert {path.name for path in out.iterdir()} == FILES
    printed, errors = capsys.readouterr()
    assert [line[:9] for line in printed.splitlines()] == ["epoch 1/2", "epoch 2/2", "samples, "]
    assert errors == ""
    MLP().load_state_dict(torch.load(out / "weights.pth", weights_only=True))
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in FILES:
        if name.endswith(".png"):
            assert np.ptp(imread(out / name)[..., :3]) > 0.9


def test_runs_repeat_and_the_saved_weights_give_the_last_row(tmp_path: Path) -> None:
    write_root(tmp_path / "root")
    for run, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        state = torch.random.get_rng_state()
        assert main(arguments(tmp_path / "root", tmp_path / run, "--seed", seed)) == 0
        assert torch.equal(state, torch.random.get_rng_state()), "the global generator is left alone"
    texts = [(tmp_path / run / "history.csv").read_text() for run in "abc"]
    assert texts[0] == texts[1] != texts[2]
    model = MLP()
    model.load_state_dict(torch.load(tmp_path / "a" / "weights.pth", weights_only=True))
    _, val_data = assignment.load_data(tmp_path / "root")
    with torch.no_grad():
        logits = model(torch.stack([x for x, _ in val_data]))
    loss = nn.functional.cross_entropy(logits, val_data.targets).item()
    assert float(texts[0].split()[-1].split(",")[3]) == pytest.approx(loss, rel=1e-6)


BAD_USAGE = [
    (["--epochs", "0"], "assignment: argument --epochs: '0', expected a whole number from 1 on\n"),
    (["--epochs", "2.5"], "assignment: argument --epochs: '2.5', expected a whole number from 1 on\n"),
    (["--batch-size", "-3"], "assignment: argument --batch-size: '-3', expected a whole number from 1 on\n"),
    (["--lr", "0"], "assignment: argument --lr: '0', expected a positive number up to 1e30\n"),
    (["--lr", "inf"], "assignment: argument --lr: 'inf', expected a positive number up to 1e30\n"),
    (["--lr", "fast"], "assignment: argument --lr: 'fast', expected a positive number up to 1e30\n"),
    (["--seed", "-1"], "assignment: argument --seed: '-1', expected a whole number from 0 to 2**63 - 1\n"),
    (["--speed", "1"], "assignment: unrecognized arguments: --speed 1\n"),
]


@pytest.mark.parametrize(("argv", "line"), BAD_USAGE)
def test_bad_usage_is_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err == line


def cut_archive(raw: Path) -> None:
    path = raw / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])


def cut_content(raw: Path) -> None:
    path = raw / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-20]))


def remove_labels(raw: Path) -> None:
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()


def swap_kinds(raw: Path) -> None:
    path = raw / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes((raw / "t10k-images-idx3-ubyte.gz").read_bytes())


DAMAGES = [
    (cut_archive, "train-images-idx3-ubyte.gz: Compressed file ended"),
    (cut_content, "invalid for input of size"),
    (remove_labels, "t10k-labels-idx1-ubyte missing"),
    (swap_kinds, "x should have 1 dimension"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_bad_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage, reason: str) -> None:
    raw = write_root(tmp_path / "root")
    damage(raw)
    assert main(arguments(tmp_path / "root", tmp_path / "out")) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"assignment: expected the four Fashion-MNIST files in {raw}: ")
    assert reason in line
    assert line.count("\n") == 1


def test_missing_data_without_its_host_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert main(arguments(tmp_path / "root", tmp_path / "out")) == 2
    line = capsys.readouterr().err
    assert "FashionMNIST/raw: Error downloading train-images-idx3-ubyte.gz" in line
    assert line.count("\n") == 1
    assert not list((tmp_path / "root").iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_root(tmp_path / "root")
    (tmp_path / "file").write_bytes(b"")
    assert main(arguments(tmp_path / "root", tmp_path / "file" / "out")) == 2
    printed, line = capsys.readouterr()
    assert line == f"assignment: [Errno 20] Not a directory: '{tmp_path / 'file' / 'out'}'\n"
    assert printed == ""


def test_a_diverging_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_root(tmp_path / "root")
    assert main(arguments(tmp_path / "root", tmp_path / "out", "--lr", "1e30")) == 2
    line = capsys.readouterr().err
    assert line.startswith("assignment: epoch 1, batch 2: the loss is ")
    assert line.count("\n") == 1


def test_an_interruption_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_root(tmp_path / "root")
    monkeypatch.setattr(assignment, "train", interrupt)
    assert main(arguments(tmp_path / "root", tmp_path / "out")) == 130


def test_the_file_runs_alone_from_any_folder(tmp_path: Path) -> None:
    """A copy, so that nothing of the project can be in reach."""
    write_root(tmp_path / "root")
    (tmp_path / "handed_in.py").write_text(PROGRAM.read_text())
    command = [sys.executable, "-I", "handed_in.py", *arguments(Path("root"), Path("out"))]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_one_epoch_of_the_real_data_learns(data_dir: Path, tmp_path: Path) -> None:
    assert main(["--data-dir", str(data_dir), "--out", str(tmp_path), "--epochs", "1"]) == 0
    with open(tmp_path / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_accuracy"]) > 0.8
