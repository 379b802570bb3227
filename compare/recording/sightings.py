"""Sightings: the tensors of one step of NumPy code, copied at the moment they were seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.numbers.same_bits import same_bits
from compare.recording.record import Record


class Sightings:
    """Copies of the tensors of one step, made when they were seen, and the live arrays to look at once more later.

    Given `originals`, arrays with their bits stand in for copies until the record is made, and gradients for their own.
    """

    def __init__(self, originals: Mapping[str, Array] | None = None) -> None:
        self.originals, self.keeps = originals or {}, originals is not None
        self.tensors: dict[str, Array] = {}
        self.live: dict[str, Array] = {}
        self.touched: dict[str, Array] = {}
        self.changed_by: dict[str, str] = {}
        self.nothing: dict[str, str] = {}
        self.watched: set[str] = set()
        self.reached: set[int] = set()  # the layers whose backward has run
        self.plain_loss = False

    def copy(self, name: str, a: Any, watch: bool = False) -> None:
        original = self.originals.get(name)
        self.tensors[name] = original if original is not None and same_bits(original, a) else np.array(a)
        if watch and isinstance(a, np.ndarray):
            self.live[name] = a
            self.watched.add(name)

    def copy_all(self, arrays: Mapping[str, Array], watch: bool = False) -> None:
        for name, a in arrays.items():
            self.copy(name, a, watch)

    def gradients(self, grads: Mapping[str, Array], watch: bool = False) -> None:
        """Take the gradients, and look for arrays that backward changed: it is over."""
        self.look("backward")
        if self.keeps:
            self.tensors |= {TensorName(name).gradient: np.asarray(g) for name, g in grads.items()}
        else:
            self.copy_all({TensorName(name).gradient: g for name, g in grads.items()}, watch)

    def look(self, phase: str) -> None:
        """Which arrays are not what they were any more, after this phase of the step."""
        for name, a in self.live.items():
            if not same_bits(a, self.tensors[name]):
                self.touched[name] = a.copy()
                self.changed_by.setdefault(name, phase)

    def record(self, architecture: Architecture, spec: OptimizerSpec | None, step: int) -> Record:
        for name, original in self.originals.items():
            if self.tensors.get(name) is original:
                self.tensors[name] = of_copy(self.live[name], original)
        return Record(
            architecture,
            self.tensors,
            spec,
            step,
            self.touched,
            len(self.watched),
            self.changed_by,
            self.nothing,
            self.plain_loss,
        )


def of_copy(a: Array, original: Array) -> Array:
    """The copy's own array, if it still has the bits of the original, which its owner may change later."""
    return a if same_bits(a, original) else original.copy()
