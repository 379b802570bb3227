"""Shape 4: backward updates the weights itself, and keeps no gradient."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Network:
    def __init__(self, rate=0.1):
        rng = np.random.default_rng(3)
        self.rate = rate
        self.w1, self.b1 = rng.normal(0, 0.5, (4, 6)), rng.normal(0, 0.5, (1, 6))
        self.w2, self.b2 = rng.normal(0, 0.5, (6, 2)), rng.normal(0, 0.5, (1, 2))

    def forward(self, x):
        self.x = x
        self.h = sigmoid(x @ self.w1 + self.b1)
        self.out = self.h @ self.w2 + self.b2
        return self.out

    def backward(self, y):
        d_out = 2 * (self.out - y) / self.out.size
        back = d_out @ self.w2.T
        d_h = back * self.h * (1 - self.h)
        self.w2 -= self.rate * self.h.T @ d_out
        self.b2 -= self.rate * d_out.sum(axis=0)
        self.w1 -= self.rate * self.x.T @ d_h
        self.b1 -= self.rate * d_h.sum(axis=0)
