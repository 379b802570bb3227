"""Arrays out of an .npz file that may be hostile: no pickles, and no memory on the word of a header.

numpy.load allocates what the header of a member claims before it reads a byte; here the bytes come first.
"""

from __future__ import annotations

import io
import os
import zipfile
from math import prod

import numpy as np
from numpy.lib import format as npy

from .dataset import DatasetError
from .idx import MAX_BYTES, open_regular, read_up_to


def read_npz(path: str | os.PathLike[str], *keys: str) -> tuple[np.ndarray, ...]:
    """The arrays stored under `keys`, in that order: integers or floats only.

    Raises DatasetError for a missing file or key, a damaged archive, pickled objects and false sizes.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return tuple(_array(_member(archive, key)) for key in keys)
    except DatasetError as reason:
        raise DatasetError(f"{path}: {reason}") from None
    except Exception as reason:  # zipfile, zlib, ast and tokenize each raise their own on damaged bytes
        found = " ".join(str(getattr(reason, "strerror", None) or reason).split())
        raise DatasetError(
            f"{path}: found an unreadable file ({found}), expected an .npz archive"
        ) from reason


def _member(archive: zipfile.ZipFile, key: str) -> bytearray:
    """The bytes of KEY.npy."""
    if f"{key}.npy" not in archive.namelist():
        names = ", ".join(archive.namelist()[:8]) or "nothing"
        raise DatasetError(f"found {names!r}, expected an array under the key {key!r}")
    member = archive.getinfo(f"{key}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks the other methods without a limit, and NumPy never writes them
        raise DatasetError(f"found {key!r} in compression method {member.compress_type}, expected 0 or 8")
    with archive.open(member) as stream:
        data = read_up_to(stream, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DatasetError(f"found more than {MAX_BYTES} bytes under {key!r}, expected at most that")
    return data


def _array(data: bytearray) -> np.ndarray:
    """The array of an .npy file (format 1 or 2)."""
    head = io.BytesIO(bytes(data[:CHECKED]))
    version = npy.read_magic(head)
    if version not in READ_HEADER:
        raise DatasetError(f"found .npy format {version}, expected (1, 0) or (2, 0)")
    shape, fortran, dtype = READ_HEADER[version](head)
    if dtype.kind not in "iuf":
        raise DatasetError(f"found an array of {dtype}, expected integers or floats")
    size, found = prod(shape) * dtype.itemsize, len(data) - head.tell()
    if any(length < 1 for length in shape) or size != found:
        raise DatasetError(f"found {found} bytes of data, expected {size} for shape {shape} of {dtype}")
    array = np.frombuffer(data, dtype, offset=head.tell())
    return array.reshape(shape, order="F" if fortran else "C")


CHECKED = 1 << 16  # NumPy refuses a header of more than 10,000 characters
READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
