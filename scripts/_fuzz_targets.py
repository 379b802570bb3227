"""What is fuzzed: every reader of a file that may come from a stranger, with small right files to start from.

A reader may return or raise its own one-line error. Anything else is a finding: another exception, a message that is no
line of text, more than a second, memory beyond what the file promises, or a file touched outside the work folder.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 1.0
SLACK = 64 << 20  # bytes beside four times what a file promises
CAP = 1 << 30
NETWORK = "3-2, relu output, mse"


class Finding(AssertionError):
    """What a reader did and must not do."""


@dataclass(frozen=True)
class Target:
    """A reader: `read(path)` returns or raises `error`. `promised(content)`: the bytes that the file says it holds."""

    name: str
    read: Callable[[Path], object]
    error: type[Exception]
    seeds: tuple[bytes, ...]
    file: str
    promised: Callable[[bytes], int] = len


class Workplace:
    """A folder in which a target's file is written anew for each input; the only one that may be written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.touched: list[str] = []
        self.accepted = 0
        sys.addaudithook(self._notice)

    def check(self, target: Target, content: bytes) -> str:
        """What the reader said, without its figures; "read" if it took the file. Finding for what it must not do."""
        path = self.folder / target.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.touched.clear()
        before, begun = _peak(), time.process_time()
        said = "read"
        with _limited(), _watched(self):
            try:
                target.read(path)
                self.accepted += 1
            except target.error as error:
                said = str(error)
            except Finding:
                raise
            except Exception as error:
                raise Finding(f"{target.name}: {type(error).__name__}: {error}") from error
        took, grown = time.process_time() - begun, _peak() - before
        if took > SECONDS:
            raise Finding(f"{target.name}: took {took:.1f} s")
        if grown > SLACK and grown > SLACK + 4 * min(target.promised(content), CAP):
            raise Finding(f"{target.name}: took {grown} bytes of memory")
        if not said.isprintable() or len(said) > 2000:
            raise Finding(f"{target.name}: said {said[:200]!r}, expected one line of text")
        if self.touched:
            raise Finding(f"{target.name}: {self.touched[0]}")
        return "".join(" " if each.isdigit() else each for each in said.replace(str(path), ""))[:80]

    watching = False

    def _notice(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event == "open":
            path, _, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            if isinstance(path, str | bytes) and writes and not self._is_inside(os.fsdecode(path)):
                self.touched.append(f"opened {os.fsdecode(path)!r} for writing")
        elif event in FORBIDDEN and not (event.startswith(FILES) and self._is_inside(_place(event, arguments))):
            self.touched.append(f"{event} {str(arguments)[:200]}")

    def _is_inside(self, path: str) -> bool:
        return Path(os.path.abspath(path)).is_relative_to(self.folder)


def _place(event: str, arguments: tuple[Any, ...]) -> str:
    """The path, which may be relative to an open folder: that is how a tree is removed."""
    path, folder = os.fsdecode(arguments[0]), arguments[-1]
    if event in ("os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree") and isinstance(folder, int) and folder >= 0:
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    return path


FILES = ("os.", "shutil.", "tempfile.")
FORBIDDEN = {
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("shutil.rmtree", "shutil.move", "shutil.copyfile", "os.system", "os.exec", "subprocess.Popen"),
    *("socket.connect", "pickle.find_class", "ctypes.dlopen", "tempfile.mkstemp"),
}


@contextmanager
def _watched(workplace: Workplace) -> Iterator[None]:
    workplace.watching = True
    try:
        yield
    finally:
        workplace.watching = False


@contextmanager
def _limited() -> Iterator[None]:
    """Finding where the processor has worked for more than twice SECONDS: what would never end ends here."""

    def stop(*_: object) -> None:
        raise Finding(f"still at work after {2 * SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# --- the readers ------------------------------------------------------------------------------------------------------


@cache
def target(name: str) -> Target:
    """The one of that name. Loads PyTorch, where the reader needs it."""
    return MADE[name]()


def _idx() -> Target:
    from scratch.datasets import DatasetError, read_idx

    plain = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + bytes(range(24))
    labels = struct.pack(">HBBI", 0, 8, 1, 5) + bytes(range(5))
    zipped = [gzip.compress(each, mtime=0) for each in (plain, labels)]
    bomb = gzip.compress(labels + bytes(1 << 22), mtime=0)
    return Target("idx", read_idx, DatasetError, (plain, labels, *zipped, bomb), "some-file", _idx_promise)


def _idx_promise(content: bytes) -> int:
    """The product of the sizes in the header, unpacked where it is gzipped."""
    with suppress(Exception):
        head = content[:16] if content[:2] != b"\x1f\x8b" else gzip.GzipFile(fileobj=io.BytesIO(content)).read(16)
        sizes = struct.unpack(f">{head[3]}I", head[4 : 4 + 4 * head[3]])
        return max(len(content), int(np.prod(sizes, dtype=object)))
    return len(content)


def _mnist_npz() -> Target:
    from scratch.datasets import DatasetError, images_from_npz

    x, y = (np.arange(2 * 784) % 256).astype(np.uint8).reshape(2, 28, 28), np.array([7, 9])
    seeds = (_saved(np.savez, x=x, y=y), _saved(np.savez_compressed, x=x.reshape(2, 784), y=y.astype("u1")))
    return Target("mnist_npz", images_from_npz, DatasetError, seeds, "train_mnist.npz", _zip_promise)


def _npz() -> Target:
    from compare.network.architecture import Architecture
    from compare.recording.files import load_records

    network = Architecture.of(NETWORK)
    arrays = {"0.weight": np.ones((2, 3), "f4"), "input": np.ones((4, 3), ">f8"), "2/0.bias": np.zeros(2, "f4")}
    seeds = (_saved(np.savez, **arrays), _saved(np.savez_compressed, **arrays))
    return Target("record_npz", lambda p: load_records(p, network), ValueError, seeds, "r.npz", _zip_promise)


def _zip_promise(content: bytes) -> int:
    with suppress(Exception), zipfile.ZipFile(io.BytesIO(content)) as archive:
        return max(len(content), sum(each.file_size for each in archive.infolist()))
    return len(content)


def _saved(save: Callable[..., None], **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _safetensors() -> Target:
    from safetensors.numpy import save

    from compare.recording.files import load_records

    arrays = {"0.weight": np.ones((2, 3), "f4"), "input": np.ones((4, 3)), "target": np.arange(4), "none": np.ones(0)}
    options = json.dumps({"kind": "SGD", "lr": 0.1, "nesterov": False})
    metadata = {"network": NETWORK, "step": "2", "optimizer": options}
    seeds = (save(arrays, metadata), save({f"{k}/{n}": a for n, a in arrays.items() for k in (1, 2)}, metadata))
    return Target("record_safetensors", load_records, ValueError, seeds, "r.safetensors")


@cache
def _training() -> Any:
    """A small training after an epoch and a half, and its checkpoint."""
    from types import SimpleNamespace

    from scratch import AdamW, CrossEntropyLoss, Linear, Sequential
    from scratch.learner import ScratchLearner
    from scratch.training import Training
    from scratch.training_options import EpochOptions

    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(6, 3)), np.arange(6) % 2
    network = Sequential(Linear(3, 2, rng=rng, dtype="float64"))
    learner = ScratchLearner(network, CrossEntropyLoss(), AdamW(network))
    data = SimpleNamespace(x_train=x, t_train=t, x_val=x, t_val=t)
    training = Training(learner, data, EpochOptions(batch_size=2), rng=np.random.RandomState(0))
    training.run_epoch()
    training._step(training._order())
    return training, training.checkpoint()


def _checkpoint() -> Target:
    import tempfile

    from scratch.checkpoint import Checkpoint, CheckpointError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        _training()[1].write(path)
        seed = path.read_bytes()
    return Target("checkpoint", Checkpoint.read, CheckpointError, (seed,), "checkpoint.safetensors")


def _restore() -> Target:
    """Past the checksum, which a stranger can compute as well: the position and the stream, as text."""
    from scratch.checkpoint import CheckpointError

    training, checkpoint = _training()
    short = json.loads(json.dumps(checkpoint.training))
    short["rng_at_epoch_start"]["state"]["state"]["key"]["values"] = [0] * 624

    def read(path: Path) -> None:
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            raise CheckpointError("no JSON") from None
        if not isinstance(found, dict):
            raise CheckpointError("no object")
        training.restore(type(checkpoint)(checkpoint.tensors, found, {}))
        training.rng.permutation(10)  # from wherever the stream was sent

    return Target("checkpoint_state", read, CheckpointError, (json.dumps(short).encode(),), "state.json")


def _history() -> Target:
    from scratch.history import HistoryError, read_histories

    header = b"backend,epoch,train_loss,train_accuracy,val_loss,val_accuracy,seconds\n"
    rows = b"scratch,1,0.5,0.25,0.5,0.5,1.5\nscratch,2,0.25,1.0,1e-300,0.5,0.125\n"
    return Target("history", read_histories, HistoryError, (header + rows, header), "history.csv")


def _fingerprints() -> Target:
    from scratch.fingerprint import FingerprintError, read_fingerprints

    seed = b"backend,step,epoch,fingerprint\nscratch,0,0,0123456789abcdef\nscratch,12,1,fedcba9876543210\n"
    return Target("fingerprints", read_fingerprints, FingerprintError, (seed,), "fingerprints.csv")


def _config() -> Target:
    import _run_folder
    import _training_run
    from _exit_code import UsageError

    options = {"lab": "digits", "backend": "both", "epochs": 2, "seed": 0, "batch_size": 128, "dtype": "float32"}
    options |= {"hidden": [8], "lr": 0.001, "optimizer": None, "variant": None}
    options |= {name: None for name in _training_run.OPTIONS if name not in options}
    seed = {"lab": "digits", "options": options, "versions": {"numpy": "2"}, "checkpoint_steps": 3}

    def read(path: Path) -> None:
        config = _run_folder.read_json(path)
        _training_run.saved_options(str(path), config)
        _run_folder.differences(config, seed)

    return Target("config", read, UsageError, (json.dumps(seed).encode(),), "config.json")


def _torchvision() -> Target:
    """The labels of a small Fashion-MNIST whose other files are right."""
    import tempfile

    from torch_ref.datasets import DatasetError, load

    name = "FashionMNIST/raw/train-labels-idx1-ubyte"
    images, labels = (struct.pack(">HBB3I", 0, 8, 3, 3, 28, 28) + bytes(2352)), struct.pack(">HBBI", 0, 8, 1, 3)

    def read(path: Path) -> None:
        others = {"train-images-idx3-ubyte": images, "t10k-images-idx3-ubyte": images}
        for stem, content in {**others, "t10k-labels-idx1-ubyte": labels + bytes(3)}.items():
            if not (path.parent / stem).exists():
                (path.parent / stem).write_bytes(content)
        before, tempfile.tempdir = tempfile.tempdir, str(path.parents[2])  # torchvision is shown a folder in there
        try:
            load("fashion_mnist", path.parents[2])
        finally:
            tempfile.tempdir = before

    seeds = (labels + bytes(3), gzip.compress(labels + b"\1\2\3", mtime=0))
    return Target("torchvision", read, DatasetError, seeds, name, _idx_promise)


MADE: dict[str, Callable[[], Target]] = {
    "idx": _idx,
    "mnist_npz": _mnist_npz,
    "record_npz": _npz,
    "record_safetensors": _safetensors,
    "checkpoint": _checkpoint,
    "checkpoint_state": _restore,
    "history": _history,
    "fingerprints": _fingerprints,
    "config": _config,
    "torchvision": _torchvision,
}
