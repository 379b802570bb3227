"""State: what one search knows so far, which its stages read and add to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.convention import Convention
from compare.foreign.naming.named import Named, Names
from compare.foreign.naming.observations import Observations
from compare.foreign.naming.stack import Stack
from compare.foreign.naming.values import distance, multiple, tight
from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from compare.watching.observation import Observation

Array = NDArray[Any]


@dataclass
class State:
    """Names found for one step, and where to look for more. The network is that of the names: stages may change it."""

    seen: Observations
    found: Names
    convention: Convention
    given_target: Array | None = None
    lenient: bool = False  # the first layer's output may be wrong
    rates: list[float] | None = None  # see factors.rates
    precision: Precision = field(default_factory=lambda: Precision.of(np.float64))

    @property
    def network(self) -> Architecture:
        return self.found.network

    @property
    def tensors(self) -> dict[str, Named]:
        return self.found.tensors

    @property
    def m(self) -> int:
        """Samples."""
        return self.found.m

    @property
    def n(self) -> int:
        """Outputs."""
        return self.network.sizes[-1]

    @property
    def last(self) -> int:
        """The last layer's position."""
        return len(self.network.layers) - 1

    # --- tensors ---

    def entering(self, position: int) -> Named | None:
        """What entered a layer, where it is known."""
        return self.tensors.get("input" if position == 0 else f"{position - 1}.output")

    def product(self, position: int) -> Array | None:
        """The output of a linear layer, computed from what entered it; None where that or the weight is unknown."""
        entering, weight = self.entering(position), self.tensors.get(f"{position}.weight")
        bias = self.tensors.get(f"{position}.bias")
        return None if entering is None or weight is None else affine(entering.value, weight, bias)

    # --- moments ---

    def latest(self) -> int:
        """When the last of the forward tensors was bound."""
        outputs = [n.observation for name, n in self.tensors.items() if name.endswith(".output")]
        last = max(outputs, key=lambda o: o.time, default=self.tensors["input"].observation)
        return self.seen.before_statement(last) if last.line else last.time

    def forward_end(self) -> int:
        """Gradients are bound after it; arrays from no line have no order."""
        last = self.tensors.get(f"{self.last}.output")
        return self.seen.before_statement(last.observation) if last is not None and last.observation.line else -2

    # --- by value ---

    def equal(self, value: Array, since: int, scaled: bool = False, but: Observation | None = None) -> Named | None:
        """The first array bound after `since` that equals `value` up to layout (and, if `scaled`, a factor)."""
        for named in self.samples(value.shape).like(value, scaled):
            o, view = named.observation, named.view
            if o is but or (o.line and o.time < since) or not self.convention.allows(view, "samples"):
                continue
            scale = multiple(view.array, value) if scaled else 1.0
            if scale is not None and distance(view.array, scale * value) <= tight(o.array):
                return replace(named, scale=scale)
        return None

    def samples(self, shape: tuple[int, ...]) -> Stack:
        """Every array that can be read as samples of this shape, floating-point ones only."""

        def readings() -> Iterator[Named]:
            for o in self.seen.sized(*shape):
                if o.array.dtype.kind == "f":
                    yield from (Named(o, view) for view in layout.samples(o.array, *shape))

        return self.seen.stack(("samples", shape), readings)

    def nearest(self, value: Array, since: int, limit: float) -> Named | None:
        """The array bound after `since` that lies nearest to `value`, within `limit` of its size."""
        taken = {n.observation.time for n in self.tensors.values()}
        found = [
            Named(o, view, equal=False)
            for o in self.seen.early(self.seen.sized(*value.shape))
            if (o.time > since or not o.line) and o.array.dtype.kind == "f" and o.time not in taken
            for view in layout.samples(o.array, *value.shape)
        ]
        best = min(found, key=lambda named: distance(named.view.array, value), default=None)
        return best if best is not None and distance(best.view.array, value) < limit else None

    def is_parameter(self, named: Named) -> bool:
        """A weight, bias or one of its later values, not a gradient."""
        names, values = self._parameters
        if named.observation.line and named.observation.name in names:
            return True
        return bool(np.any(named.observation.array)) and _bytes(named.observation.array) in values

    @cached_property
    def _parameters(self) -> tuple[set[str], set[tuple[Any, ...]]]:
        """The names of weights and biases, and all their values. Asked for after the forward pass only."""
        held = [n.observation for name, n in self.tensors.items() if name.endswith((".weight", ".bias"))]
        return {o.name for o in held}, {_bytes(o.array) for h in held for o in (h, *self.seen.after(h))}


def affine(x: Array, weight: Named, bias: Named | None) -> Array:
    """x W^T + b, in float64."""
    y: Array = x @ weight.value.T + (0.0 if bias is None else bias.value)
    return y


def _bytes(a: Array) -> tuple[Any, ...]:
    return a.shape, a.dtype, a.tobytes()
