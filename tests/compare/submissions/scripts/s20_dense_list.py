"""Keras-like toy framework: model.add(...), model.fit(...)."""
import numpy as np


class Dense:
    def __init__(self, units, input_dim, seed):
        r = np.random.RandomState(seed)
        self.kernel = r.uniform(-0.8, 0.8, size=(input_dim, units))
        self.bias = np.zeros(units)


class Sequential:
    def __init__(self, lr):
        self.lr = lr
        self.layers = []

    def add(self, layer):
        self.layers.append(layer)

    def predict(self, x):
        self.outputs = [x]
        for index, layer in enumerate(self.layers):
            x = x @ layer.kernel + layer.bias
            if index < len(self.layers) - 1:
                x = np.maximum(x, 0)
            self.outputs.append(x)
        return x

    def fit(self, x, y, epochs, batch_size):
        for epoch in range(epochs):
            running = 0.0
            for start in range(0, len(x), batch_size):
                xb, yb = x[start:start + batch_size], y[start:start + batch_size]
                running += self.train_on_batch(xb, yb)
            print("Epoch {}/{} - loss: {:.4f}".format(epoch + 1, epochs, running * batch_size / len(x)))

    def train_on_batch(self, x, y):
        logits = self.predict(x)
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs = exps / exps.sum(axis=1, keepdims=True)
        loss = -np.mean(np.log(np.sum(probs * y, axis=1)))

        hidden, output = self.layers
        grad_logits = (probs - y) / len(x)
        output_kernel_grad = x.T @ grad_logits
        output_bias_grad = grad_logits.sum(axis=0)
        grad_hidden = grad_logits @ output.kernel.T
        grad_hidden = grad_hidden * (self.outputs[1] > 0)
        hidden_kernel_grad = self.outputs[0].T @ grad_hidden
        hidden_bias_grad = grad_hidden.sum(axis=0)

        output.kernel -= self.lr * output_kernel_grad
        output.bias -= self.lr * output_bias_grad
        hidden.kernel -= self.lr * hidden_kernel_grad
        hidden.bias -= self.lr * hidden_bias_grad
        return loss


rng = np.random.RandomState(10)
X = rng.rand(80, 6) * 2 - 1
Y = np.eye(3)[np.argmax(X[:, :3] - X[:, 3:], axis=1)]
model = Sequential(lr=0.3)
model.add(Dense(6, 6, seed=1))
model.add(Dense(3, 6, seed=2))
model.fit(X, Y, epochs=10, batch_size=20)
