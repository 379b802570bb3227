import numpy as np


def get_data(n, rng):
    X = rng.normal(size=(n, 4)).astype(np.float32)
    y = (np.abs(X[:, 0]) + np.abs(X[:, 1]) > 1.2).astype(np.int64) + (X[:, 2] > 0)
    return X, y


def init_weights(rng):
    s1, s2 = np.sqrt(2 / 4), np.sqrt(2 / 7)
    return [
        (rng.normal(size=(4, 7)) * s1).astype(np.float32), np.zeros(7, dtype=np.float32),
        (rng.normal(size=(7, 3)) * s2).astype(np.float32), np.zeros(3, dtype=np.float32),
    ]


def forward(X, weights):
    W1, b1, W2, b2 = weights
    z1 = X.dot(W1) + b1
    a1 = z1 * (z1 > 0)
    z2 = a1.dot(W2) + b2
    return z1, a1, z2


def loss_and_dscores(scores, y):
    n = len(y)
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    p = np.exp(shifted)
    p = p / p.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(n), y]))
    dscores = p.copy()
    dscores[np.arange(n), y - 1] -= 1
    return loss, dscores / n


def backward(X, y, weights):
    z1, a1, z2 = forward(X, weights)
    loss, dz2 = loss_and_dscores(z2, y)
    dW2 = a1.T.dot(dz2)
    db2 = dz2.sum(axis=0)
    da1 = dz2.dot(weights[2].T)
    dz1 = np.where(z1 > 0, da1, 0)
    dW1 = X.T.dot(dz1)
    db1 = dz1.sum(axis=0)
    return loss, [dW1, db1, dW2, db2]


def main():
    rng = np.random.default_rng(77)
    X, y = get_data(100, rng)
    weights = init_weights(rng)
    for epoch in range(60):
        loss, grads = backward(X, y, weights)
        for w, g in zip(weights, grads):
            w -= np.float32(0.1) * g
        if epoch % 20 == 0:
            print(f"epoch {epoch} loss {loss:.4f}")


if __name__ == "__main__":
    main()
