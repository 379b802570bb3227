# Expected: MISMATCH with --network "6-4-1 relu, sigmoid output, binary cross-entropy sum"
# A bias is updated, clipped, and in no sum.
import numpy as np

def forward(x, W1, b1, W2, b2):
    Z1 = W1 @ x
    A1 = np.maximum(0, Z1)
    Z2 = W2 @ A1 + b2
    A2 = 1 / (1 + np.exp(-Z2))
    return (A1, A2)

def backward(x, y, A1, A2, W2):
    dZ2 = A2 - y
    dW2 = dZ2 @ A1.T
    db2 = dZ2.sum(axis=1, keepdims=True)
    dZ1 = W2.T @ dZ2 * (A1 > 0).astype(float)
    dW1 = dZ1 @ x.T
    db1 = dZ1.sum(axis=1, keepdims=True)
    return (dW1, db1, dW2, db2)

rng = np.random.default_rng(700683)
X = rng.normal(size=(6, 13))
Y = rng.integers(0, 2, (1, 13))
lr = 0.03
m = X.shape[1]
epochs = 3
W1 = rng.normal(size=(4, 6)) * 0.5
b1 = np.zeros((4, 1))
W2 = rng.normal(size=(1, 4)) * 0.5
b2 = np.zeros((1, 1))

for epoch in range(epochs):
    for start in range(0, m, 6):
        x = X[:, start:start + 6]
        y = Y[:, start:start + 6]
        A1, A2 = forward(x, W1, b1, W2, b2)
        loss = -np.sum(y * np.log(A2) + (1 - y) * np.log(1 - A2))
        dW1, db1, dW2, db2 = backward(x, y, A1, A2, W2)
        W2 = W2 - lr * np.clip(dW2, -0.05, 0.05)
        b2 = b2 - lr * np.clip(db2, -0.05, 0.05)
        W1 = W1 - lr * np.clip(dW1, -0.05, 0.05)
        b1 = b1 - lr * np.clip(db1, -0.05, 0.05)
    print(epoch, loss)
