"""Lab 2, `xor`: four points, 2-4-2 with ReLU and a softmax layer, cross-entropy on its probabilities.

One-hot targets, class 0 = "exactly one input is 1". W ~ N(0, sqrt(2/n_in)) for every linear layer in order, drawn as
an (n_in, n_out) array from RandomState(1234), b = 1. Plain gradient descent at rate 0.1 on all four points, in their
order, 100 epochs: loss 0.3945, accuracy 1.

`spiral` and `mnist`, the lab's other two networks, are built of the same layers in the same way.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scratch import datasets, plots
from scratch.datasets import Dataset
from scratch.initializers import Fans, RandomSource, Shape, constant, he_normal
from scratch.labs.lab import Folder, Lab, Outcome
from scratch.layers import Array, Layer, Linear, ReLU, Softmax
from scratch.losses import ProbabilityCrossEntropyLoss
from scratch.network import Sequential
from scratch.optim import SGD


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The four corners of the unit square; data_dir and seed are not used."""
    return datasets.xor(dtype)


def by_inputs(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """he_normal drawn as the lab draws it, (n_in, n_out), and turned into (n_out, n_in)."""
    return np.ascontiguousarray(he_normal(rng, shape[::-1], fans).T)


def layers(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> list[Layer]:
    """Linear layers with ReLU between them; the last one's outputs are the logits."""
    found: list[Layer] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = Linear(fan_in, fan_out, rng=rng, weight_init=by_inputs, bias_init=constant(1.0), dtype=dtype)
        found += [linear, ReLU()]
    return found[:-1]


def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
    """The layers, and a softmax layer that turns the logits into probabilities."""
    return Sequential(*layers(sizes, rng, dtype), Softmax())


def mean_amplitudes(weights: dict[str, Array]) -> dict[str, float]:
    """The mean |W| of every linear layer."""
    return {name: float(np.abs(w).mean()) for name, w in weights.items() if name.endswith("weight")}


def epilogue(outcome: Outcome) -> None:
    """The four points with their probabilities; the regions between them; how the weights grew."""
    samples, trained = outcome.setup.samples, outcome.network
    names = outcome.setup.data.class_names
    for x, p in zip(samples.x_train, trained.forward(samples.x_train), strict=True):
        outcome.say(f"({x[0]:.0f}, {x[1]:.0f}): {p[0]:.4f} and {p[1]:.4f}, so {names[p.argmax()]}")
    draw_regions(outcome)
    draw_amplitudes(outcome)


def draw_regions(outcome: Outcome) -> None:
    """regions.png: which class the trained network says where, with the samples of each split."""
    samples = outcome.setup.samples
    splits = {"training": (samples.x_train, samples.t_train)}
    if not np.array_equal(samples.x_train, samples.x_val):
        splits["test"] = (samples.x_val, samples.t_val)
    title = f"{outcome.setup.title}, rate {outcome.setup.optimizer.lr:g}"
    figure = plots.decision_regions(outcome.network.forward, splits, outcome.setup.data.class_names, title)
    plots.save(figure, outcome.folder / "regions.png")


def draw_amplitudes(outcome: Outcome) -> None:
    """amplitudes.png: the mean |W| of every linear layer, relative to its start, against epochs."""
    history = next(iter(outcome.histories.values()))
    linear = {f"{i}.weight": f"layer {i}: {layer}" for i, layer in enumerate(outcome.setup.network) if layer.params}
    curves = {words: [each[name] for each in history.watched] for name, words in linear.items()}
    figure = plots.relative_amplitudes(curves, "mean |W|, relative to its start", outcome.setup.title)
    plots.save(figure, outcome.folder / "amplitudes.png")


LAB = Lab(
    name="xor",
    load=load,
    network=network,
    loss=ProbabilityCrossEntropyLoss,
    optimizer=lambda network, lr: SGD(network, lr),
    lr=0.1,
    hidden=(4,),
    batch_size=4,
    epochs=100,
    targets="one_hot",
    dtype="float64",
    shuffle=False,
    rng=np.random.RandomState,
    seed=1234,
    evaluate_train=True,
    watch=mean_amplitudes,
    epilogue=epilogue,
)
