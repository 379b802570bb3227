"""The full Jacobians against torch, against `backward`, and against central differences."""

import numpy as np
import pytest
import torch

from compare.network.weights import to_torch
from scratch import CrossEntropyLoss, Layer, LayerError, Linear, ReLU, Sequential, Sigmoid, Softmax, Tanh
from scratch.jacobians import RULES, input_jacobian, parameter_jacobians
from scratch.losses import ProbabilityCrossEntropyLoss, one_hot


def linear(n: int, k: int, **options: bool) -> Linear:
    return Linear(n, k, rng=np.random.default_rng(n), dtype=np.float64, **options)


LAYERS = {
    "linear": linear(5, 3),
    "linear without bias": linear(5, 3, bias=False),
    "relu": ReLU(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "softmax": Softmax(),
    "network": Sequential(linear(5, 4), ReLU(), Sequential(linear(4, 7), Tanh()), linear(7, 3), Softmax()),
}
X = np.random.default_rng(3).normal(size=5)
each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))


@each_layer
def test_both_are_those_of_torch(layer: Layer) -> None:
    model = to_torch(Sequential(layer))
    params = dict(model.named_parameters())

    def output(*arrays: torch.Tensor) -> torch.Tensor:
        given = dict(zip(params, arrays[1:], strict=True))
        return torch.func.functional_call(model, given, arrays[0][None])[0]

    by_x, *by_params = torch.autograd.functional.jacobian(output, (torch.from_numpy(X), *params.values()))
    np.testing.assert_allclose(input_jacobian(layer, X), by_x, rtol=1e-12, atol=1e-15)
    ours = parameter_jacobians(Sequential(layer), X)
    assert list(ours) == list(params)
    for name, expected in zip(params, by_params, strict=True):
        assert ours[name].shape == tuple(expected.shape)
        np.testing.assert_allclose(ours[name], expected, rtol=1e-12, atol=1e-15, err_msg=name)


@each_layer
def test_backward_is_the_product_with_them(layer: Layer) -> None:
    y = layer.forward(X[np.newaxis])[0]
    dy = np.random.default_rng(4).normal(size=y.shape)
    dx = layer.backward(dy[np.newaxis])[0]
    np.testing.assert_allclose(dx, dy @ input_jacobian(layer, X), rtol=1e-12, atol=1e-15)
    messages = parameter_jacobians(layer, X)
    assert messages.keys() == layer.grads.keys()
    for name, g in layer.grads.items():
        np.testing.assert_allclose(g, np.tensordot(dy, messages[name], axes=1), rtol=1e-12, atol=1e-15, err_msg=name)


def test_they_leave_what_the_layer_kept_alone() -> None:
    net = Sequential(linear(5, 4), ReLU(), linear(4, 3), Softmax())
    batch, dy = np.random.default_rng(5).normal(size=(6, 5)), np.random.default_rng(6).normal(size=(6, 3))
    net.forward(batch)
    expected = net.backward(dy)
    net.forward(batch)
    input_jacobian(net, X)
    parameter_jacobians(net, X)
    assert np.array_equal(net.backward(dy), expected)


def test_every_activation_has_a_rule() -> None:
    assert {ReLU, Sigmoid, Tanh, Softmax} == set(RULES)
    class Unknown(ReLU):
        pass

    with pytest.raises(TypeError, match="got layer Unknown, expected Linear, Sequential, ReLU, Sigmoid, Tanh, Softmax"):
        input_jacobian(Unknown(), X)
    with pytest.raises(LayerError, match=r"got \(1, 5\), expected \(m,\)"):
        input_jacobian(ReLU(), X[np.newaxis])


# The two derivations that lab 5 asks for, and its check: h = 1e-6, error <= 1e-8


def central_differences(f, a: np.ndarray, h: float = 1e-6) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Entry by entry (f(a + h) - f(a - h)) / 2h; f gives an array, whose axes come first."""
    steps = [h * e.reshape(a.shape) for e in np.eye(a.size)]
    columns = [(np.asarray(f(a + step)) - np.asarray(f(a - step))) / (2 * h) for step in steps]
    return np.stack(columns, axis=-1).reshape(*np.shape(columns[0]), *a.shape)


def error(numeric: np.ndarray, g: np.ndarray) -> float:
    assert numeric.shape == g.shape
    return float(np.linalg.norm(numeric - g) / np.linalg.norm(numeric + g))


def test_the_softmax_jacobian_is_its_two_cases() -> None:
    s = Softmax().forward(X[np.newaxis])[0]
    J = input_jacobian(Softmax(), X)
    for i in range(5):
        for j in range(5):
            assert J[i, j] == pytest.approx(s[i] * (1 - s[i]) if i == j else -s[i] * s[j], rel=1e-15)
    assert np.abs(J.sum(axis=0)).max() < 1e-16  # the outputs add up to 1 whatever the input


@each_layer
def test_jacobians_by_central_differences(layer: Layer) -> None:
    assert error(central_differences(lambda x: layer.forward(x[np.newaxis])[0], X), input_jacobian(layer, X)) <= 1e-8


def test_the_gradient_of_the_cross_entropy_by_central_differences() -> None:
    rng = np.random.default_rng(7)
    p, t = rng.dirichlet(np.ones(3), 4), one_hot(rng.integers(0, 3, 4), 3)
    loss = ProbabilityCrossEntropyLoss()
    numeric = central_differences(lambda p: loss.forward(p, t), p)
    loss.forward(p, t)
    assert np.array_equal(loss.backward(), -t / p / len(p))
    assert error(numeric, loss.backward()) <= 1e-8


def test_softmax_and_cross_entropy_together_by_central_differences() -> None:
    rng = np.random.default_rng(8)
    s, t = rng.normal(size=(4, 3)), one_hot(rng.integers(0, 3, 4), 3)
    loss = CrossEntropyLoss()
    numeric = central_differences(lambda s: loss.forward(s, t), s)
    loss.forward(s, t)
    assert error(numeric, loss.backward()) <= 1e-8
    np.testing.assert_allclose(loss.backward(), (Softmax().forward(s) - t) / len(s), rtol=1e-14, atol=1e-16)


def test_every_weight_of_a_network_by_central_differences() -> None:
    rng = np.random.default_rng(9)
    net, loss = Sequential(linear(4, 6), ReLU(), linear(6, 3), Softmax()), ProbabilityCrossEntropyLoss()
    x, t = rng.normal(size=(7, 4)), one_hot(rng.integers(0, 3, 7), 3)
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    for name, g in net.grads.items():

        def value(a: np.ndarray, name: str = name) -> float:
            before = net.params[name].copy()
            net.params[name][...] = a
            found = float(loss.forward(net.forward(x), t))
            net.params[name][...] = before
            return found

        assert error(central_differences(value, net.params[name].copy()), g) <= 1e-8, name
