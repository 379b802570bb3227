"""Batches: the rows that a check is given, and weights and rows that show as many mistakes as possible.

Zero biases hide a missing bias, one row hides a missing mean, and a batch of one class hides a label that is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

import scratch
from compare.numbers.array import Array

Batch = tuple[Array, Array]  # input and target

STEPS = 3  # one step cannot show momentum, a stale or an accumulated gradient
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


def consecutive(x: Array, t: Array, steps: int) -> list[Batch]:
    """`steps` batches from one: all rows; every second step the first half, in reverse order (at least one row).

    A gradient kept from the step before, or a batch size kept from the first, then shows.
    """
    half = slice((len(x) + 1) // 2 - 1, None, -1)
    return [(x, t) if step % 2 == 0 else (x[half].copy(), t[half].copy()) for step in range(steps)]


def given_batches(batches: Sequence[Batch]) -> dict[str, Array]:
    """What each step was given, by record name: "1/input", "1/target", "2/input", ..."""
    return {
        f"{k}/{name}": a
        for k, batch in enumerate(batches, 1)
        for name, a in zip(("input", "target"), batch, strict=True)
    }


def lab_batches(x: Array, t: Array, m: int) -> list[Batch]:
    """Three batches of m, m / 2 and m different rows, where there are so many; else from the first m rows."""
    half = (m + 1) // 2
    if len(x) < 2 * m + half:
        return consecutive(x[:m], t[:m], STEPS)
    ends = [0, m, m + half, 2 * m + half]
    return [(x[a:b], t[a:b]) for a, b in pairwise(ends)]
