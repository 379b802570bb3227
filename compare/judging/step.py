"""One training step as rules: which tensor follows from which others, by what formula, in order of execution.

Tensors are named as in a torch state_dict: `input`, `target`, `0.weight`, `0.output`, `loss`, `0.grad_output`,
`0.grad_input`, `0.grad_weight`; the optimiser's state before the step is `0.weight.exp_avg`, and after it
`0.new_weight`, `0.new_weight.exp_avg`. `1.input`, what entered layer 1, need not be handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from compare.network.architecture import Architecture, LayerKind, LayerSpec, OptimizerSpec
from compare.numbers import allowance as tolerance
from compare.numbers.allowance import Precision
from compare.numbers.float64 import double
from compare.operations import reference
from compare.operations.reference import Expected

Array = NDArray[Any]
Kind = Literal["input", "output", "parameter", "gradient", "loss", "update"]
Check = Literal["isolated", "wiring", "spanning", "side_effects", "update"]


@dataclass(frozen=True)
class Rule:
    """How one tensor of a step follows from others.

    compute(*arrays of the sources, p=precision) -> Expected; it takes them to float64 itself. `copies` says that the
    tensor is its only source, unchanged; `optional` that a complete record may lack it; `kinked` that a ReLU follows.
    """

    name: str
    layer: str
    kind: Kind
    check: Check
    sources: tuple[str, ...]
    compute: Callable[..., Expected]
    formula: str
    copies: bool = False
    optional: bool = False
    kinked: bool = False


def rules(network: Architecture, optimizer: OptimizerSpec | None, step: int, present: Collection[str]) -> list[Rule]:
    """All rules of training step `step` (from 1), in order of execution, for a record that holds `present`."""
    found = list(_forward(network)) + [_loss(network)] + list(_backward(network, present))
    if optimizer:
        found += _update(network, optimizer, step, present)
    return found


def _same(source: Array, p: Precision) -> Expected:
    return Expected(source, tolerance.exact(source.shape))


def _copy(name: str, layer: str, kind: Kind, source: str, optional: bool = False) -> Rule:
    return Rule(name, layer, kind, "wiring", (source,), _same, f"{name} = {source}", copies=True, optional=optional)


def _entering(k: int) -> str:
    return "input" if k == 0 else f"{k}.input"


def _forward(network: Architecture) -> Iterator[Rule]:
    kinds = [layer.kind for layer in network.layers]
    for k, layer in enumerate(network.layers):
        if k > 0:
            yield _copy(f"{k}.input", str(k), "input", f"{k - 1}.output", optional=True)
        x = _entering(k)
        sources = (x, *(f"{k}.{name}" for name in layer.parameters()))
        compute = _layer(layer)
        kinked = kinds[k + 1 : k + 2] == ["relu"]
        yield Rule(f"{k}.output", str(k), "output", "isolated", sources, compute, FORWARD[layer.kind], kinked=kinked)


def _layer(layer: LayerSpec) -> Callable[..., Expected]:
    if layer.kind != "linear":
        return _in_double(partial(reference.activation, layer.kind))
    return reference.linear if layer.bias else _linear_without_bias


def _loss(network: Architecture) -> Rule:
    last = f"{len(network.layers) - 1}.output"
    formula = LOSS[network.loss][0] + (" (summed)" if network.reduction == "sum" else " (mean)")
    compute = _in_double(partial(reference.loss, network))
    return Rule("loss", "loss", "loss", "isolated", (last, "target"), compute, formula)


def _backward(network: Architecture, present: Collection[str]) -> Iterator[Rule]:
    last = len(network.layers) - 1
    for k in range(last, -1, -1):
        layer, dy = network.layers[k], f"{k}.grad_output"
        if k == last:
            yield Rule(
                dy,
                "loss",
                "gradient",
                "isolated",
                (f"{k}.output", "target"),
                _in_double(partial(reference.loss_backward, network)),
                LOSS[network.loss][1],
            )
        else:
            yield _copy(dy, str(k), "gradient", f"{k + 1}.grad_input", optional=f"{k + 1}.grad_input" in present)
        gradient = partial(Rule, layer=str(k), kind="gradient", check="isolated")
        if layer.kind == "linear":
            yield gradient(
                f"{k}.grad_weight",
                sources=(_entering(k), dy),
                compute=reference.linear_grad_weight,
                formula="dW = dy^T x",
            )
            if layer.bias:
                yield gradient(
                    f"{k}.grad_bias",
                    sources=(dy,),
                    compute=_in_double(reference.linear_grad_bias),
                    formula="db = sum of dy over the batch",
                )
            yield gradient(
                f"{k}.grad_input", sources=(f"{k}.weight", dy), compute=reference.linear_grad_input, formula="dx = dy W"
            )
        else:
            x = _kink_source(k, present) if layer.kind == "relu" else _entering(k)
            yield gradient(
                f"{k}.grad_input",
                sources=(x, dy),
                compute=_in_double(partial(reference.activation_backward, layer.kind)),
                formula=BACKWARD[layer.kind],
            )


def _kink_source(k: int, present: Collection[str]) -> str:
    """ReLU's mask is as exact in its output as in its input; the output serves where only that was handed in."""
    x = _entering(k)
    known = x in present or f"{k - 1}.output" in present
    return f"{k}.output" if not known and f"{k}.output" in present else x


def _update(network: Architecture, optimizer: OptimizerSpec, step: int, present: Collection[str]) -> Iterator[Rule]:
    for k, layer in enumerate(network.layers):
        for name in layer.parameters():
            before, state = f"{k}.{name}", reference.state_names(optimizer.kind, optimizer.options)
            held = tuple(s for s in state if step > 1 or f"{before}.{s}" in present)
            sources = (before, f"{k}.grad_{name}", *(f"{before}.{s}" for s in held))
            for part in (*state, ""):
                compute = _in_double(partial(_updated, optimizer, step, held, part))
                suffix = f".{part}" if part else ""
                yield Rule(
                    f"{k}.new_{name}{suffix}",
                    str(k),
                    "update",
                    "update",
                    sources,
                    compute,
                    UPDATE[part or optimizer.kind],
                )


# --- the formulas, as the report prints them -----------------------------------------------------------------------

FORWARD: dict[LayerKind, str] = {
    "linear": "y = x W^T + b",
    "relu": "y = max(x, 0)",
    "sigmoid": "y = 1 / (1 + e^-x)",
    "tanh": "y = tanh x",
    "softmax": "y_k = e^x_k / sum_j e^x_j, over each row",
}
BACKWARD: dict[LayerKind, str] = {
    "relu": "dx = dy where x > 0, else 0",
    "sigmoid": "dx = dy y (1 - y)",
    "tanh": "dx = dy (1 - y^2)",
    "softmax": "dx_k = y_k (dy_k - sum_j dy_j y_j)",
}
LOSS = {
    "cross_entropy": ("L = -sum t log softmax(s), over the samples", "ds = (softmax(s) - t) / m"),
    "probability_cross_entropy": ("L = -sum t log p, over the samples", "dp = -t / (m p)"),
    "mse": ("L = sum (y - t)^2, over all elements", "dy = 2 (y - t) / (m n)"),
    "half_squared_error": ("L = 1/2 sum (y - t)^2, over the samples", "dy = (y - t) / m"),
    "binary_cross_entropy": (
        "L = -sum (t log p + (1 - t) log(1 - p)), over all elements",
        "dp = ((1 - t) / (1 - p) - t / p) / (m n)",
    ),
    "logits_binary_cross_entropy": (
        "L = sum (max(z, 0) - z t + log(1 + e^-|z|)), over all elements",
        "dz = (sigmoid(z) - t) / (m n)",
    ),
}
UPDATE = {
    "SGD": "p <- p - lr v",
    "Adam": "p <- p - lr m^ / (sqrt(v^) + eps)",
    "AdamW": "p <- p (1 - lr wd) - lr m^ / (sqrt(v^) + eps)",
    "momentum_buffer": "v <- mu v + g (v = g at the first step)",
    "exp_avg": "m <- b1 m + (1 - b1) g",
    "exp_avg_sq": "v <- b2 v + (1 - b2) g^2",
}


# --- functions whose arguments are not simply the sources ---


def _in_double(compute: Callable[..., Expected]) -> Callable[..., Expected]:
    return lambda *arrays, p: compute(*map(double, arrays), p=p)


def _linear_without_bias(x: Array, weight: Array, p: Precision) -> Expected:
    return reference.linear(x, weight, None, p)


def _updated(
    optimizer: OptimizerSpec,
    step: int,
    held: Sequence[str],
    part: str,
    before: Array,
    g: Array,
    *state: Array,
    p: Precision,
) -> Expected:
    named = dict(zip(held, state, strict=True))
    return reference.update(optimizer.kind, optimizer.options, step, before, g, named, p)[part]
