import numpy as np

data = np.array([
    [5.1, 3.5, 1.4], [4.9, 3.0, 1.4], [4.7, 3.2, 1.3], [4.6, 3.1, 1.5], [5.0, 3.6, 1.4],
    [5.4, 3.9, 1.7], [4.6, 3.4, 1.4], [5.0, 3.4, 1.5], [4.4, 2.9, 1.4], [4.9, 3.1, 1.5],
    [7.0, 3.2, 4.7], [6.4, 3.2, 4.5], [6.9, 3.1, 4.9], [5.5, 2.3, 4.0], [6.5, 2.8, 4.6],
    [5.7, 2.8, 4.5], [6.3, 3.3, 4.7], [4.9, 2.4, 3.3], [6.6, 2.9, 4.6], [5.2, 2.7, 3.9],
])
targets = np.array([[1, 0]] * 10 + [[0, 1]] * 10)
data = (data - data.mean(axis=0)) / data.std(axis=0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dsigmoid(x):
    s = sigmoid(x)
    return s * (1 - s)


class Layer:
    def __init__(self, n_in, n_out, rng):
        self.weight = rng.normal(size=(n_out, n_in))
        self.bias = rng.normal(size=n_out) * 0.1

    def __call__(self, x):
        self.x = x
        self.z = x @ self.weight.T + self.bias
        self.a = sigmoid(self.z)
        return self.a


rng = np.random.default_rng(6)
hidden, output = Layer(3, 7, rng), Layer(7, 2, rng)
lr = 0.8

for epoch in range(150):
    out = output(hidden(data))
    loss = 0.5 * ((out - targets) ** 2).sum() / len(data)

    delta_out = (out - targets) * dsigmoid(output.z) / len(data)
    delta_hidden = delta_out @ output.weight * dsigmoid(hidden.a)

    for layer, delta in ((output, delta_out), (hidden, delta_hidden)):
        grad_weight = delta.T @ layer.x
        grad_bias = delta.sum(axis=0)
        layer.weight -= lr * grad_weight
        layer.bias -= lr * grad_bias

    if epoch % 30 == 0:
        print(epoch, loss)
