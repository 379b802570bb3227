"""Measure the checker on programs that are written by a program, right ones and such with one mistake.

    python scripts/measure_programs.py [--right N] [--wrong N] [--seed S] [--out DIR] [--resume] [--workers N] [--quick]

Writes DIR/results.jsonl, one line a program. With --resume, programs that are in this file are not checked again. The
tables go to docs/programs.md; if --right, --wrong, --seed or --quick is given, they go to DIR/programs.md.
Exit codes: 0 done; 1 a rate is not what is asked (a right program called wrong, a mistake missed, ...); 2 bad usage;
130 and 143 interrupted (--resume continues).
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import CHECKOUT, Parser, positive_int, seed
from _exit_code import Mismatch, UsageError, exit_code
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from compare.measuring.programs.measurement import Line, Plan

EVERY = 20  # lines of progress, where it is no terminal


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="measure_programs", description="Measure how often the checker is wrong on programs.")
    parser.add_argument("--right", type=positive_int, metavar="N", help="right programs (default 10,000)")
    parser.add_argument("--wrong", type=positive_int, metavar="N", help="programs with a mistake (default 10,000)")
    parser.add_argument("--seed", type=seed, metavar="S", help="the first seed (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/programs"), metavar="DIR")
    parser.add_argument("--resume", action="store_true", help="continue with DIR/results.jsonl")
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="processes of one thread each")
    parser.add_argument("--quick", action="store_true", help="a sample, in about a minute")
    args = parser.parse_args(argv)
    results = args.out / "results.jsonl"
    if results.exists() and not args.resume:
        raise UsageError(f"--out {args.out}: there are results already; --resume goes on with them")
    asked = {name: getattr(args, name) for name in ("right", "wrong", "seed") if getattr(args, name) is not None}
    plan = plan_of(args.quick, asked)
    is_all = not args.quick and not asked
    write(measured(plan, results, args.workers), plan, CHECKOUT / "docs" if is_all else args.out)
    return 0


def plan_of(quick: bool, asked: dict[str, int]) -> Plan:
    from dataclasses import replace

    from compare.measuring.programs.measurement import QUICK, Plan

    return replace(QUICK if quick else Plan(), **asked)


def measured(plan: Plan, results: Path, workers: int) -> list[Line]:
    """All lines, with bars on a terminal and plain lines elsewhere."""
    from compare.measuring.programs.measurement import measure

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True,
                  disable=not console.is_terminal) as bars:  # fmt: skip
        bar = bars.add_task("programs", total=None)

        def show(done: int, total: int, line: Line) -> None:
            bars.update(bar, completed=done, total=total)
            if line["part"] == "right" and line["verdict"] in ("mismatch", "error"):
                console.print(f"{line['key']}: {line['verdict']}", soft_wrap=True, markup=False, highlight=False)
            if not console.is_terminal and (done == total or done % max(total // EVERY, 1) == 0):
                console.print(f"{done} of {total} programs checked", soft_wrap=True)

        try:
            return measure(plan, results, workers, show)
        except ValueError as error:
            raise UsageError(str(error)) from None


def write(lines: Sequence[Line], plan: Plan, folder: Path) -> None:
    """The page, and its rates and seeds on the screen. Mismatch where a rate is not what is asked."""
    from compare.measuring.programs import tables
    from compare.measuring.programs.page import render

    folder.mkdir(parents=True, exist_ok=True)
    document = folder / "programs.md"
    command = "make programs" if folder == CHECKOUT / "docs" else "python scripts/measure_programs.py"
    document.write_text(render(lines, plan, command=command), encoding="utf-8")
    rates = tables.rates(lines)
    print("\n".join(map(str, rates)))
    print(f"\nfailures:\n{tables.failures(lines)}\n\nthe tables are in {document}")
    if missed := [rate.name for rate in rates if not rate.is_met]:
        raise Mismatch(f"not what is asked: {'; '.join(missed)}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
