# Expected: INCOMPLETE with --network "3-8-3 sigmoid, softmax cross-entropy"
# The update follows no rule that is known: it accuses nobody.
import numpy as np
rng = np.random.default_rng(700966)
data = rng.normal(size=(16, 3))
target = np.eye(3)[rng.integers(0, 3, 16)]
step_size = 0.1
m = data.shape[0]
epochs = 6
W_1 = rng.normal(size=(8, 3))
b_1 = np.zeros((1, 8))
W_2 = rng.normal(size=(3, 8))
b_2 = np.zeros((1, 3))
v_W_1 = np.zeros_like(W_1)
v_b_1 = np.zeros_like(b_1)
v_W_2 = np.zeros_like(W_2)
v_b_2 = np.zeros_like(b_2)
losses = []

for epoch in range(epochs):
    out_1 = 1 / (1 + np.exp(-(np.dot(data, W_1.T) + b_1)))
    in_2 = np.dot(out_1, W_2.T) + b_2
    exps = np.exp(in_2)
    y_hat = exps / np.sum(exps, axis=1, keepdims=True)
    loss = -np.sum(target * np.log(y_hat)) / m
    d_in_2 = y_hat - target
    d_W_2 = np.dot(d_in_2.T, out_1) / m
    d_b_2 = d_in_2.sum(axis=0, keepdims=True) / m
    d_W_1 = np.dot((np.dot(d_in_2, W_2) * (out_1 * (1 - out_1))).T, data) / m
    d_b_1 = (np.dot(d_in_2, W_2) * (out_1 * (1 - out_1))).sum(axis=0, keepdims=True) / m
    W_2 = W_2 * (1 - step_size * 0.001)
    v_W_2 = 0.9 * v_W_2 + np.clip(d_W_2, -0.1, 0.1)
    W_2 = W_2 - step_size * v_W_2
    v_b_2 = 0.9 * v_b_2 + np.clip(d_b_2, -0.1, 0.1)
    b_2 = b_2 - step_size * v_b_2
    W_1 = W_1 * (1 - step_size * 0.001)
    v_W_1 = 0.9 * v_W_1 + np.clip(d_W_1, -0.1, 0.1)
    W_1 = W_1 - step_size * v_W_1
    v_b_1 = 0.9 * v_b_1 + np.clip(d_b_1, -0.1, 0.1)
    b_1 = b_1 - step_size * v_b_1
    losses.append(loss)
