"""torchvision's reading of a data set as a scratch Dataset, and the proof that both readers give the same bits.

A fault in one reader that both backends share would be wrong on both alike and never show.
"""

from __future__ import annotations

import os

import numpy as np

import torch_ref.datasets
from scratch.datasets import Dataset, DatasetError, DatasetMissing

NAMES = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}


class DataMismatch(ValueError):
    """Two readers of the same files give different numbers."""


def by_torchvision(
    name: str, data_dir: str | os.PathLike[str], dtype: str = "float32", *, download: bool = False
) -> Dataset:
    """fashion_mnist or mnist as torchvision reads it: pixels as ToTensor() gives them, the test set as validation.

    DatasetMissing if none of the files is there (and with `download`: none could be fetched), DatasetError if some
    are missing or damaged.
    """
    try:
        train, test = torch_ref.datasets.load(name, data_dir, download=download)
    except torch_ref.datasets.DatasetMissing as error:
        raise DatasetMissing(str(error)) from error
    except torch_ref.datasets.DatasetError as error:
        raise DatasetError(str(error)) from error
    (x_train, t_train), (x_val, t_val) = (
        [tensor.numpy() for tensor in torch_ref.datasets.tensors(part)] for part in (train, test)
    )
    x_train, x_val = (x.astype(dtype, copy=False) for x in (x_train, x_val))
    title = NAMES.get(name, name)
    source = f"{title}, {len(x_train):,} + {len(x_val):,} images"
    return Dataset(title, x_train, t_train, x_val, t_val, tuple(train.classes), (28, 28), source)


def verify_same_data(ours: Dataset, theirs: Dataset) -> None:
    """DataMismatch naming the first array and index whose bits differ."""
    for name in ("x_train", "t_train", "x_val", "t_val"):
        a, b = getattr(ours, name), getattr(theirs, name)
        if a.shape != b.shape or a.dtype != b.dtype:
            raise DataMismatch(f"{name}: NumPy reads {a.dtype} {a.shape}, torchvision {b.dtype} {b.shape}")
        if not np.array_equal(a, b):
            index = tuple(int(i) for i in np.argwhere(a != b)[0])
            raise DataMismatch(f"{name}{list(index)}: NumPy reads {a[index]!r}, torchvision {b[index]!r}")
