"""Sequential: the chain rule over its layers, torch's names, and errors that say which layer."""

import numpy as np
import pytest

from scratch import SGD, LayerError, Linear, ReLU, Sequential, Sigmoid, Tanh
from tests.finite_differences import assert_derivative


def network(dtype: type = np.float64) -> Sequential:
    rng = np.random.default_rng(1)
    return Sequential(
        Linear(5, 6, rng=rng, dtype=dtype), Tanh(), Linear(6, 4, rng=rng, bias=False, dtype=dtype), Sigmoid()
    )


def test_forward_is_the_layers_in_turn_and_backward_in_reverse() -> None:
    net, rng = network(), np.random.default_rng(2)
    x, dy = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))
    y = x
    for layer in net:
        y = layer.forward(y)
    assert net.forward(x).tobytes() == y.tobytes()
    dx = dy
    for layer in reversed(list(net)):
        dx = layer.backward(dx)
    assert net.backward(dy).tobytes() == dx.tobytes()


def test_its_gradients_are_derivatives_of_the_whole() -> None:
    net, rng = network(), np.random.default_rng(2)
    x, dy = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))
    net.forward(x)
    dx = net.backward(dy)
    grads = net.grads
    assert_derivative(lambda a: float((net.forward(a) * dy).sum()), x, dx, rng.standard_normal(x.shape))
    for name, p in net.params.items():
        start = p.copy()

        def moved(a: np.ndarray, p: np.ndarray = p) -> float:
            p[...] = a
            return float((net.forward(x) * dy).sum())

        assert_derivative(moved, start, grads[name], rng.standard_normal(p.shape))
        p[...] = start


def test_parameters_and_gradients_have_torchs_names() -> None:
    net = network(np.float32)
    assert list(net.params) == ["0.weight", "0.bias", "2.weight"]
    assert net.grads == {}
    net.backward(net.forward(np.ones((3, 5), np.float32)))
    assert {name: g.shape for name, g in net.grads.items()} == {name: p.shape for name, p in net.params.items()}
    assert all(g.dtype == np.float32 for g in net.grads.values())


def test_parameters_are_the_layers_own_arrays() -> None:
    net = network()
    assert net.params["2.weight"] is net.layers[2].params["weight"]
    before = net.layers[0].params["weight"].copy()
    net.backward(net.forward(np.ones((3, 5))))
    SGD(net, lr=0.1).step()
    assert not np.array_equal(net.layers[0].params["weight"], before)


def test_a_network_is_a_layer_of_a_network() -> None:
    inner, x = network(), np.random.default_rng(3).standard_normal((3, 5))
    outer = Sequential(inner, ReLU())
    assert list(outer.params) == ["0.0.weight", "0.0.bias", "0.2.weight"]
    assert outer.forward(x).tobytes() == inner.forward(x).tobytes()  # a sigmoid is positive


def test_length_order_and_words() -> None:
    net = network(np.float32)
    assert len(net) == 4
    assert [str(layer) for layer in net] == ["Linear 5 -> 6", "Tanh", "Linear 6 -> 4", "Sigmoid"]
    assert str(net) == "Linear 5 -> 6, Tanh, Linear 6 -> 4, Sigmoid"
    assert repr(net) == (
        "Sequential(Linear(5, 6, dtype=float32), Tanh(), Linear(6, 4, bias=False, dtype=float32), Sigmoid())"
    )


WRONG = [
    ("forward", (3, 4), r"layer 0 \(Linear 5 -> 6\): got \(3, 4\), expected \(m, 5\)"),
    ("forward", (5,), r"layer 0 \(Linear 5 -> 6\): got \(5,\), expected \(m, 5\)"),
    ("backward", (3, 5), r"layer 3 \(Sigmoid\): got \(3, 5\), expected \(3, 4\)"),
    ("backward", (4, 4), r"layer 3 \(Sigmoid\): got \(4, 4\), expected \(3, 4\)"),
]


@pytest.mark.parametrize(("method", "shape", "message"), WRONG)
def test_a_wrong_shape_names_the_layer(method: str, shape: tuple[int, ...], message: str) -> None:
    net = network()
    net.forward(np.ones((3, 5)))
    with pytest.raises(LayerError, match=message):
        getattr(net, method)(np.ones(shape))


def test_layers_that_do_not_fit_name_the_second() -> None:
    rng = np.random.default_rng(1)
    net = Sequential(Linear(5, 6, rng=rng), ReLU(), Linear(7, 4, rng=rng))
    with pytest.raises(LayerError, match=r"layer 2 \(Linear 7 -> 4\): got \(3, 6\), expected \(m, 7\)"):
        net.forward(np.ones((3, 5), np.float32))


def test_layers_of_two_dtypes_name_the_second() -> None:
    rng = np.random.default_rng(1)
    net = Sequential(Linear(5, 6, rng=rng, dtype=np.float32), Linear(6, 4, rng=rng, dtype=np.float64))
    with pytest.raises(LayerError, match=r"layer 1 \(Linear 6 -> 4\): got float32, expected float64"):
        net.forward(np.ones((3, 5), np.float32))


def test_backward_before_forward_names_the_layer() -> None:
    with pytest.raises(RuntimeError, match="Sigmoid: backward was called before forward"):
        network().backward(np.ones((3, 4)))


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="got no layers, expected at least one"):
        Sequential()
