import numpy as np

# Regression with a sigmoid hidden layer; the update is part of backward().


class Net:
    def __init__(self, n_features, n_hidden, n_outputs, learning_rate):
        np.random.seed(8)
        self.lr = learning_rate
        self.w1 = np.random.uniform(-1, 1, (n_features, n_hidden))
        self.b1 = np.zeros((1, n_hidden))
        self.w2 = np.random.uniform(-1, 1, (n_hidden, n_outputs))
        self.b2 = np.zeros((1, n_outputs))

    def forward(self, x):
        self.x = x
        self.s1 = np.matmul(x, self.w1) + self.b1
        self.o1 = 1.0 / (1.0 + np.exp(-self.s1))
        self.s2 = np.matmul(self.o1, self.w2) + self.b2
        return self.s2

    def backward(self, y_pred, y_true):
        grad_out = 2 * (y_pred - y_true) / y_true.size

        grad_w2 = np.matmul(self.o1.T, grad_out)
        grad_b2 = grad_out.sum(axis=0, keepdims=True)
        self.w2 -= self.lr * grad_w2
        self.b2 -= self.lr * grad_b2

        grad_o1 = np.matmul(grad_out, self.w2.T)
        grad_s1 = grad_o1 * self.o1 * (1 - self.o1)
        grad_w1 = np.matmul(self.x.T, grad_s1)
        grad_b1 = grad_s1.sum(axis=0, keepdims=True)
        self.w1 -= self.lr * grad_w1
        self.b1 -= self.lr * grad_b1


if __name__ == '__main__':
    gen = np.random.RandomState(0)
    x = gen.rand(100, 4)
    y = np.stack([np.sin(3 * x[:, 0]) + x[:, 1], x[:, 2] * x[:, 3]], axis=1)
    net = Net(4, 6, 2, learning_rate=0.5)
    for epoch in range(300):
        prediction = net.forward(x)
        mse = np.mean(np.square(prediction - y))
        net.backward(prediction, y)
        if epoch % 100 == 0:
            print('epoch {} mse {:.5f}'.format(epoch, mse))
