# Expected: PARITY with --network "6-2, tanh output, half squared error sum"
# 2 / (1 + exp(-2z)) is the output less a target of -1, and not the error of that sample.
import numpy as np

def main():
    np.random.seed(700458)
    X = np.random.randn(10, 6)
    Y = np.sign(np.random.randn(10, 2))
    pairs = [(x.reshape(1, -1), t.reshape(1, -1)) for x, t in zip(X, Y)]
    eta = 0.1
    m = X.shape[0]
    epochs = 4
    W = [None] * 1
    b = [None] * 1
    z = [None] * 1
    a = [None] * 1
    delta = [None] * 1
    back = [None] * 1
    dW = [None] * 1
    db = [None] * 1
    W[0] = np.random.randn(2, 6)
    for epoch in range(epochs):
        total = 0
        dW[0] = np.zeros_like(W[0])
        for x, y in pairs:
            z[0] = x @ W[0].T
            a[0] = 2 / (1 + np.exp(-2 * z[0])) - 1
            total += np.sum((a[0] - y) ** 2) / 2
            back[0] = a[0] - y
            delta[0] = back[0] * ((1 + (2 / (1 + np.exp(-2 * z[0])) - 1)) * (1 - (2 / (1 + np.exp(-2 * z[0])) - 1)))
            dW[0] += delta[0].T @ x
        W[0] -= eta * dW[0]
        print(epoch, total)

if __name__ == '__main__':
    main()
