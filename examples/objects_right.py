"""Shape 1: objects with forward and backward; parameters and gradients in dictionaries."""

import numpy as np


class Dense:
    def __init__(self, n_in, n_out, rng):
        self.theta = {"kernel": rng.normal(0, 0.5, (n_in, n_out)), "shift": rng.normal(0, 0.5, n_out)}
        self.slope = {}

    def forward(self, h):
        self.h = h
        return h @ self.theta["kernel"] + self.theta["shift"]

    def backward(self, up):
        self.slope["kernel"] = self.h.T @ up
        self.slope["shift"] = up.sum(axis=0)
        return up @ self.theta["kernel"].T


class Rectifier:
    def forward(self, h):
        self.h = h
        return np.maximum(h, 0)

    def backward(self, up):
        return up * (self.h > 0)


class Network:
    def __init__(self):
        rng = np.random.default_rng(1)
        self.parts = [Dense(5, 7, rng), Rectifier(), Dense(7, 4, rng)]

    def forward(self, x):
        for part in self.parts:
            x = part.forward(x)
        shifted = np.exp(x - x.max(axis=1, keepdims=True))
        self.p = shifted / shifted.sum(axis=1, keepdims=True)
        return self.p

    def backward(self, target):
        up = self.p.copy()
        up[np.arange(len(target)), target] -= 1
        up /= len(target)
        for part in reversed(self.parts):
            up = part.backward(up)
