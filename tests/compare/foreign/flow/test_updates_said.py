"""What is said of an update: momentum, which one step cannot show, and a penalty that is subtracted from the loss."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare

NET = "4-3, half squared error"
SCRIPT = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
W, b = rng.normal(size=(4, 3)), np.zeros(3)
vW, vb = np.zeros((4, 3)), np.zeros(3)
for epoch in range(4):
    y = X @ W + b
    loss = 0.5 * np.sum((y - T) ** 2) / 8 {penalty}
    d = (y - T) / 8
    dW, db = X.T @ d + 0.01 * W, d.sum(axis=0)
    vW, vb = {momentum} * vW + dW, {momentum} * vb + db
    W, b = W - 0.1 * vW, b - 0.1 * vb
"""


def checked(folder: Path, penalty: str, momentum: float) -> compare.Report:
    script = folder / "s.py"
    script.write_text(SCRIPT.format(penalty=penalty, momentum=momentum))
    return compare.check(script, network=NET)


@pytest.mark.parametrize(("momentum", "said"), [(0.9, True), (0.0, False)])
def test_momentum(tmp_path: Path, momentum: float, said: bool) -> None:
    report = checked(tmp_path, "+ 0.005 * np.sum(W**2)", momentum)
    assert report.verdict == "parity", report
    assert any("momentum 0.9" in finding for finding in report.findings) is said


@pytest.mark.parametrize(("sign", "verdict"), [("+", "parity"), ("-", "mismatch")])
def test_the_sign_of_a_penalty(tmp_path: Path, sign: str, verdict: str) -> None:
    assert checked(tmp_path, f"{sign} 0.005 * np.sum(W**2)", 0.0).verdict == verdict
