"""The check itself: what it must find, what it must not accept in silence, and the report's JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.check import assert_parity
from compare.checking import check_records
from compare.judging.verdict import Row
from compare.measuring.random_case import random_case
from compare.network.architecture import Architecture
from compare.network.weights import to_torch
from compare.recording.batches import consecutive, given_batches
from compare.recording.files import load_records, save_records
from compare.recording.record import Record
from compare.recording.scratch_recorder import record_scratch
from compare.recording.torch_recorder import record_torch
from compare.report.report import Report

Array = np.ndarray
Tensors = dict[str, Array]
DTYPES = [np.float32, np.float64]
TEXT = "7-6-4 tanh, softmax cross-entropy"


def network(dtype: type = np.float32, square: bool = False) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    n = 7 if square else 6
    return scratch.Sequential(
        scratch.Linear(7, n, rng=rng, dtype=dtype), scratch.Tanh(), scratch.Linear(n, 4, rng=rng, dtype=dtype)
    )


def batch(dtype: type = np.float32) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((9, 7)).astype(dtype), rng.integers(0, 4, 9)


def recorded(dtype: type = np.float32, square: bool = False) -> list[Record]:
    net, (x, t) = network(dtype, square), batch(dtype)
    optimizer = scratch.Adam(net, lr=0.01)
    return record_scratch(net, scratch.CrossEntropyLoss(), optimizer, consecutive(x, t, 3))


def tensors(dtype: type = np.float32) -> Tensors:
    """One correct step, without input and target."""
    found = dict(record_scratch(network(dtype), scratch.CrossEntropyLoss(), None, [batch(dtype)])[0])
    return {name: a for name, a in found.items() if name not in ("input", "target")}


def on_arrays(found: Tensors, dtype: type = np.float32, text: str = TEXT) -> Report:
    return compare.check(found, *batch(dtype), network=text)


# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [None, scratch.SGD, scratch.Adam, scratch.AdamW])
def test_a_correct_network_is_in_parity_with_every_tensor_compared(kind: Any, dtype: type) -> None:
    net, (x, t) = network(dtype), batch(dtype)
    before = {name: p.tobytes() for name, p in net.params.items()}
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss(), optimizer=kind(net, lr=0.01) if kind else None)
    assert report.verdict == "parity"
    assert report.compared == report.total > 0
    assert report.coverage == f"{report.total} of {report.total} tensors compared"
    assert {row.status for row in report.rows} == {"ok"}
    assert {row.step for row in report.rows} == ({1, 2, 3} if kind else {1})
    assert report.dtype == np.dtype(dtype).name
    assert {name: p.tobytes() for name, p in net.params.items()} == before
    assert_parity(net, x, t, loss=scratch.CrossEntropyLoss())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_torch_network_and_bare_arrays_are_checked_alike(dtype: type) -> None:
    net, (x, t) = network(dtype), batch(dtype)
    assert compare.check(to_torch(net), x, t, loss=nn.CrossEntropyLoss()).verdict == "parity"
    assert on_arrays(tensors(dtype), dtype).verdict == "parity"
    assert compare.check(net, x, t, network=TEXT).verdict == "parity"


def test_records_survive_their_file(tmp_path: Any) -> None:
    records = recorded()
    save_records(records, tmp_path / "record.safetensors")
    loaded = load_records(tmp_path / "record.safetensors")
    assert check_records(loaded).verdict == "parity"
    assert [dict(r).keys() for r in loaded] == [dict(r).keys() for r in records]


# --- weights as given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "2.weight"])
@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_one_ulp_in_one_weight_is_a_mismatch_naming_layer_and_tensor(side: str, name: str, dtype: type) -> None:
    net, (x, t) = network(dtype), batch(dtype)
    batches = consecutive(x, t, 1)
    given = given_batches(batches) | {key: p.copy() for key, p in net.params.items()}
    index = (2, 3)[: net.params[name].ndim]
    net.params[name][index] = np.nextafter(net.params[name][index], dtype(np.inf))
    if side == "scratch":
        records = record_scratch(net, scratch.CrossEntropyLoss(), None, batches)
    else:
        records = record_torch(to_torch(net), nn.CrossEntropyLoss(), None, batches)
    report = check_records(records, given)
    assert report.verdict == "mismatch"
    assert (report.first.layer, report.first.tensor, report.first.check) == (name[0], name, "wiring")
    assert (report.first.kind, report.first.index, report.first.wrong) == ("parameter", index, 1)
    assert [row.tensor for row in report.rows if row.status == "off"] == [name]
    assert name in str(report)


@pytest.mark.parametrize("step", [2, 3])
def test_weights_that_change_between_steps_are_found(step: int) -> None:
    records = recorded()
    weight = records[step - 1].tensors["2.weight"]
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(9))
    row = check_records(records).first
    assert (row.step, row.tensor, row.check) == (step, "2.weight", "wiring")


@pytest.mark.parametrize("name", ["input", "target"])
def test_data_that_is_not_what_was_given_is_found(name: str) -> None:
    records, (x, t) = recorded(), batch()
    records[0].tensors[name] = records[0].tensors[name][::-1].copy()
    row = check_records(records, given_batches(consecutive(x, t, 3))).first
    assert (row.tensor, row.check) == (name, "wiring")


# --- faults in one tensor --------------------------------------------------------------------------------------------

FACTORS: dict[str, Callable[[Array], Array]] = {
    "twice": lambda a: 2 * a,
    "negated": lambda a: -a,
    "zero": lambda a: 0 * a,
    "a ten-thousandth more": lambda a: (a * 1.0001).astype(a.dtype),
    "one NaN": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.nan, a).astype(a.dtype),
    "one infinity": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.inf, a).astype(a.dtype),
    "all NaN": lambda a: np.full_like(a, np.nan),
}
COMPUTED = ("0.output", "1.output", "2.output", "loss", "2.grad_output", "2.grad_weight", "2.grad_bias")
COMPUTED += ("2.grad_input", "1.grad_input", "0.grad_weight", "0.grad_bias", "0.grad_input")


@pytest.mark.parametrize("fault", FACTORS)
@pytest.mark.parametrize("name", COMPUTED)
def test_a_fault_in_a_tensor_is_found_there(name: str, fault: str) -> None:
    found = tensors()
    found[name] = np.asarray(FACTORS[fault](found[name]))
    report = on_arrays(found)
    assert report.verdict == "mismatch"
    assert report.first.tensor == name


@pytest.mark.parametrize("name", ["0.new_weight", "2.new_bias.exp_avg", "0.new_bias.exp_avg_sq"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_fault_in_an_update_is_found_there(name: str, step: int) -> None:
    records = recorded()
    records[step - 1].tensors[name] = (records[step - 1].tensors[name] * 1.001).astype(np.float32)
    row = check_records(records).first
    assert (row.step, row.tensor, row.check) == (step, name, "update")


def test_a_stale_gradient_is_found_in_the_second_step() -> None:
    records = recorded()
    records[1].tensors["2.grad_weight"] = records[0].tensors["2.grad_weight"]
    row = check_records(records).first
    assert (row.step, row.tensor, row.check) == (2, "2.grad_weight", "isolated")


# --- shapes and names ------------------------------------------------------------------------------------------------


def test_a_transposed_square_weight_is_found() -> None:
    found = dict(recorded(square=True)[0])
    found["0.weight"] = found["0.weight"].T.copy()
    report = check_records([Record(Architecture.of("7-7-4 tanh, softmax cross-entropy"), found)])
    assert report.verdict == "mismatch"
    assert report.first.tensor == "0.output"


RESHAPED: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda a: a.T.copy(),
    "one more axis": lambda a: a[None],
    "one number": lambda a: a.ravel()[0].reshape(()),
    "first row": lambda a: a[:1],
    "flat": lambda a: a.ravel(),
}


@pytest.mark.parametrize("how", RESHAPED)
@pytest.mark.parametrize("name", ["0.grad_weight", "2.grad_weight", "2.output", "1.grad_input", "0.output"])
def test_a_tensor_of_another_shape_is_a_mismatch(name: str, how: str) -> None:
    found = tensors()
    a = found[name]
    found[name] = RESHAPED[how](a)
    report = on_arrays(found)
    assert report.verdict == "mismatch"
    assert report.first.tensor == name
    assert f"shape {found[name].shape}, expected {a.shape}" in report.first.note


@pytest.mark.parametrize("name", ["0.bias", "2.grad_bias", "loss"])
def test_a_row_is_not_a_vector_nor_a_vector_a_number(name: str) -> None:
    found = tensors()
    found[name] = found[name][None]
    assert on_arrays(found).verdict != "parity"


@pytest.mark.parametrize("how", RESHAPED)
def test_a_weight_of_another_shape_is_never_agreement(how: str) -> None:
    found = tensors()
    found["0.weight"] = RESHAPED[how](found["0.weight"])
    report = on_arrays(found)
    assert report.verdict != "parity"
    assert "0.weight has shape" in report.text(verbose=True)


def test_a_constant_in_place_of_a_gradient_is_not_broadcast() -> None:
    net, (x, t) = network(), batch()
    net.params["0.weight"][:] = 0  # with equal rows of dW, one row would pass by broadcasting
    net.params["2.weight"][:] = 0
    found = dict(record_scratch(net, scratch.CrossEntropyLoss(), None, [(x, t)])[0])
    assert not found["0.grad_weight"].any()
    found["0.grad_weight"] = np.zeros((), np.float32)
    report = compare.check(found, x, t, network=TEXT)
    assert report.verdict == "mismatch"
    assert report.first.tensor == "0.grad_weight"
    assert "shape (), expected (6, 7)" in report.first.note


@pytest.mark.parametrize("name", ["2.output", "0.grad_weight", "0.grad_bias", "2.grad_bias"])
def test_without_an_output_or_a_gradient_the_check_is_incomplete(name: str) -> None:
    found = tensors()
    del found[name]
    report = on_arrays(found)
    assert report.verdict == "incomplete"
    assert f"not handed in: {name}" in report.coverage
    assert report.compared == report.total - 1
    with pytest.raises(AssertionError, match="INCOMPLETE"):
        assert_parity(found, *batch(), network=TEXT)


@pytest.mark.parametrize("name", ["0.output", "1.output", "loss", "2.grad_output", "1.grad_input", "0.grad_input"])
def test_without_a_tensor_between_it_is_still_parity(name: str) -> None:
    found = tensors()
    del found[name]
    report = on_arrays(found)
    assert report.verdict == "parity"
    assert name in report.coverage


def test_nothing_at_all_is_incomplete() -> None:
    assert on_arrays({}).verdict == "incomplete"


@pytest.mark.parametrize("name", ["0.wieght", "1.weight", "3.output", "grad_weight", "0.weight.exp_avgg", "0.new_bais"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{name}: no such tensor in 7-6-4 tanh, softmax cross-entropy; expected one of"
    ):
        on_arrays(tensors() | {name: np.zeros(3, np.float32)})


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: compare.check(object(), *batch()),
        TypeError,
        "got object, expected a network, an object with forward and backward",
    ),
    (lambda: compare.check({}, *batch()), ValueError, "the loss is missing"),
    (lambda: compare.check(network(), *batch()), TypeError, "got loss NoneType, expected a scratch loss"),
    (lambda: compare.check({}, *batch(), network="7-6-4, mse"), ValueError, "the activation between its layers"),
    (lambda: compare.check({}, *batch(), network="7-0-4 relu, mse"), ValueError, "got a size of 0"),
    (lambda: compare.check({}, *batch(), network="7-6-4 relu, focal"), ValueError, "got loss 'focal', expected one of"),
    (
        lambda: compare.check({}, *batch(), network="7-6-4 leaky relu, mse"),
        ValueError,
        "got activation 'leaky relu', expected one of elu, ",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_what_cannot_be_checked_is_refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_the_mean_squared_error_has_two_names() -> None:
    assert Architecture.of("7-6-4 relu, mean squared error") == Architecture.of("7-6-4 relu, mse")


@pytest.mark.parametrize(
    ("found", "expected", "digits"),
    [(1.5, 2.5, 9), (1.524194141, 1.524194142, 10), (0.1, 0.1 + 1e-16, 16), (1.0, 1.0, 17)],
)
def test_as_many_digits_as_two_numbers_need_to_differ(found: float, expected: float, digits: int) -> None:
    place = (1, "0", "output", "0.output", (1,), "isolated")
    row = Row(*place, 0.0, (0,), 1.0, 2.0, "off", found=found, expected=expected)
    assert row.digits == digits


# --- side effects ----------------------------------------------------------------------------------------------------


class OverwritesX(scratch.Tanh):
    """Its backward computes in the array that forward was given."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return super().forward(x)

    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.x[...] = dx
        return dx


class OverwritesDy(scratch.Tanh):
    """Its backward computes in its argument."""

    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        dy[...] = dx
        return dx


class OverwritesY(scratch.Tanh):
    """Keeps what it returned, and computes in it."""

    def forward(self, x: Array) -> Array:
        self._kept = np.tanh(x)
        return self._kept

    def backward(self, dy: Array) -> Array:
        y = self.kept
        dx = dy * (1 - y * y)
        y *= y
        return dx


class OverwritesWeights(scratch.Linear):
    """Updates itself in backward."""

    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.params["weight"] -= np.float32(0.1) * self.grads["weight"]
        return dx


def with_layer(layer: scratch.Layer) -> scratch.Sequential:
    net = network()
    net.layers[1] = layer
    return net


@pytest.mark.parametrize(
    ("net", "tensor"),
    [
        (with_layer(OverwritesX()), "0.output"),
        (with_layer(OverwritesDy()), "1.grad_output"),
        (with_layer(OverwritesY()), "1.output"),
        (scratch.Sequential(OverwritesWeights(7, 4, rng=np.random.default_rng(1))), "0.weight"),
    ],
    ids=["x", "dy", "y", "weights"],
)
def test_a_backward_that_overwrites_is_found(net: scratch.Sequential, tensor: str) -> None:
    report = compare.check(net, *batch(), loss=scratch.CrossEntropyLoss())
    assert report.verdict == "mismatch"
    found = {row.tensor for row in report.rows if row.check == "side_effects" and row.status == "off"}
    assert tensor in found


# --- partial records -------------------------------------------------------------------------------------------------


def weights_and_gradients(record: Record) -> Tensors:
    """What most foreign code shows."""
    names = record.network.parameters()
    wanted = {"input", "target", *names, *(f"{n.partition('.')[0]}.grad_{n.partition('.')[2]}" for n in names)}
    return {name: a for name, a in record.items() if name in wanted}


def shown(seed: int, dtype: type, small: bool) -> Record:
    """A correct step of a random network, of which only weights, gradients and the output are shown."""
    sizes = {"layers": 4, "width": 40, "batch": 50, "log_scale": 1.0} if small else {}
    case = random_case(seed, dtype, **sizes)
    record = record_scratch(case.network, case.loss, None, [(case.x, case.t)])[0]
    return Record(record.network, weights_and_gradients(record))


def spanning_alarms(seeds: range, dtype: type, small: bool) -> list[str]:
    found = []
    for seed in seeds:
        report = check_records([shown(seed, dtype, small)])
        if report.verdict == "mismatch":
            row = report.first
            found.append(
                f"seed {seed}: {report.network}, batch {report.batch}: {row.tensor} {row.ratio:.3g} {row.note}"
            )
    return found


@pytest.mark.parametrize("seeds", [range(25), pytest.param(range(25, 460), marks=pytest.mark.many)], ids=str)
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_partial_records_of_correct_runs_raise_no_alarm(dtype: type, small: bool, seeds: range) -> None:
    found = spanning_alarms(seeds, dtype, small)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [scratch.ReLU, scratch.Sigmoid, scratch.Tanh])
def test_partial_records_of_deep_networks_raise_no_alarm(activation: type[scratch.Layer], dtype: type) -> None:
    found = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        sizes = [12, 40, 30, 20, 15, 5]
        layers = [scratch.Linear(a, b, rng=rng, dtype=dtype) for a, b in pairwise(sizes)]
        net = scratch.Sequential(*[each for layer in layers for each in (layer, activation())][:-1])
        x, t = rng.standard_normal((64, 12)).astype(dtype), rng.integers(0, 5, 64)
        record = record_scratch(net, scratch.CrossEntropyLoss(), None, [(x, t)])[0]
        report = check_records([Record(record.network, weights_and_gradients(record))])
        if report.verdict == "mismatch":
            found.append(f"seed {seed}: {report.first}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", ["twice", "negated", "zero", "a ten-thousandth more", "one NaN"])
@pytest.mark.parametrize("name", ["0.grad_weight", "0.grad_bias", "2.grad_weight", "2.grad_bias"])
def test_faults_in_partial_records_are_found(name: str, fault: str, dtype: type) -> None:
    record = record_scratch(network(dtype), scratch.CrossEntropyLoss(), None, [batch(dtype)])[0]
    found = weights_and_gradients(record)
    found[name] = FACTORS[fault](found[name])
    report = check_records([Record(record.network, found)])
    assert report.verdict == "mismatch"
    assert (report.first.tensor, report.first.check) == (name, "spanning")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", ["tanh' forgotten", "softmax off", "no 1/m", "batch of the step before"])
def test_faults_in_the_code_between_are_found(fault: str, dtype: type) -> None:
    """Backward by hand with one line wrong; only the gradients are shown."""
    net, (x, t) = network(dtype), batch(dtype)
    y = net.forward(x)
    h, p = np.tanh(x @ net.params["0.weight"].T + net.params["0.bias"]), np.exp(y)
    p /= p.sum(axis=1, keepdims=True) if fault != "softmax off" else p.max(axis=1, keepdims=True)
    ds = (p - np.eye(4, dtype=dtype)[t]) / (1 if fault == "no 1/m" else len(x))
    dh = ds @ net.params["2.weight"]
    dz = dh if fault == "tanh' forgotten" else dh * (1 - h * h)
    x0 = x[::-1] if fault == "batch of the step before" else x
    found = {name: p for name, p in net.params.items()} | {
        "2.output": y,
        "2.grad_weight": ds.T @ h,
        "2.grad_bias": ds.sum(axis=0),
        "0.grad_weight": dz.T @ x0,
        "0.grad_bias": dz.sum(axis=0),
    }
    assert all(a.dtype == dtype for a in found.values())
    report = compare.check(found, x, t, network=TEXT)
    assert report.verdict == "mismatch"
    at_loss = fault in ("softmax off", "no 1/m")
    assert report.first.tensor.startswith("2." if at_loss else "0.")


# --- the report ------------------------------------------------------------------------------------------------------

ROW_KEYS = ["step", "layer", "kind", "tensor", "shape", "check", "max_abs_diff", "index", "allowed", "ratio", "status"]
KEYS = {"verdict", "dtype", "first_divergence", "diagnosis", "rows", "coverage", "environment"}


def faulty_report() -> Report:
    found = tensors()
    found["0.grad_weight"] = np.full_like(found["0.grad_weight"], np.nan)
    del found["loss"]
    return on_arrays(found)


def test_json_has_the_schema(tmp_path: Any) -> None:
    for report in (on_arrays(tensors()), faulty_report()):
        report.to_json(tmp_path / "r.json")
        found = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
        assert found.keys() >= KEYS
        assert found["verdict"] == report.verdict
        assert found["dtype"] == "float32"
        assert found["coverage"] == {"compared": report.compared, "total": report.total}
        for row in found["rows"]:
            assert [key for key in row if key != "note"] == ROW_KEYS
            assert row["layer"].isdigit() or row["layer"] == "loss"
            assert row["kind"] in ("input", "output", "parameter", "gradient", "loss", "update")
            assert row["check"] in ("isolated", "wiring", "spanning", "side_effects", "update")
            assert row["status"] in ("ok", "off", "not checked")
            assert isinstance(row["shape"], list)
            assert isinstance(row["index"], list)


def test_the_first_divergence_has_its_five_keys_and_what_is_not_finite_is_null() -> None:
    found = faulty_report().to_dict()
    assert found["first_divergence"] == {
        "step": 1,
        "layer": "0",
        "kind": "gradient",
        "tensor": "0.grad_weight",
        "check": "isolated",
    }
    (row,) = [row for row in found["rows"] if row["tensor"] == "0.grad_weight"]
    assert row["max_abs_diff"] is None
    assert row["ratio"] is None
    assert row["status"] == "off"
    assert on_arrays(tensors()).to_dict()["first_divergence"] is None


def test_rows_are_in_order_of_execution() -> None:
    names = [row.tensor for row in on_arrays(tensors()).rows]
    order = [name for name in names if name in COMPUTED]
    assert order == [*COMPUTED]


def test_the_text_names_the_first_divergence_and_ends_in_the_coverage() -> None:
    text = str(faulty_report())
    assert text.startswith(f"MISMATCH in float32: {TEXT}; 1 training step, batch 9")
    assert "first divergence: layer 0 (Linear 7 -> 6), 0.grad_weight (isolated check)" in text
    assert "should be: dW = dy^T x" in text
    assert "42 of 42 elements are NaN or infinite" in text
    assert text.splitlines()[-1].startswith("17 of 18 tensors compared; not handed in: loss")
    assert str(on_arrays(tensors())).startswith("PARITY in float32")


def test_all_rows_are_shown_on_demand() -> None:
    report = on_arrays(tensors())
    text = report.text(verbose=True)
    assert all(row.tensor in text for row in report.rows)


def test_the_checks_order_does_not_depend_on_the_order_of_the_arrays() -> None:
    found = tensors()
    backwards = dict(reversed(list(found.items())))
    rows: list[list[Row]] = [on_arrays(each).rows for each in (found, backwards)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_an_optimizer_that_has_counted_steps_is_refused(side: str) -> None:
    net: Any = network()
    loss: Any = scratch.CrossEntropyLoss()
    optimizer: Any = scratch.Adam(net, lr=0.1)
    if side == "torch":
        net, loss = to_torch(net), nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    record = record_scratch if side == "scratch" else record_torch
    record(net, loss, optimizer, consecutive(*batch(), 2))
    with pytest.raises(ValueError, match="got Adam after 2 steps, expected a new one: Adam counts its steps"):
        compare.check(net, *batch(), loss=loss, optimizer=optimizer)


def test_the_candidate_is_not_changed() -> None:
    found = tensors()
    before = {name: a.tobytes() for name, a in found.items()}
    on_arrays(found)
    assert {name: a.tobytes() for name, a in found.items()} == before
    net = network()
    optimizer = scratch.Adam(net, lr=0.1)
    compare.check(net, *batch(), loss=scratch.CrossEntropyLoss(), optimizer=optimizer)
    assert optimizer.steps == 0
    assert all(not state for state in optimizer.state.values())
    model = to_torch(net)
    state = copy.deepcopy(model.state_dict())
    compare.check(model, *batch(), loss=nn.CrossEntropyLoss())
    assert all(torch.equal(a, state[name]) for name, a in model.state_dict().items())
