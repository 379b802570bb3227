"""Shape 5 with one mistake: a plain script."""

import numpy as np

rng = np.random.default_rng(4)
X = rng.normal(size=(3, 30))
Y = (X[0] * X[1] > 0).astype(float).reshape(1, -1)
W1, b1 = rng.normal(0, 0.5, (5, 3)), np.zeros((5, 1))
W2, b2 = rng.normal(0, 0.5, (1, 5)), np.zeros((1, 1))
m = X.shape[1]

for _ in range(200):
    Z1 = W1 @ X + b1
    A1 = np.tanh(Z1)
    A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
    cost = -np.mean(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))

    dZ2 = A2 - Y
    dW2 = dZ2 @ A1.T / m
    db2 = dZ2.sum(axis=1, keepdims=True) / m
    dZ1 = W2.T @ dZ2 * (1 - Z1**2)
    dW1 = dZ1 @ X.T / m
    db1 = dZ1.sum(axis=1, keepdims=True) / m

    W1, b1 = W1 - 0.5 * dW1, b1 - 0.5 * db1
    W2, b2 = W2 - 0.5 * dW2, b2 - 0.5 * db2

print("cost", cost)
