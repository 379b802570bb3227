"""Tensors out of a safetensors file that may be hostile, cut short, or changed while it is read.

The file is read into memory once, no further than its true size: safetensors' own `safe_open` maps it, and a file that
is truncated while it is mapped kills the process. The header is bounded before it is parsed.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratch.datasets.idx import open_regular, read_up_to

MAX_BYTES = 1 << 30
MAX_HEADER = 1 << 24  # 100,000 tensors with long names need less


class TensorFileError(ValueError):
    """No whole safetensors file; one line: what was found."""


def read_tensors(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """(tensors, metadata), the tensors writable and in the dtypes that NumPy has. TensorFileError for anything else."""
    from safetensors import SafetensorError, deserialize

    try:
        with open_regular(path) as file:
            content = bytes(read_up_to(file, max_bytes + 1))
        if len(content) > max_bytes:
            raise TensorFileError(f"more than {max_bytes} bytes, expected at most that")
        header = int.from_bytes(content[:8], "little")
        if len(content) < 8 or header > min(len(content) - 8, MAX_HEADER):
            raise TensorFileError(f"{len(content)} bytes with a header of {header}, expected a whole file")
        found = deserialize(content)  # checks that the tensors lie within the file, without gap or overlap
        metadata = json.loads(content[8 : 8 + header]).get("__metadata__") or {}
        return {name: _array(name, view) for name, view in found}, dict(metadata)
    except OSError as error:
        raise TensorFileError(error.strerror or str(error)) from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise TensorFileError(" ".join(str(error).split())[:200]) from error


def _array(name: str, view: dict[str, Any]) -> NDArray[Any]:
    if view["dtype"] not in DTYPES:
        raise TensorFileError(f"{name[:80]!r} is {view['dtype']}, expected one of {', '.join(DTYPES)}")
    return np.frombuffer(view["data"], DTYPES[view["dtype"]]).reshape(view["shape"])


DTYPES = {
    **{f"F{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    **{f"I{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
}
