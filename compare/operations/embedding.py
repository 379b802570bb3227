"""Embedding: y = W[x], one row for each class number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Precision, summation
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import derivative, double, shared
from compare.operations.letters import Letters
from compare.operations.mistake import Formula, Guess, Unseen, wrong_factor
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Layer, Part, Scalar, Shape

PLAIN = {"padding_idx": None, "max_norm": None, "scale_grad_by_freq": False, "sparse": False}  # torch's, not checked


@dataclass(frozen=True)
class Embedding(Layer):
    """With torch's names: class numbers x (m,) or (m, t), W (num_embeddings, embedding_dim), y one axis more than x.

    Its output copies rows, so no difference is allowed. A row of its gradient is a sum over the places that hold its
    class number. `summation` (numbers/allowance.py) bounds it for every order: np.add.at, a loop over samples or over
    classes, a product with one-hot rows, whose other terms are exactly 0. k is the largest number of such places. x
    has no gradient.
    """

    kind = "embedding"
    scratch_type, torch_type = scratch.Embedding, nn.Embedding
    attributes = ("num_embeddings", "embedding_dim")
    letters: ClassVar = {"x": "input", "W": "weight", "y": "output", "dy": "grad_output"}
    parts: ClassVar = {
        "output": Part.of("y = W[x]", "x W"),
        "grad_weight": Part.of("dW[j] = sum of dy where x = j", "x dy"),
    }
    reshapes = True

    num_embeddings: int
    embedding_dim: int

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        for name, plain in PLAIN.items():
            if (found := getattr(layer, name, plain)) != plain:
                raise TypeError(f"{place}: got {name}={found!r}, which is not checked; expected {plain!r}")
        made = cls(layer.num_embeddings, layer.embedding_dim)
        if isinstance(layer, scratch.Layer):
            made.expect_parameters(layer, place)
        return made

    @property
    def classes(self) -> int:  # type: ignore[override]
        return self.num_embeddings

    def leaving(self, entering: Shape) -> Shape:
        return *entering, self.embedding_dim

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def output(self, x: Array, weight: Array, p: Precision) -> Expected:
        return Expected.itself(nn.functional.embedding(shared(x), shared(double(weight))).numpy())

    def grad_weight(self, x: Array, dy: Array, p: Precision) -> Expected:
        dy = double(dy)
        dw, scale = self._added_up(x, dy), self._added_up(x, np.abs(dy))
        most = int(np.bincount(x.ravel(), minlength=1).max())
        return Expected(dw, summation(scale, most, p, dw, lambda: self._in_turn(x, dy, p)))

    def _added_up(self, x: Array, dy: Array) -> Array:
        at = shared(x)
        return derivative(lambda w: nn.functional.embedding(at, w), np.zeros(self.parameters()["weight"]), dy)

    def _in_turn(self, x: Array, dy: Array, p: Precision) -> Iterator[Array]:
        """One place after the other, from either end."""
        rows, classes = dy.reshape(-1, self.embedding_dim).astype(p.dtype), x.ravel()
        for order in (slice(None), slice(None, None, -1)):
            total = np.zeros(self.parameters()["weight"], p.dtype)
            np.add.at(total, classes[order], rows[order])
            yield total.astype(np.float64)

    def written(self, e: Letters) -> Bounded:
        return _rows(e, e.x.value)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in W: it may be differenced at 0."""
        x, dy = _classes(e.x.value), e.dy.value
        return lambda w: float((dy * w[x]).sum()), np.zeros(e.W.shape)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        """It has no bias to draw."""
        drawn = {name: option for name, option in options.items() if name != "bias_init"}
        return scratch.Embedding(**asdict(self), **drawn)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        """Its weights are not initialised."""
        return nn.utils.skip_init(nn.Embedding, **asdict(self), dtype=dtype)

    def __str__(self) -> str:
        return f"Embedding {self.num_embeddings} -> {self.embedding_dim}"


# --- what people get wrong ---


def _classes(x: Array) -> Array:
    """Letters are floating-point numbers."""
    return x.astype(np.int64)


def _rows(e: Letters, x: Array) -> Bounded:
    at = _classes(x)
    return e.W.arranged(lambda a: a[at])


def _beside(e: Letters, by: int) -> Array:
    """The class before or after, the last one before the first, as negative indices have it."""
    beside: Array = (_classes(e.x.value) + by) % e.operation.num_embeddings
    return beside


def _one_hot(e: Letters, x: Array) -> Array:
    """A row for each place: (places, num_embeddings)."""
    return np.eye(e.operation.num_embeddings)[_classes(x).ravel()]


def _gradient(e: Letters, places: Array) -> Bounded:
    """dW where each place counts as its row (places, num_embeddings) says."""
    return Bounded.of(places.T, e.p) @ e.dy.reshape(len(places), -1)


def _once(last: bool) -> Formula:
    """Of each class only its first or its last place."""

    def guess(e: Letters) -> Bounded:
        hot = _one_hot(e, e.x.value)
        order = hot[::-1] if last else hot
        alone = order * (order.cumsum(axis=0) == 1)
        return _gradient(e, alone[::-1] if last else alone)

    return guess


def _shared_out(of: Callable[[Array], Array]) -> Formula:
    """The sum of each class divided by a number of its own."""
    return lambda e: e.ref / of(_one_hot(e, e.x.value))[:, np.newaxis]


def _padding(build: Callable[[Letters, int], Bounded]) -> Formula:
    """One class has only zeros, as torch's padding_idx would have it: the first, or the last."""

    def guesses(e: Letters) -> Iterator[Guess]:
        for j in (0, e.operation.num_embeddings - 1):
            yield build(e, j), str(j)

    return guesses


def _but(e: Letters, j: int) -> Bounded:
    return e.ref * (np.arange(len(e.W)) != j)[:, np.newaxis]


NO_REPEATS = Unseen("no class number repeats", lambda e: np.unique(e.x.value).size == e.x.value.size)
SQUARE = {"network": "Embedding(5, 5), Flatten, Linear(25, 4); CrossEntropyLoss"}
HOT = "np.eye(5, dtype=dy.dtype)[x]"
DW = f"np.einsum('ntj,ntd->jd', {HOT}, dy)"

# fmt: off
MISTAKES = {
    "output": [
        M("row-beside", lambda e: _rows(e, _beside(e, -1)), "row x - 1 is taken: class numbers begin at 0",
          wrong="W[x - 1]", right="W[x]"),
        M("row-beside", lambda e: _rows(e, _beside(e, 1)), "row x + 1 is taken: class numbers begin at 0",
          wrong="W[(x + 1) % 5]", right="W[x]"),
        M("weight-transposed", lambda e: e.W.T.arranged(lambda a: a[_classes(e.x.value)]),
          "columns of W are taken, not its rows",
          wrong="W.T[x]", right="W[x]", case=SQUARE),
        M("scaled-by-root", lambda e: _rows(e, e.x.value) * Bounded.of(np.sqrt(e.operation.embedding_dim), e.p),
          "it is scaled by the root of embedding_dim, as some transformers do",
          wrong="W[x] * np.sqrt(3)", right="W[x]"),
        M("padding-not-asked-for",
          _padding(lambda e, j: _rows(e, e.x.value) * (_classes(e.x.value) != j)[..., np.newaxis]),
          "class {} is taken for padding: its row is 0", listed=True,
          wrong="W[x] * (x != 0)[..., None]", right="W[x]"),
    ],
    "grad_weight": [
        M("repeats-not-added-up", _once(last=True),
          "where a class number repeats, its last place is written (=), not added (+=), to those before",
          unseen=NO_REPEATS,
          wrong="np.stack([dy[x == j][-1] if (x == j).any() else dy[0, 0] * 0 for j in range(5)])", right=DW),
        M("repeats-not-added-up", _once(last=False), "of a class number that repeats, only the first place counts",
          unseen=NO_REPEATS,
          wrong="np.stack([dy[x == j][0] if (x == j).any() else dy[0, 0] * 0 for j in range(5)])", right=DW),
        M("averaged-over-repeats", _shared_out(lambda hot: np.maximum(hot.sum(axis=0), 1)),
          "it is the mean over the places of each class number, where the sum should be", unseen=NO_REPEATS,
          wrong=f"{DW} / np.maximum({HOT}.sum(axis=(0, 1)), 1)[:, None]", right=DW),
        M("row-beside", lambda e: _gradient(e, _one_hot(e, _beside(e, -1))), "it goes to row x - 1",
          wrong=f"np.roll({DW}, -1, axis=0)", right=DW),
        M("row-beside", lambda e: _gradient(e, _one_hot(e, _beside(e, 1))), "it goes to row x + 1",
          wrong=f"np.roll({DW}, 1, axis=0)", right=DW),
        M("padding-not-asked-for", _padding(_but), "class {} is taken for padding: its gradient is 0", listed=True,
          wrong=f"{DW} * (np.arange(5) != 4)[:, None]", right=DW),
        M("wrong-gradient",
          wrong_factor(("grad_output", "grad_input", "output"), lambda e: e.dy,
                       lambda e, o: Bounded.of(_one_hot(e, e.x.value).T, e.p) @ o.reshape(e.x.value.size, -1)),
          "it sums {} in the place of dy", rank=1,
          wrong="np.einsum('ntj,ntd->jd', np.eye(5, dtype=dy.dtype)[x], y)", right=DW),
    ],
}
# fmt: on

Embedding.mistakes = MISTAKES
