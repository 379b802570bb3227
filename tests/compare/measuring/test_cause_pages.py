"""docs/causes/ is what the tables of mistakes make of it, and holds every mistake's words and examples."""

from __future__ import annotations

from compare.measuring.cause_pages import FOLDER, pages
from compare.operations import all_mistakes
from compare.operations.codes import code_of
from compare.report.causes import in_words


def test_the_pages_are_current() -> None:
    there = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*")}
    assert there == pages(), "write them: python -m compare.measuring.cause_pages"


def test_every_mistake_is_on_the_page_of_its_cause() -> None:
    made = pages()
    for m in all_mistakes():
        shown = f"What is wrong: {in_words(m)}.\n\n```python\n{m.wrong}  # wrong\n{m.right or 'right'}  # right\n```"
        assert shown in made[f"{code_of(m.cause)}.md"]


def test_every_page_says_what_is_wrong() -> None:
    assert not [name for name, text in pages().items() if len(text.splitlines()) < 3]
