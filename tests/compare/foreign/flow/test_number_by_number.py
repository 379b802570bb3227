"""Programs that compute number by number: what every number of a layer is computed from makes up the arrays."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare

OBJECTS = """import math
import random

random.seed(3)


class Neuron:
    def __init__(self, n):
        self.weights = [random.uniform(-1, 1) for _ in range(n)]
        self.bias = 0.0
        self.output = 0.0
        self.delta = 0.0

    def feed(self, inputs):
        self.inputs = inputs
        self.output = math.tanh(sum(w * x for w, x in zip(self.weights, inputs)) + self.bias)
        return self.output

    def update(self, rate):
        for i, x in enumerate(self.inputs):
            self.weights[i] += rate * self.delta * x
        self.bias += rate * self.delta


hidden = [Neuron(3) for _ in range(4)]
last = [Neuron(4) for _ in range(2)]
data = [([0.5, -0.2, 0.1], [0.3, -0.4]), ([-0.7, 0.9, 0.4], [0.1, 0.5]), ([0.2, 0.6, -0.8], [-0.6, 0.2])]
for epoch in range(10):
    error = 0.0
    for x, t in data:
        h = [n.feed(x) for n in hidden]
        y = [n.feed(h) for n in last]
        for n, want in zip(last, t):
            n.delta = (want - n.output) * (1 - n.output ** 2)
            error += 0.5 * (want - n.output) ** 2
        for j, n in enumerate(hidden):
            s = 0.0
            for m in last:
                s += m.weights[j] * m.delta
            n.delta = s * (1 - n.output ** 2)
        for n in hidden + last:
            n.update(0.3)
"""

COMPREHENSIONS = """from math import exp
from random import Random

rnd = Random(11)
W1 = [[rnd.gauss(0, 1) for _ in range(2)] for _ in range(3)]
b1 = [0.0 for _ in range(3)]
W2 = [[rnd.gauss(0, 1) for _ in range(3)]]
b2 = [0.0]
X = [[0.1, 0.9], [0.8, 0.3], [0.5, 0.4], [0.7, 0.6]]
Y = [[1.0], [0.0], [0.4], [0.2]]
sig = lambda z: 1 / (1 + exp(-z))

for step in range(6):
    G1 = [[0.0] * 2 for _ in range(3)]
    g1 = [0.0] * 3
    G2 = [[0.0] * 3]
    g2 = [0.0]
    cost = 0
    for x, y in zip(X, Y):
        z1 = [sum(W1[j][i] * x[i] for i in range(2)) + b1[j] for j in range(3)]
        a1 = [sig(z) for z in z1]
        z2 = [sum(W2[k][j] * a1[j] for j in range(3)) + b2[k] for k in range(1)]
        out = [sig(z) for z in z2]
        cost += sum((o - t) ** 2 for o, t in zip(out, y)) / 2
        d2 = [(o - t) * o * (1 - o) for o, t in zip(out, y)]
        d1 = [sum(W2[k][j] * d2[k] for k in range(1)) * a1[j] * (1 - a1[j]) for j in range(3)]
        for k in range(1):
            for j in range(3):
                G2[k][j] += d2[k] * a1[j]
            g2[k] += d2[k]
        for j in range(3):
            for i in range(2):
                G1[j][i] += d1[j] * x[i]
            g1[j] += d1[j]
    W1 = [[w - 0.2 * g for w, g in zip(row, grads)] for row, grads in zip(W1, G1)]
    b1 = [b - 0.2 * g for b, g in zip(b1, g1)]
    W2 = [[w - 0.2 * g for w, g in zip(row, grads)] for row, grads in zip(W2, G2)]
    b2 = [b - 0.2 * g for b, g in zip(b2, g2)]
"""

DICTIONARIES = """import numpy as np

rng = np.random.RandomState(5)
net = {"hidden": rng.normal(0, 0.7, (3, 3)), "out": rng.normal(0, 0.7, (2, 4))}
data = [((0.0, 1.0), (1.0, 0.0)), ((1.0, 0.5), (0.0, 1.0)), ((0.3, 0.2), (1.0, 1.0))]


def layer(w, values):
    result = []
    for j in range(w.shape[0]):
        total = 0.0
        for i in range(w.shape[1]):
            total = total + w[j, i] * values[i]
        result.append(1.0 / (1.0 + np.exp(-total)))
    return result


epoch = 0
while epoch < 8:
    for x, t in data:
        xs = list(x) + [1.0]
        h = layer(net["hidden"], xs) + [1.0]
        o = layer(net["out"], h)
        err = {}
        for k in range(2):
            err[k] = (o[k] - t[k]) * o[k] * (1.0 - o[k])
        back = {}
        for j in range(3):
            total = 0.0
            for k in range(2):
                total += err[k] * net["out"][k, j]
            back[j] = total * h[j] * (1.0 - h[j])
        for k in range(2):
            for j in range(4):
                net["out"][k, j] -= 0.4 * err[k] * h[j]
        for j in range(3):
            for i in range(3):
                net["hidden"][j, i] -= 0.4 * back[j] * xs[i]
    epoch += 1
"""

LAYERS = """# layers as dictionaries, softmax, running sums, two hidden layers, numpy rows per neuron
import math, random
random.seed(9)
sizes = [3, 4, 3, 3]
layers = []
for a, b in zip(sizes, sizes[1:]):
    w = [[random.uniform(-1, 1) for _ in range(a)] for _ in range(b)]
    layers.append({"w": w, "b": [random.uniform(-0.1, 0.1) for _ in range(b)]})
samples = [([0.2, 0.7, -0.4], 0), ([0.9, -0.1, 0.5], 2), ([-0.6, 0.4, 0.3], 1), ([0.1, -0.8, 0.2], 2)]
lr = 0.05
for epoch in range(5):
    total = 0.0
    for x, label in samples:
        acts = [x]
        for n, layer in enumerate(layers):
            z = []
            for row, bias in zip(layer["w"], layer["b"]):
                s = bias
                for w, a in zip(row, acts[-1]):
                    s += w * a
                z.append(s)
            if n < 2:
                acts.append([max(0.0, v) for v in z])
            else:
                top = max(z)
                e = [math.exp(v - top) for v in z]
                norm = sum(e)
                acts.append([v / norm for v in e])
        total -= math.log(acts[-1][label])
        delta = list(acts[-1])
        delta[label] -= 1.0
        for n in reversed(range(3)):
            layer = layers[n]
            below = [0.0] * len(acts[n])
            for j, d in enumerate(delta):
                for i in range(len(acts[n])):
                    below[i] += layer["w"][j][i] * d
            if n:
                below = [g if a > 0 else 0.0 for g, a in zip(below, acts[n])]
            for j, d in enumerate(delta):
                for i, a in enumerate(acts[n]):
                    layer["w"][j][i] -= lr * d * a
                layer["b"][j] -= lr * d
            delta = below
"""

ONE_NEURON = """# a single neuron, logistic regression, SGD
import math, random
random.seed(2)
w = [random.random() - 0.5 for _ in range(3)]
b = 0.0
data = [([0.5, 1.5, -0.3], 1), ([1.0, -0.2, 0.8], 0), ([-0.4, 0.3, 0.9], 1), ([0.2, -0.9, -0.6], 0)]
def predict(x):
    z = b
    for i in range(len(x)):
        z += w[i] * x[i]
    return 1 / (1 + math.exp(-z))
for epoch in range(20):
    loss = 0.0
    for x, y in data:
        p = predict(x)
        loss += -(y * math.log(p) + (1 - y) * math.log(1 - p))
        d = p - y
        for i in range(3):
            w[i] = w[i] - 0.1 * d * x[i]
        b = b - 0.1 * d
"""

UNITS = """# objects, numpy weights per neuron, update through a method, threshold in the list, momentum none
import numpy as np
from math import exp
gen = np.random.default_rng(4)
class Unit:
    def __init__(self, n):
        self.w = gen.normal(size=n)
        self.b = gen.normal()
    def fire(self, xs):
        self.xs = xs
        z = self.b
        for i in range(len(self.w)):
            z += self.w[i] * xs[i]
        self.out = 1.0 / (1.0 + exp(-z))
        return self.out
    def learn(self, lr):
        for i in range(len(self.w)):
            self.w[i] -= lr * self.delta * self.xs[i]
        self.b -= lr * self.delta
first = [Unit(2) for _ in range(3)]
second = [Unit(3) for _ in range(2)]
X = np.array([[0.1, 0.6], [0.8, -0.5], [0.4, 0.9]])
T = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
for epoch in range(12):
    for p in range(len(X)):
        hid = [u.fire(X[p]) for u in first]
        out = [u.fire(hid) for u in second]
        for k, u in enumerate(second):
            u.delta = (u.out - T[p][k]) * u.out * (1 - u.out)
        for j, u in enumerate(first):
            u.delta = u.out * (1 - u.out) * sum(v.w[j] * v.delta for v in second)
        for u in first + second:
            u.learn(0.25)
"""

# program, network
RIGHT = {
    "an object for every neuron": (OBJECTS, "3-4-2 tanh, tanh output, half squared error"),
    "lists made anew, a whole batch added up": (
        COMPREHENSIONS,
        "2-3-1 sigmoid, sigmoid output, half squared error sum",
    ),
    "arrays in a dictionary, the bias as the last weight": (
        DICTIONARIES,
        "2-3-2 sigmoid, sigmoid output, half squared error",
    ),
    "a list of layers, softmax": (LAYERS, "3-4-3-3 relu, softmax cross-entropy"),
    "one neuron": (ONE_NEURON, "3-1 sigmoid output, binary cross-entropy"),
    "weights of every neuron in an array": (UNITS, "2-3-2 sigmoid, sigmoid output, half squared error"),
}
# the line as it should be, as it is, and the first tensor that is off
WRONG = {
    "an object for every neuron": (
        "n.delta = s * (1 - n.output ** 2)",
        "n.delta = s * (1 - n.output)",
        "1.grad_input",
    ),
    "lists made anew, a whole batch added up": (
        "G1[j][i] += d1[j] * x[i]",
        "G1[j][i] += d1[j] * x[0]",
        "0.grad_weight",
    ),
    "a list of layers, softmax": (
        "delta = list(acts[-1])",
        "delta = [2 * a for a in acts[-1]]",
        "4.grad_output",
    ),
    "weights of every neuron in an array": ("self.b -= lr * self.delta", "self.b += lr * self.delta", "0.new_bias"),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right(kind: str, tmp_path: Path) -> None:
    program, network = RIGHT[kind]
    path = tmp_path / "net.py"
    path.write_text(program)
    report = compare.check(path, network=network)
    assert report.verdict == "parity", f"\n{report}"


@pytest.mark.parametrize("kind", WRONG)
def test_wrong(kind: str, tmp_path: Path) -> None:
    program, network = RIGHT[kind]
    right, wrong, tensor = WRONG[kind]
    assert program.count(right) == 1
    path = tmp_path / "net.py"
    path.write_text(program.replace(right, wrong))
    report = compare.check(path, network=network)
    assert report.first is not None, f"\n{report}"
    assert (report.first.tensor, report.code.strip()) == (tensor, wrong), f"\n{report}"


def test_an_engine_of_numbers_is_not_accused() -> None:
    """Its gradients are added up in an order that no line says; where they are not found, nobody is accused."""
    path = Path(__file__).parents[1] / "strangers" / "scalar_engine.py"
    report = compare.check(path, network="3-4-1 tanh, tanh output, mse sum")
    assert report.verdict == "incomplete", f"\n{report}"
    assert not any(row.status == "off" for row in report.rows)
