"""See every array that the lines of somebody's code make: of a function here, of a script in a process of its own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from compare.watching.observation import Array, Observation
from compare.watching.script_process import in_words
from compare.watching.tracing import Tracer, WatchLimits, tracing

MEMORY = 4 << 30
OUTPUT = 1 << 16  # bytes of what a script prints that are kept, the last ones
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "PYTHONIOENCODING": "utf-8:replace",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "",
}
WINDOWS = ("DISPLAY", "WAYLAND_DISPLAY")

# The package without its __init__, which would import torch.
BOOTSTRAP = """
import json, sys, types
settings = json.loads(sys.argv[1])
package = types.ModuleType("compare")
package.__path__ = [settings["package"]]
sys.modules["compare"] = package
from compare.watching.script_process import main
main(settings)
"""


@dataclass(frozen=True, eq=False)
class Watched:
    """All observations of a run in order of time, how it ended in words, and the lines of every file that was watched.

    `complete` says whether the code ran to its end. `output` is the last part of what a script printed. `left` has, by
    holder, what arrays of a function had become at its end, where no line that was watched shows it.
    """

    observations: tuple[Observation, ...]
    ended: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    complete: bool = False
    output: str = ""
    left: Mapping[int, Array] = field(default_factory=dict)


def watch_call(function: Callable[..., Any], *args: Any, **limits: Any) -> tuple[Any, Watched]:
    """function(*args) in this process, and what was seen of every frame outside the standard library and site-packages.

    `limits` are those of tracing.WatchLimits; at a limit watching ends, while the function runs on. If it raises, the
    result is None and `ended` says what and where.
    """
    kept: dict[Hashable, Array] = {}
    observations: list[Observation] = []
    sources: dict[str, Sequence[str]] = {}
    stopped: list[str] = []

    def observe(mark: Hashable, array: Array, name: str, file: str, line: int, of: str, holder: int) -> None:
        if mark not in kept:
            kept[mark] = np.array(array)
            kept[mark].flags.writeable = False
        observations.append(Observation(kept[mark], name, file, line, of, len(observations), holder))

    def keep_source(file: str, text: str) -> None:
        sources[file] = text.splitlines()

    tracer = Tracer(WatchLimits(**limits), observe, stopped.append, keep_source)
    result, ended, complete = None, "finished", True
    try:
        result = tracing(tracer, function, *args)
    except (Exception, SystemExit) as error:
        ended, complete = in_words(error), False
    ended = "; ".join([*(f"watching {words}" for words in stopped), ended]) if stopped else ended
    left = {holder: np.array(array) for holder, array in tracer.changed_since()}
    return result, Watched(tuple(observations), ended, sources, complete, left=left)


def watch_script(
    path: str | os.PathLike[str],
    argv: Sequence[str] = (),
    *,
    seconds: float = 20.0,
    memory: int = MEMORY,
    values: int = 300,
    **limits: Any,
) -> Watched:
    """Run an unedited script in a process of its own and watch it, for `seconds` and with `memory` bytes at most.

    It runs in its own folder, with no input, no windows and one thread. Whatever it does, what was seen until then is
    returned; `ended` says how it ended. Of each name at each line `values` are kept, and a script of which only such
    lines still run is stopped. FileNotFoundError or IsADirectoryError if `path` is no file.
    """
    script = Path(path).absolute()
    if script.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a Python script")
    if not script.exists():
        raise FileNotFoundError(f"{path}: no such file, expected a Python script")
    bounds = WatchLimits(seconds=seconds, values=values, **limits)
    with tempfile.TemporaryFile() as arrays, tempfile.TemporaryFile() as events:
        settings = {
            "package": str(Path(__file__).parents[1]),
            "path": str(script),
            "argv": list(argv),
            "limits": vars(bounds),
            "memory": memory,
            "arrays": arrays.fileno(),
            "events": events.fileno(),
        }
        process = subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", BOOTSTRAP, json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k not in WINDOWS} | ENVIRONMENT,
            pass_fds=(arrays.fileno(), events.fileno()),
            start_new_session=True,
        )
        output, in_time = _output(process, seconds)
        watched = _read(arrays, events)
    ended = watched.ended or _ended(process.returncode, in_time, seconds)
    return Watched(watched.observations, ended, watched.sources, watched.complete, output)


def _output(process: subprocess.Popen[bytes], seconds: float) -> tuple[str, bool]:
    """The last part of what it prints until it ends, and whether it ended in time; afterwards its group is dead."""
    assert process.stdout is not None
    pipe, kept, deadline, is_open = process.stdout.fileno(), b"", time.monotonic() + seconds, True
    os.set_blocking(pipe, False)
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if is_open and select.select([pipe], [], [], 0.05)[0]:
                part = os.read(pipe, OUTPUT)
                kept, is_open = (kept + part)[-OUTPUT:], bool(part)
            elif not is_open:
                time.sleep(0.02)
        in_time = process.poll() is not None
        while is_open and len(part := _available(pipe)):
            kept = (kept + part)[-OUTPUT:]
            if len(part) < OUTPUT:
                break
    finally:
        _kill(process)
    return kept.decode("utf-8", "replace"), in_time


def _available(pipe: int) -> bytes:
    try:
        return os.read(pipe, OUTPUT)
    except BlockingIOError:
        return b""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _ended(returncode: int, in_time: bool, seconds: float) -> str:
    """In words, of a process that could not say so itself."""
    if not in_time:
        return f"time limit of {seconds:g} s"
    if returncode == -getattr(signal, "SIGXCPU", 0):
        return f"time limit of {seconds:g} s of processor time"
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"ended itself with exit code {returncode}"


def _read(arrays: IO[bytes], events: IO[bytes]) -> Watched:
    """What the process wrote. It is not trusted: what is not well-formed is left out."""
    kept: dict[tuple[Any, ...], Array] = {}
    observations: list[Observation] = []
    sources: dict[str, Sequence[str]] = {}
    ended, complete = "", False
    size = os.fstat(arrays.fileno()).st_size
    for event in _events(events):
        match event:
            case {"source": str(file), "text": str(text)}:
                sources[file] = text.splitlines()
            case {"ended": str(words), "complete": bool(done)}:
                ended, complete = words, done
            case {"name": str(name), "file": str(file), "line": int(line), "function": str(of), "holder": int(holder)}:
                array = _array(arrays, size, event, kept)
                if array is not None:
                    observations.append(Observation(array, name, file, line, of, len(observations), holder))
    return Watched(tuple(observations), ended, sources, complete)


def _events(file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    file.seek(0)
    for line in file:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _array(file: IO[bytes], size: int, event: Mapping[str, Any], kept: dict[tuple[Any, ...], Array]) -> Array | None:
    match event:
        case {"dtype": str(kind), "shape": list(shape), "at": int(start)} if all(isinstance(n, int) for n in shape):
            key = (kind, tuple(shape), start)
        case _:
            return None
    if key not in kept:
        try:
            dtype = np.dtype(kind)
        except TypeError:
            return None
        length = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "biuf" or min([start, *shape]) < 0 or start + length > size:
            return None
        kept[key] = np.frombuffer(os.pread(file.fileno(), length, start), dtype).reshape(shape)
    return kept[key]
