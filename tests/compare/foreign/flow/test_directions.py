"""Steps along another direction than the gradient: clipped, over a root of squares, momentum that looks ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare

NET = "4-6-3 tanh, half squared error"
SCRIPT = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(40, 4)), rng.normal(size=(40, 3))
params = {{"W1": rng.normal(size=(4, 6)), "b1": np.zeros(6), "W2": rng.normal(size=(6, 3)), "b2": np.zeros(3)}}
v = {{k: np.zeros_like(p) for k, p in params.items()}}
lr = 0.05
for step in range(1, 9):
    i = rng.permutation(40)[:16]
    x, t = X[i], T[i]
    h = np.tanh(x @ params["W1"] + params["b1"])
    y = h @ params["W2"] + params["b2"]
    loss = 0.5 * np.sum((y - t) ** 2) / len(x)
    d = (y - t) / {mean}
    dz = d @ params["W2"].T * (1 - h ** 2)
    grads = {{"W1": x.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d, "b2": d.sum(axis=0)}}
{before}
    for k in params:
        g = grads[k]
{update}
"""
GLOBAL_NORM = """    norm = np.sqrt(sum(np.sum(g ** 2) for g in grads.values()))
    if norm > 0.5:
        for k in grads:
            grads[k] = grads[k] * 0.5 / norm"""
OWN_NORM = """        norm = np.linalg.norm(g)
        if norm > 0.3: g = g * (0.3 / norm)
        params[k] -= 0.04 * g"""
RMSPROP = """        v[k] = 0.9 * v[k] + 0.1 * g ** 2
        params[k] -= 0.01 * g / (np.sqrt(v[k]) + 1e-8)"""
ADAGRAD = """        v[k] += g ** 2
        params[k] -= lr * g / np.sqrt(v[k] + 1e-6)"""
AHEAD = """        before = v[k].copy()
        v[k] = 0.9 * v[k] - lr * g
        params[k] += -0.9 * before + 1.9 * v[k]"""
AVERAGED = """        v[k] = 0.9 * v[k] + 0.1 * g
        params[k] -= lr * v[k]"""
TORCHS = """        v[k] = 0.9 * v[k] + g
        params[k] -= lr * (g + 0.9 * v[k])"""
IN_PLACE = "    for g in grads.values(): np.clip(g, -0.1, 0.1, out=g)"
PLAIN = "        params[k] -= lr * g"

# what comes before the updates, the update, and what is said of it
RIGHT = {
    "all clipped by their norm": (GLOBAL_NORM, PLAIN, "the weights move by"),
    "each clipped by its norm": ("", OWN_NORM, "the step takes the gradient clipped to a norm of"),
    "clipped by value": ("", "        params[k] -= lr * np.clip(g, -0.1, 0.1)", "the gradient clipped to -0.1 and 0.1"),
    "clipped in place": (IN_PLACE, PLAIN, "the gradient clipped to -0.1 and 0.1"),
    "RMSprop": ("", RMSPROP, "over the root of its squares, as RMSprop does (alpha 0.9, eps 1e-08)"),
    "Adagrad": ("", ADAGRAD, "over the root of its squares, as Adagrad does (eps 1e-06 under the root)"),
    "Nesterov, by positions": ("", AHEAD, "the step has Nesterov momentum 0.9"),
    "Nesterov, as torch has it": ("", TORCHS, "the step has Nesterov momentum 0.9"),
    "a moving average": ("", AVERAGED, "the step has momentum 0.9"),
    "a rate that falls": ("", "        params[k] -= lr / (1 + 0.01 * step) * g", "the weights move by 0.0495"),
}
BIAS_TURNED = """        v[k] = 0.05 * g + 0.9 * v[k] * (-1 if k[0] == "b" else 1)
        params[k] -= v[k]"""
INVERTED = GLOBAL_NORM.replace("grads[k] * 0.5 / norm", "grads[k] * norm / 0.5")

# the first tensor that is off
WRONG = {
    "momentum of the biases uphill": ("", BIAS_TURNED, "0.new_bias"),
    "uphill, clipped": ("", "        params[k] += lr * np.clip(g, -0.1, 0.1)", "0.new_weight"),
    "uphill, Adagrad": ("", ADAGRAD.replace("-=", "+="), "0.new_weight"),
    "one parameter clipped": ("    grads['W2'] = np.clip(grads['W2'], -0.01, 0.01)", PLAIN, "2.new_weight"),
    "another rate, RMSprop": ("", RMSPROP.replace("0.01 *", "(0.01 if k != 'W2' else 0.03) *"), "2.new_weight"),
}
# what no rule that is known explains accuses nobody
UNKNOWN = {
    "no root": ("", RMSPROP.replace("np.sqrt(v[k])", "v[k]")),
    "no square": ("", RMSPROP.replace("g ** 2", "np.abs(g)")),
    "signs": ("", "        params[k] -= lr * np.sign(g)"),
    "a clip turned round": (INVERTED, PLAIN),
}
# Of three outputs and two inputs with ones beside them the weight is square; of zeros all layouts give the same.
SQUARE = """import numpy as np
rng = np.random.default_rng(0)
X, c = np.hstack([rng.normal(size=(30, 2)), np.ones((30, 1))]), np.repeat(np.arange(3), 10)
T, W = np.eye(3)[c], np.zeros((3, 3))
for step in range(4):
    e = np.exp(X.dot(W))
    P = e / e.sum(axis=1, keepdims=True)
    dW = X.T.dot(P - T) / 30
    W = W - 0.8 * dW
"""
# The first sample is zero: its step is not seen, and the velocity of the next one has begun already.
BEGUN = """import math, random
random.seed(1)
X = [[0.0, 0.0], [0.4, 1.0], [1.0, 0.3], [0.7, 0.6]]
T = [[0.2], [0.9], [0.4], [0.1]]
W = [[random.uniform(-1, 1) for j in range(2)] for i in range(1)]
b, vW, vb = [0.3], [[0.0, 0.0]], [0.0]
for epoch in range(5):
    for x, t in zip(X, T):
        y = 1 / (1 + math.exp(-(W[0][0] * x[0] + W[0][1] * x[1] + b[0])))
        d = (t[0] - y) * y * (1 - y)
        for j in range(2):
            vW[0][j] = 0.5 * d * x[j] + 0.9 * vW[0][j]
            W[0][j] += vW[0][j]
        vb[0] = 0.5 * d + 0.9 * vb[0]
        b[0] += vb[0]
"""
OTHERS = {
    "a square weight of zeros, its bias attached": (SQUARE, "2-3, softmax cross-entropy"),
    "a velocity older than the first step seen": (BEGUN, "2-1, sigmoid output, half squared error"),
}


def checked(folder: Path, before: str, update: str, mean: str = "len(x)") -> compare.Report:
    script = folder / "s.py"
    script.write_text(SCRIPT.format(before=before, update=update, mean=mean))
    return compare.check(script, network=NET)


@pytest.mark.parametrize("name", RIGHT)
def test_right(tmp_path: Path, name: str) -> None:
    before, update, said = RIGHT[name]
    report = checked(tmp_path, before, update)
    assert report.verdict == "parity", f"\n{report}"
    assert any(said in finding for finding in report.findings), report.findings


@pytest.mark.parametrize("name", [name for name in RIGHT if name != "all clipped by their norm"])
def test_a_mean_that_is_missing(tmp_path: Path, name: str) -> None:
    before, update, _ = RIGHT[name]
    report = checked(tmp_path, before, update, mean="1")
    assert report.first is not None, f"\n{report}"
    assert report.first.tensor == "2.grad_output", f"\n{report}"


@pytest.mark.parametrize("name", WRONG)
def test_wrong(tmp_path: Path, name: str) -> None:
    before, update, tensor = WRONG[name]
    report = checked(tmp_path, before, update)
    assert report.verdict == "mismatch", f"\n{report}"
    assert report.first is not None
    assert report.first.tensor == tensor, f"\n{report}"


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown(tmp_path: Path, name: str) -> None:
    report = checked(tmp_path, *UNKNOWN[name])
    assert report.verdict == "incomplete", f"\n{report}"
    assert "update not judged" in str(report).splitlines()[0]


@pytest.mark.parametrize("name", OTHERS)
def test_other_right_scripts(tmp_path: Path, name: str) -> None:
    text, network = OTHERS[name]
    (tmp_path / "s.py").write_text(text)
    report = compare.check(tmp_path / "s.py", network=network)
    assert report.verdict == "parity", f"\n{report}"
