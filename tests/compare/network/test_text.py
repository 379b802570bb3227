"""A network's text: what is meant by it, what is wrong with another, and that what is printed can be typed again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import compare
import scratch
from compare.exact.exact import exact_check
from compare.network.architecture import Architecture
from compare.network.penalty import Penalty
from compare.network.text import ACTIVATION_WORDS
from compare.network.torch_names import LAYER_NAMES
from compare.operations import LAYERS, LOSSES
from compare.operations.linear import Linear
from compare.operations.operation import Activation
from compare.recording.files import load_records, save_records
from compare.recording.record import Record

SHORT = "4-8-3 relu, softmax cross-entropy"

# text -> the same in the words of a report
RIGHT = {
    "Linear(4, 8), ReLU, Linear(8, 3); CrossEntropyLoss": SHORT,
    "nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3); nn.CrossEntropyLoss()": SHORT,
    "torch.nn.Linear(4, 8), ReLU(inplace=True), Linear(8, out_features=3); cross-entropy": SHORT,
    "Sequential(Linear(4, 8), ReLU(), Linear(8, 3)); CrossEntropyLoss(weight=None)": SHORT,
    "nn.Sequential(nn.Sequential(Linear(4, 8), ReLU), Linear(8, 3)); CrossEntropyLoss": SHORT,
    f"{nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU()), nn.Linear(8, 3))}; CrossEntropyLoss": SHORT,
    "Linear(4, 8),\n  ReLU(),\n  Linear(8, 3);\nMSELoss(reduction='sum')": "4-8-3 relu, mse sum",
    '4-8-3 relu, MSELoss(None, None, "sum")': "4-8-3 relu, mse sum",
    "Linear(4, 8), Linear(8, 1), Sigmoid; BCELoss": "4-8-1 linear, sigmoid output, binary cross-entropy",
    "Linear(4, 1); BCEWithLogitsLoss": "4-1, sigmoid binary cross-entropy",
    "Linear(4, 8), LeakyReLU(0.1), Linear(8, 3), Softmax(dim=-1); mse": "4-8-3 leaky_relu(0.1), softmax output, mse",
    "Linear(4, 8), GELU, Linear(8, 3), GELU('tanh'); mse": "4-8-3 gelu, gelu_tanh output, mse",
    "GELU(approximate='tanh'), Linear(4, 3), GELU('none'); mse": "GELU(approximate='tanh'), "
    "Linear(4, 3), GELU; MSELoss",
    "Linear(4, 8, False), Tanh(), Linear(8, 3, bias=False); MSELoss": "4-8-3 tanh, no bias, mse",
    "4-8-3 relu, no bias, softmax cross-entropy": "4-8-3 relu, no bias, softmax cross-entropy",
    "4-8-3 relu, cross-entropy, without bias": "4-8-3 relu, no bias, softmax cross-entropy",
    "4-3 no bias, sigmoid output, mse": "4-3, sigmoid output, no bias, mse",
    "2-8-4-1 tanh, linear, sigmoid output, mse": "2-8-4-1 tanh, linear, sigmoid output, mse",
    "4-8-3 linear, linear output, mse": "4-8-3 linear, mse",
    "4-8-3 ReLU, mse sum + .001 l2": "4-8-3 relu, mse sum + 0.001 L2",
    "4-8-3 layer_norm relu, mse": "Linear(4, 8), LayerNorm(8), ReLU, Linear(8, 3); MSELoss",
    "4-8-6-3 Batch_Norm1d ReLU, no bias, mse": "Linear(4, 8, bias=False), BatchNorm1d(8), ReLU, "
    "Linear(8, 6, bias=False), BatchNorm1d(6), ReLU, Linear(6, 3, bias=False); MSELoss",
    "4-8-6-3 batch_norm1d elu(0.5), layer_norm, batch_norm1d sigmoid output, mse": "Linear(4, 8), BatchNorm1d(8), "
    "ELU(alpha=0.5), Linear(8, 6), LayerNorm(6), Linear(6, 3), BatchNorm1d(3), Sigmoid; MSELoss",
    "4-3, layer_norm output, mse": "Linear(4, 3), LayerNorm(3); MSELoss",
    "Linear(4, 3); MSELoss + 1e-3 L1": "4-3, mse + 0.001 L1",
    "ReLU, Linear(4, 3), ReLU, Tanh; mse + 1 L2": "ReLU, Linear(4, 3), ReLU, Tanh; MSELoss + 1.0 L2",
    "Linear(4, 8, bias=False), LeakyReLU(0.2), Linear(8, 3); mse sum": "Linear(4, 8, bias=False), "
    "LeakyReLU(negative_slope=0.2), Linear(8, 3); MSELoss(reduction='sum')",
    "nn.Conv2d(1, 8, kernel_size=(3, 3), padding=(1, 1)), ReLU, MaxPool2d(2, 2), nn.Flatten(), Linear(72, 3); mse": (
        "Conv2d(1, 8, 3, padding=1), ReLU, MaxPool2d(2), Flatten, Linear(72, 3); MSELoss"
    ),
    "Conv2d(4, 8, (3, 1), 2, (1, 0), 2, 4, False), AvgPool2d((2, 3), 1, 1, count_include_pad=False), Flatten(1), "
    "Linear(72, 3); mse": "Conv2d(4, 8, (3, 1), stride=2, padding=(1, 0), dilation=2, groups=4, bias=False), "
    "AvgPool2d((2, 3), stride=1, padding=1, count_include_pad=False), Flatten, Linear(72, 3); MSELoss",
    f"{nn.Sequential(nn.Conv2d(1, 8, 3), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(72, 3))}; MSELoss": (
        "Conv2d(1, 8, 3), MaxPool2d(3, stride=2, padding=1), Flatten, Linear(72, 3); MSELoss"
    ),
    f"{nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8, bias=False), nn.LayerNorm(8, 1e-3, False))}; MSELoss": (
        "Linear(4, 8), LayerNorm(8, bias=False), LayerNorm(8, eps=0.001, elementwise_affine=False); MSELoss"
    ),
    f"{nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.BatchNorm1d(8, momentum=0.3, affine=False))}; MSELoss": (
        "Linear(4, 8), BatchNorm1d(8), BatchNorm1d(8, momentum=0.3, affine=False); MSELoss"
    ),
    "Conv2d(1, 8, 3), nn.BatchNorm2d(8, 1e-3, bias=False), Flatten, Linear(96, 3); mse": (
        "Conv2d(1, 8, 3), BatchNorm2d(8, eps=0.001, bias=False), Flatten, Linear(96, 3); MSELoss"
    ),
    "Linear(2, 8), SelfAttention(8, 2), Linear(8, 5), LastStep, Linear(5, 3); mse": (
        "Linear(2, 8), SelfAttention(8, num_heads=2), Linear(8, 5), LastStep, Linear(5, 3); MSELoss"
    ),
    "Linear(2, 8), Conv2d(1, 4, 3), Linear(6, 3), Flatten, Linear(9, 3); mse": (
        "Linear(2, 8), Conv2d(1, 4, 3), Linear(6, 3), Flatten, Linear(9, 3); MSELoss"
    ),
    "Conv2d(1, 8, 3), LayerNorm([8, 4, 3]), Flatten, Linear(96, 3); mse": (
        "Conv2d(1, 8, 3), LayerNorm((8, 4, 3)), Flatten, Linear(96, 3); MSELoss"
    ),
}

# text -> the message after the text
WRONG = {
    "Linear(4, 8), ReLU, Linear(8, 3)": "the loss is missing, expected it after a semicolon",
    "Linear(4, 8), Softmax(dim=0); MSELoss": "Softmax(dim=0): got dim=0, which is not checked, expected 1 or -1",
    "Linear(4, 8, device='cpu'); MSELoss": "Linear(4, 8, device='cpu'): got device='cpu', which is not checked",
    "Linear(4); MSELoss": "Linear(4): missing a required argument: 'out_features'",
    "Linear(4, 8, biases=True); MSELoss": "got an unexpected keyword argument 'biases'",
    "Linear(4, 8, bias=0); MSELoss": "Linear(4, 8, bias=0): got bias=0, expected True or False",
    "Linear(4, n); MSELoss": "Linear(4, n): got out_features=n, expected a whole number of at least 1",
    "Linear(4, 0); MSELoss": "Linear(4, 0): got out_features=0, expected a whole number of at least 1",
    "Linear(4, 8), LeakyReLU('a'); MSELoss": "LeakyReLU('a'): got negative_slope='a', expected a number",
    "Linear(4, 8), GELU('erf'); MSELoss": "GELU('erf'): got approximate='erf', which is not checked",
    "Linear(4, 8), Linear(9, 3); MSELoss": "layer 1, Linear(9, 3): got 9 inputs, expected 8",
    "Conv2d(1, 8, 3), ReLU, Linear(72, 3)": "the loss is missing, expected it after a semicolon",
    "Conv2d(1, 8, 3), ReLU, Linear(72, 3); MSELoss": "Linear(72, 3): got 72 inputs, expected 8 x any x any",
    "SelfAttention(8), Linear(8, 3); MSELoss": "layer 1, Linear(8, 3): got 8 inputs, expected any x 8",
    "Linear(2, 8), SelfAttention(6), LastStep; MSELoss": "SelfAttention(6): got any x 6 inputs, expected 8",
    "Conv2d(1, 8, 3), ReLU, Conv2d(4, 8, 3), Flatten, Linear(72, 3); MSELoss": (
        "layer 2, Conv2d(4, 8, 3): got 4 x any x any inputs, expected 8 x any x any"
    ),
    "Conv2d(1, 8, 3), Flatten; MSELoss": "got no Linear layer, expected at least one",
    "Conv2d(1, 8, 0), Flatten, Linear(72, 3); MSELoss": (
        "got kernel_size=0, expected a whole number of at least 1, or two in a tuple"
    ),
    "Conv2d(1, 8, 3, padding='same'), Flatten, Linear(72, 3); MSELoss": (
        "got padding='same', expected a whole number of at least 0, or two in a tuple"
    ),
    "Conv2d(1, 8, 3, padding_mode='circular'), Linear(72, 3); MSELoss": "padding_mode='circular', which is not checked",
    "Conv2d(3, 8, 3, groups=2), Flatten, Linear(72, 3); MSELoss": "expected groups that divide both",
    "MaxPool2d(2, ceil_mode=True), Flatten, Linear(72, 3); MSELoss": "got ceil_mode=True, which is not checked",
    "AvgPool2d(3, padding=2), Flatten, Linear(72, 3); MSELoss": "found padding 2, expected at most half of the windows",
    "Linear(4, 8), BatchNorm1d(7); MSELoss": "layer 1, BatchNorm1d(7): got 7 inputs, expected 8",
    "Linear(4, 8), BatchNorm2d(8); MSELoss": "layer 1, BatchNorm2d(8): got 8 x any x any inputs, expected 8",
    "Linear(4, 8), BatchNorm1d(8, momentum=None); MSELoss": "got momentum=None, expected a number",
    "Linear(4, 8), BatchNorm1d(8, track_running_stats=False); MSELoss": "got track_running_stats=False, which is not",
    "Linear(4, 8), LayerNorm(7); MSELoss": "layer 1, LayerNorm(7): got 7 inputs, expected 8",
    "Linear(4, 8), LayerNorm((8, 0)); MSELoss": (
        "got normalized_shape=(8, 0), expected a whole number of at least 1, or several in a tuple"
    ),
    "Linear(4, 8), LayerNorm(()); MSELoss": "got normalized_shape=(), expected a whole number of at least 1",
    "Linear(4, 8), LayerNorm(8, device='cpu'); MSELoss": "got device='cpu', which is not checked",
    "Flatten(2), Linear(72, 3); MSELoss": "got start_dim=2, which is not checked",
    "Linear(4 8), ReLU; MSELoss": "cannot read '4 8), ReLU', expected such as Linear(4, 8), ReLU, Linear(8, 3)",
    "Linear(4, 8)] + [ReLU; MSELoss": "cannot read 'Linear(4, 8)] + [ReLU', expected such as Linear(4, 8)",
    "Linear(4, 8), f(x)(3); MSELoss": "cannot read 'f(x)(3)', expected such as Linear(4, 8)",
    "ReLU, Tanh; MSELoss": "got no Linear layer, expected at least one, such as Linear(4, 8)",
    "Linear(4, 8), Relu; MSELoss": f"got layer 'Relu', expected one of {', '.join(LAYER_NAMES)}; the nearest is 'ReLU'",
    "Linear(4, 8); MSELoss(reduction='none')": "got reduction='none', expected 'mean' or 'sum'",
    "Linear(4, 8); CrossEntropyLoss(label_smoothing=1.1)": "got label_smoothing=1.1, expected 0 to 1",
    "Linear(4, 8); CrossEntropyLoss(ignore_index=1)": "got ignore_index=1, which is not checked",
    "Linear(4, 8); BCELoss(weight=torch.ones(8))": "got weight=torch.ones(8), which is not checked",
    "Linear(4, 8); MSELoss, MSELoss": "got 2 losses, 'MSELoss, MSELoss', expected one",
    "Linear(4, 8); MSELoss sum": "cannot read 'MSELoss sum', expected such as MSELoss(reduction='sum')",
    "Linear(4, 8); MSLoss": "got loss 'MSLoss', expected one of ",
    "4-8-3 rellu, mse": f"got activation 'rellu', expected one of {', '.join(ACTIVATION_WORDS)}; the nearest is 'relu'",
    "4-8-3 relu layer_norm, mse": "got activation 'relu layer_norm', expected one of elu, ",
    "4-8-3 layer_norm rellu, mse": "got activation 'rellu', expected one of ",
    "4-8-3 layer_norm(1) relu, mse": "got activation 'layer_norm(1) relu', expected one of ",
    "4-8-3 batch_norm2d relu, mse": "got activation 'batch_norm2d relu', expected one of ",
    "4-8-3 relu, nobias, mse": "got output activation 'nobias', expected one of ",
    "4-8-3 relu, soft-max cross-entropy": "the nearest is 'softmax cross-entropy'",
    "4-8-3 relu(1), mse": "got activation 'relu(1)', expected one of elu, ",
    "4-8-3, mse": "the activation between its layers is missing; expected one, such as relu, or linear for none",
    "4-1 sigmoid, mse": "got activation 'sigmoid', but there is no hidden layer; expected 'sigmoid output'",
    "4-8-3 no bias": "expected SIZES [ACTIVATION, ...] [, ACTIVATION output] [, no bias], LOSS [sum|mean|batchmean]",
    "4-8-3, no bias": "the loss is missing, expected SIZES",
    "4-8-3 relu; mse": "expected SIZES",
    "4-3, mse + L2": "got '+ L2' after the loss, expected one penalty, a number above 0 and L1 or L2",
    "4-3, mse + lam L2": "got '+ lam L2' after the loss",
    "4-3, mse + 0.1 L3": "got '+ 0.1 L3' after the loss",
    "4-3, mse + 0 L2": "got '+ 0 L2' after the loss",
    "4-3, mse + 1e999 L1": "got '+ 1e999 L1' after the loss",
    "4-3, mse + 0.1 L2 + 0.1 L1": "got '+ 0.1 L2 + 0.1 L1' after the loss, expected one penalty",
    "Linear(4, 3); MSELoss + 0.1": "got '+ 0.1' after the loss",
    "Linear(4, 3); MSELoss(" + "(" * 5000: "expected such as MSELoss(reduction='sum')",
    "Linear(" + "-" * 5000 + "4, 3); MSELoss": "expected such as Linear(4, 8), ReLU, Linear(8, 3)",
}


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_meant(text: str) -> None:
    read = Architecture.of(text)
    assert str(read) == RIGHT[text]
    assert Architecture.of(RIGHT[text]) == read


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"^network ") as raised:
        Architecture.of(text)
    said = str(raised.value)
    assert said.startswith(f"network {text!r}: ")
    assert WRONG[text] in said.removeprefix(f"network {text!r}: ")
    assert "\n" not in said


# --- what is printed can be typed -------------------------------------------------------------------------------------

NUMBERS = st.floats(1e-6, 1e6) | st.integers(1, 5).map(float)
ACTIVATIONS = [kind for kind in LAYERS.values() if issubclass(kind, Activation)]


@st.composite
def activations(draw: Any) -> Activation:
    kind = draw(st.sampled_from(ACTIVATIONS))
    given = [f.name for f in fields(kind) if draw(st.booleans())]
    return kind(**{name: draw(NUMBERS | NUMBERS.map(float.__neg__)) for name in given})


@st.composite
def architectures(draw: Any) -> Architecture:
    """Usual ones, with at most one activation after each layer, and any others."""
    columns = draw(st.lists(st.integers(1, 999), min_size=2, max_size=5))
    usual, bias = draw(st.booleans()), draw(st.booleans())
    layers: list[Any] = [] if usual else draw(st.lists(activations(), max_size=1))
    for fans in pairwise(columns):
        layers.append(Linear(*fans, bias=bias if usual else draw(st.booleans())))
        layers += draw(st.lists(activations(), max_size=1 if usual else 2))
    loss = draw(st.sampled_from(list(LOSSES.values())))(draw(st.sampled_from(["mean", "sum"])))
    penalty = draw(st.none() | st.builds(Penalty, NUMBERS, st.sampled_from(["L1", "L2"])))
    return Architecture(tuple(layers), loss, penalty)


@given(architectures())
def test_what_a_report_prints_can_be_typed(architecture: Architecture) -> None:
    assert Architecture.of(str(architecture)) == architecture


@given(architectures())
def test_torchs_own_print_can_be_typed(architecture: Architecture) -> None:
    modules = nn.Sequential(*(layer.to_torch(torch.float32) for layer in architecture.layers))
    read = Architecture.of(f"{modules}; {architecture.loss}")
    assert read == Architecture.of(modules, architecture.loss.to_torch())


PIECES = [
    *"(),;=-+.'\"[]{}*#:\n\\\0 ",
    "0x",
    "1_0",
    "9" * 5000,
    "if",
    "lambda",
    "\\d",
    *" ".join([*RIGHT, *WRONG]).split(),
]


def said(text: str) -> str:
    try:
        return str(Architecture.of(text))
    except ValueError as error:
        return str(error)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=12).map("".join))
@settings(max_examples=10 * settings().max_examples)
def test_of_any_other_text_one_line_is_said(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "\n" not in said(text)


# --- penalties --------------------------------------------------------------------------------------------------------


def test_a_penalty_is_read() -> None:
    assert Architecture.of("4-3, mse + 0.001 L2").penalty == Penalty(0.001, "L2")
    assert Architecture.of("4-3, mse").penalty is None


PENALISED = "4-3, mse + 0.001 L2"
X, T = np.ones((5, 4)), np.zeros((5, 3))


def ours() -> scratch.Sequential:
    return scratch.Sequential(scratch.Linear(4, 3, rng=np.random.default_rng(0), dtype="float64"))


def of_a_file(folder: Path) -> None:
    save_records([Record(Architecture.of(PENALISED), {"0.weight": np.ones((3, 4))})], folder / "r.safetensors")
    load_records(folder / "r.safetensors")


NOT_JUDGED: dict[str, Callable[[Path], Any]] = {
    "a scratch network": lambda _: compare.check(ours(), X, T, network=PENALISED),
    "with its loss": lambda _: compare.check(ours(), X, T, network=PENALISED, loss=scratch.MSELoss()),
    "a torch module": lambda _: compare.check(nn.Linear(4, 3).double(), X, T, network=PENALISED),
    "an nn.Sequential": lambda _: compare.check(nn.Sequential(nn.Linear(4, 3)).double(), X, T, network=PENALISED),
    "arrays by record name": lambda _: compare.check({"0.weight": np.ones((3, 4))}, X, T, network=PENALISED),
    "arrays under any names": lambda _: compare.check({"W": np.ones((3, 4))}, X, T, network=PENALISED),
    "a file": of_a_file,
    "the exact mode": lambda _: exact_check(PENALISED),
}


@pytest.mark.parametrize("candidate", NOT_JUDGED)
def test_a_penalty_that_cannot_be_judged_is_refused(candidate: str, tmp_path: Path) -> None:
    expected = r"'4-3, mse \+ 0.001 L2': got the penalty 0.001 L2, which only a script is judged with; leave it out$"
    with pytest.raises(ValueError, match=expected):
        NOT_JUDGED[candidate](tmp_path)


def test_a_network_whose_text_is_too_long_for_a_file_is_read_back(tmp_path: Path) -> None:
    layers = (*(Linear(2, 2, bias=k == 0) for k in range(900)),)
    network = Architecture(layers, LOSSES["mse"]())
    save_records([Record(network, {"input": np.ones((2, 2))})], tmp_path / "r.safetensors")
    assert load_records(tmp_path / "r.safetensors")[0].network == network
