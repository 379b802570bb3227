"""A class's submissions side by side, and what was passed over: as CSV and JSON, and as an index of their pages."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from compare.report.page import templates
from compare.submissions.handed_in import PassedOver
from compare.submissions.submission import VERDICTS, Examined

COLUMNS = (
    *("file", "verdict", "line", "code", "tensor", "should_be", "cause", "ended", "coverage", "network", "findings"),
    *("seconds", "page"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
PASSED_OVER = "passed over"  # in the place of a verdict
TONES = {"parity": "parity", "mismatch": "mismatch"}


def counted(found: Sequence[Examined]) -> str:
    """ "20 submissions: 10 mismatch, 10 parity"."""
    counts = Counter(each.verdict for each in found)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f"{len(found)} submission{'s' * (len(found) != 1)}" + (f": {words}" if words else "")


def by_reason(passed_over: Iterable[PassedOver]) -> dict[str, list[str]]:
    """Why -> the files that were passed over for it."""
    found: dict[str, list[str]] = {}
    for each in passed_over:
        found.setdefault(each.why, []).append(each.file)
    return found


def write(folder: Path, found: Sequence[Examined], title: str, passed_over: Sequence[PassedOver] = ()) -> None:
    """index.html, submissions.csv and submissions.json in `folder`, which exists. OSError if unwritable."""
    (folder / "index.html").write_bytes(to_page(found, title, passed_over).encode("utf-8", "backslashreplace"))
    rows = [asdict(each) for each in found]
    text = json.dumps({"submissions": rows, "passed_over": list(map(asdict, passed_over))}, indent=1, allow_nan=False)
    (folder / "submissions.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    with (folder / "submissions.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        rows += [asdict(Examined(each.file, "", PASSED_OVER, each.why)) for each in passed_over]
        for row in rows:
            cells = (" | ".join(row[name]) if name == "findings" else str(row[name]) for name in COLUMNS)
            writer.writerow(f"'{cell}" if cell.startswith(FORMULA) else cell for cell in cells)


def to_page(found: Sequence[Examined], title: str, passed_over: Sequence[PassedOver] = ()) -> str:
    """The index: one row a submission, each linked to its page; then what was passed over."""
    template = templates().get_template("class.html")
    rows = sorted(found, key=lambda each: (VERDICTS.index(each.verdict), each.file))
    reasons = by_reason(passed_over)
    return template.render(rows=rows, title=title, counted=counted(found), link=_link, tones=TONES, reasons=reasons)


def _link(page: str) -> str:
    """A file beside the index, whatever its name."""
    return "./" + quote(page.encode("utf-8", "surrogateescape"))
