"""Initial weights: the distribution each one promises, by its formula and as torch.nn.init draws it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from scratch import Linear
from scratch.initializers import (
    Initializer,
    constant,
    he_normal,
    he_uniform,
    linear_default,
    normal,
    uniform,
    xavier_normal,
    xavier_uniform,
    zeros,
)

FAN_IN, FAN_OUT = 60, 90
SHAPE = (FAN_OUT, FAN_IN)


def he(init: Callable[..., torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda w: init(w, nonlinearity="relu")


# standard deviation by formula; what torch draws
CASES: dict[str, tuple[Initializer, float, Callable[[torch.Tensor], torch.Tensor] | None]] = {
    "linear_default": (linear_default, (1 / FAN_IN / 3) ** 0.5, lambda w: nn.init.kaiming_uniform_(w, a=5**0.5)),
    "he_normal": (he_normal, (2 / FAN_IN) ** 0.5, he(nn.init.kaiming_normal_)),
    "he_uniform": (he_uniform, (2 / FAN_IN) ** 0.5, he(nn.init.kaiming_uniform_)),
    "xavier_normal": (xavier_normal, (2 / (FAN_IN + FAN_OUT)) ** 0.5, nn.init.xavier_normal_),
    "xavier_uniform": (xavier_uniform, (2 / (FAN_IN + FAN_OUT)) ** 0.5, nn.init.xavier_uniform_),
    "normal": (normal(0.3), 0.3, lambda w: nn.init.normal_(w, 0, 0.3)),
    "uniform": (uniform(-0.6, 0.6), 0.6 / 3**0.5, lambda w: nn.init.uniform_(w, -0.6, 0.6)),
}
BOUNDS = {"linear_default": FAN_IN**-0.5, "he_uniform": (6 / FAN_IN) ** 0.5, "uniform": 0.6}
BOUNDS["xavier_uniform"] = (6 / (FAN_IN + FAN_OUT)) ** 0.5


@pytest.mark.parametrize("name", CASES)
def test_mean_and_deviation_are_the_formulas_and_torchs(name: str) -> None:
    init, std, torchs = CASES[name]
    drawn = init(np.random.default_rng(0), SHAPE, (FAN_IN, FAN_OUT))
    torch.manual_seed(0)
    theirs = torchs(torch.empty(SHAPE, dtype=torch.float64)).numpy()
    # 5400 draws: the mean is good to std / 73, the deviation to a hundredth
    for a in (drawn, theirs):
        assert a.mean() == pytest.approx(0, abs=4 * std / drawn.size**0.5)
        assert a.std() == pytest.approx(std, rel=4 / (2 * drawn.size) ** 0.5)


@pytest.mark.parametrize("name", CASES)
def test_the_tails_are_those_of_the_distribution(name: str) -> None:
    init, std, _ = CASES[name]
    drawn = np.abs(init(np.random.default_rng(0), SHAPE, (FAN_IN, FAN_OUT)))
    if name in BOUNDS:
        assert 0.99 * BOUNDS[name] < drawn.max() <= BOUNDS[name]
    else:
        assert 3 * std < drawn.max() < 6 * std


@pytest.mark.parametrize("rng", [np.random.default_rng, np.random.RandomState])
@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_draws_the_same_float64(name: str, rng: type) -> None:
    first, second, other = (CASES[name][0](rng(seed), (3, 5), (5, 3)) for seed in (1, 1, 2))
    assert first.dtype == np.float64
    assert first.shape == (3, 5)
    assert first.tobytes() == second.tobytes() != other.tobytes()


def test_constants_draw_nothing() -> None:
    rng = np.random.default_rng(0)
    assert zeros(rng, (2, 3), (3, 2)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert constant(0.5)(rng, (3,), (3, 2)).tolist() == [0.5, 0.5, 0.5]
    assert rng.random() == np.random.default_rng(0).random()


def test_uniform_is_from_low_to_high() -> None:
    drawn = uniform(2.0, 5.0)(np.random.default_rng(0), (1000,), (3, 2))
    assert 2 <= drawn.min() < 2.02
    assert 4.98 < drawn.max() <= 5


def test_normal_has_a_mean() -> None:
    assert normal(0.01, mean=3.0)(np.random.default_rng(0), (1000,), (3, 2)).mean() == pytest.approx(3, abs=0.002)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_draws_its_weight_first_then_its_bias(dtype: type) -> None:
    layer = Linear(5, 3, rng=np.random.default_rng(7), dtype=dtype)
    rng = np.random.default_rng(7)
    weight, bias = (linear_default(rng, shape, (5, 3)).astype(dtype) for shape in [(3, 5), (3,)])
    assert list(layer.params) == ["weight", "bias"]
    assert layer.params["weight"].tobytes() == weight.tobytes()
    assert layer.params["bias"].tobytes() == bias.tobytes()
    assert Linear(5, 3, rng=np.random.default_rng(7), bias=False).params.keys() == {"weight"}
