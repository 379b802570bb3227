"""Words from a file before they are shown: one line, without what moves a cursor, and not longer than was asked for."""

import pytest

from scratch.printable import cut


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("0.weight", "0.weight"),
        ("2\nof\r\n  us", "2 of us"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("0123456789", "0123456789"),
        ("0123456789a", "0123456..."),
        ("\x1b\x1b\x1b", "\\x1b\\x1..."),
        (" " * 90 + "a", "..."),
        (3.5, "3.5"),
    ],
)
def test_what_is_shown(said: object, shown: str) -> None:
    assert cut(said, 10) == shown


def test_a_long_text_costs_no_more_than_what_is_shown_of_it() -> None:
    assert cut("x" * (1 << 24)) == "x" * 77 + "..."
