"""Known: what a word of a network's text stands for, or an error that names the nearest word."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Meaning = TypeVar("Meaning")


def known(word: str, what: str, words: Mapping[str, Meaning], *, shown: str = "") -> Meaning:
    """What the word stands for. ValueError that lists the words; `shown`: what was typed, where that is more."""
    if word in words:
        return words[word]
    by_lower = {each.lower(): each for each in words}
    near = get_close_matches(word.lower(), by_lower, 1)
    nearest = f"; the nearest is {by_lower[near[0]]!r}" if near else ""
    raise ValueError(f"got {what} {(shown or word)!r}, expected one of {', '.join(words)}{nearest}")
