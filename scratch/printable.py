"""Printable: words from a file or from somebody's program, before they are shown."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Without what could move a terminal's cursor or hide words: "a\x7fb" is shown as those six characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
