"""Self-attention: what is refused, in one line, how a class of torch's is recorded, and which bound applies."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.checking import check_records
from compare.network.architecture import Architecture
from compare.network.tensor_name import of_torch
from compare.network.weights import from_torch, to_torch
from compare.numbers.allowance import Precision
from compare.operations.self_attention import SelfAttention
from compare.recording.batches import given_batches
from compare.recording.torch_recorder import record_torch
from torch_ref import attention
from torch_ref.recurrent import LastStep

X, T = np.random.default_rng(0).standard_normal((7, 5, 4)).astype(np.float32), np.arange(7) % 3


def model(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, LastStep(), nn.Linear(4, 3))


def test_torchs_own_layer_is_refused_since_it_returns_two_things() -> None:
    message = (
        "layer 0 (MultiheadAttention) takes three things and returns two, expected torch_ref.attention.SelfAttention"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        compare.check(model(nn.MultiheadAttention(4, 2, batch_first=True)), X, T, loss=nn.CrossEntropyLoss())


@pytest.mark.parametrize(("name", "value"), [("dropout", 0.1), ("batch_first", False), ("add_zero_attn", True)])
def test_an_option_that_is_not_checked_is_refused(name: str, value: Any) -> None:
    layer = attention.SelfAttention(4, 2)
    setattr(layer, name, value)
    with pytest.raises(TypeError, match=rf"layer 0 \(SelfAttention\): got {name}={value}, which is not checked"):
        compare.check(model(layer), X, T, loss=nn.CrossEntropyLoss())


TEXTS = [
    (
        "SelfAttention(4, 3), LastStep, Linear(4, 3)",
        "found embed_dim 4 and num_heads 3, expected numbers of at least 1",
    ),
    ("SelfAttention(0), LastStep, Linear(4, 3)", "got embed_dim=0, expected a whole number of at least 1"),
    ("SelfAttention(4, causal=2), LastStep, Linear(4, 3)", "got causal=2, expected True or False"),
    ("SelfAttention(4, dropout=0.1), LastStep, Linear(4, 3)", "got an unexpected keyword argument 'dropout'"),
    ("SelfAttention(4), Linear(4, 3)", "layer 1, Linear(4, 3): got 4 inputs, expected any x 4"),
    ("SelfAttention(4), LastStep, Linear(5, 3)", "layer 2, Linear(5, 3): got 5 inputs, expected 4"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
def test_a_text_that_says_another_layer_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Architecture.of(f"{text}; CrossEntropyLoss")


@pytest.mark.parametrize("found", [{"num_heads": 3}, {"embed_dim": 0}, {"num_heads": "two"}])
def test_a_file_that_says_another_layer_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"SelfAttention: found|found the layer") as error:
        SelfAttention.from_dict(SelfAttention(4, 2).to_dict() | found)
    assert "\n" not in str(error.value)


def test_a_layer_of_scratch_without_a_parameter_is_refused() -> None:
    rng = np.random.default_rng(0)
    layer = scratch.SelfAttention(4, rng=rng)
    del layer.params["out_proj_weight"]
    with pytest.raises(TypeError, match=r"layer 0 \(SelfAttention\): params has .*, expected .*'out_proj_weight'"):
        Architecture.of(scratch.Sequential(layer, scratch.LastStep()), scratch.MSELoss())


@pytest.mark.parametrize("bias", [True, False])
def test_a_network_goes_to_torch_and_back_with_the_same_bits(bias: bool) -> None:
    rng = np.random.default_rng(1)
    layer = scratch.SelfAttention(4, 2, bias=bias, causal=True, rng=rng, bias_init=scratch.initializers.normal())
    network = scratch.Sequential(layer, scratch.LastStep(), scratch.Linear(4, 3, rng=rng))
    there = to_torch(network)
    back = from_torch(there)
    assert {name: p.tobytes() for name, p in back.params.items()} == {n: p.tobytes() for n, p in network.params.items()}
    np.testing.assert_allclose(network.forward(X), there(torch.from_numpy(X)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_torchs_layer_is_recorded_by_names_without_dots() -> None:
    """With an optimiser whose state follows a dot."""
    net = model(attention.SelfAttention(4, 2, causal=True))
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    batches = [(X, T), (X[:3], T[:3])]
    report = check_records(record_torch(net, nn.CrossEntropyLoss(), adam, batches), given_batches(batches))
    assert (report.verdict, report.compared) == ("parity", report.total)
    assert "0.new_out_proj_weight.exp_avg" in {row.tensor for row in report.rows}


@pytest.mark.parametrize(
    ("name", "in_a_record"),
    [
        ("out_proj.weight", "out_proj_weight"),
        ("0.out_proj.bias", "0.out_proj_bias"),
        ("0.1.out_proj.bias", "0.1.out_proj_bias"),
        ("10.weight", "10.weight"),
        ("weight", "weight"),
    ],
)
def test_a_name_of_torchs_as_a_record_has_it(name: str, in_a_record: str) -> None:
    assert of_torch(name) == in_a_record


def test_torchs_layer_is_its_own_with_a_mask() -> None:
    plain = nn.MultiheadAttention(4, 2, batch_first=True)
    x, hidden = torch.from_numpy(X), torch.ones(5, 5).triu(1).bool()
    for causal in (False, True):
        ours = attention.SelfAttention(4, 2, causal=causal)
        plain.load_state_dict(ours.state_dict())
        wanted = plain(x, x, x, attn_mask=hidden if causal else None, need_weights=False)[0]
        assert torch.equal(ours(x), wanted)


def test_a_causal_layer_does_not_look_ahead() -> None:
    layer = scratch.SelfAttention(4, 2, causal=True, rng=np.random.default_rng(0))
    y, changed = layer.forward(X), X.copy()
    changed[:, 3:] += 1
    moved = layer.forward(changed)
    np.testing.assert_array_equal(moved[:, :3], y[:, :3])
    assert (moved[:, 3:] != y[:, 3:]).any()


@pytest.mark.parametrize("kind", ["output", "grad_in_proj_weight"])
def test_the_bound_that_always_holds_is_beyond_the_likely_one_where_sums_are_long(kind: str) -> None:
    layer, p = SelfAttention(24, 2), Precision.of(np.float32)
    rng = np.random.default_rng(1)
    made = layer.to_scratch(rng=rng, bias_init=scratch.initializers.normal())
    x, dy = rng.standard_normal((2, 4, 30, 24)).astype(np.float32)
    arrays = [x, *made.params.values(), *([dy] if kind != "output" else [])]
    allowance = getattr(layer, kind)(*arrays, p=p).allowance
    certain = allowance.certain()  # type: ignore[attr-defined]
    assert np.isfinite(certain).all()
    assert (certain > allowance.sharp).all()
    assert allowance.sums_well()


def test_sums_of_equal_terms_are_held_to_the_bound_that_always_holds() -> None:
    """Of equal terms each sum rounds the same way, more and more."""
    layer, p = SelfAttention(1), Precision.of(np.float32)
    x = np.full((1, 20_000 // 100, 1), 1 / 3, np.float32).repeat(100, axis=0)
    weights = [np.full(shape, 0.7, np.float32) for shape in layer.parameters().values()]
    dy = np.full_like(x, 1 / 3)
    allowance = layer.grad_out_proj_bias(x, *weights, dy, p=p).allowance
    assert not allowance.sums_well()
    in_turn = np.add.accumulate(dy.ravel())[-1]
    assert np.abs(in_turn - dy.astype(np.float64).sum()) <= allowance.bound()[0]
    assert allowance.sharp is not None
    assert np.abs(in_turn - dy.astype(np.float64).sum()) > allowance.sharp[0]
