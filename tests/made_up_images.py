"""Images that stand in for Fashion-MNIST: in files, where files are read, and in arrays, where they are learnt."""

import gzip
from pathlib import Path

import numpy as np

from scratch.datasets import Dataset


def fake_fashion(folder: Path, n_train: int = 300, n_test: int = 60) -> Path:
    """A small Fashion-MNIST of random pixels, gzipped, in the places of the real one."""
    raw, rng = folder / "FashionMNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, n in (("train", n_train), ("t10k", n_test)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (raw / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes(), mtime=0))
    return raw


def bars(n_train: int, n_val: int, dtype: str = "float32") -> Dataset:
    """28 x 28 images of noise, with a bright bar: of class 0 it lies, of class 1 it stands."""
    rng = np.random.default_rng(0)
    n = n_train + n_val
    x, t = rng.random((n, 28, 28)) / 2, rng.integers(0, 2, n)
    for image, label, at in zip(x, t, rng.integers(2, 24, n), strict=True):
        (image.T if label else image)[at : at + 3] += 0.5
    rows = x.reshape(n, -1).astype(dtype)
    ends = (rows[:n_train], t[:n_train], rows[n_train:], t[n_train:])
    return Dataset("bars", *ends, ("lies", "stands"), (28, 28), f"{n} bars")
