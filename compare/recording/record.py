"""Record: what one training step computed, tensor by tensor, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array


def left_behind(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """What the next step begins with: parameters and the optimiser's state after this one, by their names there."""
    return {name.old: a for name, a in ((TensorName(n), a) for n, a in tensors.items()) if name.is_new}


@dataclass
class Record(Mapping[str, Array]):
    """An ordered mapping from tensor names to arrays, and what is known of the step that they belong to.

    - `optimizer`: None where no update was recorded.
    - `step`: counts from 1.
    - `touched`: arrays that changed after they were recorded, though they should not have: what they had become.
    - `changed_by`: of these, the part of the step that changed each, such as "backward".
    - `watched`: how many arrays were looked at for such changes.
    - `nothing`: tensors that are due and were not given; the value is a sentence that says what was found instead.
    - `plain_loss`: the loss was, or may have been, a Python number, which has no dtype.
    - `scales`: a tensor is so many times torch's. A candidate may sum where the network takes the mean.
    - `slack`: what a tensor may be off beyond the rounding of its own operation. A gradient that is computed from the
      change of a weight has such an error.
    - `told`: changed arrays are reported elsewhere, in words, and are no mistake by themselves, as in somebody's own
      code.
    - `tf32`: products may have been computed in TF32.
    """

    network: Architecture
    tensors: dict[str, Array]
    optimizer: OptimizerSpec | None = None
    step: int = 1
    touched: dict[str, Array] = field(default_factory=dict)
    watched: int = 0
    changed_by: dict[str, str] = field(default_factory=dict)
    nothing: dict[str, str] = field(default_factory=dict)
    plain_loss: bool = False
    scales: Mapping[str, float] = field(default_factory=dict)
    slack: Mapping[str, Array] = field(default_factory=dict)
    told: bool = False
    tf32: bool = False

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def without(self, names: Collection[str]) -> Record:
        """The record without these tensors."""
        return replace(self, tensors={name: a for name, a in self.items() if name not in names})

    def unscaled(self, name: str) -> Array:
        """The tensor in torch's scale: as it was handed in, or divided in float64."""
        a = np.asarray(self[name])
        scale = self.scales.get(name, 1.0)
        return a if scale == 1 else a.astype(np.float64) / scale

    @property
    def dtype(self) -> np.dtype[Any]:
        """The coarsest floating-point dtype of its parameters, or of its tensors where it has no parameters.

        The target and the loss do not count. Without parameters, dtypes coarser than float32 do not count either:
        they are a finding.
        """
        tensors = {name: a for name, a in self.items() if name not in ("target", "loss") and a.dtype.kind == "f"}
        of_parameters = [tensors[name].dtype for name in self.network.parameters() if name in tensors]
        found = of_parameters or [a.dtype for a in tensors.values() if a.itemsize >= 4]
        return min(found, key=lambda d: d.itemsize, default=np.dtype(np.float64))
