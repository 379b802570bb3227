import numpy as np


def sigmoid(x):
    return 1.0 / (1 + np.exp(-x))


def sigmoid_derivative(y):
    # y is already sigmoid(x)
    return y * (1.0 - y)


class NeuralNetwork:
    def __init__(self, x, y):
        np.random.seed(11)
        self.input = x
        self.weights1 = np.random.rand(self.input.shape[1], 4)
        self.weights2 = np.random.rand(4, 1)
        self.y = y
        self.output = np.zeros(self.y.shape)

    def feedforward(self):
        self.layer1 = sigmoid(np.dot(self.input, self.weights1))
        self.output = sigmoid(np.dot(self.layer1, self.weights2))

    def loss(self):
        return 0.5 * np.sum((self.y - self.output) ** 2)

    def backprop(self, rate=0.5):
        error = (self.y - self.output) * sigmoid_derivative(self.output)
        d_weights2 = np.dot(self.layer1.T, error)
        d_weights1 = np.dot(self.input.T, np.dot(error, self.weights2.T) * sigmoid_derivative(self.layer1))

        # y - output, so the step is added
        self.weights1 += rate * d_weights1
        self.weights2 += rate * d_weights2


if __name__ == "__main__":
    r = np.random.RandomState(5)
    X = np.c_[r.randint(0, 2, size=(24, 2)) + 0.1 * r.randn(24, 2), np.ones(24)]
    y = (np.round(X[:, 0]) != np.round(X[:, 1])).astype(float).reshape(-1, 1)
    nn = NeuralNetwork(X, y)
    for i in range(400):
        nn.feedforward()
        nn.backprop()
        if i % 100 == 0:
            print(i, nn.loss())
    print(nn.output[:4].round(2), y[:4])
