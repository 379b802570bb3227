"""`sequence`: the adding problem, by an RNN, an LSTM, a GRU, or a transformer.

Of 16 numbers, one step after another, two are marked: is their sum above 1? 4,096 sequences to train on and 1,024 to
validate with are made on the fly (scratch/datasets/adding.py). One network by default, the others as variants:

    rnn           RNN 32 (ReLU) - last step - linear 2
    lstm          LSTM 32 - last step - linear 2
    gru           GRU 32 - last step - linear 2
    transformer   linear 16, two blocks of self-attention (2 heads, no bias) and linear 32 - ReLU - linear 16, each with
                  its sum around it and a LayerNorm behind that - last step - linear 2

Cross-entropy, Adam at rate 0.005, batches of 64, 20 epochs. Positions are not told to the transformer: a mark says all.

    python scripts/train.py sequence --backend both                           the LSTM
    python scripts/train.py sequence --backend both --variant transformer     one of the others
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from scratch import datasets
from scratch.add import Add
from scratch.datasets import Dataset
from scratch.graph import Graph
from scratch.gru import GRU
from scratch.initializers import RandomSource
from scratch.labs.lab import OPTIMIZERS, Folder, Lab
from scratch.last_step import LastStep
from scratch.layer_norm import LayerNorm
from scratch.layers import Layer, Linear, ReLU
from scratch.losses import CrossEntropyLoss
from scratch.lstm import LSTM
from scratch.network import Sequential
from scratch.rnn import RNN
from scratch.self_attention import SelfAttention

STEPS, BLOCKS, HEADS = 16, 2, 2


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The sequences of a stream of their own; data_dir is not used."""
    return datasets.adding(steps=STEPS, rng=np.random.default_rng([1, seed]), dtype=dtype)


def recurrent(layer: Callable[..., Layer], **options: Any) -> Callable[..., Sequential]:
    """The network of such a layer, with its options: sizes = (columns of a row, hidden states, classes)."""

    def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
        columns, hidden, classes = _expected(sizes, ("hidden states",))
        drawn: dict[str, Any] = {"rng": rng, "dtype": dtype}
        first = layer(columns // STEPS, hidden, batch_first=True, **options, **drawn)
        return Sequential(first, LastStep(), Linear(hidden, classes, **drawn))

    return network


def transformer(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
    """sizes = (columns of a row, features of a step, features inside a block's second half, classes).

    Vaswani et al., Attention Is All You Need, 2017, section 3.1: LayerNorm(x + f(x)) around either half of a block.
    """
    columns, features, inner, classes = _expected(sizes, ("features", "inner features"))
    drawn: dict[str, Any] = {"rng": rng, "dtype": dtype}
    layers: list[Layer] = [Linear(columns // STEPS, features, **drawn)]
    for _ in range(BLOCKS):
        # No bias: the keys' adds as much to every score of a row, which the softmax takes away again. Its gradient
        # would be rounding alone, of which Adam makes whole steps.
        attention = SelfAttention(features, HEADS, bias=False, **drawn)
        layers += [attention, Add(len(layers) - 1), LayerNorm(features, dtype=dtype)]
        forward = (Linear(features, inner, **drawn), ReLU(), Linear(inner, features, **drawn))
        layers += [*forward, Add(len(layers) - 1), LayerNorm(features, dtype=dtype)]
    return Graph(*layers, LastStep(), Linear(features, classes, **drawn))


def _expected(sizes: tuple[int, ...], hidden: tuple[str, ...]) -> tuple[int, ...]:
    if len(sizes) != len(hidden) + 2:
        raise ValueError(f"got hidden sizes {sizes[1:-1]}, expected {len(hidden)}: {' and '.join(hidden)}")
    return sizes


LSTM_LAB = Lab(
    name="sequence",
    load=load,
    network=recurrent(LSTM),
    loss=CrossEntropyLoss,
    optimizer=OPTIMIZERS["adam"],
    lr=5e-3,
    hidden=(32,),
    batch_size=64,
    epochs=20,
    time_steps=STEPS,
)
VARIANTS = {
    "rnn": replace(LSTM_LAB, variant="rnn", network=recurrent(RNN, nonlinearity="relu")),
    "lstm": replace(LSTM_LAB, variant="lstm"),
    "gru": replace(LSTM_LAB, variant="gru", network=recurrent(GRU)),
    "transformer": replace(LSTM_LAB, variant="transformer", network=transformer, hidden=(16, 32)),
}
LAB = replace(LSTM_LAB, variants=VARIANTS)
