"""See every value that a script computes, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare.watching import box as boxes
from compare.watching.dataflow import Dataflow
from compare.watching.journal import read
from compare.watching.progress import Progress, Tell
from compare.watching.script_process import NO_ROOM, text_of
from compare.watching.values import ValueLimits

MEMORY = 4 << 30
EVERY = 0.05  # seconds between two looks at the processes in a box
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
if settings["originals"]:
    import os, shutil
    shutil.copytree(settings["originals"], os.path.dirname(settings["path"]), dirs_exist_ok=True)
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
    box: bool = False,
    **limits: Any,
) -> Dataflow:
    """Run an unedited script or notebook in a process of its own and watch every expression of it.

    For `seconds` and with `memory` bytes at most, in its own folder, with no windows and one thread; input() gets the
    `answers`. `progress` hears twice a second of the seconds and the values that were seen. `limits` are those of
    values.ValueLimits. Whatever it does, what was seen until then is returned; `ended` says how it ended.
    With `box` it runs in one, on a copy of its folder; CannotBox where there is none.
    FileNotFoundError or IsADirectoryError if `path` is no file; OSError where the temporary folder has no room for what
    is seen.
    """
    script = Path(path).absolute()
    if script.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a Python script")
    if not script.exists():
        raise FileNotFoundError(f"{path}: no such file, expected a Python script")
    bounds = ValueLimits(**limits)
    source = _Sources(script, box)
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
            "files": bounds.bytes + (0 if box else memory),
            "originals": boxes.ORIGINALS if box else "",
        }
        command = [sys.executable, "-B", "-P", "-c", BOOTSTRAP, json.dumps(settings)]
        if box:
            boxes.expect_box()
            command = boxes.command(command, script.parent)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(box),
            pass_fds=(arrays.fileno(), events.fileno()),
            start_new_session=True,
        )
        tree = boxes.Tree(process.pid, memory) if box else None
        output, in_time, excess = _output(process, seconds, Progress(events.fileno(), progress), tree)
        if process.returncode == NO_ROOM:
            folder = tempfile.gettempdir()
            raise OSError(f"{folder}: no room for what is seen of {path}, expected some (TMPDIR moves it)")
        flow = read(arrays, events, bounds, source, distrusted=box)
    ended = excess or flow.ended or _ended(process.returncode, in_time, seconds, box)
    unseen = flow.unseen if flow.ended or not in_time or excess else (*flow.unseen, f"how it ended: {ended}")
    return replace(flow, ended=ended, output=output, complete=flow.complete and not excess, unseen=unseen)


class _Sources:
    """The files as the checker reads them: the script before it runs; the others in a box, where they do not change.

    Without one, as they are afterwards, since the program that is trusted has loaded them.
    """

    def __init__(self, script: Path, box: bool) -> None:
        self.script, self.box, self.text = script, box, script.read_bytes()

    def __call__(self, file: str) -> str | bytes | None:
        if file == str(self.script):
            return text_of(self.text, self.script.suffix)
        path = Path(file)
        if not path.is_relative_to(self.script.parent) or path.is_symlink() or not path.is_file():
            return None
        return path.read_bytes()


def _environment(box: bool) -> dict[str, str]:
    if box:
        return boxes.environment(os.environ, ENVIRONMENT)
    return {k: v for k, v in os.environ.items() if k not in WINDOWS} | ENVIRONMENT


def _output(
    process: subprocess.Popen[bytes], seconds: float, progress: Progress, tree: boxes.Tree | None = None
) -> tuple[str, bool, str]:
    """The last part of what it prints until it ends, whether it ended in time, and beyond which limit it went.

    Afterwards its group is dead.
    """
    assert process.stdout is not None
    pipe, kept, deadline, is_open = process.stdout.fileno(), b"", time.monotonic() + seconds, True
    excess, looked = "", 0.0
    os.set_blocking(pipe, False)
    try:
        while process.poll() is None and time.monotonic() < deadline and not excess:
            progress.tick()
            if tree is not None and time.monotonic() - looked > EVERY:
                excess, looked = tree.excess(), time.monotonic()
            if is_open and select.select([pipe], [], [], 0.05)[0]:
                part = os.read(pipe, OUTPUT)
                kept, is_open = (kept + part)[-OUTPUT:], bool(part)
            elif not is_open:
                time.sleep(0.02)
        in_time = process.poll() is not None or bool(excess)
        while is_open and len(part := _available(pipe)):
            kept = (kept + part)[-OUTPUT:]
            if len(part) < OUTPUT:
                break
    finally:
        _kill(process)
    return kept.decode("utf-8", "replace"), in_time, excess


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


def _ended(returncode: int, in_time: bool, seconds: float, box: bool = False) -> str:
    """In words, of a process that could not say so itself. From a box a signal comes as 128 and its number."""
    if box and returncode > 128:
        returncode = 128 - returncode
    if not in_time:
        return f"time limit of {seconds:g} s"
    if returncode == -getattr(signal, "SIGXCPU", 0):
        return f"time limit of {seconds:g} s of processor time"
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"ended itself with exit code {returncode}"
