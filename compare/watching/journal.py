"""Journal: what the process of a script wrote, read without trust in it.

What is not well-formed is left out; there are as many values and bytes as the limits say, and no more.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from compare.watching.dataflow import Array, Dataflow
from compare.watching.growing import Growing
from compare.watching.replay import Replayed
from compare.watching.rewriting import Site
from compare.watching.values import ValueLimits

KINDS = ("b1", "f2", "f4", "f8", *(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)))
NUMBERS = frozenset(f"{order}{kind}" for order in "<|=" for kind in KINDS)
NOTHING = np.empty(0)
AXES = 32
CONSTANT = 2.0**64
LINE = 16 << 20  # bytes of one event
EVENTS = 10  # to a value: its own, and its names
OPERANDS = 4096  # of a value
TWICE = 2  # of the bytes of arrays that are written, so many are read: views may share them


def read(
    arrays: IO[bytes],
    events: IO[bytes],
    limits: ValueLimits,
    source: Callable[[str], str | bytes | None],
    distrusted: bool = False,
) -> Dataflow:
    """The values, in order, and how it ended as the process itself said. `source`: a file, as the checker reads it.

    distrusted: the program is a stranger's, so what it could do unseen counts.
    """
    replayed = Replayed(source, distrusted)
    claimed: list[Array] = []
    held = Held(arrays, os.fstat(arrays.fileno()).st_size, TWICE * limits.bytes)
    sites: list[Site] = []
    growing = Growing(sites)
    sources: dict[str, Sequence[str]] = {}
    ended, complete = "", False
    for event in _events(events, EVENTS * limits.total):
        match event:
            case {"source": str(file), "text": str(text)}:
                sources[file] = text.splitlines()
            case {"sites": list(found)}:
                told = [site for each in found if (site := _site(each)) is not None]
                replayed.told(told, len(sites))
                sites += told
            case {"ended": str(words), "complete": bool(done)}:
                ended, complete = words, done
            case [int(site), int(number), str(name)] if 0 <= number < len(growing.values) and 0 <= site < len(sites):
                growing.name(site, number, name)
            case [int(site), list(operands), *array] if site < len(sites) and len(growing.values) < limits.total:
                known = [o for o in operands[:OPERANDS] if _is_operand(o)]
                claimed.append(held.array(array))
                place = sites[site] if site >= 0 else None
                is_proven = replayed.value(len(claimed) - 1, site, place, known, claimed, claimed[-1])
                growing.value(site, known, claimed[-1] if is_proven else NOTHING)
    return Dataflow(tuple(growing.values), ended, sources, complete, unseen=tuple(replayed.unseen))


def _site(found: Any) -> Site | None:
    match found:
        case [str(what), str(file), int(a), int(b), int(c), int(d), str(of), list(names), str(cell)]:
            return Site(what, file, a, b, c, d, of, tuple(map(str, names)), cell)
    return None


def _events(file: IO[bytes], most: int) -> Iterator[Any]:
    file.seek(0)
    for _ in range(most):
        line = file.readline(LINE)
        if not line:
            return
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue


def _is_operand(operand: Any) -> bool:
    """A value's number, or [constant]."""
    match operand:
        case int():
            return True
        case [int() | float() as number]:
            return abs(number) < CONSTANT
    return False


@dataclass
class Held:
    """The bytes of the arrays, `size` of them; `left` are those that may still be read."""

    file: IO[bytes]
    size: int
    left: int
    kept: dict[tuple[Any, ...], Array] = field(default_factory=dict)

    def array(self, found: Sequence[Any]) -> Array:
        """A number or an array as it was written; an empty one for what is not well-formed."""
        match found:
            case [str(number), str(kind)] if kind in NUMBERS:
                with np.errstate(all="ignore"):
                    return np.asarray(_float(number)).astype(kind)
            case [str(kind), list(shape), int(start)] if kind in NUMBERS and self._is_shape(shape):
                key = (kind, tuple(shape), start)
            case _:
                return NOTHING
        if key not in self.kept:
            length = math.prod(shape) * np.dtype(kind).itemsize
            if start < 0 or start + length > self.size or length > self.left:
                return NOTHING
            self.left -= length
            self.kept[key] = np.frombuffer(os.pread(self.file.fileno(), length, start), kind).reshape(shape)
        return self.kept[key]

    def _is_shape(self, shape: Sequence[Any]) -> bool:
        return len(shape) <= AXES and all(type(n) is int and 0 <= n <= self.size for n in shape)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
