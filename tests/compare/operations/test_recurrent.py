"""Recurrent layers: what is refused, in one line, and bounds that are the same whatever was computed before."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from compare.operations.lstm import LSTM
from compare.operations.recurrent import PASSES
from torch_ref import recurrent

X, T = np.random.default_rng(0).standard_normal((7, 5, 3)).astype(np.float32), np.arange(7) % 4

MODULES: list[tuple[nn.Module, str]] = [
    (
        nn.RNN(3, 6, batch_first=True),
        "layer 0 (RNN) returns two things, expected torch_ref.recurrent.RNN, which returns the hidden states alone",
    ),
    (
        nn.LSTM(3, 6, batch_first=True),
        "layer 0 (LSTM) returns two things, expected torch_ref.recurrent.LSTM, which returns the hidden states alone",
    ),
    (recurrent.GRU(3, 6), "layer 0 (GRU): got batch_first=False, which is not checked; expected True"),
    (
        recurrent.RNN(3, 6, 2, batch_first=True),
        "layer 0 (RNN): got num_layers=2, which is not checked; expected 1",
    ),
    (
        recurrent.GRU(3, 6, batch_first=True, bidirectional=True),
        "layer 0 (GRU): got bidirectional=True, which is not checked; expected False",
    ),
    (
        recurrent.LSTM(3, 6, batch_first=True, proj_size=2),
        "layer 0 (LSTM): got proj_size=2, which is not checked; expected 0",
    ),
]


@pytest.mark.parametrize(("layer", "message"), MODULES, ids=lambda a: str(a)[:30])
def test_a_layer_of_torch_that_is_not_checked_is_refused(layer: nn.Module, message: str) -> None:
    model = nn.Sequential(layer, recurrent.LastStep(), nn.Linear(6, 4))
    with pytest.raises(TypeError, match=re.escape(message)):
        compare.check(model, X, T, loss=nn.CrossEntropyLoss())


def test_a_layer_of_scratch_whose_time_comes_first_is_refused() -> None:
    rng = np.random.default_rng(0)
    net = scratch.Sequential(scratch.GRU(3, 6, rng=rng), scratch.LastStep(), scratch.Linear(6, 4, rng=rng))
    with pytest.raises(TypeError, match=r"layer 0 \(GRU\): got batch_first=False, which is not checked"):
        compare.check(net, X, T, loss=scratch.CrossEntropyLoss())


TEXTS = [
    ("RNN(3, 6), LastStep, Linear(6, 4)", "RNN: got batch_first=False, expected True: samples are rows"),
    ("GRU(3, 6, 2, batch_first=True), LastStep, Linear(6, 4)", "got num_layers=2, which is not checked"),
    (
        "RNN(3, 6, nonlinearity='sin', batch_first=True), LastStep, Linear(6, 4)",
        "got nonlinearity='sin', expected 'tanh' or 'relu'",
    ),
    (
        "LSTM(3, 0, batch_first=True), LastStep, Linear(6, 4)",
        "got hidden_size=0, expected a whole number of at least 1",
    ),
    ("LSTM(3, 6, batch_first=True), LastStep, Linear(5, 4)", "layer 2, Linear(5, 4): got 5 inputs, expected 6"),
    ("LSTM(3, 6, batch_first=True), Linear(6, 4)", "layer 1, Linear(6, 4): got 6 inputs, expected any x 6"),
    ("GRU(3, 6, batch_first=True, colour=1), LastStep, Linear(6, 4)", "got an unexpected keyword argument 'colour'"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
def test_a_text_that_says_another_layer_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Architecture.of(f"{text}; CrossEntropyLoss")


@pytest.mark.parametrize("found", [{"batch_first": False}, {"input_size": 0}, {"hidden_size": "six"}])
def test_a_file_that_says_another_layer_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"LSTM: (got|found)|found the layer") as error:
        LSTM.from_dict(LSTM(3, 6, batch_first=True).to_dict() | found)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bounds_are_the_same_whether_or_not_the_pass_forward_was_kept(dtype: type) -> None:
    layer, p = LSTM(3, 6, batch_first=True), Precision.of(dtype)
    made = layer.to_scratch(rng=np.random.default_rng(1), dtype=dtype)
    arrays = [X.astype(dtype), *made.params.values()]
    dy = np.random.default_rng(2).standard_normal((7, 5, 6)).astype(dtype)
    found = []
    for forward_first in (True, False):
        PASSES.held.clear()
        if forward_first:
            layer.output(*arrays, p=p)
        found.append(layer.grad_input(*arrays, dy, p=p))
    kept, anew = found
    np.testing.assert_array_equal(kept.value, anew.value)
    np.testing.assert_array_equal(kept.allowance.likely_bound, anew.allowance.likely_bound)


def test_the_certain_bound_is_beyond_the_likely_one_and_finite_for_a_small_layer() -> None:
    layer, p = LSTM(3, 6, batch_first=True), Precision.of(np.float64)
    made = layer.to_scratch(rng=np.random.default_rng(1), dtype=np.float64)
    dy = np.random.default_rng(2).standard_normal((7, 5, 6))
    arrays = [X.astype(np.float64), *made.params.values(), dy]
    allowance = layer.grad_input(*arrays, p=p).allowance
    certain = layer._certain(arrays, p)["grad_input"].error
    assert np.isfinite(certain).all()
    assert np.median(certain) > np.median(allowance.likely_bound)


def test_torchs_layers_return_the_states_alone() -> None:
    x = torch.from_numpy(X)
    for name in ("RNN", "LSTM", "GRU"):
        ours = getattr(recurrent, name)(3, 6, batch_first=True)
        plain = getattr(nn, name)(3, 6, batch_first=True)
        plain.load_state_dict(ours.state_dict())
        assert torch.equal(ours(x), plain(x)[0])
