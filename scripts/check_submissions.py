"""Check a folder of submissions, each a script that is watched, unedited, in a process of its own.

    python scripts/check_submissions.py FOLDER --network "5-7-4 relu, softmax cross-entropy" [--out DIR]
                                        [--seconds S] [--memory MB] [--workers N]
    python scripts/check_submissions.py FOLDER --table networks.csv --out checked

The table says which network each file computes: CSV with the columns file and network, or JSON, either a list of
{"file": ..., "network": ...} or one object of file: network. Each script runs as a copy in a temporary folder, with the
data files beside it but not the other scripts. DIR gets index.html, a page for each, submissions.csv and
submissions.json.

Exit codes: 0 all were examined, whatever was found (the table is the result); 2 bad usage or bad input.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import Parser, positive_int
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from rich.table import Table

    from compare.submissions.submission import Examined, Submission

EXAMPLES = """examples:
  check_submissions.py handed_in --network "784-128-10 relu, softmax cross-entropy" --out checked
  check_submissions.py handed_in --table networks.csv --seconds 60 --workers 4

exit codes: 0 all were examined, whatever was found; 2 bad usage or bad input
Not a sandbox: a submission has your rights. Run those of strangers as a user, or in a container, of their own."""
STYLES = {"parity": "green", "mismatch": "red"}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    submissions, absent = _submissions(arguments)
    if arguments.out:
        _expect_free(arguments.out)
        arguments.out.mkdir(parents=True, exist_ok=True)

    from compare.submissions import class_report
    from compare.submissions.submission import RunLimits, examine
    from scratch.printable import printable

    limits = RunLimits(float(arguments.seconds), arguments.memory << 20)
    done: list[Examined] = []

    def say(each: Examined) -> None:
        done.append(each)
        words = f"{len(done)}/{len(submissions)} {each.file}: {each.verdict} ({each.seconds:.0f} s)"
        print(printable(words), file=sys.stderr)

    found = examine(submissions, limits=limits, workers=arguments.workers, out=arguments.out, said=say)
    found = sorted([*found, *absent], key=lambda each: each.file)
    _print(_table(found), class_report.counted(found))
    if arguments.out:
        class_report.write(arguments.out, found, f"Submissions in {arguments.folder.absolute().name}")
        print(f"the pages begin at {arguments.out / 'index.html'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="check_submissions",
        description="Watch every script of a folder. Say which are right, and which line is wrong in the others.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder; every *.py in it is a submission")
    parser.add_argument("--network", metavar="TEXT", help='what they all compute: "5-7-4 relu, softmax cross-entropy"')
    parser.add_argument("--table", type=Path, metavar="F", help="the network of each script (.csv or .json)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder for pages, CSV and JSON")
    parser.add_argument(
        "--seconds", type=positive_int, default=20, metavar="S", help="stop a script after S seconds (default: 20)"
    )
    parser.add_argument(
        "--memory", type=positive_int, default=4096, metavar="MB", help="memory that a script may use (default: 4096)"
    )
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "--workers", type=positive_int, default=workers, metavar="N", help=f"scripts at a time (default: {workers})"
    )
    return parser


def _submissions(arguments: argparse.Namespace) -> tuple[list[Submission], list[Examined]]:
    """The scripts to be examined, and a row for each that cannot be: not handed in, or without a network."""
    from compare.submissions.submission import UNEXAMINED, Examined, Submission

    if not arguments.folder.is_dir():
        raise UsageError(f"{arguments.folder}: no such folder")
    if not (arguments.network or arguments.table):
        raise UsageError('expected --network, such as "5-7-4 relu, softmax cross-entropy", or --table F')
    networks = _networks(arguments.table) if arguments.table else {}
    for text in [*networks.values(), *([arguments.network] if arguments.network else [])]:
        _expect_network(text)
    files = {path.name: path for path in sorted(arguments.folder.glob("*.py")) if path.is_file()}
    if not files:
        raise UsageError(f"{arguments.folder}: no *.py in it")
    found, absent = [], []
    for name in sorted({*files, *networks}):
        network = networks.get(name, arguments.network)
        if name not in files:
            absent.append(Examined(name, network, UNEXAMINED, "no such file in the folder"))
        elif network is None:
            absent.append(Examined(name, "", UNEXAMINED, "the table has no network for it, and there is no --network"))
        else:
            found.append(Submission(files[name], network))
    return found, absent


def _expect_network(text: str) -> None:
    from compare.network.architecture import Architecture

    try:
        Architecture.of(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _networks(path: Path) -> dict[str, str]:
    """File -> network. UsageError in one line for a table that is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # as spreadsheets write it
        if path.suffix == ".csv":
            rows = csv.DictReader(text.splitlines(), strict=True)
            found = {row["file"]: row["network"] for row in rows}
        else:
            read = json.loads(text)
            pairs = read.items() if isinstance(read, dict) else ((row["file"], row["network"]) for row in read)
            found = dict(pairs)
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path}: expected a file and a network in each row; {why}") from None
    for file, network in found.items():
        if not (isinstance(file, str) and isinstance(network, str)):
            raise UsageError(f"{path}: got file {file!r} with network {network!r}, expected two texts")
    return found


def _expect_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"--out {out}: expected a new or empty folder")


def _table(found: Sequence[Examined]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from scratch.printable import printable

    table = Table(box=None, pad_edge=False)
    for name in ("submission", "verdict", "first wrong line", "cause"):
        table.add_column(name, overflow="fold")
    for each in found:
        words = [each.cause, each.ended and f"it did not run to its end: {each.ended}"]
        line = each.line.removeprefix(f"{each.file} ") or each.tensor
        cells = [each.file, each.verdict, line, "; ".join(word for word in words if word)]
        styles = ["", STYLES.get(each.verdict, "yellow"), "", ""]
        table.add_row(*(Text(printable(cell), style) for cell, style in zip(cells, styles, strict=True)))
    return table


def _print(table: Table, counted: str) -> None:
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    console.print(counted)


if __name__ == "__main__":
    sys.exit(exit_code(main))
