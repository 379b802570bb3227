"""Backpropagation sample by sample with column vectors; gradients are added up and averaged."""
import numpy as np

np.random.seed(4)
N, D, H, C = 36, 4, 5, 3
X = np.random.randn(N, D, 1)
y = np.array([int(np.argmax(x[:C])) for x in X])

W1 = 0.5 * np.random.randn(H, D)
b1 = 0.1 * np.random.randn(H, 1)
W2 = 0.5 * np.random.randn(C, H)
b2 = np.zeros((C, 1))
learning_rate = 0.5


def forward(x):
    z1 = W1 @ x + b1
    a1 = np.tanh(z1)
    z2 = W2 @ a1 + b2
    ez = np.exp(z2)
    return a1, ez / np.sum(ez)


for epoch in range(20):
    nabla_W1, nabla_b1 = np.zeros_like(W1), np.zeros_like(b1)
    nabla_W2, nabla_b2 = np.zeros_like(W2), np.zeros_like(b2)
    loss = 0
    for i in range(N):
        a1, probs = forward(X[i])
        loss += -np.log(probs[y[i], 0])

        dz2 = probs.copy()
        dz2[y[i]] -= 1
        nabla_W2 += dz2 @ a1.T
        nabla_b2 += dz2
        dz1 = (W2.T @ dz2) * (1 - a1 ** 2)
        nabla_W1 += dz1 @ X[i].T
        nabla_b1 -= dz1

    W1 -= learning_rate * nabla_W1 / N
    b1 -= learning_rate * nabla_b1 / N
    W2 -= learning_rate * nabla_W2 / N
    b2 -= learning_rate * nabla_b2 / N
    print("epoch", epoch, "loss", loss / N)
