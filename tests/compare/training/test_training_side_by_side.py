"""Both backends through the one loop: the same histories, the same bits after an interruption, and the guard against
a fault that both would share: the assignment's own program, which shares nothing with the loop."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torch_ref.assignment
from compare.network.weights import copy_from_torch, to_torch, to_torch_loss, to_torch_optimizer
from compare.training.datasets import DataMismatch, by_torchvision, verify_same_data
from compare.training.runs import Runs, WeightDifference, train_both, weight_difference
from scratch import (
    SGD,
    AdamW,
    BatchNorm1d,
    CrossEntropyLoss,
    Dropout,
    LastStep,
    Linear,
    MSELoss,
    ReLU,
    SelfAttention,
    Sequential,
    Sigmoid,
)
from scratch.checkpoint import Checkpoint, CheckpointError, CheckpointFolder
from scratch.datasets import DatasetError, DatasetMissing, digits, fashion_mnist
from scratch.history import History
from scratch.labs import digit_pair, lab, xor_line
from scratch.labs.lab import Lab
from scratch.learner import ScratchLearner
from scratch.training import TrainingError, fit, train
from torch_ref.learner import TorchLearner

COLUMNS = torch_ref.assignment.COLUMNS


def digits_setup(dtype: str = "float64", **options: Any) -> Any:
    return lab("digits").set_up(digits(dtype), **options)


def both(setup: Any, epochs: int, **options: Any) -> tuple[Runs, nn.Module]:
    model = to_torch(setup.network)
    given = {"loss": setup.loss, "optimizer": setup.optimizer, "rng": setup.rng, "batch_size": setup.batch_size}
    return train_both(setup.network, model, setup.samples, epochs=epochs, **{**given, **options}), model


# the guard


def assert_same_history(ours: History, theirs: list[dict[str, float]]) -> None:
    assert len(ours) == len(theirs)
    for row, other in zip(ours, theirs, strict=True):
        for name in COLUMNS:
            assert getattr(row, name) == pytest.approx(other[name], rel=1e-12, abs=1e-12), name


def guard(x: Any, t: Any, x_val: Any, t_val: Any, net: Sequential, model: nn.Module, batch_size: int) -> None:
    orders = np.random.default_rng(7)
    order = [orders.permutation(len(x)).tolist() for _ in range(2)]
    theirs = torch_ref.assignment.train(
        model,
        TensorDataset(torch.from_numpy(x), torch.from_numpy(t)),
        TensorDataset(torch.from_numpy(x_val), torch.from_numpy(t_val)),
        epochs=2,
        batch_size=batch_size,
        order=order,
        dtype=torch.float64,
    )
    data = SimpleNamespace(x_train=x, t_train=t, x_val=x_val, t_val=t_val)
    stream = np.random.default_rng(7)
    ours = fit(net, CrossEntropyLoss(), AdamW(net, lr=1e-3), data, epochs=2, rng=stream, batch_size=batch_size)
    assert_same_history(ours, theirs)


@pytest.mark.parametrize(("n", "batch_size"), [(1437, 128), (250, 50), (101, 7)])
def test_fit_and_the_assignments_own_program_agree(n: int, batch_size: int) -> None:
    rng = np.random.default_rng(n)
    x, t = rng.random((n + 90, 64)), rng.integers(0, 10, n + 90)
    net = Sequential(Linear(64, 32, rng=rng, dtype="float64"), ReLU(), Linear(32, 10, rng=rng, dtype="float64"))
    guard(x[:n], t[:n], x[n:], t[n:], net, to_torch(net), batch_size)


def test_fit_and_the_assignments_own_program_agree_on_real_data(data_dir: Path) -> None:
    data = fashion_mnist(data_dir, np.float64)
    model = torch_ref.assignment.MLP().double()
    net = lab("fashion_mnist").set_up(replace(data, x_train=data.x_train[:9], t_train=data.t_train[:9])).network
    copy_from_torch(model.layers, net)
    guard(data.x_train[:6000], data.t_train[:6000], data.x_val[:1500], data.t_val[:1500], net, model, 128)


# the same on both sides


def test_in_float64_both_end_with_the_same_accuracies_and_weights() -> None:
    runs, _ = both(digits_setup(), 5)
    assert runs.scratch.column("val_accuracy") == runs.torch.column("val_accuracy")
    assert runs.scratch.column("train_accuracy") == runs.torch.column("train_accuracy")
    assert runs.scratch.column("train_loss") == pytest.approx(runs.torch.column("train_loss"), rel=1e-13)
    assert runs.accuracy_gap == 0
    assert [each.epoch for each in runs.weight_differences] == [1, 2, 3, 4, 5]
    assert all(each.overall < 1e-14 and each.largest < 1e-13 for each in runs.weight_differences)


def test_in_float32_they_lie_together() -> None:
    runs, _ = both(digits_setup("float32"), 3)
    assert runs.accuracy_gap < 0.015
    assert 0 < runs.weight_differences[0].overall < 1e-5


@pytest.mark.parametrize("loss", [MSELoss(), MSELoss("sum"), CrossEntropyLoss("sum")])
@pytest.mark.parametrize("stream", [np.random.default_rng, np.random.RandomState])
def test_other_losses_streams_and_orders_agree_too(loss: Any, stream: Any) -> None:
    rng = np.random.default_rng(0)
    net = Sequential(Linear(3, 5, rng=rng, dtype="float64"), Sigmoid(), Linear(5, 2, rng=rng, dtype="float64"))
    x, t = rng.random((40, 3)), np.eye(2)[rng.integers(0, 2, 40)]
    data = SimpleNamespace(x_train=x, t_train=t, x_val=x[:13], t_val=t[:13])
    options = {"loss": loss, "optimizer": SGD(net, 0.01, momentum=0.9), "batch_size": 7, "drop_last": True}
    runs = train_both(net, to_torch(net), data, epochs=3, rng=stream(0), **options)
    for ours, theirs in zip(runs.scratch.figures, runs.torch.figures, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-13)
    assert runs.weight_differences[-1].overall < 1e-14


def test_one_output_column_counts_alike_on_both_sides() -> None:
    xor = replace(lab("xor"), targets="column", loss=MSELoss)
    setup = xor.set_up(xor.load(None, "float64", 0))
    net = Sequential(*setup.network.layers[:-1])
    model = to_torch(net)
    runs = train_both(net, model, setup.samples, loss=MSELoss(), optimizer=SGD(net, 0.1), epochs=9, batch_size=3)
    assert runs.scratch.column("val_accuracy") == runs.torch.column("val_accuracy")


def test_the_defaults_are_those_of_the_assignment() -> None:
    setup = digits_setup()
    net, model = copy.deepcopy(setup.network), to_torch(setup.network)
    runs = train_both(setup.network, model, setup.data, epochs=1)
    explicit = fit(net, CrossEntropyLoss(), AdamW(net, lr=1e-3), setup.data, epochs=1, rng=np.random.default_rng(0))
    assert runs.scratch.figures == explicit.figures
    assert "1,797" in runs.title


def test_the_stream_of_the_caller_goes_on_as_after_one_run() -> None:
    setup = digits_setup()
    one = copy.deepcopy(setup)
    both(setup, 2)
    fit(one.network, one.loss, one.optimizer, one.samples, epochs=2, rng=one.rng)
    assert setup.rng.random() == one.rng.random()


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    both(digits_setup(), 1)
    assert torch.get_num_threads() == before


def test_one_ulp_between_the_two_is_refused() -> None:
    setup = digits_setup()
    model = to_torch(setup.network)
    with torch.no_grad():
        model[2].bias[3] = torch.nextafter(model[2].bias[3], torch.tensor(9.0, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"2.bias\[3\]: got .*, expected the bits of"):
        train_both(setup.network, model, setup.samples, epochs=1)


@pytest.mark.parametrize("backend", ["scratch", "torch"])
def test_training_that_is_not_finite_names_the_layer_on_either_side(backend: str) -> None:
    setup = digits_setup()
    setup.network.params["2.weight"][0, 0] = np.inf
    ours = ScratchLearner(setup.network, setup.loss, setup.optimizer) if backend == "scratch" else torch_learner(setup)
    with pytest.raises(TrainingError, match=r"epoch 1, batch 1: the weight of layer 2 \(Linear.* is not finite"):
        train(ours, setup.samples, epochs=1, rng=np.random.default_rng(0))


def test_a_step_that_is_not_finite_updates_nothing_in_torch() -> None:
    setup = digits_setup("float32", optimizer="sgd", lr=1e30)
    ours = torch_learner(setup)
    with pytest.raises(TrainingError, match=r"epoch 1, batch \d: the output of layer"):
        train(ours, setup.samples, epochs=1, rng=np.random.default_rng(0))
    assert all(np.isfinite(a).all() for a in ours.weights().values())


def torch_learner(setup: Any) -> TorchLearner:
    model = to_torch(setup.network)
    return TorchLearner(model, to_torch_loss(setup.loss), to_torch_optimizer(setup.optimizer, model))


# interruptions


def test_a_resumed_torch_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    def run(epochs: int, **options: Any) -> Any:
        ours = torch_learner(digits_setup("float32"))
        history = train(ours, digits(), epochs=epochs, rng=np.random.default_rng(0), **options)
        return history.figures, {name: a.tobytes() for name, a in ours.state_dict().items()}

    whole = run(4)
    run(2, checkpoint_dir=tmp_path)
    assert run(4, checkpoint_dir=tmp_path, resume=True) == whole


class Stop(Exception):
    pass


def drawing(sizes: tuple[int, ...], rng: Any, dtype: str) -> Sequential:
    """A network with running statistics and random masks."""
    n, hidden, m = sizes
    first, last = Linear(n, hidden, rng=rng, dtype=dtype), Linear(hidden, m, rng=rng, dtype=dtype)
    return Sequential(first, BatchNorm1d(hidden, dtype=dtype), ReLU(), Dropout(0.3, rng=rng), last)


NETWORKS = {"plain": lab("digits").network, "drawing": drawing}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("backend", "epoch"), [("scratch", 1), ("scratch", 3), ("torch", 1), ("torch", 3)])
def test_both_resumed_end_in_the_same_bits(tmp_path: Path, backend: str, epoch: int, network: str) -> None:
    def set_up() -> Any:
        return replace(lab("digits"), network=NETWORKS[network]).set_up(digits("float32"))

    def stop(name: str, batch: Any) -> None:
        if (name, batch.epoch, batch.batch) == (backend, epoch, 2):
            raise Stop

    def result(runs: Runs, model: nn.Module, setup: Any) -> Any:
        weights = {n: a.tobytes() for n, a in (setup.network.params | setup.network.buffers).items()}
        theirs = {n: a.numpy().tobytes() for n, a in model.state_dict().items()}
        return runs.scratch.figures, runs.torch.figures, runs.weight_differences, weights, theirs

    setup, first, second = set_up(), set_up(), set_up()
    whole = result(*both(setup, 4), setup)
    with pytest.raises(Stop):
        both(first, 4, checkpoint_dir=tmp_path, on_batch=stop)
    assert result(*both(second, 4, checkpoint_dir=tmp_path, resume=True), second) == whole


def test_where_one_was_saved_an_epoch_less_it_catches_up(tmp_path: Path) -> None:
    first, second, setup = digits_setup(), digits_setup(), digits_setup()
    whole, _ = both(setup, 4)
    both(first, 3, checkpoint_dir=tmp_path)
    folder = CheckpointFolder(tmp_path / "torch")
    folder.previous.replace(folder.newest)
    resumed, _ = both(second, 4, checkpoint_dir=tmp_path, resume=True)
    assert resumed.weight_differences == whole.weight_differences
    assert resumed.torch.figures == whole.torch.figures


def test_runs_several_epochs_apart_catch_up(tmp_path: Path) -> None:
    whole, _ = both(digits_setup(), 4)
    both(digits_setup(), 1, checkpoint_dir=tmp_path / "a")
    both(digits_setup(), 3, checkpoint_dir=tmp_path / "b")
    (tmp_path / "a" / "torch").rename(tmp_path / "a" / "old")
    (tmp_path / "b" / "torch").rename(tmp_path / "a" / "torch")
    resumed, _ = both(digits_setup(), 4, checkpoint_dir=tmp_path / "a", resume=True)
    assert resumed.weight_differences == whole.weight_differences
    assert resumed.scratch.figures == whole.scratch.figures


def test_a_checkpoint_beyond_the_differences_that_are_known_is_refused(tmp_path: Path) -> None:
    both(digits_setup(), 3, checkpoint_dir=tmp_path)
    for name in ("scratch", "torch"):
        folder = CheckpointFolder(tmp_path / name)
        checkpoint = Checkpoint.read(folder.newest)
        checkpoint.extra["weight_differences"] = []
        checkpoint.write(folder.newest)
    with pytest.raises(CheckpointError, match="at epoch 3, with the differences of 0 epochs"):
        both(digits_setup(), 4, checkpoint_dir=tmp_path, resume=True)


def test_a_checkpoint_of_the_other_backend_is_refused(tmp_path: Path) -> None:
    both(digits_setup(), 1, checkpoint_dir=tmp_path)
    (tmp_path / "scratch").rename(tmp_path / "other")
    (tmp_path / "torch").rename(tmp_path / "scratch")
    with pytest.raises(CheckpointError, match="a checkpoint of backend 'torch', expected 'scratch'"):
        both(digits_setup(), 2, checkpoint_dir=tmp_path, resume=True)


# differences


def test_weight_differences_are_relative_norms() -> None:
    a = {"w": np.array([3.0, 4.0]), "b": np.array([1.0])}
    b = {"w": np.array([3.0, 5.0]), "b": np.array([2.0])}
    found = weight_difference(7, a, b)
    assert found == WeightDifference(7, pytest.approx((2 / 38) ** 0.5), pytest.approx(0.5), "b")
    assert weight_difference(1, a, a) == WeightDifference(1, 0.0, 0.0, "w")
    assert weight_difference(1, {"w": np.ones(1)}, {"w": np.zeros(1)}).overall == np.inf


def test_differences_are_written_bit_for_bit(tmp_path: Path) -> None:
    runs, _ = both(digits_setup(), 2)
    runs.write_differences(tmp_path / "d.csv")
    header, *rows = (tmp_path / "d.csv").read_text().splitlines()
    assert header == "epoch,val_loss,val_accuracy,weights,largest_of_one_parameter,parameter"
    assert [float(row.split(",")[3]) for row in rows] == [each.overall for each in runs.weight_differences]


# the two readers


def test_both_readers_of_the_real_files_give_the_same_bits(data_dir: Path) -> None:
    ours, theirs = fashion_mnist(data_dir, np.float32), by_torchvision("fashion_mnist", data_dir)
    verify_same_data(ours, theirs)
    assert (ours.name, ours.source, ours.class_names) == (theirs.name, theirs.source, theirs.class_names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.x_val.__setitem__((3, 5), 0.625), r"x_val\[3, 5\]: NumPy reads .*, torchvision .*0.625"),
        (lambda d: d.t_train.__setitem__(2, 9), r"t_train\[2\]: NumPy reads .*, torchvision .*9"),
    ],
)
def test_readers_that_differ_are_named(change: Any, message: str) -> None:
    ours, theirs = digits(), copy.deepcopy(digits())
    change(theirs)
    with pytest.raises(DataMismatch, match=message):
        verify_same_data(ours, theirs)
    with pytest.raises(DataMismatch, match=r"x_train: NumPy reads float32 .*, torchvision float64"):
        verify_same_data(ours, digits("float64"))


def test_missing_and_damaged_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match="none of the four FashionMNIST files"):
        by_torchvision("fashion_mnist", tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DatasetError, match="missing") as caught:
        by_torchvision("fashion_mnist", tmp_path)
    assert not isinstance(caught.value, DatasetMissing)


# whole runs of labs


def whole(lab: Lab, data: Any, **options: Any) -> Any:
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
    runs = whole(xor_line.LAB, xor_line.LAB.data(None, "float64", 0))
    assert len(runs.scratch) == len(runs.torch) < 1000
    assert max(each.largest for each in runs.weight_differences) < 1e-9


@pytest.mark.many
def test_digit_pair_over_30_epochs_in_both_backends(data_dir: Path) -> None:
    lab = digit_pair.pair((7, 9))
    runs = whole(lab, lab.data(data_dir, "float64", 0), hidden=(32,))
    assert len(runs.scratch) == 30
    assert max(each.largest for each in runs.weight_differences) < 1e-9
    assert runs.accuracy_gap == 0


def test_a_layer_whose_names_have_a_dot_in_torch_is_trained_and_compared() -> None:
    rng = np.random.default_rng(0)
    attention = SelfAttention(4, 2, rng=rng, dtype=np.float64)
    net = Sequential(attention, LastStep(), Linear(4, 2, rng=rng, dtype=np.float64))
    x, t = rng.standard_normal((40, 5, 4)), rng.integers(0, 2, 40)
    data: Any = SimpleNamespace(x_train=x, t_train=t, x_val=x, t_val=t)
    runs = train_both(net, to_torch(net), data, epochs=2, batch_size=8)
    assert all(0 < each.overall < 1e-12 for each in runs.weight_differences)
    assert len(runs.weight_differences) == 2
