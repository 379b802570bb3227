"""Embedding: one row of numbers for each class number, such as a word's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from scratch.initializers import Initializer, RandomSource, normal
from scratch.layers import Array, Layer, LayerError, expect

standard = normal()  # torch's


class Embedding(Layer):
    """y = W[x];  class numbers x (m,) or (m, t), W (num_embeddings, embedding_dim) -> y (*x.shape, embedding_dim).

    It is the linear layer without a bias whose input are one-hot rows, without their zeros. Weights are drawn by
    `weight_init`, torch's default: N(0, 1). LayerError for an x that is no whole number from 0 to num_embeddings - 1.

    Bengio, Ducharme, Vincent and Jauvin, A Neural Probabilistic Language Model, 2003, section 2 (the matrix C).
    """

    takes_class_numbers = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        rng: RandomSource,
        weight_init: Initializer = standard,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(num_embeddings, embedding_dim) < 1:
            raise ValueError(f"Embedding {num_embeddings} -> {embedding_dim}: both sizes must be at least 1")
        self.num_embeddings, self.embedding_dim, self.dtype = num_embeddings, embedding_dim, np.dtype(dtype)
        shape = (num_embeddings, embedding_dim)
        self.params["weight"] = weight_init(rng, shape, shape).astype(dtype)

    def forward(self, x: NDArray[Any]) -> Array:
        self._expect_class_numbers(x)
        self._kept = x
        y: Array = self.params["weight"][x]
        return y

    def backward(self, dy: Array) -> Any:
        """dW[j] = sum of dy over all places where x = j. Returns None: a class number has no gradient."""
        x: Any = self.kept
        expect(dy, (*x.shape, self.embedding_dim), self.dtype)
        self.grads["weight"] = np.zeros_like(self.params["weight"])
        np.add.at(self.grads["weight"], x, dy)

    def _expect_class_numbers(self, x: NDArray[Any]) -> None:
        if x.ndim not in (1, 2) or x.dtype.kind not in "iu":
            raise LayerError(f"got {x.dtype} {x.shape}, expected class numbers (m,) or (m, t)")
        if x.size and not 0 <= x.min() <= x.max() < self.num_embeddings:
            raise LayerError(
                f"got class numbers from {x.min()} to {x.max()}, expected them from 0 to {self.num_embeddings - 1}"
            )

    def __str__(self) -> str:
        return f"Embedding {self.num_embeddings} -> {self.embedding_dim}"

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim}, dtype={self.dtype})"
