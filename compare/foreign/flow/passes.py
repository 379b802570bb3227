"""Passes: what one run forward through the network computed, from its input to its last layer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from compare.foreign import layout
from compare.foreign.flow.products import NUMBERS, Product, moves, product, root, turned
from compare.foreign.layout import View
from compare.foreign.naming.values import distance, tight
from compare.network.architecture import Architecture
from compare.operations.linear import Linear
from compare.operations.operation import Activation
from compare.watching.dataflow import FILLED, Array, Value, after, with_elements

SECONDS = 20.0  # after which no more passes are looked for
HORIZON = 4_000  # values among which the next layer's product is looked for
UPDATES = ("isub", "iadd", "sub", "add")
OUTPUTS = 400  # values after the last product among which the network's output is looked for


@dataclass(frozen=True)
class Seen:
    """A value read as a tensor; `equal` to what it should be, as far as that is known."""

    value: Value
    view: View
    equal: bool = True


@dataclass
class Pass:
    """Tensor -> what was seen of it; of a layer without a bias, none."""

    m: int
    tensors: dict[str, Seen] = field(default_factory=dict)

    @property
    def begin(self) -> Value:
        """The first layer's product."""
        return self.tensors["0.output"].value

    def key(self) -> tuple[float, ...]:
        """By which two passes with the same weights are known; a number is taken out of its array again and again.

        A weight that was updated by nothing is another one.
        """
        held = (root(s.value) for name, s in self.tensors.items() if name.endswith((".weight", ".bias")))
        return tuple(value.array.item() if value.size == 1 else value.time for value in held)


class Passes:
    """All passes of a program, found one after the other."""

    def __init__(
        self,
        network: Architecture,
        values: Sequence[Value],
        entered: frozenset[int] | None = None,
        gathered: frozenset[int] | None = None,
    ) -> None:
        self.network, self.values, self.entered, self.gathered = network, values, entered, gathered
        self.linear = [k for k, layer in enumerate(network.layers) if isinstance(layer, Linear)]
        self.trains = {k: entered is None and self._trains(k) for k in self.linear}
        self.until = time.monotonic() + SECONDS
        self.tried: dict[tuple[int, int], Product | None] = {}

    def _trains(self, k: int) -> bool:
        """Whether a weight of this layer's size is updated anywhere: one that is not is then no weight."""
        layer = self.network.layers[k]
        assert isinstance(layer, Linear)
        sizes = {layer.out_features * layer.in_features, layer.out_features * (layer.in_features + 1)}
        return any(v.size in sizes and v.array.dtype.kind == "f" and moves(v) == 2 for v in self.values)

    def __iter__(self) -> Iterator[Pass]:
        """Those whose activations are right; only where there is none, those with another one in their place.

        A weight moves; only where there is none that does, one that is never updated.
        """
        found = False
        for _ in (True, False):
            for each in self._all():
                if all(seen.equal for seen in each.tensors.values()):
                    found = True
                    yield each
            for each in self._all() if not found else ():
                found = True
                yield each
            if found or not any(self.trains.values()):
                return
            self.trains = dict.fromkeys(self.linear, False)
            self.tried.clear()

    def _all(self) -> Iterator[Pass]:
        """What leaves a layer of one pass begins no other, and is no other's first product."""
        inside: set[int] = set()
        for value in self.values:
            if time.monotonic() > self.until:
                return
            first = self._product(self.linear[0], value)
            if first is None or not inside.isdisjoint((value.time, root(first.entering).time)):
                continue
            if (found := self._followed(first)) is not None:
                if all(seen.equal for seen in found.tensors.values()):
                    inside |= {root(s.value).time for n, s in found.tensors.items() if n.endswith(".output")}
                yield found

    def _product(self, k: int, value: Value) -> Product | None:
        key = k, value.time
        if self.gathered is not None and value.time not in self.gathered and (value.size == 1 or value.what in FILLED):
            return None
        if key not in self.tried:
            layer = self.network.layers[k]
            assert isinstance(layer, Linear)
            found = product(value, layer, self.entered)
            self.tried[key] = None if found is not None and self.trains[k] and not moves(found.weight) else found
        return self.tried[key]

    def _followed(self, first: Product) -> Pass | None:
        made = Pass(first.m)
        made.tensors["input"] = Seen(first.entering, first.views[2])
        current = first
        for k, following in zip(self.linear, (*self.linear[1:], None), strict=True):
            z = self._linear(made, k, current)
            if following is None:
                self._outputs(made, k, z)
                return made
            step = self._next(made, z, k, following)
            if step is None:
                return None
            self._activations(made, k, following, z, step)
            current = step
        return None

    def _linear(self, made: Pass, k: int, found: Product) -> Seen:
        """Weight, bias and output of a linear layer."""
        weight, value, read = found.views[1], found.value, found.views[0]
        held = made.tensors[f"{k}.weight"] = _held(found.weight, weight)
        weight = held.view
        bias = _bias(found.bias, read.array.shape[1]) if found.bias else None
        z = Seen(value, read)
        if weight.bias is not None:
            made.tensors[f"{k}.bias"] = Seen(held.value, View(weight.bias, weight.layout))
        elif bias is None and (added := with_bias(value, read)) is not None:
            z, bias = added
        if bias is not None:
            made.tensors[f"{k}.bias"] = bias
        made.tensors[f"{k}.output"] = z
        return z

    def _next(self, made: Pass, z: Seen, k: int, following: int) -> Product | None:
        """The next layer's product of the activation; else the first of something that is computed as one is."""
        computed, other = {v.time for v in with_elements(z.value)}, None
        wanted = self._activated(z.view.array, k, following)
        start = z.value.time + 1
        for value in self.values[start : start + HORIZON]:
            if computed.isdisjoint(o.time for o in value.operands):
                continue
            computed.add(value.time)
            found = self._product(following, value)
            if found is None or found.m != made.m or not is_elementwise(found.entering, z.value):
                continue
            x = found.views[2].array
            if x.shape == wanted.shape and distance(x, wanted) <= tight(x):
                return found
            other = other or found
        return other

    def _activated(self, z: Array, k: int, following: int) -> Array:
        """What should enter the next linear layer."""
        a = np.asarray(z, dtype=np.float64)
        with np.errstate(all="ignore"):
            for layer in self.network.layers[k + 1 : following]:
                assert isinstance(layer, Activation)
                a = layer.apply(a)
        return a

    def _activations(self, made: Pass, k: int, following: int, z: Seen, step: Product) -> None:
        """Between two linear layers: by value, else what enters the next product."""
        x, until = z.view.array, step.entering.time
        computed = list(after(with_elements(z.value), until))
        for position in range(k + 1, following):
            layer = self.network.layers[position]
            assert isinstance(layer, Activation)
            is_last = position == following - 1
            seen = activated([step.entering], layer, x) if is_last else None
            seen = seen or activated(computed, layer, x)
            if seen is None and is_last:
                seen = Seen(step.entering, step.views[2], equal=False)
            if seen is None:
                return
            made.tensors[f"{position}.output"] = seen
            x = seen.view.array
        if distance(step.views[2].array, x) > tight(step.views[2].array):  # something was done to it
            made.tensors[f"{following - 1}.output"] = Seen(step.entering, step.views[2], equal=False)

    def _outputs(self, made: Pass, k: int, z: Seen) -> None:
        """The activations after the last linear layer, by value."""
        x = z.view.array
        computed = list(after(with_elements(z.value), z.value.time + OUTPUTS))
        for position in range(k + 1, len(self.network.layers)):
            layer = self.network.layers[position]
            assert isinstance(layer, Activation)
            seen = activated(computed, layer, x)
            if seen is None:
                return
            made.tensors[f"{position}.output"] = seen
            x = seen.view.array


def is_elementwise(value: Value, source: Value) -> bool:
    """Whether it is computed from the source through values of one size, as an activation is, and no parameter."""
    ends = {v.time for v in with_elements(source)}
    left, seen = [*with_elements(value), *value.operands], set[int]()
    while left:
        v = left.pop()
        if v.time in ends:
            return True
        if (v.time < source.time and v.size > 1) or (v.what in UPDATES and moves(v) == 2):
            continue
        if v.time not in seen and (v.size in (source.size, value.size) or (v.size == 1 and len(seen) < NUMBERS)):
            seen.add(v.time)
            left += v.operands
    return False


def _held(value: Value, view: View) -> Seen:
    """A weight as its own array has it, where that can be read so: the product may have used a view."""
    of, is_turned = root(value), turned(value)
    views = layout.weights(of.array, *view.array.shape)
    for read in sorted(views, key=lambda read: (read.layout == view.layout) == is_turned):
        if (read.bias is None) == (view.bias is None) and np.array_equal(read.array, view.array):
            return Seen(of, read)
    return Seen(value, view)


def _bias(value: Value, n: int) -> Seen:
    of = root(value)
    read = next(layout.biases(of.array, n), None)
    return Seen(of, read) if read is not None else Seen(value, View(value.array.reshape(-1), layout.ROWS))


def with_bias(value: Value, read: View) -> tuple[Seen, Seen] | None:
    """The sum of a product and a vector of its width, and that vector."""
    m, n = read.array.shape
    for user in value.users:
        if user.what not in ("add", "iadd", "call:add") or user.size != value.size:
            continue
        for other in user.operands:
            if other is value or other.size != n or is_made_of(other, value):  # |z| of one sample is no bias
                continue
            total = read.array + other.array.reshape(-1)
            for view in layout.samples(user.array, m, n):
                if view.layout == read.layout and distance(view.array, total) <= tight(user.array):
                    return Seen(user, view), _bias(other, n)
    return None


def is_made_of(value: Value, source: Value) -> bool:
    """Whether it is computed from the source."""
    left = [value]
    while left:
        v = left.pop()
        if v is source:
            return True
        left += [o for o in v.operands if o.time >= source.time]
    return False


def activated(computed: Sequence[Value], layer: Activation, x: Array) -> Seen | None:
    with np.errstate(all="ignore"):
        wanted = layer.apply(np.asarray(x, dtype=np.float64))
    for value in computed:
        if value.size == x.size and value.array.dtype.kind == "f":
            for view in layout.samples(value.array, *x.shape):
                if distance(view.array, wanted) <= tight(value.array):
                    return Seen(value, view)
    return None
