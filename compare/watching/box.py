"""Box: a stranger's program under bubblewrap: it sees Python, its libraries and a copy of its folder, and no more.

No network, no other process, no rights to gain. All is read-only but its copy, /tmp and /dev/shm, which are bounded,
lie in memory and end with it. Its processes together are bounded too: see `Tree`.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

ROOM = 256 << 20  # bytes that may be written into each of the writable folders, beside the files handed in
FOLDER = 256 << 20  # bytes of the folder that is copied
PROCESSES = 64  # with their threads
ORIGINALS = "/handed_in"  # where the files lie from which the copy is made
PACKAGE = Path(__file__).parents[1]
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/opt")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "fonts", "mime.types", "passwd")
KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")  # of the environment, and what begins with LC_


class CannotBox(ValueError):
    """A program cannot be boxed here; the reason is one line."""


@cache
def why_not() -> str:
    """Why no program can be boxed here, in a line; "" where it can."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap runs on Linux only"
    if shutil.which("bwrap") is None:
        return "bwrap is not installed (the package is called bubblewrap)"
    try:
        tried = subprocess.run(command(["true"], None), capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap does not run: {type(error).__name__}"
    said = " ".join(tried.stderr.decode("utf-8", "replace").split())[:200]
    return f"bwrap cannot make its namespaces: {said or f'exit code {tried.returncode}'}" if tried.returncode else ""


def expect_box() -> None:
    """CannotBox where no program can be boxed."""
    if reason := why_not():
        raise CannotBox(f"a program cannot be run in a box here: {reason}")


def command(inside: Sequence[str], folder: Path | None) -> list[str]:
    """The command that runs another in a box; of `folder` a copy is to be made, from ORIGINALS, at its own place."""
    mounts = {Path(path): ["--ro-bind", path, path] for path in _visible()}
    mounts |= {Path(path): ["--size", str(ROOM), "--tmpfs", path] for path in ("/tmp", "/dev/shm")}
    mounts |= {Path("/dev"): ["--dev", "/dev"], Path("/proc"): ["--proc", "/proc"]}
    end = ["--remount-ro", "/dev", "--remount-ro", "/"]
    if folder is not None:
        above = folder if folder.parent in mounts.keys() - {Path("/tmp")} or len(folder.parts) == 2 else folder.parent
        mounts[above] = ["--size", str(ROOM + _size(folder)), "--tmpfs", str(above)]  # so that it can delete its folder
        mounts[Path(ORIGINALS)] = ["--ro-bind", str(folder), ORIGINALS]
    made = [part for path in sorted(mounts, key=lambda each: len(each.parts)) for part in mounts[path]]
    rights = ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    rights += ["--disable-userns"] if _can_close_namespaces() else []
    return ["bwrap", *rights, "--new-session", "--die-with-parent", *made, *end, "--chdir", "/tmp", "--", *inside]


def environment(of: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Without what may be a secret."""
    kept = {name: value for name, value in of.items() if name in KEPT or name.startswith("LC_")}
    return {**kept, "HOME": "/tmp", "TMPDIR": "/tmp", "PYTHONUSERBASE": site.getuserbase(), **more}


@cache
def _can_close_namespaces() -> bool:
    told = subprocess.run(["bwrap", "--help"], capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    return b"--disable-userns" in told.stdout + told.stderr


def _visible() -> Iterator[str]:
    """Python, the libraries that it finds without PYTHONPATH, what the system needs to start it, and who watches."""
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, str(PACKAGE / "watching")}
    if site.ENABLE_USER_SITE:
        python.add(site.getusersitepackages())
    found = {*SYSTEM, *(f"/etc/{name}" for name in SETTINGS), *python, *map(os.path.realpath, python)}
    yield from (path for path in found if path != "/" and os.path.exists(path))


def _size(folder: Path) -> int:
    """Bytes of the files in it. CannotBox where it is larger than what is copied."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            total += os.path.getsize(path) if os.path.isfile(path) else 0
            if total > FOLDER:
                raise CannotBox(f"{folder}: holds more than {FOLDER >> 20} MB, of which no copy is made for the box")
    return total


class Tree:
    """The processes below one, looked at now and then: how many tasks there are, and their memory together."""

    def __init__(self, root: int, memory: int) -> None:
        self.root, self.memory = root, memory

    def excess(self) -> str:
        """Which limit they are beyond, in words; "" where they are within."""
        tasks = used = 0
        for pid in self._below():
            try:
                status = Path(f"/proc/{pid}/status").read_text(errors="replace")
            except OSError:
                continue
            told = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            tasks += int(told.get("Threads", "0"))
            used += sum(int(told.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem", "VmSwap")) << 10
        if tasks > PROCESSES:
            return f"limit of {PROCESSES} processes and threads"
        return f"memory limit of {self.memory / 1e9:.1f} GB for all its processes" if used > self.memory else ""

    def _below(self) -> list[int]:
        found = [self.root]
        for pid in found:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            except OSError:
                continue
        return found
