"""Page: docs/programs.md from lines of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from compare.measuring.programs import tables
from compare.measuring.programs.measurement import Line, Plan
from compare.measuring.programs.mistakes import MISTAKES
from compare.measuring.trust.document import versions

TEMPLATE = Path(__file__).parents[1] / "templates" / "programs.md"


def render(lines: Sequence[Line], plan: Plan, *, command: str) -> str:
    """The whole page, as Markdown."""
    code = lines[0]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    seconds = sorted(line["seconds"] for line in lines if "seconds" in line)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        command=command,
        environment=versions(),
        digest=code["digest"][:12],
        commit=code["commit"],
        plan=plan,
        without=sum(line["verdict"] == "none" for line in lines[1:]),
        kinds=len(MISTAKES),
        median=f"{seconds[len(seconds) // 2]:.2g}" if seconds else "-",
        overview=tables.overview(lines),
        by_mistake=tables.by_mistake(lines),
        by_style=tables.by_style(lines),
        confusion=tables.confusion(lines),
        failures=tables.failures(lines),
    )
