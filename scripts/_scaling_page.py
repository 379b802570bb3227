"""docs/scaling.md from the numbers of measure_scaling.py: what was measured, a model fitted to it, its predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOAT = 4  # bytes
HELD = 4 * FLOAT  # bytes a parameter: weight, gradient and the two moments of AdamW
LARGER = [(203_530, 128), (10_000_000, 1024), (100_000_000, 1024)]  # parameters, rows of the whole batch
STEPS = "network | parameters | batch | 1 process | 1 process, 2 threads | 2 processes | the model"
SHARED = "network | parameters | batch | 1 process | 1 process, 2 threads | 2 processes"
BUSY = 0.5  # load of the machine before, above which its times say little
WORKERS = (2, 4, 8, 16)
RATES = {"this loopback": None, "10 Gbit/s": 1.25e9, "1 Gbit/s": 1.25e8}  # bytes a second


def sent(parameters: int, workers: int) -> float:
    """Bytes that all ranks together send in one ring all-reduce of the gradients: 2 (W - 1) x 4 P."""
    return 2 * (workers - 1) * FLOAT * parameters


@dataclass(frozen=True)
class Model:
    """Seconds of a step: fixed + update P + row P m / W, and for W > 1 exchange + 2 (W - 1) / W x 4 P / rate."""

    fixed: float
    update: float
    row: float
    exchange: float
    rate: float

    @classmethod
    def of(cls, found: dict[str, Any]) -> Model:
        """Steps of one process with one thread give the first three; order, sums and all-reduces the other two."""
        cases = found["steps"]["one"]
        terms = np.array([[1, c["parameters"], c["parameters"] * c["batch_size"]] for c in cases], dtype=float)
        seconds = np.array([c["seconds"] for c in cases])
        fixed, update, row = _at_least_0(terms / seconds[:, None], np.ones(len(seconds)))
        sizes = np.array([[1, each["bytes"]] for each in found["allreduce"]], dtype=float)
        took = np.array([each["seconds"] for each in found["allreduce"]])
        once, a_byte = _at_least_0(sizes / took[:, None], np.ones(len(took)))
        return cls(fixed, update, row, once + found["order"] + found["sums"], 1 / a_byte if a_byte else np.inf)

    def step(self, parameters: int, m: int, workers: int, rate: float | None = None) -> float:
        alone = self.fixed + self.update * parameters + self.row * parameters * m / workers
        if workers == 1:
            return alone
        return alone + self.exchange + 2 * (workers - 1) / workers * FLOAT * parameters / (rate or self.rate)

    def rows_to_gain(self, parameters: int) -> float:
        """The batch from which two workers are faster than one: where half the rows' time is the exchange's."""
        return 2 * (self.exchange + FLOAT * parameters / self.rate) / (self.row * parameters)


def _at_least_0(terms: Any, values: Any) -> list[float]:
    """Least squares with every coefficient at least 0: those that would be negative are left out, one after another."""
    used = list(range(terms.shape[1]))
    while True:
        found = np.linalg.lstsq(terms[:, used], values, rcond=None)[0]
        if (found >= 0).all() or len(used) == 1:
            by_term = dict(zip(used, np.maximum(found, 0), strict=True))
            return [float(by_term.get(k, 0.0)) for k in range(terms.shape[1])]
        used.pop(int(np.argmin(found)))


def page(found: dict[str, Any]) -> str:
    """The whole page as markdown."""
    model = Model.of(found)
    parts = [
        "# What do several processes gain and cost?",
        _introduction(found),
        "## Time of a step",
        _table(STEPS, _steps(found, model)),
        _text(
            "The numbers are PyTorch's milliseconds. In brackets: how many times as fast as one process with one",
            "thread. Two threads of one process share the two cores without any exchange. Processes are worth their",
            "cost where threads cannot go: on other machines.",
        ),
        "The model, for P parameters, m rows, W workers, is fitted to the first column and to the exchanges alone:",
        "    step = fixed + update P + row P m / W          one worker's own work\n"
        "         + exchange + 2 (W - 1) / W 4 P / rate     if W > 1",
        _fitted(found, model),
        "## Bytes of a step",
        _table("parameters | batch | 2 (W - 1) 4 P | on the loopback", [_bytes(c) for c in found["steps"]["two"]]),
        _text(
            "All ranks together send the gradients 2 (W - 1) times. Each of them sends them 2 (W - 1) / W times.",
            "This is less than twice for any W and any batch. Two more things are sent: the leader's order to each",
            "rank, 8 bytes a row of the batch, and three numbers from each rank.",
        ),
        "## Memory of a process",
        _memory(found),
        _text(
            "Weights, gradients and AdamW's two moments are 16 bytes a parameter in every process. They do not",
            "shrink with W. So more workers never make room for a larger network. The rest is buffers of the",
            "exchange, activations, and what the allocator keeps. Activations shrink to m / W rows. Each process",
            "reads the whole data set (219.5 MB for Fashion-MNIST in float32), so that any row can be in its shard.",
        ),
        "## In NumPy, on shared memory",
        _table(SHARED, _shared(found)),
        _text(
            "`train.py LAB --backend scratch --processes W` divides every batch among W processes of one machine.",
            "They share parameters, gradients and the optimiser's state. Each process updates one part of the",
            "parameters, a W-th of them. It writes its own gradient, and for its part it reads the gradients of the",
            "W - 1 others: (W - 1) / W x 4 P bytes. Nothing is copied, and the update is divided as well as the",
            "rows. The memory is that of one process, plus (W - 1) 4 P bytes for gradients and each process's",
            "activations. The data set is there once.",
        ),
        "## What that predicts",
        "How many times as fast as one worker, by PyTorch, if each worker has a core of its own:",
        _table(f"parameters | batch | exchange over | {' | '.join(f'W = {w}' for w in WORKERS)}", _predictions(model)),
        _text(
            "If the batch is fixed, the gain ends when only exchange and update are left of the step. A batch that",
            "grows with W keeps every worker busy, but it changes the training. The model leaves out three things.",
            "In large networks exchange and backward overlap, which makes them faster. Workers of one machine share",
            "the bandwidth of its memory, and the latency of a network grows with W. Both make them slower.",
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _text(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), 118, break_long_words=False, break_on_hyphens=False)


def _table(head: str, rows: Sequence[str]) -> str:
    names = head.split(" | ")
    numbers = [name not in ("network", "exchange over") for name in names]
    ruler = " | ".join("---:" if number else "---" for number in numbers)
    return "\n".join([f"| {head} |", f"| {ruler} |", *rows])


def _introduction(found: dict[str, Any]) -> str:
    environment = found["environment"]
    return _text(
        "`torchrun --nproc-per-node W scripts/train.py LAB --backend torch` gives each of W processes its shard of",
        "every batch, and DistributedDataParallel averages their gradients. The weights are those of one process, to",
        "within 1e-12 in float64. This page is about the cost. `python scripts/measure_scaling.py` writes it, in about",
        f"three minutes. Measured on {environment['processor']}, {environment['cores']} cores, gloo on the loopback:",
        f"medians of {found['rounds']} rounds, float32, AdamW. At most two workers were measured:",
        "everything about more of them is a prediction.",
        *_warning(found["load_before"][0]),
    )


def _warning(load: float) -> list[str]:
    if load < BUSY:
        return []
    return [f"The machine was busy with other things (load {load:.1f}): times are disturbed, bytes are not."]


def _fitted(found: dict[str, Any], model: Model) -> str:
    small = found["steps"]["one"][0]["parameters"]
    return _text(
        f"fixed {1e3 * model.fixed:.2f} ms; update {1e9 * model.update:.2f} ns a parameter; row {1e12 * model.row:.1f}",
        f"ps a parameter and row; exchange {1e3 * model.exchange:.2f} ms, of it the leader's order",
        f"{1e3 * found['order']:.2f} and loss and correct predictions {1e3 * found['sums']:.2f}; rate",
        f"{model.rate / 1e9:.2f} GB/s. Two workers gain if half the rows' time is more than the exchange's: with",
        f"{small:,} parameters from a batch of {model.rows_to_gain(small):,.0f} on, with very many from",
        f"{model.rows_to_gain(10**9):,.0f} on. Every worker makes the whole update, so it gains nothing.",
    )


def _steps(found: dict[str, Any], model: Model) -> list[str]:
    said = [f"{1e3 * model.step(c['parameters'], c['batch_size'], 2):.2f}" for c in found["steps"]["one"]]
    return [f"{line} {model_says} |" for line, model_says in zip(_times(found["steps"]), said, strict=True)]


def _shared(found: dict[str, Any]) -> list[str]:
    parameters = [case["parameters"] for case in found["steps"]["one"]]
    one = [{**case, "parameters": p} for case, p in zip(found["numpy"]["one"], parameters, strict=True)]
    return _times({**found["numpy"], "one": one})


def _times(ways: dict[str, Any]) -> list[str]:
    """Rows of a table: the case, and what it takes in each way, beside how many times as fast as the first."""
    lines = []
    for one, threads, two in zip(*(ways[name] for name in ("one", "threads", "two")), strict=True):
        cells = [f"{1e3 * c['seconds']:.2f} ({one['seconds'] / c['seconds']:.2f})" for c in (threads, two)]
        network, alone = "-".join(map(str, one["sizes"])), f"{1e3 * one['seconds']:.2f}"
        lines.append(f"| {network} | {one['parameters']:,} | {one['batch_size']} | {alone} | {' | '.join(cells)} |")
    return lines


def _bytes(case: dict[str, Any]) -> str:
    found = "not told by this system" if case["bytes"] is None else f"{case['bytes']:,.0f}"
    return f"| {case['parameters']:,} | {case['batch_size']} | {sent(case['parameters'], 2):,.0f} | {found} |"


def _memory(found: dict[str, Any]) -> str:
    one, two = found["memory"]["one"], found["memory"]["two"]
    parameters, network = one["parameters"], "-".join(map(str, one["sizes"]))
    grown = [f"{1e-6 * case['memory']:.0f} MB" for case in (one, two)]
    return _text(
        f"By {network} ({parameters:,} parameters, {HELD} bytes each: {1e-6 * HELD * parameters:.0f} MB)",
        f"in training at batch {one['batch_size']}, one process grows by {grown[0]}, each of two by {grown[1]}.",
    )


def _predictions(model: Model) -> list[str]:
    lines = []
    for parameters, m in LARGER:
        for name, rate in RATES.items():
            alone = model.step(parameters, m, 1)
            gains = [f"{alone / model.step(parameters, m, w, rate):.1f}" for w in WORKERS]
            lines.append(f"| {parameters:,} | {m} | {name} | {' | '.join(gains)} |")
    return lines
