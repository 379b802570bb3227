"""Notebook: the cells of an .ipynb file as one program, in which a line keeps its cell and its number there."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

MAGIC = re.compile(r"\s*([%!?]|[\w.]+\?\??\s*$|[\w., ]+=\s*[%!])")  # %time f(), !ls, ?f, f?, files = !ls
TIMED = ("%%time", "%%timeit", "%%capture")  # of a cell that is a program all the same


def cells(data: bytes) -> str:
    """The code cells in order, each below a line "# %% [cell N]"; magics and shell lines are comments.

    ValueError in one line for a file that is no notebook.
    """
    try:
        found = json.loads(data)["cells"]
        kept = [(number, _source(cell)) for number, cell in enumerate(found, 1) if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no notebook: {type(error).__name__}") from None
    return "\n".join(line for number, source in kept for line in _lines(number, source)) + "\n"


def _source(cell: Any) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _lines(number: int, source: str) -> Iterator[str]:
    yield f"{MARK} {number}]"
    lines = source.splitlines()
    if _is_python(source):
        yield from lines
    elif source.lstrip().startswith("%%") and not source.lstrip().startswith(TIMED):
        yield from (f"pass  # {line}" for line in lines)
    else:
        yield from map(_without_magic, lines)


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def _without_magic(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}pass  # {line.lstrip()}" if MAGIC.match(line) else line


MARK = "# %% [cell"


def place(lines: Sequence[str], line: int) -> str:
    """ "cell 4, line 12" of a line of `cells`; "" where the text is no notebook's."""
    for k in range(min(line, len(lines)) - 1, -1, -1):
        if lines[k].startswith(MARK):
            return f"cell {int(lines[k].removeprefix(MARK).rstrip(']'))}, line {line - k - 1}"
    return ""
