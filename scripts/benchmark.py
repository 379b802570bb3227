"""How fast it is: one epoch of the assignment's network by NumPy, by PyTorch and by others, in turns.

    python scripts/benchmark.py [--rounds N] [--threads N] [--images N] [--only NAME,NAME] [--sweeps] [--out DIR]
                                [--data-dir D] [--json F] [--publish]
    BACKPROP_DATA_DIR=data make bench

The job is 784-256-10, ReLU, cross-entropy, AdamW, float32, batches of 128, on Fashion-MNIST. Without Fashion-MNIST the
images are random pixels, and the output says so. Every epoch is timed in a process of its own, after a warm-up. A round
times each contender once, so that other work of the machine slows all of them alike. A contender that is not installed
(pip install -e '.[bench]') is left out, and the output names it. "processes" has as many processes as the others have
threads. Each of them has one thread, and the fast BLAS if the processor allows it. Also measured: the fifth epoch, the
shares of the matrix products and of the updates, the peak memory of a training run, the time to import, the cost of
a parity check, and a convolution against PyTorch's. With --sweeps also a step against batch size, width and depth.

Writes benchmark.json, benchmark.md (a table) and benchmark.png into DIR (default: runs/benchmark). --publish puts the
numbers and the figure into docs/ as well, and the table into docs/how-fast.md.
Exit codes: 0 done; 2 bad usage or bad input; 130, 143 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _fast_blas
import _threads
from _command import CHECKOUT, Parser, positive_int
from _exit_code import UsageError, exit_code
from rich.console import Console

JOB = Path(__file__).with_name("_benchmark_job.py")
FAST, PROCESSES = "scratch, fast BLAS", "scratch, processes"
CONTENDERS = {  # name -> (job, what it needs)
    PROCESSES: ("scratch_processes", "numpy"),
    FAST: ("scratch", "numpy"),
    "scratch": ("scratch", "numpy"),
    "scratch, layer by layer": ("plain", "numpy"),
    "torch_ref": ("torch_ref", "torch"),
    "PyTorch, default AdamW": ("torch_default", "torch"),
    "PyTorch, fused AdamW": ("torch_fused", "torch"),
    "PyTorch, compiled": ("torch_compiled", "torch"),
    "scikit-learn MLPClassifier": ("scikit_learn", "sklearn"),
    "JAX, a jitted step": ("jax_step", "jax"),
    "JAX, a scan over the epoch": ("jax_scan", "jax"),
    "the assignment's DataLoader": ("assignment", "torchvision"),
}
MODULES = ("numpy", "scratch", "torch", "torch_ref.learner", "compare")
CHECKED = [((784, 256, 10), 128), ((784, *[2048] * 7, 10), 256)]  # networks of the check's cost, and their batches
GROWTH = [  # and of how it grows with depth, width and batch
    *(((256,) * (depth + 1), 128) for depth in (2, 4, 8, 16)),
    *(((width,) * 5, 128) for width in (64, 1024)),
    *(((256,) * 5, m) for m in (16, 1024)),
]
CONVOLUTIONS = [((128, 1, 28, 28), 8), ((128, 8, 13, 13), 16)]  # fashion_mnist_cnn's: images, and channels out
LARGE = (784, *[4096] * 7, 10), 64  # 104 million parameters
LONGEST = 900  # seconds of one measurement, compilation included
SWEEPS: dict[str, list[tuple[tuple[int, ...], int]]] = {
    "batch size": [((784, 256, 10), m) for m in (1, 4, 16, 64, 256, 1024, 4096)],
    "width": [((784, width, 10), 128) for width in (64, 256, 1024, 4096)],
    "depth": [((784, *[256] * depth, 10), 128) for depth in (1, 4, 16, 64)],
}


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory() as folder:
        bench = Benchmark(args, Path(folder), console)
        found = bench.run()
    import _benchmark_report

    args.out.mkdir(parents=True, exist_ok=True)
    _benchmark_report.show(found, console)
    _benchmark_report.write(found, args.out, args.json)
    if args.publish:
        _benchmark_report.publish(found, CHECKOUT)
    console.print(f"figures, table and numbers are in {args.out}", highlight=False, soft_wrap=True)
    return 0


def _arguments(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog="benchmark", description="Time one epoch of the assignment's network by each contender.")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="epochs of each (default: 5)")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="of each contender (default: all cores)")
    parser.add_argument("--images", type=positive_int, metavar="N", help="first N images only (default: all 60,000)")
    parser.add_argument("--batch-size", type=positive_int, default=128, metavar="N")
    names = ", ".join(dict.fromkeys(job for job, _ in CONTENDERS.values()))
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"only these contenders, of {names}")
    parser.add_argument("--sweeps", action="store_true", help="also time a step against batch size, width and depth")
    parser.add_argument("--data-dir", type=Path, metavar="D", help="torchvision root (BACKPROP_DATA_DIR, else data/)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), metavar="DIR")
    parser.add_argument("--publish", action="store_true", help="write the numbers, figure and tables in docs/ anew")
    parser.add_argument("--json", type=Path, metavar="F", help="also write the numbers into this file")
    args = parser.parse_args(argv)
    args.threads = args.threads or _threads.cores()
    jobs = [job for job, _ in CONTENDERS.values()]
    args.only = args.only.split(",") if args.only else jobs
    for name in args.only:
        if name not in jobs:
            raise UsageError(f"--only {name}: expected some of {', '.join(dict.fromkeys(jobs))}")
    return args


class Benchmark:
    """The measurements; `left_out` says by name what could not take part, and why."""

    def __init__(self, args: Namespace, folder: Path, console: Console) -> None:
        self.args, self.folder, self.console = args, folder, console
        self.left_out: dict[str, str] = {}
        self.fast = {_fast_blas.VARIABLE: _fast_blas.KERNELS}
        self.no_fast_blas = _fast_blas.why_not_in_a_new_process()

    def run(self) -> dict[str, Any]:
        import _run_folder

        data = self.write_data()
        epochs = self.epochs()
        return {
            "data": data,
            "rounds": self.args.rounds,
            "threads": self.args.threads,
            "batch_size": self.args.batch_size,
            "load_before": list(os.getloadavg()),
            "epochs": epochs,
            "left_out": self.left_out,
            "memory": self.memory(),
            "imports": self.imports(),
            "checks": self.checks(),
            "large_check": self.large_check(),
            "convolutions": self.convolutions(),
            "sweeps": self.sweeps() if self.args.sweeps else {},
            "environment": _run_folder.environment(),
        }

    def write_data(self) -> str:
        """Where the jobs find their pixels; what they are, in words."""
        import numpy as np
        from _lab_data import data_dir

        from scratch.datasets import DatasetMissing
        from scratch.datasets.mnist import raw

        try:
            found = raw(data_dir(self.args.data_dir), "FashionMNIST")
            pixels, labels, name = found.train_images, found.train_labels, "Fashion-MNIST"
        except DatasetMissing as error:
            rng = np.random.default_rng(0)
            pixels, labels = rng.integers(0, 256, (60000, 28, 28), np.uint8), rng.integers(0, 10, 60000)
            name = "random pixels"
            self.say(f"{error}; going on with random pixels")
        n = min(self.args.images or len(pixels), len(pixels))
        self.is_real = name == "Fashion-MNIST"
        np.savez(self.folder / "data.npz", images=pixels[:n], labels=labels[:n])
        return f"{name}, {n:,} images"

    def epochs(self) -> dict[str, list[dict[str, Any]]]:
        """Round after round, each contender once; who fails in the first is left out of the others."""
        found: dict[str, list[dict[str, Any]]] = {}
        for number in range(1, self.args.rounds + 1):
            for name, (job, needs) in CONTENDERS.items():
                if job in self.args.only and name not in self.left_out and self.is_there(name, needs):
                    answer = self.measured(name, job, self.variables(name), seed=number)
                    if answer:
                        found.setdefault(name, []).append(answer)
                        self.say(f"round {number} of {self.args.rounds}: {name} {answer['seconds']:.3f} s")
        return {name: answers for name, answers in found.items() if name not in self.left_out}

    def variables(self, name: str) -> dict[str, str]:
        return self.fast if name in (FAST, PROCESSES) and not self.no_fast_blas else {}

    def is_there(self, name: str, module: str) -> bool:
        from importlib.util import find_spec

        if find_spec(module) is None:
            self.leave_out(name, f"{module} is not installed")
        elif name == FAST and self.no_fast_blas:
            self.leave_out(name, self.no_fast_blas)
        elif name == PROCESSES and (reason := self.no_processes()):
            self.leave_out(name, reason)
        return name not in self.left_out

    def no_processes(self) -> str:
        from scratch.crew import why_not

        return "there is one thread each" if self.args.threads == 1 else why_not()

    def leave_out(self, name: str, reason: str) -> None:
        self.left_out[name] = reason
        self.say(f"left out: {name}: {reason}")

    def memory(self) -> dict[str, Any]:
        """Of a training run in NumPy, on real pixels only: it reads them itself."""
        if not self.is_real or "scratch" not in self.args.only:
            return {}
        folder = self.args.data_dir
        return self.measured("memory", "memory", arguments=["--data-dir", str(folder.resolve())] if folder else [])

    def imports(self) -> dict[str, float]:
        """Medians over the rounds."""
        import statistics
        from importlib.util import find_spec

        modules = [name for name in MODULES if find_spec(name.partition(".")[0])]
        times: dict[str, list[float]] = {name: [] for name in modules}
        for _ in range(self.args.rounds):
            for name in modules:
                times[name].append(self.measured(f"import {name}", "imports", module=name).get("seconds", 0.0))
        return {name: statistics.median(each) for name, each in times.items()}

    def checks(self) -> list[dict[str, Any]]:
        if self.args.images and self.args.images < 6000:  # a rehearsal
            cases = CHECKED[:1]
        else:
            cases = [*CHECKED, *GROWTH]
        return [
            {"sizes": sizes, "batch_size": m, **self.measured(f"check of {sizes}", "check", sizes=sizes, batch_size=m)}
            for sizes, m in cases
        ]

    def large_check(self) -> dict[str, Any]:
        if self.args.images and self.args.images < 6000:  # a rehearsal
            return {}
        sizes, m = LARGE
        return self.measured(f"check of {sizes}", "large_check", sizes=sizes, batch_size=m)

    def convolutions(self) -> list[dict[str, Any]]:
        """By NumPy and by PyTorch, one thread each."""
        one = dict.fromkeys(_threads.VARIABLES, "1")
        found = []
        for shape, channels in CONVOLUTIONS:
            order = {"shape": shape, "channels": channels, "threads": 1}
            found.append({**order, **self.measured(f"convolution of {shape}", "convolution", one, **order)})
        return found

    def sweeps(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for name, cases in SWEEPS.items():
            for sizes, m in cases:
                row: dict[str, Any] = {"sizes": sizes, "batch_size": m}
                for by in ("scratch", "torch"):
                    answer = self.measured(f"{name}, {by}", "step_time", sizes=sizes, batch_size=m, by=by)
                    row[by] = answer.get("seconds")
                found.setdefault(name, []).append(row)
        return found

    def measured(self, name: str, job: str, variables: dict[str, str] | None = None, **order: Any) -> dict[str, Any]:
        """What a job answers, in a process of its own; {} where it fails, which is said."""
        threads = str(self.args.threads)
        own = {"data": str(self.folder / "data.npz"), "batch_size": self.args.batch_size, "threads": self.args.threads}
        environment = {**os.environ, **dict.fromkeys(_threads.VARIABLES, threads), "PYTHONPATH": str(CHECKOUT)}
        environment |= variables or {}
        command = [sys.executable, str(JOB), job, json.dumps({**own, "seed": 0, **order})]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            self.leave_out(name, f"it took more than {LONGEST} seconds")
            return {}
        try:
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            said = " ".join((done.stderr.strip() or "it said nothing").splitlines()[-1].split())[:200]
            self.leave_out(name, f"it ended with exit code {done.returncode}: {said}")
            return {}
        return answer

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(exit_code(main))
