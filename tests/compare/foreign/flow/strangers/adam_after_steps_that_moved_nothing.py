# Expected: PARITY with --network "5-2-1 relu, sigmoid output, binary cross-entropy"
# No hidden unit is active in the first steps, which move nothing, and which Adam counts.
import numpy as np

def forward(x, W_1, W_2):
    in_1 = np.dot(W_1, x)
    out_1 = np.where(in_1 > 0, in_1, 0)
    in_2 = np.dot(W_2, out_1)
    y_hat = 1 / (1 + np.exp(-in_2))
    return (in_1, out_1, y_hat)

def backward(x, true, in_1, out_1, y_hat, W_2):
    d_in_2 = y_hat - true
    d_in_1 = np.dot(W_2.T, d_in_2)
    d_in_1[in_1 <= 0] = 0
    d_W_2 = np.outer(d_in_2, out_1)
    d_W_1 = np.outer(d_in_1, x)
    return (d_W_1, d_W_2)

np.random.seed(700321)
data = np.random.randn(24, 5)
target = np.random.randint(0, 2, (24, 1))
pairs = list(zip(data, target))
step_size = 0.05
epochs = 6
W_1 = np.random.randn(2, 5)
W_2 = np.random.randn(1, 2)
m_W_1 = np.zeros_like(W_1)
v_W_1 = np.zeros_like(W_1)
m_W_2 = np.zeros_like(W_2)
v_W_2 = np.zeros_like(W_2)
step = 0
losses = []

for epoch in range(epochs):
    for x, true in pairs:
        in_1, out_1, y_hat = forward(x, W_1, W_2)
        loss = -np.sum(true * np.log(y_hat) + (1 - true) * np.log(1 - y_hat))
        d_W_1, d_W_2 = backward(x, true, in_1, out_1, y_hat, W_2)
        step += 1
        m_W_2 = 0.9 * m_W_2 + (1 - 0.9) * d_W_2
        v_W_2 = 0.999 * v_W_2 + (1 - 0.999) * d_W_2 ** 2
        m_hat = m_W_2 / (1 - 0.9 ** step)
        v_hat = v_W_2 / (1 - 0.999 ** step)
        W_2 = W_2 - step_size * m_hat / (np.sqrt(v_hat) + 1e-08)
        m_W_1 = 0.9 * m_W_1 + (1 - 0.9) * d_W_1
        v_W_1 = 0.999 * v_W_1 + (1 - 0.999) * d_W_1 ** 2
        m_hat = m_W_1 / (1 - 0.9 ** step)
        v_hat = v_W_1 / (1 - 0.999 ** step)
        W_1 = W_1 - step_size * m_hat / (np.sqrt(v_hat) + 1e-08)
    losses.append(loss)
