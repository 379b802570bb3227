import numpy as np
import matplotlib
import matplotlib.pyplot as plt

# fit a sine with one hidden layer of tanh units
np.random.seed(1234)
n = 60
x = np.linspace(-3, 3, n).reshape(n, 1)
t = np.sin(x) + 0.05 * np.random.randn(n, 1)

n_hidden = 10
w_hidden = np.random.normal(0, 1, (1, n_hidden))
b_hidden = np.random.normal(0, 1, n_hidden)
w_out = np.random.normal(0, 0.3, (n_hidden, 1))
b_out = np.zeros(1)

lr = 0.05
errors = []
for epoch in range(500):
    # forward pass
    hidden_in = x.dot(w_hidden) + b_hidden
    hidden_out = np.tanh(hidden_in)
    prediction = hidden_out.dot(w_out) + b_out

    residual = prediction - t
    mse = (residual ** 2).mean()
    errors.append(mse)

    # backward pass
    grad_prediction = 2.0 * residual / n
    grad_w_out = hidden_out.T.dot(grad_prediction)
    grad_b_out = grad_prediction.sum(axis=0)
    grad_hidden_out = grad_prediction.dot(w_out.T)
    grad_hidden_in = grad_hidden_out * (1 - hidden_out ** 2)
    grad_w_hidden = x.T.dot(grad_hidden_in)
    grad_b_hidden = grad_hidden_in.sum(axis=0)

    # gradient descent
    w_out -= lr * grad_w_out
    b_out -= lr * grad_b_out
    w_hidden -= lr * grad_w_hidden
    b_hidden -= lr * grad_b_hidden

print("mse:", errors[0], "->", errors[-1])

plt.plot(errors)
plt.xlabel("epoch")
plt.ylabel("mse")
plt.show()
