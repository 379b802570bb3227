"""Codes of causes: every cause has one, none has two, and a table that is not so is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import compare
from compare.judging.reasons import Exchange
from compare.operations import causes
from compare.operations.codes import code_of, codes, read
from compare.report.causes import SEEN

DIAGNOSIS = Path(compare.__file__).parent


def written_down() -> set[str]:
    """The causes that the code itself writes into a Diagnosis, without a row in the tables of mistakes."""
    found = {how.value[0] for how in Exchange} | {"dtype", "wrong-shape"}
    for file in DIAGNOSIS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Diagnosis":
                first = node.args[0] if node.args else None
                found |= {first.value} if isinstance(first, ast.Constant) and isinstance(first.value, str) else set()
    return found - {"unknown"}


def test_every_cause_has_a_code_and_every_code_a_cause() -> None:
    assert {"tf32", "reference-wrong", "update-missing"} <= written_down()
    assert set(codes()) == {*causes(), *SEEN, *written_down()}
    assert not set(SEEN) & set(causes()), "its page is made of its rows"
    assert len(set(codes().values())) == len(codes())


def test_a_convention_has_the_code_of_its_cause_and_what_is_unknown_none() -> None:
    assert code_of("convention: sign") == code_of("sign") != ""
    assert code_of("unknown") == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["B001 a", "B003 b"], r"line 2: got 'B003 b', expected B002 and a cause"),
        (["B001 a", "B001 b"], r"line 2: got 'B001 b', expected B002"),
        (["B001 a", "B002 a"], r"line 2: a is B001 already"),
        (["B001"], r"line 1: got 'B001', expected B001 and a cause"),
        (["B001 a", ""], r"line 2: got ''"),
    ],
)
def test_a_table_with_a_wrong_line_is_refused(lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(lines)


def test_a_cause_that_is_gone_leaves_its_code_unused() -> None:
    assert read(["B001 a", "B002 -", "B003 -", "B004 b"]) == {"a": "B001", "b": "B004"}
