"""Graph: a Sequential in which a layer may take what an earlier one gave, as around a residual block."""

from __future__ import annotations

from typing import Any

from scratch.layers import Array, Layer
from scratch.network import Sequential


class Graph(Sequential):
    """Each layer takes what the one before it gave, an `Add` what an earlier one gave as well, a `Take` that alone.

    ValueError where that is no earlier layer, or where no layer takes what one gives.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        taken = [self.sources(i) for i in range(len(layers))]
        for i, sources in enumerate(taken):
            if not all(-1 <= j < i for j in sources):
                raise ValueError(f"layer {i} ({layers[i]!r}): expected an earlier layer, -1 to {i - 1}")
            if i < len(taken) - 1 and not any(i in later for later in taken):
                raise ValueError(f"layer {i} ({layers[i]!r}): no layer takes what it gives")

    def sources(self, i: int) -> tuple[int, ...]:
        """The layers whose outputs layer i takes; -1 is the input."""
        layer = self.layers[i]
        first = i - 1 if layer.instead is None else layer.instead
        return (first,) if layer.also is None else (first, layer.also)

    def forward(self, x: Array) -> Array:
        given = {-1: x}
        for i, layer in enumerate(self.layers):
            given[i] = self._at(i, layer.forward, *(given[j] for j in self.sources(i)))
        return given[i]

    def backward(self, dy: Array) -> Array:
        """The chain rule, last layer first: what several layers took gets the sum of their gradients."""
        returned = {len(self.layers) - 1: dy}
        for i, layer in reversed(list(enumerate(self.layers))):
            dx: Any = self._at(i, layer.backward, returned.pop(i))
            for j, each in zip(self.sources(i), dx if isinstance(dx, tuple) else (dx,), strict=True):
                returned[j] = returned[j] + each if j in returned else each
        return returned[-1]
