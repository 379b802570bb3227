# Exercise 4: neural network, bias unit attached to every layer
import numpy as np

rng = np.random.default_rng(7)
m = 50
features = rng.uniform(-1, 1, size=(m, 3))
labels = np.column_stack([features.sum(axis=1) > 0, features[:, 0] * features[:, 1] > 0]).astype(float)


def g(z):
    return 1.0 / (1.0 + np.exp(-z))


def add_ones(A):
    return np.hstack([np.ones((A.shape[0], 1)), A])


Theta1 = rng.uniform(-0.7, 0.7, size=(6, 4))    # 6 hidden units, 3 inputs + bias
Theta2 = rng.uniform(-0.7, 0.7, size=(2, 7))
alpha = 1.5

history = []
for iteration in range(250):
    # Part 1: feedforward
    a1 = add_ones(features)
    z2 = a1 @ Theta1.T
    a2 = add_ones(g(z2))
    z3 = a2 @ Theta2.T
    h = g(z3)
    J = np.sum((h - labels) ** 2) / (2 * m)
    history.append(J)

    # Part 2: backpropagation
    delta3 = (h - labels) * h * (1 - h)
    delta2 = (delta3 @ Theta2)[:, 1:] * g(z2) * (1 - g(z2))
    Theta1_grad = delta2.T @ a1 / m
    Theta2_grad = delta3.T @ a2 / m

    Theta1 = Theta1 - alpha * Theta1_grad
    Theta2 = Theta2 - alpha * Theta2_grad

print("cost went from", history[0], "to", history[-1])
