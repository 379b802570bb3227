"""The process in which somebody's script runs and is watched; what is seen goes to its parent through two open files.

One file takes the bytes of the arrays, one after the other; the other a line of JSON for each event. Both are written
as things happen, so that whatever the script does to this process, what was seen until then is there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from compare.watching.held_arrays import Array, is_library
from compare.watching.tracing import OWN_FILES, Tracer, WatchLimits, tracing

SLACK = 1 << 26  # bytes of files that the script may write besides


def in_words(error: BaseException) -> str:
    """One line: its type, what it says, and the line of the user's code at which it was raised."""
    try:
        said = " ".join(str(error).split())[:200]
    except Exception:
        said = ""
    name = type(error).__name__
    if isinstance(error, SystemExit):
        words = f"SystemExit({said})"
    else:
        words = f"{name}: {said}" if said else name
    if isinstance(error, SyntaxError) and error.lineno and f"line {error.lineno}" not in words:
        return f"{words} at line {error.lineno}"
    trail = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trail if not is_library(frame.filename) and frame.filename not in OWN_FILES]
    return f"{words} at line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else words


class Journal:
    """Writes observations as they come; each content once."""

    def __init__(self, arrays: int, events: int) -> None:
        self.arrays = arrays
        self.events = events
        self._position = 0
        self._kept: dict[Hashable, dict[str, Any]] = {}
        self._owner = os.getpid()

    def observe(
        self, mark: Hashable, array: Array, name: str, file: str, line: int, function: str, holder: int
    ) -> None:
        """An observation; the sink of a Tracer."""
        if mark not in self._kept:
            self._kept[mark] = {"dtype": array.dtype.str, "shape": array.shape, "at": self._position}
            self._write_array(array.tobytes())
        self.event(name=name, file=file, line=line, function=function, holder=holder, **self._kept[mark])

    def event(self, **what: Any) -> None:
        """One line of JSON."""
        self._write(self.events, json.dumps(what).encode() + b"\n")

    def _write_array(self, data: bytes) -> None:
        """At a position of its own, wherever the script may have moved the file's."""
        left = memoryview(data)
        while left and self._is_owner():
            written = os.pwrite(self.arrays, left, self._position)
            self._position += written
            left = left[written:]

    def _write(self, descriptor: int, data: bytes) -> None:
        left = memoryview(data)
        while left and self._is_owner():
            left = left[os.write(descriptor, left) :]

    def _is_owner(self) -> bool:
        return os.getpid() == self._owner  # a fork of the script is not watched


def limit_resources(memory: int, seconds: float, files: int) -> None:
    """What the process, and each that it starts, may use. Where the system knows no such limits, none are set."""
    try:
        import resource
    except ImportError:
        return
    limits = {"RLIMIT_DATA": memory, "RLIMIT_CPU": int(seconds) + 2, "RLIMIT_FSIZE": files + SLACK, "RLIMIT_CORE": 0}
    for name, limit in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (limit, limit))


def without_windows(source: str) -> None:
    """Figures are drawn into memory: matplotlib.use() cannot open a window, and show() does not wait."""
    if "matplotlib" in source or "pyplot" in source:
        with contextlib.suppress(Exception):
            import matplotlib

            matplotlib.use("Agg")
            matplotlib.use = lambda *_, **__: None


def main(settings: dict[str, Any]) -> None:
    """Run the script of the settings and leave the process."""
    journal = Journal(settings["arrays"], settings["events"])
    limits = WatchLimits(**settings["limits"])
    owner = os.getpid()

    def stop(reason: str) -> None:
        journal.event(ended=reason, complete=False)
        os._exit(0)

    tracer = Tracer(limits, journal.observe, stop, lambda file, text: journal.event(source=file, text=text[: 1 << 20]))
    os.register_at_fork(after_in_child=lambda: sys.settrace(None))
    limit_resources(settings["memory"], limits.seconds, limits.bytes)
    began = time.monotonic()
    try:
        ended, complete = _run(settings["path"], settings["argv"], tracer, lambda: journal.event(began=True)), True
    except SystemExit as error:
        ended, complete = in_words(error), error.code in (None, 0)
    except MemoryError as error:
        ended, complete = f"memory limit of {settings['memory'] / 1e9:.1f} GB: {in_words(error)}", False
    except BaseException as error:
        ended, complete = in_words(error), False
    if os.getpid() != owner:
        os._exit(0)
    with contextlib.suppress(Exception):
        _wait_for_threads(began + limits.seconds)
    journal.event(ended=ended, complete=complete)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _run(path: str, argv: list[str], tracer: Tracer, ready: Callable[[], None]) -> str:
    """The script as `python path argv` would run it, in its own folder."""
    data = Path(path).read_bytes()
    text = io.TextIOWrapper(io.BytesIO(data), encoding=_encoding(data), errors="replace").read()
    without_windows(text)
    code: CodeType = compile(data, path, "exec", dont_inherit=True)
    tracer.add_source(path, text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "compare"]:
        del sys.modules[name]  # a script may have a module of that name beside it
    module = ModuleType("__main__")
    module.__file__ = path
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [path, *argv]
    sys.path.insert(0, str(Path(path).parent))
    os.chdir(Path(path).parent)
    ready()
    tracing(tracer, _execute, tracer, code, module.__dict__)
    if tracer.lost:
        return "finished, but it set a trace function of its own, and was not watched to its end"
    return "finished"


def _execute(tracer: Tracer, code: CodeType, names: dict[str, Any]) -> None:
    exec(code, names)
    tracer.lost = sys.gettrace() is not tracer


def _encoding(data: bytes) -> str:
    import tokenize

    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        return "utf-8"


def _wait_for_threads(deadline: float) -> None:
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
