"""The report as a page: one HTML file that needs nothing else, and a short form for notebooks.

Nothing on the page is a script, and its own policy forbids the browser to run one or to fetch anything: the names of
tensors, files and networks on it may come from strangers. They are escaped by the templates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2

from compare.judging.verdict import VERDICTS, Row
from compare.report.figures import HeatMap, Histogram, heat_maps, histogram
from compare.report.outcome import Outcome, environment
from compare.report.text import at, closing, difference, headline, short

MAPS = 3  # matrices drawn for a report
LOWEST, HIGHEST = -3, 6  # decades of a ratio's bar; 0 is the bound

WORDS = {
    "parity": "Every tensor that was compared lies within what rounding alone can do.",
    "incomplete": "Nothing that was compared is wrong, but not all that decides could be compared.",
    "mismatch": "At least one tensor lies further from the mathematics than rounding can explain.",
}
CHECKS = {
    "isolated": "computed once more from the very numbers that this operation was given",
    "wiring": "a copy: it must have the same bits",
    "spanning": "computed across tensors that were not handed in",
    "update": "the parameters after the optimiser's step, from the state before it",
    "side_effects": "backward must leave it as it was",
}
CONFIDENCE = (
    "Confidence: 95 % for a mistake whose formula gives the candidate's numbers, 80 % where a number in it was fitted, "
    "50 % for a description; shared where several explain it, less where some steps do not fit."
)
STATUS = {"ok": "parity", "not checked": "incomplete", "off": "mismatch"}


@dataclass(frozen=True)
class Reproduction:
    """How a report was made: the command as it is typed, the seed in words, and what else was said on the way."""

    command: str = ""
    seed: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """The rows of one layer in one step."""

    step: int
    name: str
    rows: list[Row]

    @property
    def worst(self) -> Row:
        """The row with the largest ratio; one that has none comes first if it is off."""
        return max(self.rows, key=_badness)

    @property
    def verdict(self) -> str:
        """parity, incomplete or mismatch, of these rows alone."""
        statuses = {row.status for row in self.rows}
        return next(STATUS[s] for s in ("off", "not checked", "ok") if s in statuses)

    @property
    def status(self) -> str:
        """In words: "ok", "3 of 12 off"."""
        counted = {status: sum(row.status == status for row in self.rows) for status in ("off", "not checked")}
        words = [f"{n} of {len(self.rows)} {status}" for status, n in counted.items() if n]
        return ", ".join(words) or "ok"

    @property
    def gist(self) -> str:
        """How many tensors, and the worst."""
        count = f"{len(self.rows)} tensor{'s' * (len(self.rows) > 1)}"
        if math.isnan(self.worst.ratio):
            return count
        return f"{count}, worst ratio {short(self.worst.ratio)} ({self.worst.tensor})"


@dataclass(frozen=True)
class Picture:
    """Heat maps of one tensor."""

    row: Row
    maps: tuple[HeatMap, HeatMap]

    @property
    def words(self) -> str:
        """How much of it is beyond the bound."""
        if self.row.status == "ok":
            return f"of what is right the nearest to its bound, at {short(self.row.ratio)} of what is allowed"
        return f"{self.row.status}: {self.row.note}"


class View:
    """What the templates ask of one report, beside what it says itself."""

    def __init__(self, report: Outcome, number: int = 1) -> None:
        self.report, self.number, self.id = report, number, f"report-{number}"

    @property
    def headline(self) -> str:
        """What was checked."""
        return headline(self.report).replace(f"{self.report.verdict.upper()} in", "Checked in", 1)

    def place(self, row: Row) -> str:
        """ "step 1, layer 1 Sigmoid"."""
        layer = self.layer(row.layer)
        where = "the loss" if layer == "loss" else f"layer {layer}"
        return f"step {row.step}, {where}" if self.report.steps > 1 else where

    @property
    def where(self) -> str:
        """The place of the first divergence, without its folder: a page is handed on."""
        return Path(self.report.where).name

    @property
    def closing(self) -> list[str]:
        """PyTorch's own verdict, kinks, side effects, coverage."""
        lines = closing(self.report)
        if not self.report.watched and not self.report.side_effects:
            lines.insert(-1, "side effects: not looked for, since backward was not seen to run")
        return lines

    def layer(self, layer: str) -> str:
        """ "1 Sigmoid"; the loss by its name."""
        layers = self.report.layers
        return f"{layer} {layers[int(layer)]}" if layer.isdecimal() and int(layer) < len(layers) else layer

    @cached_property
    def steps(self) -> list[list[Block]]:
        """For each step its layers, in the order of the network, the loss last."""
        found = []
        for step in dict.fromkeys(row.step for row in self.report.rows):
            rows = [row for row in self.report.rows if row.step == step]
            found.append(self._blocks(rows, step))
        return found

    @cached_property
    def layers(self) -> list[Block]:
        """Each layer over all steps."""
        return self._blocks(self.report.rows, 0)

    def _blocks(self, rows: Sequence[Row], step: int) -> list[Block]:
        order = [*map(str, range(len(self.report.layers))), "loss", *dict.fromkeys(row.layer for row in rows)]
        grouped = {layer: [row for row in rows if row.layer == layer] for layer in dict.fromkeys(order)}
        return [Block(step, self.layer(layer), found) for layer, found in grouped.items() if found]

    @cached_property
    def pictures(self) -> list[Picture]:
        """The first divergence if it is a matrix, then the weight matrices that are off; in parity, the worst one."""
        rows = [row for row in self.report.rows if _is_drawn(row)]
        off = sorted((row for row in rows if row.status == "off"), key=_badness, reverse=True)
        first = self.report.first
        chosen = [first, *off] if first else sorted(rows, key=_badness, reverse=True)[:1]
        found: dict[str, Picture] = {}
        for row in chosen:
            if len(found) < MAPS and row.tensor not in found and (picture := self._picture(row)):
                found[row.tensor] = picture
        return list(found.values())

    def _picture(self, row: Row) -> Picture | None:
        judged = self.report.judgement(row)
        maps = heat_maps(judged, row.index) if judged else None
        return Picture(row, maps) if maps else None

    @cached_property
    def histogram(self) -> Histogram | None:
        """Of the first divergence."""
        first = self.report.first
        judged = self.report.judgement(first) if first else None
        return histogram(judged) if judged else None


def _badness(row: Row) -> float:
    """The ratio; what has none is worse than all if it is off, and better than all if not."""
    if math.isnan(row.ratio):
        return math.inf if row.status == "off" else -1.0
    return row.ratio


def _is_drawn(row: Row) -> bool:
    """A matrix of weights; not what was right across a gap, whose allowance is not kept."""
    kept = row.status == "off" or (row.status == "ok" and row.check != "spanning")
    return kept and len(row.shape) == 2 and "weight" in row.tensor


def to_page(reports: Sequence[Outcome], made: Reproduction | None = None) -> str:
    """The page, the worst report first; `made` says how to repeat it. ValueError without a report."""
    if not reports:
        raise ValueError("got no reports, expected at least one")
    ordered = sorted(reports, key=lambda report: -VERDICTS.index(report.verdict))
    views = [View(report, number) for number, report in enumerate(ordered, 1)]
    template = templates().get_template("report.html")
    return template.render(views=views, made=made or Reproduction(), environment=environment())


def write(path: str | Path, reports: Sequence[Outcome], made: Reproduction | None = None) -> None:
    """`to_page` as a UTF-8 file. OSError where it cannot be written."""
    # names of files may hold bytes that are no UTF-8, which Python keeps as lone surrogates
    Path(path).write_bytes(to_page(reports, made).encode("utf-8", "backslashreplace"))


def to_fragment(report: Outcome) -> str:
    """The short form for notebooks: one element, styled by its attributes alone, so that no style leaves it."""
    page: str = templates().get_template("report_fragment.html").render(view=View(report))
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def templates() -> jinja2.Environment:
    """The templates of all pages, which escape what they are given."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"short": short, "bar": bar, "at": at, "dimensions": dimensions, "difference": difference}
    found.globals |= {"status_verdict": STATUS, "bound": bar(1.0), "words": WORDS, "checks": CHECKS}
    found.globals |= {"confidence": CONFIDENCE, "headline": headline}
    return found


def bar(ratio: float) -> float:
    """How far the bar of a ratio reaches, from 0 to 100: logarithmic between 1e-3 and 1e6."""
    if not ratio > 0:  # NaN too
        return 0.0
    decade = min(max(math.log10(ratio) if math.isfinite(ratio) else HIGHEST, LOWEST), HIGHEST)
    return round(100 * (decade - LOWEST) / (HIGHEST - LOWEST), 1)


def dimensions(shape: Sequence[int]) -> str:
    """ "6 x 7"."""
    return " x ".join(map(str, shape)) or "scalar"
