"""What is recorded later is asked for where nothing is wrong, and reported where it says more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import scratch
from compare.checking import check_recorded
from compare.recording.notes import LaterStep, NotUpdated
from compare.recording.record import Record
from compare.recording.recorded import Later, Recorded
from compare.recording.scratch_recorder import record_scratch


def steps() -> list[Record]:
    rng = np.random.default_rng(0)
    network = scratch.Sequential(scratch.Linear(3, 2, rng=rng, dtype=np.float64))
    batch = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    return record_scratch(network, scratch.MSELoss(), None, [batch])


def wrong(records: list[Record]) -> list[Record]:
    gradient = records[0]["0.grad_weight"] * 2
    return [replace(records[0], tensors=records[0].tensors | {"0.grad_weight": gradient})]


RIGHT, SECOND = Recorded(steps()), (LaterStep(2, 6),)
WRONG = Recorded(wrong(steps()), notes=SECOND)
NOTED = NotUpdated("0.bias", "b")
TOLD = "0.bias (b) is not updated in the first step, and no gradient of it was seen"


def test_nothing_later_is_asked_for_where_something_is_wrong() -> None:
    def later() -> Later:
        pytest.fail("asked")

    assert check_recorded(replace(WRONG, later=later)).verdict == "mismatch"


@pytest.mark.parametrize(
    ("later", "verdict", "findings"),
    [
        (None, "parity", []),
        (Later(WRONG, [NOTED]), "mismatch", ["this is the second step: in the first one, from the initial weights, "
                                             "nothing is wrong"]),
        (Later(replace(RIGHT, notes=SECOND), [NOTED]), "parity",
         [TOLD, "a second step, from the updated weights, is right too"]),
        (Later(RIGHT, [NOTED], completes=True), "parity", []),
    ],
    ids=["nothing", "wrong", "right", "completed"],
)  # fmt: skip
def test_what_is_reported(later: Later | None, verdict: str, findings: list[str]) -> None:
    report = check_recorded(replace(RIGHT, later=lambda: later))
    assert (report.verdict, report.findings) == (verdict, findings)
