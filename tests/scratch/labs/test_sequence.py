"""`sequence`: its four networks and its sequences, both sides in parity, and what they learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compare import check_parity
from compare.network.weights import to_torch
from compare.recording.batches import lab_batches
from compare.training.runs import Runs, train_both
from scratch.datasets import adding, xor
from scratch.labs import LabSetup, lab, sequence
from scratch.self_attention import SelfAttention

VARIANTS = tuple(sequence.VARIANTS)
BLOCK = "SelfAttention(16, num_heads=2, bias=False, dtype=float32), Add({}), LayerNorm(16, dtype=float32), "
FORWARD = (
    "Linear(16, 32, dtype=float32), ReLU(), Linear(32, 16, dtype=float32), Add({}), LayerNorm(16, dtype=float32), "
)
NETWORKS = {
    "rnn": "Sequential(RNN(2, 32, nonlinearity='relu', batch_first=True, dtype=float32), LastStep(), "
    "Linear(32, 2, dtype=float32))",
    "lstm": "Sequential(LSTM(2, 32, batch_first=True, dtype=float32), LastStep(), Linear(32, 2, dtype=float32))",
    "gru": "Sequential(GRU(2, 32, batch_first=True, dtype=float32), LastStep(), Linear(32, 2, dtype=float32))",
    "transformer": "Graph(Linear(2, 16, dtype=float32), "
    + "".join((BLOCK.format(0), FORWARD.format(3), BLOCK.format(8), FORWARD.format(11)))
    + "LastStep(), Linear(16, 2, dtype=float32))",
}


def set_up(variant: str, dtype: str = "float64", **options: Any) -> LabSetup:
    """The lab on its own sequences."""
    chosen = lab("sequence").variants[variant]
    return chosen.set_up(chosen.data(None, dtype, 0), **options)


def run_both(setup: LabSetup, epochs: int) -> Runs:
    parts = {"loss": setup.loss, "optimizer": setup.optimizer, "learner": setup.learner(), "rng": setup.rng}
    given = {**parts, "batch_size": setup.batch_size}
    return train_both(setup.network, to_torch(setup.network), setup.samples, epochs=epochs, **given)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_networks_are_the_labs(variant: str) -> None:
    assert repr(set_up(variant, "float32").network) == NETWORKS[variant]


def test_without_a_variant_it_is_the_lstm() -> None:
    own, lstm = lab("sequence"), lab("sequence").variants["lstm"]
    assert replace(own, variants={}) == replace(lstm, variant=None)


def test_rows_become_sequences_of_the_same_memory() -> None:
    setup = set_up("gru")
    x = setup.samples.x_train
    assert x.shape == (4096, 16, 2)
    np.testing.assert_array_equal(x[5, 3], setup.data.x_train[5, 6:8])
    assert np.shares_memory(x, setup.data.x_train)
    assert setup.title.splitlines()[1] == "16x2-32-2, float64, seed 0, gru"


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        ("rnn", {"hidden": (8, 16)}, r"got hidden sizes \(8, 16\), expected 1: hidden states"),
        ("transformer", {"hidden": (8,)}, r"got hidden sizes \(8,\), expected 2: features and inner features"),
        ("transformer", {"hidden": (7, 8)}, "got embed_dim=7, num_heads=2"),
    ],
)
def test_other_sizes_are_one_line(variant: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_up(variant, **options)


def test_rows_that_are_no_such_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="got xor, rows of 2, expected sequences of 16 steps"):
        lab("sequence").set_up(xor())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_both_sides_are_in_parity(variant: str, dtype: str) -> None:
    setup = set_up(variant, dtype)
    batches = lab_batches(setup.samples.x_train, setup.samples.t_train, 16)
    report = check_parity(setup.network, setup.loss, setup.optimizer, batches)
    assert (report.verdict, report.reference.verdict) == ("parity", "parity")
    assert report.compared == report.total


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_sides_lie_together_in_float64(variant: str) -> None:
    chosen = lab("sequence").variants[variant]
    runs = run_both(chosen.set_up(adding(512, 128, rng=np.random.default_rng(0), dtype=np.float64)), 2)
    assert runs.scratch[-1].val_accuracy == runs.torch[-1].val_accuracy
    assert runs.weight_differences[-1].largest < 1e-10


def test_a_transformer_learns_more_than_one_marked_number_tells() -> None:
    """One alone tells three quarters."""
    runs = run_both(set_up("transformer", "float32"), 3)
    assert min(runs.scratch[-1].val_accuracy, runs.torch[-1].val_accuracy) > 0.9


def test_a_bias_of_the_keys_has_a_gradient_of_rounding_alone() -> None:
    rng = np.random.default_rng(0)
    layer = SelfAttention(16, 2, rng=rng, dtype=np.float64)
    y = layer.forward(rng.standard_normal((64, 16, 16)))
    layer.backward(rng.standard_normal(y.shape))
    q, k, v = np.abs(layer.grads["in_proj_bias"]).reshape(3, 16).max(axis=1)
    assert k < 1e-13 < 0.1 < min(q, v)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_learns_more_than_one_marked_number_tells(variant: str) -> None:
    runs = run_both(set_up(variant, "float32"), 20)
    assert min(runs.scratch[-1].val_accuracy, runs.torch[-1].val_accuracy) > 0.85
