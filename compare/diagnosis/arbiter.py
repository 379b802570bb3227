"""Arbiter: where candidate and reference differ in a gradient, which of the two is the derivative of the loss?

The operation is written out once more, in NumPy in float64, and differenced at the worst element: a mistake in the
reference is found as well as one in the candidate. (f(a + h) - f(a - h)) / 2h is within h^2 |f'''| / 6 + u |f| / h of
f'(a); h = u^(1/3) balances the two, and the same quotient at 2h shows how large the first one is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.diagnosis.evidence import Absent, Evidence
from compare.diagnosis.hypotheses.forward import linear
from compare.diagnosis.hypotheses.losses import mean, terms
from compare.diagnosis.hypotheses.updates import Variant, updated
from compare.numbers.bounded import Bounded, relu, sigmoid, softmax, tanh

Array = NDArray[Any]
STEP = float(np.cbrt(2.0**-53))


@dataclass(frozen=True)
class Ruling:
    """`right`: "candidate", "reference" or "neither"; the difference quotient and how far it can be trusted."""

    right: str
    quotient: float
    error: float

    def __str__(self) -> str:
        words = {
            "reference": "which is the reference's value: the candidate's is not the derivative",
            "candidate": "which is the candidate's value: the reference is wrong",
            "neither": "which is neither the candidate's value nor the reference's",
        }
        return f"a difference quotient gives {self.quotient:.9g} +- {self.error:.1g}, {words[self.right]}"


def rule(e: Evidence) -> Ruling | None:
    """The ruling on the worst element of a gradient; None where there is nothing to difference, or it cannot decide."""
    try:
        function, at = _function(e)
    except Absent:
        return None
    index = e.row.index
    quotient, error = _quotient(function, at, index)
    near = {
        name: abs(float(a[index]) - quotient) <= error + float(e.ref.error[index])
        for name, a in (("candidate", e.got), ("reference", e.ref.value))
        if a.shape == at.shape
    }
    if not np.isfinite(error) or all(near.values()):
        return None
    return Ruling(next((name for name, is_near in near.items() if is_near), "neither"), quotient, error)


def written_out(e: Evidence) -> Bounded | None:
    """The correct value of a loss, an output or an update, by the same formula written once more; None for the rest.

    These are no derivatives, so there is nothing to difference: a second opinion is all that can be had.
    """
    try:
        kind, _, part = e.place.partition(".")
        if e.place == "loss":
            return mean(e, terms(e))
        if kind == "update":
            return updated(e, Variant())
        if part == "output":
            return linear(e) if kind == "linear" else FUNCTIONS[kind](e.x)
    except Absent:
        pass
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


def _function(e: Evidence) -> tuple[Callable[[Array], float], Array]:
    """What the gradient is the derivative of, as a function of one tensor, and that tensor.

    Only what changes is summed where the operation goes row by row, so that little is lost to cancellation.
    """
    kind, _, part = e.place.partition(".")
    if e.place == "loss.gradient":
        return lambda y: _loss(e, y), e.y.value
    if part not in ("grad_weight", "grad_bias", "grad_input"):
        raise Absent(e.place)
    dy = e.dy.value
    if kind == "linear":
        x = e.x.value if part != "grad_input" else np.zeros((len(dy), e.W.shape[1]))
        if part == "grad_weight":
            return lambda w: float((dy * (x @ w.T)).sum()), np.zeros((dy.shape[1], x.shape[1]))
        if part == "grad_bias":
            return lambda b: float((dy * b).sum()), np.zeros(dy.shape[1])
        return lambda x: float((dy * (x @ e.W.value.T)).sum()), x
    f = FUNCTIONS[kind]
    row = e.row.index[0]
    return lambda x: float((dy[row] * f(Bounded.exact(x[row : row + 1], e.p)).value).sum()), e.x.value


FUNCTIONS: dict[str, Callable[[Bounded], Bounded]] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}


def _loss(e: Evidence, y: Array) -> float:
    """The loss of the row that the worst element is in."""
    rows = slice(e.row.index[0], e.row.index[0] + 1)
    with np.errstate(all="ignore"):
        summands = terms(e, y=Bounded.exact(y, e.p)).value[rows]
    return float(summands.sum()) / e.count
