"""The embedded set: real handwritten digits that ship inside scikit-learn, for machines without a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .dataset import Dataset, float_dtype

TRAIN_ROWS = 1437


def digits(dtype: DTypeLike = np.float32) -> Dataset:
    """scikit-learn's load_digits: x (n, 64) = pixels / 16 in [0, 1], t (n,) the digit.

    The first 1,437 images are for training, the last 360 for validation. ImportError without scikit-learn.
    """
    from sklearn.datasets import load_digits

    pixels, t = load_digits(return_X_y=True)
    x = (pixels / 16).astype(float_dtype(dtype))
    return Dataset(
        name="digits",
        x_train=x[:TRAIN_ROWS],
        t_train=t[:TRAIN_ROWS].astype(np.int64),
        x_val=x[TRAIN_ROWS:],
        t_val=t[TRAIN_ROWS:].astype(np.int64),
        class_names=tuple("0123456789"),
        image_shape=(8, 8),
        source=f"the {len(x):,} handwritten digits embedded in scikit-learn",
    )
