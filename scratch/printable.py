"""Printable: words from a file or from somebody's program, before they are shown. All of them go through here."""

from __future__ import annotations

MESSAGE = 1000  # characters of a line; the longest of our own, which lists every optimiser or option, has half of them


def printable(text: str) -> str:
    r"""Without what could move a terminal's cursor or hide words: "a\x7fb" is shown as those six characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cut(text: object, most: int = 80) -> str:
    """One line of at most `most` characters, printable; what was cut off is told by "..."."""
    line = printable(" ".join(str(text)[: 8 * most].split()))
    return line if len(line) <= most and len(str(text)) <= 8 * most else f"{line[: most - 3]}..."
