"""Checkpoints: a run's weights, optimiser state, position, random stream and history in one safetensors file.

A file is written beside the old one, flushed to the disk, and only then given its name; the one before it is kept.
A checksum over tensors and texts tells a whole file from a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "backprop-parity checkpoint 1"
TEXTS = ("training", "configuration", "extra")


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed: missing, damaged, or of another run, with the difference named."""


class CheckpointWarning(UserWarning):
    """The newest checkpoint cannot be read, and the one before it is used."""


@dataclass
class Checkpoint:
    """`tensors`: a learner's state_dict; `training`: epoch, position in it, random stream, history (JSON);
    `configuration`: what it is a checkpoint of (JSON); `extra`: what its owner adds (JSON)."""

    tensors: dict[str, NDArray[Any]]
    training: dict[str, Any]
    configuration: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """In one step: whoever looks at `path` sees what was there before, or all of this. OSError if it cannot."""
        from safetensors.numpy import save

        tensors = {name: np.require(a, requirements="C") for name, a in self.tensors.items()}
        texts = {name: json.dumps(getattr(self, name), sort_keys=True) for name in TEXTS}
        metadata = {"format": FORMAT, **texts, "sha256": _checksum(tensors, texts)}
        beside = path.with_name(f"{path.name}.new")
        with beside.open("wb") as file:
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """CheckpointError if there is no such file, or not a whole one."""
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise CheckpointError(f"{path}: not found")
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path}: damaged ({reason})") from error
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path}: found format {metadata.get('format')!r}, expected {FORMAT!r}")
        texts = {name: metadata.get(name, "") for name in TEXTS}
        if metadata.get("sha256") != _checksum(tensors, texts):
            raise CheckpointError(f"{path}: damaged (its checksum does not match its content)")
        return cls(tensors, *(json.loads(text) for text in texts.values()))

    def expect(self, configuration: Mapping[str, Any], where: object) -> None:
        """CheckpointError naming the first entry in which it differs from `configuration`."""
        expected = json.loads(json.dumps(configuration))
        for name in [*expected, *(name for name in self.configuration if name not in expected)]:
            found = self.configuration.get(name)
            if found != expected.get(name):
                raise CheckpointError(f"{where}: a checkpoint of {name} {found!r}, expected {expected.get(name)!r}")


class CheckpointFolder:
    """checkpoint.safetensors and, beside it, the one before: checkpoint.previous.safetensors."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.newest = self.folder / "checkpoint.safetensors"
        self.previous = self.folder / "checkpoint.previous.safetensors"

    def expect_empty(self) -> None:
        """CheckpointError if a checkpoint is there already: a new run never takes the place of an old one."""
        for path in (self.newest, self.previous):
            if path.exists():
                raise CheckpointError(f"{path}: found a checkpoint, expected none; resume it, or use another folder")

    def save(self, checkpoint: Checkpoint) -> None:
        """The newest becomes the previous one when the new one is whole; a damaged one never does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "checkpoint.next.safetensors"
        checkpoint.write(beside)
        if _is_whole(self.newest):
            self.newest.replace(self.previous)
        beside.replace(self.newest)
        _sync_folder(self.folder)

    def load(self, configuration: Mapping[str, Any], *, at_most: int | None = None) -> Checkpoint:
        """The newest checkpoint; the previous one, with a CheckpointWarning, if the newest is damaged or gone.

        CheckpointError if neither is whole, or it is of another configuration or beyond epoch `at_most`.
        """
        checkpoint, path = self._whole()
        checkpoint.expect(configuration, path)
        epoch = checkpoint.training["epoch"]
        if at_most is not None and epoch > at_most:
            raise CheckpointError(f"{path}: at epoch {epoch}, expected at most {at_most}")
        return checkpoint

    def _whole(self) -> tuple[Checkpoint, Path]:
        try:
            return Checkpoint.read(self.newest), self.newest
        except CheckpointError as error:
            if not self.previous.exists():
                raise
            checkpoint = Checkpoint.read(self.previous)
            epoch = checkpoint.training["epoch"]
            warnings.warn(
                f"{error}; going on from {self.previous.name}, epoch {epoch}", CheckpointWarning, stacklevel=2
            )
            return checkpoint, self.previous


def _checksum(tensors: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of the tensors in order of name, then over the texts."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        a = tensors[name]
        digest.update(json.dumps([name, a.dtype.str, a.shape]).encode())
        digest.update(a.tobytes())
    digest.update(json.dumps(dict(texts), sort_keys=True).encode())
    return digest.hexdigest()


def _is_whole(path: Path) -> bool:
    try:
        Checkpoint.read(path)
    except CheckpointError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself last through a power cut, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
