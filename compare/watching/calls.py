"""Calls: a function called in this process while every expression of it, and of what it can reach, is watched."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, FunctionType
from typing import Any

from compare.watching import values as watching
from compare.watching.dataflow import WRITTEN, Binding, Dataflow, Value
from compare.watching.growing import Growing
from compare.watching.reach import Reach, Slot, reach
from compare.watching.recompiled import SITES, rewritten_code
from compare.watching.rewriting import Site
from compare.watching.script_process import in_words
from compare.watching.values import ValueLimits, Values

Between = tuple[Any, tuple[Any, ...]]  # an array, and those that it was computed from
UNWATCHED = Site("call:unwatched", "", 0, 0, 0, 0, "")
DEEPER = 3  # of a call in rewritten code: it is two, and so is an expression in another
RESTING = Values(SITES, ValueLimits(), lambda *_: None, lambda *_: None, lambda *_: None)
RESTING.is_on = False
TOLD = [RESTING]  # what rewritten code tells at present is the last of these
ONE_AT_A_TIME = threading.RLock()  # code is swapped for the whole process


def watch_call(
    function: Callable[..., Any], *args: Any, of: Any = None, between: Sequence[Between] = (), **limits: Any
) -> tuple[Any, Dataflow]:
    """function(*args), and the values that it computed. `of`: whose code is watched, if it is not the function's own.

    `between`: what the function itself, unwatched, computes for that code, which it appends there.
    `limits` are those of ValueLimits; at a limit watching ends, while the function runs on. If it raises, the result is
    None and `ended` says what and where.
    """
    with ONE_AT_A_TIME:
        call = _Call(function if of is None else of, args, ValueLimits(**limits))
        return call.run(function, args, between)


class _Call:
    def __init__(self, root: Any, args: tuple[Any, ...], limits: ValueLimits) -> None:
        self.root, self.args = root, args
        self.before = reach(root)
        self.growing = Growing(SITES)
        self.stopped: list[str] = []
        self.values = Values(SITES, limits, self.growing.copied, self.growing.name, self.stopped.append)

    def run(
        self, function: Callable[..., Any], args: tuple[Any, ...], between: Sequence[Between]
    ) -> tuple[Any, Dataflow]:
        given = [self.values.see(a) for a in args]
        result, ended, complete = None, "finished", True
        with rewritten_code(self.before.functions) as sources, _installed(self.values):
            try:
                result = function(*args)
            except (Exception, SystemExit) as error:
                ended, complete = in_words(error), False
        ended = "; ".join([*(f"watching {words}" for words in self.stopped), ended])
        for made, sources_of_it in between:
            self._link(made, sources_of_it)
        self.values.see_changed()
        after = reach(self.root)
        replaced, left = dict(self._replaced(after)), self._left(reach(result), after)
        self._name(function, given)
        lines = {file: text.splitlines() for file, text in sources.items()}
        made = tuple(self.growing.values)
        written = {old: made[new] for old, new in self.values.written.items()}
        arguments = tuple(made[n] for n in given)
        return result, Dataflow(made, ended, lines, complete, "", arguments, left, replaced, written)

    def _link(self, made: Any, sources: Sequence[Any]) -> None:
        """What was computed unwatched has operands, too."""
        numbers = [self.values.known(a) for a in (made, *sources)]
        value, *operands = (self.growing.values[n] for n in numbers if n is not None)
        if numbers[0] is not None and not value.operands and all(o.time < value.time for o in operands):
            value.operands, value.site = tuple(operands), UNWATCHED
            for operand in operands:
                operand.users.append(value)

    def _replaced(self, after: Reach) -> Iterator[tuple[int, Value]]:
        """Of every place, what it held before, where that was used, and what it holds after."""
        for slot, (_, old) in self.before.slots.items():
            new = after.slots[slot][1] if slot in after.slots else old
            number = self.values.known(old)
            if new is not old and number is not None:
                yield number, self.growing.values[self.values.see(new)]

    def _left(self, returned: Reach, after: Reach) -> tuple[Value, ...]:
        """What is returned, and what a place holds that it did not hold before."""
        kept = {slot: held for slot, held in after.slots.items() if not self._is_as_before(slot, held[1])}
        numbers = (self.values.known(array) for _, array in (*returned.slots.values(), *kept.values()))
        found = dict.fromkeys(number for number in numbers if number is not None)
        return tuple(self.growing.values[number] for number in found)

    def _is_as_before(self, slot: Slot, now: Any) -> bool:
        before = self.before.slots.get(slot)
        number = self.values.known(now)
        return before is not None and before[1] is now and (number is None or not self.growing.values[number].operands)

    def _name(self, function: Callable[..., Any], given: Sequence[int]) -> None:
        """What was there before has the name of its place, and the line where it is first used; so have arguments."""
        arguments = function.__code__.co_varnames if isinstance(function, FunctionType) else ()
        named = [(self.growing.values[number], name) for number, name in zip(given, arguments, strict=False)]
        for name, held in self.before.slots.values():
            if (number := self.values.known(held)) is not None:
                named.append((self._first(number), name))
        for value, name in named:
            site = next((user.site for user in value.users if user.site is not None), None)
            if site is not None and value.site is None and not (value.names and value.time in given):
                value.names.insert(0, Binding(name, site, 0))

    def _first(self, number: int) -> Value:
        """What its array held at first."""
        value = self.growing.values[number]
        while value.operands and (value.is_changed or value.what in WRITTEN):
            value = value.operands[0]
        return value


@contextmanager
def _installed(values: Values) -> Iterator[None]:
    """Rewritten code tells these values; afterwards nobody, or a call around this one. Functions made here go on."""
    depth, shown = sys.getrecursionlimit(), warnings.showwarning

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        place = _of_somebody(sys._getframe(1)) if filename == watching.__file__ else None
        shown(message, category, *(place or (filename, lineno)), file, line)

    TOLD.append(values)
    values.install()
    sys.setrecursionlimit(DEEPER * depth)
    warnings.showwarning = show
    try:
        yield
    finally:
        TOLD.pop()
        TOLD[-1].install()
        sys.setrecursionlimit(depth)
        if warnings.showwarning is show:
            warnings.showwarning = shown


def _of_somebody(frame: FrameType | None) -> tuple[str, int] | None:
    """The line that called for what gave a warning."""
    while frame is not None and frame.f_code.co_filename != watching.__file__:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename == watching.__file__:
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
