"""The notation of lab 3 for a network of this project: samples are columns, the bias is the last column of W.

Here samples are rows and layer k has weight (out, in) and bias (out,); there Y_k = f(Z_k), Z_k = W_k [Y_(k-1); 1].
"""

from __future__ import annotations

import numpy as np

from scratch.layers import Array, Linear
from scratch.network import Sequential


class ColumnView:
    """`network` in columns. W[k - 1] is W_k, (out, in + 1), in the very memory of the network's weight and bias.

    After `forward`: Y[0] = X, and of every linear layer k its Z[k - 1] and, behind its activation, Y[k], (out, m).
    After `backward`: dW[k - 1] in the shape of W_k, and dZ[k - 1] = dL/dZ_k.
    ValueError unless the network is linear layers with a bias, each followed by at most one activation.
    """

    def __init__(self, network: Sequential) -> None:
        self.network = network
        kinds = "".join("L" if isinstance(layer, Linear) else "f" for layer in network)
        if not kinds.startswith("L") or "ff" in kinds:
            raise ValueError(f"got {network}, expected linear layers, each followed by at most one activation")
        self.linear = [layer for layer in network if isinstance(layer, Linear)]
        self.W = [_one_matrix(layer) for layer in self.linear]
        self.Y: list[Array] = []
        self.Z: list[Array] = []
        self.dZ: list[Array] = []

    def forward(self, X: Array) -> Array:
        """Y = f(W [... f(W_1 [X; 1]) ...; 1]);  X (in, m) -> Y (out, m)."""
        self.Y, self.Z = [X], []
        y = X.T
        for i, layer in enumerate(self.network):
            y = self.network._at(i, layer.forward, y)
            if isinstance(layer, Linear):
                self.Z.append(y.T.copy())
                self.Y.append(y.T)
            else:
                self.Y[-1] = y.T
        return self.Y[-1]

    def backward(self, dY: Array) -> Array:
        """dZ_k = dY_k f'(Z_k);  dW_k = dZ_k [Y_(k-1); 1]^T;  dY_(k-1) = W_k^T dZ_k without its last row."""
        self.dZ = []
        dy = dY.T
        for i, layer in reversed(list(enumerate(self.network))):
            if isinstance(layer, Linear):
                self.dZ.insert(0, dy.T.copy())
            dy = self.network._at(i, layer.backward, dy)
        return dy.T

    @property
    def dW(self) -> list[Array]:
        """Of the last `backward`. RuntimeError before the first."""
        if not self.dZ:
            raise RuntimeError("dW was asked for before backward")
        return [np.column_stack((layer.grads["weight"], layer.grads["bias"])) for layer in self.linear]


def with_ones(Y: Array) -> Array:
    """[Y; 1]: a row of ones below, which the last column of W meets."""
    return np.vstack((Y, np.ones_like(Y, shape=(1, Y.shape[1]))))


def _one_matrix(layer: Linear) -> Array:
    """W = [weight, bias]; from now on the layer's two parameters are parts of it. A second call finds the same W."""
    if "bias" not in layer.params:
        raise ValueError(f"{layer}: found no bias, expected one, for the last column of W")
    weight, bias = layer.params["weight"], layer.params["bias"]
    W = weight.base
    if W is None or W is not bias.base or W.shape != (layer.out_features, layer.in_features + 1):
        W = np.column_stack((weight, bias))
        layer.params["weight"], layer.params["bias"] = W[:, :-1], W[:, -1]
    return W
