# Expected: PARITY with --network "2-3-1 tanh, tanh output, mse". Sample by sample, one output.
import numpy as np
r = np.random.default_rng(1)
X, Y = r.normal(size=(20, 2)), r.integers(0, 2, (20, 1))
ROUNDS, rate = 500, 0.1
W, b, V, c = r.normal(size=(3, 2)), r.normal(size=(3, 1)), r.normal(size=(1, 3)), r.normal(size=(1, 1))

def train(rounds):
    global W, b, V, c
    for k in range(rounds):
        for x, t in zip(X, Y):
            x, t = x.reshape(-1, 1), t.reshape(-1, 1)
            h = np.tanh(W @ x + b)
            y = np.tanh(V @ h + c)
            loss = np.mean((y - t) ** 2)
            d = 2 * (y - t) * (1 - y**2)
            dV, dc = d @ h.T, d
            d = V.T @ d * (1 - h**2)
            dW, db = d @ x.T, d
            W, b, V, c = W - rate * dW, b - rate * db, V - rate * dV, c - rate * dc

train(ROUNDS)
