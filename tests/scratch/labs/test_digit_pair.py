"""Lab 3: two digits, the cost, the changes of the weights, the search that never sees a test image, the accuracies."""

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch import HalfSquaredErrorLoss
from scratch.datasets import Dataset, DatasetError
from scratch.labs import digit_pair, digit_pair_search
from scratch.labs.lab import Outcome
from scratch.training import fit, train


def images(n: int = 120, m: int = 60) -> Dataset:
    """Ten digits in noise: digit d is bright in a block of its own, and every image has another scale."""
    rng = np.random.default_rng(0)
    parts = []
    for count in (n, m):
        t = np.arange(count) % 10
        x = rng.uniform(0, 0.3, (count, 784))
        for i, d in enumerate(t):
            x[i, 70 * d : 70 * d + 70] += 0.5
        parts += [(x * rng.uniform(0.5, 1, (count, 1))).astype("float32"), t]
    return Dataset("MNIST", *parts, tuple("0123456789"), (28, 28), "MNIST, invented")


def small(digits: tuple[int, int] = (1, 5), **options: Any) -> Any:
    lab = digit_pair.pair(digits)
    settings = {"hidden": (8,), "batch_size": 10, "epochs": 3, "seed": 0} | options
    return lab.set_up(digit_pair.only(digits, images()), **settings)


def test_only_the_two_digits_remain_each_by_its_own_maximum() -> None:
    data = images()
    pair = digit_pair.only((7, 2), data)
    chosen = np.isin(data.t_train, (7, 2))
    assert np.array_equal(np.take((7, 2), pair.t_train), data.t_train[chosen])
    assert pair.class_names == ("7", "2")
    assert (pair.x_train.max(axis=1) == 1).all()
    assert np.allclose(
        pair.x_val * data.x_val[np.isin(data.t_val, (7, 2))].max(1)[:, None],
        data.x_val[[2, 7, 12, 17] + [22, 27, 32, 37, 42, 47, 52, 57]],
    )
    assert (digit_pair.by_own_maximum(np.zeros((1, 4))) == 0).all()


@pytest.mark.parametrize("text", ["1", "1,1", "1,12", "a,b", "1,2,3"])
def test_digits_that_are_no_pair_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="got digits"):
        digit_pair.named_pair(text)


def test_the_lab_s_own_file_is_read_and_its_last_sixth_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), np.arange(60) % 10
    np.savez(tmp_path / "train_mnist.npz", x=x, y=y)
    for path in (tmp_path, tmp_path / "train_mnist.npz"):
        data = digit_pair.LAB.data(path, "float32", 0)
        assert (len(data.x_train), len(data.x_val)) == (10, 2)
        assert np.array_equal(data.x_train[0], (x[1] / 255).astype("float32").ravel() / np.float32(x[1].max() / 255))
    with pytest.raises(DatasetError, match=r"missing|unreadable|found"):
        digit_pair.LAB.data(tmp_path / "other.npz", "float32", 0)


def test_initial_weights_are_drawn_with_the_bias_as_last_column() -> None:
    setup = digit_pair.LAB.variants["published"].set_up(digit_pair.only((1, 5), images()), hidden=(3,))
    W = np.random.RandomState(42).uniform(-1, 1, (3, 785))
    assert np.allclose(setup.network.params["0.weight"], W[:, :-1], rtol=1e-6)
    assert np.allclose(setup.network.params["0.bias"], W[:, -1], rtol=1e-6)
    bound = np.sqrt(6 / 784)
    own = small(hidden=(50,)).network.params["0.weight"]
    assert 0.99 * bound < np.abs(own).max() <= bound


def test_the_published_settings() -> None:
    for digits, batch in (((1, 5), 4000), ((7, 9), 1000)):
        lab = digit_pair.pair(digits).variants["published"]
        found = (lab.batch_size, lab.lr, lab.epochs, lab.drop_last, lab.seed, lab.dtype)
        assert found == (batch, 0.001, 30, True, 42, "float64")


def test_predict_gives_digits_whatever_the_scale_of_the_pixels() -> None:
    setup = small((7, 2), epochs=30)
    fit(setup.network, setup.loss, setup.optimizer, setup.samples, epochs=30, rng=setup.rng, batch_size=10)
    data = images()
    chosen = np.isin(data.t_val, (7, 2))
    raw = data.x_val[chosen].reshape(-1, 28, 28)
    for scaled in (raw, 255 * raw, np.rint(255 * raw).astype(np.uint8)):
        assert np.array_equal(digit_pair.predict(setup.network, scaled, (7, 2)), data.t_val[chosen])
    with pytest.raises(ValueError, match=r"got images \(2, 784\), expected \(n, 28, 28\)"):
        digit_pair.predict(setup.network, np.zeros((2, 784)))


def test_confusion_counts_true_rows_and_predicted_columns() -> None:
    table = digit_pair.confusion(np.array([1, 1, 1, 5, 5]), np.array([1, 1, 5, 1, 5]), (1, 5))
    assert table.tolist() == [[2, 1], [1, 1]]


def test_cost_and_changes_are_means_over_the_steps(tmp_path: Path) -> None:
    """Once more step by step: 24 images in batches of 10 are two whole batches and one of 4."""
    setup, other = small(), small()
    steps = digit_pair.Steps(setup, tmp_path)
    learner = setup.learner()
    options: dict[str, Any] = {"epochs": 2, "batch_size": 10}
    train(learner, setup.samples, rng=setup.rng,
          on_batch=lambda batch: steps("scratch", setup.network.params, batch), **options)  # fmt: skip
    again = other.learner()
    data = again.place(other.samples.x_train, other.samples.t_train)
    for epoch in range(2):
        order, costs, norms = other.rng.permutation(24), [], []
        for rows in np.split(order, [10, 20]):
            before = again.weights()
            costs.append(again.train_step(data, rows)[0] / len(rows))
            change = {name: p - before[name] for name, p in again.weights().items()}
            pairs = ((change[f"{k}.weight"], change[f"{k}.bias"]) for k in (0, 2))
            norms.append([np.linalg.norm(np.column_stack(pair)) for pair in pairs])
        found = digit_pair.read_steps(tmp_path / "steps.csv")["scratch"][epoch]
        assert found.cost == pytest.approx(np.mean(costs), rel=1e-5)
        assert found.changes == pytest.approx(np.mean(norms, axis=0), rel=1e-5)


def test_the_epilogue_says_accuracies_and_draws_five_figures(tmp_path: Path) -> None:
    setup = small()
    steps = setup.lab.follow(setup, tmp_path)
    learner = setup.learner()
    history = train(learner, setup.samples, epochs=2, rng=setup.rng, batch_size=10,
                    on_batch=lambda batch: steps("scratch", setup.network.params, batch))  # fmt: skip
    said: list[str] = []
    digit_pair.epilogue(Outcome(setup, {"scratch": learner}, {"scratch": history}, tmp_path, said.append))
    assert "scratch, train: accuracy" in said[0]
    results = json.loads((tmp_path / "results.json").read_text())["backends"]["scratch"]
    assert results["test"]["accuracy"] == history[-1].val_accuracy
    assert np.sum(results["test"]["confusion"]) == len(setup.data.x_val)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {"cost.png", "five_samples.png", "misclassified.png", "weight_changes.png"}


# The search


def test_the_validation_split_parts_the_training_images() -> None:
    x = np.arange(50.0)[:, None]
    split = digit_pair_search.validation_split(x, x, np.random.default_rng(0))
    assert (len(split.x_train), len(split.x_val)) == (40, 10)
    assert sorted(np.concatenate((split.x_train, split.x_val))[:, 0]) == sorted(x[:, 0])
    assert np.array_equal(split.x_train, split.t_train)
    assert np.array_equal(split.x_val, split.t_val)


def test_test_images_cannot_enter_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search takes training images alone; and in the study, data without test images serve it as well."""
    takes = list(inspect.signature(digit_pair_search.grid_search).parameters)
    assert takes == ["x", "t", "grid", "seed", "workers", "tried", "kept"]
    pair = digit_pair.only((1, 5), images())
    no_test = SimpleNamespace(x_train=pair.x_train, t_train=pair.t_train, class_names=pair.class_names)
    monkeypatch.setitem(digit_pair_search.GRID, "hidden", ((4,),))
    monkeypatch.setitem(digit_pair_search.GRID, "batch_size", (10,))
    monkeypatch.setitem(digit_pair_search.GRID, "lr", (0.1,))
    rows = digit_pair_search.study(1, False, lambda text: None, no_test)  # type: ignore[arg-type]
    found = [next(rows) for _ in digit_pair_search.GRID["epochs"]]
    assert {row["study"] for row in found} == {"grid"}


def test_the_grid_is_sorted_and_small_epochs_are_those_of_the_long_run() -> None:
    pair = digit_pair.only((1, 5), images())
    grid = {"hidden": ((4,), (8, 4)), "batch_size": (5,), "lr": (1e-6, 0.1), "epochs": (1, 4)}
    rows = digit_pair_search.grid_search(pair.x_train, pair.t_train, grid=grid, workers=1)
    assert len(rows) == 8
    accuracies = [row["validation accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    alone = digit_pair_search.grid_search(pair.x_train, pair.t_train, grid=grid | {"epochs": (1,)}, workers=2)
    first = {(row["hidden"], row["rate"]): row["validation accuracy"] for row in rows if row["epochs"] == 1}
    assert {(row["hidden"], row["rate"]): row["validation accuracy"] for row in alone} == first


def test_a_run_that_is_not_finite_is_a_row() -> None:
    pair = digit_pair.only((1, 5), images())
    grid = {"hidden": ((4,),), "batch_size": (5,), "lr": (3e38,), "epochs": (1,)}
    (row,) = digit_pair_search.grid_search(pair.x_train, pair.t_train, grid=grid, workers=1)
    assert row["validation accuracy"] == 0
    assert "epoch 1, batch" in row["note"]


@pytest.mark.many
@pytest.mark.parametrize(("digits", "least"), [((1, 5), 0.998), ((7, 9), 0.99)])
def test_the_defaults_reach_the_accuracy_asked_for(data_dir: Path, digits: tuple[int, int], least: float) -> None:
    """One seed of the five whose median is reported (scripts/sweep.py digit_pair)."""
    lab = digit_pair.pair(digits)
    train_accuracy, test_accuracy, _ = digit_pair_search._accuracies(
        (digits, None, 0), lab.data(data_dir, lab.dtype, 0)
    )
    assert test_accuracy >= least
    assert train_accuracy >= test_accuracy


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
        Y.append(1 / (1 + np.exp(-z)) if k == 2 else np.maximum(z, 0))
    delta = (Y[3] - t.T) * Y[3] * (1 - Y[3])
    for k in (2, 1, 0):
        W[k] -= 0.1 * delta @ np.vstack((Y[k], np.ones((1, 6)))).T
        delta = (W[k].T @ delta)[:-1] * (Y[k] > 0)
    for w, k in zip(W, (0, 2, 4), strict=True):
        found = np.column_stack((net.params[f"{k}.weight"], net.params[f"{k}.bias"]))
        assert np.allclose(found, w, rtol=1e-12, atol=1e-14)
