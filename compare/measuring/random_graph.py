"""RandomGraph: a correct network of any layers, with residual sums, drawn from a seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import scratch
from compare.measuring.random_case import ENDINGS, HIDDEN, RandomCase, optimizer_of, target_of
from compare.network.weights import in_order
from scratch import initializers

IMAGES, SEQUENCES, WORDS = "images", "sequences", "words"
BEGINNINGS = (None, None, None, IMAGES, SEQUENCES, WORDS)
MOST = 12  # of a size
VOCABULARY = 7


def random_graph(seed: int, dtype: DTypeLike) -> RandomCase:
    """Convolutions, a recurrence or an embedding first, or rows alone; then linear layers with normalisations,
    activations, dropout and residual sums between them, in any order that fits."""
    drawn = _Drawn(np.random.default_rng(seed), dtype)
    ending, loss_type = ENDINGS[drawn.below(len(ENDINGS))]
    m, scale = drawn.below(8, 6), float(10 ** drawn.rng.uniform(-2, 2))
    x = drawn.begun(BEGINNINGS[drawn.below(len(BEGINNINGS))], m)
    drawn.hidden(drawn.below(4))
    n = drawn.below(5, 2)
    network = in_order(*drawn.layers, drawn.linear(drawn.columns, n), *([ending()] if ending else []))
    loss = loss_type(("mean", "sum")[drawn.below(2)])
    x = x if x.dtype.kind == "i" else (x * scale).astype(dtype)
    return RandomCase(
        seed, network, loss, optimizer_of(drawn.rng, network), x, target_of(drawn.rng, loss_type, m, n, dtype), scale
    )


class _Drawn:
    """The layers so far, the columns that leave the last, and which earlier outputs are rows of how many columns."""

    def __init__(self, rng: np.random.Generator, dtype: DTypeLike) -> None:
        self.rng, self.dtype = rng, dtype
        self.layers: list[scratch.Layer] = []
        self.columns = 0
        self.rows: dict[int, int] = {}

    def below(self, most: int, least: int = 0) -> int:
        return int(self.rng.integers(least, least + most))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    @property
    def options(self) -> dict[str, Any]:
        return {"rng": self.rng, "dtype": self.dtype}

    def linear(self, fan_in: int, fan_out: int) -> scratch.Layer:
        return scratch.Linear(fan_in, fan_out, bias=self.chance(0.9), **self.options)

    def begun(self, kind: str | None, m: int) -> Any:
        """The input of m samples, and the layers up to where they are rows."""
        if kind == IMAGES:
            return self._images(m)
        if kind in (SEQUENCES, WORDS):
            return self._sequences(m, kind == WORDS)
        self.columns = self.below(MOST, 1)
        self._now_rows(-1)
        return self.rng.standard_normal((m, self.columns))

    def hidden(self, blocks: int) -> None:
        for _ in range(blocks):
            n = self.below(MOST, 1)
            self._add(self.linear(self.columns, n), n)
            if self.chance(0.3):
                kind = (scratch.LayerNorm, scratch.BatchNorm1d)[self.below(2)]
                self._add(kind(n, weight_init=initializers.normal(1.0), **self.options), n)
            if self.chance(0.8):
                self._add(HIDDEN[self.below(len(HIDDEN))](), n)
            if self.chance(0.2):
                self._add(scratch.Dropout(0.3, rng=self.rng), n)
            earlier = [k for k, columns in self.rows.items() if columns == n and k < len(self.layers) - 1]
            if earlier and self.chance(0.7):
                self._add(scratch.Add(earlier[self.below(len(earlier))]), n)

    def _images(self, m: int) -> Any:
        channels, down, across = self.below(3, 1), self.below(4, 12), self.below(4, 12)
        x = self.rng.standard_normal((m, channels, down, across))
        for _ in range(self.below(2, 1)):
            filters, size = self.below(3, 1), self.below(3, 1)
            made = scratch.Conv2d(channels, filters, size, self.below(2, 1), self.below(2), **self.options)
            self.layers.append(made)
            if self.chance(0.5):
                self.layers.append(scratch.BatchNorm2d(filters, **self.options))
            if self.chance(0.8):
                self.layers.append((scratch.ReLU, scratch.Tanh, scratch.Sigmoid)[self.below(3)]())
            channels = filters
        if self.chance(0.6):
            self.layers.append((scratch.MaxPool2d, scratch.AvgPool2d)[self.below(2)](2, 1))
        return self._flattened(x)

    def _sequences(self, m: int, of_words: bool) -> Any:
        steps, n, hidden = self.below(5, 1), self.below(6, 1), self.below(6, 1)
        x: Any = self.rng.standard_normal((m, steps, n))
        if of_words:
            self.layers.append(scratch.Embedding(VOCABULARY, n, **self.options))
            x = self.rng.integers(0, VOCABULARY, (m, steps))
        if not of_words or self.chance(0.6):
            kind = (scratch.RNN, scratch.LSTM, scratch.GRU)[self.below(3)]
            self.layers.append(kind(n, hidden, batch_first=True, **self.options))
            if self.chance(0.5):
                self.layers.append(scratch.LastStep())
                self.columns = hidden
                self._now_rows(len(self.layers) - 1)
                return x
        return self._flattened(x)

    def _flattened(self, x: Any) -> Any:
        y = x if x.dtype.kind == "i" else x.astype(self.dtype)
        for layer in self.layers:
            y = layer.forward(y)
        self.columns = int(np.prod(y.shape[1:]))
        self._add(scratch.Flatten(), self.columns)
        return x

    def _add(self, layer: scratch.Layer, columns: int) -> None:
        self.layers.append(layer)
        self.columns = columns
        self._now_rows(len(self.layers) - 1)

    def _now_rows(self, k: int) -> None:
        self.rows[k] = self.columns
