"""Record files: consecutive steps as one safetensors file; read from that or from .npz, whoever wrote it."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.numbers.array import Array
from compare.recording.record import Record
from scratch.datasets import DatasetError
from scratch.datasets.idx import MAX_BYTES
from scratch.datasets.npz import read_whole_npz
from scratch.printable import cut
from scratch.tensor_file import TensorFileError, read_tensors

MAX_NAME = 10_000  # characters of a tensor's name or of a network in a file
MAX_LAYERS = 1000


def save_records(records: Sequence[Record], path: str | Path) -> None:
    """Write consecutive steps as one safetensors file; with several, names are prefixed "1/", "2/", ... by step.

    Metadata: network, its layers as JSON where its text is too long, optimiser with its options as JSON, number of
    the first step, "tf32" where that was on. OSError if `path` is there and no regular file: safetensors puts a new
    file in the place of whatever it finds, a device or a link included.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(f"{path}: found a link, a folder or a device, expected a new file or a regular one")
    several = len(records) > 1
    tensors = {
        (f"{r.step}/{name}" if several else name): np.array(a, order="C") for r in records for name, a in r.items()
    }
    first = records[0]
    metadata = {"network": str(first.network), "step": str(first.step)}
    if not _can_be_said(first.network):
        metadata["architecture"] = json.dumps(first.network.to_dict())
    if first.tf32:
        metadata["tf32"] = "on"
    if first.optimizer:
        metadata["optimizer"] = json.dumps({"kind": first.optimizer.kind} | dict(first.optimizer.options))
    safetensors.numpy.save_file(tensors, path, metadata)


def load_records(path: str | Path, network: Architecture | None = None, *, max_bytes: int = MAX_BYTES) -> list[Record]:
    """Read what `save_records` or another program wrote (.safetensors or .npz). ValueError in one line otherwise.

    The file may be anybody's: nothing is unpickled, and nothing allocated on its word. `max_bytes`: of all arrays.
    """
    tensors, metadata = _read(Path(path), max_bytes)
    if network is None and "network" not in metadata:
        raise ValueError(
            f"{path}: the file names no network; pass it, such as '784-256-10 relu, softmax cross-entropy'"
        )
    try:
        network = network or _network(metadata)
        network.expect_no_penalty()
        optimizer, first = _optimizer(metadata), _step(metadata.get("step", "1"))
        by_step: dict[int, dict[str, Array]] = {}
        for name, a in tensors.items():
            if not name.isprintable() or len(name) > MAX_NAME:
                raise ValueError(f"found a tensor named '{cut(name)}', expected printable characters")
            number, slash, rest = name.partition("/")
            has_step = bool(slash) and number.isascii() and number.isdigit()
            step = _step(number) if has_step else first
            by_step.setdefault(step, {})[rest if slash else name] = a
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {cut(error, 400)}") from None
    # a file has no Python numbers: a loss in float64 may have been one
    tf32 = metadata.get("tf32") == "on"
    return [Record(network, by_step[s], optimizer, s, plain_loss=True, tf32=tf32) for s in sorted(by_step)]


def _can_be_said(network: Architecture) -> bool:
    """Whether its text can be read again: it is not too long for a file, and all layers fit."""
    try:
        return len(str(network)) <= MAX_NAME and Architecture.of(str(network)) == network
    except ValueError:
        return False


def _network(metadata: Mapping[str, str]) -> Architecture:
    if "architecture" in metadata:
        found = json.loads(metadata["architecture"])
        if isinstance(found, dict) and isinstance(found.get("layers"), list) and len(found["layers"]) > MAX_LAYERS:
            raise ValueError(f"found {len(found['layers'])} layers, expected at most {MAX_LAYERS}")
        return Architecture.from_dict(found)
    return Architecture.of(metadata["network"][:MAX_NAME])


def _optimizer(metadata: Mapping[str, str]) -> OptimizerSpec | None:
    if "optimizer" not in metadata:
        return None
    options = json.loads(metadata["optimizer"])
    if not isinstance(options, dict) or not isinstance(options.get("kind"), str):
        raise ValueError("found an optimizer without a kind in the metadata, expected an object that names it")
    kind = options.pop("kind")
    for name, value in options.items():
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            raise ValueError(f"found {cut(kind)} with {cut(name)} '{cut(value)}', expected a finite number")
    return OptimizerSpec(kind, options)


def _step(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text) > 0):
        raise ValueError(f"found step '{cut(text)}', expected a whole number of at least 1")
    return int(text)


def _read(path: Path, max_bytes: int) -> tuple[dict[str, Array], dict[str, str]]:
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    try:
        if path.suffix == ".npz":
            return read_whole_npz(path, max_bytes=max_bytes), {}
        return read_tensors(path, max_bytes=max_bytes)
    except (DatasetError, TensorFileError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: not a record (safetensors or npz): {reason}") from None
