"""Pairs: whether the targets of a batch are those of its inputs, by the rows of the data that both were taken from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compare.foreign import layout
from compare.foreign.flow.passes import Seen
from compare.foreign.flow.products import VIEWS
from compare.watching.dataflow import Array, Value


def belonging(pairs: Sequence[tuple[Seen, Seen]]) -> Array | None:
    """The targets of a step's inputs, pass by pass, where the code took those of other samples."""
    found = [_partners(x, t) for x, t in pairs]
    if all(each is None for each in found):
        return None
    return np.concatenate([t.view.array if each is None else each for (_, t), each in zip(pairs, found, strict=True)])


def _partners(x: Seen, t: Seen) -> Array | None:
    """The targets that belong to a batch's inputs, where the code took others; None where that is not certain.

    It is where inputs and targets were selected from arrays of one number of samples in as many steps, and every row
    of the input is one row there alone.
    """
    (data, chosen), (targets, as_often) = _source(x.value), _source(t.value)
    if data is targets or chosen != as_often:
        return None
    m, n = x.view.array.shape
    rows = _samples(data.array, n, x.view.layout)
    wanted = _samples(targets.array, t.view.array.size // m, t.view.layout)
    if rows is None or wanted is None or len(rows) != len(wanted) or x.view.bias is not None:
        return None
    places = [np.flatnonzero((rows == row).all(axis=1)) for row in x.view.array]
    if any(len(each) != 1 for each in places):
        return None
    belonging = wanted[np.concatenate(places)].reshape(t.view.array.shape).astype(t.view.array.dtype)
    is_taken = all((wanted == row).all(axis=1).any() for row in t.view.array.reshape(m, -1))
    return belonging if is_taken and not np.array_equal(belonging, t.view.array) else None


def _source(value: Value) -> tuple[Value, int]:
    """What it was taken from, and in how many steps some of its elements, or another order of them, were chosen."""
    chosen = 0
    while value.operands and (value.what in VIEWS or value.is_changed):
        of = value.operands[0]
        chosen += of.size != value.size or not np.array_equal(np.ravel(of.array), np.ravel(value.array))
        value = of
    return value, chosen


def _samples(a: Array, n: int, laid: str) -> Array | None:
    """An array of many samples of n numbers each, as rows; of a square one, as the batch is laid."""
    if a.ndim == 1 and n == 1:
        return a.reshape(-1, 1)
    if a.ndim != 2:
        return None
    in_columns = laid == layout.COLUMNS if a.shape[0] == a.shape[1] else a.shape[0] == n
    turned = a.T if in_columns else a
    return turned if turned.shape[1] == n else None
