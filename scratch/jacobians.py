"""The full Jacobians of a layer at one sample: what `backward` multiplies by and never forms.

The backward message of a layer is dL/dx_j = sum_k dL/dy_k dy_k/dx_j, its parameter message the same with dy_k/dW_ij.
`backward` has both sums without the arrays, which for 784 -> 256 would have 256 x 784 and 256 x 256 x 784 entries.
For tests and for looking at: training calls nothing here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from scratch.layers import Array, Layer, Linear, ReLU, Sigmoid, Softmax, Tanh, expect
from scratch.network import Sequential


def input_jacobian(layer: Layer, x: Array) -> Array:
    """J[k, j] = dy_k / dx_j at one sample x (in,) -> (out, in). TypeError for a layer that has no rule here."""
    expect(x, (None,))
    if isinstance(layer, Sequential):
        return _chain(layer, x)[0]
    if isinstance(layer, Linear):
        return layer.params["weight"].copy()
    y = _output(layer, x)
    for kind, rule in RULES.items():
        if type(layer) is kind:
            return rule(x, y)
    raise TypeError(f"got layer {layer}, expected Linear, Sequential, {', '.join(k.__name__ for k in RULES)}")


def parameter_jacobians(layer: Layer, x: Array) -> dict[str, Array]:
    """Name -> dy_k / dp at one sample x (in,): (out, *shape of p) for every parameter p; {} where there is none."""
    expect(x, (None,))
    if isinstance(layer, Sequential):
        return _chain(layer, x)[1]
    if not isinstance(layer, Linear):
        return {}
    identity: Array = np.eye(layer.out_features, dtype=x.dtype)
    found: dict[str, Array] = {"weight": identity[:, :, np.newaxis] * x}  # dy_k / dW_ij = [k = i] x_j
    if "bias" in layer.params:
        found["bias"] = identity  # dy_k / db_i = [k = i]
    return found


def _relu(x: Array, y: Array) -> Array:
    """dy_k / dx_k = 1 where x_k > 0, else 0."""
    return np.diag((x > 0).astype(x.dtype))


def _sigmoid(x: Array, y: Array) -> Array:
    """dy_k / dx_k = y_k (1 - y_k)."""
    return np.diag(y * (1 - y))


def _tanh(x: Array, y: Array) -> Array:
    """dy_k / dx_k = 1 - y_k^2."""
    return np.diag(1 - y * y)


def _softmax(x: Array, y: Array) -> Array:
    """dy_k / dx_k = y_k (1 - y_k), and dy_k / dx_j = -y_k y_j for j != k."""
    return np.diag(y) - np.outer(y, y)


RULES: dict[type[Layer], Callable[[Array, Array], Array]] = {
    ReLU: _relu,
    Sigmoid: _sigmoid,
    Tanh: _tanh,
    Softmax: _softmax,
}


def _output(layer: Layer, x: Array) -> Array:
    """y (out,) of one sample, by a copy of the layer: what it kept for its own `backward` stays as it was."""
    y: Array = copy.deepcopy(layer).forward(x[np.newaxis])[0]
    return y


def _chain(network: Sequential, x: Array) -> tuple[Array, dict[str, Array]]:
    """The chain rule forward: every Jacobian so far is multiplied by the next layer's."""
    by_input: Array = np.eye(len(x), dtype=x.dtype)
    by_parameters: dict[str, Array] = {}
    for i, layer in enumerate(network):
        J = input_jacobian(layer, x)
        by_input = J @ by_input
        by_parameters = {name: np.tensordot(J, p, axes=1) for name, p in by_parameters.items()}
        by_parameters |= {f"{i}.{name}": p for name, p in parameter_jacobians(layer, x).items()}
        x = _output(layer, x)
    return by_input, by_parameters
