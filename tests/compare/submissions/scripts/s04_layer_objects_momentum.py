"""Homework 3: modular network with mini-batches and momentum (float32)."""
import numpy as np


class Parameter:
    def __init__(self, value):
        self.value = value.astype(np.float32)
        self.grad = np.zeros_like(self.value)
        self.velocity = np.zeros_like(self.value)


class Dense:
    def __init__(self, n_in, n_out, rng):
        scale = np.sqrt(2.0 / n_in)
        self.W = Parameter(rng.standard_normal((n_in, n_out)) * scale)
        self.b = Parameter(np.zeros(n_out))

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.W.value + self.b.value

    def backward(self, grad_output):
        self.W.grad = self.inputs.T @ grad_output
        self.b.grad = grad_output.sum(axis=0)
        return grad_output @ self.W.value.T

    def parameters(self):
        return [self.W, self.b]


class ReLU:
    def forward(self, inputs):
        self.mask = inputs > 0
        return inputs * self.mask

    def backward(self, grad_output):
        return grad_output * self.mask

    def parameters(self):
        return []


class SoftmaxCrossEntropy:
    def forward(self, logits, labels):
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.log_probs = shifted - log_sum
        self.labels = labels
        return -self.log_probs[np.arange(len(labels)), labels].mean()

    def backward(self):
        grad = np.exp(self.log_probs)
        grad[np.arange(len(self.labels)), self.labels] -= 1
        return grad / np.float32(len(self.labels))


class SGDMomentum:
    def __init__(self, parameters, lr=0.05, momentum=0.9):
        self.parameters, self.lr, self.momentum = parameters, lr, momentum

    def step(self):
        for p in self.parameters:
            p.velocity = self.momentum * p.velocity + p.grad
            p.value -= self.lr * p.velocity


def main():
    rng = np.random.default_rng(42)
    centers = rng.standard_normal((5, 8)) * 2
    y = rng.integers(0, 5, size=160)
    X = (centers[y] + rng.standard_normal((160, 8))).astype(np.float32)

    layers = [Dense(8, 12, rng), ReLU(), Dense(12, 5, rng)]
    criterion = SoftmaxCrossEntropy()
    optimizer = SGDMomentum([p for layer in layers for p in layer.parameters()])
    batch_size = 32
    for epoch in range(10):
        order = rng.permutation(len(X))
        losses = []
        for start in range(0, len(X), batch_size):
            batch = order[start:start + batch_size]
            out = X[batch]
            for layer in layers:
                out = layer.forward(out)
            losses.append(criterion.forward(out, y[batch]))
            grad = criterion.backward()
            for layer in reversed(layers):
                grad = layer.backward(grad)
            optimizer.step()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")


if __name__ == "__main__":
    main()
