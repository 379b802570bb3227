"""docs/causes/: a page for each cause, by its code, and a list of them.

python -m compare.measuring.cause_pages writes them. A page a cause, not an operation: a cause such as a missing factor
is made in many operations, so none of them owns it, and its page must be found by its code alone.
"""

from __future__ import annotations

from pathlib import Path

from compare.operations.codes import codes
from compare.report.causes import page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "causes"
LIST = "README.md"
HEAD = """# The causes by their codes

A report gives the code of a cause, as B017. `python scripts/explain.py B017` prints its page. The letters of the
examples are those of [mistakes.md](../mistakes.md), which has the same mistakes tensor by tensor.

*These pages are made by `python -m compare.measuring.cause_pages`.*
"""


def pages() -> dict[str, str]:
    """By the name of its file, each page."""
    listed = "\n".join(f"- [{code}]({code}.md) {cause}" for cause, code in codes().items())
    return {LIST: f"{HEAD}\n{listed}\n"} | {f"{code}.md": page(cause) for cause, code in codes().items()}


def write() -> None:
    """All of them; a page whose cause is gone is removed."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
