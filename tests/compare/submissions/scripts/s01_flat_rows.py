import numpy as np

# toy data: three arms of a spiral
np.random.seed(0)
N = 40  # points per class
D = 2
K = 3
X = np.zeros((N*K, D))
y = np.zeros(N*K, dtype='uint8')
for j in range(K):
    ix = range(N*j, N*(j+1))
    r = np.linspace(0.0, 1, N)
    t = np.linspace(j*4, (j+1)*4, N) + np.random.randn(N)*0.2
    X[ix] = np.c_[r*np.sin(t), r*np.cos(t)]
    y[ix] = j

h = 16
W1 = 0.5 * np.random.randn(D, h)
b1 = np.zeros((1, h))
W2 = 0.5 * np.random.randn(h, K)
b2 = np.zeros((1, K))

step_size = 0.5
num_examples = X.shape[0]
for i in range(200):
    # forward
    hidden = np.maximum(0, np.dot(X, W1) + b1)
    scores = np.dot(hidden, W2) + b2
    exp_scores = np.exp(scores)
    probs = exp_scores / np.sum(exp_scores, axis=1, keepdims=True)
    loss = np.sum(-np.log(probs[range(num_examples), y])) / num_examples
    if i % 50 == 0:
        print("iteration %d: loss %f" % (i, loss))

    # backward
    dscores = probs
    dscores[range(num_examples), y] -= 1
    dscores /= num_examples
    dW2 = np.dot(hidden.T, dscores)
    db2 = np.sum(dscores, axis=0, keepdims=True)
    dhidden = np.dot(dscores, W2.T)
    dhidden[hidden <= 0] = 0
    dW1 = np.dot(X.T, dhidden)
    db1 = np.sum(dhidden, axis=0, keepdims=True)

    W1 += -step_size * dW1
    b1 += -step_size * db1
    W2 += -step_size * dW2
    b2 += -step_size * db2

pred = np.argmax(np.dot(np.maximum(0, np.dot(X, W1) + b1), W2) + b2, axis=1)
print('training accuracy: %.2f' % np.mean(pred == y))
