"""Guards: a tiny number inside a loss's logarithms, or at which probabilities are clipped, so that it is finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compare.foreign.convention import Factor, nearest
from compare.foreign.naming.probabilities import activation_of
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.operations.operation import Loss

GUARDS = tuple(10.0**-k for k in range(6, 17))  # so small that nobody means another loss; larger ones are mistakes
GUARDED = 1e-11  # relative: float64's roundings in a sum of logarithms, far below what a guard does
ROUNDED = 1e-13  # relative: what rounding alone may do to a loss in float64
CLEARLY = 16  # times nearer to the guarded loss than to the plain one


def guard_of(
    loss: Loss, y: Array, t: Array, plain: float, numbers: Sequence[float], known: Sequence[Factor]
) -> tuple[int, float, float] | None:
    """Which of these numbers is the loss with a guard, its factor, and the guard."""
    for guard, value in _guarded(loss, y, t):
        for k, found in enumerate(numbers):
            factor = nearest(found / value, known, GUARDED) if value and np.isfinite(value) else None
            if factor is None:
                continue
            far, far_from_plain = abs(found - factor.value * value), abs(found - factor.value * plain)
            if far_from_plain > ROUNDED * abs(found) and CLEARLY * far < far_from_plain:
                return k, factor.value, guard
    return None


def _guarded(loss: Loss, y: Array, t: Array) -> Iterator[tuple[float, float]]:
    """Each guard, with the loss that adds it inside the logarithms, and with the one that clips the probabilities."""
    if not loss.logarithmic:
        return
    activation = activation_of(loss)
    p = activation.apply(y) if activation else y
    rows = np.eye(p.shape[1])[t] if t.ndim == 1 else np.asarray(t, dtype=np.float64)
    count = loss.divisor(t, len(p), p.size)
    rows = loss.asked(Bounded.of(rows, Precision.of(np.float64))).value
    for guard in GUARDS:
        for q, added in ((p, guard), (np.clip(p, guard, 1 - guard), 0.0)):
            with np.errstate(all="ignore"):
                terms = rows * np.log(q + added) + ((1 - rows) * np.log(1 - q + added) if loss.binary else 0.0)
            yield guard, float(-terms.sum() / count)
