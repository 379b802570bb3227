"""The cause by name: right ones named, wrong ones not, the reference judged too, and unknown said where it is."""

import numpy as np
import pytest

import scratch
from compare.check import check
from compare.checking import check_records
from compare.diagnosis.diagnosis import fits
from compare.measuring.faults import REFERENCE_FAULTS, THIRD, find, run
from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from compare.numbers.bounded import Bounded
from compare.operations import all_mistakes, causes
from compare.recording.batches import given_batches
from compare.recording.record import Record
from compare.recording.scratch_recorder import record_scratch
from scratch import initializers

DTYPES = ["float64", "float32"]

NAMED = [
    ("bias-missing", "bias-missing", "y = x W^T"),
    ("weights-updated-before-the-gradient-passed", "updated-weights", "after its update"),
    ("relu-mask-with-zero", "relu-mask-at-zero", "x >= 0"),
    ("sigmoid-derivative-of-activated", "derivative-of-activated", "once more"),
    ("sigmoid-input-clipped", "input-clipped", "[-10, 10]"),
    ("mse-gradient-without-its-2", "factor-half", "half of the derivative"),
    ("cross-entropy-gradient-summed", "mean-missing", "missing"),
    ("log-epsilon-1e-7", "epsilon-in-log", "1e-07"),
    ("decay-coupled", "weight-decay-coupled", "added to the gradient"),
    ("bias-correction-one-step-off", "bias-correction-off-by-one", "t + 1"),
    ("weight-gradients-accumulated", "accumulated", "step before"),
    ("units-swapped-in-the-gradient", "rows-in-another-order", "0 and 1 are swapped"),
    ("gradient-in-float16", "float16-round-trip", "float16"),
    ("gradient-scaled-by-1-plus-1e-5", "factor", "1.00001"),
    ("one-element-off-by-1e-3", "few-elements", "element"),
    ("output-layer-left-in", "softmax-twice", "once more"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("fault", "cause", "words"), NAMED)
def test_a_mistake_is_named(fault: str, cause: str, words: str, dtype: str) -> None:
    best = run(find(fault), dtype).diagnosis[0]
    assert best.cause == cause
    assert words in best.explanation


# what the third blind set showed to be missing: its cause, and a cause that its numbers alone would allow
MISSING_ONCE = [
    ("third-adam-correction-without-power", "bias-correction-without-power", "bias-correction-off-by-one"),
    ("third-output-layer-activated-too", "output-activated", "probabilities-clipped"),
    ("third-raw-error-passed-on", "activation-derivative-lost", "unknown"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "cause", "never"), MISSING_ONCE)
def test_a_cause_that_was_missing_is_named_and_the_easy_one_is_not(
    name: str, cause: str, never: str, dtype: str
) -> None:
    found = run(next(fault for fault in THIRD if fault.name == name), dtype).diagnosis
    assert found[0].cause == cause
    assert never not in [d.cause for d in found]


@pytest.mark.parametrize("activation", ["ReLU", "tanh"])
@pytest.mark.parametrize("derived", [True, False])
def test_an_activation_before_the_loss_shows_in_the_gradient_too(activation: str, derived: bool) -> None:
    record = _record(np.random.default_rng(5))
    y, t = record.tensors["2.output"], np.eye(4)[record.tensors["target"]]
    a, slope = (np.maximum(y, 0), y > 0) if activation == "ReLU" else (np.tanh(y), 1 - np.tanh(y) ** 2)
    p = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
    record.tensors["2.grad_output"] = (p - t) / len(y) * (slope if derived else 1)
    del record.tensors["loss"]
    best = check_records([record]).diagnosis[0]
    assert best.cause == "output-activated"
    assert activation in best.explanation
    assert ("left out" in best.explanation) != derived


@pytest.mark.parametrize(
    ("epsilons", "cause", "confidence"),
    [
        ((1e-2,), "epsilon-in-log", 0.5),  # one number, and an epsilon from a list: no more than a description
        ((1e-2, 1e-2), "epsilon-in-log", 0.95),  # a second step has the same
        ((1e-2, 1e-3), "epsilon-in-log", 0.25),  # a second step has another: one number each
    ],
)
def test_a_parameter_from_a_list_needs_a_second_step(
    epsilons: tuple[float, ...], cause: str, confidence: float
) -> None:
    records = _records(np.random.default_rng(6), rows=(6, 3)[: len(epsilons)])
    for record, epsilon in zip(records, epsilons, strict=True):
        y, t = record.tensors["2.output"], np.eye(4)[record.tensors["target"]]
        p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        record.tensors["loss"] = -(t * np.log(p + epsilon)).sum() / len(y)
    best = check_records(records).diagnosis[0]
    assert (best.cause, best.confidence) == (cause, confidence)


@pytest.mark.parametrize("limit", [1e-1, 1e-2])
@pytest.mark.parametrize("place", ["loss", "0.grad_output"])
def test_it_is_probabilities_that_are_clipped_where_the_loss_takes_logits(place: str, limit: float) -> None:
    rng = np.random.default_rng(7)
    net = scratch.Sequential(scratch.Linear(5, 4, rng=rng, weight_init=initializers.normal(2.0), dtype="float64"))
    batches = [(rng.standard_normal((m, 5)), rng.integers(0, 4, m)) for m in (16, 9)]
    records = record_scratch(net, scratch.CrossEntropyLoss(), None, batches)
    for record in records:
        y, t = record.tensors["0.output"], np.eye(4)[record.tensors["target"]]
        p = np.clip(np.exp(y) / np.exp(y).sum(axis=1, keepdims=True), limit, 1 - limit)
        wrong = {"loss": -(t * np.log(p)).sum() / len(y), "0.grad_output": (p - t) / len(y)}
        record.tensors[place] = np.asarray(wrong[place])
    best = check_records(records).diagnosis[0]
    assert best.cause == "probabilities-clipped"
    assert f"[{limit:g}, 1 - {limit:g}]" in best.explanation


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", REFERENCE_FAULTS, ids=lambda fault: fault.name)
def test_a_mistake_in_the_reference_is_laid_at_its_door(fault, dtype: str) -> None:
    report = run(fault, dtype)
    assert report.diagnosis[0].cause == "reference-wrong"


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    """Noise on a gradient is no mistake that anybody makes."""
    rng = np.random.default_rng(0)
    record = _record(rng)
    noise = 1 + 0.1 * rng.standard_normal(record.tensors["2.grad_weight"].shape)
    record.tensors["2.grad_weight"] = record.tensors["2.grad_weight"] * noise
    report = check_records([record])
    assert report.first is not None
    assert report.first.tensor == "2.grad_weight"
    assert report.diagnosis[0].cause == "unknown"
    assert f"none of {len(causes())} known causes" in report.diagnosis[0].explanation


@pytest.mark.parametrize(
    ("loss", "gradient", "cause"),
    [
        (6.0, 6.0, "convention: mean-missing"),  # the loss carries the factor too: another convention
        (1.0, 6.0, "mean-missing"),  # it does not: a mistake
    ],
)
def test_a_factor_is_a_convention_only_if_the_loss_has_it(loss: float, gradient: float, cause: str) -> None:
    record = _record(np.random.default_rng(1))
    record.tensors["loss"] = record.tensors["loss"] * loss
    for name in record.tensors:
        if "grad" in name:
            record.tensors[name] = record.tensors[name] * gradient
    report = check_records([record])
    assert report.verdict == "mismatch"
    assert report.diagnosis[0].cause == cause


def test_without_a_loss_the_question_is_left_open() -> None:
    record = _record(np.random.default_rng(2))
    del record.tensors["loss"]
    for name in record.tensors:
        if "grad" in name:
            record.tensors[name] = record.tensors[name] * 6.0
    assert "no loss was reported" in check_records([record]).diagnosis[0].explanation


def test_a_second_batch_size_tells_a_missing_mean_from_a_factor() -> None:
    """With 6 rows, then 3: 6 x and 3 x is a missing mean; 6 x and 6 x is a factor of 6."""
    for factors, cause in (((6.0, 3.0), "mean-missing"), ((6.0, 6.0), "factor")):
        records = _records(np.random.default_rng(3), rows=(6, 3))
        for record, factor in zip(records, factors, strict=True):
            record.tensors["2.grad_weight"] = record.tensors["2.grad_weight"] * factor
        report = check_records(records)
        assert report.diagnosis[0].cause == cause


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_diagnosed_in_a_correct_run(dtype: str) -> None:
    rng = np.random.default_rng(4)
    net = scratch.Sequential(scratch.Linear(5, 3, rng=rng, dtype=dtype))
    x = rng.standard_normal((7, 5)).astype(dtype)
    report = check(net, x, rng.integers(0, 3, 7), loss=scratch.CrossEntropyLoss())
    assert report.verdict == "parity"
    assert report.diagnosis == []
    assert report.cause is None


def test_a_bound_is_respected_and_shapes_are_never_broadcast() -> None:
    p = Precision.of(np.float64)
    guess = Bounded(np.array([1.0, 2.0]), np.array([0.1, 0.1]), p)
    assert fits(np.array([1.05, 2.0]), guess)
    assert not fits(np.array([1.2, 2.0]), guess)
    assert not fits(np.array(1.0), guess)
    assert not fits(np.array([1.0, np.nan]), guess)


def test_every_hypothesis_says_what_it_means() -> None:
    assert len(causes()) >= 100
    for hypothesis in all_mistakes():
        assert hypothesis.cause == hypothesis.cause.lower()
        assert hypothesis.words


def _records(rng: np.random.Generator, rows: tuple[int, ...]) -> list[Record]:
    """Correct steps of 5-7-4 ReLU in float64, without an optimiser, as bare arrays."""
    net = scratch.Sequential(
        scratch.Linear(5, 7, rng=rng, dtype="float64"), scratch.ReLU(), scratch.Linear(7, 4, rng=rng, dtype="float64")
    )
    batches = [(rng.standard_normal((m, 5)), rng.integers(0, 4, m)) for m in rows]
    return record_scratch(net, scratch.CrossEntropyLoss(), None, batches)


def _record(rng: np.random.Generator) -> Record:
    (record,) = _records(rng, rows=(6,))
    assert check_records([record], given_batches([(record["input"], record["target"])])).verdict == "parity"
    assert record.network == Architecture.of("5-7-4 relu, softmax cross-entropy")
    return record
