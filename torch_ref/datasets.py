"""torchvision's own Fashion-MNIST and MNIST, from a root that may be read-only, gzipped, or dotted.

torchvision reads only unpacked files under dashed names, in a folder named after the class; it unpacks beside
the archives and trusts whatever lies there. So the four files are read and checked here, and torchvision is
shown a temporary folder. The user's folder is written to only where a download was asked for.
"""

import gzip
import hashlib
import os
import queue
import stat
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import MNIST, FashionMNIST
from torchvision.transforms import ToTensor

CLASSES: dict[str, type[MNIST]] = {"fashion_mnist": FashionMNIST, "mnist": MNIST}
STEMS = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
IMAGE_MAGIC, LABEL_MAGIC = 2051, 2049
REACH_SECONDS = 5.0  # for the host to answer at all
STALL_SECONDS = 10.0  # without a byte, once it has answered
SLOWEST = 10_000  # bytes a second, on the average, of a host that is waited for
MAX_ARCHIVE = 1 << 26  # bytes; the largest real one has 26 million
MAX_BYTES = 1 << 30  # unpacked
TO_TENSOR = ToTensor()


class DatasetError(ValueError):
    """Files that cannot be what they should be; one line: which file, what was found, what was expected."""


class DatasetMissing(DatasetError):
    """None of the four files is there, and they were not, or could not be, downloaded."""


def load(
    name: str,
    data_dir: str | os.PathLike[str],
    *,
    download: bool = False,
    transform: Callable[[Any], Any] | None = TO_TENSOR,
) -> tuple[MNIST, MNIST]:
    """(train, test) as torchvision's classes; name: fashion_mnist or mnist; data_dir: a torchvision root.

    Raises DatasetMissing, and DatasetError where some of the files are missing, damaged or cannot be read.
    """
    if name not in CLASSES:
        raise DatasetError(f"data set {name!r}: expected one of {', '.join(CLASSES)}")
    root = Path(data_dir).expanduser()
    kind = CLASSES[name]
    files = _find(root, kind)
    if not files and download:
        _download(root, kind)
        files = _find(root, kind)
    if not files:
        raise DatasetMissing(f"{_raw(root, kind)}: none of the four {kind.__name__} files is there")
    return _read(root, kind, files, transform)


def tensors(dataset: MNIST) -> tuple[Tensor, Tensor]:
    """x (n, 784) float32 in [0, 1] and labels (n,) int64, the bits that ToTensor() gives one by one.

    Raises ValueError where the data set does more to its samples than ToTensor().
    """
    if not isinstance(dataset.transform, ToTensor) or dataset.target_transform is not None:
        found = type(dataset.transform).__name__
        raise ValueError(f"the data set's transform is {found}, expected ToTensor and no target transform")
    x = dataset.data.reshape(len(dataset.data), -1).to(torch.float32).div_(255)
    return x, dataset.targets.to(torch.int64)


def _raw(root: Path, kind: type[MNIST]) -> Path:
    return root / kind.__name__ / "raw"


def _find(root: Path, kind: type[MNIST]) -> dict[str, Path]:
    """Dashed stem -> the file that holds it; empty where none of the four is there."""
    raw = _raw(root, kind)
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root}: a file, expected a folder that holds {kind.__name__}/raw")
    try:
        found = {stem: path for stem in STEMS for path in _spellings(raw, stem) if path.is_file()}
    except PermissionError as error:
        raise DatasetError(f"{raw}: cannot be read ({error.strerror})") from error
    missing = [stem for stem in STEMS if stem not in found]
    if found and missing:
        raise DatasetError(f"{raw}: {', '.join(missing)} missing (gzipped or not), expected all four files")
    return found


def _spellings(raw: Path, stem: str) -> list[Path]:
    """The names a file goes by, the preferred one last: unpacked before gzipped, dashed before dotted."""
    dotted = stem.replace("-idx", ".idx")
    return [raw / name for name in (f"{dotted}.gz", f"{stem}.gz", dotted, stem)]


def _read(
    root: Path, kind: type[MNIST], files: dict[str, Path], transform: Callable[[Any], Any] | None
) -> tuple[MNIST, MNIST]:
    contents = {stem: _content(files[stem]) for stem in STEMS}
    for images, labels in (STEMS[:2], STEMS[2:]):
        _check_pair(files[images], contents[images], files[labels], contents[labels])
    with tempfile.TemporaryDirectory(prefix=f"{kind.__name__}-") as folder:
        raw = _raw(Path(folder), kind)
        with _writing(raw):
            raw.mkdir(parents=True)
            for stem, content in contents.items():
                (raw / stem).write_bytes(content)
        train, test = (kind(folder, train=part, transform=transform) for part in (True, False))
    train.root = test.root = str(root)
    return train, test


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked where they are gzipped, whatever its name says.

    No more is unpacked than the IDX header promises, and one byte, which shows that there is more.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise DatasetError(f"{path}: not a regular file")
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _promised_bytes(gzip.GzipFile(fileobj=file) if zipped else file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(f"{path}: damaged gzip file ({error}), expected a whole one") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error


def _promised_bytes(stream: Any) -> bytes:
    content = bytearray(stream.read(16))
    axes = int.from_bytes(content[:4], "big") - 2048
    if axes not in (1, 3) or len(content) < 4 * (1 + axes):
        return bytes(content)
    sizes = [int.from_bytes(content[4 * k : 4 * k + 4], "big") for k in range(1, axes + 1)]
    promised = min(4 * (1 + axes) + int(np.prod(sizes, dtype=object)), MAX_BYTES)
    while len(content) <= promised and (part := stream.read(min(1 << 20, promised + 1 - len(content)))):
        content += part
    return bytes(content)


def _check_pair(image_path: Path, images: bytes, label_path: Path, labels: bytes) -> None:
    count, rows, columns = _header(image_path, images, IMAGE_MAGIC, 3)
    if (rows, columns) != (28, 28) or count == 0:
        raise DatasetError(f"{image_path}: {count} images of {rows} x {columns}, expected 28 x 28")
    (label_count,) = _header(label_path, labels, LABEL_MAGIC, 1)
    if label_count != count:
        raise DatasetError(f"{label_path}: {label_count} labels, expected {count}, one for each image")
    largest = int(np.frombuffer(labels, dtype=np.uint8, offset=8).max())
    if largest > 9:
        raise DatasetError(f"{label_path}: a label of {largest}, expected 0 to 9")


def _header(path: Path, content: bytes, magic: int, axes: int) -> tuple[int, ...]:
    """An IDX file's sizes, after its magic number and its length have been found right."""
    start = 4 * (1 + axes)
    if len(content) < start:
        raise DatasetError(f"{path}: {len(content)} bytes, expected an IDX header of {start}")
    found, *sizes = (int.from_bytes(content[i : i + 4], "big") for i in range(0, start, 4))
    if found != magic:
        raise DatasetError(f"{path}: magic number {found}, expected {magic}")
    expected = start + int(np.prod(sizes, dtype=object))
    if len(content) != expected:
        raise DatasetError(f"{path}: {len(content)} bytes, expected {expected} for sizes {tuple(sizes)}")
    return tuple(sizes)


def _download(root: Path, kind: type[MNIST]) -> None:
    """The archives into a folder beside, checked there; torchvision unpacks them, and they are renamed into place."""
    if not _reachable(kind):
        raise DatasetMissing(f"{_raw(root, kind)}: no {kind.__name__} files, and its hosts cannot be reached")
    with _writing(root):
        root.mkdir(parents=True, exist_ok=True)
        sibling = tempfile.TemporaryDirectory(prefix=f".{kind.__name__}-download-", dir=root)
    with sibling as folder:
        raw = _raw(Path(folder), kind)
        try:
            raw.mkdir(parents=True)
            for name, md5 in kind.resources:
                _fetch([mirror + name for mirror in kind.mirrors], raw / name, md5)
            kind(folder, download=True)  # it finds whole archives, and unpacks them
        except (OSError, RuntimeError, HTTPException, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DatasetMissing(f"{_raw(root, kind)}: the download failed ({reason})") from error
        with _writing(root):
            _install(raw, _raw(root, kind))


def _fetch(urls: list[str], path: Path, md5: str) -> None:
    """The file with this checksum from the first host that has it. OSError with the last host's fault if none has.

    torchvision's own downloader waits for ever for a host that trickles, and takes as much as one sends.
    """
    for number, url in enumerate(urls, 1):
        try:
            _fetch_one(url, path, md5)
            return
        except (OSError, HTTPException) as error:
            path.unlink(missing_ok=True)
            if isinstance(error, HTTPError):
                error.close()
            if number == len(urls):
                raise OSError(f"{url}: {error}") from error


def _fetch_one(url: str, path: Path, md5: str) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "pytorch/vision"})
    begun, size, digest = time.monotonic(), 0, hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(request, timeout=STALL_SECONDS) as answer, path.open("wb") as file:
        while part := answer.read1(1 << 16):  # read() would wait for all of it, however slowly it comes
            size += len(part)
            if size > MAX_ARCHIVE:
                raise OSError(f"sent more than {MAX_ARCHIVE} bytes, expected an archive of at most that")
            if time.monotonic() - begun > STALL_SECONDS + size / SLOWEST:
                raise OSError(f"sent {size} bytes in {time.monotonic() - begun:.0f} s, too few to wait for the rest")
            digest.update(part)
            file.write(part)
    if digest.hexdigest() != md5:
        raise OSError(f"sent {size} bytes of checksum {digest.hexdigest()}, expected {md5}")


def _install(source: Path, target: Path) -> None:
    """One rename where nothing is in the way, so that no interruption leaves a part of the files.

    Where something is, such as what another run has just downloaded, file by file: they are whole, and the same.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with suppress(FileNotFoundError):
            target.rmdir()
        source.rename(target)
    except OSError:
        target.mkdir(exist_ok=True)
        for path in sorted(source.iterdir()):
            path.replace(target / path.name)


def _reachable(kind: type[MNIST]) -> bool:
    """Does any mirror answer? Asked in threads: looking up a name has no time limit of its own."""
    answers: queue.Queue[bool] = queue.Queue()

    def ask(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "pytorch/vision"})
        try:
            with urllib.request.urlopen(request, timeout=REACH_SECONDS):
                answers.put(True)
        except (OSError, ValueError, HTTPException) as error:  # unknown, refused, timed out, or no HTTP
            if isinstance(error, HTTPError):
                error.close()
            answers.put(False)

    for mirror in kind.mirrors:
        threading.Thread(target=ask, args=(mirror + kind.resources[0][0],), daemon=True).start()
    deadline = time.monotonic() + REACH_SECONDS
    try:
        return any(answers.get(timeout=max(0.0, deadline - time.monotonic())) for _ in kind.mirrors)
    except queue.Empty:
        return False


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written to ({error.strerror}), needed for the files") from error
