"""A lab's studies: many settings, each over several seeds, as a table, a figure and a CSV file.

    python scripts/sweep.py LAB [--seeds N] [--out DIR] [--published] [--data-dir D]
    python scripts/sweep.py xor_line --seeds 5
    python scripts/sweep.py linear --published
    python scripts/sweep.py digit_pair --digits 7,9
    python scripts/sweep.py iris --published
    python scripts/sweep.py LAB --resume DIR

With --published the study runs the published settings, and the table has the published figures beside ours. All cores
are used, with one thread a run. Writes config.json, runs.jsonl, study.csv and study.png into DIR (default:
runs/sweep-LAB). Each run is added to runs.jsonl when it ends, and study.csv grows row by row. With --resume DIR an
interrupted study continues from there with its own settings, and a finished one is drawn again. Training that is not
finite is a row of the table.
Exit codes: 0 done; 2 bad usage or bad input; 130, 143 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import csv
import importlib
import io
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from _command import Parser, positive_int
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from _run_folder import RunFolder
    from rich.console import Console

    from scratch.study_runs import StudyRuns

SEEDS = 5

Row = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    from _run_folder import RunFolder
    from rich.console import Console

    args = _arguments(argv)
    console = Console(width=None if sys.stdout.isatty() else 160)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    with ExitStack() as held:
        resumed = RunFolder.open(args.resume) if args.resume else None
        if resumed:
            held.callback(resumed.close)
            _take_over(args, resumed.config())
        args.seeds = args.seeds or getattr(lab_module(args.lab), "SEEDS", SEEDS)
        data = _data(args, say)
        named = f"sweep-{args.lab}{'-published' if args.published else ''}"
        folder = resumed or RunFolder.create(args.out, named)
        held.callback(folder.close)
        return _study(args, folder, resumed is not None, data, console, say)


def _study(
    args: Namespace, folder: RunFolder, resumed: bool, data: Any, console: Console, say: Callable[[str], None]
) -> int:
    """The study, its table and its figure, in its folder."""
    import _run_folder

    module = lab_module(args.lab)
    config = {"options": {name: getattr(args, name) for name in _options()}, **_run_folder.environment()}
    config |= {"data": {"source": data.source}} if data else {}
    if resumed:
        _expect_same_data(folder.config(), config, args.resume)
    else:
        folder.write_json("config.json", config)
    runs = _kept_runs(folder / "runs.jsonl")
    if resumed:
        say(f"{len(runs.results)} runs are done already")
    try:
        rows = _rows(module.study(args.seeds, args.published, say, data, runs), folder / "study.csv")
    except (KeyboardInterrupt, SystemExit):
        say(f"to go on: python scripts/sweep.py {args.lab} --resume {folder.path}")
        raise
    for table in tables(rows):
        console.print(table)
    if hasattr(module, "study_figure"):
        import scratch.plots

        scratch.plots.save(module.study_figure(rows, args.seeds, args.published), folder / "study.png")
    say(f"{len(rows)} rows are in {folder / 'study.csv'}")
    return 0


def _arguments(argv: Sequence[str] | None) -> Namespace:
    import _lab_choice
    import _run_folder

    parser = Parser(prog="sweep", description="A lab's studies: many settings, each over several seeds.")
    parser.add_argument("lab", metavar="LAB", help=", ".join(labs_with_a_study()))
    parser.add_argument("--seeds", type=positive_int, metavar="N", help=f"default: {SEEDS}, or the lab's own number")
    parser.add_argument("--published", action="store_true", help="published settings, beside the published figures")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder (default: runs/sweep-LAB)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue the study in this folder")
    parser.add_argument("--data-dir", type=Path, metavar="D", help="torchvision root (BACKPROP_DATA_DIR, else data/)")
    _lab_choice.add_arguments(parser, variants=False)
    args = parser.parse_args(argv)
    if args.lab not in labs_with_a_study():
        raise UsageError(f"lab {args.lab!r}: expected one of {', '.join(labs_with_a_study())}")
    if args.resume and args.out:
        raise UsageError("--out and --resume: expected one of them; a resumed study stays in its folder")
    if args.out:
        _run_folder.expect_free(args.out)
    return args


def _kept_runs(path: Path) -> StudyRuns:
    from scratch.study_runs import StudyRuns, StudyRunsError

    try:
        return StudyRuns(path)
    except StudyRunsError as error:
        raise UsageError(str(error)) from error


def _rows(study: Iterable[Row], path: Path) -> list[Row]:
    """All rows; those that are there are in the file."""
    rows: list[Row] = []
    for row in study:
        rows.append(row)
        write_rows(path, rows)
    return rows


def _options() -> tuple[str, ...]:
    """What a study consists of."""
    import _lab_choice

    return ("lab", "seeds", "published", *_lab_choice.OPTIONS)


def _take_over(args: Any, config: Mapping[str, Any]) -> None:
    """The resumed study's options where none were given. UsageError naming one that contradicts them."""
    try:
        saved = {name: config["options"][name] for name in _options()}
    except (KeyError, TypeError) as error:
        raise UsageError(f"{args.resume}/config.json: no {error} in it, expected a study's options") from error
    for name, value in saved.items():
        given = getattr(args, name)
        if given not in (None, False, value):
            option = "LAB" if name == "lab" else f"--{name}"
            raise UsageError(f"--resume {args.resume}: a study with {option} {value}, expected {given}")
        setattr(args, name, value)


def _expect_same_data(saved: Mapping[str, Any], ours: Mapping[str, Any], where: Path) -> None:
    if saved.get("data") != ours.get("data"):
        raise UsageError(f"--resume {where}: a study on {saved.get('data')}, expected {ours.get('data')}")


def labs_with_a_study() -> list[str]:
    from scratch.labs import LABS

    return [name for name in LABS if hasattr(lab_module(name), "study")]


def lab_module(name: str) -> ModuleType:
    """The labs' modules have the labs' names."""
    return importlib.import_module(f"scratch.labs.{name}")


def _data(args: Any, say: Any) -> Any:
    """What a lab with data in files is given; None for the others, which make their own."""
    import _lab_choice
    import _lab_data

    from scratch.labs import LABS

    lab = _lab_choice.chosen(LABS[args.lab], vars(args))
    if lab.downloads is None:
        return None
    return _lab_data.load(lab, "scratch", _lab_data.data_dir(args.data_dir), lab.dtype, lab.seed, say)[1]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """As CSV, with the columns of all rows; None and what a row does not have are empty. In one step."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text.getvalue(), encoding="utf-8")
    beside.replace(path)


def tables(rows: Sequence[Row]) -> list[Any]:
    """A rich table for each stretch of rows that have the same columns; empty columns are left out."""
    return [_table(list(part)) for _, part in groupby(rows, key=list)]


def _table(rows: Sequence[Row]) -> Any:
    from rich.table import Table

    table = Table()
    spread = {name for name in rows[0] if f"{name} min" in rows[0]}
    ends = {f"{name} {end}" for name in spread for end in ("min", "max")}
    columns = [name for name in rows[0] if name not in ends and any(row[name] not in (None, "") for row in rows)]
    for name in columns:
        is_number = all(isinstance(row[name], int | float | None) for row in rows)
        justify: Any = "right" if is_number else "left"
        table.add_column(f"{name} (range)" if name in spread else name, justify=justify, overflow="fold")
    before = rows[0].get("study")
    for row in rows:
        if row.get("study") != before:
            table.add_section()
            before = row.get("study")
        table.add_row(*(_cell(row, name, name in spread) for name in columns))
    return table


def _cell(row: Row, name: str, with_range: bool) -> str:
    text = _in_words(row[name])
    if with_range and row[name] is not None:
        text += f" ({_in_words(row[f'{name} min'])} - {_in_words(row[f'{name} max'])})"
    return text


def _in_words(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(exit_code(main))
