"""Sequential: layers one after the other, and the names of their parameters as torch's `state_dict` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from scratch.layers import Array, Layer, LayerError


class Sequential(Layer):
    """y = f_n(... f_1(x)); itself a layer, with `params` and `grads` named "0.weight", "0.bias", "2.weight", ...

    An `Add` takes what an earlier layer gave as well, a `Take` in its place. ValueError where that is no earlier layer,
    or where what a layer gives is taken by none.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)
        if not layers:
            raise ValueError("Sequential: got no layers, expected at least one")
        self._expect_taken()

    def forward(self, x: Array) -> Array:
        given = {-1: x}
        for i, layer in enumerate(self.layers):
            y = self._at(i, layer.forward, *(given[j] for j in self.sources(i)))
            given = {j: a for j, a in given.items() if j in self._again} | {i: y}
        return y

    def backward(self, dy: Array) -> Array:
        """The chain rule: each layer turns the gradient of its output into that of its input, last layer first.

        What several layers took gets the sum of their gradients.
        """
        returned = {len(self.layers) - 1: dy}
        for i, layer in reversed(list(enumerate(self.layers))):
            dx = self._at(i, layer.backward, returned.pop(i))
            for j, each in zip(self.sources(i), dx if isinstance(dx, tuple) else (dx,), strict=True):
                returned[j] = returned[j] + each if j in returned else each
        return returned[-1]

    def sources(self, i: int) -> tuple[int, ...]:
        """The layers whose outputs layer i takes; -1 is the input."""
        layer = self.layers[i]
        first = i - 1 if layer.instead is None else layer.instead
        return (first,) if layer.also is None else (first, layer.also)

    @property
    def _again(self) -> set[int]:
        """The layers whose outputs are taken later than by the next one."""
        return {j for layer in self.layers for j in (layer.instead, layer.also) if j is not None}

    def _expect_taken(self) -> None:
        taken = [self.sources(i) for i in range(len(self.layers))]
        for i, sources in enumerate(taken):
            if not all(-1 <= j < i for j in sources):
                raise ValueError(f"layer {i} ({self.layers[i]!r}): expected an earlier layer, -1 to {i - 1}")
            if i < len(taken) - 1 and not any(i in later for later in taken):
                raise ValueError(f"layer {i} ({self.layers[i]!r}): no layer takes what it gives")

    def _at(self, i: int, step: Callable[..., Any], *a: Array) -> Any:
        try:
            return step(*a)
        except LayerError as error:
            raise LayerError(f"layer {i} ({self.layers[i]}): {error}") from None

    def train(self, mode: bool = True) -> Self:
        """All layers into training, or out of it."""
        for layer in self.layers:
            layer.train(mode)
        return super().train(mode)

    @property
    def takes_class_numbers(self) -> bool:  # type: ignore[override]
        """Whether its first layer does."""
        return self.layers[0].takes_class_numbers

    @property
    def params(self) -> dict[str, Array]:  # type: ignore[override]
        """The layers' own arrays, not copies: an optimiser writes into them."""
        return {f"{i}.{name}": p for i, layer in enumerate(self.layers) for name, p in layer.params.items()}

    @property
    def grads(self) -> dict[str, Array]:  # type: ignore[override]
        """The gradients of the last `backward`, under the names of the parameters."""
        return {f"{i}.{name}": g for i, layer in enumerate(self.layers) for name, g in layer.grads.items()}

    @property
    def buffers(self) -> dict[str, Array]:
        """The layers' own, "1.running_mean"."""
        return {f"{i}.{name}": b for i, layer in enumerate(self.layers) for name, b in layer.buffers.items()}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        return ", ".join(map(str, self.layers))

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"
