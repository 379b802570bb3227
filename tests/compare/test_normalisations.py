"""Networks with normalisations: training and evaluation, running statistics from step to step, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.checking import check_records
from compare.network.architecture import Architecture
from compare.network.weights import copy_to_torch, from_torch, to_torch
from compare.ranks.ranks import check_ranks
from compare.recording.files import load_records, save_records
from compare.recording.scratch_recorder import record_scratch
from scratch.initializers import normal
from scratch.learner import ScratchLearner

Array = np.ndarray
LOSS = scratch.CrossEntropyLoss()


def network(norm: Callable[..., scratch.Layer] = scratch.BatchNorm1d, dtype: Any = np.float64) -> scratch.Sequential:
    rng = np.random.default_rng(0)
    before, after = (scratch.Linear(*sizes, rng=rng, dtype=dtype) for sizes in ((5, 7), (7, 4)))
    return scratch.Sequential(before, norm(7, dtype=dtype), scratch.ReLU(), after)


TEXT = str(Architecture.of(network(), LOSS))


def batch(m: int = 6, dtype: Any = np.float64) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((m, 5)).astype(dtype), rng.integers(0, 4, m)


def step() -> dict[str, Array]:
    return dict(record_scratch(network(), LOSS, None, [batch()])[0])


# --- running statistics ---


def test_they_follow_from_step_to_step_and_the_network_that_is_checked_keeps_its_own() -> None:
    net = network()
    report = compare.check(net, *batch(), loss=LOSS, optimizer=scratch.SGD(net, 0.1))
    assert (report.verdict, report.steps, report.compared) == ("parity", 3, report.total)
    assert [r.check for r in report.rows if r.tensor == "1.running_mean"] == ["wiring", "wiring"]  # of steps 2 and 3
    assert not net.layers[1].buffers["running_mean"].any()


def test_a_wrong_one_is_named() -> None:
    class Reversed(scratch.BatchNorm1d):
        """Another library's momentum."""

        def _follow(self, mean: Array, var: Array) -> None:
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var

    report = compare.check(network(Reversed), *batch(), loss=LOSS)
    assert (report.first.tensor, report.diagnosis[0].cause) == ("1.new_running_mean", "momentum-reversed")
    assert "momentum and 1 - momentum are exchanged" in report.cause


def test_one_that_changes_between_two_steps_is_found() -> None:
    class Forgetful(scratch.BatchNorm1d):
        """Begins anew in every backward."""

        def backward(self, dy: Array) -> Array:
            self.running_mean = np.zeros_like(self.running_mean)
            return super().backward(dy)

    net = network(Forgetful)
    report = compare.check(net, *batch(), loss=LOSS, optimizer=scratch.SGD(net, 0.1))
    assert (report.first.step, report.first.tensor, report.first.check) == (2, "1.running_mean", "wiring")


def test_one_that_is_no_array_is_said_in_one_line() -> None:
    class Lost(scratch.BatchNorm1d):
        """Loses its running variance."""

        def _follow(self, mean: Array, var: Array) -> None:
            self.running_var = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"layer 1 \(Lost 7\): forward: running_var .*expected an array \(7,\)"):
        compare.check(network(Lost), *batch(), loss=LOSS)


def test_without_them_the_rest_is_judged() -> None:
    without = {name: a for name, a in step().items() if "running" not in name}
    report = compare.check(without, *batch(), network=TEXT)
    assert (report.verdict, report.total - report.compared) == ("parity", 2)
    halfway = {name: a for name, a in step().items() if name != "1.running_mean"}
    report = compare.check(halfway, *batch(), network=TEXT)
    assert report.verdict == "incomplete"
    assert "1.new_running_mean (1.running_mean was not handed in)" in str(report)


def test_they_are_in_the_file_of_a_record(tmp_path: Path) -> None:
    net = network(dtype=np.float32)
    records = record_scratch(net, LOSS, scratch.SGD(net, 0.1), [batch(dtype=np.float32)] * 2)
    save_records(records, tmp_path / "record.safetensors")
    read = load_records(tmp_path / "record.safetensors")
    assert [set(r) for r in read] == [set(r) for r in records]
    assert check_records(read).verdict == "parity"


# --- both sides ---


@pytest.mark.parametrize("make", [scratch.BatchNorm1d, scratch.LayerNorm])
def test_the_other_side_has_the_same_and_evaluates_alike(make: Callable[..., scratch.Layer]) -> None:
    net, (x, _) = network(make), batch()
    for _ in range(3):
        net.forward(x)
    model = to_torch(net).eval()
    y = net.eval().forward(x)
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), y, rtol=1e-12, atol=1e-12)
    back = from_torch(model).eval()
    np.testing.assert_array_equal(back.forward(x), y)


def test_one_without_parameters_has_the_dtype_of_its_statistics() -> None:
    for dtype in ("float32", "float64"):
        made = from_torch(to_torch(scratch.Sequential(scratch.BatchNorm1d(3, affine=False, dtype=dtype))))
        assert made.buffers["0.running_var"].dtype == dtype


def test_statistics_are_not_copied_where_there_are_none() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7, track_running_stats=False), nn.ReLU(), nn.Linear(7, 4))
    with pytest.raises(ValueError, match=r"the model has parameters \[\], expected \['1.running_mean', '1.runn"):
        copy_to_torch(network(), model.double())


@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_a_network_in_evaluation_is_checked_in_training(side: str) -> None:
    net = network().eval()
    candidate, loss = (net, LOSS) if side == "scratch" else (to_torch(net).eval(), nn.CrossEntropyLoss())
    assert compare.check(candidate, *batch(), loss=loss).verdict == "parity"
    assert not candidate.training


# --- a training loop ---


def learner() -> ScratchLearner:
    net = network()
    return ScratchLearner(net, LOSS, scratch.Adam(net, 0.01))


def test_an_evaluation_takes_the_running_statistics_and_leaves_them() -> None:
    one = learner()
    data = one.place(*batch(20))
    one.train_step(data, np.arange(20))
    before = one.weights()
    loss, _ = one.evaluate(data)
    assert loss == LOSS.forward(one.network.eval().forward(data[0]), data[1])
    assert all(np.array_equal(a, before[name]) for name, a in one.weights().items())
    one.train_step(data, np.arange(20))
    assert one.network.training
    assert not np.array_equal(one.weights()["1.running_mean"], before["1.running_mean"])


def test_a_resumed_training_has_the_statistics_of_the_one_before() -> None:
    one, other = learner(), learner()
    data = one.place(*batch(20))
    one.train_step(data, np.arange(10))
    other.load_state_dict(one.state_dict())
    assert one.evaluate(data) == other.evaluate(data)
    for each in (one, other):
        each.train_step(data, np.arange(10, 20))
    assert all(np.array_equal(a, other.state_dict()[name]) for name, a in one.state_dict().items())
    with pytest.raises(ValueError, match=r"1.running_var: not in the state, expected float64 \(7,\)"):
        other.load_state_dict({name: a for name, a in one.state_dict().items() if name != "1.running_var"})


# --- what is refused ---


def of_one_sample(record: dict[str, Array]) -> dict[str, Array]:
    rows = ("input", "target", "output", "grad_output", "grad_input")
    return {name: a[:1] if name.rpartition(".")[2] in rows else a for name, a in record.items()}


ONE_SAMPLE: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "scratch": (network, {"loss": LOSS}),
    "torch": (lambda: to_torch(network()), {"loss": nn.CrossEntropyLoss()}),
    "a dictionary": (lambda: of_one_sample(step()), {"network": TEXT}),
}


@pytest.mark.parametrize("kind", ONE_SAMPLE)
def test_a_batch_of_one_has_no_variance(kind: str) -> None:
    make, options = ONE_SAMPLE[kind]
    with pytest.raises(ValueError, match=r"[Ee]xpected more than 1 value per channel when training") as caught:
        compare.check(make(), *batch(1), **options)
    assert "\n" not in str(caught.value)


def test_a_layer_norm_takes_a_batch_of_one() -> None:
    assert compare.check(network(scratch.LayerNorm), *batch(1), loss=LOSS).verdict == "parity"


@pytest.mark.parametrize("name", ["momentum", "track_running_stats"])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_what_is_not_checked_is_refused_by_its_name(kind: Any, name: str) -> None:
    value = None if name == "momentum" else False
    with pytest.raises(TypeError, match=rf"layer 0 \(BatchNorm.d\): got {name}={value}, which is not checked"):
        Architecture.of(nn.Sequential(kind(3, **{name: value})), nn.MSELoss())


class OnePass(scratch.BatchNorm1d):
    """mean(x^2) - mean^2, and the gradient step by step."""

    def forward(self, x: Array) -> Array:
        mean, n = x.mean(axis=0), len(x)
        var = (x * x).mean(axis=0) - mean * mean
        self._follow(mean, var * n / (n - 1))
        self._deviation, self._kept = np.sqrt(var + x.dtype.type(self.eps)), x - mean
        return self._kept / self._deviation * self.params["weight"] + self.params["bias"]

    def backward(self, dy: Array) -> Array:
        d, s, n, t = self.kept, self._deviation, dy.dtype.type(len(dy)), dy * self.params["weight"]
        self.grads = {"weight": (dy * d / s).sum(axis=0), "bias": dy.sum(axis=0)}
        dvar = (t * d * dy.dtype.type(-0.5) * s**-3).sum(axis=0)
        dmean = -(t / s).sum(axis=0) - dvar * (2 * d).mean(axis=0)
        return t / s + dvar * 2 * d / n + dmean / n


class OnePassOfConstants(OnePass):
    """dx = W dy / s."""

    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        return dy * self.params["weight"] / self._deviation


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 10, 50])
def test_a_variance_in_one_pass_is_right_and_what_is_wrong_beside_it_is_named(offset: float, dtype: str) -> None:
    for kind, causes in ((OnePass, []), (OnePassOfConstants, ["statistics-as-constants"])):
        rng = np.random.default_rng(0)
        norm = kind(5, rng=rng, weight_init=normal(1), bias_init=normal(1), dtype=dtype)
        net = scratch.Sequential(norm, scratch.Linear(5, 4, rng=rng, dtype=dtype))
        x, t = (offset + rng.standard_normal((40, 5))).astype(dtype), rng.integers(0, 4, 40)
        report = compare.check(net, x, t, loss=LOSS, optimizer=scratch.SGD(net, 0.1))
        assert report.verdict == ("mismatch" if causes else "parity")
        assert [d.cause for d in report.diagnosis[:1]] == causes


def test_where_a_variance_in_one_pass_is_lost_it_is_said_so() -> None:
    """mean^2 / var is 10^8: in float32 mean(x^2) - mean^2 has no digit left."""
    x = (1e4 + np.random.default_rng(2).standard_normal((6, 5))).astype(np.float32)
    rng = np.random.default_rng(0)
    net = scratch.Sequential(scratch.LayerNorm(5), scratch.Linear(5, 4, rng=rng))
    report = compare.check(net, x, batch()[1], loss=LOSS)
    assert report.verdict == "incomplete"
    assert "0.output (a correct computation may lose every digit of 30 of 30 elements)" in str(report)
    assert compare.check(network(scratch.LayerNorm), *batch(), loss=LOSS).verdict == "parity"


def test_over_several_ranks_it_is_another_network() -> None:
    net = network()
    nobody: Any = None  # it is refused before a team is asked
    with pytest.raises(ValueError, match=r"layer 1 \(BatchNorm1d 7\): each rank has the mean and the variance of its"):
        check_ranks(net, LOSS, scratch.SGD(net, 0.1), [batch()], nobody)


class Port(nn.Module):
    """Layers of its own, and no Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.norm, self.after = nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(torch.relu(self.norm(self.before(x))))


OWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "a function": (lambda x, t: {"loss": 0.0}, {"network": TEXT}),
    "a module": (Port().double(), {"network": TEXT, "loss": nn.CrossEntropyLoss()}),
    "a script": (Path("student.py"), {"network": TEXT}),
}


@pytest.mark.parametrize("kind", OWN)
def test_what_is_not_followed_through_code_is_said_in_one_line(kind: str) -> None:
    candidate, options = OWN[kind]
    with pytest.raises(ValueError, match=r"layer 1 \(BatchNorm1d \d+\) is not found by its values, expected linear"):
        compare.check(candidate, *batch(), **options)
