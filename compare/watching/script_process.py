"""The process in which somebody's script runs and is watched; what is seen goes to its parent through two open files.

One file takes the bytes of the arrays, one after the other; the other a line of JSON for each event. Both are written
as things happen, so that whatever the script does to this process, what was seen until then is there.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, MappingProxyType, ModuleType
from typing import Any

from compare.watching.held_arrays import OWN, Array, is_library
from compare.watching.notebook import cells, place
from compare.watching.rewriting import Site, rewritten
from compare.watching.values import Operand, ValueLimits, Values

ASKS = "give its answers after --, in their order"
SLACK = 1 << 26  # bytes of files that the script may write besides
NO_ROOM = 74  # the exit code where the journal could not be written: sysexits.h calls it EX_IOERR
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def in_words(error: BaseException, sources: Mapping[str, Sequence[str]] = MappingProxyType({})) -> str:
    """One line: its type, what it says, and where it was raised in the user's code.

    That is a line, or in a notebook, whose lines are in `sources`, a cell and its line.
    """
    try:
        said = " ".join(str(error).split())[:200]
    except Exception:
        said = ""
    name = type(error).__name__
    if isinstance(error, SystemExit):
        words = f"SystemExit({said})"
    else:
        words = f"{name}: {said}" if said else name
    if isinstance(error, SyntaxError) and error.lineno:
        line, at = f"line {error.lineno}", _line(error.filename or "", error.lineno, sources)
        if line not in words:
            return f"{words} at {at}"
        words = words.replace(line, at)
    trail = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trail if not (is_library(frame.filename) or frame.filename.startswith(OWN))]
    if not frames:
        return words
    file = frames[-1].filename
    return f"{words} at {_line(file, frames[-1].lineno or 0, sources)} of {Path(file).name}"


def _line(file: str, line: int, sources: Mapping[str, Sequence[str]]) -> str:
    return place(sources.get(file, ()), line) or f"line {line}"


class Journal:
    """Writes values as they come; each content once.

    Where the disk takes no more, the process ends with NO_ROOM: a script must neither see this error nor survive it,
    for half of what it computed would be judged as all of it.
    """

    def __init__(self, arrays: int, events: int) -> None:
        self.arrays = arrays
        self.events = events
        self._position = 0
        self._kept: dict[Hashable, int] = {}
        self._owner = os.getpid()

    def value(self, site: int, operands: Sequence[Operand], array: Array, mark: Hashable) -> None:
        """The next value: [site, operands, number], or [site, operands, dtype, shape, position]."""
        if array.ndim == 0:
            self.line([site, operands, repr(float(array)), array.dtype.str])
            return
        if mark not in self._kept:
            self._kept[mark] = self._position
            self._write_array(array.tobytes())
        self.line([site, operands, array.dtype.str, array.shape, self._kept[mark]])

    def name(self, site: int, number: int, name: str) -> None:
        """A value's name: [site, number, name]."""
        self.line([site, number, name])

    def line(self, what: list[Any] | dict[str, Any]) -> None:
        """One line of JSON, at once: the next thing that the script does may end the process."""
        left = memoryview(json.dumps(what).encode() + b"\n")
        while left and self._is_owner():
            with _room():
                left = left[os.write(self.events, left) :]

    def event(self, **what: Any) -> None:
        self.line(what)

    def _write_array(self, data: bytes) -> None:
        """At a position of its own, wherever the script may have moved the file's."""
        left = memoryview(data)
        while left and self._is_owner():
            with _room():
                written = os.pwrite(self.arrays, left, self._position)
            self._position += written
            left = left[written:]

    def _is_owner(self) -> bool:
        return os.getpid() == self._owner  # a fork of the script is not watched


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            os._exit(NO_ROOM)
        raise


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
    owner, began = os.getpid(), time.monotonic()
    limits = ValueLimits(**settings["limits"])

    def stop(reason: str) -> None:
        journal.event(ended=reason, complete=False)
        sys.stdout.flush()
        os._exit(0)

    program = Program(settings["path"], journal)
    values = Values(program.sites, limits, journal.value, journal.name, stop)
    values.install()
    limit_resources(settings["memory"], settings["seconds"], settings["files"])
    try:
        program.run(settings["argv"], settings["answers"])
        ended, complete = "finished", True
    except SystemExit as error:
        ended, complete = in_words(error, program.notebook), error.code in (None, 0)
    except MemoryError as error:
        words = in_words(error, program.notebook)
        ended, complete = f"memory limit of {settings['memory'] / 1e9:.1f} GB: {words}", False
    except BaseException as error:
        ended, complete = in_words(error, program.notebook), False
    if os.getpid() != owner:
        os._exit(0)
    with contextlib.suppress(Exception):
        _wait_for_threads(began + settings["seconds"])
    journal.event(ended=ended, complete=complete)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


class Program:
    """A script and the modules beside it, rewritten as they are loaded."""

    def __init__(self, path: str, journal: Journal) -> None:
        self.path = Path(path)
        self.journal = journal
        self.sites: list[Site] = []
        self.notebook: dict[str, list[str]] = {}  # the lines of its cells, by its file

    def run(self, argv: list[str], answers: list[str]) -> None:
        """As `python path argv` would, in its own folder; input() gets the answers, one after the other."""
        sys.setrecursionlimit(3 * sys.getrecursionlimit())  # a call is two, and so is an expression in another
        text = text_of(self.path.read_bytes(), self.path.suffix)
        if self.path.suffix == ".ipynb":
            self.notebook[str(self.path)] = text.splitlines()
        without_windows(text)
        code = self.rewritten(text, str(self.path))
        for name in [name for name in sys.modules if name.partition(".")[0] == "compare"]:
            del sys.modules[name]  # a script may have a module of that name beside it
        module = ModuleType("__main__")
        module.__file__ = str(self.path)
        module.__dict__["__builtins__"] = __builtins__
        sys.modules["__main__"] = module
        sys.argv = [str(self.path), *argv]
        sys.path.insert(0, str(self.path.parent))
        sys.path_hooks.insert(0, self._finder)
        sys.path_importer_cache.clear()
        os.chdir(self.path.parent)
        builtins.input = _Answers(answers)
        self.journal.event(began=True)
        exec(code, module.__dict__)

    def rewritten(self, text: str | bytes, file: str) -> CodeType:
        """The code of a source, which is told to the journal with its places."""
        first = len(self.sites)
        code = rewritten(text, file, self.sites)
        if file in self.notebook:
            lines = self.notebook[file]
            self.sites[first:] = [replace(site, cell=place(lines, site.line)) for site in self.sites[first:]]
        shown = text if isinstance(text, str) else text_of(text, Path(file).suffix)
        self.journal.line({"source": file, "text": shown[: 1 << 20]})
        self.journal.line({"sites": [list(vars(site).values()) for site in self.sites[first:]]})
        return code

    def _finder(self, folder: str) -> FileFinder:
        """For the folder of the script and those below it."""
        if not Path(folder).is_relative_to(self.path.parent) or is_library(f"{folder}/"):
            raise ImportError
        program = self

        class Loader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                path = self.get_filename(fullname)
                return program.rewritten(self.get_data(path), path)

        return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (Loader, SOURCE_SUFFIXES))


class _Answers:
    """input(): the next answer; EOFError, with how to give one, where there is none left."""

    def __init__(self, answers: list[str]) -> None:
        self.left = list(answers)

    def __call__(self, prompt: object = "", /) -> str:
        print(prompt, end="", flush=True)
        if not self.left:
            raise EOFError(f"the program asks for input ({str(prompt).strip() or 'without a question'}); {ASKS}")
        return self.left.pop(0)


def text_of(data: bytes, suffix: str) -> str:
    """Of a script or a notebook, as Python reads it; what no encoding gives is replaced."""
    if suffix == ".ipynb":
        return cells(data)
    return io.TextIOWrapper(io.BytesIO(data), encoding=_encoding(data), errors="replace").read()


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
