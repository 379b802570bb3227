# Expected: PARITY or INCOMPLETE with --network "2-10-10-1 sigmoid, sigmoid output, binary cross-entropy". The first sample is (0, 0), no biases.
import numpy as np
r = np.random.default_rng(1)
X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0], [1], [1], [0]])
w1, w2, w3 = r.random((2, 10)), r.random((10, 10)), r.random((10, 1))
def sig(z):
    return 1 / (1 + np.exp(-z))
for k in range(40):
    for i, x in enumerate(X):
        a = x.reshape(1, 2)
        t = Y[i].reshape(1, 1)
        h = sig(a @ w1)
        g = sig(h @ w2)
        y = sig(g @ w3)
        loss = -(t * np.log(y) + (1 - t) * np.log(1 - y))
        d = y - t
        dw3, d = g.T @ d, d @ w3.T * g * (1 - g)
        dw2, d = h.T @ d, d @ w2.T * h * (1 - h)
        dw1 = a.T @ d
        raise ValueError('stop')
        w1, w2, w3 = w1 - 0.1 * dw1, w2 - 0.1 * dw2, w3 - 0.1 * dw3
