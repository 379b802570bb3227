"""The adding problem, asked as a question of two answers: sequences made on the fly."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .dataset import Dataset, float_dtype


def adding(
    n: int = 4096,
    n_val: int = 1024,
    steps: int = 16,
    *,
    rng: np.random.RandomState | np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Of `steps` numbers two are marked, one in each half: is their sum above 1?  x (n, 2 steps), labels 0 and 1.

    A row is the sequence step by step, a number uniform in 0 to 1 and its mark, 1 or 0. Either answer is right for half
    of all sequences, and a marked number alone tells three quarters. The validation set is drawn after the training
    set, from the same rng. ValueError for fewer than two steps.

    Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, section 5.4, where the sum itself is asked for.
    """
    if steps < 2:
        raise ValueError(f"adding: got steps={steps}, expected at least 2")
    x_train, t_train = _drawn(rng, n, steps)
    x_val, t_val = _drawn(rng, n_val, steps)
    answers = ("at most 1", "above 1")
    source = f"{n} + {n_val} random sequences of {steps} steps"
    return Dataset("adding", x_train, t_train, x_val, t_val, answers, None, source).astype(float_dtype(dtype))


def _drawn(
    rng: np.random.RandomState | np.random.Generator, n: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    numbers, marks, each = rng.uniform(0, 1, (n, steps)), np.zeros((n, steps)), np.arange(n)
    half = steps // 2
    for low, high in ((0, half), (half, steps)):
        marks[each, (low + rng.uniform(0, high - low, n)).astype(int)] = 1
    t = ((numbers * marks).sum(axis=1) > 1).astype(np.int64)
    return np.stack([numbers, marks], axis=2).reshape(n, 2 * steps), t
