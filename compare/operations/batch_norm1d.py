"""BatchNorm1d: y = W (x - mean) / sqrt(var + eps) + b, mean and var of each column over the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

import scratch
from compare.numbers.bounded import Bounded, sqrt
from compare.operations.any_normalization import input_over, over, over_everything, table
from compare.operations.batch_normalization import LETTERS, PARTS, BatchNormalization, running_table
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.normalization import scaled, standardized
from compare.operations.operation import ANY, Layer, Shape


@dataclass(frozen=True)
class BatchNorm1d(BatchNormalization, Layer):
    """In training, with torch's names; x (m, num_features), W and b (num_features,)."""

    kind = "batch_norm1d"
    scratch_type, torch_type = scratch.BatchNorm1d, nn.BatchNorm1d
    sized = True
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
        return ANY, self.num_features


# --- what people get wrong ---

SHARED = table("0", "0")
Y, DW, DX = (SHARED[part][0].right for part in ("output", "grad_weight", "grad_input"))
RUNNING = running_table("0", Y, DX)
SQUARE = {"network": "Linear(5, 6), BatchNorm1d(6), ReLU, Linear(6, 4); CrossEntropyLoss", "rows": (6, 6, 6)}
ROWS = "(x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)"
H, S = "(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)", "np.sqrt(x.var(axis=0) + 1e-5)"


def _of_samples(e: Letters) -> Bounded:
    """Where there are as many samples as columns."""
    d = e.x - e.x.mean(axis=1, keepdims=True)
    return scaled(e, (e.x - e.x.mean(axis=1)) / sqrt((d * d).mean(axis=1) + e.operation.eps))


# fmt: off
MISTAKES = RUNNING | {
    "output": [
        *SHARED["output"], *RUNNING["output"],
        M("statistics-over-wrong-axis", over(1),
          "mean and variance are those of each sample, not those of each column over the batch: a LayerNorm",
          wrong=f"W * {ROWS} + b", right=Y),
        M("statistics-over-wrong-axis", _of_samples,
          "mean and variance of sample i stand in the place of those of column i: they are taken along axis 1",
          wrong="W * (x - x.mean(axis=1)) / np.sqrt(x.var(axis=1) + 1e-5) + b", right=Y, case=SQUARE),
        M("statistics-over-wrong-axis", over_everything, "mean and variance are those of the whole batch",
          wrong="W * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + b", right=Y),
    ],
    "grad_weight": [
        *SHARED["grad_weight"],
        M("summed-over-features", lambda e: (e.dy * standardized(e)).sum(axis=1),
          "it is summed over the features (axis 1), not over the batch",
          wrong=f"(dy * {H}).sum(axis=1)", right=DW, case=SQUARE),
    ],
    "grad_bias": [
        *SHARED["grad_bias"],
        M("summed-over-features", lambda e: e.dy.sum(axis=1),
          "it is summed over the features (axis 1), not over the batch",
          wrong="dy.sum(axis=1)", right="dy.sum(axis=0)", case=SQUARE),
    ],
    "grad_input": [
        *SHARED["grad_input"], *RUNNING["grad_input"],
        M("statistics-over-wrong-axis", input_over(1),
          "the means of the gradient are taken over each sample, not over the batch",
          wrong=f"(dy * W - (dy * W).mean(axis=1, keepdims=True) - {H} * (dy * W * {H}).mean(axis=1, keepdims=True)) "
            f"/ {S}", right=DX),
    ],
}
# fmt: on

BatchNorm1d.mistakes = MISTAKES
