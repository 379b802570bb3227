"""An allowance covers as many roundings as its derivation counts, each of them up by u."""

from __future__ import annotations

import numpy as np
import pytest

from compare.numbers.allowance import FUNCTION, Allowance, Precision
from compare.numbers.expected import Expected
from compare.operations import LAYERS, LOSSES, OPTIMIZERS
from compare.operations.adam import AVERAGE, SQUARE, STEP
from compare.operations.operation import Loss
from tests.compare.operations.test_registry import each_loss

P = Precision.of("float32")
ONE = np.ones((1, 1))
UP = 1 + P.u
FIRST_ORDER = 1 + 20 * P.u  # what products of roundings may add to a bound of first order


def sigmoid_slope(x: float) -> Allowance:
    return LAYERS["sigmoid"]().allowed_grad(np.full((1, 1), x), ONE, P)


@pytest.mark.parametrize("x", [-60.0, -20.0, -5.0, -1.0])
@pytest.mark.parametrize("form", ["y (1 - y)", "y(x) y(-x)", "e^-x / (1 + e^-x)^2", "1 / (4 cosh^2(x / 2))"])
def test_the_derivative_of_sigmoid(x: float, form: str) -> None:
    e = np.exp(-x) / UP**FUNCTION  # an e^-x that is too small makes y too large
    y, right = 1 / (1 + e) * UP**2, np.exp(-x) / (1 + np.exp(-x)) ** 2
    off = {
        "y (1 - y)": y * (1 - y) * UP**3,
        "y(x) y(-x)": y / (1 + np.exp(x) / UP**FUNCTION) * UP**4,
        "e^-x / (1 + e^-x)^2": e / (1 + e) ** 2 * UP**5,
        "1 / (4 cosh^2(x / 2))": 1 / (4 * (np.cosh(x / 2) / UP**FUNCTION) ** 2) * UP**2,
    }
    assert abs(off[form] - right) <= sigmoid_slope(x).wide.item() * FIRST_ORDER


def test_the_moving_averages_of_adam() -> None:
    """wd p has 3 roundings, and takes 4 more on its way into m; its square has 6, and takes 5 more."""
    adam, zeros = OPTIMIZERS["Adam"](), np.zeros((1, 1))
    options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 0.0, "weight_decay": 0.5}
    allowed = adam.allowed(options, 1, ONE, zeros, {}, P)
    assert allowed["exp_avg"].wide.item() * FIRST_ORDER >= 0.1 * 0.5 * (UP**7 - 1)
    assert allowed["exp_avg_sq"].wide.item() * FIRST_ORDER >= 0.01 * 0.25 * (UP**11 - 1)
    assert (AVERAGE, SQUARE, STEP) == (7, 11, 9)
    step = 0.1 * UP ** (AVERAGE + STEP + SQUARE / 2)
    assert step - 0.1 <= allowed[""].wide.item() * FIRST_ORDER


@pytest.mark.parametrize(
    ("options", "terms", "roundings"),
    [
        ({}, 0.1 * 0.5, 6),
        ({"momentum": 0.9, "dampening": 0.5}, 0.1 * 0.5 * 0.5, 9),
        ({"momentum": 0.9, "nesterov": True}, 0.1 * 1.9 * 0.5, 10),
    ],
)
def test_the_step_of_sgd(options: dict[str, float], terms: float, roundings: int) -> None:
    """Of a gradient that is 0, so that the weight decay alone moves the parameter."""
    zeros, options = np.zeros((1, 1)), {"lr": 0.1, "weight_decay": 0.5} | options
    state = {"momentum_buffer": zeros} if "momentum" in options else {}
    allowed = OPTIMIZERS["SGD"]().allowed(options, 2, ONE, zeros, state, P)
    assert terms * (UP**roundings - 1) + P.u * 1.0 <= allowed[""].wide.item()
    assert allowed[""].wide.item() == pytest.approx(roundings * P.u * (1 + terms), rel=1e-6)


@pytest.mark.parametrize(("lr_decay", "roundings"), [(0.0, 9), (0.5, 13)])
def test_the_step_of_adagrad(lr_decay: float, roundings: int) -> None:
    """Of a parameter that is 0, at its third step: 7 roundings, 2 of the sum, and 4 of a rate that falls."""
    options = {"lr": 0.1, "lr_decay": lr_decay, "eps": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0}
    allowed = OPTIMIZERS["Adagrad"]().allowed(options, 3, 0 * ONE, 0.5 * ONE, {"sum": 0.75 * ONE}, P)
    assert allowed["sum"].wide.item() == pytest.approx(2 * P.u, rel=1e-6)
    assert allowed[""].wide.item() == pytest.approx(0.1 / (1 + 2 * lr_decay) * 0.5 * roundings * P.u, rel=1e-5)


def rmsprop(before: float, g: float, **options: float) -> dict[str, Allowance]:
    usual = {"lr": 0.1, "alpha": 0.9, "eps": 0.0, "weight_decay": 0.0}
    return OPTIMIZERS["RMSprop"]().allowed(usual | options, 1, before * ONE, g * ONE, {}, P)


def test_the_averages_of_rmsprop() -> None:
    """g^2 has 1 rounding and takes 5 more; wd p has 3, its square 7."""
    plain, decayed = rmsprop(1.0, 0.5), rmsprop(1.0, 0.0, weight_decay=0.5)
    assert plain["square_avg"].wide.item() * FIRST_ORDER >= 0.1 * 0.25 * (UP**6 - 1)
    assert decayed["square_avg"].wide.item() * FIRST_ORDER >= 0.1 * 0.25 * (UP**12 - 1)
    assert plain["grad_avg"].wide.item() * FIRST_ORDER >= 0.1 * 0.5 * (UP**5 - 1)
    assert decayed["grad_avg"].wide.item() * FIRST_ORDER >= 0.1 * 0.5 * (UP**8 - 1)


def test_the_step_of_rmsprop() -> None:
    """0.1 / sqrt(0.1) of a parameter that is 0: 7 roundings, and 6 of v; and p, which is rounded once."""
    step, off = 0.1 / np.sqrt(0.1), rmsprop(0.0, 0.5)[""].wide.item()
    assert off * FIRST_ORDER >= step * (UP ** (7 + 3) - 1)
    assert off == pytest.approx(step * 13 * P.u, rel=1e-5)
    assert rmsprop(1.0, 0.5)[""].wide.item() - off == pytest.approx(P.u, rel=1e-5)
    velocity = rmsprop(0.0, 0.5, momentum=0.9)
    assert velocity["momentum_buffer"].wide.item() == pytest.approx(10 * step * 12 * P.u, rel=1e-5)
    assert velocity[""].wide.item() == pytest.approx(step * 15 * P.u, rel=1e-5)


def test_where_a_centered_average_is_lost_to_rounding_nothing_is_said() -> None:
    """v = a^2: a correct difference may be negative, and its root NaN."""
    options = {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.0, "centered": True}
    state = {"square_avg": ONE, "grad_avg": ONE}
    rms = OPTIMIZERS["RMSprop"]()
    assert np.isinf(rms.allowed(options, 9, ONE, ONE, state, P)[""].wide).all()
    assert np.isfinite(rms.allowed(options, 9, ONE, -ONE, state, P)[""].wide).all()
    zeros = {name: 0 * ONE for name in state}
    assert np.isfinite(rms.allowed(options, 9, ONE, 0 * ONE, zeros, P)[""].wide).all()


def normalised(x: list[float]) -> Expected:
    return LAYERS["layer_norm"](len(x), 0.0, False).output(np.array([x]), p=P)


@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0, 300.0])
def test_what_one_pass_loses_of_a_variance(offset: float) -> None:
    """Of -1, 1, -1, 1 beside an offset: g (mean^2 + 1) of 1, half of which is y's; g is 6 u for four numbers."""
    g, expected = 6 * P.u, normalised([offset + sign for sign in (-1, 1, -1, 1)])
    squares, mean = (1 + offset**2) * (1 + g), offset * (1 - g)
    y = 1 / np.sqrt(squares - mean * mean)
    assert abs(y - 1) <= expected.allowance.wide.min() * FIRST_ORDER
    assert expected.allowance.wide.max() <= (1 + offset**2) * 40 * P.u


def test_where_a_variance_is_lost_to_rounding_nothing_is_said() -> None:
    """mean(x^2) - mean^2 may be negative, and its root NaN; not of numbers around 0."""
    assert np.isinf(normalised([3001.0, 2999.0, 3000.5, 2999.5]).allowance.wide).all()
    assert np.isfinite(normalised([1.0, -1.0, 0.5, -0.5]).allowance.wide).all()


@each_loss
def test_the_gradient_of_a_sum_is_not_divided(loss: Loss) -> None:
    divided = any(over in loss.formula("loss.gradient") for over in ("/ m", "/ (m n)", "/ (m p)"))
    assert divided == (loss.reduction == "mean")


def test_the_printed_gradient_of_a_sum() -> None:
    printed = {kind: loss("sum").formula("loss.gradient") for kind, loss in LOSSES.items()}
    assert printed == {
        "mse": "dy = 2 (y - t)",
        "l1": "dy = sign(y - t)",
        "multi_margin": "ds_j = 1 / n where 1 - s_t + s_j > 0, and ds_t = -sum of ds_j, else 0",
        "huber": "dy = y - t, at least -delta, at most delta",
        "hinge": "dy = -t where t y < 1, else 0",
        "nll": "dy = -1 for the right class, else 0",
        "kl_div": "dy = -t",
        "half_squared_error": "dy = y - t",
        "cross_entropy": "ds = softmax(s) - t",
        "probability_cross_entropy": "dp = -t / p",
        "binary_cross_entropy": "dp = (1 - t) / (1 - p) - t / p",
        "logits_binary_cross_entropy": "dz = sigmoid(z) - t",
    }
