"""Watch lines as they run: after each, which arrays it bound or changed in place.

It imports no more than NumPy, so that a process of its own starts quickly.
"""

from __future__ import annotations

import linecache
import sys
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from compare.watching.held_arrays import Array, attribute, fingerprint, held, is_library
from compare.watching.statements import Chain, Statement, statements

FEWEST = 3  # values of one name at one line, however large
FRESH = 20  # values of one name at one line that show that the code does something new
IDLE = 8  # visits of a statement without a value that may still be given, after which it is not looked at again
LEAVES = 256  # arrays looked at for one name after one line
VERSIONS = 20_000  # arrays whose last state is remembered
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
OWN_FILES = frozenset(
    str(Path(__file__).parents[1] / name)
    for name in (
        *("watching/tracing.py", "watching/watch.py", "watching/script_process.py", "watching/held_arrays.py"),
        *("watching/calls.py", "watching/growing.py", "watching/reach.py", "watching/recompiled.py"),
        *("watching/statements.py", "watching/values.py", "watching/rewriting.py", "watching/notebook.py"),
        "foreign/objects.py",
    )
)

Scope = int  # the id of a code object, or of a module's variables; hashing code itself is slow
Found = tuple[str, Array, bool]  # name, array, whether it is the code's own object
Sink = Callable[[Hashable, Array, str, str, int, str, int], None]


@dataclass(frozen=True)
class WatchLimits:
    """How much is watched: `values` of one name at one line, `total` values in all, and their `bytes`.

    Large arrays give fewer: after `line_bytes` of one name at one line only FEWEST. When only lines run that have given
    all their values, watching ends: after `patience` seconds if every matrix product and every update has run, else
    after `long_patience`.
    """

    values: int = 300
    total: int = 30_000
    bytes: int = 1 << 29
    line_bytes: int = 1 << 22
    seconds: float = 20.0
    patience: float = 1.0
    long_patience: float = 8.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"got {name}={value}, expected more than 0")


@dataclass
class Plan:
    """A statement in one piece of code, how often it ran, and what it has given: name -> (values, bytes)."""

    statement: Statement
    file: str
    visits: int = 0
    idle: int = 0
    given: dict[str, tuple[int, int]] = field(default_factory=dict)

    def is_full(self, name: str, limits: WatchLimits) -> bool:
        """Whether this name has given all its values here."""
        values, size = self.given.get(name, (0, 0))
        return values >= limits.values or (values >= FEWEST and size >= limits.line_bytes)

    def give(self, name: str, size: int) -> None:
        """Count one value."""
        values, before = self.given.get(name, (0, 0))
        self.given[name] = values + 1, before + size


class Tracer:
    """A trace function. `sink` takes (fingerprint, array, name, file, line, function, holder) of everything new.

    `holder` numbers array objects, so that one that changes is known again; 0 for numbers and lists.

    The array is still the code's own: the sink copies it if it is the first with this fingerprint. `on_stop` is
    called once, with the reason, when a limit is reached; `on_source` with (file, text) for every file.
    """

    def __init__(
        self,
        limits: WatchLimits,
        sink: Sink,
        on_stop: Callable[[str], None],
        on_source: Callable[[str, str], None],
    ) -> None:
        self.limits = limits
        self.sink = sink
        self.on_stop = on_stop
        self.on_source = on_source
        self.stopped = False
        self.lost = False
        self.faults = 0
        self._files: dict[str, dict[int, Statement]] = {}
        self._libraries: set[str] = set()
        self._plans: dict[int, tuple[CodeType, dict[int, Plan]]] = {}
        self._contents: set[Hashable] = set()
        self._last: dict[tuple[Scope, str], tuple[Hashable, Any]] = {}
        self._refused: set[tuple[Scope, str]] = set()  # names that had more values than a line may give
        self._versions: dict[int, tuple[Any, Hashable, int]] = {}
        self._holders = count(1)
        self._unseen: set[tuple[str, int]] = set()
        self._begin = time.monotonic()
        self._busy_since: float | None = None  # only exhausted lines have run since then
        self._exhausted: Plan | None = None  # the last line that had given all its values
        self._count = 0
        self._bytes = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The trace function for sys.settrace."""
        if self.stopped or event != "call":
            return None
        code = frame.f_code
        if code.co_filename in self._libraries:
            return None
        if id(code) not in self._plans:
            self._plans[id(code)] = code, self._plans_of(code, frame)
        plans = self._plans[id(code)][1]
        return _FrameWatch(self, plans).trace if plans else None

    def add_source(self, file: str, text: str) -> None:
        """The text of a file, where it was read before the code ran. SyntaxError if it is none of Python's."""
        found = statements(text)
        self._files[file] = found
        self._unseen |= {(file, s.line) for s in found.values() if s.matters}
        self.on_source(file, text)

    def stop(self, reason: str) -> None:
        """Watch no more."""
        if not self.stopped:
            self.stopped = True
            self.on_stop(reason)

    def _plans_of(self, code: CodeType, frame: FrameType) -> dict[int, Plan]:
        file = code.co_filename
        if is_library(file) or file in OWN_FILES:
            self._libraries.add(file)
            return {}
        if file not in self._files:
            text = "".join(linecache.getlines(file, frame.f_globals))
            try:
                self.add_source(file, text)
            except (SyntaxError, ValueError, RecursionError):
                self._files[file] = {}
        found = self._files[file]
        plans: dict[int, Plan] = {}
        lines = {line for _, _, line in code.co_lines() if line is not None and line in found}
        for line in sorted(lines):
            first = found[line].line
            plans[line] = plans[first] if first in plans else Plan(found[line], file)
            plans.setdefault(first, plans[line])
        return plans

    def after(self, frame: FrameType, plan: Plan) -> None:
        """Look at what a statement mentions, now that it has run."""
        plan.visits += 1
        if plan.visits == 1:
            self._busy_since = None
            self._unseen.discard((plan.file, plan.statement.line))
        elif plan.idle > IDLE or plan.visits > 4 * self.limits.values:
            self._only_exhausted(plan)
            return
        try:
            self._look(frame, plan)
        except Exception:  # whatever an odd object does when it is looked at: the code itself goes on
            self.faults += 1

    def _look(self, frame: FrameType, plan: Plan) -> None:
        variables, everywhere = frame.f_locals, frame.f_globals
        before, refused = self._count, False
        has_bound = plan.statement.has_bound(frame.f_lineno) and frame.f_code.co_name not in COMPREHENSIONS
        for chain, is_stored in plan.statement.mentions.items():
            scope: Scope = id(frame.f_code)
            if chain[0] in variables:
                value = variables[chain[0]]
                if variables is everywhere:
                    scope = id(everywhere)
            elif chain[0] in everywhere:
                value, scope = everywhere[chain[0]], id(everywhere)
            else:
                continue
            for found in _reach(chain, value):
                name, array, _ = found
                is_rebound = is_stored and has_bound and array.ndim == 0 and name == ".".join(chain)
                refused |= self._offer(found, scope, is_stored, is_rebound, plan, frame)
                if self.stopped:
                    return
        plan.idle = plan.idle + 1 if refused and self._count == before else 0
        if plan.idle:
            self._only_exhausted(plan)
        if time.monotonic() - self._begin > self.limits.seconds:
            self.stop(f"time limit of {self.limits.seconds:g} s")

    def returned(self, frame: FrameType, plan: Plan | None, value: Any) -> None:
        """Look at what a function returns."""
        code = frame.f_code
        if plan is None or value is None or code.co_name == "<module>" or code.co_name in COMPREHENSIONS:
            return
        try:
            for found in _limited(held(f"return of {code.co_name}", value)):
                _, array, _ = found
                self._offer(found, id(code), True, array.ndim == 0, plan, frame)
        except Exception:
            self.faults += 1

    def _offer(
        self, found: Found, scope: Scope, is_stored: bool, is_rebound: bool, plan: Plan, frame: FrameType
    ) -> bool:
        """Give the array to the sink if it is new. True if it is, but refused: the name has given all its values here.

        New is a value that was never seen; an array that has changed, under whatever name; and, where the statement
        stores to the name (`is_stored`), another value or another object under it. A number is no object that could be
        another: where the statement is known to have bound it (`is_rebound`), it is new even if it is the same number.
        """
        name, array, is_object = found
        key, mark = (scope, name), fingerprint(array)
        has_changed, holder = self._changed(array, mark) if is_object else (False, 0)
        is_unseen = mark not in self._contents
        if not (is_unseen or has_changed or (is_stored and (is_rebound or self._is_other(key, found, mark)))):
            return False
        if not is_stored and key in self._refused:
            return False  # a line that has given all its values left it so, not this one
        if plan.is_full(name, self.limits):
            self._refused.add(key)
            return True
        plan.give(name, array.nbytes)
        self._last[key] = mark, weakref.ref(array) if is_object else None
        if not is_unseen or self._room(array):
            self._give(mark, array, name, holder, plan, frame)
        return False

    def _give(self, mark: Hashable, array: Array, name: str, holder: int, plan: Plan, frame: FrameType) -> None:
        """To the sink, and counted."""
        self._contents.add(mark)
        self._count += 1
        if plan.given[name][0] <= FRESH:
            self._busy_since = None
        code = frame.f_code
        self.sink(mark, array, name, code.co_filename, plan.statement.line, code.co_qualname, holder)
        if self._count >= self.limits.total:
            self.stop(f"stopped after {self._count} values")

    def _is_other(self, key: tuple[Scope, str], found: Found, mark: Hashable) -> bool:
        """Whether the name stood for another value, or another object, when it was last given."""
        _, array, is_object = found
        last, reference = self._last.get(key, (None, None))
        return last != mark or (is_object and reference is not None and reference() is not array)

    def _changed(self, array: Array, mark: Hashable) -> tuple[bool, int]:
        """Whether this very array was something else when it was last looked at, under whatever name; its number."""
        seen = self._versions.get(id(array))
        if seen is not None and seen[0]() is not array:
            seen = None
        if len(self._versions) > VERSIONS:
            self._versions = {k: v for k, v in self._versions.items() if v[0]() is not None}
        holder = seen[2] if seen is not None else next(self._holders)
        self._versions[id(array)] = (weakref.ref(array), mark, holder)
        return seen is not None and seen[1] != mark, holder

    def changed_since(self) -> Iterator[tuple[int, Array]]:
        """Number and array of those that are still there and are not what they were when they were last looked at."""
        for reference, mark, holder in self._versions.values():
            array = reference()
            if array is not None and fingerprint(array) != mark:
                yield holder, array

    def _room(self, array: Array) -> bool:
        """Whether it may be kept: one array takes at most half of what is left."""
        left = self.limits.bytes - self._bytes
        if array.nbytes > left / 2:
            if left < self.limits.bytes / 8:
                self.stop(f"stopped after {self._bytes / 1e6:.0f} MB of values")
            return False
        self._bytes += array.nbytes
        return True

    def _only_exhausted(self, plan: Plan) -> None:
        now = time.monotonic()
        if self._busy_since is None:
            self._busy_since = now
        if plan.given or self._exhausted is None:  # a bare `while` line gives no values, and says less
            self._exhausted = plan
        patience = self.limits.long_patience if self._unseen else self.limits.patience
        if now - self._busy_since > patience or now - self._begin > self.limits.seconds:
            values = max((values for values, _ in self._exhausted.given.values()), default=self._exhausted.visits)
            self.stop(f"stopped after {values} values of line {self._exhausted.statement.line}")


class _FrameWatch:
    """What one frame is at."""

    def __init__(self, tracer: Tracer, plans: dict[int, Plan]) -> None:
        self.tracer = tracer
        self.plans = plans
        self.plan: Plan | None = None
        self.line = 0

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        tracer = self.tracer
        if tracer.stopped:
            return None
        if event == "line":
            plan, line = self.plans.get(frame.f_lineno), frame.f_lineno
            if self.plan is not None and not (plan is self.plan and line > self.line):
                tracer.after(frame, self.plan)
            self.plan, self.line = plan, line
        elif event == "return":
            if self.plan is not None:
                tracer.after(frame, self.plan)
            tracer.returned(frame, self.plan, arg)
        return self.trace


def _reach(chain: Chain, value: Any) -> Iterator[Found]:
    """The arrays at the end of a chain of attributes, and what they hold; at an array the chain ends."""
    name = chain[0]
    for attr in chain[1:]:
        inner = attribute(value, attr) if attr != "__dict__" else None
        if inner is None:
            break
        name, value = f"{name}.{attr}", inner
    return _limited(held(name, value))


def _limited(found: Iterator[Found]) -> Iterator[Found]:
    return islice(found, LEAVES)


def tracing(tracer: Tracer, function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), watched; the trace function that was there before is there again afterwards."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        return function(*args)
    finally:
        sys.settrace(before)
