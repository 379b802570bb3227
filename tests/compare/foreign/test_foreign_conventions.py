"""Objects and functions in every convention: sizes, orientations, biases, factors, varied over all combinations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import compare
from compare.recording.batches import consecutive
from compare.report.report import Report
from tests.compare.foreign.student import Student
from tests.compare.foreign.student_code import Network, step
from tests.compare.foreign.test_foreign import FAULTS, STUDENTS

# Without shrinking, which takes minutes; each example is two watched calls, some 0.2 s.
SEARCH = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=[Phase.explicit, Phase.generate],
)
BATCH = 4  # samples at least: the second call has half of them
BATCHES = STUDENTS.filter(lambda s: s.m >= BATCH)
TWO_LAYERS = BATCHES.map(lambda s: replace(s, sizes=(s.sizes[0], s.sizes[1], s.sizes[-1])))
CODE = st.one_of(st.tuples(st.just("object"), BATCHES), st.tuples(st.just("function"), TWO_LAYERS))


def is_alive(student: Student) -> bool:
    """Whether every hidden layer has a unit that is on, in both batches: gradients of zeros say nothing."""
    network, (x, t) = Network(student), student.data()
    for batch, _ in consecutive(x, t, 2):
        network.forward(batch)
        if not all(np.linalg.matrix_rank(a) > 0 for a in network.a[1:-1]):
            return False
    return True


def checked(shape: str, student: Student, fault: str = "") -> Report:
    x, t = student.data()
    code = Network(student, fault) if shape == "object" else step(student, fault)
    return compare.check(code, x, t, network=student.network)


@pytest.mark.slow
@SEARCH
@given(code=CODE)
def test_what_is_right_is_in_parity_in_every_convention(code: tuple[str, Student]) -> None:
    assume(is_alive(code[1]))
    report = checked(*code)
    assert report.verdict == "parity", f"{code}\n{report.text(verbose=True)}"
    assert not report.side_effects


@pytest.mark.slow
@SEARCH
@given(code=CODE, fault=st.sampled_from(tuple(FAULTS)))
def test_what_is_wrong_is_a_mismatch_in_every_convention(code: tuple[str, Student], fault: str) -> None:
    shape, student = code
    assume(fault != "bias sign" or student.bias == "separate")
    if fault == "transposed":
        n = student.sizes[1]
        student = replace(student, sizes=(3, n, n, 4) if shape == "object" else (3, n, n), bias="separate")
    assume(is_alive(student))
    report = checked(shape, student, fault)
    assert report.verdict == "mismatch", f"{code} {fault}\n{report.text(verbose=True)}"
    assert report.first is not None
    assert FAULTS[fault] in report.first.tensor, f"{code} {fault}\n{report.text(verbose=True)}"
