"""Every optimiser with every option against torch.optim: 50 steps, each from the same state, and all run freely."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from compare.numbers.allowance import Precision
from compare.operations import OPTIMIZERS
from scratch import SGD, Adagrad, Adam, AdamW, Layer, NAdam, Optimizer, RMSprop
from tests.bounds import assert_within

STEPS = 50
CASES: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"lr": 0.3}),
    (SGD, {"lr": 0.1, "weight_decay": 0.02}),
    (SGD, {"lr": 0.05, "momentum": 0.9}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.4}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 1.0}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02}),
    (SGD, {"lr": 0.05, "momentum": 0.5, "dampening": 0.1, "weight_decay": 0.3}),
    (SGD, {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.3, "nesterov": True}),
    *(
        (kind, options)
        for kind in (Adam, AdamW)
        for options in [
            {},
            {"lr": 0.1},
            {"lr": 0.1, "betas": (0.5, 0.6)},
            {"lr": 0.1, "betas": (0.0, 0.9)},
            {"lr": 0.1, "betas": (0.9, 0.0)},
            {"lr": 0.01, "eps": 1e-3},
            {"lr": 0.01, "weight_decay": 0.1},
            {"lr": 0.01, "weight_decay": 0.0},
            {"lr": 0.02, "betas": (0.95, 0.99), "eps": 1e-6, "weight_decay": 0.2},
        ]
    ),
    (NAdam, {}),
    (NAdam, {"lr": 0.1, "betas": (0.5, 0.6), "momentum_decay": 0.0}),
    (NAdam, {"lr": 0.1, "betas": (0.0, 0.9)}),
    (NAdam, {"lr": 0.02, "betas": (0.95, 0.99), "eps": 1e-6, "weight_decay": 0.2, "momentum_decay": 0.3}),
    (NAdam, {"lr": 0.02, "weight_decay": 0.2, "momentum_decay": 0.3, "decoupled_weight_decay": True}),
    (NAdam, {"decoupled_weight_decay": True}),
    (Adagrad, {}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.3}),
    (Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.1}),
    (Adagrad, {"lr": 0.05, "lr_decay": 0.01, "weight_decay": 0.2, "eps": 1e-3}),
    (RMSprop, {}),
    (RMSprop, {"lr": 0.1, "alpha": 0.5}),
    (RMSprop, {"lr": 0.1, "alpha": 0.0}),
    (RMSprop, {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1}),
    (RMSprop, {"lr": 0.01, "momentum": 0.9}),
    (RMSprop, {"lr": 0.01, "centered": True}),
    (RMSprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-6, "momentum": 0.5, "centered": True, "weight_decay": 0.2}),
]
each_case = pytest.mark.parametrize(
    ("kind", "options"), [pytest.param(k, o, id=f"{k.__name__}-{o or 'defaults'}") for k, o in CASES]
)


class Parameters(Layer):
    """Parameters and gradients and nothing else: what an optimiser sees of a network."""

    def __init__(self, dtype: type) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.params = {
            "0.weight": rng.standard_normal((5, 7)).astype(dtype),
            "0.bias": (1e-3 * rng.standard_normal(5)).astype(dtype),
        }

    def draw_gradients(self, rng: np.random.Generator) -> None:
        """Of sizes from 1e-6 to 1e3, and a few exact zeros."""
        for name, p in self.params.items():
            g = rng.standard_normal(p.shape) * 10 ** rng.uniform(-6, 3, p.shape)
            self.grads[name] = np.where(rng.random(p.shape) < 0.1, 0, g).astype(p.dtype)


def as_float64(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: a.astype(np.float64) for name, a in arrays.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_each_step_is_torchs_from_the_same_state(kind: type[Optimizer], options: dict[str, Any], dtype: type) -> None:
    network, rng, p = Parameters(dtype), np.random.default_rng(2), Precision.of(dtype)
    optimizer, method = kind(network, **options), OPTIMIZERS[kind.__name__]()
    for step in range(1, STEPS + 1):
        network.draw_gradients(rng)
        before, grads = as_float64(network.params), as_float64(network.grads)
        state = {name: as_float64(s) for name, s in optimizer.state.items()}
        optimizer.step()
        for name, after in network.params.items():
            wanted = method.update(optimizer.options, step, before[name], grads[name], state[name], p)
            got = {"": after} | optimizer.state[name]
            assert got.keys() == wanted.keys()
            for part, expected in wanted.items():
                assert_within(f"step {step}: {name} {part}", got[part], expected, dtype)


@pytest.fixture
def doubles() -> Iterator[None]:
    """torch keeps what follows from the count of steps, as NAdam's product of mu, in its default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("doubles")
@each_case
def test_all_steps_run_freely_are_torchs(kind: type[Optimizer], options: dict[str, Any]) -> None:
    network, rng = Parameters(np.float64), np.random.default_rng(2)
    optimizer = kind(network, **options)
    theirs = {name: torch.nn.Parameter(torch.from_numpy(p.copy())) for name, p in network.params.items()}
    torchs = getattr(torch.optim, kind.__name__)(theirs.values(), **options)
    for _ in range(STEPS):
        network.draw_gradients(rng)
        for name, p in theirs.items():
            p.grad = torch.from_numpy(network.grads[name].copy())
        optimizer.step()
        torchs.step()
    for name, p in theirs.items():
        scale = max(1.0, float(p.detach().abs().max()))
        np.testing.assert_allclose(network.params[name], p.detach().numpy(), rtol=0, atol=1e-12 * scale)
        for part, a in optimizer.state[name].items():
            b = torchs.state[p][part].numpy()
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@each_case
def test_defaults_are_torchs(kind: type[Optimizer], options: dict[str, Any]) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    group = getattr(torch.optim, kind.__name__)([parameter], **options).param_groups[0]
    found = kind(Parameters(np.float32), **options).options
    named = {name: group["betas"][int(name[-1]) - 1] if "beta" in name else group[name] for name in found}
    assert found == named


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_a_step_writes_in_place_keeps_dtypes_and_leaves_gradients_alone(
    kind: type[Optimizer], options: dict[str, Any], dtype: type
) -> None:
    network = Parameters(dtype)
    optimizer, arrays = kind(network, **options), dict(network.params)
    for step in (1, 2):
        network.draw_gradients(np.random.default_rng(step))
        grads = {name: g.tobytes() for name, g in network.grads.items()}
        optimizer.step()
        assert {name: g.tobytes() for name, g in network.grads.items()} == grads
    assert all(network.params[name] is p for name, p in arrays.items())
    assert all(a.dtype == dtype and a.shape == arrays[n].shape for n, s in optimizer.state.items() for a in s.values())
    assert all(not np.shares_memory(a, network.grads[n]) for n, s in optimizer.state.items() for a in s.values())
    assert optimizer.steps == 2


WRONG = [
    (SGD, {"lr": -1.0}, r"SGD: got lr=-1.0, expected at least 0"),
    (SGD, {"lr": float("nan")}, r"SGD: got lr=nan, expected at least 0"),
    (SGD, {"weight_decay": -0.1}, r"SGD: got weight_decay=-0.1, expected at least 0"),
    (SGD, {"momentum": -0.9}, r"SGD: got momentum=-0.9, expected at least 0"),
    (SGD, {"nesterov": True}, "nesterov needs a momentum above 0 and a dampening of 0"),
    (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov needs a momentum above 0"),
    *(
        (kind, options, message)
        for kind in (Adam, AdamW)
        for options, message in [
            ({"lr": -1.0}, rf"{kind.__name__}: got lr=-1.0, expected at least 0"),
            ({"eps": -1e-8}, rf"{kind.__name__}: got eps=-1e-08, expected at least 0"),
            ({"weight_decay": -1.0}, rf"{kind.__name__}: got weight_decay=-1.0, expected at least 0"),
            ({"betas": (1.0, 0.9)}, rf"{kind.__name__}: got betas=\(1.0, 0.9\), expected both in \[0, 1\)"),
            ({"betas": (0.9, -0.1)}, rf"{kind.__name__}: got betas=\(0.9, -0.1\), expected both in \[0, 1\)"),
        ]
    ),
    (NAdam, {"momentum_decay": -0.1}, r"NAdam: got momentum_decay=-0.1, expected at least 0"),
    (NAdam, {"betas": (1.0, 0.9)}, r"NAdam: got betas=\(1.0, 0.9\), expected both in \[0, 1\)"),
    *(
        (Adagrad, {name: -0.1}, rf"Adagrad: got {name}=-0.1, expected at least 0")
        for name in ("lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value")
    ),
    (RMSprop, {"eps": -1e-8}, r"RMSprop: got eps=-1e-08, expected at least 0"),
    (RMSprop, {"momentum": -0.9}, r"RMSprop: got momentum=-0.9, expected at least 0"),
    (RMSprop, {"alpha": 1.0}, r"RMSprop: got alpha=1.0, expected it in \[0, 1\)"),
    (RMSprop, {"alpha": -0.1}, r"RMSprop: got alpha=-0.1, expected it in \[0, 1\)"),
]


@pytest.mark.parametrize(("kind", "options", "message"), WRONG)
def test_what_an_optimiser_refuses(kind: type[Optimizer], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(Parameters(np.float32), **options)


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, _ in CASES))
def test_a_step_without_a_gradient_names_the_parameter(kind: type[Optimizer]) -> None:
    with pytest.raises(ValueError, match=r"0\.weight: no gradient; call backward before step"):
        kind(Parameters(np.float32)).step()


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, _ in CASES))
def test_a_step_without_a_gradient_changes_nothing(kind: type[Optimizer]) -> None:
    network = Parameters(np.float32)
    network.grads["0.weight"] = np.ones((5, 7), np.float32)
    optimizer = kind(network, lr=0.1)
    before = {name: p.tobytes() for name, p in network.params.items()}
    with pytest.raises(ValueError, match=r"0\.bias: no gradient"):
        optimizer.step()
    assert {name: p.tobytes() for name, p in network.params.items()} == before
    assert optimizer.steps == 0
