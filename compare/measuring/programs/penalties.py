"""Penalties: what a penalty on the weights adds to the loss and to the gradient."""

from __future__ import annotations

from compare.measuring.programs.marks import mark
from compare.measuring.programs.notation import Notation


def penalty_in_loss(c: Notation) -> str:
    """What the penalty adds to the loss; "" where it does not."""
    s = c.style
    if s.penalty == "none" or s.penalty_in != "both":
        return ""
    each = "np.sum(np.abs({W}))" if s.penalty == "l1" else "np.sum(({W}) ** 2)"
    total = " + ".join(each.format(W=c.weight(k)) for k in range(1, s.layers + 1))
    factor = f"{c.names.penalty} / 2" if s.penalty == "half l2" else c.names.penalty
    return f"{factor} * ({total})"


def with_penalty(c: Notation, k: int, gradient: str) -> str:
    """The gradient of a weight, with that of the penalty."""
    s, W = c.style, c.weight(k)
    if s.penalty == "none" or s.loop == "accumulated":
        return gradient
    return f"({gradient}) {'-' if s.flipped else '+'} {penalty_gradient(c, k, W)}"


def penalty_gradient(c: Notation, k: int, W: str) -> str:
    forms = {"half l2": "{lam} * {W}", "l2": "2 * {lam} * {W}", "l1": "{lam} * np.sign({W})"}
    return mark("penalty", k, forms[c.style.penalty].format(lam=c.names.penalty, W=W))
