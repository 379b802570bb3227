"""Penalty: what a network's text adds to the loss for the size of the weights.

`+ 0.001 L2` adds 0.001 / 2 sum(W^2), so that the gradient has 0.001 W, as with torch's weight_decay=0.001. `+ 0.001 L1`
adds 0.001 sum(|W|), so that the gradient has 0.001 sign(W). The sums are over all weights, and over no bias.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

KINDS = ("L1", "L2")
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Penalty:
    """amount: lambda, of lambda / 2 sum(W^2) where the kind is "L2", of lambda sum(|W|) where it is "L1"."""

    amount: float
    kind: str

    @classmethod
    def of(cls, text: str) -> Penalty:
        """From "0.001 L2". ValueError for anything else."""
        match = re.fullmatch(rf"({NUMBER}) ?(l[12])", text.lower())
        amount = float(match[1]) if match else 0.0
        if not match or not 0 < amount < math.inf:
            expected = "one penalty, a number above 0 and L1 or L2, such as + 0.001 L2"
            raise ValueError(f"got {f'+ {text}'!r} after the loss, expected {expected}")
        return cls(amount, match[2].upper())

    def __str__(self) -> str:
        return f"{self.amount!r} {self.kind}"
