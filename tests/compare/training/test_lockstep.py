"""Lockstep: correct runs stay inside the envelope, faulty ones leave it at the step of the fault."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compare.measuring.faults import find
from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from compare.training.decisions import deciding
from compare.training.in_turn import InTurn
from compare.training.lockstep import Lockstep, train_in_lockstep
from compare.training.lockstep_figure import lockstep_figure
from scratch import (
    SGD,
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Flatten,
    LastStep,
    Linear,
    MaxPool2d,
    ReLU,
    SelfAttention,
    Sequential,
)
from scratch.labs import LABS, LabSetup, Samples
from scratch.learner import ScratchLearner
from scratch.training import TrainingError, fit
from tests.made_up_images import bars
from torch_ref.learner import TorchLearner


def set_up(lab: str, dtype: str, seed: int = 0, **options: Any) -> LabSetup:
    return LABS[lab].set_up(LABS[lab].data(None, dtype, seed), seed=seed, **options)


def run(setup: LabSetup, model: nn.Module | None = None, **options: Any) -> Lockstep:
    chosen = {"loss": setup.loss, "optimizer": setup.optimizer, "batch_size": setup.batch_size, "rng": setup.rng}
    chosen |= {"shuffle": setup.lab.shuffle, "title": setup.title, **options}
    return train_in_lockstep(setup.network, model or to_torch(setup.network), setup.samples, **chosen)


class OffFrom(ScratchLearner):
    """From its step `first` on, the rate is off by the factor 1 + `by`."""

    def __init__(self, setup: LabSetup, first: int, by: float) -> None:
        super().__init__(setup.network, setup.loss, copy.copy(setup.optimizer))
        self.first, self.by, self.right = first, by, setup.optimizer.lr

    def train_step(self, data: Any, rows: Any) -> tuple[float, int]:
        off = self.optimizer.steps + 1 >= self.first
        self.optimizer.lr = self.right * (1 + self.by) if off else self.right
        return super().train_step(data, rows)


# correct runs stay inside


def test_two_epochs_of_digits_in_float64_stay_at_a_few_times_1e_15() -> None:
    found = run(set_up("digits", "float64"), epochs=2)
    assert found.steps == 24
    assert found.first_outside is None
    assert found.first_flip is None
    assert found.flips == found.ties == 0
    assert max(row.relative for row in found.rows) < 3e-15
    assert max(row.envelope for row in found.rows) < 1e-13
    assert all(row.relative == row.aligned and row.max_abs == row.aligned_max_abs for row in found.rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("lab", "options"), [("digits", {"steps": 30, "every": 3}), ("xor", {"steps": 100, "every": 5})]
)
def test_no_false_alarm(lab: str, options: dict[str, int], dtype: str, seed: int) -> None:
    found = run(set_up(lab, dtype, seed), **options)
    assert found.first_outside is None, str(found)
    assert "INSIDE" in found.summary[-1]


def test_a_network_without_relu_has_no_masks_to_compare() -> None:
    rng = np.random.default_rng(0)
    setup = set_up("digits", "float64")
    net = Sequential(Linear(64, 10, rng=rng, dtype="float64"))
    found = train_in_lockstep(net, to_torch(net), setup.samples, steps=5)
    assert (found.flips, found.first_flip, found.first_outside) == (0, None, None)


# faulty ones leave, at the step of the fault


@pytest.mark.parametrize(("first", "every", "named"), [(1, 1, 1), (7, 1, 7), (7, 5, 10)])
def test_a_rate_that_is_off_by_a_millionth_leaves_at_its_first_step(first: int, every: int, named: int) -> None:
    setup = set_up("digits", "float64", hidden=(16,))
    found = run(setup, learner=OffFrom(setup, first, 1e-6), steps=12, every=every)
    assert found.first_outside is not None
    assert found.first_outside.step == named
    assert found.outside[0].ratio >= found.outside[-1].ratio > 1
    assert all(row.inside for row in found.rows if row.step < named)
    assert f"OUTSIDE the envelope of rounding at step {named}" in found.summary[-1]
    assert (f"(inside at step {named - every})" in found.summary[-1]) == (every > 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("bias-gradient-zero", {"0.bias", "2.bias"}),
        ("relu-mask-missing", {"0.weight", "0.bias"}),
        ("relu-mask-inverted", {"0.weight", "0.bias"}),
        ("weight-gradient-of-the-last-sample", {"0.weight", "2.weight"}),
    ],
)
def test_a_planted_fault_is_named_at_the_first_step_with_its_parameters(
    fault: str, parameters: set[str], dtype: str
) -> None:
    with find(fault).planted():
        found = run(set_up("digits", dtype, hidden=(16,)), steps=3)
    assert found.first_outside is not None
    assert found.first_outside.step == 1
    assert {row.parameter for row in found.outside} == parameters


class OnBelowZero(nn.ReLU):
    """Units are on from -1e-3 upwards."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > -1e-3, x, torch.zeros_like(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wrong_mask_in_pytorch_is_no_tie(dtype: str) -> None:
    setup = set_up("digits", dtype)
    model = to_torch(setup.network)
    model[1] = OnBelowZero()
    found = run(setup, model, steps=5)
    assert found.first_outside is not None
    assert found.first_outside.step == 1
    assert found.ties == 0


def test_a_difference_of_one_element_leaves_by_its_size_though_the_norm_hides_it() -> None:
    class OneElementOff(ScratchLearner):
        def train_step(self, data: Any, rows: Any) -> tuple[float, int]:
            done = super().train_step(data, rows)
            if self.optimizer.steps == 3:
                self.network.params["0.weight"][5, 7] += 2e-14
            return done

    setup = set_up("digits", "float64")
    found = run(setup, learner=OneElementOff(setup.network, setup.loss, setup.optimizer), steps=4, every=3)
    # every copy of this learner has the fault: what is found is its distance from PyTorch
    assert found.first_outside is not None
    assert (found.first_outside.step, found.first_outside.parameter) == (3, "0.weight")
    assert found.first_outside.aligned < found.first_outside.envelope


# masks


def plain(setup: LabSetup) -> tuple[ScratchLearner, TorchLearner]:
    model = to_torch(setup.network)
    ours = ScratchLearner(setup.network, setup.loss, setup.optimizer)
    return ours, TorchLearner(model, to_torch_loss(setup.loss), to_torch_optimizer(setup.optimizer, model))


@pytest.fixture(scope="module")
def parted() -> tuple[int, Lockstep]:
    """A float32 run of `spiral` in which masks differ, and its seed; in most seeds they do."""
    for seed in range(6):
        found = run(set_up("spiral", "float32", seed), steps=300, every=3)
        if found.first_flip:
            return seed, found
    raise AssertionError("no seed of 0 to 5 has a mask that differs")


def test_the_first_mask_that_differs_is_found_again_without_lockstep(parted: tuple[int, Lockstep]) -> None:
    seed, found = parted
    flip = found.first_flip
    assert flip is not None
    setup = set_up("spiral", "float32", seed)
    ours, theirs = plain(setup)
    samples = setup.samples
    data = ours.place(samples.x_train, samples.t_train), theirs.place(samples.x_train, samples.t_train)
    assert setup.batch_size >= len(samples.x_train)  # so that every step is an epoch
    for step in range(1, flip.step + 1):
        rows = setup.rng.permutation(len(samples.x_train)) if setup.lab.shuffle else np.arange(len(samples.x_train))
        a = setup.network.layers[0].forward(samples.x_train[rows])
        with torch.no_grad():
            b = theirs.model[0](torch.from_numpy(samples.x_train[rows])).numpy()
        differ = np.argwhere((a > 0) != (b > 0))
        assert len(differ) == 0 or step == flip.step
        ours.train_step(data[0], rows)
        theirs.train_step(data[1], rows)
    assert tuple(differ[0]) == (flip.row, flip.unit)
    assert rows[flip.row] == flip.sample
    assert (a[flip.row, flip.unit], b[flip.row, flip.unit]) == (flip.ours, flip.theirs)
    assert flip.layer == "1"


def test_a_tie_parts_the_runs_but_not_the_aligned_one(parted: tuple[int, Lockstep]) -> None:
    _, found = parted
    flip = found.first_flip
    assert flip is not None
    assert flip.by_rounding
    assert found.flips is not None
    assert 1 <= found.ties <= found.flips
    assert found.first_outside is None, str(found)
    last = found.rows[-len(found.parameters) :]
    assert all(row.relative > 5 * row.aligned for row in last)
    assert all(row.relative == row.aligned for row in found.rows if row.step < flip.step)
    assert f"step {flip.step}, layer 1, sample {flip.sample}" in str(found)


# maxima


def pooled(seed: int, dtype: str = "float32") -> tuple[Sequential, Samples]:
    """Nothing but a maximum decides in this network: a convolution, a pooling, and a linear layer."""
    rng = np.random.default_rng(seed)
    convolution = Conv2d(1, 8, 3, rng=rng, dtype=dtype)
    net = Sequential(convolution, MaxPool2d(2), Flatten(), Linear(8 * 13 * 13, 2, rng=rng, dtype=dtype))
    data = bars(256, 8, dtype)
    x_train, x_val = (x.reshape(-1, 1, 28, 28) for x in (data.x_train, data.x_val))
    return net, Samples(x_train, data.t_train, x_val, data.t_val)


def run_pooled(net: Sequential, samples: Samples, model: nn.Module | None = None, **options: Any) -> Lockstep:
    chosen = {"optimizer": SGD(net, 0.01), "batch_size": 256, "shuffle": False, **options}
    return train_in_lockstep(net, model or to_torch(net), samples, **chosen)


@pytest.fixture(scope="module")
def tipped() -> tuple[int, Lockstep]:
    """A float32 run up to the step at which the two sides take other elements of a window, and its seed."""
    for seed in range(4):
        found = run_pooled(*pooled(seed), epochs=40, twins=3, on_epoch=lambda found: found.first_flip is not None)
        if found.first_flip:
            return seed, found
    raise AssertionError("no seed of 0 to 3 has a maximum that differs")


def test_the_first_maximum_that_differs_is_found_again_without_lockstep(tipped: tuple[int, Lockstep]) -> None:
    seed, found = tipped
    flip = found.first_flip
    assert flip is not None
    assert (flip.what, flip.layer) == ("maximum", "1")
    net, samples = pooled(seed)
    model = to_torch(net)
    optimizer = SGD(net, 0.01)
    ours = ScratchLearner(net, CrossEntropyLoss(), optimizer)
    theirs = TorchLearner(model, to_torch_loss(CrossEntropyLoss()), to_torch_optimizer(optimizer, model))
    data = ours.place(samples.x_train, samples.t_train), theirs.place(samples.x_train, samples.t_train)
    for step in range(1, flip.step + 1):
        with torch.no_grad():
            z = torch.from_numpy(net.layers[0].forward(samples.x_train)), model[0](data[1][0])
        places = [nn.functional.max_pool2d(each, 2, return_indices=True)[1].numpy() for each in z]
        differ = np.argwhere(places[0] != places[1])
        assert len(differ) == 0 or step == flip.step
        ours.train_step(data[0], np.arange(256))
        theirs.train_step(data[1], np.arange(256))
    at = tuple(differ[0])
    assert at == (flip.row, *flip.unit)
    image = [each.numpy()[at[:2]].ravel() for each in z]
    mine, other = (each[at] for each in places)
    assert [a[mine] - a[other] for a in image] == [flip.ours, flip.theirs]
    assert flip.ours >= 0 >= flip.theirs


def test_a_maximum_that_rounding_decides_parts_the_runs_but_not_the_aligned_one(tipped: tuple[int, Lockstep]) -> None:
    _, found = tipped
    flip = found.first_flip
    assert flip is not None
    assert flip.by_rounding
    assert found.ties >= 1
    assert found.first_outside is None, str(found)
    assert f"first maximum that differs: step {flip.step}, layer 1, sample {flip.sample}" in str(found)
    assert "window (" in str(found)
    assert f"maxima that differ: {found.flips}; ties" in str(found)
    row = next(row for row in found.rows if row.step == flip.step and row.parameter == "0.weight")
    assert row.relative > row.aligned


class LeansToTheFirst(nn.MaxPool2d):
    """The first element of each window seems a thousandth larger than it is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shift = torch.zeros_like(x)
        shift[:, :, ::2, ::2] = 1e-3
        return super().forward(x + shift)


def test_a_wrong_maximum_in_pytorch_is_no_tie() -> None:
    net, samples = pooled(0, "float64")
    model = to_torch(net)
    model[1] = LeansToTheFirst(2)
    found = run_pooled(net, samples, model, steps=2)
    assert found.first_outside is not None
    assert (found.first_outside.step, found.ties) == (1, 0)


def test_which_element_is_the_largest_by_how_much_and_what_decides_it() -> None:
    """Windows of 2 next to each other; and of 3, which overlap, with padding that is never the largest."""
    z = -1 - np.arange(16.0).reshape(1, 1, 4, 4)
    other = z.copy()
    other[0, 0, 1, 1] = -0.5
    (_, _, apart), (_, _, overlapping) = deciding(Sequential(MaxPool2d(2), MaxPool2d(3, 2, 1)))
    assert apart.taken(z).tolist() == [[[[0, 0], [0, 0]]]]
    assert apart.taken(other).tolist() == [[[[3, 0], [0, 0]]]]
    assert apart.signed(z, apart.taken(z), apart.taken(other))[0, 0, 0, 0] == 5
    assert apart.signed(other, apart.taken(z), apart.taken(other))[0, 0, 0, 0] == -0.5
    assert apart.apart(z, other).tolist() == [[[[5.5, 0], [0, 0]]]]
    at = apart.taken(z) != apart.taken(other)
    np.testing.assert_array_equal(apart.given(z, other, at), other)
    np.testing.assert_array_equal(apart.given(z, other + 1, at)[0, 0, :, 2:], z[0, 0, :, 2:])
    assert overlapping.taken(z).tolist() == [[[[4, 3], [1, 0]]]]
    assert overlapping.taken(other).tolist() == [[[[8, 6], [2, 0]]]]
    np.testing.assert_array_equal(overlapping.given(z, other, np.full((1, 1, 2, 2), True)), other)


def test_masks_that_cannot_be_seen_are_said_to_be_not_compared() -> None:
    class Functional(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[2](torch.relu(self[0](x)))

    setup = set_up("digits", "float64", hidden=(16,))
    found = run(setup, Functional(*to_torch(setup.network)), steps=5)
    assert found.flips is None
    assert found.first_outside is None
    assert "not compared" in str(found)


# what it does and does not do to the runs


def test_both_backends_are_trained_as_they_are_alone_and_left_as_they_were() -> None:
    setup, alone = set_up("digits", "float32", hidden=(16,)), set_up("digits", "float32", hidden=(16,))
    model = to_torch(setup.network)
    found = run(setup, model, epochs=2)
    fit(alone.network, alone.loss, alone.optimizer, alone.samples, epochs=2, rng=alone.rng, batch_size=alone.batch_size)
    assert all(p.tobytes() == alone.network.params[name].tobytes() for name, p in setup.network.params.items())
    assert len(found.history) == 2
    assert found.learners["torch"].weights().keys() == setup.network.params.keys()
    assert all("forward" not in vars(layer) for layer in setup.network)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_every_steps_and_epochs_decide_which_steps_have_rows() -> None:
    setup = set_up("digits", "float64", hidden=(8,))
    found = run(setup, steps=17, every=5)  # an epoch has 12
    assert sorted({row.step for row in found.rows}) == [0, 5, 10, 15, 17]
    assert found.parameters == list(setup.network.params)
    assert len(found.history) == 1
    stopped = run(set_up("digits", "float64", hidden=(8,)), epochs=9, on_epoch=lambda so_far: len(so_far.history) == 2)
    assert stopped.steps == 24


def test_the_csv_file_holds_every_row(tmp_path: Path) -> None:
    found = run(set_up("xor", "float64"), steps=6, every=2)
    found.write(tmp_path / "lockstep.csv")
    with (tmp_path / "lockstep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.rows) == 4 * 4
    assert [float(row["aligned"]) for row in rows] == [row.aligned for row in found.rows]
    assert {row["inside"] for row in rows} == {"1"}
    assert list(rows[0])[:3] == ["step", "parameter", "relative"]


def test_the_figure_marks_the_first_mask_and_the_first_step_outside(
    tmp_path: Path, parted: tuple[int, Lockstep]
) -> None:
    _, found = parted
    assert found.first_flip is not None
    found.plot(tmp_path / "lockstep.png")
    assert (tmp_path / "lockstep.png").stat().st_size > 20_000
    assert f"first ReLU mask that differs: step {found.first_flip.step}, layer 1" in texts(found)
    setup = set_up("digits", "float64", hidden=(8, 7, 6))
    outside = run(setup, learner=OffFrom(setup, 2, 1e-6), steps=3)
    assert any(text.startswith("first outside: step 2, ") for text in texts(outside))
    assert len([axes for axes in lockstep_figure(outside).axes if axes.axison]) == 6  # of eight parameters


def texts(found: Lockstep) -> list[str]:
    return [text.get_text() for legend in lockstep_figure(found).legends for text in legend.get_texts()]


# bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "got every=0, expected a whole number of at least 1"),
        ({"every": 1.5}, "got every=1.5, expected a whole number of at least 1"),
        ({"steps": 0}, "got steps=0, expected a whole number of at least 1"),
        ({"epochs": -1}, "got epochs=-1, expected a whole number of at least 1"),
        ({"twins": 0}, "got twins=0, expected a whole number of at least 1"),
        ({"batch_size": 0}, "got batch_size=0, expected a whole number of at least 1"),
    ],
)
def test_a_count_below_one_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(set_up("xor", "float64"), **options)


def test_weights_that_differ_from_the_start_are_refused() -> None:
    setup = set_up("xor", "float64")
    model = to_torch(setup.network)
    with torch.no_grad():
        model[0].bias[1] += 1
    with pytest.raises(ValueError, match=r"0\.bias\[1\]: got .*, expected the bits of"):
        run(setup, model)


@pytest.mark.parametrize(
    ("who", "spoil"),
    [
        ("PyTorch", lambda net, model: model[0].register_forward_hook(lambda *found: found[2] * torch.nan)),
        ("NumPy", lambda net, model: vars(net.layers[0]).update(forward=lambda x: np.full((4, 4), np.nan))),
    ],
)
def test_a_number_that_is_not_finite_is_said_to_be_whose(who: str, spoil: Callable[..., Any]) -> None:
    setup = set_up("xor", "float64")
    model = to_torch(setup.network)
    spoil(setup.network, model)
    with pytest.raises(TrainingError, match=f"^epoch 1, batch 1: {who}: "):
        run(setup, model)


def test_the_loss_and_the_optimizer_have_defaults() -> None:
    rng = np.random.default_rng(0)
    net = Sequential(Linear(64, 8, rng=rng), ReLU(), Linear(8, 10, rng=rng))
    found = train_in_lockstep(net, to_torch(net), set_up("digits", "float32").samples, steps=2)
    assert isinstance(found.learners["scratch"].loss, CrossEntropyLoss)
    assert found.dtype == "float32"


# statistics of a batch


def test_an_array_that_is_summed_in_turn_has_its_mean_and_variance() -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 6))
    axes = (0, 2, 3)
    v = x.view(InTurn)
    np.testing.assert_allclose(v.mean(axis=axes), x.mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(v.mean(axis=axes, keepdims=True), x.mean(axis=axes, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(v.var(axis=axes), x.var(axis=axes), rtol=1e-12)
    assert {type(a) for a in (v.mean(axis=axes), v.var(axis=axes))} == {np.ndarray}
    assert x.astype(np.float32).view(InTurn).mean(axis=axes).dtype == np.float32


def test_pytorch_sums_the_squares_of_a_batch_in_turn_and_lockstep_knows() -> None:
    """NumPy's variance of so many elements is a thousand times as near: no twin that sums as NumPy shows the other."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2, 40, 40)) + 0.5
    module = nn.BatchNorm2d(2, momentum=1.0, dtype=torch.float64)
    module(torch.from_numpy(x))
    theirs, count = module.running_var.numpy(), x.size // 2
    in_turn, ours = (a.var(axis=(0, 2, 3)) * count / (count - 1) for a in (x.view(InTurn), x))
    far, near = (np.abs(a / theirs - 1).max() for a in (ours, in_turn))
    assert near < far / 10


def test_a_network_with_batch_statistics_stays_inside_in_float64() -> None:
    """Of all rows at once, from the step on at which the variance is theirs."""
    rng = np.random.default_rng(1)
    data = bars(256, 8, "float64")
    x_train, x_val = (x.reshape(-1, 1, 28, 28) for x in (data.x_train, data.x_val))
    samples = Samples(x_train, data.t_train, x_val, data.t_val)
    convolution = Conv2d(1, 4, 3, bias=False, rng=rng, dtype="float64")
    last = Linear(4 * 13 * 13, 2, rng=rng, dtype="float64")
    net = Sequential(convolution, BatchNorm2d(4, dtype="float64"), ReLU(), MaxPool2d(2), Flatten(), last)
    found = train_in_lockstep(net, to_torch(net), samples, batch_size=256, steps=4, twins=3)
    assert found.first_outside is None, str(found)
    assert all(not {"forward", "backward"} & vars(layer).keys() for layer in net)
def test_a_parameter_whose_name_has_a_dot_in_torch_is_compared() -> None:
    rng = np.random.default_rng(0)
    attention = SelfAttention(4, 2, causal=True, rng=rng, dtype=np.float64)
    net = Sequential(attention, LastStep(), Linear(4, 2, rng=rng, dtype=np.float64))
    x, t = rng.standard_normal((40, 5, 4)), rng.integers(0, 2, 40)
    data: Any = SimpleNamespace(x_train=x, t_train=t, x_val=x, t_val=t)
    found = train_in_lockstep(net, to_torch(net), data, steps=6, batch_size=8)
    assert "0.out_proj_weight" in {row.parameter for row in found.rows}
    assert (found.steps, found.first_outside) == (6, None)
