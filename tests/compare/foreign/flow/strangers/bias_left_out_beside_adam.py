# Expected: MISMATCH with --network "3-4, softmax cross-entropy"
# A bias is updated by Adam, and in no sum.
import numpy as np

def softmax(z):
    e = np.exp(z - np.max(z))
    return e / np.sum(e)

np.random.seed(700024)
inputs = np.random.randn(16, 3)
outputs = np.random.randint(0, 4, 16)
pairs = list(zip(inputs, outputs))
rate = 0.05
epochs = 6
w0 = np.random.randn(3, 4) / np.sqrt(3)
b0 = np.zeros(4)
m_w0 = np.zeros_like(w0)
v_w0 = np.zeros_like(w0)
m_b0 = np.zeros_like(b0)
v_b0 = np.zeros_like(b0)
step = 0

for epoch in range(epochs):
    total = 0
    for inp, out in pairs:
        pred = softmax(inp.dot(w0))
        total += -np.sum(np.log(pred[out]))
        g0 = pred.copy()
        g0[out] -= 1
        grad_w0 = np.outer(inp, g0)
        grad_b0 = g0
        step += 1
        m_w0 = 0.9 * m_w0 + (1 - 0.9) * grad_w0
        v_w0 = 0.999 * v_w0 + (1 - 0.999) * grad_w0 ** 2
        w0 = w0 - rate * (m_w0 / (1 - 0.9 ** step)) / (np.sqrt(v_w0 / (1 - 0.999 ** step)) + 1e-08)
        m_b0 = 0.9 * m_b0 + (1 - 0.9) * grad_b0
        v_b0 = 0.999 * v_b0 + (1 - 0.999) * grad_b0 ** 2
        b0 = b0 - rate * (m_b0 / (1 - 0.9 ** step)) / (np.sqrt(v_b0 / (1 - 0.999 ** step)) + 1e-08)
    print(epoch, total)
