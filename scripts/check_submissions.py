"""Check a folder of submissions, each a script or notebook that is watched, unedited, in a process of its own.

    python scripts/check_submissions.py FOLDER --network "5-7-4 relu, softmax cross-entropy" [--out DIR]
                                        [--seconds S] [--memory MB] [--workers N] [--trusted]
    python scripts/check_submissions.py FOLDER --table networks.csv --out checked
    python scripts/check_submissions.py FOLDER

Every .py and .ipynb in FOLDER is a submission, and so is every folder in it, of which one script runs: the one that the
table names; else the only one; else main.py or main.ipynb; else the only one that no other imports. If this does not
say which, the folder's row says which files there are. What was passed over is listed, each with its reason.

The table says which network each file computes: CSV with the columns file and network, or JSON, either a list of
{"file": ..., "network": ...} or one object of file: network. A file is "anna.py", "anna/train.py" or the folder "anna".
Where neither says it, the network is read off the script, and its row has the one that was found.
Each script runs as a copy in a temporary folder. With it are copied the files of its own folder, and the data files
that lie in FOLDER, but not the scripts there. DIR gets index.html, a page for each, submissions.csv and
submissions.json.

Each script runs in a box (bubblewrap), see SECURITY.md. --trusted runs it with your rights.

Exit codes: 0 every submission has its row and everything else is listed, whatever was found (the table is the result);
2 bad usage or bad input, no submission in FOLDER, or no box without --trusted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import argparse
import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import Parser, positive_int
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from rich.table import Table

    from compare.submissions.handed_in import HandedIn, PassedOver
    from compare.submissions.submission import Examined, Submission

EXAMPLES = """examples:
  check_submissions.py handed_in --network "784-128-10 relu, softmax cross-entropy" --out checked
  check_submissions.py handed_in --table networks.csv --seconds 60 --workers 4
  check_submissions.py handed_in                          each network is read off its script

of a folder in FOLDER one script runs: the one that the table names; else the only one; else main.py or main.ipynb;
else the only one that no other imports. What was passed over is listed, with the reason.

exit codes: 0 every submission has its row, whatever was found, and everything else is listed;
2 bad usage or bad input, no submission in FOLDER, or no box (bubblewrap) without --trusted.
With --trusted a submission has your rights: it can read, change and delete what you can."""
STYLES = {"parity": "green", "mismatch": "red"}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    submissions, absent, passed_over = _submissions(arguments)
    if not arguments.trusted:
        _expect_box()
    if arguments.out:
        _expect_free(arguments.out)
        arguments.out.mkdir(parents=True, exist_ok=True)

    from compare.submissions import class_report
    from compare.submissions.submission import RunLimits, examine
    from scratch.printable import printable

    limits = RunLimits(float(arguments.seconds), arguments.memory << 20, box=not arguments.trusted)
    done: list[Examined] = []

    def say(each: Examined) -> None:
        done.append(each)
        words = f"{len(done)}/{len(submissions)} {each.file}: {each.verdict} ({each.seconds:.0f} s)"
        print(printable(words), file=sys.stderr)

    found = examine(submissions, limits=limits, workers=arguments.workers, out=arguments.out, said=say)
    found = sorted([*found, *absent], key=lambda each: each.file)
    if arguments.out:  # first: a terminal can be gone, or know fewer letters than the names
        class_report.write(arguments.out, found, f"Submissions in {arguments.folder.absolute().name}", passed_over)
    _print(_table(found), class_report.counted(found), class_report.by_reason(passed_over))
    if arguments.out:
        print(f"the pages begin at {arguments.out / 'index.html'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="check_submissions",
        description="Watch every submission of a folder. Say which are right, and which line is wrong in the others.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="each .py, .ipynb and folder in it is checked")
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
    parser.add_argument("--trusted", action="store_true", help="run the scripts with your rights, in no box")
    return parser


def _expect_box() -> None:
    from compare.watching.box import CannotBox, expect_box

    try:
        expect_box()
    except CannotBox as error:
        raise UsageError(f"{error}; --trusted runs the submissions with your rights") from None


def _submissions(arguments: argparse.Namespace) -> tuple[list[Submission], list[Examined], list[PassedOver]]:
    """What is to be examined, a row for each submission that cannot be, and what is no submission."""
    from compare.submissions import handed_in
    from compare.submissions.submission import UNEXAMINED, Examined, Submission

    if not arguments.folder.is_dir():
        raise UsageError(f"{arguments.folder}: no such folder")
    networks = _networks(arguments.table) if arguments.table else {}
    for text in [*networks.values(), *([arguments.network] if arguments.network else [])]:
        _expect_network(text)
    found = handed_in.read(arguments.folder, networks)
    _expect_any(arguments.folder, found)
    folders = {name.partition("/")[0] for name in found.scripts}
    why = dict.fromkeys(networks.keys() - found.scripts.keys() - folders, "no such file in the folder") | found.unclear
    submissions = []
    for name, script in sorted(found.scripts.items()):
        network = networks.get(name, networks.get(name.partition("/")[0], arguments.network))
        submissions.append(Submission(script, network or ""))
    rows = [Examined(name, networks.get(name, arguments.network or ""), UNEXAMINED, why[name]) for name in sorted(why)]
    return submissions, rows, found.passed_over


def _expect_any(folder: Path, found: HandedIn) -> None:
    if not (found.scripts or found.unclear):
        over = "; ".join(f"{each.file} is passed over, {each.why}" for each in found.passed_over[:3])
        raise UsageError(f"{folder}: no .py, no .ipynb and no folder of a submission in it{over and f'; {over}'}")


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
    return {file.rstrip("/"): network for file, network in found.items()}


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
        line = each.line.removeprefix(f"{Path(each.file).name} ") or each.tensor
        cells = [each.file, each.verdict, line, "; ".join(word for word in words if word)]
        styles = ["", STYLES.get(each.verdict, "yellow"), "", ""]
        table.add_row(*(Text(printable(cell), style) for cell, style in zip(cells, styles, strict=True)))
    return table


def _print(table: Table, counted: str, reasons: Mapping[str, Sequence[str]]) -> None:
    from rich.console import Console

    from scratch.printable import printable

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    console.print(counted)
    for why, files in reasons.items():
        console.print(printable(f"passed over, {why}: {', '.join(files)}"))


if __name__ == "__main__":
    sys.exit(exit_code(main))
