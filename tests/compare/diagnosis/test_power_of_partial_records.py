"""What a check could have missed is said of any record: without a tensor, or with one of another shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compare.checking import check_records
from compare.judging.verdict import Power
from compare.recording.record import Record
from tests.compare.operations.examples import Case, correct

CASE = Case(rows=(6, 3))
NAMES = list(correct(CASE, "float64")[0][0])


def power(changed: dict[str, np.ndarray | None]) -> Power:
    """Of both steps, with these tensors in the place of their own, None for without."""
    found = check_records([_with(record, changed) for record in correct(CASE, "float64")[0]]).power
    assert str(found)
    return found


def _with(record: Record, changed: dict[str, np.ndarray | None]) -> Record:
    return replace(record, tensors={n: a for n, a in (record.tensors | changed).items() if a is not None})


@pytest.mark.parametrize("also", ["target", "input", "2.output", "0.weight"])
@pytest.mark.parametrize("name", NAMES)
def test_without_a_tensor(name: str, also: str) -> None:
    power({name: None, also: None})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("target", "loss")])
def test_with_a_tensor_of_another_shape(name: str) -> None:
    power({name: np.ones((2, 9))})


def test_the_loss_is_not_among_them_without_a_target() -> None:
    assert "mean-missing" in power({}).shown
    assert "logarithm-missing" not in power({"target": None}).shown
