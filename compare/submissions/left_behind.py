"""Left behind: what the process of one submission found, read without trust in it.

A program that runs without a box could put anything into the result's place: a pipe that never ends, a link, a file
that is endless or nested without end, fields of other kinds. Each of them costs its own row, and nothing else.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULT, PAGE, WORDS = 16 << 20, 64 << 20, 1 << 16  # bytes of the result, of a page, and of its last words
TEXT, FINDINGS = 20_000, 200  # characters of a field, and how many findings there may be
FIELDS = ("verdict", "network", "cause", "line", "code", "tensor", "should_be", "coverage", "ended")


class NoResult(ValueError):
    """What is there is no result; the reason is one line."""


def found(path: Path, verdicts: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a result, each of its kind. NoResult for anything else."""
    data = plain(path, RESULT)
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoResult(f"no result: {type(error).__name__}") from None
    if not isinstance(fields, dict) or not fields.keys() <= {*FIELDS, "findings"}:
        raise NoResult("no result: other fields than a result has")
    told = fields.get("findings", [])
    if not all(_is_text(value) for name, value in fields.items() if name != "findings"):
        raise NoResult("no result: a field that is no text")
    if fields.get("verdict") not in verdicts or "network" not in fields:
        raise NoResult("no result: no verdict in it")
    if not isinstance(told, list) or len(told) > FINDINGS or not all(map(_is_text, told)):
        raise NoResult("no result: findings that are no texts")
    return fields | {"findings": tuple(told)}


def plain(path: Path, most: int) -> bytes:
    """The bytes of a plain file. NoResult, at once, for a link, a pipe, a folder, or one of more than `most` bytes."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise NoResult(f"no result: {error.strerror}") from None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise NoResult("no result: no plain file is in its place")
        if status.st_size > most:
            raise NoResult(f"no result: {status.st_size} bytes are in its place")
        return _all(file, status.st_size)
    finally:
        os.close(file)


def _all(file: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(file, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def last_words(path: Path) -> str:
    """The last line of a file of text; "" where there is none."""
    try:
        lines = plain(path, WORDS).decode("utf-8", "replace").strip().splitlines()
    except NoResult:
        return ""
    return lines[-1][:500] if lines else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= TEXT


def with_texts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Cut to what `found` takes."""
    cut = {name: value[:TEXT] for name, value in fields.items() if isinstance(value, str)}
    return cut | {"findings": [each[:TEXT] for each in fields["findings"][:FINDINGS]]}
