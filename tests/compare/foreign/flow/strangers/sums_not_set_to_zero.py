# Expected: MISMATCH with --network "3-6-3 tanh, softmax cross-entropy sum"
# The sums of the gradients go on from epoch to epoch; a penalty is added to them where they are used.
import numpy as np
rng = np.random.default_rng(700406)
X = rng.normal(size=(21, 3))
T = np.eye(3)[rng.integers(0, 3, 21)]
pairs = list(zip(X, T))
eta = 0.1
lam = 0.001
n = X.shape[0]
epochs = 6
W1 = rng.normal(size=(3, 6)) / np.sqrt(3)
b1 = np.zeros(6)
W2 = rng.normal(size=(6, 3)) / np.sqrt(6)
b2 = np.zeros(3)
losses = []
gW1 = np.zeros_like(W1)
gb1 = np.zeros_like(b1)
gW2 = np.zeros_like(W2)
gb2 = np.zeros_like(b2)

for ep in range(epochs):
    err = 0
    for x, t in pairs:
        s1 = x @ W1 + b1
        h1 = 2 / (1 + np.exp(-2 * s1)) - 1
        s2 = h1 @ W2 + b2
        o = np.exp(s2) / np.sum(np.exp(s2))
        err += -np.sum(t * np.log(o))
        d2 = o - t
        gW2 += np.outer(h1, d2)
        gb2 += d2
        d1 = W2 @ d2 * (1 - h1 ** 2)
        gW1 += np.outer(x, d1)
        gb1 += d1
    err += lam / 2 * (np.sum(W1 ** 2) + np.sum(W2 ** 2))
    W1 -= eta * (gW1 + lam * W1)
    b1 -= eta * gb1
    W2 -= eta * (gW2 + lam * W2)
    b2 -= eta * gb2
    losses.append(err)
