"""Lab 2, `xor`: four points, 2-4-2 with ReLU and a softmax layer, cross-entropy on its probabilities.

One-hot targets, class 0 = "exactly one input is 1". W ~ N(0, sqrt(2/n_in)) for every linear layer in order, drawn as
an (n_in, n_out) array from RandomState(1234), b = 1. Plain gradient descent at rate 0.1 on all four points, in their
order, 100 epochs: loss 0.3945, accuracy 1.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scratch import datasets
from scratch.datasets import Dataset
from scratch.initializers import Fans, RandomSource, Shape, constant, he_normal
from scratch.labs.lab import Folder, Lab
from scratch.layers import Layer, Linear, ReLU, Softmax
from scratch.losses import ProbabilityCrossEntropyLoss
from scratch.network import Sequential
from scratch.optim import SGD


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The four corners of the unit square; data_dir and seed are not used."""
    return datasets.xor(dtype)


def by_inputs(rng: RandomSource, shape: Shape, fans: Fans) -> NDArray[np.float64]:
    """he_normal drawn as the lab draws it, (n_in, n_out), and turned into (n_out, n_in)."""
    return np.ascontiguousarray(he_normal(rng, shape[::-1], fans).T)


def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
    """Linear layers with ReLU between them, and a softmax layer at the end."""
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = Linear(fan_in, fan_out, rng=rng, weight_init=by_inputs, bias_init=constant(1.0), dtype=dtype)
        layers += [linear, ReLU()]
    return Sequential(*layers[:-1], Softmax())


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
)
