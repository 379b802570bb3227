"""Products: the values that are an input times a weight, and what they are computed from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from compare.foreign import layout
from compare.foreign.layout import View
from compare.foreign.naming.values import distance, tight
from compare.operations.linear import Linear
from compare.watching.dataflow import FILLED, Array, Value, with_elements

# Of the same numbers in the same or another order: what holds them is the same tensor.
VIEWS = frozenset(
    {"attr:T", "getitem", "", "bind", "attr:values", "attr:data", "attr:A", "attr:flat", "attr:real", "gather"}
    | {
        f"call:{name}"
        for name in (
            *("transpose", "reshape", "asarray", "array", "asanyarray", "astype", "copy", "ravel", "flatten"),
            *("atleast_2d", "expand_dims", "matrix", "mat", "view", "deepcopy", "float64", "float32", "to_numpy"),
            *("squeeze", "list", "tuple", "ascontiguousarray", "swapaxes", "tolist", "numpy", "detach"),
        )
    }
)
TURNS = ("attr:T", "call:transpose", "call:swapaxes")
FACTORS = ("matmul", "call:dot", "call:matmul")  # whose operands are the factors, in order
MULTIPLIED = (  # operations that give products; of the first, the operands are the factors
    *("matmul", "call:dot", "call:matmul", "call:inner", "call:einsum", "call:tensordot", "call:vdot", "call:sum"),
    *("call:multi_dot", "mul", "call:multiply", "call:reshape", "call:squeeze"),
)
ROOTS, CLIPS = ("norm", "sqrt", "pow"), ("clip", "minimum", "maximum", "fmin", "fmax", "where")
ADDED = ("add", "iadd", "call:add", "sub", "isub")  # a loss or a gradient, and a penalty
SCALED = ("mul", "imul", "truediv", "itruediv", "multiply", "divide")
IN_PLACE = ("isub", "iadd", "imul", "itruediv", "setitem", "changed", "gather")
NEAR = 40  # values looked at behind one
NUMBERS = 4000  # behind one that was filled
LISTS = 3  # of lists in lists
CHOICES = 8  # of weights, inputs and biases that are tried for one product, the last ones before it
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
    """What a view, a copy or another order of its elements is a view of; of one number, as long as it is the same."""
    while (of := _viewed(value)) is not None:
        value = of
    return value


def _viewed(value: Value) -> Value | None:
    if value.what not in VIEWS or value.is_changed or not value.operands or value.operands[0].size != value.size:
        return None
    of = value.operands[0]
    is_stored_into = value.size == 1 and of.array.item() != value.array.item()  # b[0], after b[0] = v
    return None if is_stored_into else of


def alike(value: Value) -> list[Value]:
    """It, its elements, and the same part taken of the same array again, as y[i] in several places."""
    again = value.operands[0].users if value.what == "getitem" and value.operands else []
    same = [v for v in again if v.what == "getitem" and np.array_equal(v.array, value.array)]
    return [o for v in (value, *same) for o in with_elements(v)]


def called(values: Iterable[Value]) -> set[str]:
    """By what they were made, operator or function."""
    return {v.what.removeprefix("call:") for v in values}


def is_bent(values: Iterable[Value]) -> bool:
    """Whether what they make may be another than linear in what it is made of: there is a root, or a clip."""
    return not called(values).isdisjoint({*ROOTS, *CLIPS})


def is_of_numbers(value: Value) -> bool:
    """Whether it is computed from numbers alone: a rate, and no gradient of one number."""
    left, seen = [value], set[int]()
    while left:
        v = left.pop()
        if v.size > 1 and v.array.dtype.kind == "f":
            return False
        left += [o for o in v.operands if o.time not in seen]
        seen.update(o.time for o in v.operands)
    return True


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
        if filled and v.size == 1:
            found |= {u.time: u for u in _holders(v, value.time)}
    return list(found.values())


def _holders(number: Value, until: int) -> list[Value]:
    """Lists that held a number at that time, and lists of these: the last of them."""
    found: dict[int, Value] = {}
    level = [number]
    for _ in range(LISTS):
        held = [u for v in level for u in v.users if u.time < until and u.what in ("list", "changed", "gather")]
        level = sorted({u.time: u for u in held if u.time not in found}.values(), key=lambda u: u.time)[-CHOICES:]
        found |= {u.time: u for u in level}
    return list(found.values())


def product(value: Value, layer: Linear, entered: frozenset[int] | None = None) -> Product | None:
    """The value as this layer's product; None where it is none. `entered`: what is computed from the input, if known.

    Of what could be the weight and the input, the weight is what is written over, or moves.
    """
    if not value.operands or not value.size or value.size % layer.out_features or value.array.dtype.kind != "f":
        return None
    if value.what not in (*MULTIPLIED, *FILLED) and value.size > 1:
        return None
    sizes = {layer.out_features * layer.in_features, layer.out_features * (layer.in_features + 1)}
    m, behind = value.size // layer.out_features, value.operands if value.what in MULTIPLIED[:3] else near(value)
    turned = {v.operands[0].time: v for v in behind if v.what == "neg" and v.operands}  # as in e^(-x w)
    behind = [*behind, *(v.operands[0] for v in turned.values())]
    entering = {m * layer.in_features, m * (layer.in_features + 1)}
    weights = _latest([v for v in behind if v.size in sizes and v.array.dtype.kind == "f"])
    inputs = _latest([v for v in behind if v.size in entering])
    pairs = [(w, h) for w in weights for h in inputs if not _is_part(h, w)]
    if entered is None:
        pairs = [(w, h) for w, h in pairs if moves(w) >= moves(h)]
    else:
        pairs = [(w, h) for w, h in pairs if h.time in entered and w.time not in entered]
    biases = [v for v in behind if v.size == layer.out_features] if value.what not in MULTIPLIED else []
    biases = _latest(biases)
    biases.sort(key=lambda b: (b.what not in FILLED, -moves(b)))
    if value.what not in MULTIPLIED:  # filled with numbers, or one number: any sum may be one of these by chance
        pairs = [(w, h) for w, h in pairs if moves(w) and np.any(w.array) and np.any(h.array)]
        if not any(v.what == "mul" or v.what in MULTIPLIED for v in behind):
            return None
        if value.what not in FILLED and any(v.what in MULTIPLIED for v in value.operands):
            return None
    for weight, h in sorted(pairs, key=lambda pair: moves(pair[1]) - moves(pair[0])):
        for b in (None, *(b for b in biases if b is not h and b is not weight)):
            sign = -1 if (weight.time in turned) != (h.time in turned) else 1
            if (found := _verified(value, layer, weight, h, b, m, sign)) is not None:
                return found
    return None


def _latest(values: list[Value]) -> list[Value]:
    """Those that move, and the last ones."""
    return sorted(values, key=lambda v: (moves(v), v.time))[-CHOICES:]


def _is_part(one: Value, other: Value) -> bool:
    return one is other or one in other.operands or other in one.operands


def moves(value: Value) -> int:
    """2 for what is written over in its place, or bound anew to its name; 1 for what something is taken from.

    It, or what it is a view or a copy of.
    """
    if value.moves is None:
        own = max((_moved(value, user) for user in value.users), default=0)
        of = _viewed(value)
        value.moves = own if of is None else max(own, moves(of))
    return value.moves


def _moved(value: Value, user: Value) -> int:
    if user.size != value.size or user.operands[0] is not value:
        return 0
    if user.is_changed or user.what in IN_PLACE:
        return 2
    names = {bound.name for bound in value.names}
    if user.what in ("sub", "add", "mul", "truediv") and any(bound.name in names for bound in user.names):
        return 2
    return int(user.what in ("sub", "add") and len(user.operands) > 1)


def _verified(
    value: Value, layer: Linear, weight: Value, h: Value, b: Value | None, m: int, sign: int
) -> Product | None:
    for w in _as_multiplied(value, weight, layout.weights(weight.array, layer.out_features, layer.in_features)):
        for x in layout.inputs(h.array, m, layer.in_features):
            if (w.bias is None) != (x.bias is None) or (x.bias is not None and w.attached.split()[0] != x.attached):
                continue
            with np.errstate(all="ignore"):
                z = _affine(x.array, w, b)
            for read in layout.samples(value.array, m, layer.out_features):
                if distance(sign * read.array, z) <= tight(value.array):
                    return Product(value, weight, h, b, (replace(read, array=sign * read.array), w, x))
    return None


def _as_multiplied(value: Value, weight: Value, views: Iterable[View]) -> list[View]:
    """First those that fit the place of the weight in a product: of a square one full of zeros all give the same."""
    is_first = value.what in FACTORS and bool(value.operands) and value.operands[0] is weight
    return sorted(views, key=lambda view: (view.layout == layout.OUT_IN) != is_first)


def turned(value: Value) -> bool:
    """Whether it is its root transposed."""
    turns = 0
    while (of := _viewed(value)) is not None:
        turns += value.what in TURNS
        value = of
    return turns % 2 == 1


def _affine(x: Array, w: View, b: Value | None) -> Array:
    z = np.asarray(x, dtype=np.float64) @ np.asarray(w.array, dtype=np.float64).T
    if w.bias is not None:
        z = z + w.bias
    return z if b is None else z + b.array.reshape(-1)
