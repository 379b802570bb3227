"""What lab 4's two halves, `linear` and `xor_line`, have in common: sigmoid nets trained one sample at a time.

2-256-64-1, sigmoid hidden layers, linear output, every W and b ~ N(0, 1), half the squared error. One sample is one
step, in the order of the data, at rate 0.01; at most 1000 epochs, fewer when the summed loss of two epochs differs
by less than 1e-3. A point belongs to class 1 where the output is at least 0.5.

`published`: the sigmoid's input is clipped to [-10, 10] while its derivative is not, and nothing stops the training,
as in the published code; `no_activation`: the same layers without sigmoids; `split`: 80 % of the points to train on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratch.datasets import Dataset
from scratch.history import History
from scratch.initializers import RandomSource, normal
from scratch.labs.lab import Folder, Lab, Outcome
from scratch.layers import Array, Layer, Linear, Sigmoid
from scratch.losses import HalfSquaredErrorLoss
from scratch.network import Sequential
from scratch.optim import SGD
from scratch.plots import COLORS, TEXT, TICKS, TITLE, heading, plain_numbers, save
from scratch.study_runs import StudyRuns
from scratch.training import TrainingError, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Load = Callable[[Folder, str, int], Dataset]
Settings = tuple[str | None, tuple[int, ...], float]  # variant, hidden layers, rate

CHANGE = 1e-3  # of the summed loss between two epochs; below it training ends
HIDDEN = (256, 64)

# --- network and training ---------------------------------------------------------------------------------------------


class ClippedSigmoid(Sigmoid):
    """The published sigmoid: 1 / (1 + e^-x) of x clipped to [-10, 10], with the derivative y (1 - y) everywhere.

    Outside the clip y is constant, so that its derivative is 0, but y (1 - y) = 4.5e-5 is handed back.
    """

    def forward(self, x: Array) -> Array:
        return super().forward(np.clip(x, -10, 10))


def network(
    sizes: tuple[int, ...], rng: RandomSource, dtype: str, *, activation: Callable[[], Layer] | None = Sigmoid
) -> Sequential:
    """Linear layers with W and b ~ N(0, 1), the weight first; an activation behind all but the last."""
    layers: list[Layer] = []
    for n_in, n_out in pairwise(sizes):
        layers.append(Linear(n_in, n_out, rng=rng, weight_init=normal(), bias_init=normal(), dtype=dtype))
        if activation:
            layers.append(activation())
    return Sequential(*(layers[:-1] if activation else layers))


def settled(history: History) -> bool:
    """Whether the summed loss of the last epoch differs by less than CHANGE from that of the one before it."""
    losses = history.column("train_loss")[-2:]
    return len(losses) == 2 and abs(losses[1] - losses[0]) < CHANGE


def predict(network: Sequential, x: Array) -> NDArray[np.int64]:
    """The class of each point: 1 where the output is at least 0.5."""
    return (network.forward(x)[:, 0] >= 0.5).astype(np.int64)


def split_80_20(load: Load, data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The points in a random order: four fifths to train on, the others to validate."""
    data = load(data_dir, dtype, seed)
    n = len(data.x_train)
    train, val = np.split(np.random.default_rng([2, seed]).permutation(n), [n * 4 // 5])
    x, t = data.x_train, data.t_train
    return replace(data, x_train=x[train], t_train=t[train], x_val=x[val], t_val=t[val])


def make(name: str, load: Load) -> Lab:
    """The lab on these points, with its variants."""
    own = Lab(
        name=name,
        load=load,
        network=network,
        loss=lambda: HalfSquaredErrorLoss("sum"),  # of one sample at a time; its epoch's figure is the sum over them
        optimizer=lambda network, lr: SGD(network, lr),
        lr=0.01,
        hidden=HIDDEN,
        batch_size=1,
        epochs=1000,
        targets="column",
        dtype="float64",
        shuffle=False,
        threshold=float(np.nextafter(0.5, 0)),  # above which an output is at least 0.5
        stop=settled,
        epilogue=epilogue,
    )
    variants = (
        replace(own, variant="published", network=partial(network, activation=ClippedSigmoid), stop=None),
        replace(own, variant="no_activation", network=partial(network, activation=None), lr=1e-5),
        replace(own, variant="split", load=partial(split_80_20, load)),
    )
    return replace(own, variants={each.variant: each for each in variants if each.variant})


# --- what is printed and drawn ----------------------------------------------------------------------------------------


def epilogue(outcome: Outcome) -> None:
    """Of every backend the loss and the accuracy; of the first the truth and the prediction, point by point."""
    setup = outcome.setup
    parts = ("train",) if np.array_equal(setup.data.x_train, setup.data.x_val) else ("train", "val")
    x, t = (np.concatenate([getattr(setup.data, f"{letter}_{part}") for part in parts]) for letter in "xt")
    results, outputs = {}, {}
    for backend, learner in outcome.learners.items():
        trained = setup.lab.network(setup.sizes, np.random.default_rng(0), setup.dtype)
        weights = learner.weights()
        for name, p in trained.params.items():
            p[...] = weights[name]
        outputs[backend] = trained.forward(x)[:, 0]
        last = outcome.histories[backend][-1]
        hits = (outputs[backend] >= 0.5) == t
        results[backend] = {"epochs": last.epoch, "loss": last.train_loss, "accuracy": float(hits.mean())}
        if len(parts) == 2:
            results[backend]["accuracy on new points"] = float(hits[len(setup.data.x_train) :].mean())
        found = ", ".join(f"{name} {value:.4g}" for name, value in results[backend].items())
        outcome.say(f"{backend}: {found} (loss: the sum over the points in the last training pass)")
    y = next(iter(outputs.values()))
    outcome.say(point_table(x, t, y))
    with (outcome.folder / "points.csv").open("w", newline="", encoding="utf-8") as file:
        rows = zip(*x.T.tolist(), t.tolist(), y.tolist(), (y >= 0.5).astype(int).tolist(), strict=True)
        csv.writer(file, lineterminator="\n").writerows([("x1", "x2", "truth", "output", "prediction"), *rows])
    text = json.dumps({"variant": setup.lab.variant, "backends": results}, indent=2)
    (outcome.folder / "results.json").write_text(text + "\n", encoding="utf-8")
    new = np.arange(len(x)) >= len(setup.data.x_train)
    save(truth_and_prediction(x, t, y >= 0.5, new, setup.data, setup.title), outcome.folder / "points.png")
    histories = {{"scratch": "NumPy", "torch": "PyTorch"}[name]: each for name, each in outcome.histories.items()}
    save(loss_per_epoch(histories, setup.title), outcome.folder / "loss.png")


def point_table(x: Array, t: NDArray[Any], y: Array) -> str:
    """A line a point: where it is, its class, the network's output, its prediction, and a mark where that is wrong."""
    lines = ["point      x1      x2  truth   output  prediction"]
    for i, ((x1, x2), truth, output) in enumerate(zip(x, t, y, strict=True)):
        said = int(output >= 0.5)
        mark = "" if said == truth else "  wrong"
        lines.append(f"{i:5d}  {x1:6.3f}  {x2:6.3f}  {truth:5d}  {output:7.3f}  {said:10d}{mark}")
    return "\n".join(lines)


def truth_and_prediction(
    x: Array, t: NDArray[Any], said: NDArray[Any], new: NDArray[np.bool_], data: Dataset, title: str
) -> Figure:
    """The points by their class, and beside that by the network's; points that were not trained on have a ring."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 9), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    predicted = f"prediction, {np.sum(said == t)} of {len(t)} right"
    for axes, classes, words in ((left, t, "truth"), (right, said.astype(int), predicted)):
        for k, (name, marker) in enumerate(zip(data.class_names, "os", strict=True)):
            of_class = classes == k
            axes.scatter(*x[of_class].T, s=140, marker=marker, color=COLORS[k], label=f"{k}: {name}", linewidths=0)
        axes.set_title(words, fontsize=TITLE)
        axes.set_xlabel("x", fontsize=TEXT)
        axes.tick_params(labelsize=TICKS)
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    left.set_ylabel("y", fontsize=TEXT)
    wrong = said != t
    if wrong.any():
        right.scatter(*x[wrong].T, s=330, marker="x", color="black", linewidths=2.5, label="wrong")
    if new.any():
        ring = {"marker": "o", "facecolors": "none", "edgecolors": "black", "linewidths": 1.8}
        right.scatter(*x[new].T, s=300, label="not trained on", **ring)
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=TEXT)
    return figure


def loss_per_epoch(histories: Mapping[str, History], title: str) -> Figure:
    """The sum over the points in each training pass; a wide curve under a thin one where there are two."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots()
    for (name, history), color, width in zip(histories.items(), COLORS, (7, 2.5), strict=False):
        losses = history.column("train_loss")
        alone = len(histories) == 1
        axes.plot(history.column("epoch"), losses, color=color, linewidth=2.5 if alone else width, label=name)
    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel("loss, sum over the points", fontsize=TEXT)
    axes.set_yscale("log")
    plain_numbers(axes)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=TICKS)
    return figure


# --- studies ----------------------------------------------------------------------------------------------------------

RATES = (1.0, 0.1, 0.01, 0.001, 0.0001)
DEPTHS = ((256,), (256, 64), (256, 64, 32), (256, 64, 32, 16))
WIDTHS = ((64, 64), HIDDEN, (512, 64))
RATES_WITHOUT_ACTIVATION = (0.01, 0.001, 0.0001, 1e-5)
Published = Mapping[str, Sequence[tuple[float, float]]]  # study -> (loss, accuracy), setting by setting


class Run(NamedTuple):
    """How one run ended, or `failure`, where it was not finite.

    loss: half the squared errors, summed in the last training pass, each before its update; squares: the squared
    errors summed after that pass, with weights that stay; accuracy: after it.
    """

    loss: float
    squares: float
    accuracy: float
    epochs: int
    failure: str = ""


def studies(published: bool) -> dict[str, dict[str, Settings]]:
    """Study -> setting in words -> what is run. Settings that occur twice are run once."""
    variant = "published" if published else None
    found: dict[str, dict[str, Settings]] = {
        "rate": {f"{rate:g}": (variant, HIDDEN, rate) for rate in RATES},
        "hidden layers": {"-".join(map(str, hidden)): (variant, hidden, 0.01) for hidden in DEPTHS},
    }
    if not published:
        found["width"] = {"-".join(map(str, hidden)): (None, hidden, 0.01) for hidden in WIDTHS}
        found["no activation"] = {f"rate {r:g}": ("no_activation", HIDDEN, r) for r in RATES_WITHOUT_ACTIVATION}
        found["split"] = {"all points": (None, HIDDEN, 0.01), "80/20": ("split", HIDDEN, 0.01)}
    return found


def study(
    name: str,
    load: Load,
    published: Published | None,
    seeds: int,
    say: Callable[[str], object],
    runs: StudyRuns | None = None,
) -> Iterator[dict[str, Any]]:
    """A row a setting: medians and spread over the seeds 0, 1, ..., which draw the weights and the random points.

    With `published` figures, the published variant is run, and they stand beside ours. A row comes when its runs and
    those of the rows before it are done.
    """
    settings = studies(published is not None)
    waiting = [(group, words, each) for group, rows in settings.items() for words, each in rows.items()]
    figures = {group: iter(published[group]) if published else None for group in settings}
    different = list(dict.fromkeys(each for _, _, each in waiting))
    tasks = [(name, load, each, seed) for each in different for seed in range(seeds)]
    found: dict[Settings, dict[int, Run]] = {each: {} for each in different}
    for done, (i, result) in enumerate((runs or StudyRuns()).each(run_one, tasks, in_words), 1):
        _, _, each, seed = tasks[i]
        found[each][seed] = Run(*result)
        if done % seeds == 0 or done == len(tasks):
            say(f"{name}: {done} of {len(tasks)} runs")
        while waiting and len(found[waiting[0][2]]) == seeds:
            group, words, each = waiting.pop(0)
            theirs = figures[group]
            in_order = [found[each][seed] for seed in range(seeds)]
            yield row(group, words, in_order, next(theirs) if theirs else None)


def in_words(task: tuple[str, Load, Settings, int]) -> str:
    """What a run is called among those that are kept."""
    name, _, (variant, hidden, lr), seed = task
    return f"{name} {variant or 'own'} {'-'.join(map(str, hidden))} rate {lr:g} seed {seed}"


def run_one(task: tuple[str, Load, Settings, int]) -> Run:
    """Train once; a run that is not finite says where."""
    name, load, (variant, hidden, lr), seed = task
    lab = make(name, load)
    lab = lab.variants[variant] if variant else lab
    setup = lab.set_up(lab.data(None, lab.dtype, seed), seed=seed, hidden=hidden, lr=lr)
    options: dict[str, Any] = {"batch_size": 1, "shuffle": False, "on_epoch": lab.stop}
    try:
        history = fit(
            setup.network, setup.loss, setup.optimizer, setup.samples, epochs=setup.epochs, rng=setup.rng, **options
        )
    except TrainingError as error:
        return Run(np.inf, np.inf, 0.0, 0, str(error))
    last = history[-1]
    squares = float(np.square(setup.network.forward(setup.samples.x_train) - setup.samples.t_train).sum())
    return Run(last.train_loss, squares, last.val_accuracy, len(history))


def row(group: str, words: str, runs: Sequence[Run], theirs: tuple[float, float] | None) -> dict[str, Any]:
    """Median, smallest and largest over the runs that stayed finite; how many did not, and the first of their words."""
    finite = [run for run in runs if not run.failure]
    found: dict[str, Any] = {"study": group, "settings": words, "runs": len(runs)}
    found["non-finite"] = len(runs) - len(finite)
    for name in ("loss", "squares", "accuracy", "epochs"):
        values = [getattr(run, name) for run in finite]
        spread = (np.median(values), min(values), max(values)) if values else (None, None, None)
        for word, value in zip(("", " min", " max"), spread, strict=True):
            if not (name == "epochs" and word):
                found[f"{name}{word}"] = None if value is None else float(value)
    if theirs:
        found |= {"published loss": theirs[0], "published accuracy": theirs[1]}
        found["within"] = _within(finite, theirs) or "none"
    found["note"] = next((run.failure for run in runs if run.failure), "")
    return found


def _within(runs: Sequence[Run], theirs: tuple[float, float]) -> str:
    """Which of our ranges hold the published figures, to the last digit that was printed; "" for none.

    The published loss may be our `loss` or our `squares`. Accuracies are cut off after two digits.
    """
    if not runs:
        return ""
    unit = 10.0 ** max(-2, int(np.floor(np.log10(theirs[0]))) - 2)
    ranges = {name: [getattr(run, name) for run in runs] for name in ("loss", "squares")}
    found = [name for name, values in ranges.items() if min(values) - unit <= theirs[0] <= max(values) + unit]
    accuracies = [run.accuracy for run in runs]
    if min(accuracies) - 0.01 < theirs[1] <= max(accuracies) + 1e-9:
        found.append("accuracy")
    return ", ".join(found)


def study_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """A column a study: the loss above, the accuracy below, medians with the range over the seeds.

    Two columns beside each other, and the others below them: at half its size everything can still be read.
    """
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(row["study"] for row in rows))
    parts = [part for part in (groups[:2], groups[2:]) if part]
    figure = Figure(figsize=(14, 1 + 9.5 * len(parts)), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    known: dict[str, Any] = {}
    for part, below in zip(parts, figure.subfigures(len(parts), 1, squeeze=False)[:, 0], strict=True):
        known |= _draw_studies(below, [row for row in rows if row["study"] in part], part)
    names = sorted(known, key=lambda name: ("median", "squared", "published", "not finite").index(_first(name)))
    figure.legend([known[name] for name in names], names, loc="outside lower center", ncols=2, fontsize=TEXT)
    return figure


def _first(label: str) -> str:
    return next(word for word in ("median", "squared", "published", "not finite") if label.startswith(word))


def _draw_studies(figure: SubFigure, rows: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, Any]:
    """A column a study; what the legend has to explain, by its words."""
    counts = [sum(row["study"] == group for row in rows) for group in groups]
    ratios = [max(2.5, n) for n in counts]
    grid = figure.subplots(2, len(groups), sharex="col", sharey="row", squeeze=False, width_ratios=ratios)
    for column, group in enumerate(groups):
        chosen = [row for row in rows if row["study"] == group]
        for axes, quantity in zip(grid[:, column], ("loss", "accuracy"), strict=True):
            _draw_study(axes, chosen, quantity)
        grid[0, column].set_title(f"{group}, rate" if group == "no activation" else group, fontsize=TITLE)
        labels = [row["settings"].replace("rate ", "") for row in chosen]
        for axes in grid[:, column]:
            axes.set_xticks(range(len(chosen)), labels, rotation=55, ha="right", rotation_mode="anchor")
            axes.set_xlim(-0.6, len(chosen) - 0.4)
            axes.tick_params(labelsize=TICKS)
            axes.grid(alpha=0.3, axis="y")
    grid[0, 0].set_yscale("log")
    plain_numbers(grid[0, 0])
    grid[0, 0].set_ylabel("loss, sum over the points", fontsize=TEXT)
    grid[1, 0].set_ylabel("accuracy", fontsize=TEXT)
    grid[1, 0].set_ylim(-0.08, 1.06)
    low, high = grid[0, 0].get_ylim()
    grid[0, 0].set_ylim(low, high * (high / low) ** 0.25)  # room for the crosses
    known: dict[str, Any] = {}
    for axes in grid.flat:
        known |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return known


def _draw_study(axes: Axes, rows: Sequence[Mapping[str, Any]], quantity: str) -> None:
    there = [(i, row) for i, row in enumerate(rows) if row[quantity] is not None]
    xs = [i for i, _ in there]
    median, low, high = (
        np.array([row[f"{quantity}{word}"] for _, row in there], dtype=float) for word in ("", " min", " max")
    )
    bars = np.array((median - low, high - median))
    dots: dict[str, Any] = {"fmt": "o", "color": COLORS[0], "markersize": 11, "capsize": 7, "lw": 2.5}
    axes.errorbar(xs, median, bars, label="median and range of our seeds", **dots)
    if rows and "published loss" in rows[0]:
        if quantity == "loss":  # which of the two the published loss is, is not known
            squares = [(row["squares"], row["squares min"], row["squares max"]) for _, row in there]
            middle, least, most = np.array(squares, dtype=float).T if squares else (np.array([]),) * 3
            look = dots | {"fmt": "s", "color": COLORS[2], "mfc": "white", "mew": 2.5}
            ends = np.array((middle - least, most - middle))
            axes.errorbar([i - 0.25 for i in xs], middle, ends, label="squared errors after that pass", **look)
        theirs = [row[f"published {quantity}"] for row in rows]
        offset = [i + 0.25 for i in range(len(rows))]
        axes.plot(offset, theirs, "D", color=COLORS[1], markersize=10, label="published, one seed")
    bad = [i for i, row in enumerate(rows) if row["non-finite"]]
    if bad and quantity == "loss":
        height, where = 0.93, axes.get_xaxis_transform()
        label = "not finite (how many of the runs)"
        axes.plot(bad, [height] * len(bad), "X", color=COLORS[6], markersize=14, transform=where, label=label)
        for i in bad:
            words = f"{rows[i]['non-finite']}/{rows[i]['runs']}"
            axes.text(i, height - 0.11, words, transform=where, ha="center", fontsize=TICKS)


def figure_title(name: str, source: str, seeds: int, published: bool) -> str:
    variant = "published settings" if published else "the lab's own settings"
    return f"{heading(name, source)}\n{variant}, {seeds} seeds"
