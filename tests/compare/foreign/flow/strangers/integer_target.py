# Expected: PARITY with --network "2-3-1 tanh, sigmoid binary cross-entropy". Labels are whole numbers 0 and 1.
import numpy as np
r = np.random.default_rng(1)
X, Y = r.normal(size=(20, 2)), r.integers(0, 2, (20, 1))
W, b, V, c = r.normal(size=(2, 3)), r.normal(size=3), r.normal(size=(3, 1)), r.normal(size=1)
for k in range(50):
    h = np.tanh(X @ W + b)
    z = h @ V + c
    loss = np.mean(np.maximum(z, 0) - z * Y + np.log(1 + np.exp(-abs(z))))
    d = (1 / (1 + np.exp(-z)) - Y) / len(X)
    dV, dc = h.T @ d, d.sum(axis=0)
    d = d @ V.T * (1 - h**2)
    dW, db = X.T @ d, d.sum(axis=0)
    W, b, V, c = W - 0.5 * dW, b - 0.5 * db, V - 0.5 * dV, c - 0.5 * dc
