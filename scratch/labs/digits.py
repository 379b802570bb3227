"""`digits`: the embedded set, for machines without data or network.

The 1,797 real handwritten digits inside scikit-learn, 8x8, the first 1,437 to train and the last 360 to validate;
64-256-10 with ReLU; all else as `fashion_mnist`.
"""

from __future__ import annotations

from dataclasses import replace

from scratch import datasets
from scratch.datasets import Dataset
from scratch.labs import fashion_mnist
from scratch.labs.lab import Folder


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """From scikit-learn; data_dir and seed are not used."""
    return datasets.digits(dtype)


LAB = replace(fashion_mnist.LAB, name="digits", load=load, downloads=None)
