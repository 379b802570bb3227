"""Pairs: whether the targets of a batch are those of its inputs, by the rows of the data that both were taken from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

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
    of = t.view.array
    rows, wanted = list(_samples(data.array, n)), list(_samples(targets.array, of.size // m))
    if x.view.bias is not None or not rows or not wanted:
        return None
    read = [_partner(x.view.array, of, a, b) for a, b in product(rows, wanted)]
    known = [each for each in read if each is not None and not np.array_equal(each, of)]
    return known[0] if len(known) == len(read) and all(np.array_equal(each, known[0]) for each in known) else None


def _partner(x: Array, t: Array, rows: Array, wanted: Array) -> Array | None:
    """The rows of the targets at the places of the inputs; None where these have none, or several."""
    if len(rows) != len(wanted):
        return None
    places = [np.flatnonzero((rows == row).all(axis=1)) for row in x]
    if any(len(each) != 1 for each in places):
        return None
    is_taken = all((wanted == row).all(axis=1).any() for row in t.reshape(len(x), -1))
    return wanted[np.concatenate(places)].reshape(t.shape).astype(t.dtype) if is_taken else None


def _source(value: Value) -> tuple[Value, int]:
    """What it was taken from, and in how many steps some of its elements, or another order of them, were chosen."""
    chosen = 0
    while value.operands and (value.what in VIEWS or value.is_changed):
        of = value.operands[0]
        chosen += of.size != value.size or not np.array_equal(np.ravel(of.array), np.ravel(value.array))
        value = of
    return value, chosen


def _samples(a: Array, n: int) -> Iterator[Array]:
    """An array of many samples of n numbers each, as rows; a square one may have them in columns, too."""
    if a.ndim == 1 and n == 1:
        yield a.reshape(-1, 1)
    for turned in (a, a.T) if a.ndim == 2 else ():
        if turned.shape[1] == n:
            yield turned
