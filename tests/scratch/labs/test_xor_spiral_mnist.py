"""Lab 2: its known figures to the last digit, evaluation with the softmax layer, and the three variants of the loss."""

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from compare.training.runs import Runs, train_both
from scratch import History, ReLU, Sequential, Softmax, fit
from scratch.datasets import Dataset
from scratch.labs import LabSetup, Outcome, lab, mnist, spiral, xor
from scratch.learner import ScratchLearner
from scratch.losses import CrossEntropyLoss, ProbabilityCrossEntropyLoss
from scratch.training import Training, TrainingError
from scratch.training_options import EpochOptions
from torch_ref.learner import TorchLearner


def options(setup: LabSetup) -> dict[str, Any]:
    return {
        "epochs": setup.epochs,
        "rng": setup.rng,
        "batch_size": setup.batch_size,
        "shuffle": setup.lab.shuffle,
        "evaluate_train": setup.lab.evaluate_train,
        "watch": setup.lab.watch,
    }


def run(setup: LabSetup) -> History:
    return fit(setup.network, setup.loss, setup.optimizer, setup.samples, **options(setup))


def run_both(setup: LabSetup) -> Runs:
    model = to_torch(setup.network)
    return train_both(
        setup.network, model, setup.samples, loss=setup.loss, optimizer=setup.optimizer, **options(setup)
    )


def points(name: str, **choices: Any) -> LabSetup:
    chosen = lab(name)
    return chosen.set_up(chosen.data(None, "float64", chosen.seed), **choices)


@pytest.fixture(scope="module")
def images(data_dir: Path) -> Dataset:
    """MNIST, standardised, as float32."""
    return mnist.LAB.data(data_dir, "float32", 0)


# The known figures


def test_xor_ends_at_its_known_loss() -> None:
    last = run(points("xor"))[-1]
    assert (f"{last.train_loss:.4f}", last.train_accuracy) == ("0.3945", 1.0)


@pytest.mark.parametrize(("rate", "train", "test"), [(0.2, "0.8767", "0.8600"), (1.0, "0.9933", "0.9833")])
def test_spiral_ends_at_its_known_accuracies(rate: float, train: str, test: str) -> None:
    last = run(points("spiral", lr=rate))[-1]
    assert (f"{last.train_accuracy:.4f}", f"{last.val_accuracy:.4f}") == (train, test)


def test_at_rate_5_every_unit_of_the_spiral_dies_within_four_epochs() -> None:
    setup = points("spiral", lr=5.0, epochs=4)
    x, t = setup.samples.x_train, setup.samples.t_train
    assert spiral.dead_units(setup.network, x) == 0
    assert run(setup)[-1].train_accuracy == pytest.approx(1 / 3)
    assert spiral.dead_units(setup.network, x) == 10
    setup.loss.forward(setup.network.forward(x), t)
    setup.network.backward(setup.loss.backward())
    moving = [name for name, g in setup.network.grads.items() if g.any()]
    assert moving == ["2.bias"]


@pytest.mark.many
def test_mnist_passes_through_its_known_accuracies_in_both_backends(images: Dataset) -> None:
    runs = run_both(mnist.LAB.set_up(images.astype("float64"), epochs=10))
    for history in runs.histories.values():
        assert [f"{row.train_accuracy:.4f} {row.val_accuracy:.4f}" for row in (history[0], history[9])] == [
            "0.7150 0.7075",
            "0.9438 0.9319",
        ]
    assert max(each.largest for each in runs.weight_differences) <= 1e-9
    assert runs.accuracy_gap == 0


# Data and weights as the sheet draws them


def test_the_weights_come_from_a_second_stream_as_inputs_by_outputs() -> None:
    setup = points("spiral")
    rng = np.random.RandomState(1234)
    for i, (n, k) in ((0, (2, 10)), (2, (10, 3))):
        assert np.array_equal(setup.network.params[f"{i}.weight"], rng.normal(0, np.sqrt(2 / n), (n, k)).T)
        assert (setup.network.params[f"{i}.bias"] == 1).all()
    assert str(points("xor").network) == "Linear 2 -> 4, ReLU, Linear 4 -> 2, Softmax"


def test_the_points_of_the_spiral_come_from_a_stream_of_their_own() -> None:
    rng = np.random.RandomState(1234)
    for name in ("x_train", "x_val"):
        arms = []
        for i in range(3):
            r, t = np.linspace(0, 2.5, 100), np.linspace(4 * i, 4 * (i + 1), 100) + 0.2 * rng.randn(100)
            arms.append(np.column_stack([r * np.sin(t), r * np.cos(t)]))
        points_of = getattr(points("spiral").samples, name)
        assert np.array_equal(points_of, np.concatenate(arms).astype(np.float32).astype(np.float64))


def test_another_seed_gives_other_points_and_other_weights() -> None:
    data = spiral.LAB.data(None, "float64", 5)
    assert not np.array_equal(data.x_train, points("spiral").samples.x_train)
    assert not np.array_equal(
        spiral.LAB.set_up(data, seed=5).network.params["0.weight"], points("spiral").network.params["0.weight"]
    )


def pixels(x_train: np.ndarray, x_val: np.ndarray) -> Dataset:
    t = np.zeros(len(x_train), np.int64), np.zeros(len(x_val), np.int64)
    return Dataset("pixels", x_train, t[0], x_val, t[1], ("one", "two"), None, "pixels")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardising_uses_the_training_images_alone(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((50, 6), np.float32).astype(dtype)
    x[:, 2] = 0
    val = rng.random((20, 6), np.float32).astype(dtype)
    ours, other = mnist.standardised(pixels(x, val)), mnist.standardised(pixels(x, val * 3 + 1))
    assert np.array_equal(ours.x_train, other.x_train)
    np.testing.assert_allclose(ours.x_train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(ours.x_train, 2, 1).std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(ours.x_val[0, 1], (val[0, 1] - x[:, 1].mean()) / x[:, 1].std(), rtol=1e-5)
    assert ours.x_train.dtype == dtype
    assert np.array_equal(ours.x_val[:, 2], val[:, 2])  # no spread among the training images: left as it is


def test_standardising_is_done_in_float32_whatever_stores_it(images: Dataset, data_dir: Path) -> None:
    raw = mnist.load(data_dir, "float64", 0)
    few = replace(raw, x_train=raw.x_train[:3000], t_train=raw.t_train[:3000])
    assert np.array_equal(mnist.standardised(few).x_train, mnist.standardised(few.astype("float32")).x_train)
    assert images.x_train.shape == (60000, 784)
    assert images.x_val.shape == (10000, 784)


# Both backends, over the whole run


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        *[("xor", 0.1), ("spiral", 0.2), ("iris", 0.01), ("iris", 0.03)],
        pytest.param("spiral", 1.0, marks=pytest.mark.many),
    ],
)
def test_both_backends_keep_the_same_weights_to_the_end(name: str, rate: float) -> None:
    runs = run_both(points(name, lr=rate))
    assert max(each.largest for each in runs.weight_differences) <= 1e-9
    assert runs.accuracy_gap == 0


def test_at_rate_5_the_backends_part_in_the_last_bias_and_slowly() -> None:
    """With every unit dead only the output's bias moves, on rounding errors: nothing amplifies them."""
    runs = run_both(points("spiral", lr=5.0))
    assert runs.accuracy_gap == 0
    apart = [each.largest for each in runs.weight_differences]
    assert max(apart) <= 1e-9
    assert {each.parameter for each in runs.weight_differences[100:]} == {"2.bias"}
    assert apart[999] / apart[499] == pytest.approx(2, rel=0.3)  # in proportion to the epochs


# Evaluation with the output layer


def test_the_softmax_layer_at_the_end_changes_neither_loss_nor_accuracy(images: Dataset) -> None:
    few = replace(images, x_train=images.x_train[:3000], t_train=images.t_train[:3000]).astype("float64")
    setup = mnist.LAB.set_up(few, epochs=5)
    last = run(setup)[-1]
    evaluated = mnist.output_layers(setup.network)
    assert isinstance(evaluated.layers[-1], Softmax)
    assert evaluated.layers[:-1] == setup.network.layers  # the same objects
    learner = ScratchLearner(evaluated, ProbabilityCrossEntropyLoss(), lab("xor").optimizer(evaluated, 0.1))
    loss, accuracy = learner.evaluate((few.x_val, few.t_val))
    assert loss == pytest.approx(last.val_loss, rel=1e-12)
    assert accuracy == last.val_accuracy
    assert mnist.output_layers(evaluated) is evaluated


# The three variants


def test_all_three_variants_are_one_loss_with_one_gradient() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    found = []
    for output, loss_type in mnist.VARIANTS.values():
        head, loss = Sequential(ReLU(), *(layer() for layer in output)), loss_type()
        value = loss.forward(head.forward(np.abs(s)), t)
        found.append((value, head.backward(loss.backward())))
    for value, ds in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-14)
        np.testing.assert_allclose(ds, found[0][1], rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("shift", [-1e3, -1.0, 0.5, 1e3])
def test_softmax_and_its_loss_do_not_see_a_shift(shift: float) -> None:
    rng = np.random.default_rng(1)
    s, t = np.round(rng.normal(size=(6, 4)) * 64) / 64, rng.integers(0, 4, 6)  # shifted without rounding
    assert np.array_equal(Softmax().forward(s + shift), Softmax().forward(s))
    assert CrossEntropyLoss().forward(s + shift, t) == CrossEntropyLoss().forward(s, t)
    with np.errstate(all="ignore"):
        same = np.array_equal(mnist.UnshiftedSoftmax().forward(s + shift), mnist.UnshiftedSoftmax().forward(s))
    assert same is False  # the unshifted form does: by rounding, and at 1000 by overflow


@pytest.mark.parametrize("variant", ["unshifted", "shifted"])
def test_in_float32_two_variants_fail_at_epoch_1_batch_2(variant: str, images: Dataset) -> None:
    found = mnist.stability(images, variant)
    assert (found.epoch, found.batch, found.finite) == (1, 2, False)
    assert found.underflows == 240
    with pytest.raises(TrainingError, match=r"epoch 1, batch 2: the loss .* is inf"):
        run(mnist.LAB.variants[variant].set_up(images, epochs=1))


def test_pytorch_fails_there_too(images: Dataset) -> None:
    setup = mnist.LAB.variants["shifted"].set_up(images, epochs=1)
    model = to_torch(setup.network)
    assert isinstance(model[-1], torch.nn.Softmax)
    theirs = TorchLearner(model, to_torch_loss(setup.loss), to_torch_optimizer(setup.optimizer, model))
    training = Training(theirs, setup.samples, EpochOptions(batch_size=3000, shuffle=False), rng=setup.rng)
    with pytest.raises(TrainingError, match="epoch 1, batch 2: the loss is not finite"):
        training.run_epoch()


@pytest.mark.slow
def test_the_compound_is_the_cure_and_float64_needs_none(images: Dataset) -> None:
    cured = mnist.stability(images, "compound", epochs=2)
    assert (cured.epoch, cured.batch, cured.finite) == (2, 20, True)
    in_float64 = [mnist.stability(images.astype("float64"), variant, epochs=2) for variant in mnist.VARIANTS]
    assert all(each.finite and each.underflows == 0 for each in in_float64)
    assert in_float64[0].loss == pytest.approx(in_float64[2].loss, rel=1e-9)
    assert f"{in_float64[2].largest_logit:.1f} {in_float64[2].largest_lag:.1f}" == "86.1 225.5"


def test_the_largest_logit_of_the_first_weights_is_67(images: Dataset) -> None:
    setup = mnist.LAB.set_up(images.astype("float64"))
    assert round(setup.network.forward(setup.samples.x_train[:3000]).max()) == 67


# The studies and what is drawn


def test_the_study_of_the_rates_reproduces_what_is_known() -> None:
    rows = list(spiral.study(1, True, lambda text: None))
    assert [row["seed 1234"] for row in rows[:2]] == [row["known"] for row in rows[:2]]
    assert rows[2]["dead units by seed"] == "10"


def test_the_study_of_the_variants_names_epoch_and_batch(images: Dataset) -> None:
    few = replace(images, x_train=images.x_train[:6000], t_train=images.t_train[:6000])  # two batches
    found = [
        (row["study"], row["settings"], row["result"])
        for row in mnist.study(1, False, lambda text: None, few)
        if row["why"]
    ]
    assert found == [("float32", name, "fails at epoch 1, batch 2") for name in ("unshifted", "shifted")]


def outcome(name: str, folder: Path, **choices: Any) -> tuple[Outcome, list[str]]:
    setup = points(name, **choices)
    said: list[str] = []
    history = run(setup)
    learner = ScratchLearner(setup.network, setup.loss, setup.optimizer)
    return Outcome(setup, {"scratch": learner}, {"scratch": history}, folder, said.append), said


@pytest.mark.parametrize("name", ["xor", "spiral"])
def test_the_epilogue_prints_and_draws(name: str, tmp_path: Path) -> None:
    done, said = outcome(name, tmp_path, epochs=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lab(name).epilogue(done)  # type: ignore[misc]
    assert {path.name for path in tmp_path.iterdir()} == {"regions.png", "amplitudes.png"}
    assert said


def test_xor_prints_every_point_and_its_class(tmp_path: Path) -> None:
    done, said = outcome("xor", tmp_path)
    xor.epilogue(done)
    assert said[0].startswith("(0, 0): 0.3228 and 0.6772, so both inputs are equal")
    assert [line.rpartition("so ")[2] for line in said] == [
        "both inputs are equal",
        "exactly one input is 1",
        "exactly one input is 1",
        "both inputs are equal",
    ]


def test_the_amplitudes_are_means_of_absolute_weights_from_the_start_on() -> None:
    setup = points("spiral", epochs=3)
    start = np.abs(setup.network.params["0.weight"]).mean()
    watched = run(setup).watched
    assert len(watched) == 4
    assert list(watched[0]) == ["0.weight", "2.weight"]
    assert watched[0]["0.weight"] == start
    assert watched[3]["0.weight"] == np.abs(setup.network.params["0.weight"]).mean()


def test_an_outcome_knows_the_trained_network_whoever_trained_it(tmp_path: Path) -> None:
    setup = points("xor")
    trained = {name: w + 1 for name, w in setup.network.params.items()}
    theirs: Any = SimpleNamespace(weights=lambda: trained)
    found = Outcome(setup, {"torch": theirs}, {}, tmp_path, print).network
    assert all(np.array_equal(found.params[name], w) for name, w in trained.items())
    assert not np.array_equal(setup.network.params["0.weight"], trained["0.weight"])
