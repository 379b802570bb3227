"""Training in several processes: DistributedDataParallel on shards of every batch, equal to training in one.

The gradient of a mean over m rows is the mean of the shards' gradients weighted by their rows, sum_r (m_r / m) g_r.
DistributedDataParallel gives (1 / W) sum_r of what W ranks computed, so each rank's loss is multiplied by W m_r / m; by
W where the loss is a sum. Then shards of any sizes give the gradient of the whole batch, one of no rows included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from torch_ref.learner import Data, TorchLearner
from torch_ref.team import Team


class ShardedLearner(TorchLearner):
    """A TorchLearner of which every rank of a team has a copy; each takes its shard of the rows that all are given.

    Every method with data in it is called on all ranks, with the same rows; figures and errors are the same on all.
    The weights are rank 0's from the start, and the same bits on every rank after each step. `options` as for a
    TorchLearner. TeamError if a rank is gone; the weights are then those before the step. ValueError for a module that
    takes statistics of its batch or draws masks: each rank would have those of its own rows.
    """

    def __init__(self, model: nn.Module, loss: nn.Module, optimizer: Optimizer, *, team: Team, **options: Any) -> None:
        _expect_row_by_row(model)
        super().__init__(model, loss, optimizer, device=team.device, **options)
        self.team = team
        with team.together():
            self._forward = self._averaging(self.model)

    def _averaging(self, model: nn.Module) -> nn.Module:
        """The model with rank 0's weights, whose backward leaves the ranks' mean in every gradient."""
        return DistributedDataParallel(model, process_group=self.team.gradients, gradient_as_bucket_view=True)

    def shard(self, rows: np.ndarray) -> np.ndarray:
        """This rank's rows: one of `size` consecutive parts whose lengths differ by at most one."""
        own: np.ndarray = np.array_split(rows, self.team.size)[self.team.rank]
        return own

    def weight(self, own: int, rows: int) -> float:
        """What makes the ranks' mean the whole: W m_r / m for a mean, W for a sum."""
        return self.team.size * own / rows if self.loss.reduction != "sum" else float(self.team.size)

    def train_step(self, data: Data, rows: np.ndarray) -> tuple[float, int]:
        """One step on data[rows], by all ranks: (loss, correct predictions) of the whole batch, before the update."""
        if len(rows) == 0:
            raise ValueError("a training step on no rows, expected at least one")
        own = self.shard(rows)
        index = self._tensor(np.asarray(own, dtype=np.int64))
        x, t = (part.index_select(0, index) for part in data)
        self.model.train()
        self.optimizer.zero_grad()
        with self.team.together():
            y = self._forward(x)
            self._check_shapes(y, t)
            loss = self._loss_of(y, t)
            (loss * self.weight(len(own), len(rows))).backward()
        hits = self._hits(y.detach(), t).sum()
        is_finite = self._is_finite(loss)
        share = len(own) / len(rows) if self.loss.reduction != "sum" else 1
        total, correct, finite = self.team.sums([loss.item() * share, int(hits), is_finite])
        if finite < self.team.size:
            raise FloatingPointError(self._first_of_all("" if is_finite else self._first_non_finite(x, t)))
        self.optimizer.step()
        return total, int(correct)

    def _loss_of(self, y: Tensor, t: Tensor) -> Tensor:
        """Of no rows 0, whose gradient is 0: a mean over them would be 0 / 0."""
        return self.loss(y, t) if len(y) else y.sum()

    @torch.no_grad()
    def evaluate(self, data: Data, batch_size: int = 4096) -> tuple[float, float]:
        """(loss, accuracy) over all n rows, of which every rank takes its share."""
        own = tuple(part.tensor_split(self.team.size)[self.team.rank] for part in data)
        n, m, wrong = len(data[0]), len(own[0]), ""
        loss = accuracy = 0.0
        try:
            loss, accuracy = super().evaluate((own[0], own[1]), batch_size) if m else (0.0, 0.0)
        except FloatingPointError as error:
            wrong = str(error)
        share = m / n if self.loss.reduction != "sum" else 1
        total, correct, failures = self.team.sums([loss * share, round(accuracy * m), bool(wrong)])
        if failures:
            raise FloatingPointError(self._first_of_all(wrong))
        return total, correct / n

    def _first_of_all(self, own: str) -> str:
        """The words of the first rank that has any; those of a rank that got another's NaN say less, and come last."""
        said = [each for each in self.team.gather(own) if each]
        return min(said, key=lambda each: each.endswith("a second computation of it is"))


def _expect_row_by_row(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.Dropout):
            what = "masks" if isinstance(module, nn.Dropout) else "statistics"
            raise ValueError(f"layer {name} ({module}): {what} would be each process's own, expected one process")


class LeadingLearner:
    """Rank 0's: a Learner like any other, whose every step is one of the whole team; the others `follow` it."""

    def __init__(self, learner: ShardedLearner) -> None:
        self.learner = learner
        self._placed: list[Data] = []

    @property
    def loss(self) -> nn.Module:
        return self.learner.loss

    @property
    def model(self) -> nn.Module:
        return self.learner.model

    @property
    def dtype(self) -> str:
        return self.learner.dtype

    @property
    def description(self) -> dict[str, str]:
        """A TorchLearner's: how many processes there are is no part of what is computed, and may change on resuming."""
        return self.learner.description

    def place(self, x: np.ndarray, t: np.ndarray) -> Data:
        """As a TorchLearner does; the others must place the same sets in the same order."""
        self._placed.append(self.learner.place(x, t))
        return self._placed[-1]

    def train_step(self, data: Data, rows: np.ndarray) -> tuple[float, int]:
        self.learner.team.tell(("train_step", self._number(data), np.asarray(rows)))
        return self.learner.train_step(data, rows)

    def evaluate(self, data: Data, batch_size: int = 4096) -> tuple[float, float]:
        self.learner.team.tell(("evaluate", self._number(data), batch_size))
        return self.learner.evaluate(data, batch_size)

    def _number(self, data: Data) -> int:
        return next(i for i, each in enumerate(self._placed) if each is data)

    def weights(self) -> dict[str, np.ndarray]:
        return self.learner.weights()

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Here first: a state that does not fit is refused before the others hear of it."""
        self.learner.load_state_dict(state)
        self.learner.team.tell(("load_state_dict", None, state))


def follow(learner: ShardedLearner, placed: list[Data]) -> None:
    """Take part in what the leader does, until it sends everybody home. `placed`: the data sets, in its order."""
    while (order := learner.team.hear()) is not None:
        name, number, argument = order
        try:
            if name == "load_state_dict":
                learner.load_state_dict(argument)
            else:
                getattr(learner, name)(placed[number], argument)
        except (FloatingPointError, ValueError):
            pass  # it is the same on every rank, and the leader's to report
