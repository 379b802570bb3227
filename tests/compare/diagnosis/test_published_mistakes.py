"""What labs 3 and 4 published: the check finds its faults; and whole runs in both backends stay together."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compare
from compare.network.weights import to_torch
from compare.recording.batches import lab_batches
from compare.training.runs import train_both
from scratch import HalfSquaredErrorLoss, Linear, ReLU, Sequential, Sigmoid, initializers
from scratch.labs import LABS, digit_pair, linear, xor_line
from scratch.labs.lab import Lab


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


def test_the_mistake_is_the_published_one_step_for_step() -> None:
    """Against the published order of things written out: update W_k, then pass the gradient through it."""
    rng = np.random.default_rng(0)
    net = digit_pair.network_with_bug((5, 4, 3, 1), rng, "float64")
    W = [np.column_stack((net.params[f"{k}.weight"], net.params[f"{k}.bias"])) for k in (0, 2, 4)]
    x, t = rng.uniform(0, 1, (6, 5)), rng.integers(0, 2, (6, 1)).astype(float)
    optimizer, loss = digit_pair.early_sgd(net, 0.1), HalfSquaredErrorLoss("sum")
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    optimizer.step()
    Y = [x.T]
    for k, w in enumerate(W):
        z = w @ np.vstack((Y[-1], np.ones((1, 6))))
        Y.append(sigmoid(z) if k == 2 else np.maximum(z, 0))
    delta = (Y[3] - t.T) * Y[3] * (1 - Y[3])
    for k in (2, 1, 0):
        W[k] -= 0.1 * delta @ np.vstack((Y[k], np.ones((1, 6)))).T
        delta = (W[k].T @ delta)[:-1] * (Y[k] > 0)
    for w, k in zip(W, (0, 2, 4), strict=True):
        found = np.column_stack((net.params[f"{k}.weight"], net.params[f"{k}.bias"]))
        assert np.allclose(found, w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["linear", "xor_line"])
def test_lab_4_is_in_parity(name: str) -> None:
    for dtype in ("float64", "float32"):
        setup = LABS[name].set_up(LABS[name].data(None, dtype, 0), seed=0)
        batches = lab_batches(setup.samples.x_train, setup.samples.t_train, 1)
        report = compare.check_parity(setup.network, setup.loss, setup.optimizer, batches)
        assert (report.verdict, report.reference.verdict) == ("parity", "parity"), report


def both(lab: Lab, data: Any, **options: Any) -> Any:
    setup = lab.set_up(data, seed=lab.seed, **options)
    return train_both(
        setup.network,
        to_torch(copy.deepcopy(setup.network)),
        setup.samples,
        loss=setup.loss,
        optimizer=setup.optimizer,
        epochs=setup.epochs,
        batch_size=setup.batch_size,
        rng=setup.rng,
        shuffle=lab.shuffle,
        drop_last=lab.drop_last,
        threshold=lab.threshold,
        on_epoch=(lambda runs: lab.stop(runs.scratch)) if lab.stop else None,
    )


@pytest.mark.slow
def test_xor_line_from_start_to_stop_in_both_backends() -> None:
    runs = both(xor_line.LAB, xor_line.LAB.data(None, "float64", 0))
    assert len(runs.scratch) == len(runs.torch) < 1000
    assert max(each.largest for each in runs.weight_differences) < 1e-9


@pytest.mark.slow
def test_digit_pair_over_30_epochs_in_both_backends(data_dir: Path) -> None:
    lab = digit_pair.pair((7, 9))
    runs = both(lab, lab.data(data_dir, "float64", 0), hidden=(32,))
    assert len(runs.scratch) == 30
    assert max(each.largest for each in runs.weight_differences) < 1e-9
    assert runs.accuracy_gap == 0
