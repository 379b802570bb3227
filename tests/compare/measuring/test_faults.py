"""The fault corpus: every edit still applies, planting leaves no trace, every fault is found where it was planted."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import compare.operations.adam
import compare.operations.linear
import compare.operations.operation
import scratch.adagrad
import scratch.add
import scratch.avg_pool2d
import scratch.batch_norm
import scratch.conv2d
import scratch.dropout
import scratch.elu
import scratch.embedding
import scratch.flatten
import scratch.gelu
import scratch.graph
import scratch.gru
import scratch.hinge_loss
import scratch.huber_loss
import scratch.initializers
import scratch.kl_div_loss
import scratch.l1_loss
import scratch.last_step
import scratch.layer_norm
import scratch.layers
import scratch.leaky_relu
import scratch.learner
import scratch.log_softmax
import scratch.losses
import scratch.lstm
import scratch.max_pool2d
import scratch.multi_margin_loss
import scratch.nadam
import scratch.network
import scratch.nll_loss
import scratch.optim
import scratch.recurrent
import scratch.rmsprop
import scratch.rnn
import scratch.self_attention
import scratch.silu
import scratch.softplus
import scratch.take
import scratch.windows
import torch_ref.losses
from compare.measuring.faults import (
    GRADED,
    REFERENCE_FAULTS,
    Edit,
    Fault,
    corpus,
    find,
    graded,
    record,
    run,
    run_correct,
)
from compare.measuring.faults.fault import FIRST_STEP, ONE_ROW, ZERO_BIAS

MODULES = (
    scratch.add,
    scratch.avg_pool2d,
    scratch.batch_norm,
    scratch.conv2d,
    scratch.flatten,
    scratch.dropout,
    scratch.graph,
    scratch.gru,
    scratch.last_step,
    scratch.lstm,
    scratch.recurrent,
    scratch.rnn,
    scratch.self_attention,
    scratch.elu,
    scratch.embedding,
    scratch.gelu,
    scratch.adagrad,
    scratch.hinge_loss,
    scratch.huber_loss,
    scratch.initializers,
    scratch.kl_div_loss,
    scratch.l1_loss,
    scratch.layer_norm,
    scratch.layers,
    scratch.leaky_relu,
    scratch.learner,
    scratch.log_softmax,
    scratch.losses,
    scratch.nll_loss,
    scratch.max_pool2d,
    scratch.nadam,
    scratch.network,
    scratch.optim,
    scratch.windows,
    scratch.multi_margin_loss,
    scratch.silu,
    scratch.softplus,
    scratch.take,
    scratch.rmsprop,
    compare.operations.linear,
    compare.operations.operation,
    compare.operations.adam,
    torch_ref.losses,
)
FAULTS = corpus() + REFERENCE_FAULTS
SHOWN = [pytest.param(fault, dtype, id=f"{fault.name}-{dtype}") for fault in FAULTS for dtype in fault.dtypes]

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def functions() -> dict[tuple[str, str], Any]:
    """Every function and method of the modules that faults are planted in, by module and name."""
    found: dict[tuple[str, str], Any] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if isinstance(value, FunctionType):
                found[module.__name__, name] = value
            elif isinstance(value, type) and value.__module__ == module.__name__:
                methods = {f"{name}.{n}": f for n, f in vars(value).items() if isinstance(f, FunctionType)}
                found |= {(module.__name__, n): f for n, f in methods.items()}
    return found


def test_the_corpus_is_large_and_its_names_are_unique_kebab_case() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(corpus()) >= 70
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    assert all(fault.summary and "\n" not in fault.summary and fault.where for fault in FAULTS)
    assert not any(fault.in_reference for fault in corpus())
    assert all(fault.in_reference for fault in REFERENCE_FAULTS)


@each_fault
def test_every_edit_applies_exactly_once_and_is_undone(fault: Fault) -> None:
    before = functions()
    with fault.planted():
        changed = {name for name, f in functions().items() if f is not before[name]}
    assert changed == {(edit.module, edit.function) for edit in fault.edits}
    assert functions() == before


def test_an_exception_leaves_no_trace() -> None:
    before = functions()
    with suppress(KeyboardInterrupt), find("bias-missing").planted():
        raise KeyboardInterrupt
    assert functions() == before


def test_a_fault_that_does_not_apply_as_a_whole_leaves_no_trace() -> None:
    before = functions()
    halfway = replace(find("bias-missing"), edits=(*find("bias-missing").edits, *find("bias-missing").edits))
    with pytest.raises(ValueError, match=r"Linear\.forward: .* occurs 0 times, expected once"), halfway.planted():
        pass
    assert functions() == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("scratch.layers", "Linear.forward", "self", "that"), "occurs [0-9]+ times, expected once"),
        (Edit("scratch.layers", "Linear.forward", "no such text", ""), "occurs 0 times, expected once"),
        (Edit("scratch.layers", "Linear.forwards", "x", "y"), "no such function"),
    ],
)
def test_an_edit_must_fit(edit: Edit, message: str) -> None:
    with pytest.raises(ValueError, match=message), edit.planted():
        pass


def test_nested_faults_combine_also_in_one_function() -> None:
    weight, bias = find("weight-gradient-sign"), find("bias-gradient-doubled")
    layer = scratch.Linear(3, 2, rng=np.random.default_rng(0), dtype=np.float64)
    x, dy = np.ones((4, 3)), np.ones((4, 2))
    layer.forward(x)
    with weight.planted(), bias.planted():
        layer.backward(dy)
    np.testing.assert_array_equal(layer.grads["weight"], np.full((2, 3), -4.0))
    np.testing.assert_array_equal(layer.grads["bias"], np.full(2, 8.0))


@pytest.mark.parametrize(("fault", "dtype"), SHOWN)
def test_its_own_case_is_in_parity_without_it(fault: Fault, dtype: str) -> None:
    report = run_correct(fault, dtype)
    assert report.verdict == "parity", report


@pytest.mark.parametrize(("fault", "dtype"), SHOWN)
def test_it_is_found_where_it_was_planted(fault: Fault, dtype: str) -> None:
    report = run(fault, dtype)
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert (report.first.layer, report.first.tensor) in fault.where, report
    assert report.first.step == fault.step, report


# The claims of `hidden` that can be tried out: with these inputs the fault makes no difference at all.
HIDING: dict[str, dict[str, Any]] = {
    ONE_ROW: {"rows": (1, 1)},
    FIRST_STEP: {"rows": (6,)},
    ZERO_BIAS: {"bias": 0.0, "rows": (6,)},
    find("relu-mask-with-zero").hidden: {"zero_row": False},
    find("mean-over-the-nominal-batch-size").hidden: {"rows": (6, 6)},
    find("cross-entropy-gradient-averaged-over-classes").hidden: {"rows": (4,)},
    find("cross-entropy-gradient-of-normalised-target").hidden: {"target": "labels"},
    find("soft-target-rounded").hidden: {"target": "one-hot"},
    find("probabilities-clipped-in-the-loss").hidden: {"scale": 1.0},
    find("sigmoid-input-clipped").hidden: {"scale": 1.0},
    find("softmax-without-shift").hidden: {"scale": 1.0},
    find("relu-capped-at-6").hidden: {"scale": 1.0},
    find("mse-averaged-over-samples").hidden: {"network": "5-7-1 tanh, mse"},
    find("buffer-shared-between-layers").hidden: {"network": "5-7-4 relu, softmax cross-entropy"},
}
HIDDEN = [pytest.param(fault, HIDING[fault.hidden], id=fault.name) for fault in FAULTS if fault.hidden in HIDING]


@pytest.mark.parametrize(("fault", "inputs"), HIDDEN)
def test_it_is_invisible_where_it_says_so(fault: Fault, inputs: dict[str, Any]) -> None:
    assert fault.exact
    report = run(replace(fault, **inputs), "float64")
    assert report.verdict == "parity", report


def test_a_fault_of_float64_only_is_none_in_float32() -> None:
    assert run(find("gradient-in-float32"), "float32").verdict == "parity"


def test_record_gives_the_steps_and_what_was_given() -> None:
    records, given = record(find("weights-initialised-equal"), "float32")
    assert [r.step for r in records] == [1, 2]
    assert np.ptp(records[0]["0.weight"]) == 0
    assert np.ptp(given["0.weight"]) > 0


def test_seeds_repeat_and_differ() -> None:
    fault = find("bias-missing")
    first, again, other = (record(fault, "float32", seed)[0][0]["loss"] for seed in (1, 1, 2))
    assert first == again != other


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"got fault 'bias-mising', expected one like .*bias-missing"):
        find("bias-mising")
    with pytest.raises(ValueError, match="got fault 'zzzzzz', expected a known name"):
        find("zzzzzz")


@pytest.mark.parametrize("kind", GRADED)
def test_a_graded_fault_has_its_size_and_shows_when_large(kind: str) -> None:
    fault = graded(kind, 0.5)
    assert fault.size == 0.5
    assert fault.name == f"{kind}-0.5"
    assert run(graded(kind, 0.5 if "ulp" not in kind else 1e6), "float64").verdict == "mismatch"


def test_a_kind_that_is_not_graded() -> None:
    with pytest.raises(ValueError, match="got graded fault 'bias-missing', expected one of one-element-off-by"):
        graded("bias-missing", 1.0)
