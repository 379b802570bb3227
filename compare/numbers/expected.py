"""Expected: what a tensor should be, and how far a correct one may be from it."""

from __future__ import annotations

from dataclasses import dataclass

from compare.numbers.allowance import Allowance
from compare.numbers.array import Array


@dataclass(frozen=True)
class Expected:
    """The exact value (to float64) and the allowance.

    `headroom` is by how much a correct computation may exceed the value on its way, such as a sum before its mean.
    """

    value: Array
    allowance: Allowance
    headroom: float = 1.0

    @classmethod
    def itself(cls, value: Array) -> Expected:
        """A copy of the value: no difference is allowed."""
        return cls(value, Allowance.none(value.shape))
