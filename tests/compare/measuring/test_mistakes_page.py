"""docs/mistakes.md is what the tables of mistakes make of it."""

from compare.measuring.mistakes_page import PAGE, page
from compare.operations import all_mistakes


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it: python -m compare.measuring.mistakes_page"


def test_every_mistake_has_a_row() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(all_mistakes())
