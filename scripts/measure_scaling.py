"""Measure training in several processes: time, memory and bytes of a step, and what they predict for other machines.

    python scripts/measure_scaling.py [--rounds N] [--seconds S] [--out DIR] [--page F]

Steps of four networks are timed in turns: in one process with one thread, in one process with two threads, and in two
processes with one thread each (torchrun, gloo on the loopback). NumPy is timed in the same way; its processes share
memory. Also measured: the exchanges of a step by size, the bytes on the loopback, and the memory of a network. It takes
about three minutes on two cores that do nothing else.

Writes scaling.json into DIR (default: runs/scaling), and the page (default: docs/scaling.md) from it.
Exit codes: 0 done; 2 bad usage, or a measurement that failed; 130, 143 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import _scaling_page
import _threads
from _command import CHECKOUT, Parser, positive_float, positive_int
from _exit_code import UsageError, exit_code

JOB = Path(__file__).with_name("_scaling_job.py")
WARM_UP = [[16, 16, 4], 8]  # what PyTorch takes at its first step is not the network's
MEMORY = [[784, 4096, 2048, 10], 64]
TIMED = [
    [[784, 256, 10], 128],
    [[784, 256, 10], 1024],
    [[784, 1024, 1024, 10], 128],
    [[784, 1024, 1024, 10], 1024],
]
WAYS = {"one": (1, 1), "threads": (1, 2), "two": (2, 1)}  # name -> processes, threads of each
LONGEST = 600  # seconds of one job


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="measure_scaling", description="Time, memory and bytes of training in several processes.")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="of all jobs (default: 3)")
    parser.add_argument("--seconds", type=positive_float, default=1.0, metavar="S", help="for each case (default: 1)")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "runs" / "scaling", metavar="DIR")
    parser.add_argument("--page", type=Path, default=CHECKOUT / "docs" / "scaling.md", metavar="F")
    args = parser.parse_args(argv)
    found = measure(args.rounds, args.seconds)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "scaling.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    args.page.write_text(_scaling_page.page(found))
    print(f"numbers are in {args.out / 'scaling.json'}, the page is {args.page}")
    return 0


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Medians over the rounds, in which each way has its turn."""
    import _run_folder

    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    numpy: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    load = list(os.getloadavg())
    for number in range(1, rounds + 1):
        for name, (processes, threads) in WAYS.items():
            answers[name].append(job(processes, threads, seconds))
            numpy[name].append(numpy_job(processes, threads, seconds))
            print(f"round {number} of {rounds}: {processes} x {threads}", flush=True)
    cases = range(len(TIMED) + 2)
    found = {name: [_median([a["cases"][k] for a in each]) for k in cases] for name, each in answers.items()}
    pairs = answers["two"]
    sizes = [each["bytes"] for each in pairs[0]["allreduce"]]
    times = [statistics.median(a["allreduce"][k]["seconds"] for a in pairs) for k in range(len(sizes))]
    return {
        "rounds": rounds,
        "load_before": load,
        "memory": {name: cases[1] for name, cases in found.items()},
        "steps": {name: cases[2:] for name, cases in found.items()},
        "numpy": {
            name: [_median_seconds(a["cases"][k] for a in each) for k in range(len(TIMED))]
            for name, each in numpy.items()
        },
        "allreduce": [{"bytes": b, "seconds": s} for b, s in zip(sizes, times, strict=True)],
        "order": statistics.median(a["order"] for a in pairs),
        "sums": statistics.median(a["sums"] for a in pairs),
        "environment": _run_folder.environment(),
    }


def job(processes: int, threads: int, seconds: float) -> dict[str, Any]:
    """PyTorch's answer."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    order = {"cases": [WARM_UP, MEMORY, *TIMED], "seconds": seconds}
    return answer(f"{processes} processes", launcher, order, threads)


def numpy_job(processes: int, threads: int, seconds: float) -> dict[str, Any]:
    """NumPy's."""
    order = {"cases": TIMED, "seconds": seconds, "processes": processes}
    return answer(f"{processes} processes of NumPy", [], order, threads)


def answer(name: str, launcher: list[str], order: dict[str, Any], threads: int) -> dict[str, Any]:
    """What a job says. UsageError with its last words if it fails."""
    environment = {**os.environ, **dict.fromkeys(_threads.VARIABLES, str(threads)), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, *launcher, str(JOB), json.dumps({**order, "threads": threads})]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise UsageError(f"{name}: no answer within {LONGEST} seconds") from None
    except (IndexError, ValueError):
        said = " ".join((done.stderr.strip() or "it said nothing").splitlines()[-1].split())[:200]
        raise UsageError(f"{name} ended with exit code {done.returncode}: {said}") from None
    return found


def _median_seconds(cases: Iterable[dict[str, Any]]) -> dict[str, Any]:
    found = list(cases)
    return {**found[0], "seconds": statistics.median(each["seconds"] for each in found)}


def _median(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One case over the rounds: medians of its numbers, and the spread of its seconds."""
    numbers = {name: statistics.median(c[name] for c in cases) for name in ("seconds", "memory")}
    sent = [c["bytes"] for c in cases if c["bytes"] is not None]
    seconds = [c["seconds"] for c in cases]
    return {
        **cases[0],
        **numbers,
        "bytes": statistics.median(sent) if sent else None,
        "spread": [min(seconds), max(seconds)],
    }


if __name__ == "__main__":
    sys.exit(exit_code(main))
