# Expected: PARITY with --network "3-8-3-1 relu, sigmoid output, binary cross-entropy"
# Near an output of one half the derivative of the loss is nearly a multiple of that by the layer before.
import numpy as np
np.random.seed(700257)
inputs = np.random.randn(3, 22)
outputs = np.random.randint(0, 2, (1, 22)).astype(float)
rate = 0.1
m = inputs.shape[1]
epochs = 6
w0 = np.random.randn(8, 3) * 0.5
b0 = np.zeros((8, 1))
w1 = np.random.randn(3, 8) * 0.5
b1 = np.zeros((3, 1))
w2 = np.random.randn(1, 3) * 0.5
b2 = np.zeros((1, 1))

for epoch in range(epochs):
    total = 0
    order = np.random.permutation(m)
    inputs, outputs = (inputs[:, order], outputs[:, order])
    for start in range(0, m, 5):
        inp = inputs[:, start:start + 5]
        out = outputs[:, start:start + 5]
        v0 = np.maximum(0, np.dot(w0, inp) + b0)
        v1 = np.maximum(0, np.dot(w1, v0) + b1)
        pred = 1.0 / (1.0 + np.exp(-(np.dot(w2, v1) + b2)))
        total += -np.sum(out * np.log(pred) + (1 - out) * np.log(1 - pred)) / inp.shape[1]
        g2 = out - pred
        g1 = np.dot(w2.T, g2)
        g1[v1 <= 0] = 0
        g0 = np.dot(w1.T, g1)
        g0[v0 <= 0] = 0
        w0 = w0 + rate * (np.dot(g0, inp.T) / inp.shape[1])
        b0 = b0 + rate * (np.sum(g0, axis=1, keepdims=True) / inp.shape[1])
        w1 = w1 + rate * (np.dot(g1, v0.T) / inp.shape[1])
        b1 = b1 + rate * (np.sum(g1, axis=1, keepdims=True) / inp.shape[1])
        w2 = w2 + rate * (np.dot(g2, v1.T) / inp.shape[1])
        b2 = b2 + rate * (np.sum(g2, axis=1, keepdims=True) / inp.shape[1])
    print(epoch, total)
