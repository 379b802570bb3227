"""Checkpoints: a run's weights, optimiser state, position, random stream and history in one safetensors file.

A file is written beside the old one, flushed to the disk, and only then given its name; the one before it is kept.
A checksum over tensors and texts tells a whole file from a damaged one.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratch.atomic_file import sync_folder, write_atomically
from scratch.fingerprint import digest
from scratch.tensor_file import TensorFileError, read_tensors

FORMAT = "backprop-parity checkpoint 2"
TEXTS = ("training", "configuration", "extra")


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed: missing, damaged, or of another run, with the difference named."""


class CheckpointDamaged(CheckpointError):
    """No whole checkpoint: absent, cut short, or with bits that have changed. The one before may still be whole."""


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

    @property
    def epoch(self) -> int:
        """The finished epochs. CheckpointError if it does not say."""
        epoch = self.training.get("epoch")
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise CheckpointError(f"a checkpoint of epoch {_brief(epoch)}, expected a whole number of at least 0")
        return epoch

    @property
    def place(self) -> str:
        """ "epoch 3", or "epoch 3, batch 12" within the fourth."""
        position = self.training.get("position")
        batch = position.get("batch") if isinstance(position, dict) else None
        return f"epoch {self.epoch}" + (f", batch {batch}" if isinstance(batch, int) and batch else "")

    def write(self, path: Path) -> None:
        """In one step: whoever looks at `path` sees what was there before, or all of this. OSError if it cannot."""
        from safetensors.numpy import save

        tensors = {name: np.require(a, requirements="C") for name, a in self.tensors.items()}
        texts = {name: json.dumps(getattr(self, name), sort_keys=True) for name in TEXTS}
        metadata = {"format": FORMAT, **texts, "sha256": _checksum(tensors, texts)}
        write_atomically(path, save(tensors, metadata))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """CheckpointDamaged if there is no such file, or not a whole one; CheckpointError for another format."""
        if not path.is_file():
            raise CheckpointDamaged(f"{path}: not found")
        try:
            tensors, metadata = read_tensors(path)
        except TensorFileError as error:
            raise CheckpointDamaged(f"{path}: damaged ({error})") from error
        if metadata.get("format") != FORMAT:
            found = _brief(metadata.get("format"))
            raise CheckpointError(f"{path}: found format {found}, expected {FORMAT!r}")
        texts = {name: metadata.get(name, "") for name in TEXTS}
        if metadata.get("sha256") != _checksum(tensors, texts):
            raise CheckpointDamaged(f"{path}: damaged (its checksum does not match its content)")
        return cls(tensors, *(_json_object(path, name, text) for name, text in texts.items()))

    def expect(self, configuration: Mapping[str, Any], where: object) -> None:
        """CheckpointError naming the first entry in which it differs from `configuration`."""
        expected = json.loads(json.dumps(configuration))
        for name in [*expected, *(name for name in self.configuration if name not in expected)]:
            found = self.configuration.get(name)
            if found != expected.get(name):
                raise CheckpointError(
                    f"{where}: a checkpoint of {name[:40]} {_brief(found)}, expected {_brief(expected.get(name))}"
                )


class CheckpointFolder:
    """checkpoint.safetensors and, beside it, the one before: checkpoint.previous.safetensors."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.newest = self.folder / "checkpoint.safetensors"
        self.previous = self.folder / "checkpoint.previous.safetensors"

    @property
    def found(self) -> list[Path]:
        """The checkpoints that are there, whole or not, the newest first."""
        return [path for path in (self.newest, self.previous) if path.exists()]

    def expect_empty(self) -> None:
        """CheckpointError if a checkpoint is there already: a new run never takes the place of an old one."""
        for path in self.found:
            raise CheckpointError(f"{path}: found a checkpoint, expected none; resume it, or use another folder")

    def save(self, checkpoint: Checkpoint) -> None:
        """The newest becomes the previous one when the new one is whole; a damaged one never does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "checkpoint.next.safetensors"
        checkpoint.write(beside)
        if _is_whole(self.newest):
            self.newest.replace(self.previous)
        beside.replace(self.newest)
        sync_folder(self.folder)

    def load(self, configuration: Mapping[str, Any], *, at_most: int | None = None) -> Checkpoint:
        """The newest checkpoint; the previous one, with a CheckpointWarning, if the newest is damaged or gone.

        CheckpointError if neither is whole, or it is of another configuration or beyond epoch `at_most`.
        """
        checkpoint, path = self._whole()
        checkpoint.expect(configuration, path)
        epoch = checkpoint.epoch
        if at_most is not None and epoch > at_most:
            raise CheckpointError(f"{path}: at epoch {epoch}, expected at most {at_most}")
        return checkpoint

    def _whole(self) -> tuple[Checkpoint, Path]:
        try:
            return Checkpoint.read(self.newest), self.newest
        except CheckpointDamaged as error:
            if not self.previous.exists():
                raise
            checkpoint = Checkpoint.read(self.previous)
            where = f"{self.previous.name}, {checkpoint.place}"
            warnings.warn(f"{error}; going on from {where}", CheckpointWarning, stacklevel=2)
            return checkpoint, self.previous


def _checksum(tensors: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> str:
    """SHA-256 over the tensors, then over the texts."""
    found = digest(tensors)
    found.update(json.dumps(dict(texts), sort_keys=True).encode())
    return str(found.hexdigest())


def _json_object(path: Path, name: str, text: str) -> dict[str, Any]:
    """Only a file that somebody made has a right checksum over something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {name} is no JSON ({str(error)[:80]})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: {name} is a {type(found).__name__}, expected an object")
    return found


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}..."


def _is_whole(path: Path) -> bool:
    try:
        Checkpoint.read(path)
    except CheckpointError:
        return False
    return True
