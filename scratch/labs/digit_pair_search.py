"""Lab 3's search: the settings of `digit_pair` over a grid, chosen on a validation split, and its runs over seeds.

The test images never enter a choice: `grid_search` is not handed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scratch.datasets import Dataset, DatasetMissing
from scratch.labs.digit_pair import PUBLISHED_ACCURACY, Digits, digits_of, network, pair
from scratch.layers import Array
from scratch.losses import HalfSquaredErrorLoss
from scratch.optim import SGD
from scratch.plots import COLORS, TEXT, TICKS, TITLE, plain_numbers
from scratch.study_runs import StudyRuns
from scratch.training import TrainingError, fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID: dict[str, tuple[Any, ...]] = {
    "hidden": ((100,), (500, 250)),
    "batch_size": (50, 100, 200),
    "lr": (0.003, 0.01, 0.03),
    "epochs": (5, 10, 20),
}
# (training, test accuracy, share of the test images taken for the second digit), or why there are none
Accuracies = Sequence[float] | str
SHARE = 0.2  # of the training images, kept for validation


@dataclass(frozen=True)
class Split:
    """A part to train on and a part to choose settings by; both from the training images."""

    x_train: Array
    t_train: Array
    x_val: Array
    t_val: Array


def validation_split(x: Array, t: Array, rng: np.random.Generator, share: float = SHARE) -> Split:
    """The rows in a random order: the last `share` of them for validation, the others for training."""
    order = rng.permutation(len(x))
    rest, kept = np.split(order, [len(x) - round(share * len(x))])
    return Split(x[rest], t[rest], x[kept], t[kept])


class Tried(NamedTuple):
    """Settings, and the validation accuracy at every epoch up to the largest of the grid; or why there is none."""

    hidden: tuple[int, ...]
    batch_size: int
    lr: float
    accuracies: tuple[float, ...]
    failure: str = ""


def grid_search(
    x: Array,
    t: Array,
    *,
    grid: Mapping[str, tuple[Any, ...]] = GRID,
    seed: int = 0,
    workers: int | None = None,
    tried: Callable[[int, int], object] | None = None,
    kept: StudyRuns | None = None,
) -> list[dict[str, Any]]:
    """The grid's settings, best first, by accuracy on a validation split of (x (n, 784), t (n,) of 0 and 1).

    Test images cannot enter: they are not handed in. A run to the largest number of epochs answers for all smaller
    ones, since it passes through them. Equal accuracies keep the grid's order, smaller networks first.
    tried(i, n) is called when i of the n runs are done; those that are `kept` are not done again.
    """
    split = validation_split(x, t[:, np.newaxis].astype(x.dtype), np.random.default_rng(seed))
    tasks = list(product(grid["hidden"], grid["batch_size"], grid["lr"]))
    runs: list[Tried | None] = [None] * len(tasks)
    last = max(grid["epochs"])
    kept, shared = kept or StudyRuns(), (split, last, seed)

    def words(task: tuple[tuple[int, ...], int, float]) -> str:
        hidden, batch_size, lr = task
        return f"grid {'-'.join(map(str, hidden))} batch {batch_size} rate {lr:g} epochs {last} seed {seed}"

    for done, (i, result) in enumerate(kept.each(_try, tasks, words, shared=shared, workers=workers), 1):
        runs[i] = Tried(*result)
        if tried:
            tried(done, len(tasks))
    rows = [_grid_row(run, epochs) for run in runs if run for epochs in grid["epochs"]]
    return sorted(rows, key=lambda row: -row["validation accuracy"])


def _try(task: tuple[tuple[int, ...], int, float], split: Split, epochs: int, seed: int) -> Tried:
    hidden, batch_size, lr = task
    rng = np.random.default_rng(seed)
    net = network((split.x_train.shape[1], *hidden, 1), rng, split.x_train.dtype.name)
    loss, optimizer = HalfSquaredErrorLoss("sum"), SGD(net, lr)
    try:
        history = fit(net, loss, optimizer, split, epochs=epochs, rng=rng, batch_size=batch_size)
    except TrainingError as error:
        return Tried(hidden, batch_size, lr, (), str(error))
    return Tried(hidden, batch_size, lr, tuple(history.column("val_accuracy")))


def _grid_row(run: Tried, epochs: int) -> dict[str, Any]:
    return {
        "study": "grid",
        "hidden": "-".join(map(str, run.hidden)),
        "batch size": run.batch_size,
        "rate": run.lr,
        "epochs": epochs,
        "validation accuracy": run.accuracies[epochs - 1] if run.accuracies else 0.0,
        "note": run.failure,
    }


def study(
    seeds: int,
    published: bool,
    say: Callable[[str], object],
    data: Dataset | None = None,
    runs: StudyRuns | None = None,
) -> Iterator[dict[str, Any]]:
    """What scripts/sweep.py shows: the grid, best first, then the lab's own settings over several seeds; or, if
    `published`, the published settings over seeds 42, 43, ..., without and with the published mistake."""
    if data is None:
        raise DatasetMissing("digit_pair: no data was handed in, expected the images of two digits")
    runs = runs or StudyRuns()
    digits = digits_of(data)
    words = f"{digits[0]} and {digits[1]}"
    if not published:

        def tried(i: int, n: int) -> None:
            say(f"grid search, run {i} of {n}")

        rows = grid_search(data.x_train, data.t_train, tried=tried, kept=runs)
        best = ", ".join(f"{name} {rows[0][name]}" for name in ("hidden", "batch size", "rate", "epochs"))
        say(f"best on the validation split: {best}, accuracy {rows[0]['validation accuracy']:.4f}")
        yield from ({"digits": words} | row for row in rows)
    names = ("published", "published_bug") if published else (None,)
    start = 42 if published else 0
    tasks = [(digits, name, seed) for name in names for seed in range(start, start + seeds)]
    found: dict[str | None, dict[int, Accuracies]] = {name: {} for name in names}
    waiting = list(names)
    theirs = {"published train accuracy": PUBLISHED_ACCURACY.get(digits)} if published else {}
    if published:
        data = data.astype("float64")
    for done, (i, result) in enumerate(runs.each(_accuracies, tasks, in_words, shared=(data,)), 1):
        _, name, seed = tasks[i]
        found[name][seed] = result
        say(f"seeds, run {done} of {len(tasks)}")
        while waiting and len(found[waiting[0]]) == seeds:
            name = waiting.pop(0)
            results = [found[name][seed] for seed in range(start, start + seeds)]
            for row in seed_rows(name or "defaults", results, start):
                yield {"digits": words} | row | {key: value for key, value in theirs.items() if value}


def in_words(task: tuple[Digits, str | None, int]) -> str:
    """What a run is called among those that are kept."""
    (a, b), name, seed = task
    return f"digits {a},{b} {name or 'defaults'} seed {seed}"


def study_figure(rows: Sequence[Mapping[str, Any]], published: bool) -> Figure:
    """The grid's validation errors, a panel for each network and number of epochs; or every seed's errors."""
    return _seeds_figure(rows) if published else _grid_figure([row for row in rows if "rate" in row])


def _grid_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 10), layout="constrained")
    title = f"MNIST, digits {rows[0]['digits']}: grid search, error on a validation split of the training images"
    figure.suptitle(title, fontsize=TITLE)
    rates = sorted({row["rate"] for row in rows})
    hidden, epochs, batches = (list(dict.fromkeys(sorted((row[k] for row in rows), key=_size))) for k in KEYS)
    grid = figure.subplots(len(hidden), len(epochs), sharex=True, sharey=True, squeeze=False)
    for (i, h), (j, e) in product(enumerate(hidden), enumerate(epochs)):
        axes = grid[i, j]
        for k, batch in enumerate(batches):
            chosen = [row for row in rows if tuple(row[key] for key in KEYS) == (h, e, batch)]
            chosen.sort(key=lambda row: row["rate"])
            errors = [100 * (1 - row["validation accuracy"]) for row in chosen]
            line = axes.plot([row["rate"] for row in chosen], errors, "-" + "osD^v"[k % 5], label=f"batch {batch}")[0]
            line.set(color=COLORS[k % 7], linewidth=2.5, markersize=9)
        axes.set_title(f"hidden {h}, {e} epochs", fontsize=TEXT)
        axes.set_xscale("log")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.set_xlim(rates[0] / 1.6, rates[-1] * 1.6)
        axes.tick_params(labelsize=TICKS)
        axes.grid(alpha=0.3)
    for axes in grid[-1]:
        axes.set_xlabel("rate", fontsize=TEXT)
    figure.supylabel("error, %", fontsize=TEXT)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=TEXT)
    return figure


KEYS = ("hidden", "epochs", "batch size")


def _size(value: int | str) -> tuple[int, ...]:
    return tuple(map(int, str(value).split("-")))


def _seeds_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["study"] for row in rows))
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    title = f"MNIST, digits {rows[0]['digits']}: the published settings\nevery seed, and their median (bar)"
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots()
    for k, split in enumerate(("train", "test")):
        for i, name in enumerate(names):
            chosen = [row for row in rows if row["study"] == name]
            values = [_error(row[f"{split} accuracy"]) for row in chosen if row["settings"] != "median"]
            x = i + 0.3 * k - 0.15
            spread = x + np.linspace(-0.06, 0.06, len(values))
            label = f"{'training' if k == 0 else 'test'} images" if i == 0 else None
            axes.plot(spread, values, "os"[k], color=COLORS[k], markersize=11, alpha=0.8, label=label)
            median = _error(next(row[f"{split} accuracy"] for row in chosen if row["settings"] == "median"))
            axes.plot((x - 0.12, x + 0.12), (median, median), color="black", linewidth=3)
    axes.set_xticks(range(len(names)), [NAMES.get(name, name) for name in names], fontsize=TEXT)
    axes.set_ylabel("error, %", fontsize=TEXT)
    errors = [_error(row[f"{split} accuracy"]) for row in rows for split in ("train", "test")]
    if max(errors) > 5 * min(errors):  # a seed that learns nothing leaves room for the others
        axes.set_yscale("log")
        plain_numbers(axes)
    axes.tick_params(labelsize=TICKS)
    axes.grid(alpha=0.3, axis="y", which="both")
    theirs = rows[0].get("published train accuracy")
    if theirs:
        label = "published, training images"
        axes.axhline(_error(theirs), linestyle="--", color=COLORS[0], linewidth=2.5, label=label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=TICKS)
    return figure


def _error(accuracy: float) -> float:
    """In percent."""
    return 100 * (1 - accuracy)


NAMES = {"published": "right gradient", "published_bug": "through updated weights"}


def _accuracies(task: tuple[Digits, str | None, int], data: Dataset) -> Accuracies:
    """How one run ended."""
    digits, name, seed = task
    chosen = pair(digits).variants[name] if name else pair(digits)
    setup = chosen.set_up(data, seed=seed)
    options: dict[str, Any] = {"batch_size": setup.batch_size, "drop_last": chosen.drop_last}
    try:
        fit(setup.network, setup.loss, setup.optimizer, setup.samples, epochs=setup.epochs, rng=setup.rng, **options)
    except TrainingError as error:
        return str(error)
    train, test = (setup.network.forward(x)[:, 0] > 0.5 for x in (data.x_train, data.x_val))
    return float(np.mean(train == data.t_train)), float(np.mean(test == data.t_val)), float(test.mean())


def seed_rows(name: str, results: Sequence[Accuracies], start: int) -> Iterator[dict[str, Any]]:
    """A row a seed, then their median; a run that failed counts as accuracy 0."""
    accuracies = [(0.0, 0.0) if isinstance(each, str) else each[:2] for each in results]
    for i, (each, (train, test)) in enumerate(zip(results, accuracies, strict=True)):
        note = each if isinstance(each, str) else "predicts one digit only" if each[2] in (0.0, 1.0) else ""
        settings = {"study": name, "settings": f"seed {start + i}"}
        yield {**settings, "train accuracy": train, "test accuracy": test, "note": note}
    train, test = map(float, np.median(accuracies, axis=0))
    yield {"study": name, "settings": "median", "train accuracy": train, "test accuracy": test, "note": ""}
