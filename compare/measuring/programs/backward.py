"""Backward: the lines from the error to the gradients of all weights."""

from __future__ import annotations

from compare.measuring.programs.activations import derivative
from compare.measuring.programs.losses import last_delta, over_samples
from compare.measuring.programs.marks import mark
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.penalties import with_penalty
from compare.measuring.programs.updates import clipped_together, update


def backward(c: Notation) -> list[str]:
    """All deltas and gradients; where the style says so, each layer's update as soon as its weights are not needed."""
    lines = last_delta(c)
    gradients: list[str] = []
    for k in range(c.style.layers, 0, -1):
        (gradients if c.style.deltas_first else lines).extend(_gradients(c, k))
        if k > 1:
            lines += _delta(c, k - 1)
        if c.style.update == "between" and not c.style.deltas_first:
            lines += update(c, k, gradient_exprs(c, k))
    lines += gradients
    if c.style.update == "between" and c.style.deltas_first:
        for k in range(c.style.layers, 0, -1):
            lines += update(c, k, gradient_exprs(c, k))
    return lines


def updates(c: Notation) -> list[str]:
    """The update of all layers, at the end."""
    from_first = range(1, c.style.layers + 1)
    needs_weights = not c.style.bind_gradient and not c.style.bind_first_delta  # the second layer's, as they were
    order = from_first if c.style.names % 2 or needs_weights else reversed(from_first)
    return [*clipped_together(c), *(line for k in order for line in update(c, k, gradient_exprs(c, k)))]


def _delta(c: Notation, k: int) -> list[str]:
    """Of layer k, from the delta behind it; no line where it is written inside the gradient."""
    if k == 1 and not c.style.bind_first_delta:
        return []
    slope = derivative(c, k)
    if c.style.activations[k - 1] == "relu" and c.style.relu_derivative == "in place":
        at = c.pre(k) if c.style.derivative_at == "pre" else c.out(k)
        return [f"{c.delta(k)} = {_back(c, k)}", f"{c.delta(k)}[{mark('mask', k, f'{at} <= 0')}] = 0"]
    if c.style.bind_back:
        return [f"{c.grad_out(k)} = {_back(c, k)}", f"{c.delta(k)} = {c.grad_out(k)} * ({slope})"]
    return [f"{c.delta(k)} = {_delta_expr(c, k)}"]


def _delta_expr(c: Notation, k: int) -> str:
    return mark("delta", k, f"({_back(c, k)}) * ({derivative(c, k)})")


def _back(c: Notation, k: int) -> str:
    """What comes back to the output of layer k through the weights behind it."""
    W = mark("weight_back", k + 1, c.weight(k + 1))
    if c.style.bias == "last column":
        W = c.write.without_bias(W)
    return mark("back", k, c.write.back(W, mark("delta_behind", k, c.delta(k + 1))))


def delta(c: Notation, k: int) -> str:
    """The delta of layer k where it is used: its name, or the whole expression."""
    is_inside = k == 1 and c.style.layers > 1 and not c.style.bind_first_delta
    return _delta_expr(c, 1) if is_inside else c.delta(k)


def gradient_exprs(c: Notation, k: int) -> list[str]:
    """The gradients of layer k where they are used: names, or expressions."""
    return c.gradients(k) if c.style.bind_gradient else _expressions(c, k)


def _expressions(c: Notation, k: int) -> list[str]:
    weight = with_penalty(c, k, weight_gradient(c, k, c.entering(k)))
    return [weight, *([bias_gradient(c, k)] if c.style.bias == "apart" else [])]


def weight_gradient(c: Notation, k: int, entering: str) -> str:
    """Without the penalty."""
    d = mark("delta_used", k, delta(c, k))
    weight = mark("gradient", k, c.write.gradient(mark("entering", k, entering), d))
    return weight if c.style.loop == "accumulated" else over_samples(c, k, weight, "gradient")


def bias_gradient(c: Notation, k: int) -> str:
    d = mark("delta_summed", k, delta(c, k))
    if c.style.samples == "vectors":
        return mark("gradient_bias", k, d)
    if c.style.one_by_one and (c.style.samples == "columns" or not c.style.flat_bias):
        return mark("gradient_bias", k, d)
    axis = "axis=1, keepdims=True" if c.style.samples == "columns" else "axis=0"
    axis += ", keepdims=True" if c.style.samples == "rows" and not c.style.flat_bias else ""
    total = f"np.sum({d}, {axis})" if c.style.names % 2 else f"({d}).sum({axis})"
    found = mark("gradient_bias", k, mark("sum", k, total))
    return found if c.style.loop == "accumulated" else over_samples(c, k, found, "gradient")


def _gradients(c: Notation, k: int) -> list[str]:
    """The lines that bind them; none where they are written inside the update."""
    if not c.style.bind_gradient:
        return []
    sign = "+=" if c.style.loop == "accumulated" else "="
    return [f"{name} {sign} {text}" for name, text in zip(c.gradients(k), _expressions(c, k), strict=True)]
