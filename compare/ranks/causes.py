"""Rank causes: the mistakes that only several processes can make, found from what each rank was given and ended with.

Each mistake is a formula. It gives the all-reduced gradient from the gradients of each rank's own rows, which the
reference computes, with their error bounds. A cause is named only if its formula gives all of the candidate's
gradients, and a correct computation would not give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Self
from zlib import crc32

import numpy as np

from compare.diagnosis.confidence import FORMULA
from compare.diagnosis.diagnosis import fits
from compare.judging.judged_step import JudgedStep
from compare.judging.reasons import Diagnosis, Exchange, Exchanged, OtherWeights
from compare.judging.step import rules
from compare.judging.verdict import Row
from compare.network.tensor_name import TensorName
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.recording.record import Record

RankTensors = Mapping[str, Array]
Gradients = dict[str, Bounded]
Formula = tuple[Exchange, list[Gradients]]  # and the gradients that each rank ends with


def rank_causes(
    first: Row, records: Sequence[Record], steps: Sequence[Sequence[RankTensors]], given: Mapping[str, Array]
) -> list[Diagnosis]:
    """The cause of the first divergence, if it is one of several processes; else none."""
    record, ranks = records[first.step - 1], steps[first.step - 1]
    if other := _other_weights(record, ranks, first.step):
        return [Diagnosis("ranks-with-different-weights", first.layer, FORMULA, first.tensor, other)]
    step = _Step.of(record, ranks, given)
    how = next((how for how, guess in step.formulas() if step.explained_by(guess)), None)
    if how is None:
        return []
    return [Diagnosis(how.value[0], first.layer, FORMULA, first.tensor, Exchanged(how, tuple(step.rows)))]


def _other_weights(record: Record, ranks: Sequence[RankTensors], step: int) -> OtherWeights | None:
    sums = [_checksum(rank, record.network.parameters()) for rank in ranks]
    other = next((r for r, each in enumerate(sums) if each != sums[0]), None)
    return None if other is None else OtherWeights(other, step, (sums[other], sums[0]))


def _checksum(rank: RankTensors, names: Iterable[str]) -> int:
    return reduce(lambda found, name: crc32(np.ascontiguousarray(rank[name]).tobytes(), found), names, 0)


@dataclass(frozen=True)
class _Step:
    """The gradients of several ranks in one step, before they were exchanged and after.

    - `whole`: the gradients of all `m` rows together.
    - `own`: the gradients of each rank's own rows; None where a rank has no rows.
    - `alike`: all ranks ended with the same gradients.
    """

    ranks: Sequence[RankTensors]
    names: Sequence[str]
    is_mean: bool  # the loss is a mean over the rows, not a sum
    m: int
    whole: Gradients
    own: Sequence[Gradients | None]
    alike: bool

    @classmethod
    def of(cls, record: Record, ranks: Sequence[RankTensors], given: Mapping[str, Array]) -> Self:
        names = [name.gradient for name in record.network.parameters() if name.gradient in ranks[0]]
        x, t = (given[f"{record.step}/{name}"] for name in ("input", "target"))
        own = [_reference(record, rank["input"], rank["target"]) if len(rank["input"]) else None for rank in ranks]
        alike = all(np.array_equal(rank[name], ranks[0][name]) for rank in ranks for name in names)
        return cls(ranks, names, record.network.reduction != "sum", len(x), _reference(record, x, t), own, alike)

    @property
    def size(self) -> int:
        return len(self.ranks)

    @property
    def rows(self) -> list[int]:
        return [len(rank["input"]) for rank in self.ranks]

    @property
    def shards(self) -> list[Gradients]:
        return [g for g in self.own if g is not None]

    def explained_by(self, guess: Sequence[Gradients]) -> bool:
        """Whether each rank ended with its guess, and a correct computation would not have."""
        ended = zip(self.ranks, guess, strict=True)
        if not all(fits(np.asarray(rank[n]), g[n]) for rank, g in ended for n in self.names):
            return False
        return any(not fits(self.whole[n].value, g[n], self.whole[n].error) for g in guess for n in self.names)

    def formulas(self) -> Iterator[Formula]:
        """The likelier mistake first."""
        if self.alike:
            yield from self._same_data()
            yield from self._wrong_factor()
            yield from self._wrong_weights()
        else:
            yield from self._not_exchanged()

    def _same_data(self) -> Iterator[Formula]:
        first, rows = self.own[0], self.rows[0]
        if first is None or not _same_rows(self.ranks):
            return
        for factor in {1.0, self._share(rows)}:
            yield Exchange.SAME_DATA, self._everywhere(first, factor)

    def _wrong_factor(self) -> Iterator[Formula]:
        """The gradients of all rows, times or over the number of ranks."""
        yield Exchange.SUMMED, self._everywhere(self.whole, float(self.size))
        divided = Exchange.DIVIDED if self.is_mean else Exchange.AVERAGED
        yield divided, self._everywhere(self.whole, 1.0 / self.size)

    def _wrong_weights(self) -> Iterator[Formula]:
        """Means over shards, with the same weight for each, however many rows it has."""
        if not self.is_mean:
            return
        summed = {n: reduce(add, (g[n] for g in self.shards)) for n in self.names}
        yield Exchange.EQUAL_WEIGHTS, self._everywhere(summed, 1.0 / self.size)
        yield Exchange.MEANS_SUMMED, [summed] * self.size

    def _not_exchanged(self) -> Iterator[Formula]:
        if len(self.shards) < self.size:
            return
        for weights in ([1.0] * self.size, [self._share(rows) for rows in self.rows]):
            yield Exchange.NONE, [self._scaled(g, weight) for g, weight in zip(self.shards, weights, strict=True)]

    def _share(self, rows: int) -> float:
        """What a shard's gradient is multiplied by, so that the average over the ranks is that of all rows."""
        return self.size * rows / self.m if self.is_mean else float(self.size)

    def _scaled(self, g: Gradients, factor: float) -> Gradients:
        return {n: g[n] * factor for n in self.names}

    def _everywhere(self, g: Gradients, factor: float) -> list[Gradients]:
        """Every rank ends with the same."""
        return [self._scaled(g, factor)] * self.size


def _same_rows(ranks: Sequence[RankTensors]) -> bool:
    """Whether all ranks with rows have rank 0's, as far as the shorter of the two reaches."""
    for rank in ranks[1:]:
        m = min(len(rank["input"]), len(ranks[0]["input"]))
        if not (np.array_equal(rank["input"][:m], ranks[0]["input"][:m])):
            return False
    return len(ranks) > 1


def _reference(record: Record, x: Array, t: Array) -> Gradients:
    """The gradients on these rows from the record's weights, and how far a correct computation may be from them."""
    weights: dict[str, Array] = {name: record[name] for name in record.network.parameters()}
    alone = Record(record.network, {"input": x, "target": t, **weights}, step=1)
    judged = JudgedStep(alone, rules(record.network, None, 1, alone), {})
    judged.rows()
    p = Precision.of(record.dtype)
    return {
        name: Bounded(known.value, known.allowance.wide if known.allowance else np.zeros_like(known.value), p)
        for name, known in judged.known.items()
        if TensorName(name).is_gradient and TensorName(name).parameter in weights
    }
