"""Functions and objects in many styles: what is right is in parity; of a mistake the line that makes it is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compare
from compare.report.report import Report

BEGIN = """import numpy as np
r = np.random.default_rng(3)
W, b, V, c = r.normal(size=(4, 5)) / 2, r.normal(size=5) / 2, r.normal(size=(5, 3)) / 2, r.normal(size=3) / 2
"""
# style -> (network, code with a function step or an object net, wrong lines: right part, wrong part, first tensor)
STYLES: dict[str, tuple[str, str, list[tuple[str, str, str]]]] = {
    "a dictionary is returned": (
        "4-5-3 tanh, half squared error",
        """
def step(x, t):
    h = np.tanh(x @ W + b)
    y = h @ V + c
    d = (y - t) / len(x)
    e = d @ V.T * (1 - h**2)
    return {"V": h.T @ d, "c": d.sum(axis=0), "W": x.T @ e, "b": e.sum(axis=0)}
""",
        [
            ("e = d @ V.T * (1 - h**2)", "e = d @ V.T * (1 - h)", "1.grad_input"),
            ("d = (y - t) / len(x)", "d = (y + t) / len(x)", "2.grad_output"),
        ],
    ),
    "a tuple is returned, nothing is bound": (
        "4-5-3 sigmoid, mse",
        """
def s(z):
    return 1 / (1 + np.exp(-z))
def step(x, t):
    h = s(x @ W + b)
    d = 2 * (h @ V + c - t) / t.size
    return (h.T @ d,
            d.sum(0),
            x.T @ (d @ V.T * h * (1 - h)),
            (d @ V.T * h * (1 - h)).sum(0))
""",
        [
            ("    return (h.T @ d,", "    return ((h + x[:, :1]).T @ d,", "2.grad_weight"),
            ("            d.sum(0),", "            d[0],", "2.grad_bias"),
        ],
    ),
    "a list of pairs in a loop": (
        "4-5-3 relu, softmax cross-entropy",
        """
layers = [(W, b), (V, c)]
def step(x, t):
    a = [x]
    for k, (M, o) in enumerate(layers):
        z = a[-1] @ M + o
        a.append(np.maximum(z, 0) if k == 0 else z)
    p = np.exp(a[-1] - a[-1].max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(t)), t] -= 1
    d, grads = p / len(t), []
    for k in (1, 0):
        grads.insert(0, (a[k].T @ d, d.sum(axis=0)))
        d = (d @ layers[k][0].T) * (a[k] > 0)
    return grads
""",
        [
            ("p[np.arange(len(t)), t] -= 1", "p[np.arange(len(t)), t] -= 2", "2.grad_output"),
            ("d = (d @ layers[k][0].T) * (a[k] > 0)", "d = (d @ layers[k][0].T) * (a[k] <= 0)", "1.grad_input"),
        ],
    ),
    "stored in attributes": (
        "4-5-3 tanh, half squared error",
        """
class Net:
    def __init__(self):
        self.W, self.b, self.V, self.c = W, b, V, c
    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.W + self.b)
        return self.h @ self.V + self.c
    def backward(self, d):
        self.dV = self.h.T @ d
        self.dc = np.sum(d, axis=0)
        e = (d @ self.V.T) * (1 - self.h * self.h)
        self.dW = self.x.T @ e
        self.db = np.sum(e, axis=0)
net = Net()
""",
        [
            ("self.dW = self.x.T @ e", "self.dW = -self.x.T @ e", "0.grad_weight"),
            ("self.dc = np.sum(d, axis=0)", "self.dc = np.sum(d**2, axis=0)", "2.grad_bias"),
        ],
    ),
    "a list of layers, each with forward and backward": (
        "4-5-3 sigmoid, softmax cross-entropy",
        """
class Dense:
    def __init__(self, M, o):
        self.params = [M, o]
    def forward(self, x):
        self.x = x
        return x.dot(self.params[0]) + self.params[1]
    def backward(self, d):
        self.grads = [self.x.T.dot(d), d.sum(axis=0)]
        return d.dot(self.params[0].T)
class Sigmoid:
    def forward(self, z):
        self.y = 1 / (1 + np.exp(-z))
        return self.y
    def backward(self, d):
        return d * self.y * (1 - self.y)
class Net:
    def __init__(self):
        self.layers = [Dense(W, b), Sigmoid(), Dense(V, c)]
    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x
    def backward(self, d):
        for layer in reversed(self.layers):
            d = layer.backward(d)
net = Net()
""",
        [
            ("        return d * self.y * (1 - self.y)", "        return d * self.y * (1 + self.y)", "1.grad_input"),
            (
                "        self.grads = [self.x.T.dot(d), d.sum(axis=0)]",
                "        self.grads = [self.x.T.dot(d), d.max(axis=0)]",
                "2.grad_bias",
            ),
        ],
    ),
    "a closure with nonlocal": (
        "4-5-3 tanh, half squared error",
        """
def make():
    A, a, B, e = W.copy(), b.copy(), V.copy(), c.copy()
    def step(x, t):
        nonlocal A, a, B, e
        h = np.tanh(x @ A + a)
        d = (h @ B + e - t) / len(x)
        g = d @ B.T * (1 - h**2)
        B = B - 0.1 * h.T @ d
        e = e - 0.1 * d.sum(axis=0)
        gA = x.T @ g
        A = A - 0.1 * gA
        a = a - 0.1 * g.sum(axis=0)
    return step
step = make()
""",
        [
            ("        A = A - 0.1 * gA", "        A = A + 0.1 * gA", "0.new_weight"),
            ("e = e - 0.1 * d.sum(axis=0)", "e = e - 0.1 * d.mean(axis=0)", "2.grad_bias"),
        ],
    ),
    "samples are columns": (
        "4-5-3 tanh, half squared error",
        """
P = {"W1": W.T.copy(), "b1": b[:, None].copy(), "W2": V.T.copy(), "b2": c[:, None].copy()}
def step(x, t):
    X, T = x.T, t.T
    A = np.tanh(np.dot(P["W1"], X) + P["b1"])
    Y = np.dot(P["W2"], A) + P["b2"]
    dY = (Y - T) / X.shape[1]
    grads = {"W2": np.dot(dY, A.T), "b2": dY.sum(axis=1, keepdims=True)}
    dZ = np.dot(P["W2"].T, dY) * (1 - np.power(A, 2))
    grads["W1"] = np.dot(dZ, X.T)
    grads["b1"] = dZ.sum(axis=1, keepdims=True)
    for k in P:
        P[k] = P[k] - 0.05 * grads[k]
""",
        [
            ('dZ = np.dot(P["W2"].T, dY) * (1 - np.power(A, 2))', 'dZ = np.dot(P["W2"].T, dY)', "1.grad_input"),
            ('    grads["W1"] = np.dot(dZ, X.T)', '    grads["W1"] = np.dot(dZ, X.T) / 3', "0.grad_weight"),
        ],
    ),
    "one sample at a time, vectors": (
        "4-5-3 sigmoid, sigmoid output, half squared error sum",
        """
def f(z):
    return 1 / (1 + np.exp(-z))
def step(x, t):
    gW, gb, gV, gc = np.zeros_like(W), np.zeros_like(b), np.zeros_like(V), np.zeros_like(c)
    for a, y in zip(x, t):
        h = f(a @ W + b)
        o = f(h @ V + c)
        d = (o - y) * o * (1 - o)
        e = (V @ d) * h * (1 - h)
        gV += np.outer(h, d)
        gc += d
        gW += np.outer(a, e)
        gb += e
    return gW, gb, gV, gc
""",
        [
            ("        e = (V @ d) * h * (1 - h)", "        e = (V @ d) * (1 - h)", "1.grad_input"),
            ("        d = (o - y) * o * (1 - o)", "        d = (o - y)", "3.grad_input"),
        ],
    ),
    "updates inside backward, each layer its own": (
        "4-5-3 tanh, mse",
        """
class Dense:
    def __init__(self, M, o):
        self.M, self.o = M.copy(), o.copy()
    def forward(self, x):
        self.x = x
        return x @ self.M + self.o
    def backward(self, d, lr):
        before = d @ self.M.T
        self.M = self.M - lr * (self.x.T @ d)
        self.o = self.o - lr * d.sum(axis=0)
        return before
class Net:
    def __init__(self):
        self.one, self.two = Dense(W, b), Dense(V, c)
    def forward(self, x):
        self.h = np.tanh(self.one.forward(x))
        self.y = self.two.forward(self.h)
        return self.y
    def backward(self, t, lr=0.05):
        d = 2 * (self.y - t) / t.size
        d = self.two.backward(d, lr) * (1 - self.h**2)
        self.one.backward(d, lr)
net = Net()
""",
        [
            (
                "        d = self.two.backward(d, lr) * (1 - self.h**2)",
                "        d = self.two.backward(d, lr)",
                "1.grad_input",
            ),
            ("        d = 2 * (self.y - t) / t.size", "        d = 2 * (t - self.y) / t.size", "2.grad_output"),
        ],
    ),
    "Adam inside": (
        "4-5-3 tanh, half squared error",
        """
class Net:
    def __init__(self):
        self.p = {"W": W.copy(), "b": b.copy(), "V": V.copy(), "c": c.copy()}
        self.m = {k: np.zeros_like(v) for k, v in self.p.items()}
        self.v = {k: np.zeros_like(v) for k, v in self.p.items()}
        self.n = 0
    def forward(self, x):
        self.x = x
        self.h = np.tanh(x @ self.p["W"] + self.p["b"])
        self.y = self.h @ self.p["V"] + self.p["c"]
        return self.y
    def backward(self, t):
        d = (self.y - t) / len(t)
        e = d @ self.p["V"].T * (1 - self.h**2)
        g = {"W": self.x.T @ e, "b": e.sum(axis=0), "V": self.h.T @ d, "c": d.sum(axis=0)}
        self.n += 1
        for k in self.p:
            self.m[k] = 0.9 * self.m[k] + 0.1 * g[k]
            self.v[k] = 0.999 * self.v[k] + 0.001 * g[k] ** 2
            m = self.m[k] / (1 - 0.9**self.n)
            v = self.v[k] / (1 - 0.999**self.n)
            self.p[k] -= 0.01 * m / (np.sqrt(v) + 1e-8)
net = Net()
""",
        [('        e = d @ self.p["V"].T * (1 - self.h**2)', '        e = d @ self.p["V"].T * self.h', "1.grad_input")],
    ),
    "momentum inside": (
        "4-5-3 tanh, half squared error",
        """
class Net:
    def __init__(self):
        self.p = [W.copy(), b.copy(), V.copy(), c.copy()]
        self.s = [np.zeros_like(p) for p in self.p]
    def forward(self, x):
        W, b, V, c = self.p
        self.x, self.h = x, np.tanh(x @ W + b)
        self.y = self.h @ V + c
        return self.y
    def backward(self, t):
        d = (self.y - t) / len(t)
        e = d @ self.p[2].T * (1 - self.h**2)
        grads = [self.x.T @ e, e.sum(0), self.h.T @ d, d.sum(0)]
        for k, g in enumerate(grads):
            self.s[k] = 0.9 * self.s[k] + g
            self.p[k] -= 0.05 * self.s[k]
net = Net()
""",
        [
            (
                "        e = d @ self.p[2].T * (1 - self.h**2)",
                "        e = d @ self.p[2].T * (1 - self.h)",
                "1.grad_input",
            )
        ],
    ),
    "gradients are added up in attributes": (
        "4-5-3 relu, half squared error",
        """
class Net:
    def __init__(self):
        self.p = [W, b, V, c]
        self.g = [np.zeros_like(p) for p in self.p]
    def forward(self, x):
        self.x = x
        self.z = x @ self.p[0] + self.p[1]
        self.h = self.z * (self.z > 0)
        return self.h @ self.p[2] + self.p[3]
    def backward(self, d):
        for g in self.g:
            g[...] = 0
        self.g[2] += self.h.T @ d
        self.g[3] += d.sum(axis=0)
        e = d @ self.p[2].T
        e[self.z <= 0] = 0
        self.g[0] += self.x.T @ e
        self.g[1] += e.sum(axis=0)
net = Net()
""",
        [
            ("        e[self.z <= 0] = 0", "        e[self.z >= 0] = 0", "1.grad_input"),
            ("        self.g[0] += self.x.T @ e", "        self.g[0] += 2 * self.x.T @ e", "0.grad_weight"),
        ],
    ),
    "the loss is returned too": (
        "4-5-3 tanh, softmax cross-entropy",
        """
def loss_and_gradients(params, x, t):
    h = np.tanh(x @ params["W"] + params["b"])
    s = h @ params["V"] + params["c"]
    e = np.exp(s - s.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(len(t)), t]))
    d = p.copy()
    d[np.arange(len(t)), t] -= 1
    d /= len(t)
    g = (1 - h**2) * d.dot(params["V"].T)
    return loss, dict(V=h.T.dot(d), c=d.sum(axis=0), W=x.T.dot(g), b=g.sum(axis=0))
step = lambda x, t: loss_and_gradients({"W": W, "b": b, "V": V, "c": c}, x, t)
""",
        [
            ("    d /= len(t)", "    d /= len(t) - 1", "2.grad_output"),
            (
                "    loss = -np.mean(np.log(p[np.arange(len(t)), t]))",
                "    loss = -np.mean(np.log2(p[np.arange(len(t)), t]))",
                "loss",
            ),
        ],
    ),
    "inherited, with super and properties": (
        "4-5-3 tanh, half squared error",
        """
class Base:
    def __init__(self):
        self._p = (W, b, V, c)
    @property
    def weights(self):
        return self._p
    def forward(self, x):
        self.x = x
        self.h = self.act(x @ self.weights[0] + self.weights[1])
        return self.h @ self.weights[2] + self.weights[3]
    @staticmethod
    def act(z):
        return np.tanh(z)
    def backward(self, d):
        self.grads = [self.h.T @ d, d.sum(axis=0)]
        return d @ self.weights[2].T
class Net(Base):
    def backward(self, d):
        e = super().backward(d) * (1 - self.h**2)
        self.grads += [self.x.T @ e, e.sum(axis=0)]
net = Net()
""",
        [
            (
                "        e = super().backward(d) * (1 - self.h**2)",
                "        e = super().backward(d) * (1 - self.x[:, :1]**2)",
                "1.grad_input",
            ),
            ("        return np.tanh(z)", "        return np.tanh(z) + 0.1", "1.output"),
        ],
    ),
    "a bias inside the weight": (
        "4-5-3 sigmoid, half squared error",
        """
M, N = np.vstack([W, b]), np.vstack([V, c])
def ones(a):
    return np.hstack([a, np.ones((len(a), 1))])
def step(x, t):
    h = 1 / (1 + np.exp(-ones(x) @ M))
    d = (ones(h) @ N - t) / len(x)
    e = (d @ N.T)[:, :-1] * h * (1 - h)
    return ones(x).T @ e, ones(h).T @ d
""",
        [("    e = (d @ N.T)[:, :-1] * h * (1 - h)", "    e = (d @ N.T)[:, 1:] * h * (1 - h)", "1.grad_input")],
    ),
}
WRONG = [(name, *wrong) for name, (_, _, found) in STYLES.items() for wrong in found]


def data(network: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    fan_in, fan_out = int(network[0]), int(network.partition(",")[0].split()[0].split("-")[-1])
    x = rng.normal(size=(8, fan_in))
    return x, rng.integers(0, 3, 8) if "cross" in network else rng.normal(size=(8, fan_out))


def checked(folder: Path, code: str, network: str, convention: compare.Convention | None = None) -> Report:
    file = folder / "mine.py"
    file.write_text(BEGIN + code)
    spec = importlib.util.spec_from_file_location("mine", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return compare.check(
        module.net if hasattr(module, "net") else module.step, *data(network), network=network, convention=convention
    )


@pytest.mark.parametrize("style", STYLES)
def test_what_is_right_is_in_parity(style: str, tmp_path: Path) -> None:
    network, code, _ = STYLES[style]
    report = checked(tmp_path, code, network)
    assert report.verdict == "parity", report.text(verbose=True)
    assert report.side_effects == []


WITHOUT_UPDATE = STYLES["samples are columns"][1].partition("    for k in P")[0] + "    return grads\n"
DECLARED = WITHOUT_UPDATE.replace("dY = (Y - T)", "dY = 2 * (Y - T)")


@pytest.mark.parametrize(
    ("declared", "verdict"),
    [
        ({"samples": "columns", "weights": "(out, in)", "bias": "separate"}, "parity"),
        ({"factor": 2.0}, "parity"),
        ({"factor": 1.0}, "mismatch"),
        ({"samples": "rows"}, "samples are declared otherwise: X was found as columns"),
        ({"weights": "(in, out)"}, r"weights are declared otherwise: P\['W1'\] was found as \(out, in\)"),
        ({"bias": "last row"}, "weights are declared otherwise"),
    ],
)
def test_declared_conventions(declared: dict[str, Any], verdict: str, tmp_path: Path) -> None:
    convention, network = compare.Convention(**declared), STYLES["samples are columns"][0]
    if verdict not in ("parity", "mismatch"):
        with pytest.raises(ValueError, match=verdict):
            checked(tmp_path, DECLARED, network, convention)
        return
    report = checked(tmp_path, DECLARED, network, convention)
    assert report.verdict == verdict, report.text(verbose=True)


SUM_OF_PRODUCTS = """
w, o = [0.3, -0.2], 0.1
def step(x, t):
    g = [0.0, 0.0]
    for row, goal in zip(x.tolist(), t.tolist()):
        d = row[0] * w[0] + row[1] * w[1] + o - goal[0]
        g[0] += d * row[0]
        g[1] += d * row[1]
    return g
"""


def test_of_right_code_in_which_no_step_is_found_nothing_is_accused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is an input times a weight of the first layer"):
        checked(tmp_path, SUM_OF_PRODUCTS, "2-1, half squared error sum")


@pytest.mark.parametrize(("style", "right", "wrong", "tensor"), WRONG, ids=[f"{w[0]}, {w[3]}" for w in WRONG])
def test_of_a_mistake_the_line_is_named(style: str, right: str, wrong: str, tensor: str, tmp_path: Path) -> None:
    network, code, _ = STYLES[style]
    assert code.count(right) == 1
    report = checked(tmp_path, code.replace(right, wrong), network)
    assert report.verdict == "mismatch", report.text(verbose=True)
    assert report.first is not None
    assert (report.first.tensor, report.code.strip()) == (tensor, wrong.strip()), report
