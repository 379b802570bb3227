"""LayerNorm: y = W (x - mean) / sqrt(var + eps) + b, mean and var of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

import scratch
from compare.operations.any_normalization import input_over, over, over_everything, table
from compare.operations.mistake import Mistake as M
from compare.operations.normalization import Axes, Normalization, standardized, without
from compare.operations.operation import ANY, Layer, Part, Shape

Sizes = int | tuple[int, ...]


@dataclass(frozen=True)
class LayerNorm(Normalization, Layer):
    """With torch's names; x (m, ..., *normalized_shape), W and b (*normalized_shape)."""

    kind = "layer_norm"
    scratch_type, torch_type = scratch.LayerNorm, nn.LayerNorm
    sized = True
    leading = True
    attributes = ("normalized_shape", "eps", "elementwise_affine")
    constants = (int, float, bool, tuple)
    letters: ClassVar = {"x": "input", "W": "weight", "b": "bias", "y": "output", "dy": "grad_output"}
    parts: ClassVar = {
        "output": Part.of("y = W (x - mean) / sqrt(var + eps) + b, mean and var of each sample", "x W b"),
        "grad_weight": Part.of("dW = sum of dy (x - mean) / sqrt(var + eps) over the samples", "x dy"),
        "grad_bias": Part.of("db = sum of dy over the samples", "dy"),
        "grad_input": Part.of(
            "dx = (t - mean(t) - h mean(t h)) / sqrt(var + eps), where t = W dy, h = (x - mean) / sqrt(var + eps)",
            "x W dy",
        ),
    }

    normalized_shape: Sizes
    eps: float = 1e-5
    elementwise_affine: bool = True
    bias: bool = True  # says nothing without elementwise_affine

    def __post_init__(self) -> None:
        found = self.normalized_shape
        shape = tuple(found) if isinstance(found, tuple | list) else (found,)
        if not shape or any(type(n) is not int or n < 1 for n in shape):
            raise ValueError(f"found normalized_shape {str(found)[:40]}, expected sizes of at least 1")
        object.__setattr__(self, "normalized_shape", shape[0] if len(shape) == 1 else shape)
        object.__setattr__(self, "bias", self.bias or not self.elementwise_affine)

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        of_torch = isinstance(layer, nn.LayerNorm)
        bias = layer.bias is not None if of_torch else "bias" in layer.params
        found = cls(tuple(layer.normalized_shape), layer.eps, layer.elementwise_affine, bias)
        if not of_torch:
            found.expect_parameters(layer, place)
        return found

    @property
    def computed(self) -> Mapping[str, Part]:
        return without(("W", "b") if not self.elementwise_affine else () if self.bias else ("b",), self.parts)

    @property
    def _shape(self) -> Shape:
        return self.normalized_shape if isinstance(self.normalized_shape, tuple) else (self.normalized_shape,)

    @property
    def entering(self) -> Shape:  # type: ignore[override]
        return ANY, *self._shape

    def parameters(self) -> dict[str, Shape]:
        names = () if not self.elementwise_affine else ("weight", "bias") if self.bias else ("weight",)
        return dict.fromkeys(names, self._shape)

    def axes(self, ndim: int) -> Axes:
        return tuple(range(ndim - len(self._shape), ndim))

    def summed(self, ndim: int) -> Axes:
        return tuple(range(ndim - len(self._shape)))

    def by_torch(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return nn.functional.layer_norm(x, self._shape, weight, bias, self.eps)

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.LayerNorm(self._shape, self.eps, self.elementwise_affine, self.bias, **options)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        return nn.LayerNorm(self._shape, self.eps, self.elementwise_affine, self.bias, dtype=dtype)

    def __str__(self) -> str:
        return f"LayerNorm {' x '.join(map(str, self._shape))}"


# --- what people get wrong ---

SHARED = table("1", "0")
H = "(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)"
Y = SHARED["output"][0].right
DX = SHARED["grad_input"][0].right
SQUARE = {"network": "Linear(5, 6), LayerNorm(6), ReLU, Linear(6, 4); CrossEntropyLoss", "rows": (6, 6, 6)}

# fmt: off
MISTAKES = {
    "output": [
        *SHARED["output"],
        M("statistics-over-wrong-axis", over(0),
          "mean and variance are those of each column, over the batch, not those of each sample: a BatchNorm",
          wrong=f"W * {H} + b", right=Y),
        M("statistics-over-wrong-axis", over_everything, "mean and variance are those of the whole batch",
          wrong="W * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + b", right=Y),
    ],
    "grad_weight": [
        *SHARED["grad_weight"],
        M("summed-over-features", lambda e: (e.dy * standardized(e)).sum(axis=1),
          "it is summed over the features (axis 1), not over the samples",
          wrong=SHARED["grad_weight"][0].right.removesuffix("axis=0)") + "axis=1)",
          right=SHARED["grad_weight"][0].right, case=SQUARE),
    ],
    "grad_bias": [
        *SHARED["grad_bias"],
        M("summed-over-features", lambda e: e.dy.sum(axis=1),
          "it is summed over the features (axis 1), not over the samples",
          wrong="dy.sum(axis=1)", right="dy.sum(axis=0)", case=SQUARE),
    ],
    "grad_input": [
        *SHARED["grad_input"],
        M("statistics-over-wrong-axis", input_over(0),
          "the means of the gradient are taken over the batch, not over each sample",
          wrong=DX.replace(".mean(axis=1, keepdims=True) - ", ".mean(axis=0) - ")
            .replace("np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)).mean(axis=1, keepdims=True)",
                     "np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)).mean(axis=0)"), right=DX),
    ],
}
# fmt: on

LayerNorm.mistakes = MISTAKES
