"""Sequential: layers one after the other, and the names of their parameters as torch's `state_dict` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import numpy as np

from scratch.layers import Array, Layer, LayerError


class Sequential(Layer):
    """y = f_n(... f_1(x)); itself a layer, with `params` and `grads` named "0.weight", "0.bias", "2.weight", ..."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)
        if not layers:
            raise ValueError(f"{type(self).__name__}: got no layers, expected at least one")

    def forward(self, x: Array) -> Array:
        for i, layer in enumerate(self.layers):
            x = self._at(i, layer.forward, x)
        return x

    def backward(self, dy: Array) -> Array:
        """The chain rule: each layer turns the gradient of its output into that of its input, last layer first."""
        for i, layer in reversed(list(enumerate(self.layers))):
            dy = self._at(i, layer.backward, dy)
        return dy

    def _at(self, i: int, step: Callable[..., Array], *a: Array) -> Array:
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

    @property
    def streams(self) -> dict[str, np.random.Generator]:
        """The layers' own, "3.rng"."""
        return {f"{i}.{name}": rng for i, layer in enumerate(self.layers) for name, rng in layer.streams.items()}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        return ", ".join(map(str, self.layers))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"
