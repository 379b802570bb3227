"""The loop: sums over batches, the order of the samples, evaluation of the whole set, and what it refuses."""

from dataclasses import dataclass, replace
from itertools import chain, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch import SGD, AdamW, BCELoss, CrossEntropyLoss, Linear, MSELoss, ReLU, Sequential, Sigmoid
from scratch.datasets import digits
from scratch.labs import LABS, lab
from scratch.learner import CHUNK, ScratchLearner
from scratch.training import BatchProgress, Training, TrainingError, fit, train
from scratch.training_options import EpochOptions


def data(n: int = 50, inputs: int = 3, classes: int = 4, dtype: str = "float64", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(2 * n, inputs)).astype(dtype), rng.integers(0, classes, 2 * n)
    return SimpleNamespace(x_train=x[:n], t_train=t[:n], x_val=x[n:], t_val=t[n:])


def network(*sizes: int, dtype: str = "float64", seed: int = 1) -> Sequential:
    rng = np.random.default_rng(seed)
    first, *rest = [Linear(a, b, rng=rng, dtype=dtype) for a, b in pairwise(sizes)]
    return Sequential(first, *(layer for linear in rest for layer in (ReLU(), linear)))


def learner(net: Sequential | None = None, lr: float = 0.1, reduction: Any = "mean") -> ScratchLearner:
    net = net or network(3, 7, 4)
    return ScratchLearner(net, CrossEntropyLoss(reduction), SGD(net, lr))


@dataclass
class Watched:
    """A learner that notes its batches and does nothing else."""

    reduction: str = "mean"
    dtype: str = "float64"
    answer: tuple[float, int] = (2.0, 1)

    def __post_init__(self) -> None:
        self.seen: list[Any] = []
        self.loss = SimpleNamespace(reduction=self.reduction)
        self.description = {"backend": "watched"}

    def place(self, x: Any, t: Any) -> Any:
        return x, t

    def train_step(self, data: Any, rows: Any) -> tuple[float, int]:
        self.seen.append(rows.tolist())
        return self.answer

    def evaluate(self, data: Any) -> tuple[float, float]:
        return 1.0, 0.5

    def state_dict(self) -> dict[str, Any]:
        return {}


def test_losses_and_accuracies_are_sums_over_rows_not_means_of_batches() -> None:
    """One batch of 40, one of 10, weighted 4 to 1; each measured before its update."""
    d, ours = data(), learner()
    first, second = slice(0, 40), slice(40, 50)
    expected_loss, hits = 0.0, 0
    mirror = learner()
    for rows in (first, second):
        y = mirror.network.forward(d.x_train[rows])
        expected_loss += len(y) * float(mirror.loss.forward(y, d.t_train[rows]))
        hits += int((y.argmax(1) == d.t_train[rows]).sum())
        mirror.network.backward(mirror.loss.backward())
        mirror.optimizer.step()
    history = train(ours, d, epochs=1, rng=np.random.default_rng(0), batch_size=40, shuffle=False)
    assert history[0].train_loss == pytest.approx(expected_loss / 50, rel=1e-15)
    assert history[0].train_accuracy == hits / 50


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 2.0), ("sum", 2.0 * 4)])
def test_the_epochs_loss_follows_the_reduction(reduction: str, expected: float) -> None:
    history = train(Watched(reduction), data(), epochs=1, rng=np.random.default_rng(0), batch_size=13)
    assert history[0].train_loss == pytest.approx(expected, rel=1e-15)


def test_the_order_of_every_epoch_is_one_permutation_of_the_stream() -> None:
    watched, again = Watched(), np.random.default_rng(5)
    train(watched, data(), epochs=3, rng=np.random.default_rng(5), batch_size=20)
    orders = [list(chain(*watched.seen[3 * e : 3 * e + 3])) for e in range(3)]
    assert orders == [again.permutation(50).tolist() for _ in range(3)]


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"batch_size": 20}, [20, 20, 10]),
        ({"batch_size": 20, "drop_last": True}, [20, 20]),
        ({"batch_size": 50, "drop_last": True}, [50]),
        ({"batch_size": 1000}, [50]),
        ({"batch_size": 1}, [1] * 50),
        ({"batch_size": np.int64(25)}, [25, 25]),
    ],
)
def test_batches_cover_the_epoch(options: dict[str, Any], sizes: list[int]) -> None:
    watched = Watched()
    train(watched, data(), epochs=1, rng=np.random.default_rng(0), **options)
    assert [len(rows) for rows in watched.seen] == sizes


def test_without_shuffling_nothing_is_drawn() -> None:
    rng, watched = np.random.default_rng(3), Watched()
    train(watched, data(), epochs=2, rng=rng, batch_size=50, shuffle=False)
    assert watched.seen == [list(range(50))] * 2
    assert rng.random() == np.random.default_rng(3).random()


def test_callbacks_see_every_batch_and_may_stop_after_an_epoch() -> None:
    batches: list[BatchProgress] = []
    history = train(
        Watched(),
        data(),
        epochs=9,
        rng=np.random.default_rng(0),
        batch_size=25,
        on_batch=batches.append,
        on_epoch=lambda history: len(history) == 2,
    )
    assert [(b.epoch, b.batch, b.batches) for b in batches] == [(1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2)]
    assert (batches[0].loss, batches[0].accuracy) == (2.0, 1 / 25)
    assert len(history) == 2


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_evaluation_in_chunks_is_that_of_the_whole_set(reduction: str) -> None:
    d, ours = data(n=2 * CHUNK + 17), learner(reduction=reduction)
    loss, accuracy = ours.evaluate(ours.place(d.x_train, d.t_train))
    y = ours.network.forward(d.x_train)
    assert loss == pytest.approx(float(ours.loss.forward(y, d.t_train)), rel=1e-13)
    assert accuracy == np.mean(y.argmax(1) == d.t_train)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, 3), (0.9, 2), (-1.0, 2)],
)
def test_one_column_is_compared_with_the_threshold(threshold: float, expected: int) -> None:
    net = Sequential(Linear(1, 1, rng=np.random.default_rng(0), bias=False, dtype="float64"))
    net.params["0.weight"][...] = 1
    ours = ScratchLearner(net, MSELoss(), SGD(net), threshold=threshold)
    x, t = np.array([[0.6], [0.7], [0.1], [0.85]]), np.array([[1.0], [0.0], [0.0], [1.0]])
    assert round(4 * ours.evaluate(ours.place(x, t))[1]) == expected


def test_one_hot_targets_count_like_class_indices() -> None:
    d = data()
    hot = SimpleNamespace(**{**vars(d), "t_train": np.eye(4)[d.t_train], "t_val": np.eye(4)[d.t_val]})
    rows = [train(learner(), each, epochs=2, rng=np.random.default_rng(0)).figures for each in (d, hot)]
    assert rows[0] == rows[1]


def test_fit_reaches_what_the_digits_allow() -> None:
    setup = lab("digits").set_up(digits())
    history = fit(setup.network, setup.loss, setup.optimizer, setup.samples, epochs=20, rng=setup.rng)
    assert history[-1].val_accuracy > 0.87
    assert history[-1].train_loss < 0.2


def test_xor_gives_the_published_figures() -> None:
    xor = lab("xor")
    s = xor.set_up(xor.load(None, xor.dtype, 0))
    history = fit(s.network, s.loss, s.optimizer, s.samples, epochs=100, rng=s.rng, batch_size=4, shuffle=xor.shuffle)
    assert round(history[-1].val_loss, 4) == 0.3945
    assert history[-1].val_accuracy == 1


# what it refuses


def refused() -> list[Any]:
    d = data()
    nan = SimpleNamespace(**{**vars(d), "x_train": np.where(np.arange(50)[:, None] == 3, np.nan, d.x_train)})
    inf = SimpleNamespace(**{**vars(d), "x_val": np.where(np.arange(50)[:, None] == 9, np.inf, d.x_val)})
    short = SimpleNamespace(**{**vars(d), "t_val": d.t_val[1:]})
    none = SimpleNamespace(**{**vars(d), "x_val": d.x_val[:0], "t_val": d.t_val[:0]})
    wide = SimpleNamespace(**{**vars(d), "x_train": np.ones((50, 5))})
    label = SimpleNamespace(**{**vars(d), "t_train": np.where(np.arange(50) == 7, 4, d.t_train)})
    return [
        (d, {"epochs": 0}, ValueError, "got epochs=0, expected a whole number of at least 1"),
        (d, {"epochs": 1.5}, ValueError, "got epochs=1.5"),
        (d, {"epochs": True}, ValueError, "got epochs=True"),
        (d, {"batch_size": -1}, ValueError, "got batch_size=-1, expected a whole number of at least 1"),
        (d, {"batch_size": 51, "drop_last": True}, ValueError, "drop_last leaves no batch: got batch_size=51 for 50"),
        (d, {"resume": True}, ValueError, "resume=True needs a checkpoint_dir"),
        (data(dtype="float32"), {}, ValueError, "x_train is float32, expected float64"),
        (nan, {}, TrainingError, r"x_train\[3, 0\] is nan, expected a finite number"),
        (inf, {}, TrainingError, r"x_val\[9, 0\] is inf"),
        (short, {}, ValueError, "x_val has 50 rows and t_val 49"),
        (none, {}, ValueError, "x_val has 0 rows and t_val 0, expected as many, at least one"),
        (wide, {"shuffle": False}, ValueError, r"layer 0 \(Linear 3 -> 7\): got \(50, 5\), expected \(m, 3\)"),
        (label, {"shuffle": False}, ValueError, "got label 4 at row 7, expected 0 to 3"),
        (d, {"rng": "0"}, TypeError, "got rng '0', expected a numpy Generator or RandomState"),
    ]


@pytest.mark.parametrize(("d", "options", "kind", "message"), refused())
def test_what_allows_no_training_is_one_line(d: Any, options: dict[str, Any], kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        train(learner(), d, **{"epochs": 1, "rng": np.random.default_rng(0), **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: (net, SGD(network(3, 4))), "the optimiser updates another network"),
        (lambda net: (Sequential(ReLU()), SGD(Sequential(ReLU()))), r"weights are \[\], expected one of float32"),
    ],
)
def test_what_does_not_belong_together_is_refused(make: Any, message: str) -> None:
    net, optimizer = make(network(3, 4))
    with pytest.raises(ValueError, match=message):
        ScratchLearner(net, CrossEntropyLoss(), optimizer)


def overflowing(where: str) -> tuple[ScratchLearner, Any]:
    """A learner in float32 whose first batch is not finite at a known place."""
    d, net = data(dtype="float32"), network(3, 7, 4, dtype="float32")
    if where == "output 0":
        net.params["0.weight"][...] = 3e38
        d.x_train[...] = 10
    elif where == "output 2":
        net.params["0.weight"][...] = net.params["2.weight"][...] = 1e20
        d.x_train[...] = 1
    elif where == "weight 2":
        net.params["2.weight"][1, 2] = np.nan
    return ScratchLearner(net, CrossEntropyLoss(), SGD(net)), d


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("output 0", r"epoch 1, batch 1: the output of layer 0 \(Linear 3 -> 7\) is not finite"),
        ("output 2", r"epoch 1, batch 1: the output of layer 2 \(Linear 7 -> 4\) is not finite"),
        ("weight 2", r"epoch 1, batch 1: the weight of layer 2 \(Linear 7 -> 4\) is not finite"),
    ],
)
def test_the_first_layer_that_is_not_finite_is_named(where: str, message: str) -> None:
    ours, d = overflowing(where)
    before = ours.state_dict()
    with pytest.raises(TrainingError, match=message):
        train(ours, d, epochs=1, rng=np.random.default_rng(0))
    assert all(a.tobytes() == before[name].tobytes() for name, a in ours.state_dict().items()), "it was updated"


def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is_finite() -> None:
    """1 / p overflows in float32 long before -log p does."""
    net = Sequential(Linear(1, 1, rng=np.random.default_rng(0), bias=False, dtype="float32"))
    net.params["0.weight"][...] = 1e-39
    ours = ScratchLearner(net, BCELoss(), SGD(net))
    d = SimpleNamespace(**{n: np.ones((2, 1), "float32") for n in ("x_train", "t_train", "x_val", "t_val")})
    with pytest.raises(TrainingError, match=r"epoch 1, batch 1: the gradient of the loss \(BCELoss\)"):
        train(ours, d, epochs=1, rng=np.random.default_rng(0))
    assert net.params["0.weight"][0, 0] == np.float32(1e-39)


def test_divergence_names_epoch_and_batch_or_the_validation() -> None:
    with pytest.raises(TrainingError, match=r"epoch 1, batch \d: the (output|weight|bias) of layer \d"):
        train(learner(lr=1e200), data(), epochs=5, rng=np.random.default_rng(0), batch_size=10)
    with pytest.raises(TrainingError, match=r"epoch 1, validation: the output of layer \d"):
        train(learner(lr=1e200), data(), epochs=5, rng=np.random.default_rng(0), batch_size=50)


def test_a_learner_that_only_returns_nan_is_stopped_as_well() -> None:
    with pytest.raises(TrainingError, match="epoch 1, batch 1: the loss is nan"):
        train(Watched(answer=(float("nan"), 0)), data(), epochs=1, rng=np.random.default_rng(0))


# labs


@pytest.mark.parametrize("name", [name for name, each in LABS.items() if each.downloads is None])
def test_every_lab_sets_up_the_same_network_from_the_same_seed(name: str) -> None:
    chosen = LABS[name]
    d = chosen.load(None, "float64", 0)
    ours, again, other = (chosen.set_up(d, seed=seed).network.params for seed in (4, 4, 5))
    assert all(p.tobytes() == again[n].tobytes() for n, p in ours.items())
    assert any(p.tobytes() != other[n].tobytes() for n, p in ours.items())
    single = chosen.set_up(d.astype("float32"), seed=4).network.params
    assert all(np.array_equal(p.astype("float32"), single[n]) for n, p in ours.items())


def test_options_take_the_place_of_the_labs_own() -> None:
    setup = lab("digits").set_up(digits(), hidden=(5, 6), optimizer="sgd", lr=0.3, batch_size=7, epochs=2)
    assert [p.shape for p in setup.network.params.values()][::2] == [(5, 64), (6, 5), (10, 6)]
    assert (type(setup.optimizer), setup.optimizer.lr, setup.batch_size, setup.epochs) == (SGD, 0.3, 7, 2)
    assert "1,797" in setup.title
    assert "64-5-6-10" in setup.title


def test_one_output_takes_its_targets_as_a_column() -> None:
    xor = replace(lab("xor"), targets="column")
    setup = xor.set_up(xor.load(None, "float64", 0))
    assert setup.samples.t_train.tolist() == [[1], [0], [0], [1]]
    assert setup.sizes == (2, 4, 1)
    assert setup.network.layers[-2].params["weight"].shape == (1, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lab("nope"), "got lab 'nope', expected one of fashion_mnist, digits, xor"),
        (lambda: lab("digits").set_up(digits(), optimizer="nope"), "got optimiser 'nope', expected one of sgd"),
        (lambda: lab("digits").set_up(digits(), hidden=(0,)), "both sizes must be at least 1"),
    ],
)
def test_what_a_lab_does_not_have_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_training_can_be_taken_epoch_by_epoch() -> None:
    ours = learner()
    training = Training(ours, data(), EpochOptions(batch_size=20), rng=np.random.default_rng(0))
    assert (training.epoch, training.run_epoch().epoch, training.epoch) == (0, 1, 1)


def test_adamw_and_sigmoid_train_too() -> None:
    net = Sequential(*network(3, 7, 4).layers[:1], Sigmoid(), *network(7, 4).layers)
    history = fit(net, CrossEntropyLoss(), AdamW(net, lr=0.01), data(), epochs=20, rng=np.random.default_rng(0))
    assert history[-1].train_loss < history[0].train_loss
