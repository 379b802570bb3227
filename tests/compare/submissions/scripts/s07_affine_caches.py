"""Assignment 2: fully-connected network of three layers, functions with caches."""
import numpy as np


def affine_forward(x, w, b):
    out = x.dot(w) + b
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T)
    dw = x.T.dot(dout)
    db = dout.sum(axis=0)
    return dx, dw, db


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    dx = dout.copy()
    dx[cache < 0] = 0
    return dx


def softmax_loss(x, y):
    probs = np.exp(x - np.max(x, axis=1, keepdims=True))
    probs /= np.sum(probs, axis=1, keepdims=True)
    N = x.shape[0]
    loss = -np.sum(np.log(probs[np.arange(N), y])) / N
    dx = probs.copy()
    dx[np.arange(N), y] -= 1
    dx /= N
    return loss, dx


class FullyConnectedNet:
    def __init__(self, dims, weight_scale=0.4, seed=0):
        rs = np.random.RandomState(seed)
        self.num_layers = len(dims) - 1
        self.params = {}
        for i in range(self.num_layers):
            self.params['W%d' % (i + 1)] = weight_scale * rs.randn(dims[i], dims[i + 1])
            self.params['b%d' % (i + 1)] = np.zeros(dims[i + 1])

    def loss(self, X, y):
        caches = {}
        a = X
        for i in range(1, self.num_layers):
            a, fc_cache = affine_forward(a, self.params['W%d' % i], self.params['b%d' % i])
            a, relu_cache = relu_forward(a)
            caches[i] = (fc_cache, relu_cache)
        L = self.num_layers
        scores, last_cache = affine_forward(a, self.params['W%d' % L], self.params['b%d' % L])
        loss, dscores = softmax_loss(scores, y)

        grads = {}
        da, grads['W%d' % L], grads['b%d' % L] = affine_backward(dscores, last_cache)
        for i in range(L - 1, 0, -1):
            fc_cache, relu_cache = caches[i]
            dz = relu_backward(da, relu_cache)
            da, grads['W%d' % i], grads['b%d' % i] = affine_backward(dz, fc_cache)
        return loss, grads


def train():
    rs = np.random.RandomState(231)
    X = rs.randn(60, 6)
    y = np.argmax(X[:, :4] + 0.3 * X[:, 2:], axis=1)
    model = FullyConnectedNet([6, 10, 8, 4])
    for it in range(100):
        loss, grads = model.loss(X, y)
        for name in model.params:
            model.params[name] -= 0.3 * grads[name]
        if it % 20 == 0:
            print('(Iteration %d / 100) loss: %f' % (it, loss))


train()
