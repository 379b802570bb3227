"""float32 and float64 are never mixed silently: a tensor is in the dtype of what it is computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.checking import check_records
from compare.measuring.faults import find, run
from compare.network.weights import to_torch
from compare.recording.batches import consecutive
from compare.recording.files import load_records, save_records
from compare.recording.record import Record
from compare.recording.scratch_recorder import record_scratch
from compare.report.report import Report

Array = np.ndarray
Tensors = dict[str, Any]
TEXT = "7-6-4 tanh, softmax cross-entropy"
PAIRS = [("float32", "float64"), ("float64", "float32"), ("float32", "float16"), ("float64", "float16")]


def network(dtype: str) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    return scratch.Sequential(
        scratch.Linear(7, 6, rng=rng, dtype=dtype), scratch.Tanh(), scratch.Linear(6, 4, rng=rng, dtype=dtype)
    )


def batch(dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((9, 7)).astype(dtype), rng.integers(0, 4, 9)


def recorded(dtype: str) -> list[Record]:
    net = network(dtype)
    return record_scratch(net, scratch.CrossEntropyLoss(), scratch.Adam(net, lr=0.01), consecutive(*batch(dtype), 2))


def tensors(dtype: str) -> Tensors:
    return {n: a for n, a in recorded(dtype)[0].items() if n not in ("input", "target") and ".new_" not in n}


def on_arrays(found: Tensors, dtype: str) -> Report:
    return compare.check(found, *batch(dtype), network=TEXT)


# --- one tensor in another dtype -------------------------------------------------------------------------------------

COMPUTED = ("0.output", "1.input", "1.output", "2.output", "loss", "2.grad_output", "2.grad_weight", "2.grad_bias")
COMPUTED += ("2.grad_input", "1.grad_output", "1.grad_input", "0.grad_weight", "0.grad_bias", "0.grad_input")
UPDATED = ("0.new_weight", "2.new_bias", "0.new_weight.exp_avg", "2.new_weight.exp_avg_sq")


def cast(a: Array, found: str) -> Array:
    """The same numbers, as far as the dtype holds them."""
    return np.asarray(a).astype(found)


@pytest.mark.parametrize(("own", "found"), PAIRS)
@pytest.mark.parametrize("name", COMPUTED + UPDATED)
def test_a_tensor_in_another_dtype_is_found_there(name: str, own: str, found: str) -> None:
    records = recorded(own)
    for record in records:
        record.tensors[name] = cast(record[name], found)
    row = check_records(records).first
    assert row is not None
    assert (row.step, row.tensor) == (1, name)
    assert f"{found}, expected {own}" in row.note or found != "float64"  # in a coarser one the values may be off


@pytest.mark.parametrize("own", ["float32", "float64"])
@pytest.mark.parametrize("name", COMPUTED + UPDATED)
def test_where_only_the_dtype_is_off_the_report_says_so(name: str, own: str) -> None:
    """Numbers that every format holds, so that nothing but the dtype can be wrong."""
    net, (x, _) = network(own), batch(own)
    for p in net.params.values():
        p[...] = 0
    zeros = np.zeros_like(x), np.zeros_like(x[:, :4])
    records = record_scratch(net, scratch.MSELoss(), scratch.Adam(net), [zeros])
    other = "float64" if own == "float32" else "float32"
    records[0].tensors[name] = cast(records[0][name], other)
    report = check_records(records)
    (row,) = [row for row in report.rows if row.status == "off"]
    assert (row.tensor, row.note) == (name, f"{other}, expected {own}")
    assert row.to_dict()["max_abs_diff"] is None
    (diagnosis,) = report.diagnosis
    assert diagnosis.cause == "dtype"
    words = "promotes it" if own == "float32" else "it is cast to float32, or made without the dtype"
    assert diagnosis.explanation.startswith(f"{name}: it is {other}, and all that it is computed from is {own}: ")
    assert words in diagnosis.explanation
    assert f"  {other}, expected {own}\n" in str(report)
    assert report.dtype == own


def test_a_tensor_whose_values_are_off_too_keeps_its_own_cause() -> None:
    found = tensors("float32")
    found["2.grad_weight"] = -found["2.grad_weight"].astype(np.float64)
    report = on_arrays(found, "float32")
    assert report.diagnosis[0].cause == "sign"


# --- what is no finding ----------------------------------------------------------------------------------------------

FINE: dict[str, Callable[[Tensors], Tensors]] = {
    "the loss as a Python float": lambda f: f | {"loss": float(f["loss"])},
    "integers for zeros": lambda f: f | {"0.bias": np.zeros(6, int)} if not f["0.bias"].any() else f,
    "no loss": lambda f: {n: a for n, a in f.items() if n != "loss"},
    "gradients and weights alone": lambda f: {
        n: a for n, a in f.items() if n.endswith(("weight", "bias")) or n == "2.output"
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", FINE)
def test_correct_arrays_are_in_parity(case: str, dtype: str) -> None:
    assert on_arrays(FINE[case](tensors(dtype)), dtype).verdict == "parity"


def test_inputs_in_float64_beside_float32_arrays_are_taken_as_they_are() -> None:
    """The code may have cast its data itself; what is between is absent."""
    x, t = batch("float32")
    found = FINE["gradients and weights alone"](tensors("float32"))
    assert compare.check(found, x.astype(np.float64), t, network=TEXT).verdict == "parity"


def test_a_loss_in_a_file_may_have_been_a_python_number(tmp_path: Any) -> None:
    records = recorded("float32")
    for record in records:
        record.tensors["loss"] = record["loss"].astype(np.float64)
    assert check_records(records).first.tensor == "loss"
    save_records(records, tmp_path / "r.safetensors")
    assert check_records(load_records(tmp_path / "r.safetensors")).verdict == "parity"


class PlainLoss(scratch.CrossEntropyLoss):
    """Returns a Python number."""

    def forward(self, s: Array, t: Any) -> Any:
        return float(super().forward(s, t))


class DoubleLoss(scratch.CrossEntropyLoss):
    """Returns a NumPy number in float64, which would promote what it meets."""

    def forward(self, s: Array, t: Any) -> Any:
        return np.float64(super().forward(s, t))


class DoubleGradient(scratch.Linear):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.grads["bias"] = self.grads["bias"] * np.float64(1)
        return dx


def test_what_runs_is_judged_by_what_it_returned() -> None:
    net, data = network("float32"), batch("float32")
    assert compare.check(net, *data, loss=PlainLoss()).verdict == "parity"
    row = compare.check(net, *data, loss=DoubleLoss()).first
    assert (row.tensor, row.note) == ("loss", "float64, expected float32")
    assert compare.check(network("float64"), *batch("float64"), loss=DoubleLoss()).verdict == "parity"
    net.layers[2] = DoubleGradient(6, 4, rng=np.random.default_rng(0))
    report = compare.check(net, *data, loss=PlainLoss(), optimizer=scratch.Adam(net))
    assert (report.first.step, report.first.tensor) == (1, "2.grad_bias")
    assert report.cause.endswith("an array or a NumPy number in float64 promotes it")


class Cast(nn.Linear):
    """Leaves a float32 network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).double()


def test_torch_too() -> None:
    model = to_torch(network("float32"))
    model[2] = Cast(6, 4)
    row = compare.check(model, *batch("float32"), loss=nn.CrossEntropyLoss()).first
    assert (row.tensor, row.note) == ("2.output", "float64, expected float32")


def test_a_target_in_float64_must_not_promote_the_gradient() -> None:
    x, t = batch("float32")
    rows = np.eye(4)[t]
    found = tensors("float32")
    assert compare.check(found, x, rows, network=TEXT).verdict == "parity"
    p = np.exp(found["2.output"])
    found["2.grad_output"] = (p / p.sum(axis=1, keepdims=True) - rows) / np.float32(9)
    row = compare.check(found, x, rows, network=TEXT).first
    assert (row.tensor, row.note) == ("2.grad_output", "float64, expected float32")


@pytest.mark.parametrize("name", ["float64-gradient", "float32-gradient", "float64-loss"])
def test_the_planted_ones_are_named(name: str) -> None:
    fault = find(name)
    (dtype,) = fault.dtypes
    report = run(fault, dtype)
    assert report.diagnosis[0].cause in ("dtype", "computed-in-float32")
    assert report.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_a_network_in_another_precision_is_refused(dtype: Any) -> None:
    found = {name: np.asarray(a).astype(dtype) for name, a in tensors("float64").items()}
    with pytest.raises(TypeError, match=rf"got {np.dtype(dtype)}, expected float32 or float64"):
        on_arrays(found, "float64")
