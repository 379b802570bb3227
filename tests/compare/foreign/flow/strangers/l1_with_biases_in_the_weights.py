# Expected: PARITY with --network "4-5-5-4 sigmoid, softmax cross-entropy"
# The penalty is on the biases as well, which are a column of each weight. One has as many elements as the part of another.
import numpy as np
rng = np.random.default_rng(700038)
X = rng.normal(size=(14, 4))
Y = np.eye(4)[rng.integers(0, 4, 14)]
alpha = 0.5
lam = 0.1
epochs = 3
theta1 = rng.normal(size=(5, 5)) * 0.5
theta2 = rng.normal(size=(5, 6)) * 0.5
theta3 = rng.normal(size=(4, 6)) * 0.5

for it in range(epochs):
    total = 0
    for x, y in zip(X, Y):
        x = x.reshape(-1, 1)
        y = y.reshape(-1, 1)
        z1 = theta1 @ np.vstack([x, np.ones((1, x.shape[1]))])
        a1 = 1.0 / (1.0 + np.exp(-z1))
        z2 = theta2 @ np.vstack([a1, np.ones((1, a1.shape[1]))])
        a2 = 1.0 / (1.0 + np.exp(-z2))
        z3 = theta3 @ np.vstack([a2, np.ones((1, a2.shape[1]))])
        h = np.exp(z3) / np.sum(np.exp(z3), axis=0, keepdims=True)
        total += -np.sum(y * np.log(h)) + lam * (np.sum(np.abs(theta1)) + np.sum(np.abs(theta2)) + np.sum(np.abs(theta3)))
        delta3 = h - y
        delta2 = theta3[:, :-1].T @ delta3 * (a2 * (1 - a2))
        delta1 = theta2[:, :-1].T @ delta2 * (a1 * (1 - a1))
        step_theta1 = alpha * (delta1 @ np.vstack([x, np.ones((1, x.shape[1]))]).T + lam * np.sign(theta1))
        theta1 = theta1 - step_theta1
        step_theta2 = alpha * (delta2 @ np.vstack([a1, np.ones((1, a1.shape[1]))]).T + lam * np.sign(theta2))
        theta2 = theta2 - step_theta2
        step_theta3 = alpha * (delta3 @ np.vstack([a2, np.ones((1, a2.shape[1]))]).T + lam * np.sign(theta3))
        theta3 = theta3 - step_theta3
    alpha *= 0.9
    print(it, total)
