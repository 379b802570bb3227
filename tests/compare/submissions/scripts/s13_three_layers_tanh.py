#!/usr/bin/env python3
import numpy as np

rng = np.random.default_rng(2024)


def make_data(n=70):
    x = rng.normal(size=(n, 4))
    score = np.c_[x[:, 0] + x[:, 1], x[:, 2] - x[:, 0], x[:, 3] * x[:, 1]]
    return x, score.argmax(axis=1)


def one_hot(y, k):
    out = np.zeros((y.size, k))
    out[np.arange(y.size), y] = 1
    return out


def softmax(z):
    z = z - z.max(axis=1)[:, None]
    ez = np.exp(z)
    return ez / ez.sum(axis=1)[:, None]


X, y = make_data()
T = one_hot(y, 3)
n = len(X)

W1, b1 = rng.normal(size=(4, 6)) / 2, np.zeros(6)
W2, b2 = rng.normal(size=(6, 6)) / 2, np.zeros(6)
W3, b3 = rng.normal(size=(6, 3)) / 2, np.zeros(3)
eta = 0.3

for step in range(200):
    h1 = np.tanh(X @ W1 + b1)
    h2 = np.tanh(h1 @ W2 + b2)
    logits = h2 @ W3 + b3
    out = softmax(logits)
    loss = -np.log(out[np.arange(n), y]).mean()

    d3 = (out - T) / n
    d2 = (d3 @ W3.T) * (1 - h2**2)
    d1 = (d2 @ W2) * (1 - h1**2)

    grads = [X.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]
    for param, grad in zip([W1, b1, W2, b2, W3, b3], grads):
        param -= eta * grad

    if step % 50 == 0:
        print(f"{step:4d} loss={loss:.4f} acc={(out.argmax(1) == y).mean():.2f}")
