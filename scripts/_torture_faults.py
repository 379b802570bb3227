"""The faults of torture.py: each takes a place to work in and gives a Tally for each row of the table."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from _command import CHECKOUT
from _torture_run import OPTIONS, TRAIN, Ended, Rehearsal, Tally, finished, is_training, pause, wait_for

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


def kills(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    """Kill at random moments, from the first import on; resume, and often kill that too; at last let it end."""
    rehearsal = Rehearsal(place, "digits", backend)
    tally = Tally(f"killed, {backend}")
    number, codes = 0, dict.fromkeys(SIGNALS, 0)
    while tally.tried < tries:
        number += 1
        folder, here, lost = place / f"killed-{backend}-{number}", 0, None
        while tally.tried + here < tries and (here == 0 or rng.random() < 0.5):
            process, begun = rehearsal.start("--resume", str(folder)), time.monotonic()
            if rng.random() < 0.8:
                wait_for(is_training(folder), process)
            pause(rng, rehearsal.seconds * 0.5)
            chosen = rng.choice(SIGNALS)
            if process.poll() is None:
                process.send_signal(chosen)
                here += 1
                codes[chosen] += 1
            ended = finished(process, begun)
            lost = lost or ended.complaint or _unexpected(ended, chosen)
            if ended.code == 0:
                break
        lost = lost or rehearsal.mended(folder)
        for _ in range(here):
            tally.count(lost)
        _clear(folder, lost)
    tally.notes = ", ".join(f"{each.name} {n}" for each, n in codes.items())
    return tally


def _unexpected(ended: Ended, number: int) -> str | None:
    """A signal before Python listens ends it by that signal; one at its very end comes too late."""
    if ended.code in (0, CODES[signal.Signals(number)], -number, 1 if number == signal.SIGINT else 0):
        return None
    return f"exit code {ended.code} after {signal.Signals(number).name}: {ended.err.strip()[-300:]}"


def full_disk(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    """On a small file system in memory that somebody else fills; without the right to mount one, by a broken fsync."""
    inner = [sys.executable, str(CHECKOUT / "scripts" / "torture.py"), "--in-small-disk", str(place)]
    inner += ["--backend", backend, "--tries", str(tries), "--seed", str(rng.randrange(1, 1 << 30))]
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", *inner], capture_output=True, text=True)
    with suppress(ValueError, IndexError, TypeError):
        return Tally(**json.loads(done.stdout.splitlines()[-1]))
    tally = _broken_fsync(place, backend, tries, rng)
    tally.notes = "injected: no right to mount a small disk here"
    return tally


def on_small_disk(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    """Within a mount namespace of our own: the disk is filled to a random height, the run fails, room is made again."""
    rehearsal = Rehearsal(place, "digits", backend)
    needed = sum(path.stat().st_size for path in rehearsal.whole.rglob("*") if path.is_file())
    disk = place / f"disk-{backend}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * needed}", "tmpfs", str(disk)], check=True)
    tally, said = Tally(f"full disk, {backend}"), 0
    for number in range(tries):
        folder, filler = disk / f"run-{number}", disk / "filler"
        free = os.statvfs(disk)
        filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - rng.randrange(1, needed))))
        ended = rehearsal.run("--resume", str(folder))
        lost = ended.complaint
        if ended.code == 2:
            said += "No space left" in ended.err
        elif ended.code != 0:
            lost = lost or f"exit code {ended.code}: {ended.err.strip()[-200:]}"
        filler.unlink()
        tally.count(lost or rehearsal.mended(folder))
        shutil.rmtree(folder)
    tally.notes = f"{said} ended with exit code 2 and its reason, the others had room enough"
    subprocess.run(["umount", str(disk)], check=False)
    return tally


BROKEN = """
import errno, os, sys
left, honest = [int(sys.argv[1])], os.fsync
def fsync(number):
    left[0] -= 1
    if left[0] < 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    honest(number)
os.fsync = fsync
sys.argv = sys.argv[2:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _broken_fsync(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    rehearsal, tally = Rehearsal(place, "digits", backend), Tally(f"full disk, {backend}")
    for number in range(tries):
        folder = place / f"full-{backend}-{number}"
        command = [sys.executable, "-c", BROKEN, str(rng.randrange(1, 200)), *rehearsal.command[1:]]
        ended = rehearsal.run("--resume", str(folder), command=command)
        lost = ended.complaint or (None if ended.code in (0, 2) else f"exit code {ended.code}")
        tally.count(lost or rehearsal.mended(folder))
    return tally


def permission(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    """The run's folders can no longer be written to; then they can again."""
    rehearsal, tally, said = Rehearsal(place, "digits", backend), Tally(f"permission lost, {backend}"), 0
    for number in range(tries):
        folder = place / f"locked-{backend}-{number}"
        process, begun = rehearsal.start("--resume", str(folder), preexec_fn=_as_if_not_root), time.monotonic()
        wait_for(is_training(folder), process)
        pause(rng, rehearsal.seconds * 0.4)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        ended = finished(process, begun)
        for path in folders:
            path.chmod(0o755)
        said += ended.code == 2 and "Permission denied" in ended.err
        lost = ended.complaint or (None if ended.code in (0, 2) else f"exit code {ended.code}: {ended.err[-200:]}")
        tally.count(lost or rehearsal.mended(folder))
        _clear(folder, lost)
    tally.notes = f"{said} ended with exit code 2 and its reason, the others had just ended"
    return tally


def _as_if_not_root() -> None:
    """Root may write everywhere; without these two capabilities it may not (prctl PR_CAPBSET_DROP)."""
    if os.getuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)


def memory(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    """RLIMIT_AS set in the middle, at little more than the run has; resumed without it."""
    rehearsal, tally = Rehearsal(place, "digits", backend), Tally(f"memory limit, {backend}")
    codes: dict[int, int] = {}
    for number in range(tries):
        folder = place / f"memory-{backend}-{number}"
        process, begun = rehearsal.start("--resume", str(folder)), time.monotonic()
        wait_for(is_training(folder), process)
        pause(rng, rehearsal.seconds * 0.4)
        with suppress(OSError, IndexError, ProcessLookupError):
            size = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
            limit = size + rng.choice((0, 1 << 16, 1 << 20, 1 << 23))
            resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
        ended = finished(process, begun)
        codes[ended.code] = codes.get(ended.code, 0) + 1
        lost = ended.complaint if ended.code in (0, 2) else None  # a library that aborts without memory is a kill
        tally.count(lost or rehearsal.mended(folder))
        _clear(folder, lost)
    tally.notes = "exit codes " + ", ".join(f"{code}: {n}" for code, n in sorted(codes.items()))
    return tally


# --- data -------------------------------------------------------------------------------------------------------------


def small_fashion(raw: Path) -> dict[str, bytes]:
    """A small Fashion-MNIST of made-up pixels; name of the archive -> its bytes."""
    rng, found = random.Random(0), {}
    raw.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 400), ("t10k", 60)):
        images = struct.pack(">HBB3I", 0, 8, 3, n, 28, 28) + rng.randbytes(n * 784)
        labels = struct.pack(">HBBI", 0, 8, 1, n) + bytes(rng.randrange(10) for _ in range(n))
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            found[f"{part}-{kind}-ubyte.gz"] = gzip.compress(content, mtime=0)
    for name, content in found.items():
        (raw / name).write_bytes(content)
    return found


def truncated_data(place: Path, backend: str, tries: int, rng: random.Random) -> Tally:
    """A data file is cut during the run, which is then ended; resumed with the cut file, and with the whole one."""
    data = place / f"data-{backend}"
    files = small_fashion(data / "FashionMNIST" / "raw")
    rehearsal = Rehearsal(place, "fashion_mnist", backend, ("--data-dir", str(data)))
    tally, refused = Tally(f"data file truncated, {backend}"), 0
    for number in range(tries):
        folder, name = place / f"cut-{backend}-{number}", rng.choice(sorted(files))
        path = data / "FashionMNIST" / "raw" / name
        process, begun = rehearsal.start("--resume", str(folder)), time.monotonic()
        wait_for(is_training(folder), process)
        os.truncate(path, rng.randrange(len(files[name])))
        pause(rng, rehearsal.seconds * 0.3)
        process.send_signal(signal.SIGTERM)
        first = finished(process, begun)
        second = rehearsal.run("--resume", str(folder))
        refused += second.code == 2 and name in second.err
        path.write_bytes(files[name])
        lost = first.complaint or second.complaint
        had_ended = first.code == 0 or "finished already" in second.out  # the signal met its very end
        if second.code not in (0, 2) or (second.code == 0 and not had_ended):
            lost = lost or f"exit code {second.code} with the file cut: {second.out[-200:]}"
        tally.count(lost or rehearsal.mended(folder))
        _clear(folder, lost)
    tally.notes = f"{refused} refused the cut file by name, the others had ended"
    return tally


LIES = ("hung", "trickle", "cut", "endless", "promises less", "other content", "none of them")


class Liar(BaseHTTPRequestHandler):
    """Answers for every archive, and lies about it in the way that `lie` names."""

    lie = ""
    files: dict[str, bytes] = {}  # noqa: RUF012  # set once, by the server that is made of this class

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        content = self.files.get(self.path.lstrip("/"), b"")
        self.send_response(200)
        if self.lie != "endless":
            self.send_header("Content-Length", str(len(content) - (self.lie == "promises less")))
        self.end_headers()
        with suppress(OSError):
            if self.lie == "hung":
                time.sleep(20)
            elif self.lie == "trickle":
                for k in range(200):
                    self.wfile.write(content[k : k + 1])
                    time.sleep(0.1)
            while self.lie == "endless":
                self.wfile.write(bytes(1 << 16))
            if self.lie == "cut":
                content = content[: len(content) // 2]
            elif self.lie == "other content":
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def host(files: dict[str, bytes], lie: str) -> Iterator[str]:
    """The address of such a host on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Host", (Liar,), {"lie": lie, "files": files}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


MIRRORED = """
import json, os, sys
from torchvision.datasets import FashionMNIST
FashionMNIST.mirrors, FashionMNIST.resources = [sys.argv[1]], [tuple(each) for each in json.loads(sys.argv[2])]
sys.argv = sys.argv[3:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
sys.path.insert(0, os.path.dirname(os.path.dirname(sys.argv[0])))
import torch_ref.datasets
torch_ref.datasets.STALL_SECONDS, torch_ref.datasets.MAX_ARCHIVE = 2.0, 1 << 22
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _downloading(url: str, files: dict[str, bytes], data: Path, out: Path) -> subprocess.Popen[str]:
    resources = json.dumps([[name, hashlib.md5(content).hexdigest()] for name, content in files.items()])
    options = ["fashion_mnist", "--backend", "torch", *OPTIONS, "--data-dir", str(data), "--out", str(out)]
    command = [sys.executable, "-c", MIRRORED, url, resources, TRAIN[1], *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def download(place: Path, lie: str, tries: int, rng: random.Random) -> Tally:
    """A host that hangs or lies: the run says so, leaves nothing, and the next one from an honest host has all."""
    files, tally = small_fashion(place / "archives"), Tally(f"download: {lie}")
    for number in range(tries):
        data, out = place / f"fetched-{lie}-{number}", place / f"out-{lie}-{number}"
        with host(files, lie) as url:
            ended = finished(_downloading(url, files, data, out), time.monotonic())
        lost = ended.complaint or (f"exit code {ended.code}: {ended.err[-300:]}" if ended.code else None)
        honest = lie == "none of them"
        if honest == ("going on with the 1,797" in ended.out):
            lost = lost or f"said {ended.out[:200]!r}"
        if not honest and data.exists() and list(data.iterdir()):
            lost = lost or f"left {[path.name for path in data.iterdir()]} in the data folder"
        if not lost and not honest:
            with host(files, "none of them") as url:
                again = finished(_downloading(url, files, data, Path(f"{out}-2")), time.monotonic())
            if again.code or "Fashion-MNIST, 400 + 60 images" not in again.out:
                lost = f"the next download failed: {again.out[:200]} {again.err[-200:]}"
        tally.count(lost)
    return tally


def two_at_once(place: Path, kind: str, tries: int, rng: random.Random) -> Tally:
    """Two runs that start at the same moment: into one folder, new or to resume, or with one empty data folder."""
    tally = Tally(f"two at once: {kind}")
    if kind == "one download":
        files = small_fashion(place / "archives")
        for number in range(tries):
            data = place / f"shared-{number}"
            with host(files, "none of them") as url:
                begun = time.monotonic()
                both = [_downloading(url, files, data, place / f"shared-{number}-{k}") for k in (1, 2)]
                ended = [finished(each, begun) for each in both]
            good = all(each.code == 0 and "400 + 60 images" in each.out for each in ended)
            clean = [path.name for path in data.iterdir()] == ["FashionMNIST"]
            said = "; ".join(f"{each.code} {each.err[-150:]}" for each in ended)
            tally.count(None if good and clean else f"{said}; {sorted(path.name for path in data.iterdir())}")
        return tally
    rehearsal = Rehearsal(place, "digits", "scratch")
    for number in range(tries):
        folder = place / f"{kind.replace(' ', '-')}-{number}"
        option = "--out" if kind == "one new folder" else "--resume"
        if option == "--resume":
            process, begun = rehearsal.start("--resume", str(folder)), time.monotonic()
            wait_for(is_training(folder), process)
            process.kill()
            finished(process, begun)
        begun = time.monotonic()
        processes = [rehearsal.start(option, str(folder)) for _ in range(2)]
        ended = [finished(each, begun) for each in processes]
        lost = next((each.complaint for each in ended if each.complaint), None)
        if 0 not in (each.code for each in ended) or not {each.code for each in ended} <= {0, 2}:
            lost = lost or "; ".join(f"{each.code} {each.err[-150:]}" for each in ended)
        tally.count(lost or rehearsal.difference(folder))
    return tally


def _clear(folder: Path, lost: str | None) -> None:
    """Delete the folder of a run in which nothing was lost."""
    if not lost:
        with suppress(OSError):
            shutil.rmtree(folder)


Fault = Callable[[Path, str, int, random.Random], Tally]
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "kill": (kills, ("scratch", "torch", "both")),
    "disk": (full_disk, ("scratch", "torch")),
    "permission": (permission, ("scratch", "torch")),
    "memory": (memory, ("scratch", "torch")),
    "data": (truncated_data, ("scratch", "torch")),
    "download": (download, LIES),
    "together": (two_at_once, ("one new folder", "one to resume", "one download")),
}  # name -> what it does, and the rows that it has
