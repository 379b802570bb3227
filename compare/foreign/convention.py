"""Convention: how somebody lays out and scales what torch lays out and scales in one certain way; declared or found.

A convention is no mistake: samples may be columns, weights (in, out), the bias a row of the weight, the loss a sum, the
gradient kept times the learning rate. A factor is a convention only if the reported loss carries it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from compare.foreign.layout import ATTACHED, COLUMNS, IN_OUT, OUT_IN, ROWS, SEPARATE, View
from compare.recording.notes import Summed

SAMPLES = (ROWS, COLUMNS)
WEIGHTS = (OUT_IN, IN_OUT)
BIASES = (SEPARATE, *ATTACHED)
TIMES = (1.0, 0.5, 2.0, -1.0, -0.5)
SNAP = 1e-6  # relative: how near a fitted factor must be to a known one to be it


@dataclass(frozen=True)
class Convention:
    """What is declared; None is found by trying.

    samples: "rows" or "columns". weights: "(out, in)" or "(in, out)". bias: "separate", or where in the weight:
    "last column", "first column", "last row", "first row". factor: what the loss and its gradient are, as a multiple
    of the network's own (such as m for a sum where the network's text means a mean; -1 for ascent).
    rate: the learning rate that the handed-in gradients are multiplied by. names: record name -> the candidate's own
    name for it, such as {"0.grad_weight": "dW1"}.

    ValueError for a word that is none of these.
    """

    samples: str | None = None
    weights: str | None = None
    bias: str | None = None
    factor: float | None = None
    rate: float | None = None
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in (("samples", SAMPLES), ("weights", WEIGHTS), ("bias", BIASES)):
            if getattr(self, name) not in (None, *words):
                raise ValueError(f"convention {name}: got {getattr(self, name)!r}, expected one of {', '.join(words)}")
        for name in ("factor", "rate"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value):
                raise ValueError(f"convention {name}: got {value!r}, expected a finite number other than 0")

    def allows(self, view: View, kind: str) -> bool:
        """Whether an array of this kind ("samples" or "weights") may be read so."""
        if kind == "samples":
            return self.samples in (None, view.layout)
        return self.weights in (None, view.layout) and self.bias in (None, view.attached)


@dataclass(frozen=True)
class Factor:
    """A number that somebody may multiply a loss or a gradient with: `times` a sum, and a learning rate."""

    value: float
    times: float = 1.0
    summed: Summed = Summed.MEAN
    rate: float = 1.0


def factors(m: int, n: int, rates: Sequence[float] = ()) -> list[Factor]:
    """Known multiples of a mean over m samples of n outputs, the plainest first; each also times a learning rate."""
    return list(_known(m, n, tuple(rates)))


@lru_cache(maxsize=100)
def _known(m: int, n: int, rates: tuple[float, ...]) -> tuple[Factor, ...]:
    plain = list(_plain(m, n))
    return *plain, *(replace(each, value=each.value * rate, rate=rate) for rate in rates for each in plain)


def _plain(m: int, n: int) -> Iterator[Factor]:
    sums = {
        Summed.MEAN: 1.0,
        Summed.SAMPLES: m,
        Summed.ELEMENTS: m * n,
        Summed.OUTPUTS: n,
        Summed.DIVIDED_BY_OUTPUTS: 1 / n,
        Summed.DIVIDED_TWICE: 1 / m,
        Summed.TIMES_SAMPLES: m * m,
    }
    for summed, scale in sums.items():
        for times in TIMES:
            yield Factor(scale * times, times, summed)


def nearest(value: float, known: Sequence[Factor], within: float = SNAP) -> Factor | None:
    """The first known factor that `value` is, to a relative `within`."""
    return next((f for f in known if abs(value - f.value) <= within * abs(f.value)), None)
