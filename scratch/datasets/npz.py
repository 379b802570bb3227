"""Arrays out of an .npz file that may be hostile: no pickles, and no memory on the word of a header.

numpy.load allocates what the header of a member claims before it reads a byte; here the bytes come first.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import IO

import numpy as np
from numpy.lib import format as npy

from scratch.printable import cut

from .dataset import DatasetError
from .idx import MAX_BYTES, open_regular, read_up_to


def read_npz(path: str | os.PathLike[str], *keys: str, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, ...]:
    """The arrays stored under `keys`, in that order: integers or floats only, at most `max_bytes` in all.

    Raises DatasetError for a missing file or key, a damaged archive, pickled objects and false sizes.
    """
    with _opened(path) as archive:
        found = _arrays(archive, keys, max_bytes)
    return tuple(found[key] for key in keys)


def read_whole_npz(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Every array of the file by its key; limits and errors as read_npz."""
    with _opened(path) as archive:
        return _arrays(archive, [name.removesuffix(".npy") for name in archive.namelist()], max_bytes)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever goes wrong in the block is a DatasetError that names the file."""
    try:
        with open_regular(path) as file:
            _expect_small_directory(file)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except DatasetError as reason:
        raise DatasetError(f"{path}: {reason}") from None
    except Exception as reason:  # zipfile, zlib, ast and tokenize each raise their own on damaged bytes
        found = cut(getattr(reason, "strerror", None) or reason, 200)
        raise DatasetError(
            f"{path}: found an unreadable file ({found}), expected an .npz archive"
        ) from reason


def _expect_small_directory(file: IO[bytes]) -> None:
    """zipfile makes an object of every entry before anybody can ask how many there are."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_OF_DIRECTORY - 0xFFFF - ZIP64_LOCATOR))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if b"PK\x06\x07" in tail[max(0, end - ZIP64_LOCATOR) : end]:
        raise DatasetError("found a zip64 archive, expected fewer than 65,536 arrays in 4 GB")
    directory = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if directory > MAX_DIRECTORY:
        raise DatasetError(f"found a table of contents of {directory} bytes, expected at most {MAX_DIRECTORY}")


def _arrays(archive: zipfile.ZipFile, keys: Iterable[str], max_bytes: int) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    left = max_bytes  # entries may share their bytes: 1 MB of file can hold 1000 entries of 1 GB
    for key in keys:
        if key not in found:
            data = _member(archive, key, left)
            found[key], left = _array(data), left - len(data)
    return found


def _member(archive: zipfile.ZipFile, key: str, max_bytes: int) -> bytearray:
    """The bytes of KEY.npy."""
    try:
        member = archive.getinfo(f"{key}.npy")
    except KeyError:
        names = cut(", ".join(archive.namelist()[:8])) or "nothing"
        raise DatasetError(f"found '{names}', expected an array under the key '{cut(key)}'") from None
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks the other methods without a limit, and NumPy never writes them
        raise DatasetError(f"found '{cut(key)}' in compression method {member.compress_type}, expected 0 or 8")
    if member.file_size > max_bytes:
        raise DatasetError(f"found {member.file_size} bytes under '{cut(key)}', expected at most {max_bytes}")
    with archive.open(member) as stream:
        return read_up_to(stream, member.file_size + 1)  # the extra byte makes zipfile test its checksum


def _array(data: bytearray) -> np.ndarray:
    """The array of an .npy file (format 1 or 2)."""
    head = io.BytesIO(bytes(data[:CHECKED]))
    version = npy.read_magic(head)
    if version not in READ_HEADER:
        raise DatasetError(f"found .npy format {version}, expected (1, 0) or (2, 0)")
    shape, fortran, dtype = READ_HEADER[version](head)
    if dtype.kind not in "iuf" or dtype.itemsize > 16:
        raise DatasetError(f"found an array of {cut(dtype)}, expected integers or floats")
    size, found = prod(shape) * dtype.itemsize, len(data) - head.tell()
    if any(length < 1 for length in shape) or size != found:
        raise DatasetError(f"found {found} bytes of data, expected {size} for shape {cut(shape)} of {dtype}")
    array = np.frombuffer(data, dtype, offset=head.tell())
    return array.reshape(shape, order="F" if fortran else "C")


CHECKED = 1 << 16  # NumPy refuses a header of more than 10,000 characters
END_OF_DIRECTORY, ZIP64_LOCATOR = 22, 20  # bytes
MAX_DIRECTORY = 1 << 21  # some 30,000 entries
READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
