"""Tables: rates of right and wrong programs, by style and by mistake, from lines of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from compare.measuring.programs.measurement import Line

CONFIDENT = 0.95
FEATURES = (
    "loop", "samples", "form", "layers", "hidden", "output", "loss", "reduction", "target", "data", "bias", "out_in",
    "report", "penalty", "optimizer", "clip", "told", "schedule", "decay", "rate", "mean_at", "flipped", "update",
    "bind_pre", "bind_back", "bind_first_delta", "bind_gradient", "bind_step", "in_place", "pairs", "helpers",
    "derivative_at", "relu", "relu_derivative", "sigmoid", "tanh", "dot", "zero_bias", "random",
)  # fmt: skip


# --- one line --------------------------------------------------------------------------------------------------------


def is_found(line: Line) -> bool:
    return bool(line["verdict"] == "mismatch")


def is_placed(line: Line) -> bool:
    """Whether the line that is named first is a guilty one."""
    return line.get("line") in line["guilty"]


def first_cause(line: Line) -> tuple[str, float]:
    cause, confidence = (line.get("causes") or [["none", 0.0]])[0]
    return str(cause).removeprefix("convention: "), float(confidence)


def is_explained(line: Line) -> bool:
    return first_cause(line)[0] in line["expected"]


def is_confidently_wrong(line: Line) -> bool:
    cause, confidence = first_cause(line)
    return cause not in line["expected"] and confidence >= CONFIDENT


# --- rates -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """So many of so many, and what is asked."""

    name: str
    of: Sequence[Line]
    hits: Sequence[Line]
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        if not self.of:
            return True
        share = len(self.hits) / len(self.of)
        return share >= self.limit if self.at_least else share <= self.limit

    @property
    def failures(self) -> list[Line]:
        """The programs that count against the checker."""
        hits = {id(line) for line in self.hits}
        return [line for line in self.of if id(line) not in hits] if self.at_least else list(self.hits)

    def __str__(self) -> str:
        asked = f"at {'least' if self.at_least else 'most'} {self.limit:.0%}" if self.limit else "none"
        return f"{self.name}: {share(len(self.hits), len(self.of))}, asked: {asked}"


def rates(lines: Sequence[Line]) -> list[Rate]:
    """All that the checker is held to."""
    right = [line for line in lines if line["part"] == "right"]
    wrong = planted_lines(lines)
    found = [line for line in wrong if is_found(line)]
    return [
        Rate("right programs, mismatch", right, _with(right, "mismatch"), 0.0),
        Rate("right programs, incomplete", right, _with(right, "incomplete"), 0.02),
        Rate("right programs, error", right, _with(right, "error"), 0.0),
        Rate("wrong programs, parity", wrong, _with(wrong, "parity"), 0.01),
        Rate("wrong programs, incomplete", wrong, _with(wrong, "incomplete"), 0.02),
        Rate("wrong programs, error", wrong, _with(wrong, "error"), 0.0),
        Rate("mismatches, guilty line first", found, [x for x in found if is_placed(x)], 0.95, True),
        Rate("mismatches, right cause", found, [x for x in found if is_explained(x)], 0.85, True),
        Rate("mismatches, confident wrong cause", found, [x for x in found if is_confidently_wrong(x)], 0.01),
    ]


def planted_lines(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line["part"] == "wrong" and line["verdict"] != "none"]


def _with(lines: Iterable[Line], verdict: str) -> list[Line]:
    return [line for line in lines if line["verdict"] == verdict]


def share(hits: int, of: int) -> str:
    """ "0.4 % (4 of 1,000)"."""
    return f"{100 * hits / of:.3g} % ({hits:,} of {of:,})" if of else "-"


# --- tables ----------------------------------------------------------------------------------------------------------


def overview(lines: Sequence[Line]) -> str:
    rows = []
    for rate in rates(lines):
        hits, of = len(rate.hits), len(rate.of)
        rows.append(
            [rate.name, f"{of:,}", f"{hits:,}", _percent(hits, of), _asked(rate), "yes" if rate.is_met else "no"]
        )
    return table(("", "of", "programs", "share", "asked", "met"), rows)


def _asked(rate: Rate) -> str:
    return f"{'>=' if rate.at_least else '<='} {100 * rate.limit:g} %" if rate.limit else "none"


def by_style(lines: Sequence[Line]) -> str:
    """Per feature of the style: false alarms and the rest of right programs, and what was found in wrong ones."""
    rows = []
    for feature in FEATURES:
        groups = grouped([x for x in lines if x["part"] == "right" or x in planted_lines([x])], _feature(feature))
        for value, some in groups.items() if len(groups) > 1 else ():
            rows.append([f"{feature}: {value}", *_right_cells(some), *_wrong_cells(planted_lines(some))])
    return table(("style", *RIGHT_CELLS, *WRONG_CELLS), rows)


def by_mistake(lines: Sequence[Line]) -> str:
    rows = []
    for key in ("family", "mistake"):
        for value, some in grouped(planted_lines(lines), lambda line, key=key: str(line[key])).items():  # type: ignore[misc]
            rows.append([f"all of {value}" if key == "family" else value, *_wrong_cells(some)])
    return table(("mistake", *WRONG_CELLS), rows)


RIGHT_CELLS = ("right", "mismatch", "incomplete", "error")
WRONG_CELLS = ("wrong", "parity", "incomplete", "error", "found", "line", "cause", "confident and wrong")


def _right_cells(lines: Sequence[Line]) -> list[str]:
    right = [line for line in lines if line["part"] == "right"]
    return [str(len(right)), *(_percent(len(_with(right, v)), len(right)) for v in ("mismatch", "incomplete", "error"))]


def _wrong_cells(wrong: Sequence[Line]) -> list[str]:
    found = [line for line in wrong if is_found(line)]
    verdicts = ("parity", "incomplete", "error", "mismatch")
    cells = [str(len(wrong)), *(_percent(len(_with(wrong, v)), len(wrong)) for v in verdicts)]
    judged: tuple[Callable[[Line], bool], ...] = (is_placed, is_explained, is_confidently_wrong)
    return [*cells, *(_percent(sum(map(judge, found)), len(found)) for judge in judged)]


def _percent(hits: int, of: int) -> str:
    return f"{100 * hits / of:.3g} %" if of else "-"


def _feature(name: str) -> Callable[[Line], str]:
    def value(line: Line) -> str:
        found = len(line["style"]["sizes"]) - 1 if name == "layers" else line["style"][name]
        return ", ".join(dict.fromkeys(found)) or "none" if isinstance(found, list) else str(found)

    return value


def grouped(lines: Iterable[Line], key: Callable[[Line], str]) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return dict(sorted(groups.items()))


def failures(lines: Sequence[Line]) -> str:
    """The seeds behind every rate, as a list."""
    parts = []
    for rate in rates(lines):
        if rate.failures:
            part = rate.failures[0]["part"]
            seeds = ", ".join(str(line["seed"]) for line in sorted(rate.failures, key=lambda line: line["seed"]))
            words = f"not: {rate.name}" if rate.at_least else rate.name
            parts.append(f"- {words}; seeds of {part} programs: {seeds}")
    return "\n".join(parts) or "none"


def confusion(lines: Sequence[Line], most: int = 30) -> str:
    """Which cause was named where it was not the right one."""
    wrong = [line for line in planted_lines(lines) if is_found(line) and not is_explained(line)]
    groups = grouped(wrong, lambda line: f"{line['mistake']} | {first_cause(line)[0]}")
    rows = [[*pair.split(" | "), str(len(some)), ", ".join(str(x["seed"]) for x in some[:5])]
            for pair, some in sorted(groups.items(), key=lambda item: -len(item[1]))[:most]]  # fmt: skip
    return table(("mistake", "cause that was named", "programs", "seeds"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
