"""Two rates: a gradient that depends on the learning rate tells of weights that are updated too early."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import compare
from compare.foreign.two_rates import at_half_the_rate, rate_argument

NET = "4-6-5-2 sigmoid, mse"
SAID = "update before delta: the weights of layer {} are updated before the gradient goes back through them"


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)), rng.normal(size=(6, 2))


class Net:
    """Its updates are in backward, one statement a layer; `early` is the layer that is updated too early."""

    def __init__(self, lr: float = 0.1, early: int = 9) -> None:
        rng = np.random.default_rng(3)
        self.lr, self.early = lr, early
        sizes = (4, 6, 5, 2)
        self.W = [rng.normal(0, 0.7, (i, o)) for i, o in pairwise(sizes)]
        self.b = [rng.normal(0, 0.7, o) for o in sizes[1:]]

    def forward(self, x: Any) -> Any:
        self.a = [x]
        for k in range(3):
            z = self.a[-1] @ self.W[k] + self.b[k]
            self.a.append(sigmoid(z) if k < 2 else z)
        return self.a[-1]

    def rate(self) -> float:
        return self.lr

    def backward(self, y: Any) -> None:
        d = 2 * (self.a[-1] - y) / y.size
        for k in (2, 1, 0):
            before = None if self.early == k else self.W[k].copy()
            self.W[k] -= self.rate() * self.a[k].T @ d
            self.b[k] -= self.rate() * d.sum(axis=0)
            if k:
                d = (d @ (self.W[k] if before is None else before).T) * self.a[k] * (1 - self.a[k])


class ByArgument(Net):
    def backward(self, y: Any, learning_rate: float) -> None:  # type: ignore[override]
        self.lr = learning_rate
        super().backward(y)


class Hidden(Net):
    """No attribute is the rate."""

    def __init__(self, early: int = 9) -> None:
        super().__init__(early=early)
        del self.lr

    def rate(self) -> float:
        return 0.1


class Momentum(Net):
    """The number called alpha is no learning rate."""

    def __init__(self, early: int = 9) -> None:
        super().__init__(early=early)
        self.alpha = 0.9
        del self.lr

    def rate(self) -> float:
        return 0.1


@pytest.mark.parametrize("early", [9, 2, 1])
@pytest.mark.parametrize("kind", [Net, ByArgument])
def test_objects(kind: type[Net], early: int) -> None:
    report = compare.check(kind(early=early), *batch(), network=NET)
    said = [finding for finding in report.findings if "update before delta" in finding]
    if early == 9:
        assert report.verdict == "parity", report.text(verbose=True)
        assert said == []
        return
    assert report.verdict == "mismatch"
    assert len(said) == 1, report
    assert said[0].startswith(SAID.format(2 * early))
    assert report.diagnosis[0].cause == "updated-weights"


@pytest.mark.parametrize("early", [9, 2])
@pytest.mark.parametrize("kind", [Hidden, Momentum])
def test_where_no_rate_can_be_set_the_verdict_is_as_without(kind: type[Net], early: int) -> None:
    report = compare.check(kind(early=early), *batch(), network=NET)
    assert report.verdict == ("parity" if early == 9 else "mismatch"), report.text(verbose=True)
    assert not any("update before delta" in finding for finding in report.findings)


@pytest.mark.parametrize("early", [9, 2])
def test_functions_that_take_the_rate(early: int) -> None:
    def step(x: Any, t: Any, lr: float = 0.05) -> None:
        net = Net(lr, early)
        net.forward(x)
        net.backward(t)

    assert rate_argument(step) == ("lr", 0.05)
    report = compare.check(step, *batch(), network=NET)
    assert report.verdict == ("parity" if early == 9 else "mismatch"), report.text(verbose=True)
    assert any(SAID.format(4) in finding for finding in report.findings) is (early == 2)


@pytest.mark.parametrize("early", [9, 2])
def test_a_function_that_goes_on_with_its_weights_is_not_compared_with_itself(early: int) -> None:
    net = Net(early=early)

    def step(x: Any, t: Any, lr: float = 0.05) -> None:
        net.lr = lr
        net.forward(x)
        net.backward(t)

    report = compare.check(step, *batch(), network=NET)
    assert report.verdict == ("parity" if early == 9 else "mismatch")
    assert not any("update before delta" in finding for finding in report.findings)


def test_float32_has_its_own_rounding() -> None:
    net = Net()
    net.W, net.b = [w.astype(np.float32) for w in net.W], [b.astype(np.float32) for b in net.b]
    x, t = (a.astype(np.float32) for a in batch())
    report = compare.check(net, x, t, network=NET)
    assert report.verdict == "parity", report.text(verbose=True)
    assert not any("update before delta" in finding for finding in report.findings)


class Holder:
    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)


@pytest.mark.parametrize(
    ("candidate", "rates"),
    [(Net(0.2), (0.2, 0.1)), (Holder(Net(0.2), Net(0.2)), (0.2, 0.1)), (Holder(Net(0.2), Net(0.4)), None), (3, None)],
    ids=["an attribute", "of several parts", "two that differ", "none"],
)
def test_which_rate_is_halved(candidate: Any, rates: tuple[float, float] | None) -> None:
    found = at_half_the_rate(candidate)
    assert (found[1] if found else None) == rates
