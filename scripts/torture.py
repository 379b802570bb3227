"""Disturb a training run in every way, and count what is lost: kill it, fill its disk, take away what it needs.

    python scripts/torture.py [--kills N] [--tries N] [--only FAULT ...] [--backend B ...] [--seed S]
    python scripts/torture.py --only kill --backend scratch --kills 100

A run can lose its permissions, memory, data and hosts. Whatever was done to it, after it is resumed it must end with
the same bits as an undisturbed run: the history without its seconds, the hash of every step, and the weights. --kills
is for each backend, --tries for each other row of the table.
Exit codes: 0 nothing lost; 1 something lost; 2 bad usage; 130 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from _command import Parser, positive_int
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from _torture_run import Tally

NAMES = ("kill", "disk", "permission", "memory", "data", "download", "together")
BACKENDS = ("scratch", "torch", "both")


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="torture", description="Disturb a training run, resume it, and count what is lost.")
    parser.add_argument("--kills", type=positive_int, metavar="N", default=100, help="of each backend (default: 100)")
    parser.add_argument("--tries", type=positive_int, metavar="N", default=5, help="of each other fault (default: 5)")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="FAULT", help=", ".join(NAMES))
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="only this backend (default: all)")
    parser.add_argument("--seed", type=positive_int, default=1, help="seed of the moments at which a run is disturbed")
    parser.add_argument("--in-small-disk", type=Path, metavar="D", help="run inside this small disk (for internal use)")
    args = parser.parse_args(argv)
    if os.name != "posix":
        raise UsageError("torture.py needs the signals and limits of a POSIX system")
    import _torture_faults as faults

    rng = random.Random(args.seed)
    if args.in_small_disk:
        print(json.dumps(asdict(faults.on_small_disk(args.in_small_disk, args.backend[0], args.tries, rng))))
        return 0
    tallies = []
    for name in args.only or NAMES:
        fault, rows = faults.FAULTS[name]
        for row in rows:
            if row in BACKENDS and args.backend and row not in args.backend:
                continue
            with tempfile.TemporaryDirectory(prefix=f"torture-{name}-") as place:
                begun = time.monotonic()
                tally = fault(Path(place), row, args.kills if name == "kill" else args.tries, rng)
            seconds = time.monotonic() - begun
            print(f"{tally.fault}: {tally.tried} tried, {len(tally.lost)} lost, {seconds:.0f} s", flush=True)
            for lost in sorted(set(tally.lost)):
                print(f"  lost: {lost}", flush=True)
            tallies.append(tally)
    _print_table(tallies)
    return 1 if any(tally.lost for tally in tallies) else 0


def _print_table(tallies: Sequence[Tally]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("fault", "tried", "survived", "lost", "how")
    for tally in tallies:
        lost = len(tally.lost)
        table.add_row(tally.fault, str(tally.tried), str(tally.tried - lost), str(lost), tally.notes)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(exit_code(main))
