"""Report: an outcome that shows itself: as text, as JSON, as a page, and in a notebook."""

from __future__ import annotations

import json
from pathlib import Path

from compare.report import page, text
from compare.report.outcome import Outcome
from compare.report.page import Reproduction


class Report(Outcome):
    """What a check found. `verdict` is parity, mismatch or incomplete; `first` is the first row that is off."""

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` as a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_html(self, path: str | Path, made: Reproduction | None = None) -> None:
        """Write one HTML file that needs nothing else. `made` says how the check is repeated. OSError if unwritable."""
        page.write(path, [self], made)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return page.to_fragment(self)

    def __str__(self) -> str:
        return self.text()

    def text(self, *, verbose: bool = False, width: int = 110) -> str:
        """What the terminal shows: a line a layer, or the first broken block in full; all rows with `verbose`."""
        return text.text(self, verbose=verbose, width=width)
