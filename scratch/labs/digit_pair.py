"""Lab 3, `digit_pair`: digit a or digit b? A network of two classes, with the cost summed over the batch.

MNIST's images of two digits (1 and 5, unless others are chosen), as vectors, each divided by its own maximum; label 0
for a, 1 for b. ReLU layers 500-250, one sigmoid output, 1/2 the squared error summed over the batch, so that the rate
belongs to a batch size. W ~ U(-s, s) with s = sqrt(6 / n_in), its last column (the bias) too; plain gradient descent
on shuffled batches of 100 at rate 0.01, 30 epochs. Expected on the test images: 0.998 for 1/5, 0.99 for 7/9.

`published`: W ~ U[-1, 1) from RandomState(42), batches of 4000 (7/9: 1000) without the last partial one, rate 0.001.
`published_bug`: that, with the mistake of the published code, which sends the gradient back through weights that it
has updated already. In the lab's notation samples are columns: scratch/column_view.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratch import datasets
from scratch.datasets import Dataset, DatasetError, DatasetMissing, images_from_npz
from scratch.initializers import RandomSource, zeros
from scratch.labs.lab import Folder, Lab, LabSetup, Outcome
from scratch.layers import Array, Layer, Linear, ReLU, Sigmoid
from scratch.losses import HalfSquaredErrorLoss
from scratch.network import Sequential
from scratch.optim import SGD
from scratch.plots import COLORS, TEXT, TICKS, TITLE, dress, save
from scratch.study_runs import StudyRuns
from scratch.training import BatchProgress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Digits = tuple[int, int]
PUBLISHED_BATCH = {(1, 5): 4000, (7, 9): 1000}
PUBLISHED_ACCURACY = {(1, 5): 0.9877, (7, 9): 0.9496}  # on the training images

# --- data -------------------------------------------------------------------------------------------------------------


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """All ten digits: data_dir/MNIST/raw, or the lab's own train_mnist.npz (the file, or the folder it is in).

    That file has no test images: its last sixth is kept for testing.
    """
    if data_dir is None:
        raise DatasetMissing("MNIST: no data folder was named")
    folder = Path(data_dir)
    if folder.suffix == ".npz":
        return _from_npz(folder, dtype)
    if not (folder / "MNIST" / "raw").exists() and (folder / "train_mnist.npz").is_file():
        return _from_npz(folder / "train_mnist.npz", dtype)
    return datasets.mnist(folder, dtype)


def _from_npz(path: Path, dtype: str) -> Dataset:
    images, labels = images_from_npz(path)
    x = (images.reshape(len(images), -1) / 255).astype(dtype)
    n = len(x) * 5 // 6
    if not 0 < n < len(x):
        raise DatasetError(f"{path}: found {len(x)} images, expected at least 2")
    source = f"MNIST from {path.name}, {n:,} + {len(x) - n:,} images"
    return Dataset("MNIST", x[:n], labels[:n], x[n:], labels[n:], tuple("0123456789"), (28, 28), source)


def by_own_maximum(x: Array) -> Array:
    """Every row divided by its largest entry; an empty image stays as it is."""
    top = x.max(axis=1, keepdims=True)
    return x / np.where(top > 0, top, x.dtype.type(1))


def only(digits: Digits, data: Dataset) -> Dataset:
    """The images of digits (a, b), each by its own maximum; label 0 for a, 1 for b."""
    arrays: dict[str, Any] = {}
    for split in ("train", "val"):
        x, t = getattr(data, f"x_{split}"), getattr(data, f"t_{split}")
        chosen = np.isin(t, digits)
        if not chosen.any():
            raise DatasetError(f"{data.source}: found no {digits[0]} and no {digits[1]} in {split}, expected some")
        arrays[f"x_{split}"] = by_own_maximum(x[chosen])
        arrays[f"t_{split}"] = (t[chosen] == digits[1]).astype(np.int64)
    n, m = len(arrays["x_train"]), len(arrays["x_val"])
    source = f"MNIST, digits {digits[0]} and {digits[1]}, {n:,} + {m:,} images"
    return replace(data, **arrays, name="MNIST", class_names=tuple(map(str, digits)), source=source)


# --- network ----------------------------------------------------------------------------------------------------------


def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str, *, bound: float | None = None) -> Sequential:
    """ReLU between linear layers, a sigmoid at the end. Each W, (out, in + 1) with the bias last, is drawn as one
    matrix from U(-bound, bound); bound None: sqrt(6 / n_in)."""
    layers: list[Layer] = []
    for n_in, n_out in pairwise(sizes):
        linear = Linear(n_in, n_out, rng=rng, weight_init=zeros, bias_init=zeros, dtype=dtype)
        s = np.sqrt(6 / n_in) if bound is None else bound
        W = rng.uniform(-s, s, (n_out, n_in + 1))
        linear.params["weight"][...], linear.params["bias"][...] = W[:, :-1], W[:, -1]
        layers += [linear, ReLU()]
    return Sequential(*layers[:-1], Sigmoid())


class UpdatedTooEarly(Linear):
    """The published code's mistake: dx = dy (W - lr dW), the weights after this very step's update."""

    def __init__(self, linear: Linear) -> None:
        self.__dict__.update(linear.__dict__)
        self.lr = 0.0  # the optimiser's rate, see `early_sgd`

    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        dx: Array = dy @ (self.params["weight"] - self.lr * self.grads["weight"])
        return dx


def network_with_bug(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
    """The published network with the published mistake."""
    layers = network(sizes, rng, dtype, bound=1.0)
    return Sequential(*(UpdatedTooEarly(each) if isinstance(each, Linear) else each for each in layers))


def early_sgd(network: Any, lr: float) -> SGD:
    """Gradient descent at this rate, of which the layers that update too early must know."""
    for layer in network:
        if isinstance(layer, UpdatedTooEarly):
            layer.lr = lr
    return SGD(network, lr)


def predict(network: Sequential, images: NDArray[Any], digits: Digits = (1, 5)) -> NDArray[np.int64]:
    """The digit, a or b, of each raw image (n, 28, 28), whatever the scale of its pixels. ValueError for others."""
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(f"got images {images.shape}, expected (n, 28, 28)")
    dtype = next(iter(network.params.values())).dtype
    x = by_own_maximum(images.reshape(len(images), -1).astype(dtype))
    return np.where(network.forward(x)[:, 0] > 0.5, digits[1], digits[0])


def confusion(truth: NDArray[Any], predicted: NDArray[Any], digits: Digits) -> NDArray[np.int64]:
    """Row: the true digit, column: the predicted one, in the order of `digits`."""
    return np.array([[np.sum((truth == i) & (predicted == j)) for j in digits] for i in digits])


# --- training: what is recorded of every step -------------------------------------------------------------------------


class Epoch(NamedTuple):
    """cost: the mean over the batches of a batch's cost over its size; changes: of every W the mean l2 norm of its
    change in a step."""

    cost: float
    changes: tuple[float, ...]


class Steps:
    """What `Epoch` says, epoch by epoch and backend by backend, in steps.csv of the run's folder.

    Of a resumed run the very first step is left out: the weights before it have not been seen.
    """

    def __init__(self, setup: LabSetup, folder: Path) -> None:
        self.path = folder / "steps.csv"
        self.n, self.m = len(setup.samples.x_train), setup.batch_size
        self.epochs: dict[str, list[Epoch]] = read_steps(self.path) if self.path.exists() else {}
        first = {name: p.copy() for name, p in setup.network.params.items()}
        self.before: dict[str, dict[str, Array]] = {} if self.epochs else {"scratch": first, "torch": first}
        self.cost: dict[str, float] = {}
        self.costs: dict[str, list[float]] = {}
        self.norms: dict[str, list[list[float]]] = {}

    def __call__(self, backend: str, weights: Mapping[str, Array], batch: BatchProgress) -> None:
        if batch.batch == 1 or backend not in self.cost:
            self.cost[backend], self.costs[backend], self.norms[backend] = 0.0, [], []
        rows = min(self.m, self.n - (batch.batch - 1) * self.m)
        self.costs[backend].append((batch.loss - self.cost[backend]) / rows)  # batch.loss: the epoch's sum so far
        self.cost[backend] = batch.loss
        if backend in self.before:
            self.norms[backend].append(changes(self.before[backend], weights))
        self.before[backend] = {name: p.copy() for name, p in weights.items()}
        if batch.batch == batch.batches:
            done = self.epochs.setdefault(backend, [])
            means = np.mean(self.norms[backend], axis=0) if self.norms[backend] else []
            del done[batch.epoch - 1 :]
            done.append(Epoch(float(np.mean(self.costs[backend])), tuple(map(float, means))))
            write_steps(self.path, self.epochs)


def changes(before: Mapping[str, Array], after: Mapping[str, Array]) -> list[float]:
    """||W - W before|| of every W = [weight, bias], first to last."""
    squares: dict[str, float] = {}
    for name, p in after.items():
        layer = name.rpartition(".")[0]
        d = (p - before[name]).ravel()
        squares[layer] = squares.get(layer, 0.0) + float(d @ d)
    return [float(np.sqrt(each)) for each in squares.values()]


def write_steps(path: Path, epochs: Mapping[str, list[Epoch]]) -> None:
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        width = max(len(each.changes) for rows in epochs.values() for each in rows)
        writer.writerow(("backend", "epoch", "cost", *(f"change_of_W{k}" for k in range(1, width + 1))))
        for backend, rows in epochs.items():
            writer.writerows((backend, i, each.cost, *each.changes) for i, each in enumerate(rows, 1))
    beside.replace(path)


def read_steps(path: Path) -> dict[str, list[Epoch]]:
    """What `write_steps` wrote, by backend."""
    found: dict[str, list[Epoch]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for backend, _, cost, *norms in list(csv.reader(file))[1:]:
            found.setdefault(backend, []).append(Epoch(float(cost), tuple(map(float, norms))))
    return found


# --- what is printed and drawn ----------------------------------------------------------------------------------------


def epilogue(outcome: Outcome) -> None:
    """Train and test accuracy and confusion matrix of every backend; the figures of the first."""
    setup = outcome.setup
    digits = digits_of(setup.data)
    results = {}
    for backend, learner in outcome.learners.items():
        trained = outcome_network(setup, learner.weights())
        found: dict[str, Any] = {}
        for split, x, t in (
            ("train", setup.data.x_train, setup.data.t_train),
            ("test", setup.data.x_val, setup.data.t_val),
        ):
            truth, said = np.take(digits, t), _in_digits(trained, x, digits)
            table = confusion(truth, said, digits)
            accuracy = float(np.mean(truth == said))
            found[split] = {"accuracy": accuracy, "confusion": table.tolist()}
            outcome.say(f"{backend}, {split}: accuracy {accuracy:.4f}; {_in_words(table, digits)}")
            if (table.sum(axis=0) == 0).any():
                outcome.say(f"{backend}, {split}: WARNING, one digit only is ever predicted")
        results[backend] = found
    text = json.dumps({"digits": digits, "variant": setup.lab.variant, "backends": results}, indent=2)
    (outcome.folder / "results.json").write_text(text + "\n", encoding="utf-8")
    trained = outcome_network(setup, next(iter(outcome.learners.values())).weights())
    said = _in_digits(trained, setup.data.x_val, digits)
    save(five_samples(setup.data, np.random.default_rng(setup.seed)), outcome.folder / "five_samples.png")
    save(misclassified(setup.data, said), outcome.folder / "misclassified.png")
    if (outcome.folder / "steps.csv").exists():
        steps = next(iter(read_steps(outcome.folder / "steps.csv").values()))
        save(cost_per_epoch(steps, setup.title), outcome.folder / "cost.png")
        save(weight_changes(steps, setup.sizes, setup.title), outcome.folder / "weight_changes.png")


def digits_of(data: Dataset) -> Digits:
    a, b = data.class_names
    return int(a), int(b)


def outcome_network(setup: LabSetup, weights: Mapping[str, Array]) -> Sequential:
    """The lab's network with these weights."""
    trained = network(setup.sizes, np.random.default_rng(0), setup.dtype)
    for name, p in trained.params.items():
        p[...] = weights[name]
    return trained


def _in_digits(network: Sequential, x: Array, digits: Digits) -> NDArray[np.int64]:
    return np.where(network.forward(x)[:, 0] > 0.5, digits[1], digits[0])


def _in_words(table: NDArray[np.int64], digits: Digits) -> str:
    a, b = digits
    (aa, ab), (ba, bb) = table.tolist()
    return f"true {a}: {aa} as {a}, {ab} as {b}; true {b}: {ba} as {a}, {bb} as {b}"


def five_samples(data: Dataset, rng: np.random.Generator) -> Figure:
    """Five random training images, above each its digit and its label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.5), layout="constrained")
    figure.suptitle(data.source, fontsize=TITLE)
    chosen = rng.choice(len(data.x_train), 5, replace=len(data.x_train) < 5)
    for axes, i in zip(figure.subplots(1, 5), chosen, strict=True):
        axes.imshow(data.x_train[i].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{data.class_names[data.t_train[i]]} (label {data.t_train[i]})", fontsize=TEXT)
        axes.set_axis_off()
    return figure


def misclassified(data: Dataset, said: NDArray[np.int64]) -> Figure:
    """The test images whose digit was not found, the first 20 of them, under each both digits."""
    from matplotlib.figure import Figure

    truth = np.take(digits_of(data), data.t_val)
    wrong = np.flatnonzero(said != truth)
    shown = wrong[:20]
    rows = max(1, -(-len(shown) // 5))
    figure = Figure(figsize=(12, 1.3 + 2.7 * rows), layout="constrained")
    count = f"all {len(wrong)}" if len(shown) == len(wrong) else f"the first {len(shown)} of {len(wrong)}"
    what = f"{count} misclassified test images" if len(wrong) else "no test image is misclassified"
    figure.suptitle(f"{data.source}\n{what}", fontsize=TITLE)
    grid = figure.subplots(rows, 5, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, i in zip(grid.flat, shown, strict=False):
        axes.imshow(data.x_val[i].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{truth[i]}, taken for {said[i]}", fontsize=TEXT)
    return figure


def cost_per_epoch(steps: list[Epoch], title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots()
    costs = [each.cost for each in steps]
    axes.plot(range(1, len(costs) + 1), costs, "-o", color=COLORS[0], linewidth=2.5, markersize=7)
    dress(axes, "cost per sample, mean over the batches")
    if min(costs) > 0 and max(costs) > 10 * min(costs):
        axes.set_yscale("log")
    return figure


def weight_changes(steps: list[Epoch], sizes: tuple[int, ...], title: str) -> Figure:
    """Of every W the mean l2 norm of its change in a step, epoch by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots()
    epochs = [i for i, each in enumerate(steps, 1) if each.changes]
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        norms = [each.changes[k] for each in steps if each.changes]
        label = f"$W_{k + 1}$, {n_out} x ({n_in} + 1)"
        axes.plot(epochs, norms, "-" + "osD^v"[k % 5], color=COLORS[k % 7], label=label, linewidth=2.5, markersize=7)
    dress(axes, "l2 norm of the change in a step, mean")
    if all(norm > 0 for each in steps for norm in each.changes):
        axes.set_yscale("log")
    axes.legend(fontsize=TICKS)
    return figure


# --- the lab ----------------------------------------------------------------------------------------------------------


def pair(digits: Digits) -> Lab:
    """The lab on two digits. ValueError unless they are two different ones."""
    if len(set(digits)) != 2 or not all(0 <= d <= 9 for d in digits):
        raise ValueError(f"got digits {digits}, expected two different ones from 0 to 9")
    own = Lab(
        name="digit_pair",
        load=load,
        prepare=partial(only, digits),
        network=network,
        loss=lambda: HalfSquaredErrorLoss("sum"),
        optimizer=lambda network, lr: SGD(network, lr),
        lr=0.01,
        hidden=(500, 250),
        batch_size=100,
        epochs=30,
        targets="column",
        downloads="mnist",
        epilogue=epilogue,
        follow=Steps,
    )
    published = replace(
        own,
        variant="published",
        network=partial(network, bound=1.0),
        lr=0.001,
        batch_size=PUBLISHED_BATCH.get(digits, 1000),
        drop_last=True,
        dtype="float64",
        rng=np.random.RandomState,
        seed=42,
    )
    with_bug = replace(published, variant="published_bug", network=network_with_bug, optimizer=early_sgd)
    variants = {each.variant: each for each in (published, with_bug) if each.variant}
    return replace(own, variants=variants, options={"digits": named_pair})


def named_pair(text: str) -> Lab:
    """ "1,5" -> the lab on 1 and 5."""
    parts = text.replace("-", ",").split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"got digits {text!r}, expected two, such as 1,5")
    return pair((int(parts[0]), int(parts[1])))


LAB = pair((1, 5))

# --- grid search and seeds: scratch/labs/digit_pair_search.py -------------------------------------------------------


def study(
    seeds: int,
    published: bool,
    say: Callable[[str], object],
    data: Dataset | None = None,
    runs: StudyRuns | None = None,
) -> Iterator[dict[str, Any]]:
    """What scripts/sweep.py shows."""
    from scratch.labs import digit_pair_search

    return digit_pair_search.study(seeds, published, say, data, runs)


def study_figure(rows: Sequence[Mapping[str, Any]], seeds: int, published: bool) -> Figure:
    from scratch.labs import digit_pair_search

    return digit_pair_search.study_figure(rows, published)
