# Expected: MISMATCH with --network "4-1, sigmoid output, binary cross-entropy"
# The new bias is bound to the name of its gradient, and lost.
import numpy as np
rng = np.random.default_rng(710040)

class Network:

    def __init__(self):
        self.lr = 0.03
        self.W1 = rng.normal(size=(4, 1)) * 0.5
        self.b1 = np.zeros((1, 1))

    def forward(self, x):
        self.Z1 = x @ self.W1 + self.b1
        self.A1 = np.power(1 + np.exp(-self.Z1), -1)
        return self.A1

    def backward(self, x, y):
        dZ1 = self.A1 - y
        self.dW1 = x.T @ dZ1 + lam * self.W1
        self.db1 = dZ1

    def update(self):
        self.W1 = self.W1 - self.lr * self.dW1
        self.db1 = self.b1 - self.lr * self.db1

X = rng.normal(size=(11, 4))
Y = rng.integers(0, 2, (11, 1)).astype(float)
lam = 0.1
epochs = 4
net = Network()

for epoch in range(epochs):
    total = 0
    for x, y in zip(X, Y):
        x = x.reshape(1, -1)
        y = y.reshape(1, -1)
        y_pred = net.forward(x)
        total += -np.sum(y * np.log(y_pred) + (1 - y) * np.log(1 - y_pred)) + lam / 2 * np.sum(net.W1 ** 2)
        net.backward(x, y)
        net.update()
    print(epoch, total)
