"""`fashion_mnist_cnn`: its network and its images, what it learns, and when it trains and when it evaluates."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compare import check_parity
from compare.network.weights import to_torch
from compare.recording.batches import lab_batches
from compare.training.runs import Runs, train_both
from scratch.datasets import digits
from scratch.labs import LabSetup, Outcome, fashion_mnist_cnn, lab
from scratch.learner import ScratchLearner
from tests.made_up_images import bars

NETWORK = (
    "Sequential(Conv2d(1, 8, 3, bias=False, dtype=float32), BatchNorm2d(8, dtype=float32), ReLU(), MaxPool2d(2), "
    "Conv2d(8, 16, 3, bias=False, dtype=float32), BatchNorm2d(16, dtype=float32), ReLU(), MaxPool2d(2), Flatten(), "
    "Linear(400, 64, dtype=float32), ReLU(), Dropout(0.25), Linear(64, 10, dtype=float32))"
)


def set_up(n: int = 96, dtype: str = "float32", **options: Any) -> LabSetup:
    """On made-up images, with a network that is small."""
    chosen = {"hidden": (3, 4, 12), "batch_size": 16, "lr": 5e-3, **options}
    return lab("fashion_mnist_cnn").set_up(bars(n, 48, dtype), **chosen)


def run_both(setup: LabSetup, epochs: int, **options: Any) -> Runs:
    parts = {"loss": setup.loss, "optimizer": setup.optimizer, "learner": setup.learner(), "rng": setup.rng}
    given = {**parts, "batch_size": setup.batch_size, **options}
    return train_both(setup.network, to_torch(setup.network), setup.samples, epochs=epochs, **given)


def test_the_network_is_the_labs_and_its_weights_are_drawn_first_to_last() -> None:
    net = fashion_mnist_cnn.network((784, 8, 16, 64, 10), np.random.default_rng(0), "float32")
    assert repr(net) == NETWORK
    first = np.random.default_rng(0).uniform(-1 / 3, 1 / 3, (8, 1, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(net.params["0.weight"], first)


def test_rows_become_images_of_the_same_memory() -> None:
    data = bars(20, 5)
    setup = lab("fashion_mnist_cnn").set_up(data)
    assert (setup.samples.x_train.shape, setup.samples.x_val.shape) == ((20, 1, 28, 28), (5, 1, 28, 28))
    np.testing.assert_array_equal(setup.samples.x_train[3, 0, 7], data.x_train[3, 7 * 28 : 8 * 28])
    assert np.shares_memory(setup.samples.x_train, data.x_train)
    assert setup.title.splitlines()[1] == "28x28-8-16-64-2, float32, seed 0"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (bars(20, 5), {"hidden": (8, 16)}, r"got hidden sizes \(8, 16\), expected three: channels, channels, and feat"),
        (digits(), {}, r"got images of 64 pixels, expected square ones of at least 10 x 10"),
        (replace(bars(20, 5), image_shape=None), {}, r"got bars, whose rows are no images, expected images"),
    ],
)
def test_what_it_cannot_take_is_one_line(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab("fashion_mnist_cnn").set_up(data, **options)


@pytest.mark.parametrize("pixels", [99, 81])
def test_images_that_are_not_square_or_too_small_are_refused(pixels: int) -> None:
    with pytest.raises(ValueError, match=f"got images of {pixels} pixels, expected square ones of at least 10 x 10"):
        fashion_mnist_cnn.network((pixels, 2, 2, 3, 2), np.random.default_rng(0), "float32")
    fashion_mnist_cnn.network((100, 2, 2, 3, 2), np.random.default_rng(0), "float32")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_both_sides_are_in_parity(dtype: str) -> None:
    setup = set_up(dtype=dtype)
    batches = lab_batches(setup.samples.x_train, setup.samples.t_train, 16)
    report = check_parity(setup.network, setup.loss, setup.optimizer, batches)
    assert (report.verdict, report.reference.verdict) == ("parity", "parity")
    assert report.compared == report.total


def test_both_sides_learn_bars_and_lie_together_in_float64() -> None:
    runs = run_both(set_up(480, "float64"), 4)
    assert runs.scratch[-1].val_accuracy == runs.torch[-1].val_accuracy >= 0.9
    assert runs.scratch[-1].val_loss == pytest.approx(runs.torch[-1].val_loss, rel=1e-9)
    assert runs.weight_differences[-1].largest < 1e-9


@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_validation_takes_the_running_statistics_and_drops_nothing(side: str) -> None:
    setup = set_up()
    runs = run_both(setup, 1)
    model = to_torch(setup.network).eval()
    learner = runs.learners[side]
    model.load_state_dict({name: torch.from_numpy(a) for name, a in learner.weights().items()}, strict=False)
    with torch.no_grad():
        y = model(torch.from_numpy(setup.samples.x_val))
        expected = torch.nn.functional.cross_entropy(y, torch.from_numpy(setup.samples.t_val)).item()
    assert getattr(runs, side)[-1].val_loss == pytest.approx(expected, rel=1e-5)
    before = learner.state_dict()
    data = learner.place(setup.samples.x_val, setup.samples.t_val)
    assert learner.evaluate(data) == learner.evaluate(data)
    assert all(a.tobytes() == learner.state_dict()[name].tobytes() for name, a in before.items())


def test_training_takes_the_batchs_statistics_and_drops_features() -> None:
    setup = set_up()
    learner = ScratchLearner(setup.network, setup.loss, setup.optimizer)
    data = learner.place(setup.samples.x_train, setup.samples.t_train)
    learner.evaluate(data)
    before = learner.state_dict()
    learner.train_step(data, np.arange(16))
    mask = setup.network.layers[11].mask
    assert mask is not None
    assert 0.1 < (mask == 0).mean() < 0.4
    after = learner.state_dict()
    for name in ("1.running_mean", "1.running_var", "5.running_mean", "5.running_var", "11.rng"):
        assert not np.array_equal(after[name], before[name]), name
    setup = set_up()
    convolution = setup.network.layers[0].forward(setup.samples.x_train[:16])
    np.testing.assert_allclose(after["1.running_mean"], 0.1 * convolution.mean(axis=(0, 2, 3)), rtol=1e-5)


def test_the_trained_network_has_the_running_statistics_too(tmp_path: Path) -> None:
    setup = set_up()
    runs = run_both(copy.deepcopy(setup), 1)
    network = Outcome(setup, {"torch": runs.learners["torch"]}, runs.histories, tmp_path, print).network
    found = ScratchLearner(network, setup.loss, setup.lab.optimizer(network, 1e-3))
    val = found.evaluate(found.place(setup.samples.x_val, setup.samples.t_val))
    assert val == pytest.approx((runs.torch[-1].val_loss, runs.torch[-1].val_accuracy), rel=1e-5)


@pytest.mark.slow
def test_two_epochs_of_real_images_in_both_backends(data_dir: Path) -> None:
    """Two of 10,000 of them, to save time."""
    whole = lab("fashion_mnist_cnn").data(data_dir, "float32", 0)
    few = replace(whole, x_train=whole.x_train[:10_000], t_train=whole.t_train[:10_000])
    runs = run_both(lab("fashion_mnist_cnn").set_up(few), 2)
    assert runs.scratch[-1].val_accuracy > 0.78
    assert runs.torch[-1].val_accuracy > 0.78
    assert runs.accuracy_gap < 0.03
