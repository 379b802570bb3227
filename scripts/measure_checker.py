"""Measure how far the checker can be trusted, on planted faults and on correct networks.

    python scripts/measure_checker.py [--quick] [--networks N] [--seeds N] [--out DIR] [--resume] [--workers N]

Writes DIR/results.jsonl, one line a run. With --resume, runs that are in this file are not repeated. The tables go to
docs/trust.md; with --quick they go to DIR/trust.md.
Exit codes: 0 done; 1 a false alarm, or a large fault that was missed or found at the wrong tensor; 2 bad usage; 130 and
143 interrupted (--resume continues).
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import CHECKOUT, Parser, positive_int
from _exit_code import Mismatch, UsageError, exit_code
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from compare.measuring.trust.measurement import Line, Plan

EVERY = 20  # lines of progress, where it is no terminal


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="measure_checker", description="Measure how often the checker is wrong.")
    parser.add_argument("--quick", action="store_true", help="a sample, in under a minute")
    parser.add_argument("--networks", type=positive_int, metavar="N", help="random networks in each precision")
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="seeds for each planted fault")
    parser.add_argument("--out", type=Path, default=Path("runs/trust"), metavar="DIR")
    parser.add_argument("--resume", action="store_true", help="continue with DIR/results.jsonl")
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="processes of one thread each")
    args = parser.parse_args(argv)
    results = args.out / "results.jsonl"
    if results.exists() and not args.resume:
        raise UsageError(f"--out {args.out}: there are results already; --resume goes on with them")
    lines = measured(plan_of(args.quick, args.networks, args.seeds), results, args.workers)
    document = CHECKOUT / "docs" / "trust.md" if not args.quick else args.out / "trust.md"
    write(lines, document, results, args.quick)
    return 0


def plan_of(quick: bool, networks: int | None, seeds: int) -> Plan:
    from dataclasses import replace

    from compare.measuring.trust.measurement import QUICK, Plan

    plan = replace(QUICK if quick else Plan(), seeds=tuple(range(seeds)))
    if networks is None:
        return plan
    return replace(plan, networks=networks, others=min(plan.others, networks), judged=min(plan.judged, networks))


def measured(plan: Plan, results: Path, workers: int) -> list[Line]:
    """All lines, with bars on a terminal and plain lines elsewhere."""
    from compare.measuring.trust.measurement import measure

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True,
                  disable=not console.is_terminal) as bars:  # fmt: skip
        bar = bars.add_task("measuring", total=None)

        def show(done: int, total: int, part: str) -> None:
            bars.update(bar, completed=done, total=total, description=part)
            if not console.is_terminal and (done == total or done % max(total // EVERY, 1) == 0):
                console.print(f"{done} of {total} tasks done ({part})", soft_wrap=True)

        try:
            return measure(plan, results, workers, show)
        except ValueError as error:
            raise UsageError(str(error)) from None


def write(lines: Sequence[Line], document: Path, results: Path, quick: bool) -> None:
    """The document, and its beginning on the screen. Mismatch for what must not be."""
    from compare.measuring.trust import tables
    from compare.measuring.trust.document import render

    command = "python scripts/measure_checker.py --quick" if quick else "make trust"
    text = render(lines, command=command, results=results.name, quick=quick)
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(text, encoding="utf-8")
    console = Console()
    console.print(Markdown(text) if console.is_terminal else text, soft_wrap=True, highlight=False, markup=False)
    print(f"written to {document}")
    problems = [name for name, found in (("a false alarm", tables.accused(lines)), ("a miss", tables.misses(lines)))
                if found != "none\n"]  # fmt: skip
    if problems:
        raise Mismatch(f"there was {' and '.join(problems)}: see {document}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
