"""LastStep: y = x at the last time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

import scratch
import torch_ref.recurrent
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import double
from compare.operations.letters import Letters
from compare.operations.mistake import Formula, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape


@dataclass(frozen=True)
class LastStep(Layer):
    """x (m, t, n) -> y (m, n). It computes nothing, so no difference is allowed."""

    kind = "last_step"
    scratch_type, torch_type = scratch.LastStep, torch_ref.recurrent.LastStep
    parts: ClassVar = {
        "output": Part.of("y = x_t, t the last time step", "x"),
        "grad_input": Part.of("dx = dy at the last time step, else 0", "x dy"),
    }
    entering = (ANY, ANY, ANY)
    unseen = Unseen("there is one time step", lambda e: e.x.shape[1] == 1)

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        return cls()

    def leaving(self, entering: Shape) -> Shape:
        return entering[0], entering[2]

    def output(self, x: Array, p: Precision) -> Expected:
        return Expected.itself(double(x)[:, -1])

    def grad_input(self, x: Array, dy: Array, p: Precision) -> Expected:
        """x gives the shape alone."""
        return Expected.itself(_at(x.shape, -1, double(dy)))

    def written(self, e: Letters) -> Bounded:
        return e.x[:, -1]

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in x: it may be differenced at 0."""
        dy = e.dy.value
        return lambda x: float((dy * x[:, -1]).sum()), np.zeros(e.x.shape)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.LastStep()

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return torch_ref.recurrent.LastStep()


def _at(shape: Shape, t: int | slice, dy: Array) -> Array:
    dx = np.zeros(shape)
    dx[:, t] = dy
    return dx


# --- what people get wrong ---


def _back(t: int | slice) -> Formula:
    return lambda e: e.dy.arranged(lambda a: _at(e.x.shape, t, a[:, np.newaxis] if isinstance(t, slice) else a))


DX = "np.concatenate([np.zeros_like(x[:, 1:]), dy[:, None]], axis=1)"

# fmt: off
MISTAKES = {
    "output": [
        M("first-step", lambda e: e.x[:, 0], "it is the first time step, not the last one",
          wrong="x[:, 0]", right="x[:, -1]"),
        M("mean-over-time", lambda e: e.x.mean(axis=1), "it is the mean over time",
          wrong="x.mean(axis=1)", right="x[:, -1]"),
        M("step-before", lambda e: e.x[:, -2], "it is the time step before the last one",
          wrong="x[:, -2]", right="x[:, -1]"),
    ],
    "grad_input": [
        M("first-step", _back(0), "dy goes to the first time step, not to the last one",
          wrong="np.concatenate([dy[:, None], np.zeros_like(x[:, 1:])], axis=1)", right=DX),
        M("every-step", _back(slice(None)), "dy goes to every time step, not to the last one alone",
          wrong="np.repeat(dy[:, None], x.shape[1], axis=1)", right=DX),
        M("step-before", _back(-2), "dy goes to the time step before the last one",
          wrong="np.concatenate([np.zeros_like(x[:, 2:]), dy[:, None], np.zeros_like(x[:, :1])], axis=1)", right=DX),
    ],
}
# fmt: on

LastStep.mistakes = MISTAKES
