"""Flatten: y = x, each sample as one row."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from compare.operations.mistake import Formula, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape


@dataclass(frozen=True)
class Flatten(Layer):
    """In C order, as torch's with start_dim 1 and end_dim -1. It computes nothing, so no difference is allowed."""

    kind = "flatten"
    scratch_type, torch_type = scratch.Flatten, nn.Flatten
    parts: ClassVar = {
        "output": Part.of("y = x, each sample as one row", "x"),
        "grad_input": Part.of("dx = dy, in the shape of x", "x dy"),
    }
    reshapes = True
    unseen = Unseen("a sample has only one axis", lambda e: max(e.x.shape[1:]) == math.prod(e.x.shape[1:]))

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        if (ends := (getattr(layer, "start_dim", 1), getattr(layer, "end_dim", -1))) != (1, -1):
            raise TypeError(f"{place}: got start_dim={ends[0]}, end_dim={ends[1]}, which is not checked")
        return cls()

    def leaving(self, entering: Shape) -> Shape:
        sizes = entering[1:]
        return entering[0], ANY if ANY in sizes else math.prod(sizes)

    def output(self, x: Array, p: Precision) -> Expected:
        return Expected.itself(double(x).reshape(len(x), -1))

    def grad_input(self, x: Array, dy: Array, p: Precision) -> Expected:
        return Expected.itself(double(dy).reshape(x.shape))

    def written(self, e: Letters) -> Bounded:
        return e.x.arranged(lambda a: np.stack([sample.ravel() for sample in a]))

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, which is linear in x: it may be differenced at 0."""
        dy = e.dy.value
        return lambda x: float((dy * x.reshape(dy.shape)).sum()), np.zeros(e.x.shape)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.Flatten()

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return nn.Flatten()


# --- what people get wrong ---


def _image(build: Callable[[Array], Array]) -> Formula:
    """Each sample's axes in another order."""
    return lambda e: e.x.arranged(lambda a: build(a).reshape(len(a), -1))


def _back(e: Letters, order: tuple[int, ...]) -> Bounded:
    """dy taken for images whose axes are in this order."""
    shape = [e.x.shape[axis] for axis in order]
    return e.dy.arranged(lambda a: a.reshape(shape).transpose(np.argsort(order)))


# fmt: off
MISTAKES = {
    "output": [
        M("flattened-in-column-order", _image(lambda a: a.transpose(0, *range(a.ndim - 1, 0, -1))),
          "each sample is flattened in Fortran's order, its first axis fastest",
          wrong="x.reshape(len(x), -1, order='F')", right="x.reshape(len(x), -1)"),
        M("channels-last", _image(lambda a: np.moveaxis(a, 1, -1)),
          "the channels are the last axis, not the first: another order of the elements",
          wrong="x.transpose(0, 2, 3, 1).reshape(len(x), -1)", right="x.reshape(len(x), -1)"),
        M("samples-mixed", lambda e: e.x.arranged(lambda a: a.reshape(-1, len(a)).T),
          "x is reshaped to columns and transposed: samples are mixed",
          wrong="x.reshape(-1, len(x)).T", right="x.reshape(len(x), -1)"),
        M("rows-and-columns-swapped", _image(lambda a: a.swapaxes(-1, -2)),
          "height and width are swapped before it is flattened",
          wrong="x.transpose(0, 1, 3, 2).reshape(len(x), -1)", right="x.reshape(len(x), -1)"),
    ],
    "grad_input": [
        M("not-reshaped", lambda e: e.dy * 1.0, "dx = dy: it has the shape of y, not that of x",
          wrong="dy", right="dy.reshape(x.shape)"),
        M("flattened-in-column-order", lambda e: _back(e, (0, *range(len(e.x.shape) - 1, 0, -1))),
          "each sample is taken for one in Fortran's order, its first axis fastest",
          wrong="dy.reshape(x.shape, order='F')", right="dy.reshape(x.shape)"),
        M("channels-last", lambda e: _back(e, (0, *range(2, len(e.x.shape)), 1)),
          "the channels are taken for the last axis, not the first",
          wrong="dy.reshape(len(x), *x.shape[2:], x.shape[1]).transpose(0, 3, 1, 2)", right="dy.reshape(x.shape)"),
        M("rows-and-columns-swapped", lambda e: _back(e, (0, 1, 3, 2)), "height and width are swapped",
          wrong="dy.reshape(*x.shape[:2], x.shape[3], x.shape[2]).swapaxes(2, 3)", right="dy.reshape(x.shape)"),
    ],
}
# fmt: on

Flatten.mistakes = MISTAKES
