"""See every value that a script computes, in a process of its own."""

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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from compare.watching.dataflow import Array, Dataflow
from compare.watching.growing import Growing
from compare.watching.progress import Progress, Tell
from compare.watching.rewriting import Site
from compare.watching.values import ValueLimits

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
KINDS = ("b1", "f2", "f4", "f8", *(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)))
NUMBERS = frozenset(f"{order}{kind}" for order in "<|=" for kind in KINDS)
NOTHING = np.empty(0)

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


def watch_script(
    path: str | os.PathLike[str],
    argv: Sequence[str] = (),
    *,
    seconds: float = 20.0,
    memory: int = MEMORY,
    answers: Sequence[str] = (),
    progress: Tell | None = None,
    **limits: Any,
) -> Dataflow:
    """Run an unedited script or notebook in a process of its own and watch every expression of it.

    For `seconds` and with `memory` bytes at most, in its own folder, with no windows and one thread; input() gets the
    `answers`. `progress` hears twice a second of the seconds and the values that were seen. `limits` are those of
    values.ValueLimits. Whatever it does, what was seen until then is returned; `ended` says how it ended.
    FileNotFoundError or IsADirectoryError if `path` is no file.
    """
    script = Path(path).absolute()
    if script.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a Python script")
    if not script.exists():
        raise FileNotFoundError(f"{path}: no such file, expected a Python script")
    bounds = ValueLimits(**limits)
    with tempfile.TemporaryFile() as arrays, tempfile.TemporaryFile() as events:
        settings = {
            "package": str(Path(__file__).parents[1]),
            "path": str(script),
            "argv": list(argv),
            "answers": list(answers),
            "limits": vars(bounds),
            "seconds": seconds,
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
        output, in_time = _output(process, seconds, Progress(events.fileno(), progress))
        flow = _read(arrays, events)
    ended = flow.ended or _ended(process.returncode, in_time, seconds)
    return replace(flow, ended=ended, output=output)


def _output(process: subprocess.Popen[bytes], seconds: float, progress: Progress) -> tuple[str, bool]:
    """The last part of what it prints until it ends, and whether it ended in time; afterwards its group is dead."""
    assert process.stdout is not None
    pipe, kept, deadline, is_open = process.stdout.fileno(), b"", time.monotonic() + seconds, True
    os.set_blocking(pipe, False)
    try:
        while process.poll() is None and time.monotonic() < deadline:
            progress.tick()
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


def _read(arrays: IO[bytes], events: IO[bytes]) -> Dataflow:
    """What the process wrote. It is not trusted: what is not well-formed is left out."""
    kept: dict[tuple[Any, ...], Array] = {}
    sites: list[Site] = []
    growing = Growing(sites)
    sources: dict[str, Sequence[str]] = {}
    ended, complete = "", False
    size = os.fstat(arrays.fileno()).st_size
    for event in _events(events):
        match event:
            case {"source": str(file), "text": str(text)}:
                sources[file] = text.splitlines()
            case {"sites": list(found)}:
                sites += [site for each in found if (site := _site(each)) is not None]
            case {"ended": str(words), "complete": bool(done)}:
                ended, complete = words, done
            case [int(site), int(number), str(name)] if 0 <= number < len(growing.values) and 0 <= site < len(sites):
                growing.name(site, number, name)
            case [int(site), list(operands), *held] if site < len(sites):
                growing.value(site, operands, _array(arrays, size, held, kept))
    return Dataflow(tuple(growing.values), ended, sources, complete)


def _site(found: Any) -> Site | None:
    match found:
        case [str(what), str(file), int(a), int(b), int(c), int(d), str(of), list(names), str(cell)]:
            return Site(what, file, a, b, c, d, of, tuple(map(str, names)), cell)
    return None


def _events(file: IO[bytes]) -> Iterator[Any]:
    file.seek(0)
    for line in file:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue


def _array(file: IO[bytes], size: int, held: Sequence[Any], kept: dict[tuple[Any, ...], Array]) -> Array:
    """A number or an array as it was written; an empty one for what is not well-formed."""
    match held:
        case [str(number), str(kind)] if kind in NUMBERS:
            return np.asarray(_float(number)).astype(kind)
        case [str(kind), list(shape), int(start)] if all(isinstance(n, int) for n in shape):
            key = (kind, tuple(shape), start)
        case _:
            return NOTHING
    if key not in kept:
        try:
            dtype = np.dtype(kind)
        except TypeError:
            return NOTHING
        length = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "biuf" or min([start, *shape]) < 0 or start + length > size:
            return NOTHING
        kept[key] = np.frombuffer(os.pread(file.fileno(), length, start), dtype).reshape(shape)
    return kept[key]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
