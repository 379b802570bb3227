"""A lab's data from files, downloaded where there are none; the embedded digits where that is impossible."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from _command import CHECKOUT
from _exit_code import Mismatch

from scratch.datasets import Dataset, DatasetMissing
from scratch.labs import LABS, Lab

FALLBACK = {"fashion_mnist": "digits"}  # the main job never stops for want of a network


def data_dir(option: Path | None) -> Path:
    """--data-dir, else BACKPROP_DATA_DIR, else data/ in the checkout."""
    return option or Path(os.environ.get("BACKPROP_DATA_DIR") or CHECKOUT / "data")


def load(
    lab: Lab, backend: str, folder: Path, dtype: str, seed: int, say: Callable[[str], None]
) -> tuple[Lab, Dataset]:
    """(the lab, its data, prepared), or the lab that takes its place without data; `say` gets one line then.

    scratch reads with NumPy, torch with torchvision, both with both, and the two readings must be the same bits.
    DatasetError if some files are missing or damaged; DatasetMissing if there are none, and no lab takes the place;
    Mismatch if the readers differ.
    """
    try:
        data = _read(lab, backend, folder, dtype, seed)
        return lab, lab.prepare(data) if lab.prepare else data
    except DatasetMissing as error:
        if lab.name not in FALLBACK:
            raise
        other = LABS[FALLBACK[lab.name]]
        data = other.data(None, dtype, seed)
        say(f"{error}; going on with {data.source} instead")
        return other, data


def _read(lab: Lab, backend: str, folder: Path, dtype: str, seed: int) -> Dataset:
    if lab.downloads is None:
        return lab.load(None, dtype, seed)
    try:
        ours = None if backend == "torch" else lab.load(folder, dtype, seed)
    except DatasetMissing:
        _download(lab.downloads, folder)
        ours = lab.load(folder, dtype, seed)
    if backend == "scratch" and ours is not None:
        return ours
    from compare.training.datasets import DataMismatch, by_torchvision, verify_same_data

    theirs = by_torchvision(lab.downloads, folder, dtype, download=True)
    if ours is None:
        return theirs
    try:
        verify_same_data(ours, theirs)
    except DataMismatch as error:
        raise Mismatch(f"mismatch: {error}") from error
    return ours


def _download(name: str, folder: Path) -> None:
    """Here, and only here, does a run of the scratch backend need torchvision."""
    from compare.training.datasets import by_torchvision

    by_torchvision(name, folder, download=True)
