"""Recording: what the network itself returns, what is written into on the way, and that the hooks leave no trace."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import compare
import scratch
from compare.recording.scratch_recorder import record_scratch

Array = np.ndarray
DTYPES = ["float32", "float64"]


def layers(dtype: str) -> list[scratch.Layer]:
    rng = np.random.default_rng(1)
    return [scratch.Linear(7, 6, rng=rng, dtype=dtype), scratch.Tanh(), scratch.Linear(6, 4, rng=rng, dtype=dtype)]


def batch(dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((9, 7)).astype(dtype), rng.integers(0, 4, 9)


def values(dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((9, 7)).astype(dtype), rng.standard_normal((9, 4)).astype(dtype)


# --- what the network itself returns ---------------------------------------------------------------------------------


class Negated(scratch.Sequential):
    def backward(self, dy: Array) -> Array:
        return -super().backward(dy)


class OfTheSecondLayer(scratch.Sequential):
    """Stops one layer too early in what it returns."""

    def backward(self, dy: Array) -> Array:
        for layer in reversed(self.layers[1:]):
            dy = layer.backward(dy)
        self.layers[0].backward(dy)
        return dy


class ReturnsNothing(scratch.Sequential):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)


class FirstLayerReturnsNothing(scratch.Linear):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [Negated, OfTheSecondLayer])
def test_a_wrong_gradient_of_the_input_is_seen_though_the_layers_are_right(kind: Any, dtype: str) -> None:
    report = compare.check(kind(*layers(dtype)), *batch(dtype), loss=scratch.CrossEntropyLoss())
    assert report.verdict == "mismatch"
    assert (report.first.tensor, report.first.check) == ("0.grad_input", "isolated")
    assert [row.tensor for row in report.rows if row.status == "off"] == ["0.grad_input"]


def test_a_network_that_returns_nothing_is_no_parity() -> None:
    report = compare.check(ReturnsNothing(*layers("float32")), *batch("float32"), loss=scratch.CrossEntropyLoss())
    assert report.verdict == "incomplete"
    assert report.coverage == (
        f"{report.total - 1} of {report.total} tensors compared; "
        "not checked: 0.grad_input (the network: backward returned nothing (None))"
    )


def test_a_first_layer_that_returns_nothing_is_no_parity_and_no_mistake() -> None:
    net = scratch.Sequential(
        FirstLayerReturnsNothing(7, 6, rng=np.random.default_rng(0)), scratch.Tanh(), layers("float32")[2]
    )
    report = compare.check(net, *batch("float32"), loss=scratch.CrossEntropyLoss())
    assert report.verdict == "incomplete"
    assert "0.grad_input (layer 0 (Linear 7 -> 6): backward returned nothing (None))" in report.coverage


# --- what is written into --------------------------------------------------------------------------------------------


class ChangesTargetForward(scratch.MSELoss):
    def forward(self, y: Array, t: Any) -> Any:
        value = super().forward(y, t.copy())
        t *= 2
        return value


class ChangesTargetBackward(scratch.MSELoss):
    """Its gradient is right: it is computed before the target is gone."""

    def backward(self) -> Array:
        dy = super().backward()
        self.kept[1][0] = 0
        return dy


class ChangesLabels(scratch.CrossEntropyLoss):
    def forward(self, y: Array, t: Any) -> Any:
        value = super().forward(y, t)
        t[0] = (t[0] + 1) % 4
        return value


class ReLUInPlace(scratch.Tanh):
    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        x[...] = y
        return y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "data", "formula"),
    [
        (ChangesTargetForward(), values, "the forward pass leaves target as it was"),
        (ChangesTargetBackward(), values, "backward leaves target as it was"),
        (ChangesLabels(), batch, "the forward pass leaves target as it was"),
    ],
)
def test_a_target_that_is_written_into_is_found(loss: scratch.Loss, data: Any, formula: str, dtype: str) -> None:
    report = compare.check(scratch.Sequential(*layers(dtype)), *data(dtype), loss=loss)
    (row,) = [row for row in report.rows if row.status == "off"]
    assert (row.tensor, row.check, row.layer, row.formula) == ("target", "side_effects", "loss", formula)
    assert report.diagnosis[0].cause == "target-changed"


def test_an_activation_that_is_written_into_on_the_way_forward_is_not_put_down_to_backward() -> None:
    first, _, last = layers("float32")
    net = scratch.Sequential(first, ReLUInPlace(), last)
    report = compare.check(net, *batch("float32"), loss=scratch.CrossEntropyLoss())
    found = {row.tensor: row.formula for row in report.rows if row.check == "side_effects"}
    assert found["0.output"] == "the forward pass leaves 0.output as it was"


class DecaysInTheGradient(scratch.SGD):
    def update(self, p: Array, g: Array, state: Any) -> None:
        g += self.weight_decay * p
        p -= self.lr * g


class ZeroesAfterwards(scratch.SGD):
    def step(self) -> None:
        super().step()
        for g in self.network.grads.values():
            g[...] = 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [DecaysInTheGradient, ZeroesAfterwards])
def test_a_step_that_writes_into_the_gradients_is_found(kind: Any, dtype: str) -> None:
    net = scratch.Sequential(*layers(dtype))
    report = compare.check(
        net, *batch(dtype), loss=scratch.CrossEntropyLoss(), optimizer=kind(net, 0.1, weight_decay=0.1)
    )
    off = [row for row in report.rows if row.status == "off"]
    assert {row.tensor for row in off} == {"0.grad_weight", "0.grad_bias", "2.grad_weight", "2.grad_bias"}
    assert {row.check for row in off} == {"side_effects"}
    assert off[0].formula == "the step leaves 0.grad_weight as it was"
    assert report.diagnosis[0].cause == "gradient-changed-by-step"


def test_weights_may_change_in_the_step_and_a_correct_run_has_no_side_effects() -> None:
    net = scratch.Sequential(*layers("float32"))
    report = compare.check(net, *batch("float32"), loss=scratch.CrossEntropyLoss(), optimizer=scratch.Adam(net))
    assert report.verdict == "parity"
    # input, target, 4 parameters, 3 outputs, 2 inputs of layers, 3 gradients of outputs, 4 of parameters; 3 steps
    assert report.watched == 3 * 18
    assert "side effects: none; 54 arrays have the same bits afterwards as before" in str(report)


# --- the hooks -------------------------------------------------------------------------------------------------------


def test_the_hooks_leave_no_trace_even_where_methods_are_the_object_s_own() -> None:
    net, loss = scratch.Sequential(*layers("float32")), scratch.CrossEntropyLoss()
    net.layers[1].forward = net.layers[1].forward  # type: ignore[method-assign]
    before = [set(vars(part)) for part in (net, loss, *net)]
    record_scratch(net, loss, scratch.SGD(net), [batch("float32")])
    assert [set(vars(part)) - {"_kept", "grads"} for part in (net, loss, *net)] == [
        each - {"_kept", "grads"} for each in before
    ]


def test_the_target_that_was_passed_in_is_not_changed_by_a_loss_that_changes_its_own() -> None:
    x, t = values("float32")
    before = copy.deepcopy(t)
    compare.check(scratch.Sequential(*layers("float32")), x, t, loss=ChangesTargetForward())
    np.testing.assert_array_equal(t, before)
