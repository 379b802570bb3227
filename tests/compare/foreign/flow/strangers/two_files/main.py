# Expected: MISMATCH with --network "4-16-3 relu, mse": the gradient passes through the weights after their update (mynn.py).
# The loss is the mean squared error, whatever the softmax cross-entropy of the report that it came with.
import numpy as np
from sklearn.datasets import load_iris
from mynn import Sequential, Dense, Activation

def relu(x): return np.maximum(x, 0)
def drelu(x): return np.where(x > 0, 1.0, 0.0)

iris = load_iris()
X = (iris.data - iris.data.mean(0)) / iris.data.std(0)
Y = np.eye(3)[iris.target]

np.random.seed(7)
model = Sequential()
model.add(Dense(4, 16))
model.add(Activation(relu, drelu))
model.add(Dense(16, 3))

if __name__ == "__main__":
    model.fit(X, Y, epochs=20, lr=0.1)
    acc = np.mean(model.predict(X).argmax(1) == iris.target)
    print("accuracy", acc)
