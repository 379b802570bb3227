import numpy as np


class TwoLayerNet:
    """Linear - ReLU - Linear - softmax."""

    def __init__(self, input_size, hidden_size, output_size):
        rng = np.random.RandomState(17)
        self.W1 = rng.randn(input_size, hidden_size) * 0.6
        self.b1 = np.zeros(hidden_size)
        self.W2 = rng.randn(hidden_size, output_size) * 0.6
        self.b2 = np.zeros(output_size)

    def forward(self, X):
        self.X = X
        self.z1 = X @ self.W1 + self.b1
        self.a1 = np.where(self.z1 > 0, self.z1, 0.0)
        self.z2 = self.a1 @ self.W2 + self.b2
        e = np.exp(self.z2 - self.z2.max(axis=1, keepdims=True))
        self.p = e / e.sum(axis=1, keepdims=True)
        return self.p

    def cross_entropy(self, Y):
        return -(Y * np.log(self.p)).sum(axis=1).mean()

    def backward(self, Y):
        m = self.X.shape[0]
        dz2 = (self.p - Y) / m
        self.dW2 = self.a1.T @ dz2
        self.db2 = dz2.sum(axis=0)
        da1 = dz2 @ self.W2.T
        dz1 = da1 * (da1 > 0)
        self.dW1 = self.X.T @ dz1
        self.db1 = dz1.sum(axis=0)

    def step(self, lr):
        self.W1 = self.W1 - lr * self.dW1
        self.b1 = self.b1 - lr * self.db1
        self.W2 = self.W2 - lr * self.dW2
        self.b2 = self.b2 - lr * self.db2


rng = np.random.RandomState(3)
X = rng.randn(48, 5)
labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
Y = np.eye(3)[labels]

net = TwoLayerNet(5, 9, 3)
for epoch in range(120):
    net.forward(X)
    if epoch % 30 == 0:
        print(epoch, net.cross_entropy(Y))
    net.backward(Y)
    net.step(0.2)
