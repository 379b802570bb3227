"""Side effects of somebody's code: what backward writes into is told, harm or not, and nothing else is accused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compare
from compare.report.report import Report

NET = "5-7-4 relu, softmax cross-entropy"
HARMLESS = "the gradients are right all the same"
HARMFUL = "and a gradient is computed from what it became"


def batch(m: int = 12) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(m, 5)), rng.integers(0, 4, m)


class Net:
    """It writes into nothing."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.W1, self.b1 = rng.normal(size=(5, 7)), rng.normal(size=7)
        self.W2, self.b2 = rng.normal(size=(7, 4)), rng.normal(size=4)

    def forward(self, X: Any) -> Any:
        self.X, self.z = X, X @ self.W1 + self.b1
        self.h = np.maximum(self.z, 0)
        self.s = self.h @ self.W2 + self.b2
        return self.s

    def backward(self, dout: Any) -> None:
        self.last(dout)
        dz = self.masked(dout @ self.W2.T)
        self.first(dz)

    def last(self, dout: Any) -> None:
        self.dW2, self.db2 = self.h.T @ dout, dout.sum(axis=0)

    def first(self, dz: Any) -> None:
        self.dW1, self.db1 = self.X.T @ dz, dz.sum(axis=0)

    def masked(self, dh: Any) -> Any:
        return dh * (self.z > 0)


class IntoHidden(Net):
    def masked(self, dh: Any) -> Any:
        np.multiply(dh, self.z > 0, out=self.h)
        return self.h


class IntoHiddenTooEarly(IntoHidden):
    def backward(self, dout: Any) -> None:
        dz = self.masked(dout @ self.W2.T)
        self.last(dout)
        self.first(dz)


class MaskOverwritten(Net):
    def masked(self, dh: Any) -> Any:
        self.z *= dh
        return dh * (self.z > 0)


class IntoInput(Net):
    def first(self, dz: Any) -> None:
        super().first(dz)
        self.X *= 0.5


class IntoInputTooEarly(Net):
    def first(self, dz: Any) -> None:
        self.X *= 0.5
        super().first(dz)


class ThroughAView(Net):
    def masked(self, dh: Any) -> Any:
        whole = self.h[:]
        return np.multiply(dh, self.z > 0, out=whole)


class IntoACopy(Net):
    def masked(self, dh: Any) -> Any:
        work = self.z.copy()
        work *= dh
        return dh * (self.z > 0)


class IntoBuffers(Net):
    """Its arrays are filled anew by the next forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.h = np.empty((12, 7)), np.empty((12, 7))

    def forward(self, X: Any) -> Any:
        self.X, m = X, len(X)
        z, h = self.z[:m], self.h[:m]
        np.matmul(X, self.W1, out=z)
        z += self.b1
        np.maximum(z, 0, out=h)
        self.s = h @ self.W2 + self.b2
        return self.s

    def last(self, dout: Any) -> None:
        self.dW2, self.db2 = self.h[: len(dout)].T @ dout, dout.sum(axis=0)

    def masked(self, dh: Any) -> Any:
        return dh * (self.z[: len(dh)] > 0)


@pytest.mark.parametrize("candidate", [Net, IntoACopy, IntoBuffers])
def test_nothing_is_accused_that_writes_into_nothing(candidate: type[Net]) -> None:
    report = compare.check(candidate(), *batch(), network=NET)
    assert report.verdict == "parity", report.text(verbose=True)
    assert report.side_effects == []
    assert "side effects: none" in str(report)


@pytest.mark.parametrize(
    ("candidate", "array", "where"),
    [
        (IntoHidden, "1.output", "self.h"),
        (IntoInput, "x", "self.X"),
        (ThroughAView, "1.output", "self.h"),
    ],
)
def test_what_does_no_harm_is_told_beside_parity(candidate: type[Net], array: str, where: str) -> None:
    report = compare.check(candidate(), *batch(), network=NET)
    assert report.verdict == "parity", report.text(verbose=True)
    (words,) = report.side_effects
    assert words.startswith(f"{array} is ")
    assert where in words
    assert HARMLESS in words
    assert words in str(report)


@pytest.mark.parametrize(
    ("candidate", "tensor", "cause", "array"),
    [
        (IntoHiddenTooEarly, "2.grad_weight", "x was overwritten before dW = dy^T x was computed", "1.output"),
        (MaskOverwritten, "1.grad_input", "the mask is taken of x after it was overwritten", "0.output"),
        (IntoInputTooEarly, "0.grad_weight", "x was overwritten before dW = dy^T x was computed", "x"),
    ],
)
def test_what_does_harm_is_the_cause(candidate: type[Net], tensor: str, cause: str, array: str) -> None:
    report = compare.check(candidate(), *batch(), network=NET)
    assert report.verdict == "mismatch", report.text(verbose=True)
    assert report.first is not None
    assert report.first.tensor == tensor, report.text(verbose=True)
    assert cause in (report.cause or ""), report
    assert any(words.startswith(f"{array} is ") and HARMFUL in words for words in report.side_effects)


def test_the_callers_arrays_are_never_written_into_by_a_check() -> None:
    x, t = batch()
    before = x.copy()
    compare.check(IntoInput(), x, t, network=NET)
    assert np.array_equal(x, before)


def right_step(net: Net, x: Any, t: Any) -> None:
    s = net.forward(x)
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    t -= p
    t /= -len(x)
    net.backward(t)


def test_a_target_that_is_written_into() -> None:
    x, t = batch()
    net = Net()
    report = compare.check(lambda x, t: right_step(net, x, t), x, np.eye(4)[t], network=NET)
    assert report.verdict == "parity", report.text(verbose=True)
    (words,) = report.side_effects
    assert words.startswith("t is written into (test_side_effects.py line")


def through_a_view(h: Any) -> None:
    whole = h[:]
    whole[:] = 0


@pytest.mark.parametrize("is_shown", [True, False])
def test_what_is_written_at_the_end(is_shown: bool) -> None:
    net = Net()

    def step(x: Any, t: Any) -> None:
        right_step(net, x, np.eye(4)[t])
        if is_shown:
            through_a_view(net.h)
        else:
            memoryview(net.h)[0, 0] = 7.0

    report = compare.check(step, *batch(), network=NET)
    assert report.verdict == "parity", report.text(verbose=True)
    (words,) = report.side_effects
    where = "written into (test_side_effects.py line 190, self.h)" if is_shown else "not what it was after the step"
    assert words.startswith(f"1.output is {where}")


SCRIPT = """import numpy as np
rng = np.random.default_rng(0)
X, y = rng.normal(size=(12, 5)), rng.integers(0, 4, 12)
W1, b1, W2, b2 = rng.normal(size=(5, 7)), np.zeros(7), rng.normal(size=(7, 4)), np.zeros(4)
for epoch in range(3):
    z = X @ W1 + b1
    h = np.maximum(z, 0)
    s = h @ W2 + b2
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    d = p
    d[np.arange(12), y] -= 1
    d /= 12
    dW2, db2 = h.T @ d, d.sum(axis=0)
    dh = d @ W2.T
    {mask}
    dW1, db1 = X.T @ dz, dz.sum(axis=0)
    W1 -= 0.1 * dW1; b1 -= 0.1 * db1; W2 -= 0.1 * dW2; b2 -= 0.1 * db2
    rng.shuffle(X)
"""


@pytest.mark.parametrize(
    ("mask", "told"),
    [("dz = dh * (z > 0)", False), ("h *= 0; h += dh * (z > 0); dz = h", True)],
    ids=["into nothing", "into the hidden layer"],
)
def test_scripts(tmp_path: Path, mask: str, told: bool) -> None:
    """The probabilities are written into, too, and are no tensor of this network; the data are shuffled afterwards."""
    script = tmp_path / "s.py"
    script.write_text(SCRIPT.format(mask=mask))
    report: Report = compare.check(script, network=NET)
    assert report.verdict == "parity", report.text(verbose=True)
    assert bool(report.side_effects) is told, report
    assert all("1.output is written into (s.py line 15, h)" in words for words in report.side_effects)


def test_of_a_dictionary_arrays_that_are_one() -> None:
    x, t = batch()
    net = Net()
    s = net.forward(x)
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    net.backward((p - np.eye(4)[t]) / 12)
    arrays = {"W": net.W1, "b": net.b1, "V": net.W2, "c": net.b2, "z": net.z, "h": net.h, "s": s}
    arrays |= {"dW": net.dW1, "db": net.db1, "dV": net.dW2, "dc": net.db2}
    assert compare.check(arrays, x, t, network=NET).side_effects == []
    net.h *= 0
    found = compare.check(arrays | {"dz": net.h}, x, t, network=NET).side_effects
    assert found == ["h and dz are one array: what was in it first is written over"]
