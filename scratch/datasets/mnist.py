"""MNIST and Fashion-MNIST: 28x28 grey images of ten classes, read from a torchvision folder.

Pixels become the same float32 numbers, bit for bit, that torchvision's ToTensor gives.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .dataset import Dataset, DatasetError, float_dtype
from .idx import find_files, read_idx
from .npz import read_npz

IMAGE_SHAPE = (28, 28)
DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class RawImages(NamedTuple):
    """Images as stored, uint8 (n, 28, 28) from 0 to 255, and labels int64 (n,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def fashion_mnist(data_dir: str | os.PathLike[str], dtype: DTypeLike = np.float32) -> Dataset:
    """Fashion-MNIST from data_dir/FashionMNIST/raw: x (n, 784) in [0, 1], the test images as validation.

    Raises DatasetMissing when no file is there, DatasetError when one is missing or damaged.
    """
    return _load(data_dir, "FashionMNIST", "Fashion-MNIST", FASHION, dtype)


def mnist(data_dir: str | os.PathLike[str], dtype: DTypeLike = np.float32) -> Dataset:
    """MNIST from data_dir/MNIST/raw; shapes, units and errors as fashion_mnist."""
    return _load(data_dir, "MNIST", "MNIST", DIGITS, dtype)


def raw(data_dir: str | os.PathLike[str], name: str) -> RawImages:
    """The stored images and labels of "MNIST" or "FashionMNIST"; errors as fashion_mnist."""
    files = find_files(data_dir, name)
    return RawImages(*_read_split(files, "train"), *_read_split(files, "test"))


def images_from_npz(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """(images (n, 28, 28) in their stored dtype and scale, labels int64 (n,)) of lab 3's train_mnist.npz.

    The images lie under the key x, as (n, 28, 28) or (n, 784), the labels under y.
    Raises DatasetError for anything else.
    """
    x, y = read_npz(path, "x", "y")
    images = x.reshape(-1, *IMAGE_SHAPE) if x.shape[1:] == (784,) else x
    images_at, labels_at = f"{path} (x)", f"{path} (y)"
    if y.dtype.kind not in "iu":
        raise DatasetError(f"{labels_at}: found {y.dtype}, expected integers")
    _check_pair(images, y, images_at, labels_at)
    if not np.isfinite(images).all():
        raise DatasetError(f"{images_at}: found a pixel that is not finite, expected numbers")
    return images, y.astype(np.int64)


def _load(
    data_dir: str | os.PathLike[str], folder: str, name: str, class_names: tuple[str, ...], dtype: DTypeLike
) -> Dataset:
    dtype = float_dtype(dtype)
    files = find_files(data_dir, folder)
    x_train, t_train = _rows(*_read_split(files, "train"), dtype)
    x_val, t_val = _rows(*_read_split(files, "test"), dtype)
    source = f"{name}, {len(x_train):,} + {len(x_val):,} images"
    return Dataset(name, x_train, t_train, x_val, t_val, class_names, IMAGE_SHAPE, source)


def _rows(images: np.ndarray, labels: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Images as rows of pixels / 255. The division is float32's whatever dtype stores it, as in ToTensor."""
    x = np.empty((len(images), 784), dtype)
    np.divide(images.reshape(x.shape), np.float32(255), out=x, dtype=np.float32)
    return x, labels


def _read_split(files: dict[str, Path], split: str) -> tuple[np.ndarray, np.ndarray]:
    images_at, labels_at = files[f"{split}_images"], files[f"{split}_labels"]
    images, labels = read_idx(images_at), read_idx(labels_at)
    _check_pair(images, labels, images_at, labels_at)
    return images, labels.astype(np.int64)


def _check_pair(images: np.ndarray, labels: np.ndarray, images_at: object, labels_at: object) -> None:
    if images.ndim != 3 or images.shape[1:] != IMAGE_SHAPE:
        raise DatasetError(f"{images_at}: found shape {images.shape}, expected (n, 28, 28)")
    if labels.ndim != 1:
        raise DatasetError(f"{labels_at}: found shape {labels.shape}, expected (n,)")
    if len(images) != len(labels):
        raise DatasetError(
            f"{images_at}: found {len(images)} images, expected {len(labels)}, the labels in {labels_at}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if wrong.size:
        i = wrong[0]
        raise DatasetError(f"{labels_at}: found label {labels[i]} at index {i}, expected 0 to 9")
