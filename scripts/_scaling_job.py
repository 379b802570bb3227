"""One measurement of measure_scaling.py: PyTorch's training steps in this process alone, or, under torchrun, by all
ranks; with "processes" in the order, NumPy's by as many.

    python scripts/_scaling_job.py '{"cases": [[[784, 256, 10], 128]], "seconds": 1, "threads": 1}'

The last line of rank 0 is the answer, as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _torchrun
from _command import CHECKOUT

sys.path.insert(0, str(CHECKOUT))

import numpy as np

if TYPE_CHECKING:
    from torch_ref.team import Team

SIZES = [4**k for k in range(5, 13)]  # bytes of the all-reduces that are timed: 1 KiB to 16 MiB
ROWS = 4096


def main() -> None:
    order = json.loads(sys.argv[1])
    if "processes" in order:
        print(json.dumps({"cases": [by_numpy(tuple(sizes), m, order) for sizes, m in order["cases"]]}))
    else:
        by_torch(order)


def by_torch(order: dict[str, Any]) -> None:
    import torch

    from torch_ref.team import Team

    torch.set_num_threads(order["threads"])
    team = Team() if _torchrun.is_started() else None
    cases = [measured(tuple(sizes), m, order["seconds"], team) for sizes, m in order["cases"]]
    answer: dict[str, Any] = {"cases": cases}
    if team:
        answer |= exchanges(team, order["seconds"])
        team.leave()
    if team is None or team.leads:
        print(json.dumps(answer))


def measured(sizes: tuple[int, ...], m: int, seconds: float, team: Team | None) -> dict[str, Any] | None:
    """Seconds of a step, bytes on the loopback in one, and what the network and its optimiser take of memory."""
    import torch
    from torch import nn

    from torch_ref.distributed import LeadingLearner, ShardedLearner, follow
    from torch_ref.learner import TorchLearner

    before = resident()
    torch.manual_seed(0)
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in pairwise(sizes)]
    model = nn.Sequential(*[module for pair in layers for module in pair][:-1])
    parts = (model, nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-3))
    x, t, rows = drawn(sizes, m)
    learner: Any = ShardedLearner(*parts, team=team) if team else TorchLearner(*parts)
    if team and not team.leads:
        follow(learner, [learner.place(x, t)])
        return None
    leader: Any = LeadingLearner(learner) if team else learner
    data = leader.place(x, t)
    times, sent = timed(lambda k: leader.train_step(data, rows[k % 8]), seconds)
    if team:
        team.tell(None)
    taken = resident() - before - x.nbytes - t.nbytes
    parameters = sum(p.numel() for p in model.parameters())
    return {"sizes": sizes, "batch_size": m, "parameters": parameters, **times, "bytes": sent, "memory": taken}


def by_numpy(sizes: tuple[int, ...], m: int, order: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a step by processes that share memory."""
    from scratch import AdamW, CrossEntropyLoss, Linear, ReLU, Sequential
    from scratch.parallel_engine import engine

    rng = np.random.default_rng(0)
    layers = [[Linear(a, b, rng=rng), ReLU()] for a, b in pairwise(sizes)]
    network = Sequential(*[layer for pair in layers for layer in pair][:-1])
    learner = engine(network, CrossEntropyLoss(), AdamW(network), processes=order["processes"])
    x, t, rows = drawn(sizes, m)
    data = learner.place(x, t)
    times, _ = timed(lambda k: learner.train_step(data, rows[k % 8]), order["seconds"])
    learner.release()
    return {"sizes": sizes, "batch_size": m, **times}


def drawn(sizes: tuple[int, ...], m: int) -> tuple[Any, Any, list[Any]]:
    """x, t and the rows of eight batches."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, sizes[0]), dtype=np.float32)
    return x, rng.integers(0, sizes[-1], ROWS), [rng.permutation(ROWS)[:m] for _ in range(8)]


def timed(act: Callable[[int], object], seconds: float) -> tuple[dict[str, Any], float | None]:
    """Median and quartiles over as many calls as fit, at least five; bytes on the loopback a call."""
    for k in range(3):
        act(k)
    times: list[float] = []
    first = loopback()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        act(len(times))
        times.append(time.perf_counter() - start)
    sent = loopback()
    bytes_a_call = (sent - first) / len(times) if first is not None and sent is not None else None
    low, middle, high = statistics.quantiles(times, n=4)
    return {"seconds": middle, "quartiles": [low, high], "calls": len(times)}, bytes_a_call


def exchanges(team: Team, seconds: float) -> dict[str, Any]:
    """What the parts of a step's communication cost: the order, the three numbers, and all-reduces by size."""
    import torch
    import torch.distributed as dist

    found: dict[str, Any] = {"allreduce": []}
    calls = 200
    for name, act in (("order", lambda: _order(team)), ("sums", lambda: team.sums([1.0, 2.0, 3.0]))):
        found[name] = _repeated(team, act, calls)
    for size in SIZES:
        buffer = torch.zeros(size // 4)
        calls = max(5, min(200, int(seconds * 2e9 / (size + 1e6) / 10)))
        took = _repeated(team, lambda b=buffer: dist.all_reduce(b, group=team.gradients), calls)  # type: ignore[misc]
        found["allreduce"].append({"bytes": size, "seconds": took})
    return found


def _order(team: Team) -> None:
    team.tell(("train_step", 0, np.zeros(128, np.int64))) if team.leads else team.hear()


def _repeated(team: Team, act: Callable[[], object], calls: int) -> float:
    """Median seconds of a call that all ranks make together."""
    times = []
    for _ in range(calls):
        team.sums([0.0])  # all begin together
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def loopback() -> int | None:
    """Bytes that the loopback device has carried; None where the system does not tell."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:")), None)


if __name__ == "__main__":
    main()
