"""Rank causes: the mistakes that only several processes can make, told from what each rank was given and what came out.

Each is a formula for the all-reduced gradient in terms of the gradients g_r of the ranks' own rows, which the reference
computes with its own bounds; a cause is named only if it gives the candidate's gradients, all of them, and a correct
computation would not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from compare.diagnosis.diagnosis import fits
from compare.judging.judged_step import JudgedStep
from compare.judging.step import rules
from compare.judging.verdict import Diagnosis, Row
from compare.numbers.allowance import Precision
from compare.numbers.bounded import Bounded
from compare.recording.record import Record

Array = NDArray[Any]
RankTensors = Mapping[str, Array]
Gradients = dict[str, Bounded]

CONFIDENCE = 0.95


def rank_causes(
    first: Row, records: Sequence[Record], steps: Sequence[Sequence[RankTensors]], given: Mapping[str, Array]
) -> list[Diagnosis]:
    """The cause of the first divergence, if it is one of several processes; else none."""
    record, ranks = records[first.step - 1], steps[first.step - 1]
    found = _different_weights(record, ranks, first.step) or _gradients(record, ranks, given)
    return [Diagnosis(cause, first.layer, CONFIDENCE, words) for cause, words in ([found] if found else [])]


def _different_weights(record: Record, ranks: Sequence[RankTensors], step: int) -> tuple[str, str] | None:
    sums = [_checksum(rank, record.network.parameters()) for rank in ranks]
    if len(set(sums)) == 1:
        return None
    other = next(r for r, each in enumerate(sums) if each != sums[0])
    since = "from the start" if step == 1 else f"since the update of step {step - 1}"
    words = f"{since} rank {other} has other weights than rank 0 (checksums {sums[other]:08x} and {sums[0]:08x})"
    return "ranks-with-different-weights", f"{words}: each trains a network of its own"


def _checksum(rank: RankTensors, names: Iterable[str]) -> int:
    return reduce(lambda found, name: crc32(np.ascontiguousarray(rank[name]).tobytes(), found), names, 0)


def _gradients(record: Record, ranks: Sequence[RankTensors], given: Mapping[str, Array]) -> tuple[str, str] | None:
    """The first formula that gives the gradients that every rank ended with."""
    names = [n for n in (f"{p.replace('.', '.grad_')}" for p in record.network.parameters()) if n in ranks[0]]
    x, t = (given[f"{record.step}/{name}"] for name in ("input", "target"))
    whole = _reference(record, x, t)
    own = [_reference(record, rank["input"], rank["target"]) if len(rank["input"]) else None for rank in ranks]
    alike = all(np.array_equal(rank[name], ranks[0][name]) for rank in ranks for name in names)
    for cause, words, guess in _formulas(record, ranks, len(x), whole, own, names, alike):
        right = all(fits(np.asarray(rank[n]), guess[r][n]) for r, rank in enumerate(ranks) for n in names)
        told = any(not fits(whole[n].value, g[n], whole[n].error) for g in guess for n in names)
        if right and told:
            return cause, words
    return None


def _formulas(
    record: Record,
    ranks: Sequence[RankTensors],
    m: int,
    whole: Gradients,
    own: Sequence[Gradients | None],
    names: Sequence[str],
    alike: bool,
) -> Iterator[tuple[str, str, list[Gradients]]]:
    """(cause, words, the gradients that every rank ends with): of what is summed, with which weights, over which rows.

    `whole` are the gradients of the m rows that were given, `own` those of each rank's rows; `alike`: all ended alike.
    """
    size, is_mean = len(ranks), record.network.reduction == "mean"
    rows = [len(rank["input"]) for rank in ranks]
    shards = [g for g in own if g is not None]
    of, shown = f"the {size} ranks", " and ".join(map(str, rows))

    def scaled(g: Gradients, factor: float) -> Gradients:
        return {n: g[n] * factor for n in names}

    if alike and own[0] is not None and _same_rows(ranks):
        words = f"the gradient is that of rank 0's {rows[0]} rows alone: every rank was given the same data"
        for factor in {1.0, size * rows[0] / m if is_mean else float(size)}:
            yield "same-data-on-every-rank", words, [scaled(own[0], factor)] * size
    if alike:
        words = f"all gradients are {size} x what they should be: summed over {of}, not averaged"
        yield "gradients-summed-over-ranks", words, [scaled(whole, float(size))] * size
        why = f"divided by {of} once too often" if is_mean else f"averaged over {of}, of a loss that is a sum"
        words = f"all gradients are 1/{size} of what they should be: {why}"
        yield "gradients-averaged-over-ranks", words, [scaled(whole, 1.0 / size)] * size
    if alike and is_mean:
        summed = {n: reduce(add, (g[n] for g in shards)) for n in names}
        words = f"the shards of {shown} rows are averaged with equal weights: each row of a small one counts more"
        yield "shards-averaged-with-equal-weights", words, [scaled(summed, 1.0 / size)] * size
        words = f"the mean gradients of the shards of {shown} rows are summed over {of}, whatever their rows"
        yield "gradients-summed-over-ranks", words, [summed] * size
    if not alike and len(shards) == size:
        words = "each rank kept the gradient of its own rows: nothing is exchanged between them"
        for weights in ([1.0] * size, [size * each / m if is_mean else float(size) for each in rows]):
            mine = [scaled(g, w) for g, w in zip(shards, weights, strict=True)]
            yield "gradients-not-exchanged", words, mine


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
        if ".grad_" in name and name.replace(".grad_", ".") in weights
    }
