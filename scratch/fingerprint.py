"""Fingerprints: a short hash of all the bits of a training's state, so that two runs show where they parted."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratch.atomic_file import write_atomically
from scratch.datasets.idx import open_regular
from scratch.printable import cut

DIGITS = 16  # 64 bits: two states that differ share them once in 2^64
HEADER = ("backend", "step", "epoch", "fingerprint")
MAX_BYTES = 1 << 26  # a million steps need some 40 bytes each


class FingerprintError(ValueError):
    """A file that holds no fingerprints: what was found, and what was expected."""


class Fingerprint(NamedTuple):
    """Of weights and optimiser state after `step` updates; `epoch`: the finished ones, so it tells an epoch's end."""

    step: int
    epoch: int
    digits: str


def fingerprint(tensors: Mapping[str, NDArray[Any]]) -> str:
    """16 hexadecimal digits of SHA-256 over names, dtypes, shapes and bits."""
    return digest(tensors).hexdigest()[:DIGITS]


def digest(tensors: Mapping[str, NDArray[Any]]) -> Any:
    """SHA-256, not yet finished, over names, dtypes, shapes and bytes of the tensors in order of name."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        a = np.ascontiguousarray(tensors[name])
        found.update(json.dumps([name, a.dtype.str, tensors[name].shape]).encode())
        found.update(a.data if a.size else b"")
    return found


def write_fingerprints(path: str | os.PathLike[str], found: Mapping[str, Iterable[Fingerprint]]) -> None:
    """A CSV file, replaced in one step: backend, step, epoch, fingerprint."""
    lines = [",".join(HEADER)]
    lines += [f"{backend},{f.step},{f.epoch},{f.digits}" for backend, each in found.items() for f in each]
    write_atomically(path, "\n".join(lines).encode() + b"\n")


def read_fingerprints(path: str | os.PathLike[str]) -> dict[str, dict[int, Fingerprint]]:
    """Backend -> step -> its fingerprint. FingerprintError naming file and line for anything else."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise FingerprintError(f"{path}: more than {MAX_BYTES} bytes, expected fewer")
        with open_regular(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            return _read(csv.reader(text, strict=True))
    except OSError as error:
        raise FingerprintError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, csv.Error) as error:
        raise FingerprintError(f"{path}: {cut(error, 300)}") from None


def _read(rows: Iterable[list[str]]) -> dict[str, dict[int, Fingerprint]]:
    found: dict[str, dict[int, Fingerprint]] = {}
    for number, row in enumerate(rows, 1):
        if number == 1:
            if tuple(row) != HEADER:
                raise FingerprintError(f"found '{cut(','.join(row))}' in line 1, expected {','.join(HEADER)!r}")
            continue
        if len(row) != len(HEADER) or len(row[3]) != DIGITS:
            raise FingerprintError(f"line {number}: found {len(row)} cells, expected a backend, two numbers, a hash")
        found.setdefault(row[0], {})[int(row[1])] = Fingerprint(int(row[1]), int(row[2]), row[3])
    return found
