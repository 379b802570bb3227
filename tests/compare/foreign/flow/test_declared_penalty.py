"""A penalty in the network's text: the gradient must have it, and the loss, where it has one, must have the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare

SCRIPT = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
W, b = rng.normal(size=(4, 3)), rng.normal(size=3)
mW, mb, vW, vb = 0 * W, 0 * b, 0 * W, 0 * b
for t in range(1, 5):
    y = X @ W + b
    loss = 0.5 * np.sum((y - T) ** 2) / 8 {loss}
    d = (y - T) / 8
    dW, db = X.T @ d {gradient}, d.sum(axis=0) {bias}
{update}
"""
SGD = "    W, b = W - 0.1 * dW, b - 0.1 * db"
MOMENTUM = f"    vW, vb = 0.9 * vW + dW, 0.9 * vb + db\n{SGD.replace('d', 'v')}"
DECAY = "    W, b = 0.999 * W - 0.1 * dW, b - 0.1 * db"
ADAM = """    mW, mb = 0.9 * mW + 0.1 * dW, 0.9 * mb + 0.1 * db
    vW, vb = 0.999 * vW + 0.001 * dW**2, 0.999 * vb + 0.001 * db**2
    W = W - 0.01 * (mW / (1 - 0.9**t)) / (np.sqrt(vW / (1 - 0.999**t)) + 1e-8)
    b = b - 0.01 * (mb / (1 - 0.9**t)) / (np.sqrt(vb / (1 - 0.999**t)) + 1e-8)"""
NONE = ""

L2, LOSS_L2 = "+ 0.01 * W", "+ 0.005 * np.sum(W**2)"
L1, LOSS_L1 = "+ 0.01 * np.sign(W)", "+ 0.01 * np.sum(np.abs(W))"
SAID = "the gradient has 0.01 {} on {}, as the network's text says"

# (penalty in the text, in the loss, in the gradient, the update)
RIGHT = {
    "L2 in both": ("L2", LOSS_L2, L2, SGD),
    "the loss is that of the data alone": ("L2", "", L2, SGD),
    "L1 in both": ("L1", LOSS_L1, L1, SGD),
    "with momentum": ("L2", LOSS_L2, L2, MOMENTUM),
    "as a decay in the step": ("L2", "", "", DECAY),
    "Adam": ("L2", LOSS_L2, L2, ADAM),
    "a gradient that is not used": ("L2", "", L2, NONE),
}
# and the first tensor that is off, and the cause
WRONG = {
    "in neither": ("L2", "", "", SGD, "0.grad_weight", "0.01 L2, this gradient one of 0"),
    "in the loss alone": ("L2", LOSS_L2, "", SGD, "0.grad_weight", "0.01 L2, this gradient one of 0"),
    "twice as large": ("L2", "", "+ 2 * 0.01 * W", SGD, "0.grad_weight", "0.01 L2, this gradient one of 0.02"),
    "of the other kind": ("L1", "", L2, SGD, "0.grad_weight", "0.01 L1, this gradient one of 0"),
    "another in the loss": ("L2", "+ 0.01 * np.sum(W**2)", L2, SGD, "loss", "0.01 L2, the loss one of 0.02"),
    "L1 in the loss": ("L2", LOSS_L1, L2, SGD, "loss", "0.01 L2, the loss one of 0"),
    "another in both": ("L2", "+ 0.01 * np.sum(W**2)", "+ 0.02 * W", SGD, "loss", "0.01 L2, the loss one of 0.02"),
    "momentum": ("L2", "", "", MOMENTUM, "0.grad_weight", "0.01 L2, this gradient one of 0"),
    "Adam without": ("L2", "", "", ADAM, "0.grad_weight", "0.01 L2, this gradient one of 0"),
    "Adam with another": ("L2", "", "+ 0.02 * W", ADAM, "0.grad_weight", "0.01 L2, this gradient one of 0.02"),
    "a gradient that is not used": ("L2", "", "", NONE, "0.grad_weight", "0.01 L2, this gradient one of 0"),
}


def checked(folder: Path, text: str, loss: str, gradient: str, update: str, bias: str = "") -> compare.Report:
    script = folder / "s.py"
    script.write_text(SCRIPT.format(loss=loss, gradient=gradient, update=update, bias=bias))
    return compare.check(script, network=f"4-3, half squared error{text}")


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str, tmp_path: Path) -> None:
    kind, *script = RIGHT[name]
    report = checked(tmp_path, f" + 0.01 {kind}", *script)
    assert report.verdict == ("incomplete" if script[2] == NONE else "parity"), f"\n{report}"
    assert SAID.format(kind, "W") in report.findings
    assert f"4-3, half squared error + 0.01 {kind}" in str(report)


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str, tmp_path: Path) -> None:
    kind, loss, gradient, update, tensor, cause = WRONG[name]
    report = checked(tmp_path, f" + 0.01 {kind}", loss, gradient, update)
    assert report.first is not None
    assert (report.verdict, report.first.tensor) == ("mismatch", tensor)
    assert report.cause == f"{tensor}: the network's text has a penalty of {cause}"
    assert any(finding.startswith("the penalty in the network's text is 0.01") for finding in report.findings)


@pytest.mark.parametrize("name", ["update_element_by_element.py", "one_sample_sgd.py"])
def test_where_no_line_holds_the_gradient(name: str) -> None:
    script = Path(__file__).parent / "strangers" / name
    network = "3-2, half squared error"
    assert compare.check(script, network=network).verdict == "parity"
    report = compare.check(script, network=f"{network} + 0.05 L2")
    assert report.cause == "0.grad_weight: the network's text has a penalty of 0.05 L2, this gradient one of 0"


def test_a_bias_may_have_it_too(tmp_path: Path) -> None:
    alone = checked(tmp_path, " + 0.01 L2", "", L2, SGD, bias="+ 0.01 * b")
    both = checked(tmp_path, " + 0.01 L2", f"{LOSS_L2} + 0.005 * np.sum(b**2)", L2, SGD, bias="+ 0.01 * b")
    assert (alone.verdict, both.verdict) == ("parity", "parity")
    assert SAID.format("L2", "W and b") in both.findings


def test_nothing_changes_where_none_is_declared(tmp_path: Path) -> None:
    assert checked(tmp_path, "", LOSS_L2, L2, SGD).verdict == "parity"
    report = checked(tmp_path, "", LOSS_L2, "", SGD)
    assert report.cause == "0.grad_weight: the loss has a penalty of 0.01 L2, this gradient one of 0"


def test_a_bias_that_the_text_has_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SCRIPT.format(loss="", gradient="", update=SGD, bias=""))
    expected = r"layer 0 has a bias \(s.py line 4, b\), which network '4-3, no bias, half squared error' has not"
    with pytest.raises(ValueError, match=expected):
        compare.check(tmp_path / "s.py", network="4-3, no bias, half squared error")
