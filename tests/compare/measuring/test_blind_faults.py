"""Faults written without knowledge of the diagnosis: each applies, shows, and shows first where its author says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compare.measuring.faults import (
    FIRST,
    FIRST_CAUSE,
    REFERENCE_FAULTS,
    SECOND,
    SECOND_CAUSE,
    THIRD,
    THIRD_CAUSE,
    Fault,
    corpus,
    run,
    run_correct,
)

WRITTEN = (*FIRST, *SECOND, *THIRD)
EACH = pytest.mark.parametrize("fault", WRITTEN, ids=lambda fault: fault.name)
EACH_DTYPE = pytest.mark.parametrize(
    ("fault", "dtype"), [pytest.param(f, dtype, id=f"{f.name}-{dtype}") for f in WRITTEN for dtype in f.dtypes]
)

# not found in float32 on their own case, where they change nothing beyond rounding; and a case on which they are
BELOW_ROUNDING = {
    "binary-epsilon-in-the-logarithms": ("5-3, sigmoid output, binary cross-entropy", ("loss", "loss")),
    "epsilon-under-the-target": (
        "5-4, softmax output, cross-entropy on probabilities",
        ("loss", "1.grad_output"),
    ),
}


def test_names_are_unique_and_not_those_of_the_corpus() -> None:
    names = [fault.name for fault in (*WRITTEN, *corpus(), *REFERENCE_FAULTS)]
    assert len(FIRST) >= 30
    assert len(SECOND) >= 30
    assert len(THIRD) == 40
    assert len(set(names)) == len(names)


def test_every_fault_has_its_cause_in_one_sentence() -> None:
    causes = FIRST_CAUSE | SECOND_CAUSE | THIRD_CAUSE
    assert list(causes) == [fault.name for fault in WRITTEN]
    assert all(cause and "\n" not in cause and ". " not in cause for cause in causes.values())


@EACH
def test_each_edit_applies_once_and_is_undone(fault: Fault) -> None:
    assert fault.edits
    for edit in fault.edits:
        assert edit.count() == 1, str(edit)
    with fault.planted():
        pass
    for edit in fault.edits:
        assert edit.count() == 1, f"{edit} after the block"


@EACH_DTYPE
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some overflow: that is their mistake
def test_planted_fault_shows_first_where_its_author_says(fault: Fault, dtype: str) -> None:
    report = run(fault, dtype)
    if fault.name in BELOW_ROUNDING and dtype == "float32":
        assert report.verdict == "parity"
        return
    assert report.verdict != "parity"
    assert report.first is not None
    assert (report.first.layer, report.first.tensor) in fault.where
    assert report.first.step == fault.step


@EACH_DTYPE
def test_without_the_fault_its_case_is_in_parity(fault: Fault, dtype: str) -> None:
    assert run_correct(fault, dtype).verdict == "parity"


@pytest.mark.parametrize("name", BELOW_ROUNDING)
def test_fault_below_rounding_shows_where_outputs_are_improbable(name: str) -> None:
    network, place = BELOW_ROUNDING[name]
    fault = replace(next(f for f in FIRST if f.name == name), network=network, scale=4.0)
    assert run_correct(fault, "float32").verdict == "parity"
    first = run(fault, "float32").first
    assert first is not None
    assert (first.layer, first.tensor) == place
