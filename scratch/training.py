"""The one training loop, which drives either backend: batches, sums over them, validation, checkpoints.

Two learners given equal rngs see the same batches in the same order; nothing else is random here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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
from scratch.training_options import EpochOptions, TrainingOptions, takes

__all__ = [
    *("BatchProgress", "Data", "History", "Interrupted", "Learner", "Row", "SavedTraining", "Training"),
    *("TrainingError", "fit", "train"),
]


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


class BatchProgress(NamedTuple):
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
        options: EpochOptions,
        *,
        rng: RandomSource,
        on_batch: Callable[[BatchProgress], object] | None = None,
    ) -> None:
        self.learner, self.options, self.rng, self.on_batch = learner, options, rng, on_batch
        self.batch_size = int(options.batch_size)
        self.train_data = _placed(learner, "train", data.x_train, data.t_train)
        self.val_data = _placed(learner, "val", data.x_val, data.t_val)
        self.n = len(data.x_train)
        self.batches = self.n // self.batch_size if options.drop_last else -(-self.n // self.batch_size)
        if self.batches == 0:
            raise ValueError(f"drop_last leaves no batch: got batch_size={self.batch_size} for {self.n} rows")
        if options.max_batches is not None:
            self.batches = min(self.batches, options.max_batches)
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
        loss, accuracy = self._evaluate("train", self.train_data) if self.options.evaluate_train else self._so_far()
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
        if not self.options.shuffle:
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
        hashed = self.options.fingerprint_steps
        if hashed and self.steps % hashed == 0 and at.batch < self.batches:
            self._take_fingerprint()
        if self.on_batch:
            self.on_batch(BatchProgress(self.epoch + 1, at.batch, self.batches, *self._so_far()))

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
        if self.options.watch:
            self.history.watched.append(self.options.watch(self.learner.weights()))

    def _take_fingerprint(self) -> None:
        found = fingerprint(self.learner.state_dict())
        self.history.fingerprints.append(Fingerprint(self.steps, self.epoch, found))

    @property
    def _is_mean(self) -> bool:
        return bool(self.learner.loss.reduction != "sum")

    @property
    def configuration(self) -> dict[str, Any]:
        """What a checkpoint of this training must agree with."""
        names = ("shuffle", "drop_last", "evaluate_train", "max_batches")
        own = {"batch_size": self.batch_size, **{name: getattr(self.options, name) for name in names}}
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
    """A training and its checkpoints: at the start, after every epoch, every `checkpoint_steps`, and where it is
    interrupted. Without a folder nothing is saved. `extra()`: what a checkpoint holds beside.
    """

    def __init__(
        self, training: Training, options: TrainingOptions, extra: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self.training, self.options, self.extra = training, options, extra
        self.facts = options.configuration or {}
        self.folder = CheckpointFolder(options.checkpoint_dir) if options.checkpoint_dir is not None else None

    def start(self) -> None:
        """CheckpointError if an earlier run's checkpoints are there."""
        if self.folder:
            self.folder.expect_empty()
            self.save()

    def resume(self) -> Checkpoint:
        """Go on from the newest checkpoint that is whole. CheckpointError if there is none, or it is another run's."""
        if self.folder is None:
            raise ValueError("resume=True needs a checkpoint_dir")
        found = self.folder.load({**self.facts, **self.training.configuration}, at_most=self.options.epochs)
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
        every = self.options.checkpoint_steps
        if every and self.training.steps % every == 0:
            self.save()


@takes(TrainingOptions)
def train(
    learner: Learner,
    data: Data,
    *,
    epochs: int,
    rng: RandomSource,
    on_epoch: Callable[[History], object] | None = None,
    on_batch: Callable[[BatchProgress], object] | None = None,
    **options: Any,
) -> History:
    """Train until the last epoch, or until `on_epoch(history)` returns True; a row an epoch.

    TrainingError where data, loss, a gradient or a weight is not finite, which names epoch, batch and layer: nothing
    is clipped, clamped or skipped, and the weights are those before that batch. A rate of 0 trains nothing. ValueError
    in one line for arguments that allow no training; CheckpointError for a checkpoint that is damaged or of another
    run; Interrupted, when a callback raised it, with the state saved.
    """
    chosen = TrainingOptions(epochs=epochs, **options)
    training = Training(learner, data, chosen, rng=rng, on_batch=on_batch)
    saved = SavedTraining(training, chosen)
    if chosen.resume:
        saved.resume()
    else:
        saved.start()
    while training.epoch < epochs and not (chosen.stop and training.epoch and chosen.stop(training.history)):
        saved.run_epoch()
        if on_epoch and on_epoch(training.history) is True:
            break
    return training.history


@takes(train)
def fit(
    network: Sequential,
    loss: Loss,
    optimizer: Optimizer,
    data: Data,
    *,
    epochs: int,
    rng: RandomSource,
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
        return train(learner, data, epochs=epochs, rng=rng, **options)
    finally:
        learner.release()


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
