"""Both backends trained side by side on the same batches, and after how many steps they part by more than rounding.

What rounding alone can do is measured, not guessed: further NumPy runs on the same batches, twins, have every weight
moved one ulp in a random direction, at the start and after every step, as each step rounds anew: they show how far last
bits can grow. But where a ReLU's input is so near
zero that rounding decides its mask, a whole row of a gradient moves at once, and two correct float32 runs part for
good. So one more NumPy run, the aligned one, starts from the same bits and takes PyTorch's side in every such tie, and
in nothing else. The twins are its twins, and have its masks; a correct PyTorch stays as near to it as they do.
"""

from __future__ import annotations

import copy
import csv
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

import scratch.plots
from compare.lockstep_figure import lockstep_figure
from compare.runs import one_torch_thread
from compare.weights import to_torch_loss, to_torch_optimizer, verify_same_bits
from scratch import AdamW, CrossEntropyLoss, Layer, Loss, Optimizer, ReLU, Sequential
from scratch.engine import Engine
from scratch.history import History
from scratch.initializers import RandomSource
from scratch.learner import Learner, Rows, ScratchLearner
from scratch.training import Batch, Data, Training, expect_count
from torch_ref.learner import TorchLearner

Array = NDArray[Any]

# The envelope is MULTIPLE times the largest distance of a twin. Where training is unstable, an error grows along a few
# directions only, and how much of it points there is chance: about a normal number N, for PyTorch as for each twin. The
# chance that one exceeds 20 times the largest of 5 others is (0.8 / 20)^5 E|N|^5 = 7e-7; 2e-5 if it is twice as wide.
# Measured with four twins on 300 correct runs (digits, iris, spiral, xor; 38 seeds; float32 and float64; 100 to 500
# steps): at most 5.0 times the largest twin, 1.1 in the middle. A rate off by 1e-6 in float64 is at 6e6 envelopes.
TWINS = 5
MULTIPLE = 20.0


class Row(NamedTuple):
    """One parameter after `step` updates: how far scratch is from torch, and how far rounding alone could take it.

    relative is ||a - b|| / ||a|| (a: scratch, b: torch), max_abs the largest |a - b|. aligned and aligned_max_abs are
    the same with the aligned run's parameter for a; envelope and allowed bound these two.
    """

    step: int
    parameter: str
    relative: float
    max_abs: float
    aligned: float
    envelope: float
    aligned_max_abs: float
    allowed: float

    @property
    def ratio(self) -> float:
        """The larger of the two aligned differences over their bounds; infinite for what is not finite."""
        return max(_over(self.aligned, self.envelope), _over(self.aligned_max_abs, self.allowed))

    @property
    def inside(self) -> bool:
        return self.ratio <= 1


class MaskFlip(NamedTuple):
    """A unit of a ReLU layer that is on in one backend and off in the other, in the forward pass of update `step`.

    row is the sample's place in the batch, sample its row in the training set; allowed bounds |ours - theirs|.
    """

    step: int
    layer: str
    row: int
    sample: int
    unit: int
    ours: float
    theirs: float
    allowed: float

    @property
    def by_rounding(self) -> bool:
        """Whether rounding alone can have moved it across zero."""
        return abs(self.ours - self.theirs) <= self.allowed

    def __str__(self) -> str:
        where = f"step {self.step}, layer {self.layer}, sample {self.sample} (row {self.row} of its batch)"
        how = "within" if self.by_rounding else "MORE than"
        apart = f"{abs(self.ours - self.theirs):.1e} apart, {how} the {self.allowed:.1e} of rounding"
        return f"{where}, unit {self.unit}: NumPy {self.ours:.9g}, PyTorch {self.theirs:.9g}, {apart}"


class Lockstep:
    """What a run in lockstep showed: `rows` in the order of steps and parameters, flips of masks, first step outside.

    `first_flip` is the first ReLU mask that differs (by step, layer, row, unit), or None; `flips` counts them all, and
    is None where masks could not be compared; `ties` counts those that the aligned run took over because rounding alone
    had decided them. `learners` are "scratch" and "torch" as they are now, `history` is that of scratch.
    """

    def __init__(self, every: int, title: str = "", dtype: str = "") -> None:
        self.every, self.title, self.dtype = every, title, dtype
        self.rows: list[Row] = []
        self.flips: int | None = 0
        self.ties = 0
        self.first_flip: MaskFlip | None = None
        self.learners: dict[str, Learner] = {}
        self.history = History()

    @property
    def steps(self) -> int:
        """The last step that was looked at."""
        return self.rows[-1].step

    @property
    def parameters(self) -> list[str]:
        return list(dict.fromkeys(row.parameter for row in self.rows))

    @property
    def outside(self) -> list[Row]:
        """The rows outside of the first step that has any, the worst first; empty if every step stays inside."""
        step = next((row.step for row in self.rows if not row.inside), None)
        found = [row for row in self.rows if row.step == step and not row.inside]
        return sorted(found, key=lambda row: -row.ratio)

    @property
    def first_outside(self) -> Row | None:
        """The worst parameter of the first step that is outside, or None."""
        return next(iter(self.outside), None)

    @property
    def worst(self) -> Row:
        """The row that is nearest to its bounds, or farthest outside."""
        return max(self.rows, key=lambda row: row.ratio)

    def of(self, parameter: str) -> list[Row]:
        return [row for row in self.rows if row.parameter == parameter]

    @property
    def summary(self) -> list[str]:
        """Plain lines: how far apart, the first mask that differs, and the first step outside."""
        last = max((row for row in self.rows if row.step == self.steps), key=lambda row: row.relative)
        found = [
            f"{_count(self.steps, 'step')} in {self.dtype}, compared every {_count(self.every, 'step')}: "
            f"at the end the weights are at most {last.relative:.1e} apart ({last.parameter})"
        ]
        if self.flips is None:
            unseen = "not compared (the two networks do not show the same ReLU layers)"
            found.append(f"ReLU masks: {unseen}; one that rounding turns may look like a step outside")
        elif self.first_flip is None:
            found.append("ReLU masks: none differs")
        else:
            found.append(f"first ReLU mask that differs: {self.first_flip}")
            found.append(f"ReLU masks that differ: {self.flips}; ties that rounding alone decided: {self.ties}")
        return [*found, self._verdict]

    @property
    def progress(self) -> str:
        """Where it is now, in a line."""
        now = [row for row in self.rows if row.step == self.steps]
        apart, aligned = max(now, key=lambda row: row.relative), max(now, key=lambda row: row.ratio)
        return (
            f"step {self.steps}: weights at most {apart.relative:.1e} apart ({apart.parameter}); with masks aligned "
            f"{aligned.aligned:.1e} of {aligned.envelope:.1e} ({aligned.parameter})"
        )

    @property
    def _verdict(self) -> str:
        first, worst = self.first_outside, self.worst
        masks = ", once NumPy takes PyTorch's side in the ties" if self.ties else ""
        if first is None:
            return (
                f"INSIDE the envelope of rounding at every step{masks}: nearest to it {worst.parameter} at step "
                f"{worst.step}, {worst.aligned:.1e} of {worst.envelope:.1e} (at its largest element "
                f"{worst.aligned_max_abs:.1e} of {worst.allowed:.1e})"
            )
        before = max((row.step for row in self.rows if row.step < first.step), default=0)
        since = f" (inside at step {before})" if self.every > 1 else ""
        others = [row.parameter for row in self.outside[1:]]
        also = f"; also {', '.join(others)}" if others else ""
        return (
            f"OUTSIDE the envelope of rounding at step {first.step}{since}: {first.parameter}, {first.aligned:.1e} of "
            f"{first.envelope:.1e} (at its largest element {first.aligned_max_abs:.1e} of {first.allowed:.1e}){also}"
        )

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Differences and envelopes on a logarithmic axis, a panel each parameter; the format by the ending."""
        scratch.plots.save(lockstep_figure(self), path)

    def write(self, path: str | os.PathLike[str]) -> None:
        """A CSV file, a line each row."""
        beside = Path(f"{os.fspath(path)}.new")
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*Row._fields, "inside"])
            writer.writerows([*map(_plain, row), int(row.inside)] for row in self.rows)
        beside.replace(path)

    def __str__(self) -> str:
        return "\n".join(self.summary)


def train_in_lockstep(
    net: Sequential,
    model: nn.Module,
    data: Data,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    learner: ScratchLearner | None = None,
    epochs: int = 1,
    steps: int | None = None,
    every: int = 1,
    twins: int = TWINS,
    batch_size: int = 128,
    rng: RandomSource | int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    threshold: float = 0.5,
    device: str = "cpu",
    title: str = "",
    on_epoch: Callable[[Lockstep], object] | None = None,
    on_batch: Callable[[Batch], object] | None = None,
) -> Lockstep:
    """Train `net` in NumPy and `model` in PyTorch batch by batch, and compare every parameter every `every` updates.

    Options as in `train_both`; `steps`, where given, is the number of updates instead of `epochs`. `twins` NumPy runs
    one ulp away give the envelope. ReLUs are those of `net` and the nn.ReLU modules of `model`, in the order
    in which they run.
    The last step is always compared. ValueError naming the first weight whose bits differ between net and model, or
    a count below 1; else errors as for scratch.training.train, which say whose number is not finite.
    """
    for name, count in {"epochs": epochs, "every": every, "twins": twins}.items():
        expect_count(name, count)
    if steps is not None:
        expect_count("steps", steps)
    verify_same_bits(net, model)
    loss = loss if loss is not None else CrossEntropyLoss()
    optimizer = optimizer if optimizer is not None else AdamW(net, lr=1e-3)
    rng = np.random.default_rng(rng) if isinstance(rng, int) else rng
    ours = learner or Engine(net, loss, optimizer, threshold=threshold)
    torch_optimizer = to_torch_optimizer(optimizer, model)
    theirs = TorchLearner(model, to_torch_loss(loss), torch_optimizer, device=device, threshold=threshold)
    result = Lockstep(every, title, ours.dtype)
    result.learners = {"scratch": ours, "torch": theirs}
    copies = [_Twin(copy.deepcopy(ours), seed) for seed in range(twins)]
    with one_torch_thread(), _Together(ours, theirs, copies, result).watching() as together:

        def after(batch: Batch) -> None:
            if on_batch:
                on_batch(batch)
            if together.step == steps:
                raise _EnoughError

        options: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
        training = Training(together, data, rng=rng, on_batch=after, **options)
        result.history = training.history
        try:
            while steps is not None or training.epoch < epochs:
                training.run_epoch()
                if on_epoch and on_epoch(result) is True:
                    break
        except _EnoughError:
            pass
        together.compare()
    return result


class _EnoughError(Exception):
    """So many steps were asked for, and so many are done."""


class _Twin:
    """A NumPy run whose weights are moved one ulp at the start and after every step."""

    def __init__(self, learner: ScratchLearner, seed: int) -> None:
        self.learner, self.network, self.rng = learner, learner.network, np.random.default_rng(seed)
        self.move()

    def move(self) -> None:
        """Every weight to the next number above or below, by chance; zeros stay."""
        for p in self.network.params.values():
            towards = np.where(self.rng.random(p.shape) < 0.5, -np.inf, np.inf).astype(p.dtype)
            p[...] = np.where(p == 0, p, np.nextafter(p, towards))


class _Together:
    """A Learner for the training loop that takes every step in both backends, in the twins and in the aligned run.

    A spread, the largest distance of a twin from the aligned run so far, only grows: an envelope that shrank where
    twins happen to meet would accuse two correct runs that part a little later. It never is below one ulp.
    """

    def __init__(self, ours: ScratchLearner, theirs: TorchLearner, twins: list[_Twin], result: Lockstep):
        self.ours, self.theirs, self.twins, self.result = ours, theirs, twins, result
        self.aligned = copy.deepcopy(ours)
        self.step = 0
        self.spread = {name: np.zeros(2) for name in ours.network.params}  # of every parameter: norm and maximum
        self.input_spread: dict[int, float] = {}  # of the input of every ReLU: maximum
        self.decided: dict[int, Array] = {}  # what the aligned run takes for the input of every ReLU in this step
        self.stepping = False  # whether aligned run and twins take a step, with PyTorch's masks, or only look ahead

    @contextmanager
    def watching(self) -> Iterator[_Together]:
        """For the length of the block the inputs of all ReLUs are seen; the networks are as before after it."""
        with ExitStack() as undo:
            self.our_inputs = undo.enter_context(_relu_inputs(self.ours.network))
            self.their_inputs = undo.enter_context(_torch_relu_inputs(self.theirs.model))
            self.aligned_inputs = undo.enter_context(_relu_inputs(self.aligned.network, self._as_theirs))
            self.twin_inputs = [undo.enter_context(_relu_inputs(t.network, self._as_aligned)) for t in self.twins]
            self._measure_spread()
            self.compare()
            yield self

    # what the loop asks of a learner

    @property
    def loss(self) -> Any:
        return self.ours.loss

    @property
    def dtype(self) -> str:
        return self.ours.dtype

    @property
    def description(self) -> dict[str, str]:
        return self.ours.description

    def place(self, x: Array, t: Array) -> Any:
        return self.ours.place(x, t), self.theirs.place(x, t)

    def train_step(self, data: Any, rows: Rows) -> tuple[float, int]:
        self.step += 1
        self.our_inputs.clear()
        self.their_inputs.clear()
        _step("PyTorch", self.theirs, data[1], rows)
        found = _step("NumPy", self.ours, data[0], rows)
        self._expect_same_relus()
        if self.result.flips is not None and self.our_inputs:
            self._measure_input_spread(data[0][0][rows])
            self._look_at_masks(rows)
            self.stepping = True
        _step("NumPy with PyTorch's masks", self.aligned, data[0], rows)
        for twin in self.twins:
            _step("NumPy, one ulp away", twin.learner, data[0], rows)
            twin.move()
        self.stepping = False
        self._clear_inputs()
        self._measure_spread()
        if self.step % self.result.every == 0:
            self.compare()
        return found

    def evaluate(self, data: Any) -> tuple[float, float]:
        found = self.ours.evaluate(data[0])
        self.our_inputs.clear()
        return found

    def weights(self) -> dict[str, Array]:
        return self.ours.weights()

    def state_dict(self) -> dict[str, Array]:
        return self.ours.state_dict()

    def load_state_dict(self, state: dict[str, Array]) -> None:
        raise ValueError("got a checkpoint to resume in lockstep, expected a new run: the twins keep none")

    # parameters

    def compare(self) -> None:
        """Rows for this step, once."""
        if self.result.rows and self.result.steps == self.step:
            return
        ours, theirs = self.ours.network.params, self.theirs.weights()
        for name, p in self.aligned.network.params.items():
            norm, largest = _apart(p, np.zeros_like(p))
            one_ulp = np.finfo(p.dtype).eps * np.array([norm, largest])
            bound, allowed = (MULTIPLE * np.maximum(self.spread[name], one_ulp)).tolist()
            apart, max_abs = _apart(ours[name], theirs[name])
            still, still_max_abs = _apart(p, theirs[name])
            relative = _over(apart, float(np.linalg.norm(ours[name].astype(np.float64))))
            numbers = (relative, max_abs, _over(still, norm), _over(bound, norm), still_max_abs, allowed)
            self.result.rows.append(Row(self.step, name, *numbers))

    def _measure_spread(self) -> None:
        """Of the parameters, from the twins at this step."""
        for name, p in self.aligned.network.params.items():
            for twin in self.twins:
                self.spread[name] = np.fmax(self.spread[name], _apart(p, twin.network.params[name]))

    # masks

    def _expect_same_relus(self) -> None:
        """Else masks are not compared, and every run keeps its own."""
        shapes = [[z.shape for z in seen] for seen in (self.our_inputs, self.their_inputs)]
        if shapes[0] != shapes[1] or len(shapes[0]) != len(list(_relus(self.ours.network))):
            self.result.flips = self.result.first_flip = None

    def _measure_input_spread(self, x: Array) -> None:
        """Of the inputs of the ReLUs, by looking ahead: a forward pass of the aligned run and its twins."""
        self._clear_inputs()
        for learner in (self.aligned, *(twin.learner for twin in self.twins)):
            learner.network.forward(x)
        for i, z in enumerate(self.aligned_inputs):
            apart = [float(np.abs(seen[i] - z).max()) for seen in self.twin_inputs]
            one_ulp = float(np.finfo(z.dtype).eps * np.abs(z).max())
            self.input_spread[i] = max(self.input_spread.get(i, 0.0), one_ulp, *apart)
        self._clear_inputs()

    def _clear_inputs(self) -> None:
        self.decided.clear()
        for seen in (self.aligned_inputs, *self.twin_inputs):
            seen.clear()

    def _look_at_masks(self, rows: Rows) -> None:
        names = [name for name, _ in _relus(self.ours.network)]
        for i, (ours, theirs) in enumerate(zip(self.our_inputs, self.their_inputs, strict=True)):
            differ = np.argwhere((ours > 0) != (theirs > 0))
            self.result.flips = (self.result.flips or 0) + len(differ)
            if len(differ) and self.result.first_flip is None:
                row, unit = map(int, differ[0])
                values = float(ours[row, unit]), float(theirs[row, unit])
                allowed = MULTIPLE * self.input_spread[i]
                self.result.first_flip = MaskFlip(self.step, names[i], row, int(rows[row]), unit, *values, allowed)

    def _as_theirs(self, i: int, z: Array) -> Array:
        """The aligned run's input of the i-th ReLU, with PyTorch's value where the masks differ by rounding alone."""
        if not self.stepping:
            return z
        theirs = self.their_inputs[i]
        ties = ((z > 0) != (theirs > 0)) & (np.abs(z - theirs) <= MULTIPLE * self.input_spread[i])
        self.result.ties += int(ties.sum())
        self.decided[i] = np.where(ties, theirs, z)
        return self.decided[i]

    def _as_aligned(self, i: int, z: Array) -> Array:
        """A twin's input of the i-th ReLU, with the aligned run's value where the masks differ."""
        if not self.stepping:
            return z
        return np.where((z > 0) != (self.decided[i] > 0), self.decided[i], z)


def _step(who: str, learner: Learner, data: Any, rows: Rows) -> tuple[float, int]:
    try:
        loss, correct = learner.train_step(data, rows)
    except FloatingPointError as error:
        raise FloatingPointError(f"{who}: {error}") from None
    if not math.isfinite(loss):
        raise FloatingPointError(f"{who}: the loss is {loss}")
    return loss, correct


def _relus(network: Sequential, prefix: str = "") -> Iterator[tuple[str, ReLU]]:
    """Its ReLU layers in order, named as its parameters are."""
    for i, layer in enumerate(network):
        if isinstance(layer, Sequential):
            yield from _relus(layer, f"{prefix}{i}.")
        elif isinstance(layer, ReLU):
            yield f"{prefix}{i}", layer


@contextmanager
def _relu_inputs(network: Sequential, change: Callable[[int, Array], Array] | None = None) -> Iterator[list[Array]]:
    """The inputs of its ReLUs since the list was last cleared; change(i, z) gives what the i-th shall take instead."""
    seen: list[Array] = []
    layers = [layer for _, layer in _relus(network)]

    def watched(layer: Layer) -> Callable[[Array], Array]:
        forward = layer.forward

        def watch(x: Array) -> Array:
            z = change(len(seen), x) if change else x
            seen.append(z.copy())
            return forward(z)

        return watch

    for layer in layers:
        vars(layer)["forward"] = watched(layer)
    try:
        yield seen
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


@contextmanager
def _torch_relu_inputs(model: nn.Module) -> Iterator[list[Array]]:
    """The same of a model's nn.ReLU modules."""
    seen: list[Array] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].detach().cpu().numpy().copy())

    hooks = [module.register_forward_pre_hook(look) for module in model.modules() if isinstance(module, nn.ReLU)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _apart(a: Array, b: Array) -> tuple[float, float]:
    """||a - b|| and max |a - b|, in float64."""
    difference = a.astype(np.float64) - b
    return float(np.linalg.norm(difference)), float(np.abs(difference).max())


def _over(difference: float, bound: float) -> float:
    """difference / bound; 0 / 0 is 0, and what is not finite infinitely far."""
    if difference == 0:
        return 0.0
    return difference / bound if bound and math.isfinite(difference / bound) else math.inf


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value
