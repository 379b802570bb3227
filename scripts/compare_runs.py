"""Compare two runs: whether they ended with the same bits, what differs between them, and where they parted.

    python scripts/compare_runs.py A B

A and B are folders that train.py wrote. A run keeps a hash of its weights and its optimiser's state at the start and
after every epoch. With `train.py --fingerprint-steps 1` it keeps one after every update. Then the first step that
differs is named.
Exit codes: 0 the same bits; 1 they differ; 2 a folder that holds no run, or a file that is damaged.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _command import Parser
from _exit_code import UsageError, exit_code

WEIGHTS = ("weights.safetensors", "weights.pth")
FACTS = ("lab", "options", "data", "network", "loss", "optimizer", "shuffle", "device")


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="compare_runs", description="Whether two runs have the same bits, and where they parted.")
    parser.add_argument("a", metavar="A", type=Path, help="folder of the first run")
    parser.add_argument("b", metavar="B", type=Path, help="folder of the second run")
    args = parser.parse_args(argv)
    settings, surroundings = _what_differs(args.a, args.b)
    print("options: " + ("the same" if not settings else "; ".join(settings)))
    print("environment: " + ("the same" if not surroundings else "; ".join(surroundings)))
    same = [_history(args.a, args.b), _weights(args.a, args.b)]
    return 0 if all(same) else 1


def _what_differs(a: Path, b: Path) -> tuple[list[str], list[str]]:
    """(what was asked for, what it ran on): "options.seed 0 and 1"."""
    from _run_folder import RunFolder, differences, unlike

    ours, theirs = RunFolder(a).config(), RunFolder(b).config()
    settings = unlike(*({name: config.get(name) for name in FACTS} for config in (ours, theirs)))
    return settings, differences(ours, theirs)


def _history(a: Path, b: Path) -> bool:
    """Print, for each backend, how far the two have the same bits. True if that is to the end, in every backend."""
    from scratch.fingerprint import read_fingerprints
    from scratch.history import read_histories

    histories = [read_histories(run / "history.csv") for run in (a, b)]
    hashes = [read_fingerprints(run / "fingerprints.csv") for run in (a, b)]
    for run, history in zip((a, b), histories, strict=True):
        if not history:
            raise UsageError(f"{run}/history.csv: found no epoch, expected at least one")
    same = True
    for backend in sorted({*histories[0], *histories[1]}):
        rows = [each[backend].figures if backend in each else [] for each in histories]
        steps = [each.get(backend, {}) for each in hashes]
        said = _parting(rows, steps)
        print(f"{backend}: {said or f'the same bits in all {len(rows[0])} epochs'}")
        same = same and not said
    return same


def _parting(rows: Sequence[list[Any]], hashes: Sequence[Mapping[int, Any]]) -> str:
    """Where the first bits differ, in words; empty if nowhere."""
    if not all(rows):
        return f"{len(rows[0])} epochs in A and {len(rows[1])} in B"
    said = []
    shared = sorted(hashes[0].keys() & hashes[1].keys())
    parted = next((step for step in shared if hashes[0][step].digits != hashes[1][step].digits), None)
    if not shared:
        said.append("no hash of the weights at a step that both have noted")
    elif parted == 0:
        said.append("the weights differ from the start")
    elif parted is not None:
        last = max(step for step in shared if step < parted)
        epoch = hashes[0][last].epoch + 1
        where = f"at step {parted}" if parted == last + 1 else f"between steps {last + 1} and {parted}"
        exact = "" if parted == last + 1 else " (--fingerprint-steps 1 in both runs names the step)"
        said.append(f"the weights part {where}, in epoch {epoch}{exact}")
    row = next((k for k, pair in enumerate(zip(*rows, strict=False), 1) if pair[0] != pair[1]), None)
    if row is not None:
        said.append(f"the history differs from epoch {row} on")
    if len(rows[0]) != len(rows[1]):
        same = "the same bits as far as both go; " if not said else ""
        said.append(f"{same}{len(rows[0])} epochs in A and {len(rows[1])} in B")
    return "; ".join(said)


def _weights(a: Path, b: Path) -> bool:
    """Print whether the files of the final weights are the same, byte for byte; none of them is opened."""
    same = True
    for name in WEIGHTS:
        there = [(run / name).is_file() for run in (a, b)]
        if not any(there):
            continue
        if not all(there):
            said, same = f"only in {'A' if there[0] else 'B'}", False
        elif _hash(a / name) == _hash(b / name):
            said = "the same bytes"
        else:
            said, same = "they differ", False
        print(f"{name}: {said}")
    return same


def _hash(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(exit_code(main))
