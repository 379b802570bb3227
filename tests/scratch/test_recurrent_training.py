"""Layers over time learn what only a state or a look back can: one of several numbers, told after the last one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scratch
from scratch.engine import Engine


@pytest.mark.parametrize("kind", [scratch.RNN, scratch.LSTM, scratch.GRU])
def test_the_first_number_is_remembered_to_the_end(kind: Any) -> None:
    rng = np.random.default_rng(0)
    net = scratch.Sequential(kind(1, 8, batch_first=True, rng=rng), scratch.LastStep(), scratch.Linear(8, 2, rng=rng))
    x = rng.choice([-1, 1], (200, 5, 1)).astype(np.float32)
    learner = Engine(net, scratch.CrossEntropyLoss(), scratch.Adam(net, 0.03))
    data = learner.place(x, (x[:, 0, 0] > 0).astype(int))
    for _ in range(150):
        learner.train_step(data, np.arange(200))
    assert learner.evaluate(data)[1] == 1


def test_of_words_too() -> None:
    """Whether the first of seven class numbers is even."""
    rng = np.random.default_rng(0)
    net = scratch.Sequential(
        scratch.Embedding(6, 5, rng=rng),
        scratch.GRU(5, 8, batch_first=True, rng=rng),
        scratch.LastStep(),
        scratch.Linear(8, 2, rng=rng),
    )
    x = rng.integers(0, 6, (200, 7))
    learner = Engine(net, scratch.CrossEntropyLoss(), scratch.Adam(net, 0.02))
    data = learner.place(x, x[:, 0] % 2)
    for _ in range(150):
        learner.train_step(data, np.arange(200))
    assert learner.evaluate(data)[1] == 1


def test_an_attention_finds_the_number_that_counts() -> None:
    """Whether the one large class number is even, wherever it stands."""
    rng = np.random.default_rng(0)
    net = scratch.Sequential(
        scratch.Embedding(9, 12, rng=rng),
        scratch.SelfAttention(12, 2, rng=rng),
        scratch.LastStep(),
        scratch.Linear(12, 2, rng=rng),
    )
    x = rng.integers(0, 4, (300, 7))
    at = rng.integers(0, 6, 300)
    x[np.arange(300), at] += 4
    learner = Engine(net, scratch.CrossEntropyLoss(), scratch.Adam(net, 0.02))
    data = learner.place(x, x[np.arange(300), at] % 2)
    for _ in range(100):
        learner.train_step(data, np.arange(300))
    assert learner.evaluate(data)[1] == 1


def test_a_state_that_is_not_finite_is_named() -> None:
    rng = np.random.default_rng(0)
    net = scratch.Sequential(
        scratch.RNN(2, 3, "relu", batch_first=True, rng=rng), scratch.LastStep(), scratch.Linear(3, 2, rng=rng)
    )
    net.layers[0].params["weight_hh_l0"][...] = 1e20
    learner = Engine(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1))
    data = learner.place(np.ones((4, 5, 2), np.float32), np.array([0, 1, 0, 1]))
    with pytest.raises(FloatingPointError, match=r"the output of layer 0 \(RNN 2 -> 3\) is not finite"):
        learner.train_step(data, np.arange(4))
