"""The one training loop, which drives either backend: batches, sums over them, validation, checkpoints.

Two learners given equal rngs see the same batches in the same order; nothing else is random here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scratch.checkpoint import Checkpoint, CheckpointError, CheckpointFolder
from scratch.fingerprint import Fingerprint, fingerprint
from scratch.history import History, Row
from scratch.initializers import RandomSource
from scratch.learner import Learner
from scratch.losses import Loss
from scratch.network import Sequential
from scratch.optim import Optimizer
from scratch.parallel_engine import engine
from scratch.printable import printable
from scratch.random_state import random_state, set_random_state

__all__ = [
    *("Batch", "Data", "History", "Interrupted", "Learner", "Row", "SavedTraining", "Training"),
    *("TrainingError", "fit", "train"),
]


Watch = Callable[[dict[str, NDArray[Any]]], dict[str, float]]


class TrainingError(ArithmeticError):
    """A number that is not finite, in the data or in training: epoch, batch and layer."""


class Interrupted(Exception):
    """Raised by on_batch or on_epoch to end training between two steps; where there are checkpoints, one is saved."""


class Data(Protocol):
    """What the loop needs of a data set: samples are rows; a scratch.datasets.Dataset has them."""

    @property
    def x_train(self) -> NDArray[Any]: ...
    @property
    def t_train(self) -> NDArray[Any]: ...
    @property
    def x_val(self) -> NDArray[Any]: ...
    @property
    def t_val(self) -> NDArray[Any]: ...


class Batch(NamedTuple):
    """Where training is after a batch: its number of the epoch's `batches`; loss and accuracy of the epoch so far."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float


@dataclass
class Position:
    """How far the running epoch is: its finished batches, and the sums over their rows."""

    batch: int = 0
    rows: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0


class Training:
    """A learner, its data and its random stream, from one epoch to the next. Errors as `train` raises them."""

    def __init__(
        self,
        learner: Learner,
        data: Data,
        *,
        rng: RandomSource,
        batch_size: int = 128,
        shuffle: bool = True,
        drop_last: bool = False,
        max_batches: int | None = None,
        evaluate_train: bool = False,
        watch: Watch | None = None,
        fingerprint_steps: int | None = None,
        on_batch: Callable[[Batch], object] | None = None,
    ) -> None:
        expect_count("batch_size", batch_size)
        if fingerprint_steps is not None:
            expect_count("fingerprint_steps", fingerprint_steps)
        self.learner, self.rng, self.on_batch = learner, rng, on_batch
        self.batch_size, self.shuffle, self.drop_last = int(batch_size), shuffle, drop_last
        self.evaluate_train, self.watch, self.fingerprint_steps = evaluate_train, watch, fingerprint_steps
        self.max_batches = max_batches
        self.train_data = _placed(learner, "train", data.x_train, data.t_train)
        self.val_data = _placed(learner, "val", data.x_val, data.t_val)
        self.n = len(data.x_train)
        self.batches = self.n // batch_size if drop_last else -(-self.n // batch_size)
        if self.batches == 0:
            raise ValueError(f"drop_last leaves no batch: got batch_size={batch_size} for {self.n} rows")
        if max_batches is not None:
            expect_count("max_batches", max_batches)
            self.batches = min(self.batches, max_batches)
        self.samples = {"train": list(data.x_train.shape), "val": list(data.x_val.shape)}
        self.history = History()
        self._watch()
        self.position = Position()
        self._take_fingerprint()
        self._rng_at_start = random_state(rng)

    @property
    def epoch(self) -> int:
        """The finished epochs."""
        return len(self.history)

    @property
    def steps(self) -> int:
        """The updates so far."""
        return self.epoch * self.batches + self.position.batch

    def run_epoch(self, after_step: Callable[[], object] | None = None) -> Row:
        """The rest of the running epoch, or all of the next, then validation; its row joins the history.

        `after_step()` is called between two steps, when `checkpoint` and `steps` are those of the last one.
        """
        if self.position.batch == 0:
            self._rng_at_start = random_state(self.rng)
        order = self._order()
        start = time.perf_counter() - self.position.seconds
        while self.position.batch < self.batches:
            self._step(order)
            self.position.seconds = time.perf_counter() - start
            if after_step and self.position.batch < self.batches:
                after_step()
        loss, accuracy = self._evaluate("train", self.train_data) if self.evaluate_train else self._so_far()
        val_loss, val_accuracy = self._evaluate("validation", self.val_data)
        seconds = time.perf_counter() - start
        self.history.append(Row(self.epoch + 1, loss, accuracy, val_loss, val_accuracy, seconds))
        self._watch()
        self.position = Position()
        self._take_fingerprint()
        self._rng_at_start = random_state(self.rng)
        return self.history[-1]

    def _order(self) -> NDArray[np.integer[Any]]:
        """The epoch's rows in order: one `rng.permutation(n)`, or 0 to n - 1 without a draw."""
        if not self.shuffle:
            return np.arange(self.n)
        set_random_state(self.rng, self._rng_at_start)
        return self.rng.permutation(self.n)

    def _step(self, order: NDArray[np.integer[Any]]) -> None:
        at = self.position
        rows = order[at.batch * self.batch_size : (at.batch + 1) * self.batch_size]
        try:
            loss, correct = self.learner.train_step(self.train_data, rows)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss}")
        except FloatingPointError as error:
            what = f"batch {at.batch + 1}" if self.batch_size > 1 else f"sample {at.batch + 1} (x_train[{rows[0]}])"
            raise TrainingError(f"epoch {self.epoch + 1}, {what}: {error}") from None
        at.batch += 1
        at.rows += len(rows)
        at.loss += loss * (len(rows) if self._is_mean else 1)
        at.correct += correct
        if self.fingerprint_steps and self.steps % self.fingerprint_steps == 0 and at.batch < self.batches:
            self._take_fingerprint()
        if self.on_batch:
            self.on_batch(Batch(self.epoch + 1, at.batch, self.batches, *self._so_far()))

    def _so_far(self) -> tuple[float, float]:
        """(loss, accuracy) of the epoch so far: sum of m_b loss_b / sum of m_b for a mean, sum of loss_b for a sum."""
        at = self.position
        return at.loss / at.rows if self._is_mean else at.loss, at.correct / at.rows

    def _evaluate(self, split: str, data: Any) -> tuple[float, float]:
        try:
            loss, accuracy = self.learner.evaluate(data)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss}")
        except FloatingPointError as error:
            raise TrainingError(f"epoch {self.epoch + 1}, {split}: {error}") from None
        return loss, accuracy

    def _watch(self) -> None:
        if self.watch:
            self.history.watched.append(self.watch(self.learner.weights()))

    def _take_fingerprint(self) -> None:
        found = fingerprint(self.learner.state_dict())
        self.history.fingerprints.append(Fingerprint(self.steps, self.epoch, found))

    @property
    def _is_mean(self) -> bool:
        return bool(self.learner.loss.reduction == "mean")

    @property
    def configuration(self) -> dict[str, Any]:
        """What a checkpoint of this training must agree with."""
        own: dict[str, Any] = {"batch_size": self.batch_size, "shuffle": self.shuffle, "drop_last": self.drop_last}
        own |= {"evaluate_train": self.evaluate_train, "max_batches": self.max_batches}
        stream = {"random_stream": self._rng_at_start["kind"]}
        return {**self.learner.description, "dtype": self.learner.dtype, **own, **stream, "samples": self.samples}

    def checkpoint(self, configuration: Mapping[str, Any] | None = None) -> Checkpoint:
        """All that is needed to go on from here, also from within an epoch."""
        training = {
            "epoch": self.epoch,
            "position": asdict(self.position),
            "rng_at_epoch_start": self._rng_at_start,
            "history": [list(row) for row in self.history],
            "watched": self.history.watched,
            "fingerprints": [list(each) for each in self.history.fingerprints],
        }
        return Checkpoint(self.learner.state_dict(), training, {**(configuration or {}), **self.configuration})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there. CheckpointError naming the entry if the state is not one of this network and optimiser."""
        try:
            history, position = self._saved_place(checkpoint.training)
            stream = checkpoint.training["rng_at_epoch_start"]
            self.learner.load_state_dict(checkpoint.tensors)
            set_random_state(self.rng, stream)
        except CheckpointError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = printable(" ".join(str(error).split())[:200])
            raise CheckpointError(f"a checkpoint that cannot be resumed ({type(error).__name__}: {reason})") from error
        self.history, self.position, self._rng_at_start = history, position, stream

    def _saved_place(self, saved: Mapping[str, Any]) -> tuple[History, Position]:
        """History and position as a checkpoint holds them; any of many errors if they are not what they should be."""
        history, position = History(Row(*row) for row in saved["history"]), Position(**saved["position"])
        history.watched = [{name: float(value) for name, value in each.items()} for each in saved["watched"]]
        history.fingerprints = [Fingerprint(*each) for each in saved["fingerprints"]]
        if [each.keys() for each in history.watched] != [each.keys() for each in self.history.watched[:1]] * (
            len(history) + 1
        ):
            raise ValueError("watched figures of other names, or not of every epoch")
        if len(history) != saved["epoch"] or not _is_place(position, self.batches, self.n):
            raise ValueError(f"epoch {saved['epoch']} with {len(history)} rows of history, and {position}")
        if not all(map(_is_fingerprint, history.fingerprints)):
            raise ValueError("fingerprints that are none")
        return history, position


def _is_place(at: Position, batches: int, n: int) -> bool:
    counts, sums = (at.batch, at.rows, at.correct), (at.loss, at.seconds)
    whole = all(type(each) is int for each in counts) and all(type(each) in (int, float) for each in sums)
    return whole and 0 <= at.batch <= batches and at.batch <= at.rows <= n and all(map(math.isfinite, sums))


def _is_fingerprint(found: Fingerprint) -> bool:
    return type(found.step) is int and type(found.epoch) is int and isinstance(found.digits, str)


class SavedTraining:
    """A training and its checkpoints: at the start, after every epoch, every `steps` updates, and where it is
    interrupted. Without a folder nothing is saved. `facts`: what a checkpoint must share; `extra()`: what it adds.
    """

    def __init__(
        self,
        training: Training,
        folder: str | Path | None,
        *,
        facts: Mapping[str, Any] | None = None,
        steps: int | None = None,
        extra: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        if steps is not None:
            expect_count("checkpoint_steps", steps)
        self.training, self.facts, self.steps, self.extra = training, facts or {}, steps, extra
        self.folder = CheckpointFolder(folder) if folder is not None else None

    def start(self) -> None:
        """CheckpointError if an earlier run's checkpoints are there."""
        if self.folder:
            self.folder.expect_empty()
            self.save()

    def resume(self, *, at_most: int) -> Checkpoint:
        """Go on from the newest checkpoint that is whole. CheckpointError if there is none, or it is another run's."""
        if self.folder is None:
            raise ValueError("resume=True needs a checkpoint_dir")
        found = self.folder.load({**self.facts, **self.training.configuration}, at_most=at_most)
        try:
            self.training.restore(found)
        except CheckpointError as error:
            raise CheckpointError(f"{self.folder.folder}: {error}") from error
        return found

    def run_epoch(self) -> Row:
        """As Training.run_epoch, saved."""
        try:
            row = self.training.run_epoch(self._after_step)
        except Interrupted:
            self.save()
            raise
        self.save()
        return row

    def save(self) -> None:
        if self.folder:
            checkpoint = self.training.checkpoint(self.facts)
            checkpoint.extra = self.extra()
            self.folder.save(checkpoint)

    def _after_step(self) -> None:
        if self.steps and self.training.steps % self.steps == 0:
            self.save()


def train(
    learner: Learner,
    data: Data,
    *,
    epochs: int,
    rng: RandomSource,
    batch_size: int = 128,
    shuffle: bool = True,
    drop_last: bool = False,
    max_batches: int | None = None,
    evaluate_train: bool = False,
    watch: Watch | None = None,
    fingerprint_steps: int | None = None,
    stop: Callable[[History], bool] | None = None,
    on_epoch: Callable[[History], object] | None = None,
    on_batch: Callable[[Batch], object] | None = None,
    checkpoint_dir: str | Path | None = None,
    checkpoint_steps: int | None = None,
    resume: bool = False,
    configuration: Mapping[str, Any] | None = None,
) -> History:
    """Train for `epochs` epochs in all, or until `stop(history)` or `on_epoch(history)` returns True; a row an epoch.

    An epoch's order is `rng.permutation(n)`, its batches (at most `max_batches`) consecutive slices of that. With
    `evaluate_train` the training figures are taken over the whole set after the epoch, as those of validation are;
    `watch(weights)`, numbers by name, is called before the first epoch and after each, for `history.watched`.
    `history.fingerprints` has a hash of the state at the start, after every epoch, and every `fingerprint_steps`.
    With `checkpoint_dir`, the state is saved there at the start, after every epoch and every `checkpoint_steps`; with
    `resume`, training goes on from there, also from within an epoch, and ends in the same bits as without the
    interruption. `configuration`: facts (JSON) that a checkpoint must share.

    TrainingError where data, loss, a gradient or a weight is not finite, which names epoch, batch and layer: nothing
    is clipped, clamped or skipped, and the weights are those before that batch. A rate of 0 trains nothing. ValueError
    in one line for arguments that allow no training; CheckpointError for a checkpoint that is damaged or of another
    run; Interrupted, when a callback raised it, with the state saved.
    """
    expect_count("epochs", epochs)
    training = Training(
        learner,
        data,
        rng=rng,
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        max_batches=max_batches,
        evaluate_train=evaluate_train,
        watch=watch,
        fingerprint_steps=fingerprint_steps,
        on_batch=on_batch,
    )
    saved = SavedTraining(training, checkpoint_dir, facts=configuration, steps=checkpoint_steps)
    if resume:
        saved.resume(at_most=epochs)
    else:
        saved.start()
    while training.epoch < epochs and not (stop and training.epoch and stop(training.history)):
        saved.run_epoch()
        if on_epoch and on_epoch(training.history) is True:
            break
    return training.history


def fit(
    network: Sequential,
    loss: Loss,
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int,
    rng: RandomSource,
    batch_size: int = 128,
    threshold: float = 0.5,
    processes: int = 1,
    **options: Any,
) -> History:
    """Train a scratch network: `train` with a learner that `processes` processes share; options, errors as there.

    With several of them, results are equal within rounding, the data may not change meanwhile, and CrewLost is raised
    where one of them has ended.
    """
    learner = engine(network, loss, optimizer, threshold=threshold, processes=processes)
    try:
        return train(learner, data, epochs=epochs, rng=rng, batch_size=batch_size, **options)
    finally:
        learner.release()


def expect_count(name: str, value: int) -> None:
    """ValueError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"got {name}={value!r}, expected a whole number of at least 1")


def _placed(learner: Learner, split: str, x: NDArray[Any], t: NDArray[Any]) -> Any:
    if x.dtype != learner.dtype:
        raise ValueError(f"x_{split} is {x.dtype}, expected {learner.dtype}, the learner's dtype")
    if t.dtype.kind == "f" and t.dtype != learner.dtype:
        raise ValueError(f"t_{split} is {t.dtype}, expected integers or {learner.dtype}, the learner's dtype")
    if len(x) != len(t) or len(x) == 0:
        raise ValueError(f"x_{split} has {len(x)} rows and t_{split} {len(t)}, expected as many, at least one")
    for name, a in ((f"x_{split}", x), (f"t_{split}", t)):
        if not (np.isfinite(a.min()) and np.isfinite(a.max())):
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(a))[0])
            raise TrainingError(f"{name}{list(index)} is {a[index]}, expected a finite number")
    return learner.place(x, t)
