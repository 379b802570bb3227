"""The folder of one run: config.json first, history and figures as it goes, metrics.json when it is done."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from _command import CHECKOUT, THREADS, UsageError

LIBRARIES = ("numpy", "torch", "torchvision", "matplotlib", "scikit-learn", "safetensors")


class RunFolder:
    """A folder, new or resumed. What was in it before is never overwritten by a new run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """`out`, which must be absent or empty; else runs/NAME in the checkout, or the first free NAME-2, NAME-3, ...

        UsageError if it holds something or cannot be written to.
        """
        if out is not None:
            expect_free(out)
            return cls(_made(out, exist_ok=True))
        runs = CHECKOUT / "runs"
        for k in count(1):
            try:
                return cls(_made(runs / (name if k == 1 else f"{name}-{k}"), exist_ok=False))
            except FileExistsError:
                continue
        raise AssertionError("count() has no end")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An earlier run's. UsageError if there is none."""
        folder = cls(path)
        folder.config()
        return folder

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def config(self) -> dict[str, Any]:
        """config.json. UsageError if it cannot be read."""
        return read_json(self / "config.json")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """In one step; numbers that are not finite are null."""
        text = json.dumps(_finite(content), indent=2, allow_nan=False)
        beside = self / f"{name}.new"
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self / name)


def expect_free(out: Path) -> None:
    """UsageError unless `out` is absent or an empty folder."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: found a file, expected a folder")
    if out.is_dir() and any(out.iterdir()):
        what = "an earlier run" if (out / "config.json").exists() else "files"
        raise UsageError(f"--out {out}: found {what} in it, expected a new or empty folder (--resume continues)")


def read_json(path: Path) -> dict[str, Any]:
    """UsageError naming the file if it is absent or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}), expected the folder of a run") from error
    except ValueError as error:
        raise UsageError(f"{path}: damaged ({error})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: found {type(content).__name__}, expected an object")
    return content


def environment() -> dict[str, Any]:
    """Versions, threads and processor: what a figure may depend on beside its options."""
    import numpy as np

    threads: dict[str, Any] = {name: os.environ.get(name) for name in THREADS}
    if "torch" in sys.modules:
        threads["torch"] = sys.modules["torch"].get_num_threads()
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "numpy_blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"],
    }


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
