"""The column notation of lab 3: the same memory, the same numbers as its formulas written out."""

from itertools import pairwise

import numpy as np
import pytest

from scratch import SGD, HalfSquaredErrorLoss, Linear, ReLU, Sequential, Sigmoid, Softmax
from scratch.column_view import ColumnView, with_ones
from scratch.learner import ScratchLearner


def network() -> Sequential:
    rng = np.random.default_rng(0)
    sizes = (5, 4, 3, 2)
    linear = [Linear(a, b, rng=rng, dtype="float64") for a, b in pairwise(sizes)]
    return Sequential(linear[0], ReLU(), linear[1], ReLU(), linear[2], Sigmoid())


def test_forward_and_backward_are_the_formulas_in_columns() -> None:
    """Written out once more here: derivatives from the outputs, y (1 - y) and y > 0."""
    view = ColumnView(network())
    X = np.random.default_rng(1).standard_normal((5, 7))
    D = np.random.default_rng(2).standard_normal((2, 7))
    W1, W2, W3 = (W.copy() for W in view.W)
    Y1 = np.maximum(W1 @ with_ones(X), 0)
    Y2 = np.maximum(W2 @ with_ones(Y1), 0)
    Y3 = 1 / (1 + np.exp(-W3 @ with_ones(Y2)))
    assert np.allclose(view.forward(X), Y3, rtol=1e-13, atol=1e-13)
    assert [Y.shape for Y in view.Y] == [(5, 7), (4, 7), (3, 7), (2, 7)]
    assert np.allclose(view.Z[1], W2 @ with_ones(Y1), rtol=1e-13, atol=1e-13)
    dZ3 = D * Y3 * (1 - Y3)
    dZ2 = (W3.T @ dZ3)[:-1] * (Y2 > 0)
    dZ1 = (W2.T @ dZ2)[:-1] * (Y1 > 0)
    dX = view.backward(D)
    assert np.allclose(dX, (W1.T @ dZ1)[:-1], rtol=1e-13, atol=1e-13)
    for found, expected in zip(view.dZ, (dZ1, dZ2, dZ3), strict=True):
        assert np.allclose(found, expected, rtol=1e-13, atol=1e-13)
    for dW, dZ, Y in zip(view.dW, (dZ1, dZ2, dZ3), (X, Y1, Y2), strict=True):
        assert np.allclose(dW, dZ @ with_ones(Y).T, rtol=1e-13, atol=1e-13)


def test_weights_and_biases_are_parts_of_w_through_training() -> None:
    net = network()
    before = {name: p.copy() for name, p in net.params.items()}
    view = ColumnView(net)
    assert all(net.params[name].tobytes() == p.tobytes() for name, p in before.items())
    loss = HalfSquaredErrorLoss("sum")
    learner = ScratchLearner(net, loss, SGD(net, 0.1))
    x = np.random.default_rng(1).standard_normal((7, 5))
    learner.train_step(learner.place(x, np.ones((7, 2))), np.arange(7))
    for W, k in zip(view.W, (0, 2, 4), strict=True):
        weight, bias = net.params[f"{k}.weight"], net.params[f"{k}.bias"]
        assert np.shares_memory(W, weight)
        assert np.shares_memory(W, bias)
        assert np.array_equal(W, np.column_stack((weight, bias)))
        assert not np.array_equal(weight, before[f"{k}.weight"])
    view.W[0][:, -1] = 7.0
    assert (net.params["0.bias"] == 7.0).all()


def test_a_second_view_has_the_same_w() -> None:
    net = network()
    assert all(a is b for a, b in zip(ColumnView(net).W, ColumnView(net).W, strict=True))


def test_what_has_no_such_notation_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="each followed by at most one activation"):
        ColumnView(Sequential(Linear(2, 2, rng=rng), ReLU(), Softmax()))
    with pytest.raises(ValueError, match="found no bias"):
        ColumnView(Sequential(Linear(2, 2, rng=rng, bias=False)))
    with pytest.raises(RuntimeError, match="before backward"):
        _ = ColumnView(network()).dW
