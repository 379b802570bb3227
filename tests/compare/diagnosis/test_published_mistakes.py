"""The mistakes in what labs 3 and 4 published: the check names each, and without them the labs are in parity."""

from typing import Any

import numpy as np
import pytest

import compare
from compare.recording.batches import lab_batches
from scratch import HalfSquaredErrorLoss, Linear, ReLU, Sequential, Sigmoid, initializers
from scratch.labs import LABS, digit_pair, linear, xor_line


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def published_step(x: Any, t: Any, *, clip: bool, factor: float) -> dict[str, Any]:
    """The published lab 4 code, one step of 2-16-1: an MSE with `factor` in its gradient, a sigmoid with its clip."""
    rng = np.random.default_rng(0)
    W1, b1 = 8 * rng.standard_normal((16, 2)), rng.standard_normal(16)
    W2, b2 = rng.standard_normal((1, 16)), rng.standard_normal(1)
    z = x @ W1.T + b1
    a = sigmoid(np.clip(z, -10, 10) if clip else z)
    y = a @ W2.T + b2
    dy = factor * (y - t) / len(x)
    dz = (dy @ W2) * a * (1 - a)
    found = {"0.weight": W1, "0.bias": b1, "2.weight": W2, "2.bias": b2, "0.output": z, "1.output": a, "2.output": y}
    found |= {"loss": np.mean((y - t) ** 2), "2.grad_output": dy, "1.grad_input": dz}
    found |= {"2.grad_weight": dy.T @ a, "2.grad_bias": dy.sum(0), "0.grad_weight": dz.T @ x, "0.grad_bias": dz.sum(0)}
    return found


def points() -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (12, 2))
    return x, (x[:, :1] > x[:, 1:]).astype(float)


NET = "2-16-1 sigmoid, mse"


def test_the_right_step_is_in_parity() -> None:
    report = compare.check(published_step(*points(), clip=False, factor=2), *points(), network=NET)
    assert report.verdict == "parity", report


def test_the_gradient_of_half_the_loss_is_found() -> None:
    report = compare.check(published_step(*points(), clip=False, factor=1), *points(), network=NET)
    assert report.verdict == "mismatch"
    assert report.first.tensor == "2.grad_output"
    assert "2" in report.diagnosis[0].explanation
    assert report.diagnosis[0].layer == "loss"


def test_the_clipped_sigmoid_is_found() -> None:
    report = compare.check(published_step(*points(), clip=True, factor=2), *points(), network=NET)
    assert report.verdict == "mismatch"
    assert report.first.tensor == "1.output"
    assert "[-10, 10]" in report.diagnosis[0].explanation


@pytest.mark.parametrize("module", [linear, xor_line])
def test_the_published_variant_of_lab_4_is_a_mismatch_that_names_the_clip(module: Any) -> None:
    lab = module.LAB.variants["published"]
    setup = lab.set_up(lab.data(None, "float64", 0), seed=0)
    batches = lab_batches(setup.samples.x_train, setup.samples.t_train, 1)
    report = compare.check_parity(setup.network, setup.loss, setup.optimizer, batches)
    assert report.verdict == "mismatch"
    assert "clipped to [-10, 10]" in report.diagnosis[0].explanation
    assert report.reference.verdict == "parity"


def test_the_published_bug_of_lab_3_is_a_mismatch_that_names_the_updated_weights() -> None:
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"rng": rng, "weight_init": initializers.he_normal, "dtype": "float64"}
    layers = [Linear(6, 5, **options), ReLU(), Linear(5, 4, **options), ReLU(), Linear(4, 1, **options), Sigmoid()]
    early = Sequential(*(digit_pair.UpdatedTooEarly(each) if isinstance(each, Linear) else each for each in layers))
    x, t = rng.standard_normal((8, 6)), rng.integers(0, 2, (8, 1)).astype(float)
    optimizer = digit_pair.early_sgd(early, 0.1)
    report = compare.check(early, x, t, loss=HalfSquaredErrorLoss("sum"), optimizer=optimizer)
    assert report.verdict == "mismatch"
    assert report.first.tensor == "4.grad_input"
    assert "after its update" in report.diagnosis[0].explanation


@pytest.mark.parametrize("name", ["linear", "xor_line"])
def test_lab_4_is_in_parity(name: str) -> None:
    for dtype in ("float64", "float32"):
        setup = LABS[name].set_up(LABS[name].data(None, dtype, 0), seed=0)
        batches = lab_batches(setup.samples.x_train, setup.samples.t_train, 1)
        report = compare.check_parity(setup.network, setup.loss, setup.optimizer, batches)
        assert (report.verdict, report.reference.verdict) == ("parity", "parity"), report
