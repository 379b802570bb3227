"""Train both backends on the same batches, and find the step at which they differ by more than rounding can explain.

How far rounding can take them apart is measured. Twins are more NumPy runs on the same batches. In a twin every weight
is moved by one ulp in a random direction, at the start and after every step, because every step rounds again. The twins
show how far differences in the last bit can grow. Of a batch normalisation they sum the statistics as PyTorch does, one
element after another (in_turn.py).

ReLU needs more than that. Its input can be so near zero that rounding decides its mask. Then a whole row of a gradient
changes at once, and two correct float32 runs never meet again. So does a max pooling where the two largest elements of
a window are nearly equal. So there is one more NumPy run, the aligned run. It starts from the same bits, and takes
PyTorch's mask or maximum wherever rounding decides. In everything else it is NumPy's own. The twins are twins of the
aligned run, with its decisions. A correct PyTorch run stays as near to the aligned run as they do.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from torch import nn

import scratch.plots
from compare.network.masks import draws_undone, same_masks
from compare.network.tensor_name import of_torch
from compare.numbers.array import Array
from compare.training.decisions import MODULES, deciding
from compare.training.divergence import Distance, Divergence, MaskFlip, over
from compare.training.in_turn import summed_in_turn
from compare.training.lockstep_figure import lockstep_figure
from compare.training.runs import both_sides, one_torch_thread
from scratch import Layer, Loss, Optimizer, Sequential
from scratch.initializers import RandomSource
from scratch.learner import Learner, Rows, ScratchLearner
from scratch.training import BatchProgress, Data, Training
from scratch.training_options import EpochOptions, expect_count, takes
from torch_ref.learner import TorchLearner

# The envelope is MULTIPLE times the largest distance of a twin. Where training is unstable, an error grows along a few
# directions only, and how much of it points there is chance: about a normal number N, for PyTorch as for each twin. The
# chance that one exceeds 20 times the largest of 5 others is (0.8 / 20)^5 E|N|^5 = 7e-7; 2e-5 if it is twice as wide.
# Measured with four twins on 300 correct runs (digits, iris, spiral, xor; 38 seeds; float32 and float64; 100 to 500
# steps): at most 5.0 times the largest twin, 1.1 in the middle. A rate off by 1e-6 in float64 is at 6e6 envelopes.
TWINS = 5
MULTIPLE = 20.0


class Lockstep(Divergence):
    """What a run in lockstep showed, and its figure."""

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Differences and envelopes on a logarithmic axis, a panel each parameter; the format by the ending."""
        scratch.plots.save(lockstep_figure(self), path)


@takes(EpochOptions)
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
    rng: RandomSource | int = 0,
    threshold: float = 0.5,
    device: str = "cpu",
    title: str = "",
    on_epoch: Callable[[Lockstep], object] | None = None,
    on_batch: Callable[[BatchProgress], object] | None = None,
    **options: Any,
) -> Lockstep:
    """Train `net` in NumPy and `model` in PyTorch batch by batch, and compare every parameter every `every` updates.

    Options as in `train_both`. If `steps` is given, it is the number of updates, instead of `epochs`. `twins` NumPy
    runs one ulp away give the envelope. The ReLUs and max poolings of `net` are matched with the nn.ReLU and
    nn.MaxPool2d modules of `model`, in the order in which they run.
    The last step is always compared. ValueError naming the first weight whose bits differ between net and model, or
    a count below 1; else errors as for scratch.training.train, which say whose number is not finite.
    """
    for name, count in {"epochs": epochs, "every": every, "twins": twins}.items():
        expect_count(name, count)
    if steps is not None:
        expect_count("steps", steps)
    chosen = EpochOptions(**options)
    ours, theirs = both_sides(net, model, loss, optimizer, learner, device=device, threshold=threshold)
    rng = np.random.default_rng(rng) if isinstance(rng, int) else rng
    result = Lockstep(every, title, ours.dtype)
    result.learners = {"scratch": ours, "torch": theirs}
    copies = [_Twin(copy.deepcopy(ours), seed) for seed in range(twins)]
    together = _Together(ours, theirs, copies, result)
    with one_torch_thread(), same_masks(ours.network, model), together.watching():

        def after(batch: BatchProgress) -> None:
            if on_batch:
                on_batch(batch)
            if together.step == steps:
                raise _EnoughError

        training = Training(together, data, chosen, rng=rng, on_batch=after)
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
        layers = list(deciding(ours.network))
        self.names, self.decisions = [name for name, _, _ in layers], [each for _, _, each in layers]
        if self.decisions:
            result.decisions = " and ".join(dict.fromkeys(each.several for each in self.decisions))
        self.input_spread: dict[int, float] = {}  # of the input of every layer that decides: maximum
        self.decided: dict[int, Array] = {}  # what the aligned run takes for each of these inputs in this step
        self.stepping = False  # whether aligned run and twins take a step, with PyTorch's choices, or only look ahead

    @contextmanager
    def watching(self) -> Iterator[_Together]:
        """For the length of the block all inputs that decide are seen; the networks are as before after it."""
        with ExitStack() as undo:
            self.our_inputs = undo.enter_context(_inputs(self.ours.network))
            self.their_inputs = undo.enter_context(_torch_inputs(self.theirs.model))
            self.aligned_inputs = undo.enter_context(_inputs(self.aligned.network, self._as_theirs))
            for twin in self.twins:
                undo.enter_context(summed_in_turn(twin.network))
            self.twin_inputs = [undo.enter_context(_inputs(t.network, self._as_aligned)) for t in self.twins]
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
        self._expect_same_layers()
        if self.result.flips is not None and self.our_inputs:
            self._measure_input_spread(data[0][0][rows])
            self._look_at_decisions(rows)
            self.stepping = True
        _step("NumPy with PyTorch's choices", self.aligned, data[0], rows)
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
        ours, theirs = self.ours.network.params, {of_torch(n): a for n, a in self.theirs.weights().items()}
        for name, p in self.aligned.network.params.items():
            norm, largest = _apart(p, np.zeros_like(p))
            one_ulp = np.finfo(p.dtype).eps * np.array([norm, largest])
            bound, allowed = (MULTIPLE * np.maximum(self.spread[name], one_ulp)).tolist()
            apart, max_abs = _apart(ours[name], theirs[name])
            still, still_max_abs = _apart(p, theirs[name])
            relative = over(apart, float(np.linalg.norm(ours[name].astype(np.float64))))
            numbers = (relative, max_abs, over(still, norm), over(bound, norm), still_max_abs, allowed)
            self.result.rows.append(Distance(self.step, name, *numbers))

    def _measure_spread(self) -> None:
        """Of the parameters, from the twins at this step."""
        for name, p in self.aligned.network.params.items():
            for twin in self.twins:
                self.spread[name] = np.fmax(self.spread[name], _apart(p, twin.network.params[name]))

    # decisions

    def _expect_same_layers(self) -> None:
        """Else decisions are not compared, and every run keeps its own."""
        shapes = [[z.shape for z in seen] for seen in (self.our_inputs, self.their_inputs)]
        if shapes[0] != shapes[1] or len(shapes[0]) != len(self.decisions):
            self.result.flips = self.result.first_flip = None

    def _measure_input_spread(self, x: Array) -> None:
        """Of the inputs that decide, by looking ahead: a forward pass of the aligned run and its twins."""
        self._clear_inputs()
        for learner in (self.aligned, *(twin.learner for twin in self.twins)):
            with draws_undone(learner.network):
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

    def _look_at_decisions(self, rows: Rows) -> None:
        for i, (ours, theirs) in enumerate(zip(self.our_inputs, self.their_inputs, strict=True)):
            ways = self.decisions[i].taken(ours), self.decisions[i].taken(theirs)
            differ = np.argwhere(ways[0] != ways[1])
            self.result.flips = (self.result.flips or 0) + len(differ)
            if len(differ) and self.result.first_flip is None:
                self.result.first_flip = self._flip(i, tuple(map(int, differ[0])), rows)

    def _flip(self, i: int, at: tuple[int, ...], rows: Rows) -> MaskFlip:
        """What the i-th of the layers decides there."""
        how, seen = self.decisions[i], (self.our_inputs[i], self.their_inputs[i])
        ways = [how.taken(z) for z in seen]
        ours, theirs = (float(how.signed(z, ways[0], ways[1])[at]) for z in seen)
        row, unit = at[0], at[1] if len(at) == 2 else at[1:]
        return MaskFlip(
            self.step, self.names[i], row, int(rows[row]), unit, ours, theirs, self._allowed(i), what=how.what
        )

    def _allowed(self, i: int) -> float:
        """How far rounding can move the number that decides."""
        return MULTIPLE * self.decisions[i].elements * self.input_spread[i]

    def _as_theirs(self, i: int, z: Array) -> Array:
        """The aligned run's i-th input, with PyTorch's value where the decisions differ by rounding alone."""
        if not self.stepping:
            return z
        how, theirs = self.decisions[i], self.their_inputs[i]
        ties = (how.taken(z) != how.taken(theirs)) & (how.apart(z, theirs) <= self._allowed(i))
        self.result.ties += int(ties.sum())
        self.decided[i] = how.given(z, theirs, ties)
        return self.decided[i]

    def _as_aligned(self, i: int, z: Array) -> Array:
        """A twin's i-th input, with the aligned run's value where the decisions differ."""
        if not self.stepping:
            return z
        how = self.decisions[i]
        return how.given(z, self.decided[i], how.taken(z) != how.taken(self.decided[i]))


def _step(who: str, learner: Learner, data: Any, rows: Rows) -> tuple[float, int]:
    try:
        loss, correct = learner.train_step(data, rows)
    except FloatingPointError as error:
        raise FloatingPointError(f"{who}: {error}") from None
    if not math.isfinite(loss):
        raise FloatingPointError(f"{who}: the loss is {loss}")
    return loss, correct


@contextmanager
def _inputs(network: Sequential, change: Callable[[int, Array], Array] | None = None) -> Iterator[list[Array]]:
    """Its inputs that decide, since the list was last cleared; change(i, z) gives what the i-th layer takes instead."""
    seen: list[Array] = []
    layers = [layer for _, layer, _ in deciding(network)]

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
def _torch_inputs(model: nn.Module) -> Iterator[list[Array]]:
    """The same of a model's modules."""
    seen: list[Array] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].detach().cpu().numpy().copy())

    hooks = [module.register_forward_pre_hook(look) for module in model.modules() if isinstance(module, MODULES)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _apart(a: Array, b: Array) -> tuple[float, float]:
    """||a - b|| and max |a - b|, in float64."""
    difference = a.astype(np.float64) - b
    return float(np.linalg.norm(difference)), float(np.abs(difference).max())
