"""Lab 2, `spiral`: three arms of 100 points, 2-10-3 with ReLU and a softmax layer, cross-entropy on its probabilities.

Training points, then as many test points, from RandomState(1234); the weights from a second RandomState(1234), drawn
as in `xor`. Plain gradient descent on all 300 points in their order, 1000 epochs. Training and test accuracy at rate
0.2: 0.8767 and 0.8600; at rate 1: 0.9933 and 0.9833; at rate 5 every ReLU is dead within a few epochs, and the
network says the same of every point: 0.3333.

    python scripts/train.py spiral --lr 0.2      one rate, in both backends; the regions are in regions.png
    python scripts/sweep.py spiral               the three rates, over several seeds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scratch import datasets, plots
from scratch.datasets import Dataset
from scratch.history import History
from scratch.labs.lab import Folder, Lab, Outcome
from scratch.labs.xor import draw_amplitudes, draw_regions, mean_amplitudes, network
from scratch.layers import Array, ReLU
from scratch.losses import ProbabilityCrossEntropyLoss
from scratch.network import Sequential
from scratch.optim import SGD
from scratch.study_runs import StudyRuns
from scratch.training import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The points of RandomState(seed), which are float32 numbers in any dtype; data_dir is not used."""
    return datasets.spiral(rng=np.random.RandomState(seed), dtype=dtype)


def dead_units(network: Sequential, x: Array) -> int:
    """How many hidden units are 0 for every row of x: no gradient reaches their weights again."""
    dead = 0
    for layer in network:
        x = layer.forward(x)
        if isinstance(layer, ReLU):
            dead += int((x == 0).all(axis=0).sum())
    return dead


def epilogue(outcome: Outcome) -> None:
    """Accuracies, dead units, the decision regions, and how the weights grew."""
    last = next(iter(outcome.histories.values()))[-1]
    dead = dead_units(outcome.network, outcome.setup.samples.x_train)
    outcome.say(
        f"rate {outcome.setup.optimizer.lr:g}: training accuracy {last.train_accuracy:.4f}, "
        f"test accuracy {last.val_accuracy:.4f}, dead hidden units: {dead} of {sum(outcome.setup.sizes[1:-1])}"
    )
    draw_regions(outcome)
    draw_amplitudes(outcome)


# The three rates

SEEDS = 5
KNOWN = {0.2: "0.8767 0.8600", 1.0: "0.9933 0.9833", 5.0: ""}  # rate -> training and test accuracy with seed 1234


def study(
    seeds: int,
    published: bool,
    say: Callable[[str], object],
    data: object = None,
    runs: StudyRuns | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of scripts/sweep.py: the rates over seeds 1234, 1235, ..., points and weights alike.

    With `published`, over seed 1234 alone.
    """
    runs = runs or StudyRuns()
    for rate, known in KNOWN.items():
        kept = [runs.one(f"rate {rate:g} seed {s}", partial(_last, rate, s)) for s in range(LAB.seed, LAB.seed + seeds)]
        dead, train, test = zip(*(kept[:1] if published else kept), strict=True)
        yield {
            "study": "rate",
            "settings": f"rate {rate:g}",
            **_spread("train accuracy", train),
            **_spread("test accuracy", test),
            f"seed {LAB.seed}": f"{train[0]:.4f} {test[0]:.4f}",
            "known": known,
            "dead units by seed": " ".join(map(str, dead)),
        }
    say("medians and ranges over the seeds; a dead unit is 0 for every training point, and learns no more")


def _last(rate: float, seed: int) -> tuple[int, float, float]:
    """(dead hidden units, training accuracy, test accuracy) in the end."""
    dead, history = trained(rate, seed)
    return dead, history[-1].train_accuracy, history[-1].val_accuracy


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: float(np.median(values)), f"{name} min": min(values), f"{name} max": max(values)}


def trained(rate: float, seed: int = 1234) -> tuple[int, History]:
    """(dead hidden units in the end, the history) of a run in NumPy."""
    setup = LAB.set_up(LAB.data(None, "float64", seed), seed=seed, lr=rate)
    options: dict[str, Any] = {"batch_size": setup.batch_size, "shuffle": False, "evaluate_train": True}
    history = fit(
        setup.network, setup.loss, setup.optimizer, setup.samples, epochs=setup.epochs, rng=setup.rng, **options
    )
    return dead_units(setup.network, setup.samples.x_train), history


def study_figure(rows: Sequence[Mapping[str, Any]], seeds: int, published: bool) -> Figure:
    """Loss and accuracy against epochs at the three rates, seed 1234."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5), layout="constrained")
    figure.suptitle("spiral, 2-10-3, seed 1234", fontsize=plots.TITLE)
    panels = figure.subplots(1, 2)
    for k, rate in enumerate(KNOWN):
        history = trained(rate)[1]
        for split, words, line in ("train", "training", "-"), ("val", "test", "--"):
            look = {"linestyle": line, "color": plots.COLORS[k], "linewidth": 2, "label": f"rate {rate:g}, {words}"}
            for axes, quantity in zip(panels, ("loss", "accuracy"), strict=True):
                axes.plot(history.column("epoch"), history.column(f"{split}_{quantity}"), **look)
                plots.dress(axes, quantity)
    panels[0].set_yscale("log")
    panels[1].legend(fontsize=plots.TICKS, handlelength=3.2)
    return figure


LAB = Lab(
    name="spiral",
    load=load,
    network=network,
    loss=ProbabilityCrossEntropyLoss,
    optimizer=lambda network, lr: SGD(network, lr),
    lr=1.0,
    hidden=(10,),
    batch_size=300,
    epochs=1000,
    targets="one_hot",
    dtype="float64",
    shuffle=False,
    rng=np.random.RandomState,
    seed=1234,
    evaluate_train=True,
    watch=mean_amplitudes,
    epilogue=epilogue,
)
