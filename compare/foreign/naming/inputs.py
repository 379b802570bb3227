"""Inputs: what may have entered the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.convention import Convention
from compare.foreign.layout import View
from compare.foreign.naming.named import Named
from compare.foreign.naming.observations import Observations
from compare.network.architecture import Architecture
from compare.watching.observation import Observation

Array = NDArray[Any]


def inputs(network: Architecture, seen: Observations, x: Array | None, convention: Convention) -> Iterator[Named]:
    """What may be the input (m, in): x, and a single sample of it; where x is not given, every array that fits."""
    fan_in = network.sizes[0]
    if x is None:
        yield from _all(seen, fan_in, convention)
        return
    yield _whole(seen, x, fan_in)
    if (single := _single(seen, x, fan_in)) is not None:
        yield single


def readings(a: Array, fan_in: int) -> Iterator[View]:
    """Readings of `a` as samples of `fan_in` numbers, whatever their count."""
    if a.ndim == 1 and a.size == fan_in:
        yield from layout.samples(a, 1, fan_in)
    if a.ndim == 2:
        for m in dict.fromkeys(a.shape):
            yield from layout.inputs(a, m, fan_in)


def _all(seen: Observations, fan_in: int, convention: Convention) -> Iterator[Named]:
    """All arrays with as many columns or rows, equal ones once, those of zeros left out."""
    tried: set[bytes] = set()
    for o in seen.newest_of_each(seen.matrices()):
        for view in readings(o.array, fan_in):
            key = view.array.tobytes() + str(view.array.shape).encode()
            if key not in tried and convention.allows(view, "samples") and np.any(view.array):
                tried.add(key)
                yield Named(o, view)


def _whole(seen: Observations, x: Array, fan_in: int) -> Named:
    """The array that equals x, or x itself, where the code bound none."""
    m = len(x)
    views = (Named(o, v) for o in seen.sized(m, fan_in, extra=(0, 1)) for v in layout.inputs(o.array, m, fan_in))
    same = (named for named in views if named.view.array.shape == x.shape and np.array_equal(named.view.array, x))
    return next(same, Named(Observation(x, "x as given", time=-1), View(x, layout.ROWS)))


def _single(seen: Observations, x: Array, fan_in: int) -> Named | None:
    """The first array that is one sample of x: code that goes through them one by one."""
    rows = {_float64(row).tobytes() for row in x}
    for o in seen.sized(1, fan_in):
        if o.array.dtype.kind == "f" and o.array.size == fan_in and _float64(o.array).tobytes() in rows:
            return Named(o, View(o.array.reshape(1, fan_in), layout.COLUMNS if o.array.ndim == 2 else layout.ROWS))
    return None


def _float64(a: Array) -> Array:
    return np.asarray(a, dtype=np.float64)
