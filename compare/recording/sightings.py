"""Sightings: the tensors of one step of NumPy code, copied at the moment they were seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.numbers.same_bits import same_bits
from compare.recording.record import Record


class Sightings:
    """Puts copies of the tensors of one step into its record as they are seen, and looks at the live arrays later.

    Given `originals`, arrays with their bits stand in for copies until the step ends, and gradients for their own.
    """

    def __init__(self, record: Record, originals: Mapping[str, Array] | None = None) -> None:
        self.record, self.tensors = record, record.tensors
        self.originals, self.keeps = originals or {}, originals is not None
        self.live: dict[str, Array] = {}
        self.watched: set[str] = set()
        self.reached: set[int] = set()  # the layers whose backward has run
        self.has_ended = False  # by a value that is not finite, which is then looked for in a walk
        self.is_drawn_anew = False  # in a walk after the step, which is no part of it

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
                self.record.touched[name] = a.copy()
                self.record.changed_by.setdefault(name, phase)

    def end(self) -> Record:
        """The record, in which the copy's own arrays take the originals' place."""
        for name, original in self.originals.items():
            if self.tensors.get(name) is original:
                self.tensors[name] = of_copy(self.live[name], original)
        self.record.watched = len(self.watched)
        return self.record


def of_copy(a: Array, original: Array) -> Array:
    """The copy's own array, if it still has the bits of the original, which its owner may change later."""
    return a if same_bits(a, original) else original.copy()
