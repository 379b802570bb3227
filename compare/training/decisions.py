"""Decisions: where a layer goes one way or another by its input: a ReLU at zero, a pooling among a window's elements.

Two correct runs differ in the last bits of such an input, and so may decide otherwise. Then a gradient goes another
way, all at once. A decision is by rounding where the number whose sign decides has moved no farther than rounding can.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compare.numbers.array import Array
from scratch import Layer, MaxPool2d, ReLU, Sequential

Taken = NDArray[np.integer]
Where = NDArray[np.bool_]


class Decisions(ABC):
    """Of one layer, by its input z; one for each element of its output."""

    what: str  # the word for one
    several: str
    elements: int  # of z, in the number whose sign decides

    @abstractmethod
    def taken(self, z: Array) -> Taken:
        """Which way, as a whole number."""

    @abstractmethod
    def signed(self, z: Array, ours: Taken, theirs: Taken) -> Array:
        """The number whose sign decides between these two ways: above zero for ours, at most zero for theirs."""

    @abstractmethod
    def given(self, z: Array, other: Array, at: Where) -> Array:
        """z, with what decides these from another input."""

    def apart(self, ours: Array, theirs: Array) -> Array:
        """How far the number that decides has moved, where the two decide otherwise; elsewhere 0."""
        ways = self.taken(ours), self.taken(theirs)
        moved: Array = np.abs(self.signed(ours, *ways) - self.signed(theirs, *ways))
        return np.where(ways[0] != ways[1], moved, 0)


class OfReLU(Decisions):
    """On above zero, else off; the number is z itself."""

    what, several, elements = "ReLU mask", "ReLU masks", 1

    def taken(self, z: Array) -> Taken:
        return (z > 0).astype(np.int8)

    def signed(self, z: Array, ours: Taken, theirs: Taken) -> Array:
        return z

    def given(self, z: Array, other: Array, at: Where) -> Array:
        return np.where(at, other, z)


class OfMaxPool(Decisions):
    """The first largest element of each window; the number is that one less the other's choice."""

    what, several, elements = "maximum", "maxima", 2

    def __init__(self, layer: MaxPool2d) -> None:
        self.windows = layer.windows

    def taken(self, z: Array) -> Taken:
        return self._flat(z).argmax(axis=2)

    def signed(self, z: Array, ours: Taken, theirs: Taken) -> Array:
        found = self._flat(z)
        mine, other = (np.take_along_axis(found, way[:, :, np.newaxis], axis=2)[:, :, 0] for way in (ours, theirs))
        difference: Array = mine - other
        return difference

    def given(self, z: Array, other: Array, at: Where) -> Array:
        windows = np.broadcast_to(at[:, :, np.newaxis, np.newaxis], self.windows.of(z).shape)
        return np.where(self.windows.add_up(windows.astype(z.dtype), z.shape) > 0, other, z)

    def _flat(self, z: Array) -> Array:
        """(m, channels, window, down, across)."""
        windows = self.windows.of(z, fill=-np.inf)
        m, channels, h, w, down, across = windows.shape
        return windows.reshape(m, channels, h * w, down, across)


MODULES = (nn.ReLU, nn.MaxPool2d)  # PyTorch's that decide


def deciding(network: Sequential, prefix: str = "") -> Iterator[tuple[str, Layer, Decisions]]:
    """Its layers that decide, in order, named as its parameters are."""
    for i, layer in enumerate(network):
        if isinstance(layer, Sequential):
            yield from deciding(layer, f"{prefix}{i}.")
        elif isinstance(layer, ReLU):
            yield f"{prefix}{i}", layer, OfReLU()
        elif isinstance(layer, MaxPool2d):
            yield f"{prefix}{i}", layer, OfMaxPool(layer)
