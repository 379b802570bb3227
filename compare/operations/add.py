"""Add: y = x + z, z being what an earlier layer gave (a residual sum: He et al. 2016, eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import double
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Earlier, Layer, Part, Scalar
from torch_ref import graph


@dataclass(frozen=True)
class Add(Layer):
    """Of one shape. The sum is rounded once, by u |y|; the gradients are dy itself, so no difference is allowed."""

    kind = "add"
    scratch_type, torch_type = scratch.Add, graph.Add
    letters: ClassVar = {**Layer.letters, "z": "other", "dz": "grad_other"}
    parts: ClassVar = {
        "output": Part.of("y = x + z", "x z"),
        "grad_input": Part.of("dx = dy", "dy"),
        "grad_other": Part.of("dz = dy", "dy"),
    }
    attributes = ("source",)

    source: Earlier

    @property
    def also(self) -> int:  # type: ignore[override]
        return self.source

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        return cls(layer.source)

    def output(self, x: Array, z: Array, p: Precision) -> Expected:
        y = double(x) + double(z)
        return Expected(y, Allowance(p.u * np.abs(y) + p.subnormal))

    def grad_input(self, dy: Array, p: Precision) -> Expected:
        return Expected.itself(double(dy))

    def grad_other(self, dy: Array, p: Precision) -> Expected:
        return Expected.itself(double(dy))

    def written(self, e: Letters) -> Bounded:
        return e.x + e.z

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in x and in z: it may be differenced at 0."""
        dy = e.dy.value
        return lambda x: float((dy * x).sum()), np.zeros(dy.shape)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.Add(self.source)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return graph.Add(self.source)

    def __str__(self) -> str:
        return f"Add({self.source})"


# --- what people get wrong ---

# fmt: off
MISTAKES = {
    "output": [
        M("residual-missing", lambda e: e.x * 1.0, "y = x: what the shortcut gives is not added",
          wrong="x", right="x + z"),
        M("residual-only", lambda e: e.z * 1.0, "y = z: what the block gives is not added", wrong="z", right="x + z"),
        M("residual-subtracted", lambda e: e.x - e.z, "y = x - z: it is subtracted", wrong="x - z", right="x + z"),
        M("residual-subtracted", lambda e: e.z - e.x, "y = z - x: the block's output is subtracted",
          wrong="z - x", right="x + z"),
        M("residual-multiplied", lambda e: e.x * e.z, "y = x z: a product, not a sum", wrong="x * z", right="x + z"),
        M("residual-averaged", lambda e: (e.x + e.z) * 0.5, "y = (x + z) / 2: a mean, not a sum",
          wrong="(x + z) / 2", right="x + z"),
        M("residual-twice", lambda e: e.x + e.z + e.z, "y = x + 2 z: the shortcut is added twice",
          wrong="x + z + z", right="x + z"),
    ],
    "grad_input": [
        M("gradient-shared-out", lambda e: e.dy * 0.5, "dx = dy / 2: it is shared out, but each summand has all of it",
          wrong="dy / 2", right="dy"),
        M("upstream-gradient-missing", lambda e: e.dy * 0.0 + 1.0, "dx = 1: dy is left out",
          wrong="np.ones_like(dy)", right="dy"),
        M("wrong-gradient", lambda e: e.dy * e.z, "dx = dy z, as of a product", wrong="dy * z", right="dy"),
    ],
    "grad_other": [
        M("gradient-shared-out", lambda e: e.dy * 0.5, "dz = dy / 2: it is shared out, but each summand has all of it",
          wrong="dy / 2", right="dy"),
        M("wrong-gradient", lambda e: e.dy * e.x, "dz = dy x, as of a product", wrong="dy * x", right="dy"),
        M("sign", lambda e: -e.dy, "dz = -dy", wrong="-dy", right="dy"),
    ],
}
# fmt: on

Add.mistakes = MISTAKES
