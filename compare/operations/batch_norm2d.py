"""BatchNorm2d: y = W (x - mean) / sqrt(var + eps) + b, mean and var of each channel over batch and positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

import scratch
from compare.operations.any_normalization import input_over, over, over_everything, table
from compare.operations.batch_normalization import LETTERS, PARTS, BatchNormalization, of_batch, running_table
from compare.operations.mistake import Mistake as M
from compare.operations.normalization import standardized, variance
from compare.operations.operation import ANY, Layer, Shape


@dataclass(frozen=True)
class BatchNorm2d(BatchNormalization, Layer):
    """In training, with torch's names; x (m, num_features, height, width), W and b (num_features,)."""

    kind = "batch_norm2d"
    scratch_type, torch_type = scratch.BatchNorm2d, nn.BatchNorm2d
    attributes = ("num_features", "eps", "momentum", "affine", "running_mean", "running_var")
    letters: ClassVar = LETTERS
    parts: ClassVar = PARTS

    num_features: int
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True
    bias: bool = True  # says nothing without affine

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", self.bias or not self.affine)

    @property
    def entering(self) -> Shape:  # type: ignore[override]
        return ANY, self.num_features, ANY, ANY


# --- what people get wrong ---

ALL = "(0, 2, 3)"
WIDE = "[:, None, None]"
SHARED = table(ALL, ALL, WIDE)
Y, DW, DB, DX = (SHARED[part][0].right for part in ("output", "grad_weight", "grad_bias", "grad_input"))
RUNNING = running_table(ALL, Y, DX, WIDE)
S = f"np.sqrt(x.var(axis={ALL}, keepdims=True) + 1e-5)"
H, T = f"(x - x.mean(axis={ALL}, keepdims=True)) / {S}", f"(dy * W{WIDE})"


def _over(axes: str) -> str:
    """y with mean and variance over these axes."""
    return Y.replace(f"axis={ALL}", f"axis={axes}")


def _input_over(axes: str) -> str:
    """dx with the means of the gradient over these axes."""
    means = f"{T}.mean(axis={axes}, keepdims=True) - {H} * ({T} * {H}).mean(axis={axes}, keepdims=True)"
    return f"({T} - {means}) / {S}"


# fmt: off
MISTAKES = RUNNING | {
    "output": [
        *SHARED["output"], *RUNNING["output"],
        M("statistics-over-wrong-axis", over(0),
          "mean and variance are those of each pixel over the batch: the positions are forgotten",
          wrong=_over("0"), right=Y),
        M("statistics-over-wrong-axis", over(2, 3),
          "mean and variance are those of each image: the batch is forgotten, as in an InstanceNorm",
          wrong=_over("(2, 3)"), right=Y),
        M("statistics-over-wrong-axis", over(1, 2, 3),
          "mean and variance are those of each sample over all channels: a LayerNorm",
          wrong=_over("(1, 2, 3)"), right=Y),
        M("statistics-over-wrong-axis", over(1), "mean and variance are those over the channels at each pixel",
          wrong=_over("1"), right=Y),
        M("statistics-over-wrong-axis", over_everything, "mean and variance are those of the whole batch",
          wrong=_over("None"), right=Y),
    ],
    "new_running_var": [
        *RUNNING["new_running_var"],
        M("positions-not-counted", of_batch(lambda e: variance(e) * (len(e.x) / (len(e.x) - 1))),
          "the new variance is corrected by m / (m - 1), m the images: the positions are not counted",
          wrong=f"0.9 * rv + 0.1 * x.var(axis={ALL}) * len(x) / (len(x) - 1)",
          right=RUNNING["new_running_var"][0].right),
    ],
    "grad_weight": [
        *SHARED["grad_weight"],
        M("summed-over-batch-only", lambda e: (e.dy * standardized(e)).sum(axis=0),
          "it is summed over the batch only: the positions are forgotten",
          wrong=f"(dy * {H}).sum(axis=0)", right=DW),
        M("summed-over-positions-only", lambda e: (e.dy * standardized(e)).sum(axis=(2, 3)),
          "it is summed over the positions only: the batch is forgotten",
          wrong=f"(dy * {H}).sum(axis=(2, 3))", right=DW),
    ],
    "grad_bias": [
        *SHARED["grad_bias"],
        M("summed-over-batch-only", lambda e: e.dy.sum(axis=0),
          "it is summed over the batch only: the positions are forgotten",
          wrong="dy.sum(axis=0)", right=DB),
        M("summed-over-positions-only", lambda e: e.dy.sum(axis=(2, 3)),
          "it is summed over the positions only: the batch is forgotten",
          wrong="dy.sum(axis=(2, 3))", right=DB),
    ],
    "grad_input": [
        *SHARED["grad_input"], *RUNNING["grad_input"],
        M("statistics-over-wrong-axis", input_over(0),
          "the means of the gradient are taken at each pixel over the batch: the positions are forgotten",
          wrong=_input_over("0"), right=DX),
        M("statistics-over-wrong-axis", input_over(2, 3),
          "the means of the gradient are taken over each image: the batch is forgotten",
          wrong=_input_over("(2, 3)"), right=DX),
    ],
}
# fmt: on

BatchNorm2d.mistakes = MISTAKES
