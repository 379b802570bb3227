"""Probe: weights and rows that show as many mistakes as possible.

Zero biases hide a missing bias, one row hides a missing mean, and a batch of one class hides a label that is off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import scratch
from compare.record import Batch

Array = NDArray[Any]

ROWS = 7  # prime, so that it differs from the sizes of layers, and its half, 4, does too
BIAS = 0.1  # standard deviation of what is put in the place of biases that are all zero


def wake_biases(network: scratch.Sequential, rng: np.random.Generator) -> bool:
    """Give small random values to the biases that are all zero, in place; whether there were any."""
    asleep = [p for name, p in network.params.items() if name.endswith("bias") and not p.any()]
    for p in asleep:
        p[...] = rng.normal(0, BIAS, p.shape)
    return bool(asleep)


def telling_rows(x: Array, t: Array, m: int, rng: np.random.Generator) -> Batch:
    """m rows, at least ROWS where there are so many, in which every class occurs that fits in."""
    m = min(max(m, ROWS), len(x))
    order = rng.permutation(len(x))
    labels = np.asarray(t if t.ndim == 1 else t.argmax(axis=1) if t.shape[1] > 1 else t[:, 0])[order]
    _, first = np.unique(labels, return_index=True)
    rest = np.setdiff1d(np.arange(len(x)), first[:m])
    rows = order[np.concatenate([first[:m], rest])[:m]]
    return x[rows], t[rows]
