"""InTurn: statistics of a batch, summed one element after another, as PyTorch's batch normalisation sums on the CPU.

NumPy adds in pairs, whose rounding errors grow with log N; one after another they grow with N (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, sections 4.2 and 4.3). The squares of 128 x 26 x 26 elements in float64 are off
by 4e-13 so, where a weight that moves by one ulp moves their sum by 1e-16. Both are right. A run one ulp away sums in
the same order, and shows nothing of that; one that sums as PyTorch does shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from compare.network.architecture import flatten
from compare.numbers.array import Array
from scratch import Sequential
from scratch.batch_norm import BatchNorm


class InTurn(np.ndarray):
    """An array of two axes or more, whose mean and variance over all but the second are summed so, in float64."""

    def mean(self, axis: Any, keepdims: bool = False) -> Array:  # type: ignore[override]
        return self._mean_of(np.asarray(self), axis, keepdims)

    def var(self, axis: Any) -> Array:  # type: ignore[override]
        deviation = np.asarray(self) - self.mean(axis, keepdims=True)
        return self._mean_of(deviation * deviation, axis, False)

    def _mean_of(self, a: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
        rows = a.swapaxes(0, 1).reshape(a.shape[1], -1)
        sums = np.cumsum(rows, axis=1, dtype=np.float64)[:, -1]
        shape = [1 if i in axis else n for i, n in enumerate(a.shape)] if keepdims else [a.shape[1]]
        return (sums / math.prod(a.shape[i] for i in axis)).astype(a.dtype).reshape(shape)


@contextmanager
def summed_in_turn(network: Sequential) -> Iterator[None]:
    """For the length of the block, its batch normalisations sum so."""
    layers = [layer for layer in flatten(network) if isinstance(layer, BatchNorm)]

    def summed(forward: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda x: np.asarray(forward(cast(Array, x.view(InTurn))))

    def plain(backward: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda dy: np.asarray(backward(dy))

    for layer in layers:
        vars(layer).update(forward=summed(layer.forward), backward=plain(layer.backward))
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"], vars(layer)["backward"]
