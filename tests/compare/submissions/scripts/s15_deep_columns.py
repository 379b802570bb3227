"""L-layer model with columns as examples (hidden tanh, output sigmoid)."""
import numpy as np

LAYERS = [3, 7, 1]


def linear_forward(A, W, b):
    Z = W @ A + b
    return Z, (A, W)


def model_forward(X, params):
    Z1, cache1 = linear_forward(X, params[0], params[1])
    A1 = np.tanh(Z1)
    Z2, cache2 = linear_forward(A1, params[2], params[3])
    A2 = 1 / (1 + np.exp(-Z2))
    return A2, (cache1, cache2, A1)


def model_backward(A2, Y, caches):
    (A0, W1), (A1, W2), H = caches
    m = Y.shape[1]
    dZ2 = A2 - Y
    dW2 = dZ2 @ A1.T / m
    db2 = dZ2.mean(axis=1, keepdims=True)
    dA1 = W2.T @ dZ2
    dZ1 = dA1 * (1 - H * H)
    dW1 = dZ1 @ A0.T
    db1 = dZ1.mean(axis=1, keepdims=True)
    return [dW1, db1, dW2, db2]


def binary_cross_entropy(A2, Y):
    return np.mean(-Y * np.log(A2) - (1 - Y) * np.log(1 - A2))


def main():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((3, 45))
    Y = (X.prod(axis=0, keepdims=True) > 0) * 1.0
    params = []
    for a, b in zip(LAYERS[:-1], LAYERS[1:]):
        params.append(rng.standard_normal((b, a)) * np.sqrt(1 / a))
        params.append(np.zeros((b, 1)))

    for epoch in range(150):
        A2, caches = model_forward(X, params)
        loss = binary_cross_entropy(A2, Y)
        grads = model_backward(A2, Y, caches)
        params = [p - 0.02 * g for p, g in zip(params, grads)]
        if epoch % 50 == 0:
            print("epoch", epoch, "loss", loss)
    print("accuracy", np.mean((A2 > 0.5) == Y))


main()
