"""Shape 2 with one mistake: functions with caches."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def tanh_forward(z):
    a = np.tanh(z)
    return a, a


def tanh_backward(dout, a):
    return dout * (1 - np.tanh(a) ** 2)


def softmax_loss(scores, y):
    shifted = scores - scores.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    dscores = p.copy()
    dscores[np.arange(len(y)), y] -= 1
    return loss, dscores / len(y)


def init(rng):
    w1, w2 = rng.normal(0, 0.5, (5, 7)), rng.normal(0, 0.5, (7, 4))
    return {"W1": w1, "b1": rng.normal(0, 0.5, 7), "W2": w2, "b2": rng.normal(0, 0.5, 4)}


def loss_and_gradients(params, x, y):
    z, cache1 = affine_forward(x, params["W1"], params["b1"])
    a, cache_a = tanh_forward(z)
    scores, cache2 = affine_forward(a, params["W2"], params["b2"])
    loss, dscores = softmax_loss(scores, y)
    grads = {}
    da, grads["W2"], grads["b2"] = affine_backward(dscores, cache2)
    dz = tanh_backward(da, cache_a)
    _, grads["W1"], grads["b1"] = affine_backward(dz, cache1)
    return loss, grads
