"""The five shapes of examples/: each checks in at most ten lines, and gets its verdict, its cause and its line."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from compare import Report

EXAMPLES = Path(__file__).parents[1] / "examples"
LINES = 10
# the check -> the tensor that is wrong, the line where it is bound, and the cause in the report's words
WRONG = {
    "objects": ("1.grad_input", "objects_wrong.py", "return up * (up > 0)", "the mask is dy > 0"),
    "functions": ("1.grad_input", "functions_wrong.py", "dout * (1 - np.tanh(a) ** 2)", "tanh is applied once more"),
    "samples": ("3.grad_input", "samples_wrong.py", "delta2 = a2 - y", "the derivative is missing"),
    "update": ("2.grad_input", "update_wrong.py", "back = d_out @ self.w2.T", "takes the weight after its update"),
    "script": ("1.grad_input", "script_wrong.py", "dZ1 = W2.T @ dZ2 * (1 - Z1**2)", "1 - x^2 in the place of 1 - y^2"),
}


@pytest.fixture
def reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Report]:
    """What examples/check_NAME.py finds about the right file and the wrong one."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return runpy.run_path(str(EXAMPLES / f"check_{request.param}.py"))


@pytest.mark.parametrize("shape", WRONG)
def test_a_check_is_at_most_ten_lines(shape: str) -> None:
    lines = (EXAMPLES / f"check_{shape}.py").read_text().splitlines()
    assert sum(bool(line.strip()) and not line.startswith("#") for line in lines) <= LINES


@pytest.mark.parametrize("shape", WRONG)
def test_right_and_wrong_differ_in_one_place(shape: str) -> None:
    """The wrong file is the right one but for its docstring and the mistake."""
    right, wrong = (set((EXAMPLES / f"{shape}_{w}.py").read_text().splitlines()[1:]) for w in ("right", "wrong"))
    assert len(wrong - right) == (0 if shape == "update" else 1)  # there, one line comes too early


@pytest.mark.parametrize(("reports", "shape"), [(s, s) for s in WRONG], indirect=["reports"], ids=list(WRONG))
def test_verdict_cause_and_line(reports: dict[str, Report], shape: str) -> None:
    right, wrong = reports["right"], reports["wrong"]
    assert right.verdict == "parity"
    gradients = {row.tensor for row in right.rows if row.status == "ok"}
    weights = ["0.grad_weight", "0.grad_bias", "2.grad_weight", "2.grad_bias"]
    assert gradients.issuperset(weights), "a parity that did not look at the gradients"
    tensor, file, code, cause = WRONG[shape]
    assert wrong.verdict == "mismatch"
    assert wrong.first is not None
    assert wrong.first.tensor == tensor
    assert wrong.origins[tensor].startswith(f"{file} line ")
    assert next(line for line in wrong.excerpt.splitlines() if line.startswith(">")).endswith(code)
    assert cause in wrong.diagnosis[0].explanation
    assert any("update before delta: the weights of layer 2" in f for f in wrong.findings) is (shape == "update")
    assert not any("update before delta" in finding for finding in right.findings)
