"""Fuzz every reader of files: coverage-guided with atheris where it is installed, else by plain mutation.

    python scripts/fuzz.py [--runs N] [--target NAME ...] [--seconds S] [--plain]
    python scripts/fuzz.py --runs 100000 --target idx

--runs is the number of inputs, over all targets together (default: 1,000,000). --seconds is a limit for each target. An
input that reaches new code is kept in runs/fuzz/NAME, and the next call begins with these. An input with which a reader
does something that it must not do goes to tests/fuzz/corpus/NAME. The tests then try it in every run.
Exit codes: 0 no finding; 1 a finding; 2 bad usage; 130 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import hashlib
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _command import CHECKOUT, Parser, positive_int
from _exit_code import UsageError, exit_code

CORPUS = CHECKOUT / "tests" / "fuzz" / "corpus"
KEPT = CHECKOUT / "runs" / "fuzz"
NAMES = (
    *("idx", "mnist_npz", "record_npz", "record_safetensors", "checkpoint", "checkpoint_state"),
    *("history", "fingerprints", "config", "torchvision"),
)
LARGEST = 1 << 14  # bytes of an input
TOKENS = (b"-1", b"1e999", b"nan", b"null", b"[" * 40, b'"', b"{}", b"9" * 30, b"\0")


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="fuzz", description="Fuzz every reader of files.")
    parser.add_argument("--runs", type=positive_int, metavar="N", default=1_000_000, help="inputs over all targets")
    parser.add_argument("--target", action="append", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=positive_int, metavar="S", default=36_000, help="limit for each target")
    parser.add_argument("--seed", type=positive_int, default=1, help="seed of the mutations")
    parser.add_argument("--plain", action="store_true", help="do not use coverage, even if atheris is installed")
    parser.add_argument("--only", choices=NAMES, help="fuzz this target alone, in this process (for internal use)")
    args = parser.parse_args(argv)
    guided = not args.plain and importlib.util.find_spec("atheris") is not None
    if args.only:
        return _guided(args) if guided else _plain(args)
    names = args.target or NAMES
    args.runs = -(-args.runs // len(names))
    print("coverage-guided by atheris" if guided else "plain mutation (pip install atheris: guided by coverage)")
    rows = [_in_its_own_process(name, args) for name in names]
    _print_table(rows)
    return 1 if any(row["findings"] for row in rows) else 0


def _in_its_own_process(name: str, args: Any) -> dict[str, Any]:
    """libFuzzer ends its process, whatever it finds."""
    options = ["--only", name, "--runs", str(args.runs), "--seconds", str(args.seconds), "--seed", str(args.seed)]
    command = [sys.executable, str(CHECKOUT / "scripts" / "fuzz.py"), *options, *["--plain"] * args.plain]
    before, begun = _findings(name), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_quick_folder()) as place:  # the child cannot clear up
        env = {**os.environ, "TMPDIR": place}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=env)
    seconds = time.monotonic() - begun
    counted = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    new = sorted(_findings(name) - before)
    if done.returncode != 0 or not counted:
        print("\n".join(done.stderr.splitlines()[-25:]), file=sys.stderr)
    if done.returncode != 0 and not new:
        new = [f"exit code {done.returncode}"]
    inputs = int(counted[1]) if counted else 0
    kept = len(list((KEPT / name).glob("*")))
    row = {"target": name, "inputs": inputs, "seconds": seconds, "kept": kept, "findings": new}
    print(f"{name}: {inputs:,} inputs in {seconds:.0f} s, {len(new)} findings", flush=True)
    return row


def _findings(name: str) -> set[str]:
    return {path.name for path in (CORPUS / name).glob("*")}


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("target", "inputs", "a second", "kept for their coverage", "findings")
    for row in rows:
        rate = f"{row['inputs'] / max(row['seconds'], 1e-9):,.0f}"
        table.add_row(row["target"], f"{row['inputs']:,}", rate, str(row["kept"]), str(len(row["findings"])))
    inputs, seconds = sum(row["inputs"] for row in rows), sum(row["seconds"] for row in rows)
    findings = sum(len(row["findings"]) for row in rows)
    table.add_row("all", f"{inputs:,}", f"{inputs / seconds:,.0f}", "", str(findings), style="bold")
    Console().print(table)
    for row in rows:
        for each in row["findings"]:
            print(f"finding: {CORPUS / row['target'] / each}")


def _guided(args: Any) -> int:
    """libFuzzer's loop; it does not come back."""
    import _fuzz_targets
    import atheris

    target = _fuzz_targets.target(args.only)
    seeds, kept = _seeded(target)
    (CORPUS / args.only).mkdir(parents=True, exist_ok=True)
    workplace = _fuzz_targets.Workplace(Path(tempfile.mkdtemp(prefix="fuzz-")))
    options = [f"-runs={args.runs}", f"-max_total_time={args.seconds}", f"-seed={args.seed}", f"-max_len={LARGEST}"]
    options += [f"-artifact_prefix={CORPUS / args.only}/", "-print_final_stats=1", "-rss_limit_mb=6000", "-timeout=30"]
    atheris.Setup([sys.argv[0], *options, str(kept), str(seeds)], lambda content: _try(workplace, target, content))
    atheris.Fuzz()
    return 0


def _try(workplace: Any, target: Any, content: bytes) -> None:
    workplace.check(target, content)


def _seeded(target: Any) -> tuple[Path, Path]:
    """(a folder with the right files to start from, the folder of what earlier calls have kept)."""
    seeds, kept = Path(tempfile.mkdtemp(prefix="fuzz-seeds-")), KEPT / target.name
    kept.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(content)
    return seeds, kept


def _quick_folder() -> str | None:
    """Memory where the system has such a folder: a file is written for every input."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _plain(args: Any) -> int:
    """Mutations of the seeds, of earlier findings, and of every input to which the reader said something new."""
    import _fuzz_targets

    target, rng = _fuzz_targets.target(args.only), random.Random(args.seed)
    _, kept = _seeded(target)
    found = [path.read_bytes() for folder in (kept, CORPUS / args.only) if folder.is_dir() for path in folder.iterdir()]
    corpus, said, begun, number = [*target.seeds, *found], set[str](), time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        workplace = _fuzz_targets.Workplace(Path(folder))
        while number < args.runs and time.monotonic() - begun < args.seconds:
            content = mutated(rng.choice(corpus), rng, corpus)
            number += 1
            try:
                answer = workplace.check(target, content)
            except _fuzz_targets.Finding as finding:
                _keep(CORPUS / args.only, content)
                print(f"{finding}\nstat::number_of_executed_units: {number}", file=sys.stderr)
                return 1
            if answer not in said and len(said) < 500:
                said.add(answer)
                corpus.append(content)
                _keep(kept, content)
    print(f"stat::number_of_executed_units: {number}", file=sys.stderr)
    print(json.dumps({"answers": len(said), "accepted": workplace.accepted}))
    return 0


def _keep(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


def mutated(content: bytes, rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One to four changes: a bit, a number at its edge, a piece cut, doubled, moved, or taken from another file."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.randrange(len(data) + 1)
        stop = min(len(data), start + rng.choice((1, 2, 4, 8, 32)))
        kind = rng.randrange(7)
        if kind == 0 and start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            edge = rng.choice((0, 1, 127, 255, 1 << 15, (1 << 16) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1))
            width = rng.choice((1, 2, 4, 8))
            data[start : start + width] = (edge % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))
        elif kind == 2:
            del data[start:stop]
        elif kind == 3:
            data[start:start] = data[start:stop] * rng.choice((1, 2, 50))
        elif kind == 4:
            data[start:stop] = rng.randbytes(stop - start)
        elif kind == 5:
            other = rng.choice(corpus)
            at = rng.randrange(len(other) + 1)
            data[start:stop] = other[at : at + rng.choice((4, 16, 64))]
        else:
            data[start:stop] = rng.choice(TOKENS)
    return bytes(data[:LARGEST])


def _load_instrumented(name: str) -> None:
    """The reader's modules, as atheris needs them to see which lines an input reaches; before anything else does."""
    import atheris

    compared = ["compare.recording.files", "compare.network.architecture"]
    ours = ["scratch", *compared, "torch_ref.datasets", "_run_folder", "_training_run"]
    with atheris.instrument_imports(include=[*ours, "zipfile", "gzip", "csv", "numpy.lib._format_impl"]):
        importlib.import_module("_fuzz_targets").target(name)


if __name__ == "__main__":
    if "--only" in sys.argv and "--plain" not in sys.argv and importlib.util.find_spec("atheris"):
        _load_instrumented(sys.argv[sys.argv.index("--only") + 1])
    if sys.platform == "win32":
        raise UsageError("fuzz.py needs the timers and limits of a POSIX system")
    sys.exit(exit_code(main))
