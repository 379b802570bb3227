"""The same network trained by both backends, in turns, on the same batches; and how far apart they end each epoch."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import scratch.plots
from compare.network.masks import same_masks
from compare.network.tensor_name import of_torch
from compare.network.weights import dtype_of, to_torch_loss, to_torch_optimizer, verify_same_bits
from compare.numbers.array import Array
from compare.training import side_by_side as plots
from compare.training.divergence import over
from scratch import AdamW, CrossEntropyLoss, Loss, Optimizer, Sequential
from scratch.atomic_file import write_atomically
from scratch.checkpoint import Checkpoint, CheckpointError, CheckpointWarning
from scratch.engine import Engine
from scratch.history import History
from scratch.initializers import RandomSource
from scratch.learner import Learner, ScratchLearner
from scratch.training import BatchProgress, Data, SavedTraining, Training
from scratch.training_options import TrainingOptions, takes
from torch_ref.learner import TorchLearner


class WeightDifference(NamedTuple):
    """||a - b|| / ||b|| after an epoch (a: scratch, b: torch): over all weights, and the largest of one parameter."""

    epoch: int
    overall: float
    largest: float
    parameter: str


class Runs:
    """Two runs side by side: `.scratch` and `.torch` histories, `.weight_differences` one an epoch, `.learners`."""

    def __init__(self, scratch: History, torch: History, title: str = "") -> None:
        self.scratch, self.torch, self.title = scratch, torch, title
        self.weight_differences: list[WeightDifference] = []
        self.learners: dict[str, Learner] = {}

    @property
    def histories(self) -> dict[str, History]:
        return {"scratch": self.scratch, "torch": self.torch}

    @property
    def accuracy_gap(self) -> float:
        """The largest |difference| of the two validation accuracies at any epoch."""
        pairs = zip(self.scratch.column("val_accuracy"), self.torch.column("val_accuracy"), strict=False)
        return max((abs(a - b) for a, b in pairs), default=0.0)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Both runs' curves and their differences as a figure; its format by the ending of `path`."""
        overall = {each.epoch: each.overall for each in self.weight_differences}
        figure = plots.side_by_side(self.scratch, self.torch, overall, self.title)
        scratch.plots.save(figure, path)

    def write_differences(self, path: str | os.PathLike[str]) -> None:
        """A CSV file: |scratch - torch| of both validation figures, and the relative differences of the weights."""
        lines = ["epoch,val_loss,val_accuracy,weights,largest_of_one_parameter,parameter"]
        for ours, theirs, weights in zip(self.scratch, self.torch, self.weight_differences, strict=False):
            apart = (abs(ours.val_loss - theirs.val_loss), abs(ours.val_accuracy - theirs.val_accuracy))
            numbers = ",".join(repr(float(n)) for n in (*apart, weights.overall, weights.largest))
            lines.append(f"{weights.epoch},{numbers},{weights.parameter}")
        write_atomically(path, "\n".join(lines).encode() + b"\n")

    def __repr__(self) -> str:
        last = f", {self.weight_differences[-1]}" if self.weight_differences else ""
        return f"<Runs of {len(self.scratch)} and {len(self.torch)} epochs{last}>"


@takes(TrainingOptions)
def train_both(
    net: Sequential,
    model: nn.Module,
    data: Data,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    learner: ScratchLearner | None = None,
    epochs: int = 20,
    rng: RandomSource | int = 0,
    threshold: float = 0.5,
    device: str = "cpu",
    title: str | None = None,
    on_epoch: Callable[[Runs], object] | None = None,
    on_batch: Callable[[str, BatchProgress], object] | None = None,
    **options: Any,
) -> Runs:
    """Train `net` in NumPy and `model` in PyTorch, epoch by epoch in turns, on the same batches in the same order.

    loss and optimizer are scratch's (default: CrossEntropyLoss(), AdamW(net, lr=1e-3)), and the torch ones made from
    them; learner, where given, trains net with these two in its own way. rng is the stream of the orders, or its
    seed, and the torch run uses a copy of it. One thread each.
    `on_epoch(runs)` is called when both have finished an epoch, and ends the training by returning True, as
    `stop(scratch's history)` does; `on_batch(backend, batch)` after every update. Checkpoints go to
    checkpoint_dir/scratch and checkpoint_dir/torch.
    ValueError naming the first weight whose bits differ between net and model; else errors as for
    scratch.training.train.
    """
    chosen = TrainingOptions(epochs=epochs, **options)
    ours, theirs = both_sides(net, model, loss, optimizer, learner, device=device, threshold=threshold)
    learners: dict[str, Learner] = {"scratch": ours, "torch": theirs}
    rng = np.random.default_rng(rng) if isinstance(rng, int) else rng
    streams = {"scratch": rng, "torch": copy.deepcopy(rng)}
    with one_torch_thread(), same_masks(ours.network, model):
        trainings = {
            name: Training(
                learner, data, chosen, rng=streams[name], on_batch=partial(on_batch, name) if on_batch else None
            )
            for name, learner in learners.items()
        }
        runs = Runs(trainings["scratch"].history, trainings["torch"].history, _title(title, data))
        runs.learners = learners
        turns = _Turns(trainings, runs, chosen)
        if chosen.resume:
            turns.resume()
        else:
            turns.start()
        turns.run(on_epoch)
    return runs


def both_sides(
    net: Sequential,
    model: nn.Module,
    loss: Loss | None,
    optimizer: Optimizer | None,
    learner: ScratchLearner | None,
    *,
    device: str,
    threshold: float,
) -> tuple[ScratchLearner, TorchLearner]:
    """The learners of train_both. ValueError naming the first weight whose bits differ between net and model."""
    verify_same_bits(net, model)
    loss = loss if loss is not None else CrossEntropyLoss()
    optimizer = optimizer if optimizer is not None else AdamW(net, lr=1e-3)
    made = to_torch_optimizer(optimizer, model)
    ours = learner or Engine(net, loss, optimizer, threshold=threshold)
    return ours, TorchLearner(model, to_torch_loss(loss, dtype_of(model)), made, device=device, threshold=threshold)


class _Turns:
    """Two trainings that take turns, and their checkpoints.

    The difference after an epoch is computed before either training goes beyond it, and is in every checkpoint saved
    from then on. So the two may be resumed from any two checkpoints, however far apart.
    """

    def __init__(self, trainings: dict[str, Training], runs: Runs, options: TrainingOptions) -> None:
        self.runs, self.options = runs, options
        self.saved = {
            name: SavedTraining(training, self._options_of(name), self._extra) for name, training in trainings.items()
        }

    def _options_of(self, name: str) -> TrainingOptions:
        """With a folder of its own for checkpoints."""
        folder = self.options.checkpoint_dir
        return replace(self.options, checkpoint_dir=Path(folder) / name if folder else None)

    def _extra(self) -> dict[str, Any]:
        return {"weight_differences": [list(each) for each in self.runs.weight_differences]}

    def start(self) -> None:
        for each in self.saved.values():
            if each.folder:
                each.folder.expect_empty()
        for each in self.saved.values():
            each.start()

    def run(self, on_epoch: Callable[[Runs], object] | None) -> None:
        stop = self.options.stop
        while (epoch := len(self.runs.weight_differences) + 1) <= self.options.epochs:
            if stop and epoch > 1 and stop(self.runs.scratch):
                return
            for each in self.saved.values():
                while each.training.epoch < epoch:
                    each.run_epoch()
            ours, theirs = (each.training.learner.weights() for each in self.saved.values())
            theirs = {of_torch(name): a for name, a in theirs.items()}
            self.runs.weight_differences.append(weight_difference(epoch, ours, theirs))
            if on_epoch and on_epoch(self.runs) is True:
                return

    def resume(self) -> None:
        """Each from its newest checkpoint that is whole; the one that is behind catches up."""
        if not any(each.folder and each.folder.found for each in self.saved.values()):
            raise CheckpointError("found no checkpoint of either backend, expected one to resume")
        found = {name: self._resume_one(name, each) for name, each in self.saved.items()}
        trainings = {name: each.training for name, each in self.saved.items()}
        self.runs.scratch, self.runs.torch = (training.history for training in trainings.values())
        longest = max((_differences(checkpoint) for checkpoint in found.values() if checkpoint), key=len)
        for name, training in trainings.items():
            if training.steps > (len(longest) + 1) * training.batches:
                raise CheckpointError(
                    f"{name}'s checkpoint: at epoch {training.epoch}, with the differences of {len(longest)} epochs"
                )
        self.runs.weight_differences = longest

    def _resume_one(self, name: str, saved: SavedTraining) -> Checkpoint | None:
        """Its checkpoint; None if it never had one, because the run was killed before, and it begins at the start."""
        if saved.folder and not saved.folder.found:
            warnings.warn(f"{saved.folder.folder}: no checkpoint; {name} starts anew", CheckpointWarning, stacklevel=4)
            return None
        return saved.resume()


def _differences(checkpoint: Checkpoint) -> list[WeightDifference]:
    try:
        found = [WeightDifference(*each) for each in checkpoint.extra["weight_differences"]]
        for number, each in enumerate(found, 1):
            if each.epoch != number or not isinstance(each.parameter, str):
                raise ValueError(f"{each}")
            float(each.overall), float(each.largest)
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f"a checkpoint without the differences of the weights ({str(error)[:200]})") from None
    return found


def weight_difference(epoch: int, ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> WeightDifference:
    """Norms in float64; a difference from weights that are all 0 is infinite. KeyError if the names differ."""
    squares = {}
    for name, a in ours.items():
        a64, b64 = a.astype(np.float64), theirs[name].astype(np.float64)
        squares[name] = (float(np.square(a64 - b64).sum()), float(np.square(b64).sum()))
    ratios = {name: math.sqrt(over(*each)) for name, each in squares.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    overall = math.sqrt(over(*(sum(each) for each in zip(*squares.values(), strict=True))))
    return WeightDifference(epoch, overall, ratios[worst], worst)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """PyTorch on one thread, as NumPy is when the scripts start it: else the two would fight over the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _title(title: str | None, data: Data) -> str:
    if title is None and hasattr(data, "source"):
        return scratch.plots.heading(data.name, data.source)  # type: ignore[attr-defined]
    return title or ""
