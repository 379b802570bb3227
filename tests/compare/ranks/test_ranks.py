"""Steps of several ranks, simulated in one process: correct ones are in parity, wrong ones have their cause by name."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import scratch
from compare.network.architecture import Architecture
from compare.network.weights import to_torch, to_torch_loss
from compare.ranks.ranks import judge_ranks
from compare.recording.batches import given_batches
from compare.recording.torch_recorder import record_torch
from compare.report.report import Report

Ranks = list[dict[str, Any]]
Change = Callable[[Ranks], None]

NETWORK = "5-7-4 relu, softmax cross-entropy"


def simulated(
    text: str, shards: list[int], dtype: str, change: Change | None = None, seen: list[slice] | None = None
) -> Report:
    """One step by len(shards) ranks as DistributedDataParallel does it, then changed; `seen`: rows not their own."""
    network = Architecture.of(text)
    rng = np.random.default_rng(0)
    linear = [scratch.Linear(s.in_features, s.out_features, rng=rng, dtype=dtype) for s in network.layers[::2]]
    net = scratch.Sequential(linear[0], scratch.ReLU(), linear[1])
    m, size = sum(shards), len(shards)
    x = rng.standard_normal((m, 5)).astype(dtype)
    t = rng.integers(0, 4, m) if "cross" in text else rng.standard_normal((m, 4)).astype(dtype)
    ends = np.cumsum([0, *shards])
    rows = seen or [slice(a, b) for a, b in pairwise(ends)]
    model, loss = to_torch(net), to_torch_loss(network.loss.to_scratch())
    ranks: Ranks = []
    for own in rows:
        tensors = dict(record_torch(model, loss, None, [(x[own], t[own])])[0])
        factor = size * len(x[own]) / m if network.reduction == "mean" else size
        weighted = {name: (a * factor).astype(dtype) for name, a in tensors.items() if ".grad_" in name}
        ranks.append(tensors | weighted | {"loss": tensors["loss"] * factor / size})
    total = np.array(sum(float(rank["loss"]) for rank in ranks))
    for name in (f"{p.replace('.', '.grad_')}" for p in network.parameters()):
        mean = sum(rank[name] / size for rank in ranks).astype(dtype)
        for rank in ranks:
            rank |= {f"{name}, own": rank[name], name: mean.copy()}
    for rank in ranks:
        rank["loss"] = total
    if change:
        change(ranks)
    steps = [[{n: a for n, a in rank.items() if not n.endswith("own")} for rank in ranks]]
    given = given_batches([(x, t)]) | {name: p.copy() for name, p in net.params.items()}
    return judge_ranks(network, None, steps, given)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["softmax cross-entropy", "softmax cross-entropy sum", "mse", "half squared error"])
@pytest.mark.parametrize("shards", [[5], [3, 3], [4, 3], [3, 2, 2], [1, 1, 1, 1, 1], [64, 32, 17]])
def test_correct_ranks_are_in_parity(shards: list[int], loss: str, dtype: str) -> None:
    report = simulated(f"5-7-4 relu, {loss}", shards, dtype)
    assert report.verdict == "parity", report
    assert f"{len(shards)} ranks with shards of {'+'.join(map(str, shards))} rows; weights, " in report.findings[0]


def gradients(rank: dict[str, Any]) -> list[str]:
    return [name.removesuffix(", own") for name in rank if name.endswith(", own")]


def times(factor: float) -> Change:
    def change(ranks: Ranks) -> None:
        for rank in ranks:
            rank |= {name: (rank[name] * factor).astype(rank[name].dtype) for name in gradients(rank)}

    return change


def kept(ranks: Ranks) -> None:
    for rank in ranks:
        rank |= {name: rank[f"{name}, own"] for name in gradients(rank)}


def weighted(by: Callable[[int, int], float]) -> Change:
    """The ranks' own gradients, of means over their shards, times by(ranks, shards' number) and summed."""

    def change(ranks: Ranks) -> None:
        m = sum(len(rank["input"]) for rank in ranks)
        for rank in ranks:  # back to the mean over its shard, as if it had not been weighted
            factor = len(ranks) * len(rank["input"]) / m
            own = [n for n in rank if ".grad_" in n]
            rank |= {n: (rank[n] / factor).astype(rank["input"].dtype) for n in own if n not in gradients(rank)}
        for name in gradients(ranks[0]):
            total = sum(rank[f"{name}, own"] for rank in ranks) * by(len(ranks), m)
            for rank in ranks:
                rank[name] = total.astype(rank["input"].dtype)

    return change


def other_weights(ranks: Ranks) -> None:
    ranks[-1]["2.weight"] = ranks[-1]["2.weight"] + np.finfo(ranks[-1]["2.weight"].dtype).eps


SUM = "5-7-4 relu, softmax cross-entropy sum"
WRONG: list[tuple[str, str, list[int], Change | None, list[slice] | None, str]] = [
    ("gradients-summed-over-ranks", NETWORK, [3, 3], times(2), None, "2 x what they should be: summed over the 2"),
    ("gradients-summed-over-ranks", NETWORK, [4, 3, 3], times(3), None, "3 x what they should be"),
    ("gradients-summed-over-ranks", SUM, [4, 3], times(2), None, "2 x what they should be"),
    ("gradients-summed-over-ranks", NETWORK, [4, 3], weighted(lambda w, m: 1), None, "the mean gradients"),
    ("gradients-averaged-over-ranks", NETWORK, [4, 3], times(1 / 2), None, "divided by the 2 ranks once too often"),
    ("gradients-averaged-over-ranks", SUM, [4, 3], times(1 / 2), None, "averaged over the 2 ranks, of a loss that is"),
    ("shards-averaged-with-equal-weights", NETWORK, [4, 3], weighted(lambda w, m: 1 / w), None, "4 and 3 rows"),
    ("shards-averaged-with-equal-weights", NETWORK, [64, 32], weighted(lambda w, m: 1 / w), None, "64 and 32 rows"),
    ("shards-averaged-with-equal-weights", NETWORK, [3, 3, 1], weighted(lambda w, m: 1 / w), None, "3 and 3 and 1"),
    ("ranks-with-different-weights", NETWORK, [3, 3], other_weights, None, "rank 1 has other weights than rank 0"),
    ("ranks-with-different-weights", NETWORK, [3, 2, 2], other_weights, None, "rank 2 has other weights than rank 0"),
    ("same-data-on-every-rank", NETWORK, [3, 3], None, [slice(0, 3)] * 2, "that of rank 0's 3 rows alone"),
    ("same-data-on-every-rank", NETWORK, [3, 2, 2], None, [slice(0, 3)] * 3, "that of rank 0's 3 rows alone"),
    ("same-data-on-every-rank", NETWORK, [3, 3], None, [slice(0, 6)] * 2, "that of rank 0's 6 rows alone"),
    ("same-data-on-every-rank", SUM, [3, 3], None, [slice(0, 3)] * 2, "that of rank 0's 3 rows alone"),
    ("gradients-not-exchanged", NETWORK, [4, 3], kept, None, "nothing is exchanged"),
    ("gradients-not-exchanged", NETWORK, [3, 3, 3], kept, None, "nothing is exchanged"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("cause", "text", "shards", "change", "seen", "words"), WRONG)
def test_a_mistake_of_several_ranks_has_its_cause(
    cause: str, text: str, shards: list[int], change: Change | None, seen: Any, words: str, dtype: str
) -> None:
    report = simulated(text, shards, dtype, change, seen)
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert (report.diagnosis[0].cause, report.diagnosis[0].layer) == (cause, report.first.layer), report
    assert words in report.diagnosis[0].explanation
    apart = cause in ("ranks-with-different-weights", "gradients-not-exchanged")
    assert ("same bits on all" in report.findings[0]) is not apart


def element(ranks: Ranks) -> None:
    for rank in ranks:
        rank["2.grad_weight"][0, 0] *= 1.5


def one_rank_only(ranks: Ranks) -> None:
    ranks[1]["2.grad_weight"] = ranks[1]["2.grad_weight"] * np.float32(1.5)


@pytest.mark.parametrize("change", [element, times(3), times(-1), times(0.1)])
def test_any_other_mistake_has_none_of_these_causes(change: Change) -> None:
    report = simulated(NETWORK, [4, 3], "float32", change)
    assert report.verdict == "mismatch"
    assert not {each.cause for each in report.diagnosis} & {cause for cause, *_ in WRONG}, report.diagnosis


def test_a_gradient_that_one_rank_alone_has_wrong_is_shown_and_unexplained() -> None:
    report = simulated(NETWORK, [4, 3], "float32", one_rank_only)
    assert report.first is not None
    assert (report.first.tensor, report.first.check, report.first.index[0]) == ("2.grad_weight", "wiring", 1)
    assert report.diagnosis[0].cause == "unknown"


def test_what_differs_between_ranks_is_shown_with_the_rank_first() -> None:
    report = simulated(NETWORK, [3, 2, 2], "float64", other_weights)
    assert report.first is not None
    assert (report.first.tensor, report.first.check, report.first.shape) == ("2.weight", "wiring", (3, 4, 7))
    assert report.first.index[0] == 2
    judged = report.judgement(report.first)
    assert judged is not None
    assert judged.got.shape == (3, 4, 7)
    assert "the first index is the rank" in str(report)
