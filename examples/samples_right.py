"""Shape 3: one sample at a time, as column vectors, summed by the caller."""

import numpy as np


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


class Network:
    def __init__(self, sizes=(4, 6, 3), seed=2):
        rng = np.random.default_rng(seed)
        self.weights = [rng.normal(0, 0.7, (m, n)) for n, m in zip(sizes, sizes[1:])]
        self.biases = [rng.normal(0, 0.7, (m, 1)) for m in sizes[1:]]

    def backprop(self, x, y):
        """The gradients of (a - y)^2 / 2 for one column x."""
        z1 = self.weights[0] @ x + self.biases[0]
        a1 = sigmoid(z1)
        z2 = self.weights[1] @ a1 + self.biases[1]
        a2 = sigmoid(z2)
        delta2 = (a2 - y) * a2 * (1 - a2)
        delta1 = self.weights[1].T @ delta2 * a1 * (1 - a1)
        return [delta1 @ x.T, delta2 @ a1.T], [delta1, delta2]


def batch_gradients(network, samples, targets):
    nabla_w = [np.zeros_like(w) for w in network.weights]
    nabla_b = [np.zeros_like(b) for b in network.biases]
    for x, y in zip(samples, targets):
        dw, db = network.backprop(x.reshape(-1, 1), y.reshape(-1, 1))
        nabla_w = [total + d for total, d in zip(nabla_w, dw)]
        nabla_b = [total + d for total, d in zip(nabla_b, db)]
    return nabla_w, nabla_b
