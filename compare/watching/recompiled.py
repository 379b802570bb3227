"""Recompiled: functions that exist already, their code rewritten for a time, so that they tell what they compute."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType

from compare.watching.rewriting import Site, rewritten

SITES: list[Site] = []  # of everything that was rewritten in this process: its code knows them by position
ASSERTING = "@py_"  # begins the names that pytest puts into a function with an assert

_made: dict[tuple[str, str], list[tuple[CodeType, CodeType]]] = {}


@contextmanager
def rewritten_code(functions: Iterable[FunctionType]) -> Iterator[dict[str, str]]:
    """Meanwhile these functions tell what they compute; file -> text of those that do.

    One whose source is not there, or is not what it was made of, stays as it is.
    """
    swapped: list[tuple[FunctionType, CodeType]] = []
    sources: dict[str, str] = {}
    try:
        for function in functions:
            before = function.__code__
            text = _source(function)
            made = _rewritten(before, text)
            if made is not None and made.co_freevars == before.co_freevars:
                swapped.append((function, before))
                function.__code__ = made
                sources[before.co_filename] = text
        yield sources
    finally:
        for function, before in swapped:
            function.__code__ = before


def _source(function: FunctionType) -> str:
    file = function.__code__.co_filename
    linecache.checkcache(file)
    return "".join(linecache.getlines(file, function.__globals__))


def _rewritten(code: CodeType, text: str) -> CodeType | None:
    """The code that the same place in the source has, rewritten; None where the source has another there."""
    pairs = _pairs(code.co_filename, text)
    found = [new for old, new in pairs if old == code]
    if not found and any(name.startswith(ASSERTING) for name in code.co_varnames):
        place = code.co_qualname, code.co_firstlineno
        found = [new for old, new in pairs if (old.co_qualname, old.co_firstlineno) == place]
    return found[0] if len(found) == 1 else None


def _pairs(file: str, text: str) -> list[tuple[CodeType, CodeType]]:
    """Every function's code as it is compiled, and rewritten."""
    if (file, text) not in _made:
        try:
            plain = compile(text, file, "exec", dont_inherit=True)
            _made[file, text] = list(_both(plain, rewritten(text, file, SITES)))
        except (SyntaxError, ValueError, RecursionError):
            _made[file, text] = []
    return _made[file, text]


def _both(one: CodeType, other: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (one, other)]
    if [c.co_name for c in inner[0]] != [c.co_name for c in inner[1]]:
        return
    for a, b in zip(*inner, strict=True):
        yield a, b
        yield from _both(a, b)
