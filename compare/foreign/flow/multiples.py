"""Multiples: the values that equal what a tensor should be, up to layout and a factor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from compare.foreign.convention import Factor, nearest
from compare.foreign.layout import View
from compare.foreign.naming.values import distance, multiple, tight
from compare.watching.dataflow import Array, Value

ROUNDED = 1e-12  # relative: what the roundings of double precision come to
Reading = Callable[[Array], Iterator[View]]


@dataclass(frozen=True)
class Multiple:
    """A value that is `scale` times what a tensor should be."""

    value: Value
    view: View
    scale: float


class Pool:
    """Values by size."""

    def __init__(self, values: Iterable[Value]) -> None:
        self.sized: dict[int, list[Value]] = defaultdict(list)
        self.times: set[int] = set()
        for value in values:
            if value.array.dtype.kind == "f" and value.time not in self.times:
                self.sized[value.size].append(value)
                self.times.add(value.time)

    def multiples(self, wanted: Array, read: Reading, known: list[Factor], more: int = 0) -> Iterator[Multiple]:
        """In order of time, by a known factor. `more`: elements beside those of the tensor."""
        for value in self.sized.get(wanted.size + more, ()):
            for view in read(value.array):
                if (scale := scale_of(view.array, wanted, known)) is not None:
                    yield Multiple(value, view, scale)
                    break


def exactest(found: list[Multiple], wanted: Array) -> list[Multiple]:
    """Those that are off by roundings alone, where there are any: near 1, other values come near as well."""
    return [m for m in found if is_exact(m, wanted)] or found


def is_exact(found: Multiple, wanted: Array) -> bool:
    return np.allclose(found.view.array, found.scale * wanted, rtol=ROUNDED, atol=0)


def scale_of(a: Array, wanted: Array, known: list[Factor]) -> float | None:
    """The known factor by which an array is what is wanted; None where it is no multiple, or by another."""
    if a.shape != wanted.shape:
        return None
    scale = multiple(a, wanted)
    if scale is None or distance(a, scale * wanted) > tight(a):
        return None
    factor = nearest(scale, known, max(10 * tight(a), 1e-7))
    return None if factor is None else factor.value
