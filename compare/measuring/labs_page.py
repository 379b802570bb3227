"""docs/labs.md and its figures, from the files of the runs in lab_runs.py and the prose in templates/labs.md.

The prose is written by hand, and so are the published figures; every measured number is read from a run's files. What
a sentence claims links to a run of the page's last section or to a test, and a test or file that is not there is an
error. Where a run is missing the page says so, with the command that makes it.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2

from compare.measuring.lab_runs import CHECKOUT, LabRun, is_done

TEMPLATE = Path(__file__).parent / "templates" / "labs.md"
LARGEST = 300 * 1024  # bytes of a figure
WIDTH = 1400  # pixels
DURATION = "duration.json"  # in the folder of the runs
ROUNDINGS = 100  # units of roundoff; what is farther apart than that was amplified, or added up
BACKENDS = {"scratch": "NumPy", "torch": "PyTorch"}


class PageError(ValueError):
    """The template points at something that is not there."""


class RunFiles:
    """What one run left in its folder, read when the page asks for it."""

    def __init__(self, run: LabRun, folder: Path) -> None:
        self.run, self.folder = run, folder / run.name

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def rows(self, name: str = "study.csv") -> list[dict[str, str]]:
        with (self.folder / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def row(self, **cells: str) -> dict[str, str]:
        """The study's row with these cells."""
        return next(row for row in self.rows() if all(row[name] == cell for name, cell in cells.items()))

    def leading_numbers(self, column: str) -> list[int]:
        """Of every row of the study the 8 of a cell such as "8 of 30"."""
        return [int(row[column].split()[0]) for row in self.rows()]

    def count(self, column: str, *words: str) -> int:
        """How many rows of the study have one of the words in that column's list."""
        return sum(not set(words).isdisjoint(row[column].split(", ")) for row in self.rows())

    @cached_property
    def metrics(self) -> Any:
        return self.json("metrics.json")

    @cached_property
    def config(self) -> Any:
        return self.json("config.json")

    @property
    def apart(self) -> float:
        """The largest relative difference of one parameter's weights, NumPy against PyTorch, over all epochs."""
        return max(float(row["largest_of_one_parameter"]) for row in self.rows("differences.csv"))

    @property
    def unit(self) -> float:
        """The unit roundoff of its dtype."""
        return float(2.0**-53 if self.metrics["dtype"] == "float64" else 2.0**-24)

    @property
    def parts_in(self) -> int | None:
        """The first epoch from which on the weights stay more than ROUNDINGS units apart; None if they never do."""
        return _stays_above([float(r["largest_of_one_parameter"]) for r in self.rows("differences.csv")], self.unit)

    @property
    def parts_at_step(self) -> int | None:
        """The same of a run that was compared step by step: the first update."""
        apart: dict[int, float] = {}
        for row in self.rows("lockstep.csv"):
            apart[int(row["step"])] = max(apart.get(int(row["step"]), 0.0), float(row["relative"]))
        return _stays_above([apart[step] for step in sorted(apart) if step], self.unit)

    @property
    def seconds(self) -> float:
        return float(self.json("run.json")["seconds"])

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        return (self.folder / "output.txt").read_text(encoding="utf-8").strip().splitlines()[-1]

    def said(self, before: str) -> str:
        """The word that follows the last `before` in what it printed."""
        return (self.folder / "output.txt").read_text(encoding="utf-8").rpartition(before)[2].split()[0]

    def epoch(self, number: int, backend: str = "scratch") -> dict[str, float]:
        """One epoch's row of history.csv."""
        rows = self.rows("history.csv")
        found = next(r for r in rows if r["backend"] == backend and r["epoch"] == str(number))
        return {name: float(value) for name, value in found.items() if name != "backend"}


class Page:
    """What the template calls."""

    def __init__(self, page: Path, folder: Path, runs: Sequence[LabRun]) -> None:
        from compare.measuring.lab_runs import RUNS

        known = {run.name: run for run in RUNS} | {run.name: run for run in runs}
        self.page, self.folder, self.runs = page, folder, known
        self.done = {name for name, run in known.items() if is_done(run, folder)}
        self.missed: dict[str, None] = {}
        self.figures: set[Path] = set()

    def run(self, name: str) -> RunFiles:
        if name not in self.done:
            raise PageError(f"run {name}: not done, and used outside `here`")
        return RunFiles(self.runs[name], self.folder)

    def here(self, *names: str) -> bool:
        """Whether all of these runs are done; those that are not are said to be missing at the end."""
        self.missed |= dict.fromkeys(name for name in names if name not in self.done)
        return self.done.issuperset(names)

    def missing(self, *names: str) -> str:
        """A line for each of these runs that is not done."""
        lines = [f"*Missing: run `{n}` is not done. `{self.runs[n]}` makes it.*" for n in names if n not in self.done]
        return "\n\n".join(lines)

    def by(self, *names: str) -> str:
        """Links to the runs that show something."""
        word = "runs" if len(names) > 1 else "run"
        return f"{word} {', '.join(f'[`{name}`](#run-{self._known(name)})' for name in names)}"

    def test(self, path: str, name: str) -> str:
        """A link to the test that shows something."""
        source = CHECKOUT / path
        if not source.is_file() or not re.search(rf"^def {name}\(", source.read_text(encoding="utf-8"), re.MULTILINE):
            raise PageError(f"{path}: found no test {name}")
        return f"test [`{name}`]({self._relative(source)})"

    def file(self, path: str) -> str:
        """A link to a file of the checkout."""
        if not (CHECKOUT / path).is_file():
            raise PageError(f"{path}: no such file")
        return f"[`{path}`]({self._relative(CHECKOUT / path)})"

    def figure(self, name: str, file: str, caption: str) -> str:
        """A copy of a run's figure beside the page, and the line that shows it."""
        kept = self.page.with_suffix("") / f"{name}-{file}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shrink(self.run(name).folder / file, kept)
        self.figures.add(kept)
        return f"![{caption}]({kept.relative_to(self.page.parent).as_posix()})"

    def backends(self, runs: Mapping[str, str], held_out: str = "validation") -> str:
        """A row for each run and backend: the figures of its last epoch, and how far the two backends' weights part.

        Runs that are not done are left out, and said to be missing below the table.
        """
        self.here(*runs.values())
        done = {words: name for words, name in runs.items() if name in self.done}
        head = ["run", "backend", "epochs", "training loss", "accuracy", f"{held_out} loss", "accuracy"]
        rows = []
        for words, name in done.items():
            found = self.run(name)
            for backend, last in found.metrics["backends"].items():
                numbers = (last[f"{part}_{what}"] for part in ("train", "val") for what in ("loss", "accuracy"))
                first = backend == next(iter(found.metrics["backends"]))
                apart = f"{found.apart:.1e} in {found.metrics['dtype']}" if first else ""
                checked = " ".join(sorted(set((found.metrics["check"] or {}).values()))) if first else ""
                cells = [words if first else "", BACKENDS[backend], str(last["epoch"])]
                rows.append([*cells, *(f"{number:.4f}" for number in numbers), apart, checked])
        drawn = table([*head, "weights apart by up to", "check before training"], rows) if rows else ""
        return "\n\n".join(filter(None, (drawn, self.missing(*runs.values()))))

    def agreement(self, runs: Mapping[str, str]) -> str:
        """A row for each run: how far the backends' weights part over all of it, and from which epoch on."""
        self.here(*runs.values())
        rows = []
        for words, name in runs.items():
            if name in self.done:
                found, epochs = self.run(name), len(self.run(name).rows("differences.csv"))
                part = "" if found.parts_in is None else str(found.parts_in)
                link = f"[`{name}`](#run-{name})"
                rows.append([words, link, found.metrics["dtype"], str(epochs), f"{found.apart:.1e}", part])
        head = ["lab", "run", "precision", "epochs", "weights apart by up to", f"over {ROUNDINGS} roundings from epoch"]
        drawn = table(head, rows) if rows else ""
        return "\n\n".join(filter(None, (drawn, self.missing(*runs.values()))))

    def furthest(self, dtype: str) -> float:
        """The largest difference of all runs in both backends and this precision that are done."""
        found = [self.run(name) for name in self.done if (self.folder / name / "differences.csv").exists()]
        return max((run.apart for run in found if run.metrics["dtype"] == dtype), default=0.0)

    def took(self) -> str:
        """How long the last call took that did every run; empty where none did."""
        path = self.folder / DURATION
        if not path.exists():
            return ""
        found = json.loads(path.read_text(encoding="utf-8"))
        commands = {str(run) for run in self.runs.values()}
        since = len(commands - set(found["commands"]))
        took = f"{found['seconds'] / 60:.0f} minutes for {len(found['commands'])} runs, {found['workers']} at a time"
        return took + (f"; {since} of today's runs are of a later call, with other settings" if since else "")

    def study(self, name: str, only: str | None = None, columns: Mapping[str, str] | None = None) -> str:
        """study.csv as a table: medians with their ranges. only: one of its studies; columns: column -> heading."""
        rows = [row for row in self.run(name).rows() if only is None or row["study"] == only]
        ends = {f"{column} {end}" for column in rows[0] for end in ("min", "max") if f"{column} min" in rows[0]}
        wanted = columns or {column: column for column in rows[0] if column not in ends}
        kept = {column: head for column, head in wanted.items() if any(row.get(column) for row in rows)}
        return table(
            [f"{head} (range)" if f"{column} min" in rows[0] else head for column, head in kept.items()],
            [[_with_range(row, column) for column in kept] for row in rows],
        )

    def all_runs(self) -> str:
        """Every run: its command, how it ended and its seconds."""
        rows = []
        for name, run in self.runs.items():
            seconds = f"{self.run(name).seconds:.0f}" if name in self.done else "missing"
            rows.append([f'<a id="run-{name}"></a>`{name}`', f"`{run}`", str(run.code), seconds])
        return table(["run", "command", "exit code", "seconds"], rows)

    def environment(self) -> str:
        """Versions and cores of the runs, as their config.json has them."""
        found: dict[str, None] = {}
        for name in self.runs:
            path = self.folder / name / "config.json"
            if name in self.done and path.exists():
                config = self.run(name).config
                versions = ", ".join(f"{n} {v}" for n, v in config["versions"].items())
                found[f"{versions}; {config['processor']}, {config['cores']} cores, one thread a process"] = None
        return " and ".join(found)

    def _known(self, name: str) -> str:
        if name not in self.runs:
            raise PageError(f"run {name}: no such run")
        return name

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.page.parent.resolve())).as_posix()


def _stays_above(differences: Sequence[float], unit: float) -> int | None:
    """The number, from 1 on, of the first difference from which on all are above ROUNDINGS units; None for none."""
    inside = [i for i, each in enumerate(differences, 1) if each <= ROUNDINGS * unit]
    first = inside[-1] + 1 if inside else 1
    return first if first <= len(differences) else None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _with_range(row: Mapping[str, str], column: str) -> str:
    text = _short(row[column])
    low, high = row.get(f"{column} min", ""), row.get(f"{column} max", "")
    return f"{text} ({_short(low)} to {_short(high)})" if text and low and high else text


def _short(cell: str) -> str:
    """A number as it is written where that is short, else to four digits."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return cell if len(cell) <= 6 else f"{value:.4g}"


def shrink(source: Path, target: Path) -> None:
    """A copy that is at most WIDTH wide and LARGEST bytes: fewer colours, then fewer pixels."""
    from PIL import Image

    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    width = WIDTH
    while True:
        size = min(width, picture.width)
        small = picture.resize((size, round(picture.height * size / picture.width)), Image.Resampling.LANCZOS)
        small.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= LARGEST:
            return
        width = size * 4 // 5


def write(page: Path, folder: Path, runs: Sequence[LabRun]) -> list[str]:
    """Write the page and its figures, remove figures that it no longer has; the names of the runs that it misses.

    PageError for a link that leads nowhere.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    writer = Page(page, folder, runs)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    names = ["run", "here", "missing", "by", "test", "file", "figure", "backends", "study", "all_runs", "environment"]
    names += ["agreement", "furthest", "took"]
    calls = {name: getattr(writer, name) for name in names}
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(calls)
    text = re.sub(r"\n{3,}", "\n\n", text)
    page.write_text(text, encoding="utf-8")
    for old in set(page.with_suffix("").glob("*.png")) - writer.figures:
        old.unlink()
    return list(writer.missed)
