"""The line that is named is the guilty one, and what is right is in parity: kinds of code that strangers write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import compare

BATCHES = '''import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(11, 4)), rng.normal(size=(11, 2))
W1, b1, W2, b2 = rng.normal(size=(4, 5)), rng.normal(size=5), rng.normal(size=(5, 2)), rng.normal(size=2)
def passed_back(grad, h):
    return grad * (1 - h**2)
for epoch in range(3):
    for start in range(0, 11, 4):
        rows = np.arange(start, min(start + 4, 11))
        x, t = X[rows], T[rows]
        h = np.tanh(x @ W1 + b1)
        y = h @ W2 + b2
        loss = np.mean((y - t)**2)
        dy = 2 * (y - t) / (len(x) * 2)
        dh = dy @ W2.T
        dz = dh * (1 - h**2)
        dW2, db2 = h.T @ dy, dy.sum(axis=0)
        dW1, db1 = x.T @ dz, dz.sum(axis=0)
        W1 -= 0.1 * dW1
        b1 -= 0.1 * db1
        W2 -= 0.1 * dW2
        b2 -= 0.1 * db2
'''
BATCHES_NET = "4-5-2 tanh, mse"

SUMS = '''import numpy as np
rng = np.random.default_rng(0)
X, y = rng.normal(size=(6, 3)), rng.integers(0, 2, 6)
w, b = rng.normal(size=3), np.zeros(1)
gw, gb = np.zeros(3), np.zeros(1)
for epoch in range(4):
    total = 0
    gw, gb = np.zeros(3), np.zeros(1)
    for i in range(6):
        p = 1 / (1 + np.exp(-(w @ X[i] + b[0])))
        total -= np.log(p) if y[i] == 1 else np.log(1 - p)
        delta = p - y[i]
        gw += delta * X[i]
        gb[0] += delta
    w[:] -= 0.5 * gw / 6
    b[0] -= 0.5 * gb[0] / 6
'''
NOISY = '''import numpy as np
rng = np.random.default_rng(0)
W = [rng.normal(size=(4, 4)) * 0.7 for _ in range(3)]
for epoch in range(3):
    for t in rng.normal(size=(5, 4)):
        a = [t + 0.1 * rng.normal(size=4)]
        for k in range(3):
            a.append(np.tanh(a[-1] @ W[k]))
        d = (a[-1] - t) * (1 - a[-1] ** 2)
        deltas = [d]
        for k in (2, 1):
            d = W[k].dot(d) * (1 - a[k] ** 2)
            deltas.append(d)
        for w, x, g in zip(W, a, deltas[::-1]):
            w -= 0.1 * np.outer(x, g)
'''
NOISY_NET = "4-4-4-4 tanh, tanh output, no bias, half squared error"

SUMS_NET = "3-1, sigmoid output, binary cross-entropy"

ADAM = '''import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
W = rng.normal(size=(3, 2))
m, v, step = np.zeros((3, 2)), np.zeros((3, 2)), 0
for epoch in range(4):
    d = (X @ W - T) / 6
    g = X.T @ d
    step += 1
    m = 0.9 * m + (1 - 0.9) * g
    v = 0.999 * v + (1 - 0.999) * g**2
    m_hat = m / (1 - 0.9**step)
    v_hat = v / (1 - 0.999**step)
    W = W - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
'''
ADAM_NET = "3-2, no bias, half squared error"

MOMENTUM = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
W, v = rng.normal(size=(3, 2)), np.zeros((3, 2))
for epoch in range(4):
    d = (X @ W - T) / 6
    v = 0.9 * v - 0.1 * X.T @ d
    W = W + v
"""

SCALED = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(7, 3)), rng.normal(size=(7, 5))
W, b = rng.normal(size=(3, 5)), rng.normal(size=5)
lr = 0.1
for epoch in range(3):
    d = (X @ W + b - T) / 7
    dW = X.T @ d
    db = d.sum(axis=0)
    W -= lr * dW
    b -= lr * db
"""
SCALED_NET = "3-5, half squared error"

ROOTS = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(7, 3)), rng.normal(size=(7, 5))
W, b = rng.normal(size=(3, 5)), rng.normal(size=5)
vW, vb, lr = np.zeros((3, 5)), np.zeros(5), 0.01
for epoch in range(3):
    d = (X @ W + b - T) / 7
    gW, gb = X.T @ d, d.sum(axis=0)
    vW = 0.9 * vW + (1 - 0.9) * gW**2
    vb = 0.9 * vb + (1 - 0.9) * gb**2
    W = W - lr * gW / (np.sqrt(vW) + 1e-8)
    b = b - lr * gb / (np.sqrt(vb) + 1e-8)
"""

PENALTY = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
V, W, v, w = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), np.zeros((3, 4)), np.zeros((4, 2))
for epoch in range(3):
    h = np.tanh(X @ V)
    y = h @ W
    loss = 0.5 * np.sum((y - T) ** 2) / 7 + 0.05 * (np.sum(V**2) + np.sum(W**2))
    d = (y - T) / 7
    gW = h.T @ d + 0.1 * W
    gV = X.T @ (d @ W.T * (1 - h**2)) + 0.1 * V
    v = 0.9 * v + (1 - 0.9) * gV**2
    w = 0.9 * w + (1 - 0.9) * gW**2
    V -= 0.02 * gV / (np.sqrt(v) + 1e-8)
    W -= 0.02 * gW / (np.sqrt(w) + 1e-8)
"""
UPHILL = PENALTY[: PENALTY.index("    v = 0.9")] + "    V -= 0.2 * gV\n    W -= 0.2 * gW\n"
UPHILL = UPHILL.replace("d = (y - T)", "d = (T - y)").replace("+ 0.1 *", "- 0.1 *").replace("-= 0.2", "+= 0.2")
PENALTY_NET = "3-4-2 tanh, no bias, half squared error"

CLASSES = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 4)), np.eye(3)[rng.integers(0, 3, 6)]
W = rng.normal(size=(4, 3))
for epoch in range(3):
    e = np.exp(X @ W)
    p = e / e.sum(axis=1, keepdims=True)
    d = p - T
    W -= 0.1 * X.T @ d / 6
"""
CLASSES_NET = "4-3, no bias, softmax cross-entropy"

OTHER_BATCH = "mean-over-other-batch factor"

# what is edited: old -> new; the guilty line after it; the tensor, and causes of which one is named
WRONG = {
    "weights of another layer, noise on the target": (
        NOISY,
        "W[k].dot(d)",
        "W[k - 1].dot(d)",
        "d = W[k - 1].dot(d) * (1 - a[k] ** 2)",
        "3.grad_input",
        "unknown",
    ),
    "a bias summed over all": (
        BATCHES,
        "dW2, db2 = h.T @ dy, dy.sum(axis=0)",
        "dW2 = h.T @ dy; db2 = dy.sum()",
        "dW2 = h.T @ dy; db2 = dy.sum()",
        "2.grad_bias",
        "bias-over-features",
    ),
    "delta is dh": (BATCHES, "dz = dh * (1 - h**2)", "dz = dh", "dz = dh", "1.grad_input", "derivative-missing"),
    "handed on as it is": (
        BATCHES.replace("dz = dh * (1 - h**2)", "dz = passed_back(dh, h)"),
        "return grad * (1 - h**2)",
        "return grad",
        "return grad",
        "1.grad_input",
        "derivative-missing",
    ),
    "right, and not used": (
        BATCHES,
        "dW1, db1 = x.T @ dz, dz.sum(axis=0)",
        "dW1, db1 = x.T @ dh, dz.sum(axis=0)",
        "dW1, db1",
        "0.grad_weight",
        "activation-derivative-lost",
    ),
    "not its delta": (
        BATCHES,
        "dh = dy @ W2.T",
        "dh = (y - t)**3 @ W2.T",
        "dh =",
        "2.grad_input",
        "",
    ),
    "one bias by one sample": (BATCHES, "dz.sum(axis=0)", "dz[-1]", "dW1, db1", "0.grad_bias", "last-sample-only"),
    "a gradient times three": (BATCHES, "h.T @ dy,", "3 * (h.T @ dy),", "dW2, db2", "2.grad_weight", "factor"),
    "the last batch by four": (BATCHES, "(len(x) * 2)", "(4 * 2)", "dy =", "2.grad_output", OTHER_BATCH),
    "other samples' targets": (BATCHES, "T[rows]", "T[rows[::-1]]", "x, t =", "target", "targets-shuffled"),
    "one step uphill": (BATCHES, "b2 -= 0.1 * db2", "b2 += 0.1 * db2", "b2 +=", "2.new_bias", "update-sign sign"),
    "a weight that stays": (BATCHES, "        W2 -= 0.1 * dW2\n", "", "W1, b1, W2", "2.new_weight", "update-missing"),
    "sums that are kept": (
        SUMS,
        "    gw, gb = np.zeros(3), np.zeros(1)\n    for",
        "    for",
        "gw +=",
        "0.grad_weight",
        "accumulated",
    ),
    "a bias that is not added": (BATCHES, "y = h @ W2 + b2", "y = h @ W2", "y =", "2.output", "bias-missing"),
    "no correction": (ADAM, "m / (1 - 0.9**step)", "m", "m_hat = m", "0.new_weight", "bias-correction-missing"),
    "a velocity that is zero again": (
        MOMENTUM,
        "    d =",
        "    v = np.zeros((3, 2))\n    d =",
        "v = np.zeros((3, 2))",
        "0.new_weight",
        "momentum-missing",
    ),
    "corrected by one beta": (ADAM, "0.999**step", "0.9**step", "v_hat =", "0.new_weight", "betas-swapped"),
    "an average that is lost": (
        ADAM,
        "m = 0.9 * m + (1 - 0.9) * g",
        "m = (1 - 0.9) * g",
        "m = (1",
        "0.new_weight.exp_avg",
        "moving-average-reset",
    ),
}
WRONG |= {
    "one rate of four": (BATCHES, "W1 -= 0.1", "W1 -= 3 * 0.1", "W1 -=", "0.new_weight", "wrong-learning-rate"),
    "the larger one's rate": (SCALED, "W -= lr", "W -= 2 * lr", "W -=", "0.new_weight", "wrong-learning-rate"),
    "the smaller one's rate": (SCALED, "b -= lr", "b -= 2 * lr", "b -=", "0.new_bias", "wrong-learning-rate"),
    "two steps, one rate": (
        SCALED,
        "    b -= lr * db",
        "    b -= lr * db\n    b -= lr * db",
        "b -=",
        "0.new_bias",
        "update-doubled factor-two",
    ),
    "a rate over the root": (ROOTS, "W - lr", "W - 0.5 * lr", "W = W", "0.new_weight", "wrong-learning-rate"),
    "uphill over the root": (ROOTS, "b = b - lr", "b = b + lr", "b = b", "0.new_bias", "update-sign"),
    "no correction of both": (
        ADAM.replace("m / (1 - 0.9**step)", "m"),
        "v / (1 - 0.999**step)",
        "v",
        "m_hat = m",
        "0.new_weight",
        "bias-correction-missing",
    ),
    "counted twice": (ADAM, "step += 1", "step += 2", "m_hat = m", "0.new_weight", "bias-correction-off-by-one"),
    "Adam uphill": (ADAM, "W - 0.01", "W + 0.01", "W = W", "0.new_weight", "update-sign"),
    "times three beside a penalty": (
        PENALTY,
        "gW = h.T @ d +",
        "gW = 3 * (h.T @ d) +",
        "gW = 3",
        "2.grad_weight",
        "factor",
    ),
    "the error turned around beside a penalty": (
        UPHILL,
        "d = (T - y)",
        "d = (y - T)",
        "d = (y - T)",
        "2.grad_output",
        "sign",
    ),
    "the error turned around, downhill": (
        UPHILL.replace("d = (T - y)", "d = (y - T)").replace("- 0.1 *", "+ 0.1 *").replace("+= 0.2", "-= 0.2"),
        "d = (y - T)",
        "d = (T - y)",
        "d = (T - y)",
        "2.grad_output",
        "sign",
    ),
    "softmax down the columns": (
        CLASSES,
        "axis=1, keepdims=True",
        "axis=0, keepdims=True",
        "p = e",
        "0.grad_output",
        "softmax-wrong-axis",
    ),
}
NETWORKS = {BATCHES: BATCHES_NET, NOISY: NOISY_NET, SUMS: SUMS_NET, ADAM: ADAM_NET, MOMENTUM: ADAM_NET}
NETWORKS |= {ADAM.replace("m / (1 - 0.9**step)", "m"): ADAM_NET}
NETWORKS |= {PENALTY: PENALTY_NET, UPHILL: PENALTY_NET}
NETWORKS |= {WRONG["the error turned around, downhill"][0]: PENALTY_NET}
NETWORKS |= {SCALED: SCALED_NET, ROOTS: SCALED_NET, CLASSES: CLASSES_NET}


def checked(folder: Path, script: str, network: str) -> compare.Report:
    (folder / "s.py").write_text(script)
    return compare.check(folder / "s.py", network=network)


def named_line(origin: str) -> int:
    match = re.search(r"line (\d+)", origin)
    assert match, origin
    return int(match[1])


@pytest.mark.parametrize("kind", WRONG)
def test_guilty_line(tmp_path: Path, kind: str) -> None:
    script, old, new, guilty, tensor, causes = WRONG[kind]
    assert old in script
    network = NETWORKS.get(script, BATCHES_NET)
    report = checked(tmp_path, script.replace(old, new), network)
    assert report.verdict == "mismatch", report
    assert report.first is not None
    assert report.first.tensor == tensor, report
    assert guilty in report.code, report
    line = (tmp_path / "s.py").read_text().splitlines()[named_line(report.origins[tensor]) - 1]
    assert line.strip() == report.code, "the line that is named, and the one that is shown"
    assert not causes or report.diagnosis[0].cause in causes.split(), report


RIGHT = {
    "batches": (BATCHES, "", ""),
    "handed on by a function": (BATCHES, "dz = dh * (1 - h**2)", "dz = passed_back(dh, h)"),
    "L1 beside L2": (BATCHES, "dW1, db1 = x.T @ dz,", "dW1, db1 = x.T @ dz + 0.01 * W1 + 0.003 * np.sign(W1),"),
    "a weight that was cast": (BATCHES, "rng.normal(size=(4, 5)),", "rng.normal(size=(4, 5)).astype(float),"),
    "sums": (SUMS, "", ""),
    "Adam": (ADAM, "", ""),
    "momentum": (MOMENTUM, "", ""),
    "one rate": (SCALED, "", ""),
    "over the root": (ROOTS, "", ""),
    "a penalty": (PENALTY, "", ""),
    "a penalty, uphill": (UPHILL, "", ""),
    "softmax": (CLASSES, "", ""),
    "-x @ W": (SUMS.replace("b[0] -= 0.5 * gb[0] / 6", ""), "np.exp(-(w @ X[i] + b[0]))", "np.exp(-w @ X[i])"),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right(tmp_path: Path, kind: str) -> None:
    script, old, new = RIGHT[kind]
    assert old in script
    network = NETWORKS.get(script, SUMS_NET)
    report = checked(tmp_path, script.replace(old, new, 1) if old else script, network)
    assert report.verdict == "parity", report


def test_the_steps_that_were_judged_are_named(tmp_path: Path) -> None:
    report = checked(tmp_path, BATCHES, BATCHES_NET)
    assert "steps 2 (4 samples), 3 (3 samples) and 4 (4 samples) are right too" in report.findings
