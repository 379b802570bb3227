"""The folder of one run: config.json first, history and figures as it goes, metrics.json when it is done."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import _threads
import _torchrun
from _command import CHECKOUT
from _exit_code import UsageError
from filelock import FileLock, Timeout

from scratch.atomic_file import write_atomically

MAX_JSON = 1 << 24  # bytes; a run's own files have a few thousand
DEEPEST = 50  # objects in one another
MOST = 20  # differences that are told
LOCK = ".lock"
LEFTOVERS = {".new", "config.json.new", LOCK}  # of a run that was killed before it had a config.json
ENVIRONMENT = ("versions", "platform", "processor", "cores", "processes", "threads", "blas")
LIBRARIES = ("numpy", "torch", "torchvision", "matplotlib", "scikit-learn", "safetensors")


class RunFolder:
    """A folder, new or resumed. What was in it before is never overwritten by a new run.

    One process at a time: a second one is refused until the first has closed the folder, or ended in any way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK)

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """`out`, which must be absent or empty; else runs/NAME in the checkout, or the first free NAME-2, NAME-3, ...

        UsageError if it holds something, cannot be written to, or is another run's at this moment.
        """
        if out is not None:
            expect_free(out)
            folder = cls(_made(out, exist_ok=True))
            folder.hold()
            expect_free(out)  # two runs that start at once have both come as far as this
            return folder
        runs = CHECKOUT / "runs"
        for k in count(1):
            try:
                folder = cls(_made(runs / (name if k == 1 else f"{name}-{k}"), exist_ok=False))
            except FileExistsError:
                continue
            folder.hold()
            return folder
        raise AssertionError("count() has no end")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An earlier run's. UsageError if there is none, or it is still running."""
        folder = cls(path)
        folder.config()
        folder.hold()
        return folder

    def hold(self) -> None:
        """UsageError if another process has it. The lock ends with the process, however that ends."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"{self.path}: another run is writing to it, expected none at work there") from None
        except (OSError, NotImplementedError):
            pass  # nobody can write there, or the file system has no locks

    def close(self) -> None:
        if self._lock.is_locked:
            (self.path / LOCK).unlink(missing_ok=True)
            self._lock.release()

    @property
    def has_checkpoint(self) -> bool:
        return any((self.path / "checkpoints").glob("*/checkpoint*.safetensors"))

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def config(self) -> dict[str, Any]:
        """config.json. UsageError if it cannot be read."""
        return read_json(self / "config.json")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """In one step; numbers that are not finite are null."""
        text = json.dumps(_finite(content), indent=2, allow_nan=False)
        write_atomically(self / name, text.encode() + b"\n")


def expect_free(out: Path) -> None:
    """UsageError unless `out` is absent or an empty folder."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: found a file, expected a folder")
    if not is_free(out):
        what = "an earlier run" if (out / "config.json").exists() else "files"
        raise UsageError(f"--out {out}: found {what} in it, expected a new or empty folder (--resume continues)")


def is_free(folder: Path) -> bool:
    """Absent, or with nothing in it that a run would have to leave alone."""
    return not folder.is_dir() or {path.name for path in folder.iterdir()} <= LEFTOVERS


def read_json(path: Path) -> dict[str, Any]:
    """UsageError naming the file if it is absent or no JSON object."""
    from scratch.datasets.idx import open_regular, read_up_to
    from scratch.printable import cut

    try:
        with open_regular(path) as file:
            text = bytes(read_up_to(file, MAX_JSON + 1))
        if len(text) > MAX_JSON:
            raise UsageError(f"{path}: found more than {MAX_JSON} bytes, expected fewer")
        content = json.loads(text)
        _expect_shallow(content)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path}: cannot be read ({reason}), expected the folder of a run") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged ({cut(error, 200)})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: found {type(content).__name__}, expected an object")
    return content


def _expect_shallow(content: Any) -> None:
    """ValueError for what is nested deeper than a function may call itself."""
    level = [content]
    for _ in range(DEEPEST):
        level = [part for each in level if isinstance(each, dict | list) for part in _parts(each)]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} deep")


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def environment(processes: int = 1) -> dict[str, Any]:
    """Versions, processes and their threads, BLAS, processor: what a run's bits may depend on beside its options."""
    threads: dict[str, Any] = {name: os.environ.get(name) for name in _threads.VARIABLES}
    if "torch" in sys.modules:
        threads["torch"] = sys.modules["torch"].get_num_threads()
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "processes": max(processes, _torchrun.processes()),
        "threads": threads,
        "blas": _blas(),
    }


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What two configurations say about their environments and do not share: "versions.numpy 2.0.0 and 2.1.0"."""
    return unlike(*({name: each.get(name) for name in ENVIRONMENT} for each in (ours, theirs)))


def unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The leaves in which two nested objects differ, by their paths: "versions.numpy 2.0.0 and 2.1.0"; at most MOST."""
    from scratch.printable import cut

    a, b = dict(_flat(ours)), dict(_flat(theirs))
    names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
    said = [f"{cut(name)} {cut(a.get(name), 200)} and {cut(b.get(name), 200)}" for name in names[:MOST]]
    return said + [f"{len(names) - MOST} more"] * (len(names) > MOST)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """("versions.numpy", "2.0.0"), ...: the leaves of nested objects by their paths."""
    if isinstance(value, Mapping):
        return [each for k, v in value.items() for each in _flat(v, f"{name}.{k}".strip("."))]
    return [(name, str(value))]


def _blas() -> dict[str, Any]:
    """NumPy's BLAS by name and version, and every thread pool that is loaded, with the kernels that it has chosen."""
    import numpy as np
    from threadpoolctl import threadpool_info

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    found: dict[str, Any] = {"numpy": f"{built['name']} {built['version']}"}
    for pool in threadpool_info():
        library = Path(pool["filepath"]).name.partition(".so")[0].partition("-")[0]
        parts = ("version", "architecture", "threading_layer", "num_threads")
        found[library] = " ".join(f"{part} {pool[part]}" for part in parts if pool.get(part) is not None)
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].backends.cpu.get_cpu_capability()
    return found


def _processor() -> str:
    """Its model where the system tells it, since a BLAS chooses its kernels by that; else the kind of machine."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{platform.machine()}, {line.partition(':')[2].strip()}"
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _made(path: Path, *, exist_ok: bool) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=exist_ok)
        probe = path / ".new"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise
        raise UsageError(f"--out {path}: cannot be written to ({error.strerror})") from error
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
