"""The reference: each operation of a training step in PyTorch in float64, with the allowance for a correct candidate.

Values and derivatives are PyTorch's (torch.autograd on one operation at a time); the allowances are tolerance.py's.
Every function takes the candidate's own arrays as float64, those of products also as they are, and the precision the
candidate computed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import torch_ref.losses
from compare.network.architecture import Architecture, LayerKind, LossKind
from compare.numbers import allowance as tolerance
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.float64 import double, shared

Array = NDArray[Any]


@dataclass(frozen=True)
class Expected:
    """What a tensor should be: the exact value (to float64) and how far a correct one may be from it.

    `headroom` is by how much a correct computation may exceed the value on its way, such as a sum before its mean.
    """

    value: Array
    allowance: Allowance
    headroom: float = 1.0


def _tensor(a: Array) -> Tensor:
    """Row by row, in float64 unless it holds whole numbers; in shared memory where it is so."""
    return shared(np.asarray(double(a), order="C"))


def _copy(a: Array) -> Tensor:
    return torch.from_numpy(np.array(a, order="C"))


def _forward(f: Callable[[Tensor], Tensor], x: Array) -> Array:
    with torch.no_grad():
        value: Array = f(_tensor(x)).numpy()
    return value


def _derivative(f: Callable[[Tensor], Tensor], x: Array, dy: Array) -> Array:
    """dL/dx from dL/dy for y = f(x), by autograd."""
    at = _tensor(x).requires_grad_()
    (dx,) = torch.autograd.grad(f(at), at, _tensor(dy))
    value: Array = dx.numpy()
    return value


# --- layers ---------------------------------------------------------------------------------------------------------

ELEMENTWISE: dict[LayerKind, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda s: torch.softmax(s, dim=1),
}


def linear(x: Array, weight: Array, bias: Array | None, p: Precision) -> Expected:
    """y = x W^T + b."""
    y: Array = nn.functional.linear(_tensor(x), _tensor(weight), None if bias is None else _tensor(bias)).numpy()
    return Expected(y, tolerance.product(x, weight, p, y, bias))


def linear_grad_weight(x: Array, dy: Array, p: Precision) -> Expected:
    """dW = dy^T x."""
    dw: Array = (_tensor(dy).T @ _tensor(x)).numpy()
    return Expected(dw, tolerance.product(dy.T, x.T, p, dw))


def linear_grad_bias(dy: Array, p: Precision) -> Expected:
    """db = sum of dy over the batch."""
    db = _forward(lambda a: a.sum(dim=0), dy)
    return Expected(db, tolerance.total(dy, p, db))


def linear_grad_input(weight: Array, dy: Array, p: Precision) -> Expected:
    """dx = dy W."""
    dx: Array = (_tensor(dy) @ _tensor(weight)).numpy()
    return Expected(dx, tolerance.product(dy, weight.T, p, dx))


def apply(kind: LayerKind, x: Array) -> Array:
    """y = f(x) for the activations, without an allowance."""
    return _forward(ELEMENTWISE[kind], x)


def activation(kind: LayerKind, x: Array, p: Precision) -> Expected:
    """y = f(x) for the activations; ReLU selects, so it must be exact."""
    y = _forward(ELEMENTWISE[kind], x)
    if kind == "relu":
        return Expected(y, tolerance.exact(y.shape))
    if kind == "sigmoid":
        return Expected(y, tolerance.sigmoid(y, p))
    if kind == "tanh":
        return Expected(y, tolerance.tanh(y, p))
    return Expected(y, tolerance.softmax(x, y, p))


def activation_backward(kind: LayerKind, x: Array, dy: Array, p: Precision) -> Expected:
    """dx = dy f'(x), or dy times the Jacobian for softmax."""
    dx = _derivative(ELEMENTWISE[kind], x, dy)
    if kind == "relu":
        return Expected(dx, tolerance.exact(dx.shape))
    y = _forward(ELEMENTWISE[kind], x)
    if kind == "sigmoid":
        return Expected(dx, tolerance.sigmoid_backward(y, dy, p))
    if kind == "tanh":
        return Expected(dx, tolerance.tanh_backward(y, dy, p))
    return Expected(dx, tolerance.softmax_backward(x, y, dy, p))


# --- losses ---------------------------------------------------------------------------------------------------------

LOSS_MODULES: dict[LossKind, type[nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "probability_cross_entropy": torch_ref.losses.ProbabilityCrossEntropyLoss,
    "mse": nn.MSELoss,
    "half_squared_error": torch_ref.losses.HalfSquaredErrorLoss,
    "binary_cross_entropy": torch_ref.losses.BCELoss,
    "logits_binary_cross_entropy": nn.BCEWithLogitsLoss,
}
PER_SAMPLE = ("cross_entropy", "probability_cross_entropy", "half_squared_error")


def loss(network: Architecture, y: Array, t: Array, p: Precision) -> Expected:
    """L, a scalar, from the network's output y (m, n) and the target."""
    value = _forward(_loss(network, t), y)
    return Expected(value, _loss_allowance(network, y, t, p, value), headroom=2 * _count(network, y))


def loss_backward(network: Architecture, y: Array, t: Array, p: Precision) -> Expected:
    """dL/dy (m, n)."""
    dy = _derivative(_loss(network, t), y, np.ones(()))
    return Expected(dy, _loss_gradient_allowance(network, y, t, p, dy), headroom=2 * _count(network, y))


def _loss_allowance(network: Architecture, y: Array, t: Array, p: Precision, value: Array) -> Allowance:
    count, rows = _count(network, y), _rows(t, y)
    terms = _terms(network.loss, y, rows)
    if network.loss == "cross_entropy":
        return tolerance.cross_entropy(y, rows, count, p, value)
    if network.loss == "probability_cross_entropy":
        return tolerance.probability_cross_entropy(terms, count, p, value)
    if network.loss == "binary_cross_entropy":
        return tolerance.binary_cross_entropy(rows, terms, count, p, value)
    if network.loss == "logits_binary_cross_entropy":
        return tolerance.logits_binary_cross_entropy(y, rows, terms, count, p, value)
    factor = (0.5 if network.loss == "half_squared_error" else 1.0) / count
    return tolerance.squared_error(y - rows, factor, p, value)


def _loss_gradient_allowance(network: Architecture, y: Array, t: Array, p: Precision, dy: Array) -> Allowance:
    count, rows = _count(network, y), _rows(t, y)
    if network.loss == "cross_entropy":
        softmax = _forward(ELEMENTWISE["softmax"], y)
        return tolerance.cross_entropy_backward(y, softmax, rows, count, p)
    if network.loss == "probability_cross_entropy":
        return tolerance.probability_cross_entropy_backward(dy, p)
    if network.loss == "binary_cross_entropy":
        return tolerance.binary_cross_entropy_backward(y, rows, count, p)
    if network.loss == "logits_binary_cross_entropy":
        sigmoid = _forward(ELEMENTWISE["sigmoid"], y)
        return tolerance.logits_binary_cross_entropy_backward(sigmoid, rows, count, p)
    return tolerance.squared_error_backward(dy, p)


def _loss(network: Architecture, t: Array) -> Callable[[Tensor], Tensor]:
    module, target = _loss_module(network.loss, network.reduction), _tensor(t)
    return lambda y: module(y, target)


@cache
def _loss_module(kind: LossKind, reduction: str) -> nn.Module:
    return LOSS_MODULES[kind](reduction=reduction)


def _count(network: Architecture, y: Array) -> int:
    if network.reduction == "sum":
        return 1
    return len(y) if network.loss in PER_SAMPLE else y.size


def _rows(t: Array, y: Array) -> Array:
    """The target in the shape of y: class indices as one-hot rows."""
    return np.eye(y.shape[1])[t] if t.ndim == 1 else t


def _terms(kind: LossKind, y: Array, t: Array) -> Array:
    """The summands of the loss, before the division, for the losses whose allowance needs them."""
    with np.errstate(all="ignore"):
        if kind == "probability_cross_entropy":
            return np.where(t == 0, 0, -t * np.log(y))
        if kind == "binary_cross_entropy":
            return np.where(t == 0, 0, -t * np.log(y)) + np.where(t == 1, 0, -(1 - t) * np.log1p(-y))
    if kind == "logits_binary_cross_entropy":
        return np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y)))
    return y


# --- optimisers -----------------------------------------------------------------------------------------------------

Options = Mapping[str, float | bool]


def update(
    kind: str, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
) -> dict[str, Expected]:
    """One step of torch's SGD, Adam or AdamW from the same state: {"": the parameter after, "exp_avg": ..., ...}.

    `step` counts from 1; `state` holds the state before (empty at the first step).
    """
    after = _torch_update(kind, options, step, before, g, state)
    allow = _sgd_allowance if kind == "SGD" else _adam_allowance
    allowances = allow(kind, options, step, before, g, state, p)
    return {name: Expected(value, allowances[name]) for name, value in after.items()}


def _torch_update(
    kind: str, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array]
) -> dict[str, Array]:
    """What torch.optim itself makes of this parameter, gradient and state, in float64."""
    named: dict[str, Any] = dict(options)
    if "beta1" in named:
        named["betas"] = (named.pop("beta1"), named.pop("beta2"))
    parameter = nn.Parameter(_copy(before))
    parameter.grad = _copy(g)
    optimizer = getattr(torch.optim, kind)([parameter], **named)
    if kind != "SGD" and step > 1:
        optimizer.state[parameter]["step"] = torch.tensor(float(step - 1))
    for name, value in state.items():
        optimizer.state[parameter][name] = _copy(value)
    optimizer.step()
    after = {
        name: value.numpy()
        for name, value in optimizer.state[parameter].items()
        if name in STATE[kind] and value is not None
    }
    return {"": parameter.detach().numpy(), **after}


STATES = ("momentum_buffer", "exp_avg", "exp_avg_sq")
STATE = {"SGD": ("momentum_buffer",), "Adam": ("exp_avg", "exp_avg_sq"), "AdamW": ("exp_avg", "exp_avg_sq")}


def state_names(kind: str, options: Options) -> tuple[str, ...]:
    """The state that this optimiser keeps for a parameter, by torch's names."""
    return () if kind == "SGD" and not options.get("momentum") else STATE[kind]


def _sgd_allowance(
    kind: str, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
) -> dict[str, Allowance]:
    lr, mu = float(options["lr"]), float(options.get("momentum", 0))
    terms = np.abs(g) + float(options.get("weight_decay", 0)) * np.abs(before)
    buffer = terms
    if "momentum_buffer" in state:
        buffer = mu * np.abs(state["momentum_buffer"]) + abs(1 - float(options.get("dampening", 0))) * terms
    direction = terms + mu * buffer if options.get("nesterov") else (buffer if mu else terms)
    on_the_way = np.maximum(terms, buffer)
    reach = np.abs(before) + np.maximum(on_the_way, direction)
    allowances = {"": tolerance.sgd(np.abs(before) + lr * direction, p, reach)}
    return allowances | ({"momentum_buffer": tolerance.sgd(buffer, p, on_the_way)} if mu else {})


def _adam_allowance(
    kind: str, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
) -> dict[str, Allowance]:
    """p <- p - a m / (sqrt(v) / r + eps), a = lr / (1 - b1^t), r = sqrt(1 - b2^t).

    m and v carry 6 u and 11 u of the sizes of their terms; the root halves v's; the quotient's roundings, with those of
    a and r, are 8 u. Where v underflows, its root may be off by the root of a few subnormal numbers. Where g^2, or the
    corrected v, may overflow, although v = (1 - b2) g^2 + ... itself does not, the root may be infinite and the step 0:
    nothing can be said of the parameter there, infinite or not.
    """
    lr, eps, decay = (float(options[name]) for name in ("lr", "eps", "weight_decay"))
    b1, b2 = float(options["beta1"]), float(options["beta2"])
    coupled = decay * np.abs(before) if kind == "Adam" else 0.0
    size = np.abs(g) + coupled
    m_before, v_before = (state.get(name, np.zeros_like(before)) for name in ("exp_avg", "exp_avg_sq"))
    m_terms = np.abs(m_before) * (1 + (1 - b1)) + (1 - b1) * size
    v_terms = b2 * v_before + (1 - b2) * size * size
    v_after = b2 * v_before + (1 - b2) * (g + (decay * before if kind == "Adam" else 0.0)) ** 2
    root = np.sqrt(v_after) / np.sqrt(1 - b2**step)
    root_error = _root_error(v_after, tolerance.SQUARE * p.u * v_terms + 4 * p.subnormal) / np.sqrt(1 - b2**step)
    least = np.maximum(root - root_error, 0) + eps
    rate = lr / (1 - b1**step)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = rate * m_terms / least
        carried = quotient * (14 * p.u + root_error / least)
    shrink = lr * decay * np.abs(before) if kind == "AdamW" else 0.0
    allowed = 3 * p.u * (np.abs(before) + shrink) + carried + 4 * p.subnormal * (1 + rate / least)
    exp_avg = tolerance.moving_average(m_terms, p, np.abs(m_before) + size)
    exp_avg_sq = tolerance.moving_average(v_terms, p, size * size, tolerance.SQUARE)
    corrected = (1 + 2 * tolerance.SQUARE * p.u) * v_terms / (1 - b2**step)
    reach = np.maximum(np.maximum(exp_avg.reach, exp_avg_sq.reach), corrected)
    return {
        "": Allowance(np.where(np.isnan(allowed) | (reach >= p.largest), np.inf, allowed), reach=reach),
        "exp_avg": exp_avg,
        "exp_avg_sq": exp_avg_sq,
    }


def _root_error(v: Array, error: Array) -> Array:
    """|sqrt(v + d) - sqrt(v)| <= min(d / sqrt(v), sqrt(d)) for |d| <= error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(v > 0, np.minimum(error / np.sqrt(v), np.sqrt(error)), np.sqrt(error))
