"""Several processes take an Engine's steps: equal within rounding, the same bits each time, and nothing is lost."""

from __future__ import annotations

import copy
import math
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratch import (
    SGD,
    AdamW,
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    Linear,
    MSELoss,
    ProbabilityCrossEntropyLoss,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    fit,
)
from scratch.crew import CrewLost, why_not
from scratch.engine import Engine
from scratch.learner import ScratchLearner
from scratch.parallel_engine import ParallelEngine, engine, part
from scratch.training import TrainingError
from tests.scratch.test_engine import NETWORKS, OPTIMIZERS, ROWS, assert_same_bits, data, learner

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no processes here: {why_not()}")
BATCHES = (16, 5, 1, ROWS, 2, 16, 3)  # fewer rows than processes among them


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    for each in made:
        each.release()
    made.clear()


made: list[ParallelEngine] = []


def parallel(processes: int) -> Any:
    def kind(*parts: Any, **options: Any) -> ParallelEngine:
        made.append(ParallelEngine(*parts, processes=processes, **options))
        return made[-1]

    return kind


def trained(ours: ScratchLearner, steps: int = 12, first: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """What every step and an evaluation after it returned, and the state at the end."""
    rng = np.random.default_rng(3 + first)
    placed = placed_in(ours)
    seen = []
    for i in range(first, first + steps):
        seen.append(ours.train_step(placed, rng.permutation(ROWS)[: BATCHES[i % len(BATCHES)]]))
        seen.append(ours.evaluate(placed))
    return seen, ours.state_dict()


def placed_in(ours: ScratchLearner) -> Any:
    """The data; the same for the same learner, whose processes then stay."""
    if isinstance(ours, ParallelEngine) and ours._placed:
        return ours._placed[0]
    return ours.place(*data(ours.dtype))


def assert_close(found: dict[str, Any], expected: dict[str, Any], bound: float) -> None:
    """Within `bound` of the largest number of each array."""
    assert list(found) == list(expected)
    for name, a in expected.items():
        assert found[name].dtype == a.dtype, name
        assert np.abs(found[name] - a).max(initial=0) <= bound * np.abs(a).max(initial=1e-3), name


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_steps_evaluations_and_states_are_those_of_an_engine(network: str, optimizer: str, processes: int) -> None:
    one, several = (learner(kind, network, optimizer, "float64") for kind in (Engine, parallel(processes)))
    (seen, state), (found_seen, found_state) = trained(one), trained(several)
    np.testing.assert_allclose(found_seen, seen, rtol=1e-12)
    assert_close(found_state, state, 1e-11)
    assert_close(several.network.grads, one.network.grads, 1e-11)
    assert several._crew is not None, "nobody else took part"


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_no_sum_is_rounded_the_bits_are_an_engines(dtype: str, processes: int) -> None:
    """Small whole numbers: the order of a sum makes no difference, and what is left or counted twice shows."""
    rng = np.random.default_rng(5)
    x, t = (rng.integers(-4, 5, (ROWS, n)).astype(dtype) for n in (7, 4))
    found = []
    for kind in (Engine, parallel(processes)):
        net = Sequential(*(Linear(n, m, rng=rng, dtype=dtype) for n, m in ((7, 5), (5, 4))))
        ours = kind(net, HalfSquaredErrorLoss(reduction="sum"), SGD(net, 2.0**-6))
        placed, steps = ours.place(x, t), []
        for m in BATCHES:
            draw = np.random.default_rng(m)
            for p in net.params.values():
                p[...] = draw.integers(-4, 5, p.shape)
            steps.append(ours.train_step(placed, draw.permutation(ROWS)[:m]))
            steps.append({name: a.copy() for name, a in (net.params | net.grads).items()})
        found.append(steps)
    for step, expected in zip(*reversed(found), strict=True):
        if isinstance(step, dict):
            assert_same_bits(step, expected)
        else:
            assert step == expected


def test_at_the_size_of_the_assignment_and_with_rows_more_often_than_there_are() -> None:
    rng = np.random.default_rng(5)
    x, t = rng.random((300, 784)), rng.integers(0, 10, 300)
    found = []
    for kind in (Engine, parallel(2)):
        init = np.random.default_rng(6)
        net = Sequential(*(Linear(n, m, rng=init, dtype="float64") for n, m in ((784, 256), (256, 10))))
        ours = kind(net, CrossEntropyLoss(), AdamW(net))
        placed = ours.place(x, t)
        for rows in (128, 96, 128, 301, 128):
            ours.train_step(placed, np.arange(rows) % 300)
        found.append(ours.state_dict())
    assert_close(found[1], found[0], 1e-10)


LOSSES: dict[str, tuple[Any, Any, int]] = {  # loss, targets, outputs
    "cross-entropy": (CrossEntropyLoss, "index", 4),
    "probabilities": (ProbabilityCrossEntropyLoss, "one-hot", 4),
    "mse": (MSELoss, "one-hot", 4),
    "half": (HalfSquaredErrorLoss, "one-hot", 4),
    "bce": (BCELoss, "column", 1),
    "logits": (BCEWithLogitsLoss, "column", 1),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_divided_by_its_rows(name: str, reduction: str) -> None:
    make, form, outputs = LOSSES[name]
    x, t = data("float64")
    targets = {"index": t, "one-hot": np.eye(4)[t], "column": (t[:, None] > 1).astype(float)}[form]
    found = []
    for kind in (Engine, parallel(2)):
        rng = np.random.default_rng(1)
        last = Softmax() if name == "probabilities" else Sigmoid() if name == "bce" else ReLU()
        layers = [Linear(7, 6, rng=rng, dtype="float64"), ReLU(), Linear(6, outputs, rng=rng, dtype="float64")]
        net = Sequential(*layers, *([last] if name in ("probabilities", "bce") else []))
        try:
            loss = make(reduction=reduction)
        except TypeError:  # one that has a single reduction
            loss = make()
        ours = kind(net, loss, SGD(net, 0.01))
        placed = ours.place(x, targets)
        seen = [(*ours.train_step(placed, np.arange(m)), *ours.evaluate(placed)) for m in (7, 16, 1, ROWS)]
        found.append((seen, ours.state_dict()))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-12)
    assert_close(found[1][1], found[0][1], 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_again_gives_the_same_bits(dtype: str) -> None:
    found = [trained(learner(parallel(3), "deep", "adamw", dtype)) for _ in range(2)]
    assert found[0][0] == found[1][0]
    assert_same_bits(found[0][1], found[1][1])


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_run_that_is_resumed_goes_on_in_the_same_bits(at: int) -> None:
    whole, part = learner(parallel(2)), learner(parallel(2))
    trained(whole, at)
    part.load_state_dict(whole.state_dict())
    assert_same_bits(trained(part, 5, at)[1], trained(whole, 5, at)[1])


def test_one_process_is_an_engine_bit_by_bit() -> None:
    assert type(engine(*parts())) is Engine
    assert_same_bits(trained(learner(parallel(1)))[1], trained(learner(Engine))[1])


def parts() -> Any:
    ours = learner(Engine)
    return ours.network, ours.loss, ours.optimizer


# what is changed after the fork


def test_state_that_is_loaded_is_what_training_goes_on_from() -> None:
    one, other = learner(parallel(2)), learner(parallel(2))
    trained(one, 5)
    trained(other, 3)
    other.load_state_dict(one.state_dict())
    assert_same_bits(trained(other, 5)[1], trained(one, 5)[1])


def test_data_that_is_placed_later_is_trained_on_by_all() -> None:
    one, several = learner(Engine, dtype="float64"), learner(parallel(2), dtype="float64")
    for ours in (one, several):
        trained(ours, 3)
        x, t = data("float64")
        later = ours.place(x[::-1].copy(), t)
        for _ in range(3):
            ours.train_step(later, np.arange(16))
    assert_close(several.state_dict(), one.state_dict(), 1e-10)
    assert several._crew


def test_a_rate_that_is_changed_counts_for_all() -> None:
    one, several = learner(Engine, dtype="float64"), learner(parallel(2), dtype="float64")
    for ours in (one, several):
        trained(ours, 3)
        ours.optimizer.lr = 0.2
    assert_close(trained(several, 3)[1], trained(one, 3)[1], 1e-10)


def test_a_threshold_that_is_changed_counts_for_all() -> None:
    found = []
    for kind in (Engine, parallel(2)):
        net = Sequential(Linear(7, 1, rng=np.random.default_rng(0)))
        ours = kind(net, BCEWithLogitsLoss(), SGD(net, 0.01), threshold=0.0)
        x, t = data()
        placed = ours.place(x, (t[:, None] > 1).astype(np.float32))
        seen = []
        for ours.threshold in (0.0, 100.0, -100.0):
            seen += [ours.train_step(placed, np.arange(40))[1], ours.evaluate(placed)[1]]
        found.append(seen)
    assert found[0] == found[1]
    assert len(set(found[0])) == 6


def test_parameters_and_a_loss_that_somebody_puts_in_their_place_are_taken_over() -> None:
    one, several = learner(Engine, dtype="float64"), learner(parallel(2), dtype="float64")
    for ours in (one, several):
        trained(ours, 3)
        ours.network.layers[0].params["weight"] = np.full((6, 7), 0.25)
        trained(ours, 2)
        ours.loss = CrossEntropyLoss(reduction="sum")
    assert_close(trained(several, 3)[1], trained(one, 3)[1], 1e-9)


@pytest.mark.parametrize(
    ("owner", "method"), [(ReLU, "backward"), (Tanh, "backward"), (Softmax, "forward"), (CrossEntropyLoss, "backward")]
)
def test_a_changed_method_is_the_one_that_runs(
    monkeypatch: pytest.MonkeyPatch, owner: type[Any], method: str
) -> None:
    one, several = (learner(kind, "others", dtype="float64") for kind in (Engine, parallel(2)))
    trained(one, 3)
    trained(several, 3)
    unchanged = trained(copy.deepcopy(one), 3)[1]
    original = getattr(owner, method)
    monkeypatch.setattr(owner, method, lambda self, *arrays: original(self, *arrays) * 2)
    changed = trained(one, 3)[1], trained(several, 3)[1]
    assert_close(changed[1], changed[0], 1e-10)
    assert np.abs(changed[0]["0.weight"] - unchanged["0.weight"]).max() > 1e-6


def test_a_layer_that_is_put_in_anothers_place_counts_for_all() -> None:
    one, several = (learner(kind, "others", dtype="float64") for kind in (Engine, parallel(2)))
    for ours in (one, several):
        trained(ours, 3)
        ours.network.layers[1] = Sigmoid()
    assert_close(trained(several, 3)[1], trained(one, 3)[1], 1e-10)


def test_a_watched_layer_sees_every_row_of_every_step() -> None:
    several = learner(parallel(2))
    trained(several, 3)
    assert several._crew
    seen: list[int] = []
    method = several.network.layers[1].forward
    several.network.layers[1].forward = lambda x: (seen.append(len(x)), method(x))[1]
    for m in BATCHES:
        several.train_step(placed_in(several), np.arange(m))
    assert seen == list(BATCHES)


def test_a_layer_or_loss_from_elsewhere_is_left_to_one_process() -> None:
    """It may know more than its rows: a running mean, the batch as a whole."""

    class Counting(ReLU):
        rows = 0

        def forward(self, x: Any) -> Any:
            self.rows += len(x)
            return super().forward(x)

    class Worst(CrossEntropyLoss):
        def forward(self, y: Any, t: Any) -> Any:
            self.seen = len(y)
            return super().forward(y, t)

    for layer, loss in ((Counting(), CrossEntropyLoss()), (ReLU(), Worst())):
        rng = np.random.default_rng(0)
        net = Sequential(Linear(7, 6, rng=rng), layer, Linear(6, 4, rng=rng))
        several = parallel(2)(net, loss, AdamW(net))
        placed = several.place(*data())
        for _ in range(3):
            several.train_step(placed, np.arange(16))
        assert getattr(layer, "rows", 48) == 48
        assert getattr(loss, "seen", 16) == 16
        assert several._crew is None


def test_data_that_was_not_placed_is_trained_on_by_one_process() -> None:
    one, several = learner(Engine, dtype="float64"), learner(parallel(2), dtype="float64")
    for ours in (one, several):
        for _ in range(3):
            ours.train_step(data("float64"), np.arange(16))
    assert_close(several.state_dict(), one.state_dict(), 1e-11)
    assert several._crew is None


def test_a_copy_trains_apart_and_to_the_same_bits() -> None:
    several = learner(parallel(2))
    trained(several, 3)
    copied = copy.deepcopy(several)
    made.append(copied)
    before = copied.state_dict()
    state = trained(several, 3)[1]
    assert_same_bits(copied.state_dict(), before)
    assert_same_bits(trained(copied, 3)[1], state)


# what goes wrong


@pytest.mark.parametrize("row", [3, 12])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: np.nan, "the input is not finite"),
        (lambda w: 3e38 * np.sign(w[0]), "the output of layer 0 (Linear 7 -> 6) is not finite"),
    ],
)
def test_a_number_that_is_not_finite_is_named_as_by_one_process_and_nothing_is_updated(
    spoil: Any, said: str, row: int
) -> None:
    several = learner(parallel(2))
    x, t = data()
    placed = several.place(x, t)
    for _ in range(3):
        several.train_step(placed, np.arange(16))
    before = several.state_dict()
    x[row] = spoil(before["0.weight"])
    several._dismiss()  # the data of the crew are those of the fork
    for act in (lambda: several.train_step(placed, np.arange(16)), lambda: several.evaluate(placed)):
        with pytest.raises(FloatingPointError) as error:
            act()
        assert str(error.value) == said
    assert_same_bits(several.state_dict(), before)


def test_gradients_whose_squares_overflow_are_finite_all_the_same() -> None:
    """1e25 is a float32, its square is none: that step is one process's, and is taken."""
    found = []
    for kind in (Engine, parallel(2)):
        rng = np.random.default_rng(1)
        net = Sequential(Linear(7, 4, rng=rng))
        ours = kind(net, MSELoss(), SGD(net, 1e-30))
        x, t = data()
        placed = ours.place(x * np.float32(1e18), np.eye(4, dtype=np.float32)[t])
        found.append((ours.train_step(placed, np.arange(8)), ours.state_dict(), net.grads))
    (step, state, grads), (found_step, found_state, found_grads) = found
    assert found_step == pytest.approx(step, rel=1e-5)
    assert_close(found_state, state, 1e-5)
    assert not np.isfinite(np.vdot(grads["0.weight"], grads["0.weight"]))
    assert_close(found_grads, grads, 1e-5)


def test_gradients_that_overflow_in_their_sum_are_not_finite() -> None:
    """2.2e38 twice, by two processes: each is a float32."""
    said = []
    for kind in (Engine, parallel(2)):
        net = Sequential(Linear(1, 1, bias=False, rng=np.random.default_rng(0)))
        net.layers[0].params["weight"][...] = 0
        ours = kind(net, MSELoss(reduction="sum"), SGD(net, 1e-3))
        placed = ours.place(np.full((2, 1), 1.8e19, np.float32), np.full((2, 1), 6e18, np.float32))
        assert np.isfinite(ours.evaluate(placed)[0])
        with pytest.raises(FloatingPointError) as error:
            ours.train_step(placed, np.arange(2))
        said.append(str(error.value))
        assert not net.params["0.weight"].any()
    assert said == ["the gradient of the weight of layer 0 (Linear 1 -> 1) is not finite"] * 2


def test_a_process_that_is_killed_is_named_and_the_run_can_go_on_from_the_state_before() -> None:
    several = learner(parallel(2))
    state = trained(several, 4)[1]
    assert several._crew
    (number,) = several._crew._ranks
    os.kill(number, signal.SIGKILL)
    with pytest.raises(CrewLost, match=rf"process 1 of 2 \(number {number}\) has ended: killed by SIGKILL"):
        several.train_step(placed_in(several), np.arange(16))
    assert_same_bits(several.state_dict(), state)
    again, whole = learner(parallel(2)), learner(parallel(2))
    again.load_state_dict(state)
    trained(whole, 4)
    expected = trained(whole, 3, 4)[1]
    assert_same_bits(trained(again, 3, 4)[1], expected)
    assert_same_bits(trained(several, 3, 4)[1], expected)  # it started others


@pytest.mark.parametrize("processes", [0, -1, 1.5, True, "2"])
def test_a_number_of_processes_is_a_whole_one_of_at_least_1(processes: Any) -> None:
    with pytest.raises(ValueError, match="expected a whole number of at least 1"):
        ParallelEngine(*parts(), processes=processes)


def test_where_a_process_cannot_fork_several_are_refused_and_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ValueError, match="processes=2: this system cannot fork, expected 1"):
        ParallelEngine(*parts(), processes=2)
    trained(learner(parallel(1)), 2)


# the loop


def samples(dtype: str = "float32") -> Any:
    x, t = data(dtype)
    return SimpleNamespace(x_train=x, t_train=t, x_val=x[:11], t_val=t[:11])


def test_fit_with_processes_gives_the_arrays_back_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: started.append(fork()) or started[-1])
    one, several = learner(Engine, dtype="float64"), learner(Engine, dtype="float64")
    arrays = several.network.params
    histories = [
        fit(*each, samples("float64"), epochs=3, rng=np.random.default_rng(0), batch_size=16, processes=processes)
        for each, processes in (((one.network, one.loss, one.optimizer), 1),
                                ((several.network, several.loss, several.optimizer), 2))
    ]  # fmt: skip
    for ours, theirs in zip(*histories, strict=True):
        np.testing.assert_allclose(ours[:5], theirs[:5], rtol=1e-11)
    assert all(p is arrays[name] for name, p in several.network.params.items())
    assert_close(arrays, one.network.params, 1e-11)
    assert len(started) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_fit_names_the_batch_that_is_not_finite() -> None:
    ours = learner(Engine, optimizer="sgd")
    ours.optimizer.lr = 1e30
    with pytest.raises(TrainingError, match=r"epoch 1, batch [23]: the "):
        fit(ours.network, ours.loss, ours.optimizer, samples(), epochs=2, rng=np.random.default_rng(0),
            batch_size=16, processes=2)  # fmt: skip


@given(n=st.integers(0, 300), size=st.integers(1, 9), unit=st.sampled_from([1, 8, 16]))
@settings(deadline=None, max_examples=200)
def test_the_parts_are_all_of_it_once_in_order_and_as_equal_as_units_allow(n: int, size: int, unit: int) -> None:
    slices = [part(n, SimpleNamespace(rank=rank, size=size), unit) for rank in range(size)]  # type: ignore[arg-type]
    assert [i for each in slices for i in range(n)[each]] == list(range(n))
    assert all(each.start % unit == 0 for each in slices if each.start < n)
    lengths = [len(range(n)[each]) for each in slices]
    assert max(lengths) - min(lengths) < 2 * unit
    assert math.ceil(n / unit) >= sum(length > 0 for length in lengths)
