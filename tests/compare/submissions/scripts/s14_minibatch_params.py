import numpy as np


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


class MLP:
    def __init__(self, n_in=5, n_hidden=8, n_out=3, seed=1):
        rng = np.random.default_rng(seed)
        self.params = dict(
            W1=rng.normal(0, 0.5, (n_in, n_hidden)), b1=np.full(n_hidden, 0.1),
            W2=rng.normal(0, 0.5, (n_hidden, n_out)), b2=np.zeros(n_out),
        )
        self.grads = {}

    def predict(self, x):
        p = self.params
        self.h = relu(x @ p["W1"] + p["b1"])
        return softmax(self.h @ p["W2"] + p["b2"])

    def gradient(self, x, t):
        batch_num = x.shape[0]
        y = self.predict(x)
        dy = (y - t) / batch_num
        self.grads["W2"] = np.dot(self.h.T, dy)
        self.grads["b2"] = np.sum(dy, axis=0)
        da = np.dot(dy, self.params["W2"].T)
        dz = (self.h > 0) * da
        self.grads["W1"] = np.dot(x.T, dz)
        self.grads["b1"] = np.sum(dz, axis=1)
        return -np.sum(t * np.log(y)) / batch_num


rng = np.random.default_rng(12)
x_train = rng.normal(size=(64, 5))
t_train = np.eye(3)[np.digitize(x_train @ rng.normal(size=5), [-1, 1])]

network = MLP()
iters_num = 160
batch_size = 8
learning_rate = 0.1
train_loss_list = []
for i in range(iters_num):
    batch_mask = rng.choice(len(x_train), batch_size, replace=False)
    x_batch = x_train[batch_mask]
    t_batch = t_train[batch_mask]
    loss = network.gradient(x_batch, t_batch)
    for key in ("W1", "b1", "W2", "b2"):
        network.params[key] -= learning_rate * network.grads[key]
    train_loss_list.append(loss)
    if i % 40 == 0:
        print("loss", loss)
