"""Products: the values that are an input times a weight, and what they are computed from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from compare.foreign import layout
from compare.foreign.layout import View
from compare.foreign.naming.values import distance, tight
from compare.operations.linear import Linear
from compare.watching.dataflow import Array, Value

# Of the same numbers in the same or another order: what holds them is the same tensor.
VIEWS = frozenset(
    {"attr:T", "getitem", "", "bind", "attr:values", "attr:data", "attr:A", "attr:flat", "attr:real", "list", "gather"}
    | {
        f"call:{name}"
        for name in (
            *("transpose", "reshape", "asarray", "array", "asanyarray", "astype", "copy", "ravel", "flatten", "squeeze"),
            *("atleast_2d", "expand_dims", "matrix", "mat", "view", "deepcopy", "float64", "float32", "to_numpy"),
            *("list", "tuple", "ascontiguousarray", "swapaxes", "tolist", "numpy", "detach"),
        )
    }
)
FILLED = ("list", "gather", "changed", "setitem")  # element by element
NEAR = 40  # values looked at behind one
NUMBERS = 4000  # behind one that was filled
DEPTH = 2  # arrays between a product and its operands


@dataclass(frozen=True)
class Product:
    """value = entering @ weight.T (+ bias): each with the array in torch's layout."""

    value: Value
    weight: Value
    entering: Value
    bias: Value | None
    views: tuple[View, View, View]  # of the value, the weight, what enters

    @property
    def m(self) -> int:
        return len(self.views[0].array)


def root(value: Value) -> Value:
    """What a view, a copy or another order of its elements is a view of."""
    while value.what in VIEWS and value.operands and value.operands[0].size == value.size and not value.is_changed:
        value = value.operands[0]
    return value


def near(value: Value) -> list[Value]:
    """What a value is computed from: through a few arrays between, and through the numbers that fill a list."""
    found: dict[int, Value] = {}
    left = deque((o, 0) for o in value.operands)
    filled = value.what in FILLED
    while left and len(found) < (NUMBERS if filled else NEAR):
        v, depth = left.popleft()
        if v.time in found:
            continue
        found[v.time] = v
        if v.is_changed or v.what == "setitem":
            continue
        if depth < DEPTH or (filled and v.size == 1):
            left.extend((o, depth + 1) for o in v.operands)
    return list(found.values())


def product(value: Value, layer: Linear) -> Product | None:
    """The value as this layer's product; None where it is none."""
    if not value.operands or not value.size or value.size % layer.out_features or value.array.dtype.kind != "f":
        return None
    if value.what in VIEWS - {"list", "gather"}:
        return None
    sizes = {layer.out_features * layer.in_features, layer.out_features * (layer.in_features + 1)}
    m, behind = value.size // layer.out_features, near(value)
    entering = {m * layer.in_features, m * (layer.in_features + 1)}
    weights = [v for v in behind if v.size in sizes and v.array.dtype.kind == "f"]
    if not weights:
        return None
    inputs = [v for v in behind if v.size in entering]
    is_plain = value.what in ("matmul", "call:dot", "call:matmul")
    for weight in weights:
        for h in inputs:
            if h is weight:
                continue
            biases = [] if is_plain else [v for v in behind if v.size == layer.out_features and v not in (h, weight)]
            for b in (None, *biases):
                if (found := _verified(value, layer, weight, h, b, m)) is not None:
                    return found
    return None


def _verified(value: Value, layer: Linear, weight: Value, h: Value, b: Value | None, m: int) -> Product | None:
    for w in layout.weights(weight.array, layer.out_features, layer.in_features):
        for x in layout.inputs(h.array, m, layer.in_features):
            if (w.bias is None) != (x.bias is None) or (x.bias is not None and w.attached.split()[0] != x.attached):
                continue
            with np.errstate(all="ignore"):
                z = _affine(x.array, w, b)
            for read in layout.samples(value.array, m, layer.out_features):
                if distance(read.array, z) <= tight(value.array):
                    return Product(value, weight, h, b, (read, w, x))
    return None


def _affine(x: Array, w: View, b: Value | None) -> Array:
    z = np.asarray(x, dtype=np.float64) @ np.asarray(w.array, dtype=np.float64).T
    if w.bias is not None:
        z = z + w.bias
    return z if b is None else z + b.array.reshape(-1)
