"""IDX, the file format of MNIST: a magic number, big-endian sizes, then bytes; gzipped or not.

No size that a file claims is believed: memory grows with the bytes that are really there, and reading stops
one byte after the size that the header promised.
"""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from .dataset import DatasetError, DatasetMissing

UNSIGNED_BYTE = 0x08
MAX_BYTES = 1 << 30  # 20 times MNIST; a file that really unpacks to more is refused as well
CHUNK = 1 << 20

FILES = {
    "train_images": ("train-images", "idx3-ubyte"),
    "train_labels": ("train-labels", "idx1-ubyte"),
    "test_images": ("t10k-images", "idx3-ubyte"),
    "test_labels": ("t10k-labels", "idx1-ubyte"),
}


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The uint8 array (rank 1 to 3) of an IDX file, gzipped or not by its content, whatever its name.

    A file that promises more than `max_bytes` is refused, whether it has them or not.
    Raises DatasetError, one line "FILE: found ..., expected ...", for anything but a whole and exact file.
    """
    try:
        with open_regular(path) as file, _unzipped(file) as stream:
            return _read_array(stream, path, max_bytes)
    except (OSError, EOFError, zlib.error) as reason:
        found = getattr(reason, "strerror", None) or reason
        raise DatasetError(f"{path}: found an unreadable file ({found}), expected IDX data") from reason


def find_files(root: str | os.PathLike[str], name: str) -> dict[str, Path]:
    """The four files of root/NAME/raw, keyed train_images, train_labels, test_images, test_labels.

    Names may be dashed or dotted, gzipped or not; where several are there, torchvision's own choice (dashed,
    unpacked) comes first. Raises DatasetMissing when there is none of the four, DatasetError when only some.
    """
    folder = Path(root) / name / "raw"
    try:
        found = {key: _find(folder, *parts) for key, parts in FILES.items()}
    except OSError as reason:
        raise DatasetError(
            f"{folder}: found an unreadable folder ({reason.strerror}), expected files"
        ) from reason
    there = {key: path for key, path in found.items() if path is not None}
    missing = [f"{stem}-{kind}" for key, (stem, kind) in FILES.items() if key not in there]
    if not there:
        raise DatasetMissing(f"{folder}: found no file of {name}, expected {', '.join(missing)}, or .gz")
    if missing:
        raise DatasetError(f"{folder}: found {len(there)} of 4 files, expected also {', '.join(missing)}")
    return there


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """The file, open for reading; OSError unless it is a regular one (opening a pipe would wait for ever)."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")
    with open(path, "rb") as file:
        yield file


def read_up_to(stream: IO[bytes], size: int) -> bytearray:
    """The next `size` bytes, or fewer at the end; memory follows what is read, not what is asked for."""
    data = bytearray()
    while len(data) < size and (part := stream.read(min(CHUNK, size - len(data)))):
        data += part
    return data


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    candidates = (folder / f"{stem}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


@contextmanager
def _unzipped(file: IO[bytes]) -> Iterator[IO[bytes]]:
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not gzipped:
        yield file
        return
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        yield stream  # type: ignore[misc]  # a GzipFile reads like any binary stream


def _read_array(stream: IO[bytes], path: str | os.PathLike[str], max_bytes: int) -> np.ndarray:
    shape = _read_shape(stream, path, max_bytes)
    size = prod(shape)
    # The extra byte finds an over-long file, and makes gzip test its checksum.
    data = read_up_to(stream, size + 1)
    if len(data) != size:
        found = f"more than {size}" if len(data) > size else str(len(data))
        sizes = " x ".join(map(str, shape))
        raise DatasetError(f"{path}: found {found} bytes after the header, expected {size} ({sizes})")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_shape(stream: IO[bytes], path: str | os.PathLike[str], max_bytes: int) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise DatasetError(f"{path}: found {len(magic)} bytes, expected an IDX header")
    if magic[:2] != b"\0\0":
        raise DatasetError(f"{path}: found magic number 0x{magic.hex()}, expected 0x000008.. (IDX of bytes)")
    code, rank = magic[2], magic[3]
    if code != UNSIGNED_BYTE:
        raise DatasetError(f"{path}: found data type code 0x{code:02x}, expected 0x08 (unsigned bytes)")
    if not 1 <= rank <= 3:
        raise DatasetError(f"{path}: found {rank} dimensions, expected 1 to 3")
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DatasetError(f"{path}: found {len(sizes)} bytes of sizes, expected {4 * rank}")
    shape: tuple[int, ...] = struct.unpack(f">{rank}I", sizes)
    if not 1 <= prod(shape) <= max_bytes:
        raise DatasetError(f"{path}: found sizes {shape}, expected 1 to {max_bytes} bytes in all")
    return shape
