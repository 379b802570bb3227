# Two layer network for binary classification, samples as columns
import numpy as np

np.random.seed(21)
m = 90
X = np.random.randn(4, m)
Y = (X[0:1] ** 2 + X[1:2] ** 2 > 1.5).astype(int)


def sigmoid(z):
    s = 1 / (1 + np.exp(-z))
    return s


def init(n_x, n_h, n_y):
    return (np.random.randn(n_h, n_x) * 0.4, np.zeros((n_h, 1)),
            np.random.randn(n_y, n_h) * 0.4, np.zeros((n_y, 1)))


def cost(A2):
    return -(1 / m) * np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))


W1, b1, W2, b2 = init(4, 6, 1)
learning_rate = 0.5
costs = []
for i in range(250):
    # Forward propagation
    Z1 = np.dot(W1, X) + b1
    A1 = sigmoid(Z1)
    Z2 = np.dot(W2, A1) + b2
    A2 = sigmoid(Z2)
    costs.append(cost(A2))

    # Backward propagation
    dZ2 = A2 - Y
    dW2 = (1 / m) * np.dot(dZ2, A1.T)
    db2 = (1 / m) * np.sum(dZ2, axis=1, keepdims=True)
    dZ1 = np.dot(W2.T, dZ2)
    dW1 = (1 / m) * np.dot(dZ1, X.T)
    db1 = (1 / m) * np.sum(dZ1, axis=1, keepdims=True)

    W1 = W1 - learning_rate * dW1
    b1 = b1 - learning_rate * db1
    W2 = W2 - learning_rate * dW2
    b2 = b2 - learning_rate * db2

print("first cost", costs[0], "last cost", costs[-1])
