"""Two mistakes at once: the first in order of execution is named, at its line, and the other shows beside it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

import compare
from compare.report.report import Report

NET = "4-6-5-3 tanh, softmax cross-entropy"
SCRIPT = """import numpy as np
rng = np.random.default_rng(0)
X, y = rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
W1, b1 = rng.normal(size=(4, 6)) / 2, rng.normal(size=6)
W2, b2 = rng.normal(size=(6, 5)) / 2, rng.normal(size=5)
W3, b3 = rng.normal(size=(5, 3)) / 2, rng.normal(size=3)
for step in range(3):
    z1 = X @ W1 + b1
    h1 = np.tanh(z1)
    z2 = h1 @ W2 + b2
    h2 = np.tanh(z2)
    s = h2 @ W3 + b3
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(12), y]).mean()
    d3 = (p - np.eye(3)[y]) / 12
    dW3 = h2.T @ d3
    db3 = d3.sum(axis=0)
    dh2 = d3 @ W3.T
    d2 = dh2 * (1 - h2**2)
    dW2 = h1.T @ d2
    db2 = d2.sum(axis=0)
    dh1 = d2 @ W2.T
    d1 = dh1 * (1 - h1**2)
    dW1 = X.T @ d1
    db1 = d1.sum(axis=0)
    W1 -= 0.3 * dW1; b1 -= 0.3 * db1; W2 -= 0.3 * dW2; b2 -= 0.3 * db2; W3 -= 0.3 * dW3; b3 -= 0.3 * db3
"""
# in order of execution: right line, wrong line, the tensor that is wrong
FAULTS = {
    "labels": ("d3 = (p - np.eye(3)[y]) / 12", "d3 = (p - np.eye(3)[y - 1]) / 12", "4.grad_output"),
    "input": ("dW3 = h2.T @ d3", "dW3 = z2.T @ d3", "4.grad_weight"),
    "mean": ("db3 = d3.sum(axis=0)", "db3 = d3.mean(axis=0)", "4.grad_bias"),
    "derivative": ("d2 = dh2 * (1 - h2**2)", "d2 = dh2 * (1 - h2)", "3.grad_input"),
    "sign": ("db2 = d2.sum(axis=0)", "db2 = -d2.sum(axis=0)", "2.grad_bias"),
    "of z": ("d1 = dh1 * (1 - h1**2)", "d1 = dh1 * (1 - z1**2)", "1.grad_input"),
    "missing": ("d1 = dh1 * (1 - h1**2)", "d1 = dh1", "1.grad_input"),
    "sum": ("dW1 = X.T @ d1", "dW1 = 12 * X.T @ d1", "0.grad_weight"),
}
PAIRS = [(a, b) for a, b in combinations(FAULTS, 2) if FAULTS[a][0] != FAULTS[b][0]]


def checked(tmp_path: Path, *faults: str) -> Report:
    text = SCRIPT
    for fault in faults:
        right, wrong, _ = FAULTS[fault]
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    script = tmp_path / "s.py"
    script.write_text(text)
    return compare.check(script, network=NET)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_mistakes(tmp_path: Path, pair: tuple[str, str]) -> None:
    report = checked(tmp_path, *pair)
    assert report.verdict == "mismatch"
    assert report.first is not None
    tensors = [FAULTS[fault][2] for fault in pair]
    assert report.first.tensor == tensors[0], report
    line = SCRIPT[: SCRIPT.index(FAULTS[pair[0]][0])].count("\n") + 1
    assert f"line {line}," in report.origins[tensors[0]]
    assert any(f"also wrong, on its own inputs: {tensors[1]} (s.py line" in f for f in report.findings), report
    off = {row.tensor for row in report.rows if row.status == "off"}
    assert off == set(tensors), report.text(verbose=True)
    assert report.diagnosis[0].cause != "unknown", report
