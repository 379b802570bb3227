"""Mistakes in an update that are named with a weight decay of either sort, at the first step, and in backward."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compare.diagnosis.diagnosis import diagnose
from compare.judging.reasons import Diagnosis
from compare.operations import all_mistakes
from compare.operations.mistake import Mistake
from tests.compare.operations.examples import Case, judged

UPDATES = [m for m in all_mistakes() if m.place == "update.parameter"]
OF_ADAM = [m for m in UPDATES if m.case["optimizer"]["kind"] == "Adam"]
FROM_MOMENTS = [m for m in OF_ADAM if m.cause in ("root-missing", "moments-swapped") and "new_v" in m.wrong]


def diagnosed(mistake: Mistake, case: Case, snippet: str, dtype: str) -> list[Diagnosis]:
    found = judged(mistake, case, snippet, dtype)
    return diagnose(found.first, found.rows, found.steps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
@pytest.mark.parametrize("mistake", FROM_MOMENTS, ids=lambda m: m.wrong)
def test_a_step_from_wrong_moments_is_named_with_weight_decay(mistake: Mistake, kind: str, dtype: str) -> None:
    case = replace(Case.of(mistake), optimizer={"kind": kind, "lr": 0.1, "weight_decay": 0.1})
    wrong = mistake.wrong if kind == "Adam" else mistake.wrong.replace("p -", "p * (1 - lr * wd) -", 1)
    assert diagnosed(mistake, case, wrong, dtype)[0].cause == mistake.cause


def test_a_weight_that_is_updated_in_backward_is_not_called_overwritten() -> None:
    mistake = next(m for m in all_mistakes() if m.cause == "updated-in-backward")
    found = diagnosed(mistake, Case.of(mistake), "tensor('2.new_weight')", "float64")
    assert [d.cause for d in found] == ["updated-in-backward", "activation-changed-by-backward"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "first"), [((6,), 1), ((6, 3, 6), 1), ((6, 3, 6), 2), ((6, 3, 6), 3)])
def test_a_correction_that_counts_from_0_is_named_at_any_step(rows: tuple[int, ...], first: int, dtype: str) -> None:
    """At step 1 it divides by 0, and the parameter is NaN."""
    mistake = next(m for m in UPDATES if m.words.endswith("t - 1"))
    found = diagnosed(mistake, replace(Case.of(mistake), rows=rows, first=first), mistake.wrong, dtype)
    assert (found[0].cause, found[0].confidence) == ("bias-correction-off-by-one", 0.95)
