"""Take: y = z, what an earlier layer gave, to go on with in another way, as a shortcut does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import double
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Earlier, Layer, Part, Scalar
from torch_ref import graph


@dataclass(frozen=True)
class Take(Layer):
    """It computes nothing, so no difference is allowed."""

    kind = "take"
    scratch_type, torch_type = scratch.Take, graph.Take
    parts: ClassVar = {"output": Part.of("y = x", "x"), "grad_input": Part.of("dx = dy", "dy")}
    attributes = ("source",)

    source: Earlier

    @property
    def instead(self) -> int:  # type: ignore[override]
        return self.source

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        return cls(layer.source)

    def output(self, x: Array, p: Precision) -> Expected:
        return Expected.itself(double(x))

    def grad_input(self, dy: Array, p: Precision) -> Expected:
        return Expected.itself(double(dy))

    def written(self, e: Letters) -> Bounded:
        return e.x * 1.0

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        dy = e.dy.value
        return lambda x: float((dy * x).sum()), np.zeros(dy.shape)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.Take(self.source)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return graph.Take(self.source)

    def __str__(self) -> str:
        return f"Take({self.source})"


# fmt: off
MISTAKES = {
    "output": [
        M("wrong-input", lambda e: e.tensor(f"{e.k - 1}.output") * 1.0,
          "it is what the layer before it gave, not what the shortcut begins with",
          wrong="tensor('2.output')", right="x"),
        M("sign", lambda e: -e.x, "y = -x", wrong="-x", right="x"),
    ],
    "grad_input": [
        M("gradient-shared-out", lambda e: e.dy * 0.5, "dx = dy / 2: it is shared out, but each way has all of it",
          wrong="dy / 2", right="dy"),
    ],
}
# fmt: on

Take.mistakes = MISTAKES
