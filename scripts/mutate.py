"""Mutation testing: small changes of the layers, losses, network and optimisers, with check_parity as the judge.

    python scripts/mutate.py [--files FILE ...] [--limit N] [--out DIR] [--workers N]
    python scripts/mutate.py --files network.py
    python scripts/mutate.py --limit 20

Writes DIR/results.jsonl, one line a mutant. If the code has not changed, results that are in this file are used again.
The tables go to docs/mutants.md. With --files or --limit they go to DIR/mutants.md. --limit takes N mutants, evenly
spread.
Exit codes: 0 done; 1 a mutant survived without a reason in compare/measuring/mutants/known.py, or a reason there has no
survivor, or fewer than 99 % of the mutants that change behaviour were killed (counted over all files); 2 bad usage; 130
and 143 interrupted (the same command continues).
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import CHECKOUT, Parser, positive_int
from _exit_code import Mismatch, UsageError, exit_code
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from compare.measuring.mutants.judge import Line
    from compare.measuring.mutants.mutators import Mutant
    from compare.measuring.mutants.page import Fate

EVERY = 20  # lines of progress, where it is no terminal


def main(argv: Sequence[str] | None = None) -> int:
    from compare.measuring.mutants.page import TARGET, share, stale, unexplained
    from compare.measuring.mutants.planting import FILES, mutants_of

    parser = Parser(prog="mutate", description="Small changes of the code under test: does the check see them?")
    parser.add_argument("--files", nargs="+", metavar="FILE", default=FILES, help=", ".join(FILES))
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only N mutants, evenly spread")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"), metavar="DIR")
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="processes of one thread each")
    args = parser.parse_args(argv)
    if not hasattr(os, "fork"):
        raise UsageError("each mutant runs in a fork of a worker, and this system has none")
    try:
        mutants = [mutant for file in args.files for mutant in mutants_of(file)]
    except ValueError as error:
        raise UsageError(str(error)) from None
    some = chosen(mutants, args.limit)
    found = judged(some, args.out / "results.jsonl", args.workers)
    is_all = len(some) == len(mutants) and set(args.files) == set(FILES)
    write(found, CHECKOUT / "docs" / "mutants.md" if is_all else args.out / "mutants.md")
    if is_all and share(found) < TARGET:
        raise Mismatch(f"fewer than {TARGET:.0%} were killed")
    if survivors := unexplained(found):
        known = "compare/measuring/mutants/known.py"
        raise Mismatch(f"{len(survivors)} survivors without a reason in {known}: {survivors[0]}")
    if len(some) == len(mutants) and (old := stale(found)):
        raise Mismatch(f"{len(old)} entries of compare/measuring/mutants/known.py name no survivor: {old[0]}")
    return 0


def chosen(mutants: Sequence[Mutant], limit: int | None) -> list[Mutant]:
    """`limit` of them, evenly spread; all without a limit."""
    if limit is None or limit >= len(mutants):
        return list(mutants)
    return [mutants[k * len(mutants) // limit] for k in range(limit)]


def judged(mutants: Sequence[Mutant], results: Path, workers: int) -> list[Fate]:
    """All of them, with bars on a terminal and plain lines elsewhere."""
    from compare.measuring.mutants.measurement import run
    from compare.measuring.mutants.page import fates

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True,
                  disable=not console.is_terminal) as bars:  # fmt: skip
        bar = bars.add_task("mutants", total=None)

        def show(done: int, total: int, line: Line) -> None:
            bars.update(bar, completed=done, total=total)
            if line["outcome"] == "survived":
                console.print(f"survived: {line['key']}", soft_wrap=True, markup=False, highlight=False)
            if not console.is_terminal and (done == total or done % max(total // EVERY, 1) == 0):
                console.print(f"{done} of {total} mutants judged", soft_wrap=True)

        return fates(mutants, run(mutants, results, workers, show))


def write(found: Sequence[Fate], document: Path) -> None:
    """The page, and its counts on the screen."""
    from compare.measuring.mutants.cases import Asked, cases
    from compare.measuring.mutants.page import render, summary

    networks = [isinstance(case, Asked) for case in cases()]
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(render(found, sum(networks), len(networks) - sum(networks)), encoding="utf-8")
    print(f"{summary(found)}\nthe tables are in {document}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
