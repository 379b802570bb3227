"""check_parity.py --exact: parity without tolerance, a fault at the kink, and one line where it cannot hold."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratch

Script = Callable[..., Any]
NETWORK = "6-5-4 relu, half squared error"


def test_an_architecture_by_text_is_exact_in_both_precisions(script: Script, tmp_path: Path) -> None:
    done = script("check_parity", "--network", NETWORK, "--exact", "--json", tmp_path / "r.json")
    assert done.code == 0
    assert done.err == ""
    for dtype in ("float64", "float32"):
        assert f"exact mode, equality bit for bit: PARITY in {dtype}: {NETWORK}" in done.out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["verdict"] == "parity"
    assert [report["mode"] for report in found["reports"]] == ["exact", "exact"]


def test_a_wrong_mask_is_a_mismatch(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch.ReLU, "backward", lambda self, dy: np.where(self.kept >= 0, dy, dy.dtype.type(0)))
    done = script("check_parity", "--network", NETWORK, "--exact", "--dtype", "float32")
    assert done.code == 1
    assert "exact mode, equality bit for bit: MISMATCH in float32" in done.out
    assert "1.grad_input (isolated check)" in done.out


USAGE: list[tuple[tuple[str, ...], str]] = [
    (("digits",), r'the loss \(cross entropy\) takes logarithms; .* such as "64-256-10 relu, half squared error"'),
    (("--network", "6-5-4 tanh, mse"), r"exactness cannot hold: layer 1 \(Tanh\) has irrational values"),
    (("--network", NETWORK, "--batch-size", "6"), "exactness cannot hold: the mean over 6 rows"),
    (("--network", "6-5-4, mse"), "the activation between its layers is missing"),
    ((), "--exact takes either a LAB or a --network"),
    (("digits", "--network", NETWORK), "--exact takes either a LAB or a --network"),
    (("--network", NETWORK, "--save-record", "f"), "--save-record does not go with --exact"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), USAGE, ids=[" ".join(arguments) or "nothing" for arguments, _ in USAGE]
)
def test_where_it_cannot_hold_is_one_line_and_code_2(script: Script, arguments: tuple[str, ...], words: str) -> None:
    done = script("check_parity", *arguments, "--exact")
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert re.search(words, done.err), done.err
