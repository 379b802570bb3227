"""Findings: what is said of a candidate's conventions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compare.foreign.findings import describe
from compare.foreign.naming.named import Names
from compare.foreign.naming.search import find
from compare.network.architecture import Architecture
from compare.recording.notes import (
    CorrectionDiffers,
    MomentumDiffers,
    NeverUpdated,
    Note,
    OneSample,
    RateDiffers,
    RateFound,
    SharedArray,
    StepAdded,
    Written,
)
from compare.report.findings import SENTENCES, findings, listed
from compare.watching.observation import Observation
from tests.compare.foreign.student import Student

STUDENT = Student(sizes=(5, 7, 4), m=6, weights="(out, in)")


def named(student: Student) -> Names:
    observations = [Observation(a, name, time=k) for k, (name, a) in enumerate(student.arrays().items())]
    return find(Architecture.of(student.network, None), observations, *student.data())


@pytest.mark.parametrize(
    ("words", "text"),
    [(["a"], "a"), (["a", "b"], "a and b"), ([0, 2, 4], "0, 2 and 4"), (["a", "a", "b"], "a and b")],
)
def test_lists(words: list[object], text: str) -> None:
    assert listed(words) == text


def test_nothing_is_said_of_torchs_own_conventions() -> None:
    assert describe(named(STUDENT)) == []


@pytest.mark.parametrize(
    ("conventions", "finding"),
    [
        ({"weights": "(in, out)"}, "weights are (in, out) (w0 and w1)"),
        ({"bias": "last column"}, "the bias is the last column of the weight (w0 and w1)"),
        (
            {"factor": "sum"},
            "your loss (L) is 6 times the network's (summed over the samples, not their mean); its gradient is "
            "expected to have the same factor",
        ),
        ({"m": 1}, "warning: there is one sample, so a sum and a mean over the samples are the same"),
        (
            {"sizes": (5, 5, 4)},
            "w0 is square, so its layout is known from what is computed, not from the shape",
        ),
        (
            {"sizes": (5, 5, 5)},
            "w0 and w1 are square, so their layouts are known from what is computed, not from the shape",
        ),
    ],
    ids=str,
)
def test_findings(conventions: dict[str, object], finding: str) -> None:
    assert finding in findings(describe(named(replace(STUDENT, **conventions))))


@pytest.mark.parametrize(
    ("layers", "finding"),
    [
        (
            [0],
            "warning: layer 0 is computed without a bias and is checked that way; "
            "in the network as it was given, it has one",
        ),
        (
            [0, 2],
            "warning: layers 0 and 2 are computed without a bias and are checked that way; "
            "in the network as it was given, they have one",
        ),
    ],
)
def test_layers_without_a_bias(layers: list[int], finding: str) -> None:
    names = named(STUDENT)
    names.unbiased = layers
    assert findings(describe(names)) == [finding]


def test_every_note_has_its_sentence() -> None:
    in_the_cause = {CorrectionDiffers, MomentumDiffers, NeverUpdated, RateDiffers, StepAdded}
    told_elsewhere = {*in_the_cause, Written, SharedArray}  # the others among the side effects
    assert set(Note.__subclasses__()) == set(SENTENCES) | told_elsewhere
    assert not set(SENTENCES) & told_elsewhere


def test_findings_have_an_order_of_their_own() -> None:
    assert findings([OneSample(), SharedArray("a", "b"), RateFound(0.5)]) == findings([RateFound(0.5), OneSample()])
