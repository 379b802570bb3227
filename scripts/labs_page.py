"""docs/labs.md: run every lab and every study in both backends, then write the page and its figures from their files.

    python scripts/labs_page.py [--data-dir D] [--workers N] [--only NAME ...] [--no-runs] [--quick]
    make labs

Every run has its own folder in runs/labs. A finished run is not repeated, so an interrupted call continues where it
was. If a run is missing, the page says so and names the command that makes it. With --no-runs only the page is written.
With --quick two small labs run for a few epochs. With --quick or --out the page is beside the runs.
Exit codes: 0 done; 1 a run ended otherwise than it should; 2 bad usage; 130, 143 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import CHECKOUT, Parser, positive_int
from _exit_code import Mismatch, UsageError, exit_code

if TYPE_CHECKING:
    from compare.measuring.lab_runs import LabRun


def main(argv: Sequence[str] | None = None) -> int:
    from compare.measuring.lab_runs import QUICK, RUNS

    parser = Parser(prog="labs_page", description="Every lab in both backends, and docs/labs.md from their files.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the runs (default: runs/labs)")
    parser.add_argument("--data-dir", type=Path, metavar="D", help="torchvision root (BACKPROP_DATA_DIR, else data/)")
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="runs at a time (default: 2)")
    parser.add_argument("--only", nargs="+", choices=[run.name for run in RUNS], metavar="NAME", help="only these runs")
    parser.add_argument("--no-runs", action="store_true", help="write the page from the runs that are there")
    parser.add_argument("--quick", action="store_true", help="a few epochs of the smallest labs; page in --out")
    args = parser.parse_args(argv)
    if args.quick and args.only:
        raise UsageError("--quick and --only: expected one of them")
    folder = args.out or CHECKOUT / "runs" / ("labs-quick" if args.quick else "labs")
    runs = QUICK if args.quick else RUNS
    if args.data_dir:
        os.environ["BACKPROP_DATA_DIR"] = str(args.data_dir.resolve())
    chosen = [run for run in runs if not args.only or run.name in args.only]
    failed = [] if args.no_runs else run_all(chosen, folder, args.workers)
    from compare.measuring import labs_page

    page = (folder if args.quick or args.out else CHECKOUT / "docs") / "labs.md"
    missing = labs_page.write(page, folder, runs)
    print(f"written to {page}" + (f"; missing: {', '.join(missing)}" if missing else ""))
    if failed:
        raise Mismatch(f"not as it should be: {'; '.join(failed)}")
    return 0


def run_all(runs: Sequence[LabRun], folder: Path, workers: int) -> list[str]:
    """Those that are not done yet, with a line for each; what failed, and how."""
    from compare.measuring.lab_runs import RUNS, Runner, is_done
    from compare.measuring.labs_page import DURATION

    waiting, began = [run for run in runs if not is_done(run, folder)], time.monotonic()
    print(f"{len(runs) - len(waiting)} of {len(runs)} runs are done already", flush=True)
    runner, failed = Runner(folder, workers), []
    try:
        for i, ended in enumerate(runner.all(waiting, lambda run: print(f"begins: {run}", flush=True)), 1):
            how = f"FAILED, {ended.error}" if ended.error else "done"
            print(f"{i} of {len(waiting)}: {ended.run.name} {how}, {ended.seconds:.0f} s", flush=True)
            if ended.error:
                failed.append(f"{ended.run.name} ({ended.error})")
    finally:
        runner.close()
    if len(waiting) == len(RUNS) and not failed:
        commands = [str(run) for run in waiting]
        took = {"seconds": round(time.monotonic() - began), "workers": workers, "commands": commands}
        (folder / DURATION).write_text(json.dumps(took) + "\n", encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(exit_code(main))
