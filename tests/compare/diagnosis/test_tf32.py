"""TF32 is named where it was on and is the cause; nothing else is blamed on it. Without a GPU, rounding makes it."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scratch
from compare.check import check_parity
from compare.checking import check_records
from compare.diagnosis.tf32 import cut_off, to_nearest
from compare.recording.batches import given_batches
from compare.recording.files import load_records, save_records
from compare.recording.record import Record
from compare.recording.scratch_recorder import record_scratch
from compare.report.report import Report
from torch_ref.tf32 import set_tf32, tf32_is_on

Rounding = Callable[[Any], Any]
ROUNDINGS = [to_nearest, cut_off]


class RoundedLinear(scratch.Linear):
    """What a device does with TF32 on: rounds the operands of all three products, and adds in float32."""

    rounding: Rounding = staticmethod(to_nearest)

    def forward(self, x: Any) -> Any:
        self._kept = x
        r = self.rounding
        return r(x) @ r(self.params["weight"]).T + self.params["bias"]

    def backward(self, dy: Any) -> Any:
        r = self.rounding
        self.grads["weight"], self.grads["bias"] = r(dy).T @ r(self.kept), dy.sum(axis=0)
        return r(dy) @ r(self.params["weight"])


def records(
    rounding: Rounding | None,
    sizes: tuple[int, ...] = (40, 24, 7),
    *,
    on: bool = True,
    seed: int = 0,
    fault: Callable[[Any], None] | None = None,
) -> list[Record]:
    """Three steps of a network whose layers round so."""
    rng, layers = np.random.default_rng(seed), []
    for n, m in pairwise(sizes):
        linear = RoundedLinear(n, m, rng=rng)
        linear.rounding = rounding or (lambda a: a)
        layers += [linear, scratch.ReLU()]
    network = scratch.Sequential(*layers[:-1])
    if fault:
        fault(network)
    x, t = rng.standard_normal((3, 16, sizes[0])).astype(np.float32), rng.integers(0, sizes[-1], (3, 16))
    batches = list(zip(x, t, strict=True))
    plain = scratch.optim.AdamW(network)
    found = record_scratch(network, scratch.CrossEntropyLoss(), plain, batches)
    return [replace(record, tf32=on) for record in found]


def report(found: list[Record]) -> Report:
    return check_records(found)


@pytest.mark.parametrize(
    ("number", "nearest", "cut"),
    [
        (1.0, 1.0, 1.0),
        (1 + 2**-10, 1 + 2**-10, 1 + 2**-10),
        (1 + 2**-11, 1.0, 1.0),  # a tie, to even
        (1 + 3 * 2**-11, 1 + 2**-9, 1 + 2**-10),  # a tie, to even
        (1 + 2**-11 + 2**-23, 1 + 2**-10, 1.0),
        (-(2 - 2**-23), -2.0, -(2 - 2**-10)),
        (0.0, 0.0, 0.0),
        (np.inf, np.inf, np.inf),
    ],
)
def test_the_rounding_keeps_10_bits(number: float, nearest: float, cut: float) -> None:
    a = np.array([number], np.float32)
    assert to_nearest(a)[0] == np.float32(nearest)
    assert cut_off(a)[0] == np.float32(cut)


@pytest.mark.parametrize("sizes", [(40, 24, 7), (5, 4), (784, 64, 32, 10)])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_products_of_rounded_operands_are_named(rounding: Rounding, sizes: tuple[int, ...]) -> None:
    found = report(records(rounding, sizes))
    assert found.verdict == "mismatch"
    assert found.first is not None
    assert found.first.tensor == "0.output"
    assert [d.cause for d in found.diagnosis] == ["tf32"]
    assert found.diagnosis[0].confidence == 0.95
    assert "TF32 was on" in found.diagnosis[0].explanation
    assert "it is the product of the rounded operands" in found.diagnosis[0].explanation
    assert "does not explain" not in found.diagnosis[0].explanation


def test_products_rounded_in_another_way_are_named_with_less_confidence() -> None:
    """Away from zero: neither of the two ways, but no further off than TF32 may be."""

    def away(a: Any) -> Any:
        return (cut_off(a) * np.float32(1 + 2**-10)).astype(np.float32)

    best = report(records(away)).diagnosis[0]
    assert (best.cause, best.confidence) == ("tf32", 0.8)


def test_where_it_was_off_it_is_not_blamed() -> None:
    assert "tf32" not in [d.cause for d in report(records(to_nearest, on=False)).diagnosis]


def test_plain_float32_with_it_on_is_parity() -> None:
    found = report(records(None))
    assert found.verdict == "parity"
    assert found.diagnosis == []


def forgets_the_bias(network: Any) -> None:
    network.layers[0].forward = lambda x: RoundedLinear.forward(network.layers[0], x) - network.layers[0].params["bias"]


def halves_a_gradient(network: Any) -> None:
    last = network.layers[-1]

    def backward(dy: Any) -> Any:
        dx = RoundedLinear.backward(last, dy)
        last.grads["weight"] /= 2
        return dx

    last.backward = backward


@pytest.mark.parametrize("rounding", [None, to_nearest])
def test_a_mistake_larger_than_the_rounding_is_not_blamed_on_it(rounding: Rounding | None) -> None:
    found = report(records(rounding, fault=forgets_the_bias))
    assert found.first is not None
    assert found.first.tensor == "0.output"
    assert "tf32" not in [d.cause for d in found.diagnosis]


def test_a_small_mistake_that_is_known_comes_first_where_nothing_was_rounded() -> None:
    def scales(network: Any) -> None:
        first = network.layers[0]
        first.forward = lambda x: RoundedLinear.forward(first, x) * np.float32(1 + 1e-4)

    found = report(records(None, fault=scales)).diagnosis
    assert found[0].cause == "factor"
    assert "1.0001" in found[0].explanation
    assert (found[1].cause, found[1].confidence) == ("tf32", 0.8)


def test_what_it_does_not_explain_is_said_beside_it() -> None:
    best = report(records(to_nearest, fault=halves_a_gradient)).diagnosis[0]
    assert best.cause == "tf32"
    assert "It does not explain 2.grad_weight: check again with TF32 off" in best.explanation


def test_a_record_remembers_that_it_was_on(tmp_path: Path) -> None:
    for on in (True, False):
        save_records(records(to_nearest, on=on), tmp_path / "r.safetensors")
        loaded = load_records(tmp_path / "r.safetensors")
        assert [each.tf32 for each in loaded] == [on] * 3
        assert (report(loaded).diagnosis[0].cause == "tf32") is on


def case() -> tuple[scratch.Sequential, list[Any]]:
    rng = np.random.default_rng(0)
    network = scratch.Sequential(
        scratch.Linear(784, 256, rng=rng), scratch.ReLU(), scratch.Linear(256, 10, rng=rng)
    )
    x, t = rng.random((2, 64, 784), np.float32), rng.integers(0, 10, (2, 64))
    return network, list(zip(x, t, strict=True))


def test_on_the_cpu_a_record_never_says_that_it_was_on() -> None:
    network, batches = case()
    before = tf32_is_on()
    set_tf32(True)
    try:
        found = check_parity(network, scratch.CrossEntropyLoss(), scratch.optim.AdamW(network), batches)
    finally:
        set_tf32(before)
    assert found.verdict == "parity"
    assert found.reference is not None
    assert found.reference.verdict == "parity"


def test_where_pytorch_alone_is_off_the_report_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the first screen and in the JSON, though NumPy's own run is in parity."""

    def rounded(*_: Any) -> list[Record]:
        ours, batches = case()
        for layer in ours:
            if isinstance(layer, scratch.Linear):
                layer.__class__ = RoundedLinear
        return [replace(record, tf32=True) for record in record_scratch(ours, loss, None, batches)]

    loss = scratch.CrossEntropyLoss()
    monkeypatch.setattr(importlib.import_module("compare.check"), "record_torch", rounded)
    network, batches = case()
    found = check_parity(network, loss, None, batches)
    assert found.verdict == "parity"
    assert "PyTorch's cause: tf32: 0.output: TF32 was on" in found.text()
    assert found.to_dict()["reference"]["diagnosis"][0]["cause"] == "tf32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("on", [False, True])
def test_on_a_device_it_is_named_when_it_is_on(on: bool) -> None:
    if on and torch.cuda.get_device_capability()[0] < 8:
        pytest.skip("this CUDA device has no TF32")
    network, batches = case()
    set_tf32(on)
    try:
        found = check_parity(network, scratch.CrossEntropyLoss(), None, batches, device="cuda").reference
    finally:
        set_tf32(False)
    assert found is not None
    assert found.verdict == ("mismatch" if on else "parity")
    assert [d.cause for d in found.diagnosis] == (["tf32"] if on else [])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_check_on_a_device_that_is_not_there_is_one_clear_line() -> None:
    network, batches = case()
    with pytest.raises(ValueError, match="device is cuda, but this PyTorch finds no CUDA device"):
        check_parity(network, scratch.CrossEntropyLoss(), None, batches, device="cuda")


def test_the_given_arrays_are_still_compared() -> None:
    found = records(to_nearest)
    x, t = found[0]["input"], found[0]["target"]
    assert check_records(found[:1], given_batches([(x, t)])).diagnosis[0].cause == "tf32"
