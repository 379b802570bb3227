"""Programs as strangers write them, each a sample of a kind: the verdict that its first line says.

Of a wrong one the first tensor that is off and its line as well; of a penalty what is said of it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import compare
from compare.report.report import Report

FOLDER = Path(__file__).parent / "strangers"
FILES = sorted([*FOLDER.glob("*.py"), *FOLDER.glob("*.ipynb"), FOLDER / "two_files" / "main.py"])
NAMES = [str(path.relative_to(FOLDER)) for path in FILES]
ANSWERS = {"asks_for_input.py": ["0.5"]}

# file -> the first tensor that is off, and the code of the line that is guilty
WRONG = {
    "bias_left_out_and_clipped.py": ("0.output", "Z1 = W1 @ x"),
    "bias_left_out_beside_adam.py": ("0.output", "pred = softmax(inp.dot(w0))"),
    "sums_not_set_to_zero.py": ("2.grad_weight", "gW2 += np.outer(h1, d2)"),
    "update_bound_to_another_name.py": ("0.new_bias", "self.db1 = self.b1 - self.lr * self.db1"),
    "ascent.py": ("0.new_weight", "W1 += lr * dW1"),
    "l2_factor_wrong.py": ("2.grad_weight", "dW2, db2 = h.T @ ds + 2 * lam * W2, ds.sum(axis=0)"),
    "q_update_adds_the_gradient.py": ("0.new_weight", "W1 = W1 + 0.1 * dW1"),
    "r_biases_never_updated.py": ("0.new_bias", "db1 = b1 - 0.1 * db1"),
    "two_files/main.py": ("2.grad_input", "return grad @ self.w.T"),
}
FINDINGS = {
    "added_up_in_place.py": "the loss has a penalty, 0.001 L2 on W1 and W2, and so has its gradient",
    "l2_in_the_gradient_alone.py": "the gradient has 0.001 L2 on W1 and W2, which the loss beside it has not",
    "l2_right.py": "the loss has a penalty, 0.001 L2 on W1 and W2, and so has its gradient",
}
FAILING: dict[str, str] = {}
FAILING_LINES: dict[str, str] = {}
FAILING_FINDINGS: dict[str, str] = {}
SLOW = ("ascent.py", "asks_for_input.py", "lists.py", "no_backprop_of_its_own.py", "script_target.py")


def marked(names: list[str], failing: dict[str, str]) -> pytest.MarkDecorator:
    rows = []
    for name in names:
        marks = [pytest.mark.xfail(reason=failing[name])] if name in failing else []
        marks += [pytest.mark.slow] if name in SLOW else []
        rows.append(pytest.param(name, marks=marks))
    return pytest.mark.parametrize("name", rows)


@cache
def header(name: str) -> tuple[list[str], str]:
    """The verdicts that are right, and the network."""
    found = re.search(r'Expected: (.*?) with `?--network \\?"([^"\\]+)', (FOLDER / name).read_text())
    assert found, name
    verdicts = [word.lower() for word in re.findall("PARITY|MISMATCH|INCOMPLETE", found[1])]
    return verdicts, found[2]


@cache
def checked(name: str) -> Report:
    limits = {"answers": ANSWERS[name]} if name in ANSWERS else {}
    return compare.check(FOLDER / name, network=header(name)[1], **limits)


@marked(NAMES, FAILING)
def test_verdict(name: str) -> None:
    report = checked(name)
    assert report.verdict in header(name)[0], f"\n{report}"


def test_every_wrong_program_has_its_line() -> None:
    assert sorted(WRONG) == sorted(name for name in NAMES if header(name)[0] == ["mismatch"])


@marked(list(WRONG), FAILING_LINES)
def test_first_tensor_and_its_line(name: str) -> None:
    tensor, code = WRONG[name]
    report = checked(name)
    assert report.first is not None
    assert (report.first.tensor, report.code.strip()) == (tensor, code)


@marked(list(FINDINGS), FAILING_FINDINGS)
def test_what_is_said_of_a_penalty(name: str) -> None:
    assert FINDINGS[name] in str(checked(name))


@pytest.mark.slow
def test_a_program_whose_gradients_a_library_computes() -> None:
    assert "a library computes the gradients here" in str(checked("no_backprop_of_its_own.py"))


def test_a_program_that_asks_and_gets_no_answer() -> None:
    with pytest.raises(ValueError, match=r"the program asks for input \(learning rate:\).*give its answers after --"):
        compare.check(FOLDER / "asks_for_input.py", network=header("asks_for_input.py")[1])
