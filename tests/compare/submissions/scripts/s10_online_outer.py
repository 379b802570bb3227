"""Stochastic gradient descent, one flower at a time, no batches."""
import numpy as np
from sklearn.datasets import load_iris

iris = load_iris()
inputs = (iris.data - iris.data.mean(0)) / iris.data.std(0)
classes = iris.target

gen = np.random.default_rng(99)
pick = gen.permutation(len(inputs))[:30]
inputs, classes = inputs[pick], classes[pick]

W_ih = gen.normal(scale=0.4, size=(5, 4))
b_h = np.zeros(5)
W_ho = gen.normal(scale=0.4, size=(3, 5))
b_o = np.zeros(3)


def softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()


eta = 0.1
for epoch in range(10):
    total = 0.0
    for x, c in zip(inputs, classes):
        target = np.zeros(3)
        target[c] = 1.0

        h = np.tanh(W_ih @ x + b_h)
        o = softmax(W_ho @ h + b_o)
        loss = -np.log(o[c])
        total += loss

        d_o = o - target
        d_h = (W_ho.T @ d_o) * (1 - h * h)

        W_ho -= eta * np.outer(d_o, h)
        b_o -= eta * d_o
        W_ih -= eta * np.outer(d_h, x)
        b_h -= eta * d_h
    print(epoch, total / len(inputs))
