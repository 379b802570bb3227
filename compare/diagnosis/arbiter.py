"""Arbiter: where candidate and reference differ in a gradient, which of the two is the derivative of the loss?

The operation is written out once more, in NumPy in float64, and differenced at the worst element: a mistake in the
reference is found as well as one in the candidate. (f(a + h) - f(a - h)) / 2h is within h^2 |f'''| / 6 + u |f| / h of
f'(a); h = u^(1/3) balances the two, and the same quotient at 2h shows how large the first one is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from compare.diagnosis.evidence import Evidence
from compare.judging.reasons import ReferenceWrong
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.operations.letters import Absent
from compare.operations.operation import Loss, Optimizer

STEP = float(np.cbrt(2.0**-53))


def reference_wrong(e: Evidence) -> ReferenceWrong | None:
    """Where the worst element of a gradient is what the difference quotient says and the reference's is not; else None.

    None, too, where there is nothing to difference, or it cannot decide.
    """
    found = None
    with suppress(Absent):
        found = _differenced(e)
    if found is None or e.got.shape != found[1].shape:
        return None
    (function, at), index = found, e.row.index
    quotient, error = _quotient(function, at, index)
    candidate, reference = (
        abs(float(a[index]) - quotient) <= error + float(e.ref.error[index]) for a in (e.got, e.ref.value)
    )
    return ReferenceWrong(quotient, error) if candidate and not reference and np.isfinite(error) else None


def written_out(e: Evidence) -> Bounded | None:
    """The correct value of a loss, an output or an update, by the same formula written once more; None for the rest.

    These are no derivatives, so there is nothing to difference: a second opinion is all that can be had.
    """
    operation = e.operation
    with suppress(Absent):
        if e.place == "loss" and isinstance(operation, Loss):
            return operation.terms(e.y, e.t).sum() / e.count
        if isinstance(operation, Optimizer) or (e.layer and not e.name.is_gradient):
            return operation.written(e)
    return None


def _differenced(e: Evidence) -> tuple[Callable[[Array], float], Array] | None:
    """What the gradient is the derivative of, as a function of one tensor, and that tensor."""
    operation = e.operation
    if e.place == "loss.gradient" and isinstance(operation, Loss):
        return operation.difference(e, e.row.index)
    if e.layer and e.name.is_gradient and e.name.part != "grad_output":
        return e.layer.difference(e.name.part, e, e.row.index)
    return None


def _quotient(function: Callable[[Array], float], at: Array, index: tuple[int, ...]) -> tuple[float, float]:
    """The central difference along one element, and its error by comparison with twice the step."""

    def central(h: float) -> tuple[float, float]:
        moved = at.copy()
        moved[index] = at[index] + h
        above, up = function(moved), float(moved[index])
        moved[index] = at[index] - h
        below, down = function(moved), float(moved[index])
        rounding = 2.0**-50 * (abs(above) + abs(below)) / (up - down)
        return (above - below) / (up - down), rounding

    h = STEP * max(abs(float(at[index])), 1e-3)
    (near, rounding), (far, _) = central(h), central(2 * h)
    return near, 2 * abs(far - near) + 16 * rounding
