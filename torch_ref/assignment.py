"""The assignment in PyTorch, in one file: Fashion-MNIST, 784-256-10, AdamW, 20 epochs and their curves.

    python torch_ref/assignment.py [--data-dir D] [--epochs 20] [--batch-size 128] [--lr 1e-3] [--seed 0]
                                   [--out DIR]
    python -m torch_ref.assignment

Writes into DIR (runs/assignment) samples.png first, then history.csv, loss.png, accuracy.png, weights.pth.
Imports nothing else of this project, whose other training loops are measured against this one.
"""

import argparse
import csv
import gzip
import math
import os
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor
from torchvision.utils import make_grid

Row = dict[str, float]
MAX_BYTES = 1 << 26  # of a file, unpacked; the largest real one has 47 million
COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
COLORS = {"train": "#0072B2", "validation": "#D55E00"}  # Okabe and Ito's, told apart by every kind of eye


class BadInput(ValueError):
    """What the user gave cannot be used; one line says why."""


class MLP(nn.Module):
    """x (n, 1, 28, 28) or (n, 784) -> logits (n, 10): W2 relu(W1 x + b1) + b2.

    Its state dict: layers.0.weight (256, 784), layers.0.bias (256,), layers.2.weight (10, 256),
    layers.2.bias (10,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x.flatten(1))
        return logits


class GivenOrder(Sampler[int]):
    """order[epoch], a list of indices, for whichever epoch is set: 0, 1, ..."""

    def __init__(self, order: Sequence[Sequence[int]]) -> None:
        self.order = order
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.order[self.epoch])

    def __iter__(self) -> Iterator[int]:
        return (int(index) for index in self.order[self.epoch])


class Display:
    """Progress bars over epochs and batches on a terminal, one plain line an epoch everywhere."""

    def __init__(self, epochs: int, console: Console) -> None:
        self.epochs = epochs
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.epoch_bar = self.bars.add_task("epochs", total=epochs, figures="")
        self.batch_bar = self.bars.add_task("batches", total=None, figures="")

    def start_epoch(self, batches: int) -> None:
        self.bars.reset(self.batch_bar, total=batches, figures="")

    def batch(self, loss: float, accuracy: float) -> None:
        self.bars.update(self.batch_bar, advance=1, figures=f"loss {loss:.4f}  accuracy {accuracy:.4f}")

    def end_epoch(self, row: Row) -> None:
        self.bars.update(self.epoch_bar, advance=1, figures=f"validation accuracy {row['val_accuracy']:.4f}")
        self.bars.console.print(
            f"epoch {row['epoch']:{len(str(self.epochs))}d}/{self.epochs}"
            f"  train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.4f}"
            f"  validation loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.4f}",
            highlight=False,
            soft_wrap=True,
        )


def train(
    model: nn.Module,
    train_data: Dataset[Any],
    val_data: Dataset[Any],
    *,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 1e-3,
    order: Sequence[Sequence[int]] | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    display: Display | None = None,
) -> list[Row]:
    """Train `model` in place with AdamW on the mean cross-entropy; one row an epoch, its keys COLUMNS.

    The data sets give (pixels, class). Training figures are gathered over the epoch's batches, each before
    its update; validation figures follow the epoch's last update. All are means over samples. order[e] lists
    the samples of epoch e (0, 1, ...); without it they are shuffled, by `generator`. Model and pixels are
    converted to `dtype`. Raises ValueError for sizes that allow no training, FloatingPointError for a loss
    that is not finite.
    """
    if epochs < 1 or batch_size < 1 or not 0 < lr < math.inf:
        raise ValueError(f"epochs {epochs}, batch size {batch_size}, rate {lr}: expected positive numbers")
    if order is not None and len(order) < epochs:
        raise ValueError(f"an order for {len(order)} epochs, expected one for each of the {epochs}")
    sampler = GivenOrder(order) if order is not None else None
    shuffle = sampler is None
    train_loader = DataLoader(train_data, batch_size, shuffle, sampler=sampler, generator=generator)
    val_loader = DataLoader(val_data, batch_size, generator=generator)
    model.to(device=device, dtype=dtype)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    display = display or Display(epochs, Console(quiet=True))
    history: list[Row] = []
    with display.bars:
        for epoch in range(1, epochs + 1):
            if sampler is not None:
                sampler.epoch = epoch - 1
            display.start_epoch(len(train_loader))
            train_loss, train_accuracy = train_epoch(model, train_loader, criterion, optimizer, display, epoch)
            val_loss, val_accuracy = validate(model, val_loader, criterion)
            check_finite(val_loss, f"epoch {epoch}, validation")
            figures = (epoch, train_loss, train_accuracy, val_loss, val_accuracy)
            history.append(dict(zip(COLUMNS, figures, strict=True)))
            display.end_epoch(history[-1])
    return history


def train_epoch(
    model: nn.Module,
    loader: DataLoader[Any],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    display: Display,
    epoch: int,
) -> tuple[float, float]:
    """One pass with updates: (loss, accuracy), sums over its samples divided by their number."""
    model.train()
    loss_sum, correct, seen = 0.0, 0, 0
    for batch, (x, t) in enumerate(to_model(model, loader), 1):
        logits = model(x)
        loss = criterion(logits, t)
        check_finite(loss.item(), f"epoch {epoch}, batch {batch}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(t)
        correct += int((logits.argmax(1) == t).sum())
        seen += len(t)
        display.batch(loss_sum / seen, correct / seen)
    return loss_sum / seen, correct / seen


@torch.no_grad()
def validate(model: nn.Module, loader: DataLoader[Any], criterion: nn.Module) -> tuple[float, float]:
    """(loss, accuracy) over all of the loader's samples; the last, smaller batch counts by its size."""
    model.eval()
    loss_sum, correct, seen = 0.0, 0, 0
    for x, t in to_model(model, loader):
        logits = model(x)
        loss_sum += criterion(logits, t).item() * len(t)
        correct += int((logits.argmax(1) == t).sum())
        seen += len(t)
    return loss_sum / seen, correct / seen


def check_finite(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"{where}: the loss is {loss}; a smaller rate may help")


def to_model(model: nn.Module, loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches on the model's device, the pixels in its dtype."""
    weight = next(model.parameters())
    for x, t in loader:
        yield x.to(weight), t.to(weight.device)


def load_data(root: Path) -> tuple[FashionMNIST, FashionMNIST]:
    """torchvision's (train, test), downloaded first where `root` holds no file of them. Raises BadInput.

    torchvision reads unpacked files with dashes in their names, and unpacks beside the archives; `root` may
    be read-only and hold archives, so it is shown a temporary folder.
    """
    raw = root / "FashionMNIST" / "raw"
    try:
        if not any(raw.glob("*-ubyte*")):
            download(root)
        with tempfile.TemporaryDirectory() as folder:
            unpack(raw, Path(folder, "FashionMNIST", "raw"))
            return open_both(Path(folder))
    except (OSError, RuntimeError, ValueError, TypeError, AssertionError, HTTPException) as error:
        reason = " ".join(str(error).split()) or "one is damaged"
        raise BadInput(f"expected the four Fashion-MNIST files in {raw}: {reason}") from error


def download(root: Path) -> None:
    """Into a folder beside, renamed when all is there: what an interruption leaves is not taken for data."""
    root.mkdir(parents=True, exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)
    try:
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as folder:
            open_both(Path(folder), download=True)
            (root / "FashionMNIST").mkdir(exist_ok=True)
            Path(folder, "FashionMNIST", "raw").replace(root / "FashionMNIST" / "raw")
    finally:
        socket.setdefaulttimeout(before)


def unpack(raw: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in sorted(raw.glob("*-ubyte*")):
        try:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise OSError(f"more than {MAX_BYTES} bytes, expected Fashion-MNIST")
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file.name}: {error}") from error
        (folder / file.name.removesuffix(".gz").replace(".idx", "-idx")).write_bytes(content)
    expected = {name.removesuffix(".gz") for name, _ in FashionMNIST.resources}
    missing = expected - {file.name for file in folder.iterdir()}
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} missing")


def open_both(root: Path, download: bool = False) -> tuple[FashionMNIST, FashionMNIST]:
    train_data = FashionMNIST(root, train=True, transform=ToTensor(), download=download)
    return train_data, FashionMNIST(root, train=False, transform=ToTensor())


def draw_samples(data: FashionMNIST, generator: torch.Generator, path: Path) -> None:
    """Nine random samples, three by three, under each its class."""
    chosen = torch.randperm(len(data), generator=generator)[:9].tolist()
    grid = make_grid([data[i][0] for i in chosen], nrow=3, padding=8, pad_value=1.0)
    figure = Figure(figsize=(6, 6.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid.permute(1, 2, 0).numpy(), cmap="gray")
    axes.set_axis_off()
    axes.set_title("Fashion-MNIST, nine training samples", fontsize=16, pad=0)
    for place, i in enumerate(chosen):
        column, row = place % 3, place // 3
        name = data.classes[int(data.targets[i])]
        axes.text(8 + 36 * column + 14, 36 * (row + 1) + 4, name, ha="center", va="center", fontsize=13)
    save(figure, path)


def draw_curves(history: list[Row], quantity: str, path: Path) -> None:
    """`loss` or `accuracy` against epochs, training and validation."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in history]
    for label, column, style in (("train", "train", "o-"), ("validation", "val", "s--")):
        values = [row[f"{column}_{quantity}"] for row in history]
        axes.plot(epochs, values, style, color=COLORS[label], label=label, linewidth=2.5, markersize=7)
    axes.set_title(f"Fashion-MNIST, 784-256-10: {quantity}", fontsize=18)
    axes.set_xlabel("epoch", fontsize=17)
    axes.set_ylabel({"loss": "mean cross-entropy", "accuracy": "share correct"}[quantity], fontsize=17)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=15)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=16)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)  # whatever backend the reader's machine prefers
    figure.savefig(path, dpi=150)


def save_run(model: nn.Module, history: list[Row], out: Path) -> None:
    with open(out / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(history)
    draw_curves(history, "loss", out / "loss.png")
    draw_curves(history, "accuracy", out / "accuracy.png")
    torch.save({name: value.cpu() for name, value in model.state_dict().items()}, out / "weights.pth")


def run(args: argparse.Namespace) -> None:
    console = Console()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    train_data, val_data = load_data(args.data_dir)
    draw_samples(train_data, generator, args.out / "samples.png")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        model = MLP()
    history = train(
        model,
        train_data,
        val_data,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        generator=generator,
        device=device,
        display=Display(args.epochs, console),
    )
    save_run(model, history, args.out)
    console.print(f"samples, curves, history and weights are in {args.out}", highlight=False, soft_wrap=True)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")


def positive_int(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1 on")
    return int(text)


def positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1e30:  # beyond, AdamW's float32 arithmetic overflows with an error of its own
        raise argparse.ArgumentTypeError(f"{text!r}, expected a positive number up to 1e30")
    return value


def seed(text: str) -> int:
    if not (text.isdecimal() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 0 to 2**63 - 1")
    return int(text)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    data = Path(os.environ.get("BACKPROP_DATA_DIR") or Path(__file__).resolve().parents[1] / "data")
    where = "a torchvision root (default: BACKPROP_DATA_DIR, else data/ in the checkout)"
    parser = Parser(prog="assignment", description="Train 784-256-10 on Fashion-MNIST and draw its curves.")
    parser.add_argument("--data-dir", type=Path, default=data, help=where)
    parser.add_argument("--epochs", type=positive_int, default=20)
    parser.add_argument("--batch-size", type=positive_int, default=128)
    parser.add_argument("--lr", type=positive_float, default=1e-3, help="AdamW's rate")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/assignment"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    try:
        run(args)
    except (BadInput, FloatingPointError, OSError) as error:
        print(f"assignment: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
