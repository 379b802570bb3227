"""Reach: what a function can get at without an argument: functions of somebody's own, and the places that hold arrays.

Nothing here runs code of a value's own class. What belongs to Python or to an installed package is not entered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from compare.watching.held_arrays import OWN, as_array, attributes, is_library, is_own_module

MOST = 20_000  # values that are looked at
ELEMENTS = 256  # of one container
WRAPPERS = (staticmethod, classmethod)
Slot = tuple[int, Hashable]  # the id of an object, and where in it


@dataclass
class Reach:
    """slots: place -> (name as the code has it, array, number or list of numbers). seen: kept, so that ids stay."""

    functions: list[FunctionType] = field(default_factory=list)
    slots: dict[Slot, tuple[str, Any]] = field(default_factory=dict)
    seen: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What an object holds: under which key, and how code calls it."""

    key: Hashable
    name: str
    value: Any
    owner: Any


def reach(*roots: Any) -> Reach:
    """All that these hold, and what that holds."""
    found = Reach()
    left: deque[tuple[str, Any]] = deque(("", root) for root in roots)
    while left and len(found.seen) < MOST:
        name, value = left.popleft()
        if id(value) in found.seen:
            continue
        found.seen[id(value)] = value
        if type(value) is FunctionType and is_own(value):
            found.functions.append(value)
        for part in _parts(name, value):
            if as_array(part.value) is not None:
                found.slots[id(part.owner), part.key] = part.name, part.value
                found.seen[id(part.value)] = part.value
            else:
                left.append((part.name, part.value))
    return found


def is_own(function: FunctionType) -> bool:
    """Whether it is somebody's: no library's, and not the checker's."""
    file = function.__code__.co_filename
    return not is_library(file) and not file.startswith(OWN)


def _parts(name: str, value: Any) -> Iterator[Part]:
    kind = type(value)
    if kind is FunctionType:
        yield from _of_function(value)
    elif kind in (list, tuple):
        yield from (Part(k, f"{name}[{k}]", e, value) for k, e in enumerate(islice(value, ELEMENTS)))
    elif issubclass(kind, dict):
        elements = islice(dict.items(value), ELEMENTS)
        yield from (Part(k, f"{name}[{k!r}]", e, value) for k, e in elements if type(k) in (str, int))
    elif kind is MethodType:
        yield from (Part(k, "", e, value) for k, e in enumerate((value.__self__, value.__func__)))
    elif kind is CellType:
        yield from (Part(0, name, e, value) for e in _contents(value))
    elif kind is partial:
        yield from (Part(k, name, e, value) for k, e in enumerate((value.func, value.args, value.keywords)))
    elif kind in WRAPPERS:
        yield Part(0, "", value.__func__, value)
    elif kind is property or kind is cached_property:
        functions = (value.fget, value.fset) if kind is property else (value.func,)
        yield from (Part(k, "", e, value) for k, e in enumerate(functions))
    else:
        yield from _of_object(value)


def _of_object(value: Any) -> Iterator[Part]:
    """Of a user's module, class or object; what a library's function wraps."""
    if is_own_module(type(value).__module__) or (isinstance(value, type) and is_own_module(value.__module__)):
        return
    held = attributes(value)
    owner = "" if isinstance(value, ModuleType) else f"{value.__name__}." if isinstance(value, type) else "self."
    for key, part in held.items():
        if isinstance(part, FunctionType | staticmethod | classmethod | property) or not key.startswith("__"):
            yield Part(key, owner + key, part, value)
    if isinstance(value, type):
        yield from (Part(("base", k), "", base, value) for k, base in enumerate(value.__bases__))
    elif held or type(value).__module__ != "builtins":
        yield Part("class", "", type(value), value)
    wrapped = getattr(value, "__wrapped__", None) if type(value).__module__ == "functools" else None
    if wrapped is not None:
        yield Part("wrapped", "", wrapped, value)


def _of_function(value: FunctionType) -> Iterator[Part]:
    """The global names that its code mentions, what it encloses, its defaults, and what it wraps."""
    everywhere = value.__globals__ if is_own(value) else {}
    for name in dict.fromkeys(_names(value.__code__)):
        if name in everywhere:
            yield Part(name, name, everywhere[name], everywhere)
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        yield from (Part(0, name, contents, cell) for contents in _contents(cell))
    for k, default in enumerate((*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())):
        yield Part(("default", k), "", default, value)
    yield from (Part(key, key, part, value.__dict__) for key, part in value.__dict__.items())


def _contents(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
