"""The second step of a script: what zero biases hide in the first."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare
from compare.report.report import Report

NET = "5-7-4 tanh, softmax cross-entropy"
RIGHT = "a second step, from the updated weights, is right too"
SECOND = "this is the second step: in the first one, from the initial weights, nothing is wrong"
FLAT = """import numpy as np
rng = np.random.default_rng(0)
X, y = rng.normal(size=(12, 5)), rng.integers(0, 4, 12)
W1, b1, W2, b2 = rng.normal(size=(5, 7)), np.zeros(7), rng.normal(size=(7, 4)), np.zeros(4)
for epoch in range(4):
    z1 = X @ W1 + b1
    h1 = np.tanh(z1)
    s = h1 @ W2 + b2
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(12), y]).mean()
    d2 = (p - np.eye(4)[y]) / 12
    dW2, db2 = h1.T @ d2, d2.sum(axis=0)
    d1 = d2 @ W2.T * (1 - h1**2)
    dW1, db1 = X.T @ d1, d1.sum(axis=0)
    W1 -= 0.5 * dW1
    b1 -= 0.5 * db1
    W2 -= 0.5 * dW2
    b2 -= 0.5 * db2
"""
BATCHES = """import numpy as np

class Net:
    def __init__(self, rng):
        self.params = {"W1": rng.normal(size=(5, 7)), "b1": np.zeros((1, 7)),
                       "W2": rng.normal(size=(7, 4)), "b2": np.zeros((1, 4))}

    def forward(self, x):
        self.x = x
        self.h = np.tanh(x @ self.params["W1"] + self.params["b1"])
        return self.h @ self.params["W2"] + self.params["b2"]

    def backward(self, d):
        back = d @ self.params["W2"].T * (1 - self.h**2)
        return {"W1": self.x.T @ back, "b1": back.sum(0, keepdims=True),
                "W2": self.h.T @ d, "b2": d.sum(0, keepdims=True)}

def train(net, X, y, rate=0.2):
    for epoch in range(3):
        for k in range(0, len(X), 10):
            xb, yb = X[k:k + 10], y[k:k + 10]
            s = net.forward(xb)
            e = np.exp(s - s.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            grads = net.backward((p - np.eye(4)[yb]) / 10)
            for name in grads:
                net.params[name] = net.params[name] - rate * grads[name]

rng = np.random.default_rng(1)
train(Net(rng), rng.normal(size=(40, 5)), rng.integers(0, 4, 40))
"""


def checked(tmp_path: Path, code: str, change: tuple[str, str] | None = None) -> Report:
    if change is not None:
        assert code.count(change[0]) == 1
        code = code.replace(*change)
    script = tmp_path / "s.py"
    script.write_text(code)
    return compare.check(script, network=NET)


@pytest.mark.parametrize("code", [FLAT, BATCHES], ids=["flat", "batches"])
def test_what_is_right_is_right_in_both_steps(tmp_path: Path, code: str) -> None:
    report = checked(tmp_path, code)
    assert report.verdict == "parity", report.text(verbose=True)
    assert RIGHT in report.findings


@pytest.mark.parametrize(
    ("code", "change", "tensor", "line"),
    [
        (FLAT, ("z1 = X @ W1 + b1", "z1 = X @ W1"), "0.output", "line 6, z1"),
        (FLAT, ("s = h1 @ W2 + b2", "s = h1 @ W2"), "2.output", "line 8, s"),
        (BATCHES, ('self.params["W2"] + self.params["b2"]', 'self.params["W2"]'), "2.output", "line 11"),
    ],
    ids=["first layer", "last layer", "of an object"],
)
def test_a_bias_that_is_left_out(tmp_path: Path, code: str, change: tuple[str, str], tensor: str, line: str) -> None:
    report = checked(tmp_path, code, change)
    assert report.verdict == "mismatch", report.text(verbose=True)
    assert report.first is not None
    assert report.first.tensor == tensor
    assert line in report.origins[tensor]
    assert "bias" in (report.cause or ""), report
    assert SECOND in report.findings


@pytest.mark.parametrize(
    ("change", "tensor"),
    [(("    b1 -= 0.5 * db1\n", ""), "0.new_bias"), (("    W2 -= 0.5 * dW2\n", ""), "2.new_weight")],
    ids=["bias", "weight"],
)
def test_a_parameter_that_is_never_updated(tmp_path: Path, change: tuple[str, str], tensor: str) -> None:
    report = checked(tmp_path, FLAT, change)
    assert report.verdict == "mismatch", report.text(verbose=True)
    assert report.first is not None
    assert report.first.tensor == tensor
    assert report.diagnosis[0].cause == "update-missing", report


def test_a_bias_that_begins_like_another_is_not_taken_for_its_old_value(tmp_path: Path) -> None:
    code = FLAT
    for old in ("(5, 7)", "(7, 4)", "zeros(7)"):
        code = code.replace(old, old.replace("7", "4"))
    script = tmp_path / "s.py"
    script.write_text(code.replace("    b1 -= 0.5 * db1\n", ""))
    report = compare.check(script, network="5-4-4 tanh, softmax cross-entropy")
    assert report.verdict == "mismatch", report.text(verbose=True)
    assert report.first is not None
    assert (report.first.tensor, report.diagnosis[0].cause) == ("0.new_bias", "update-missing")
    script.write_text(code)
    assert RIGHT in compare.check(script, network="5-4-4 tanh, softmax cross-entropy").findings


UNSEEN = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(12, 5)), rng.normal(size=(12, 4))
W1, b1, W2, b2 = rng.normal(size=(5, 7)), np.zeros(7), rng.normal(size=(7, 4)), np.zeros(4)
for epoch in range(4):
    h = np.tanh(X @ W1 + b1)
    y = h @ W2 + b2
    loss = 0.5 * np.sum((y - T) ** 2) / 12
    d2 = (y - T) / 12
    d1 = d2 @ W2.T * (1 - h**2)
    W1 -= 0.5 * X.T @ d1
    b1 -= 0.5 * d1.sum(axis=0)
    W2 -= 0.5 * h.T @ d2
    b2 -= 0.5 * d2.sum(axis=0)
"""


def test_a_bias_without_gradient_and_update_is_told(tmp_path: Path) -> None:
    said = "0.bias (b1) is not updated in the first step, and no gradient of it was seen"
    script = tmp_path / "s.py"
    script.write_text(UNSEEN)
    report = compare.check(script, network="5-7-4 tanh, half squared error")
    assert (report.verdict, said in report.findings) == ("parity", False), report.text(verbose=True)
    script.write_text(UNSEEN.replace("    b1 -= 0.5 * d1.sum(axis=0)\n", ""))
    report = compare.check(script, network="5-7-4 tanh, half squared error")
    assert (report.verdict, said in report.findings) == ("incomplete", True), report.text(verbose=True)


def test_a_mistake_of_the_first_step_is_said_of_the_first(tmp_path: Path) -> None:
    report = checked(tmp_path, FLAT, ("(1 - h1**2)", "(1 - h1)"))
    assert report.verdict == "mismatch"
    assert SECOND not in report.findings


def test_one_step_alone_is_enough(tmp_path: Path) -> None:
    report = checked(tmp_path, FLAT, ("range(4)", "range(1)"))
    assert report.verdict == "parity", report.text(verbose=True)
    assert RIGHT not in report.findings
