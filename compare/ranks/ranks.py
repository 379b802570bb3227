"""Ranks: one training step by several processes, put together and judged as if one process had computed it.

What every rank's copy of the network computed is recorded there and gathered. Rows of the ranks' shards are joined in
order; the all-reduced gradients and the updates must be the same bits on all. A sum over the batch that is split over
ranks needs no allowance of its own. A term of a shard of m_r rows goes through its product, at most m_r - 1 additions
there, the division by W, and at most W - 1 additions among the W ranks: m_r + W roundings; with a row on every other
rank m_r <= m - W + 1, and the zeros of a rank without rows add none. So it is at most m + 1, and m + 2 are allowed.
DistributedDataParallel averages, so on each rank the gradients between layers are W times those of the whole batch:
the record says so as its scale.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import nn

import scratch
from compare.check import end_to_end
from compare.checking import check_beside, check_records
from compare.judging.judge import judge
from compare.judging.judged_step import Wrong
from compare.judging.step import Rule
from compare.judging.verdict import Row
from compare.network.architecture import Architecture, flatten, named_parameters
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.expected import Expected
from compare.ranks.causes import rank_causes
from compare.recording.batches import Batch, given_batches
from compare.recording.notes import Note, OwnRun, SeveralRanks
from compare.recording.record import Record
from compare.recording.recorded import Recorded
from compare.recording.scratch_recorder import record_scratch
from compare.recording.torch_recorder import after_update, as_numpy, state_of
from compare.report.report import Report
from torch_ref.distributed import ShardedLearner
from torch_ref.team import Team

RankTensors = dict[str, Array]  # one rank's tensors of one step, by record name

ROW_BY_ROW = ("input", "target", "output", "grad_output", "grad_input")


def check_ranks(
    network: scratch.Sequential, loss: scratch.Loss, optimizer: scratch.Optimizer, batches: Sequence[Batch], team: Team
) -> tuple[Report, Report] | None:
    """Consecutive training steps by all ranks of a team, and by NumPy on the whole batches, from the same weights.

    Called on every rank with the same arguments. Rank 0 gets the Reports on both, each judged by the same bounds; the
    first has the largest differences between the two as `end_to_end`. Nothing that is given is changed.
    """
    architecture, spec = Architecture.of(network, loss), OptimizerSpec.of(optimizer)
    _expect_no_statistics(architecture)
    model = to_torch(network)
    learner = ShardedLearner(model, to_torch_loss(loss), to_torch_optimizer(optimizer, model), team=team)
    steps = [team.gather(record_rank(learner, batch)) for batch in batches]
    if not team.leads:
        return None
    given = given_batches(batches) | {name: p.copy() for name, p in named_parameters(network).items()}
    records = record_scratch(*copy.deepcopy((network, loss, optimizer)), batches)
    ours = check_records(records, given)
    theirs = _unscaled(joined(architecture, spec, steps[0], 1))
    own = OwnRun(ours.verdict, *((ours.worst.ratio, ours.worst.tensor) if ours.worst else (0.0, "")))
    apart = end_to_end(records[0], theirs)
    return judge_ranks(architecture, spec, steps, given, notes=[own], end_to_end=apart), ours


def _expect_no_statistics(network: Architecture) -> None:
    """ValueError in one line for a layer that takes statistics of its batch: each rank has those of its own rows."""
    for name in network.buffers():
        layer = network.layers[int(name.layer)]
        raise ValueError(
            f"layer {name.layer} ({layer}): each rank has the mean and the variance of its own rows, which is another "
            "network than one process has; check it in one process"
        )


def judge_ranks(
    network: Architecture,
    optimizer: OptimizerSpec | None,
    steps: Sequence[Sequence[RankTensors]],
    given: dict[str, Array],
    *,
    notes: Sequence[Note] = (),
    **more: Any,
) -> Report:
    """The Report on what the ranks computed in consecutive steps: steps[k][r] is what rank r did in step k + 1.

    `notes` are told in it, too, and `more` are other fields of it.
    """
    records = [joined(network, optimizer, ranks, k) for k, ranks in enumerate(steps, 1)]
    apart = {row: wrong for record, ranks in zip(records, steps, strict=True) for row, wrong in _apart(record, ranks)}
    shards = tuple(tuple(len(rank["input"]) for rank in ranks) for ranks in steps)
    recorded = Recorded(records, given, [SeveralRanks(shards, alike=not apart), *notes])
    return check_beside(recorded, apart, lambda first: rank_causes(first, records, steps, given), **more)


# --- recording --------------------------------------------------------------------------------------------------------


def record_rank(learner: ShardedLearner, batch: Batch) -> RankTensors:
    """One training step of the learner, on every rank: what this rank's copy of the network computed in it.

    ValueError, on all ranks, if the step ends in a value that is not finite.
    """
    names = named_parameters(learner.model)
    tensors = {name: as_numpy(p) for name, p in names.items()} | state_of(names, learner.optimizer)
    passed: list[torch.Tensor] = []
    entered: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []

    def enter(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if not entered:
            entered.append(args[0].requires_grad_())

    def keep(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        output.retain_grad()
        passed.append(output)

    def take(*step: Any) -> None:
        tensors.update({TensorName(name).gradient: as_numpy(p.grad) for name, p in names.items() if p.grad is not None})

    layers = list(dict.fromkeys(flatten(learner.model)))
    with ExitStack() as hooks:
        seen = [layers[0].register_forward_pre_hook(enter), *(m.register_forward_hook(keep) for m in layers)]
        seen += [learner.loss.register_forward_pre_hook(lambda module, args: targets.append(args[1]))]
        for handle in [*seen, learner.optimizer.register_step_pre_hook(take)]:
            hooks.callback(handle.remove)
        x, t = batch
        try:
            loss, _ = learner.train_step(learner.place(x, t), np.arange(len(x)))
        except FloatingPointError as error:
            raise ValueError(f"a step that cannot be checked: {error}") from None
    tensors |= {"loss": np.array(loss), "input": as_numpy(entered[0])}
    tensors["target"] = as_numpy(targets[0]) if targets else np.asarray(t)[:0]  # a rank without rows has no loss
    for k, output in enumerate(passed):
        before = passed[k - 1] if k else entered[0]
        tensors[f"{k}.output"] = as_numpy(output)
        tensors[f"{k}.grad_output"] = _gradient(output)
        tensors[f"{k}.grad_input"] = _gradient(before)
    return tensors | after_update(names, learner.optimizer)


def _gradient(a: torch.Tensor) -> Array:
    return as_numpy(a if a.grad is None else a.grad) if a.grad is not None or not len(a) else np.zeros(0)


# --- putting together -------------------------------------------------------------------------------------------------


def joined(network: Architecture, optimizer: OptimizerSpec | None, ranks: Sequence[RankTensors], step: int) -> Record:
    """The step that all ranks computed: their rows one after another, and rank 0's of what all must have alike."""
    rows = [name for name in ranks[0] if TensorName(name).part in ROW_BY_ROW]
    tensors = ranks[0] | {name: np.concatenate([rank[name] for rank in ranks]) for name in rows}
    scales = {name: float(len(ranks)) for name in rows if TensorName(name).is_gradient}
    return Record(network, tensors, optimizer, step, plain_loss=True, scales=scales)


def _unscaled(record: Record) -> Record:
    return Record(record.network, {name: record.unscaled(name) for name in record}, record.optimizer, record.step)


def _apart(record: Record, ranks: Sequence[RankTensors]) -> Iterator[tuple[Row, Wrong]]:
    """What is not the same on every rank although it must be: weights before, gradients, weights after."""
    for name in map(TensorName, ranks[0]):
        of_own_rows = name == "loss" or name.part in ROW_BY_ROW
        if of_own_rows or all(np.array_equal(rank[name], ranks[0][name], equal_nan=True) for rank in ranks):
            continue
        kind = "parameter" if name.state and not name.is_new else name.kind
        got = np.stack([rank[name] for rank in ranks])
        expected = Expected.itself(np.broadcast_to(ranks[0][name], got.shape))
        formula = f"{name} is rank 0's on every rank (the first index is the rank)"
        rule = Rule(name, name.layer, kind, "wiring", (), lambda p, e=expected: e, formula)
        precision = Precision.of(record.dtype)
        yield judge(record, rule, got, expected, "wiring", precision), Wrong(got, expected, precision, rule)
