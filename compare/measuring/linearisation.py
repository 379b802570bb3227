r"""Linearisation: J v for one layer, from the layer's own forward alone, with a bound on its error.

No formula of a derivative enters: only how large the second and third derivatives can be. The layer runs in float64, as
a copy with its parameters converted, which is exact.

Linear: y is linear in x, and in its parameters, once the others are set to 0: J v is forward(v), without differences.
Linear on either side of 0 (ReLU): (f(x + h v) - f(x)) / h with h |v| <= |x| / 2, element by element, so that no kink is
crossed; both subtractions are exact (Sterbenz's lemma), and the direction is what x + h v was rounded to. Where x = 0
there is no derivative, and v is set to 0.
Sigmoid, tanh, softmax: (f(x + h v) - f(x - h v)) / 2h, h |v| <= STEP, with the direction that the rounded points have.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer

Array = NDArray[Any]

# Truncation is of order STEP^2, rounding of order 8 u / STEP: equal near u^(1/3), rounded to a power of two.
STEP = 2.0**-17
U = 2.0**-53
SQUARED = ("mse", "half_squared_error")
ON_PROBABILITIES = ("probability_cross_entropy", "binary_cross_entropy")
DOUBLE = Precision.of(np.float64)


@dataclass(frozen=True)
class Tangent:
    """`out` = J v +- `error`, for a v that is the `given` one but for roundings, and for elements at a kink."""

    given: Array
    v: Array
    out: Array
    error: Array


def along(spec: Layer, layer: Any, x: Array, v: Array) -> Tangent:
    """J v of a layer at x (m, in), v (m, in), both float64."""
    layer = in_double(layer)
    if isinstance(spec, Linear):
        return _linear(layer, v)
    assert isinstance(spec, Activation)
    return _piecewise(spec, layer, x, v) if spec.kinked else _central(spec, layer, x, v)


def weight_tangent(layer: Any, name: str, x: Array, direction: Array) -> Tangent:
    """What moving one parameter of a linear layer does to its output: forward with that direction as the parameter,
    and 0 as the others."""
    layer = in_double(layer)
    params = {n: direction if n == name else np.zeros_like(p) for n, p in layer.params.items()}
    layer.params = params
    error = _allowed(x, params["weight"], params.get("bias"))
    return Tangent(direction, direction, np.array(layer.forward(x.copy())), error)


def in_double(layer: Any) -> Any:
    """A copy of a layer in float64, its parameters converted; other state of its own is shared."""
    layer = copy.copy(layer)
    layer.params = {name: p.astype(np.float64) for name, p in layer.params.items()}
    layer.grads = {}
    if hasattr(layer, "dtype"):
        layer.dtype = np.dtype(np.float64)
    return layer


def _allowed(x: Array, weight: Array, bias: Array | None) -> Array:
    """Of a linear layer's output in float64."""
    out, fan_in = weight.shape
    return Linear(fan_in, out).output(x, weight, bias, p=DOUBLE).allowance.wide


def _linear(layer: Any, v: Array) -> Tangent:
    weight = layer.params["weight"]
    layer.params = {n: p if n == "weight" else np.zeros_like(p) for n, p in layer.params.items()}
    error = _allowed(v, weight, layer.params.get("bias"))
    return Tangent(v, v, np.array(layer.forward(v.copy())), error)


def _piecewise(spec: Activation, layer: Any, x: Array, v: Array) -> Tangent:
    """Of a function that is linear on either side of 0: x + h v is in [x/2, 3x/2], so no kink is crossed, and both
    differences, and the quotient by a power of two, are exact. What each value may be off by is left, over h."""
    with np.errstate(all="ignore"):
        h = 2.0 ** np.floor(np.log2(np.abs(x) / (2 * np.abs(v))))
        usable = (x != 0) & (v != 0) & np.isfinite(h) & (np.abs(x) > 1e-290) & (h > 1e-290)
    h = np.where(usable, h, 1.0)
    moved = np.where(usable, x + h * v, x)
    out = (np.asarray(layer.forward(moved)) - np.asarray(layer.forward(x.copy()))) / h
    error = np.sum([spec.output(a, DOUBLE).allowance.wide for a in (moved, x)], axis=0) / h
    return Tangent(v, (moved - x) / h, out, error)


def _central(spec: Activation, layer: Any, x: Array, v: Array) -> Tangent:
    """With w = h |v| and e = u (|x| + w), how far rounding can put the two points' middle from x.

    The quotient is f'(c) v + R at the middle c: |R| <= w^2 / 6 max|f'''| |v|, and |f'(c) - f'(x)| <= e max|f''|. Both
    maxima are within a factor e^(g (w + e)) of their values at x, for |(log f')'| <= g. `_curvature` has the bounds.
    Each value of f may be off by its own allowance, over 2h, and the quotient is rounded.
    """
    size = np.maximum(np.abs(v).max(axis=1, keepdims=True), 1e-290)
    h = 2.0 ** np.floor(np.log2(STEP / size))
    plus, minus = x + h * v, x - h * v
    out = (np.asarray(layer.forward(plus.copy())) - np.asarray(layer.forward(minus.copy()))) / (2 * h)
    w, e = h * size, U * (np.abs(x).max(axis=1, keepdims=True) + h * size)
    values = np.sum([spec.output(a, DOUBLE).allowance.wide for a in (plus, minus)], axis=0)
    error = _curvature(spec, x, w, e) * size + values / (2 * h) + 2 * U * np.abs(out)
    return Tangent(v, (plus - minus) / (2 * h), out, error)


def _curvature(spec: Activation, x: Array, w: Array, e: Array) -> Array:
    """(w^2 / 6 |f'''| + e |f''|) e^(g (w + e)) for |v| <= 1, from the sizes of the derivatives; u more where f' rounds.

    sigmoid: f' = y (1 - y), |f''| <= f', |f'''| = f' |1 - 6 f'| <= f', g = 1.
    tanh: f' = 1 - y^2, |f''| = 2 |y| f' <= 2 f', |f'''| = f' |6 y^2 - 2| <= 4 f', g = 2.
    softmax, with a = v - sum y v, |a| <= 2: dy = y a; d2y = y (a^2 - var); d3y = y (a^3 - 3 a var - k3), where
    var <= 1 and |k3| <= 2: at most 16 y. Moving the middle by e in another direction b, |b| <= e, changes y a by
    y ((b - sum y b) a - cov(b, v)), at most 6 e y. log y changes by at most 2 for each unit: g = 2.
    log softmax, with the a, var and k3 of softmax: dy = a, d2y = -var and d3y = -k3, at most 1 and 2 everywhere. Moving
    the middle changes a by -cov(b, v), at most e.
    silu: |f''| <= 1/2 and |f'''| <= 1/2 everywhere.
    gelu, in both forms: |f''| <= 0.8 and |f'''| <= 0.8 everywhere.
    softplus with beta = 1: |f''| <= 1/4 and |f'''| <= 1/8 everywhere.
    elu with alpha = 1: |f''| <= 1, which jumps at 0, so that the quotient is within w / 2 of f'.
    """
    y = spec.apply(x)
    slope, second, third, g = {
        "elu": (np.ones_like(x), 1.0, 3 / w, 0.0),
        "silu": (np.ones_like(x), 0.5, 0.5, 0.0),
        "gelu": (np.ones_like(x), 0.8, 0.8, 0.0),
        "gelu_tanh": (np.ones_like(x), 0.8, 0.8, 0.0),
        "softplus": (np.ones_like(x), 0.25, 0.125, 0.0),
        "sigmoid": (y * (1 - y), 1.0, 1.0, 1.0),
        "tanh": (1 - y * y, 2.0, 4.0, 2.0),
        "softmax": (y, 6.0, 16.0, 2.0),
        "log_softmax": (np.ones_like(x), 1.0, 2.0, 0.0),
    }[spec.kind]
    growth = np.exp(np.minimum(g * (w + e), 700))
    bound: Array = (slope + 4 * U) * growth * (third * w * w / 6 + second * e)
    return bound


def loss_along(network: Architecture, loss: Any, y: Array, t: Array, v: Array) -> tuple[float, Array, float]:
    """(dL . v, the v that was taken, bound on the error) of a loss at y (m, n), from the loss's own values in float64.

    (L(y + h v) - L(y - h v)) / 2h with |v| <= 1 and h = STEP; on a probability q, |v| <= min(q, 1 - q). A squared error
    has no third derivative, and its step is as large as y and t themselves.
    """
    loss, t = copy.copy(loss), t.astype(np.float64) if t.dtype.kind == "f" else t
    v = v / max(float(np.abs(v).max()), 1e-290)
    if network.loss.kind in ON_PROBABILITIES:
        v = v * np.minimum(y, 1 - y)
    far = float(np.abs(y).max() + np.abs(t).max()) or 1.0
    h = 2.0 ** np.floor(np.log2(far)) if network.loss.kind in SQUARED else STEP
    plus, minus = y + h * v, y - h * v
    out = (float(loss.forward(plus.copy(), t)) - float(loss.forward(minus.copy(), t))) / (2 * h)
    values = np.sum([network.loss.loss(a, t, DOUBLE).allowance.wide for a in (plus, minus)])
    error = _loss_curvature(network, y, t, np.abs(v), h) + float(values) / (2 * h) + 2 * U * abs(out)
    return out, (plus - minus) / (2 * h), error


def _loss_curvature(network: Architecture, y: Array, t: Array, v: Array, h: float) -> float:
    """sum of h^2 / 6 |d3L| v^3 + e |d2L| v, e = u (|y| + h v), element by element, or row by row for cross-entropy.

    mse: d2L = 2. half squared error: d2L = 1. Binary cross-entropy on logits: d2L <= 1/4, |d3L| <= 1/10.
    -t log q - s log(1 - q): with r = min(q, 1 - q), d2L <= (t + s) / r^2 and |d3L| <= 2 (t + s) / r^3; over a step of
    h r both grow by at most 1 / (1 - h)^3 and roundings, and 8 covers that.
    Cross-entropy: along v and e, d2L = T cov(v, e) <= T max v max e, and d3L = T k3 <= 2 T max v^3, T = sum_k t_k.
    """
    count = network.loss.count(len(y), y.size)
    e, cubed = U * (np.abs(y) + h * v), h * h / 6 * v**3
    rows = np.eye(y.shape[1])[t] if t.ndim == 1 else np.abs(t)
    if network.loss.kind in SQUARED:
        bound = 2 * e * v
    elif network.loss.kind == "logits_binary_cross_entropy":
        bound = 0.1 * cubed + e * v / 4
    elif network.loss.kind == "cross_entropy":
        bound = rows.sum(axis=1) * (2 * cubed.max(axis=1) + e.max(axis=1) * v.max(axis=1))
    else:
        weight = rows if network.loss.kind == "probability_cross_entropy" else rows + np.abs(1 - rows)
        r = np.maximum(np.minimum(y, 1 - y), 1e-290)
        bound = np.where(v > 0, 8 * weight * (2 * cubed / r / r / r + e / r * (v / r)), 0.0)
    return float(bound.sum()) / count
