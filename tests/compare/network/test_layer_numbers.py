"""The numbers of layers: those of a Sequential inside a Sequential are counted in line, on either side."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.check import check_parity
from compare.checking import check_records
from compare.exact.exact import exact_check
from compare.network.weights import copy_from_torch, copy_to_torch, from_torch, to_torch, verify_same_bits
from compare.recording.batches import consecutive
from compare.recording.files import load_records, save_records
from compare.recording.scratch_recorder import record_scratch

Array = np.ndarray
DTYPES = ["float32", "float64"]
OPTIMIZERS = [scratch.SGD, scratch.Adam, scratch.AdamW]
NAMES = ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]


def flat(dtype: str = "float32") -> scratch.Sequential:
    rng = np.random.default_rng(1)
    linear = [scratch.Linear(a, b, rng=rng, dtype=dtype) for a, b in ((7, 6), (6, 5), (5, 4))]
    return scratch.Sequential(linear[0], scratch.Tanh(), linear[1], scratch.ReLU(), linear[2])


def nested(dtype: str = "float32") -> scratch.Sequential:
    """The same layers in boxes: ((0, 1), ((2), 3), 4)."""
    a, b, c, d, e = flat(dtype).layers
    return scratch.Sequential(scratch.Sequential(a, b), scratch.Sequential(scratch.Sequential(c), d), e)


def boxed() -> nn.Sequential:
    a, b, c, d, e = to_torch(flat())
    return nn.Sequential(a, nn.Sequential(b, c), nn.Sequential(nn.Sequential(nn.Sequential(d)), e))


def batch(dtype: str = "float32") -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((9, 7)).astype(dtype), rng.integers(0, 4, 9)


def optimizer(kind: Any, net: scratch.Sequential) -> scratch.Optimizer:
    made: scratch.Optimizer = kind(net, 0.01, **({"momentum": 0.9} if kind is scratch.SGD else {}))
    return made


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_scratch_and_both_sides_are_in_parity(kind: Any, dtype: str) -> None:
    net, (x, t) = nested(dtype), batch(dtype)
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss(), optimizer=optimizer(kind, net))
    assert report.verdict == "parity"
    assert report.compared == report.total
    both = check_parity(net, scratch.CrossEntropyLoss(), optimizer(kind, net), consecutive(x, t, 3))
    assert (both.verdict, both.reference.verdict) == ("parity", "parity")
    assert "4.new_weight" in both.end_to_end


def test_the_record_is_that_of_the_flat_network_bit_for_bit(tmp_path: Any) -> None:
    found = []
    for net in (flat(), nested()):
        records = record_scratch(
            net, scratch.CrossEntropyLoss(), optimizer(scratch.Adam, net), consecutive(*batch(), 2)
        )
        found.append([{name: a.tobytes() for name, a in record.items()} for record in records])
    assert found[0] == found[1]
    assert [list(each) for each in found[0]] == [list(each) for each in found[1]]
    save_records(records, tmp_path / "r.safetensors")
    assert check_records(load_records(tmp_path / "r.safetensors", records[0].network)).verdict == "parity"


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_torch_is_in_parity(kind: Any) -> None:
    model = boxed()
    report = compare.check(model, *batch(), loss=nn.CrossEntropyLoss(), optimizer=kind(model.parameters(), lr=0.01))
    assert report.verdict == "parity"
    assert report.compared == report.total


class Twice(scratch.Linear):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.grads["weight"] = 2 * self.grads["weight"]
        return dx


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_a_mistake_in_a_box_is_named_by_its_place_in_line() -> None:
    net, model = nested(), boxed()
    box: Any = net.layers[1]
    box.layers[0].layers[0] = Twice(6, 5, rng=np.random.default_rng(3))
    model[1][1] = Doubled(6, 5)
    for candidate, loss, tensor in (
        (net, scratch.CrossEntropyLoss(), "2.grad_weight"),
        (model, nn.CrossEntropyLoss(), "2.output"),
    ):
        report = compare.check(candidate, *batch(), loss=loss)
        assert (report.verdict, report.first.tensor, report.first.layer) == ("mismatch", tensor, "2")


def test_weights_cross_over_whatever_the_boxes() -> None:
    for network in (flat(), nested()):
        model = to_torch(network)
        verify_same_bits(network, model)
        verify_same_bits(nested(), model)
        verify_same_bits(network, boxed())
        back = from_torch(model)
        assert [p.tobytes() for p in back.params.values()] == [p.tobytes() for p in network.params.values()]
    assert list(to_torch(nested()).state_dict()) == list(nested().params)
    model, network = boxed(), nested()
    for p in network.params.values():
        p += 1
    copy_to_torch(network, model)
    verify_same_bits(network, model)
    other = flat()
    copy_from_torch(model, other)
    verify_same_bits(other, model)
    other.params["2.weight"][1, 2] += 1
    with pytest.raises(ValueError, match=r"2\.weight\[1, 2\]: got "):
        verify_same_bits(other, model)
    with pytest.raises(ValueError, match=r"the model has parameters \['0.weight', '0.bias'\], expected \['0.weight',"):
        copy_to_torch(network, to_torch(scratch.Sequential(*flat().layers[:2])))


def test_the_exact_mode_and_a_copy_of_the_network_are_unharmed() -> None:
    net = nested()
    before = {name: p.tobytes() for name, p in copy.deepcopy(net).params.items()}
    relu = scratch.Sequential(scratch.Sequential(net.layers[0].layers[0]), scratch.ReLU())  # type: ignore[attr-defined]
    assert exact_check(relu, scratch.HalfSquaredErrorLoss(), steps=1).verdict == "parity"
    assert {name: p.tobytes() for name, p in net.params.items()} == before
