"""What is to be computed: the layers in order, the loss, and the optimiser, independent of who computes it.

Read from a scratch network, from a torch module, or from the short text of the README, such as
"784-256-10 relu, softmax cross-entropy".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

import scratch
import torch_ref.losses

LayerKind = Literal["linear", "relu", "sigmoid", "tanh", "softmax"]
LossKind = Literal[
    "cross_entropy",
    "probability_cross_entropy",
    "mse",
    "half_squared_error",
    "binary_cross_entropy",
    "logits_binary_cross_entropy",
]

ACTIVATIONS: tuple[LayerKind, ...] = ("relu", "sigmoid", "tanh", "softmax")
LAYER_TYPES: dict[type, LayerKind] = {
    scratch.ReLU: "relu",
    scratch.Sigmoid: "sigmoid",
    scratch.Tanh: "tanh",
    scratch.Softmax: "softmax",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Softmax: "softmax",
}
LOSS_TYPES: dict[type, LossKind] = {
    scratch.CrossEntropyLoss: "cross_entropy",
    scratch.ProbabilityCrossEntropyLoss: "probability_cross_entropy",
    scratch.MSELoss: "mse",
    scratch.HalfSquaredErrorLoss: "half_squared_error",
    scratch.BCELoss: "binary_cross_entropy",
    scratch.BCEWithLogitsLoss: "logits_binary_cross_entropy",
    nn.CrossEntropyLoss: "cross_entropy",
    nn.MSELoss: "mse",
    nn.BCELoss: "binary_cross_entropy",
    nn.BCEWithLogitsLoss: "logits_binary_cross_entropy",
    torch_ref.losses.ProbabilityCrossEntropyLoss: "probability_cross_entropy",
    torch_ref.losses.HalfSquaredErrorLoss: "half_squared_error",
    torch_ref.losses.BCELoss: "binary_cross_entropy",
}
LOSS_WORDS: dict[str, LossKind] = {
    "softmax cross-entropy": "cross_entropy",
    "cross-entropy": "cross_entropy",
    "cross-entropy on logits": "cross_entropy",
    "cross-entropy on probabilities": "probability_cross_entropy",
    "mse": "mse",
    "mean squared error": "mse",
    "half squared error": "half_squared_error",
    "binary cross-entropy": "binary_cross_entropy",
    "binary cross-entropy on probabilities": "binary_cross_entropy",
    "sigmoid binary cross-entropy": "logits_binary_cross_entropy",
    "binary cross-entropy on logits": "logits_binary_cross_entropy",
}
OPTIMIZERS = ("SGD", "Adam", "AdamW")
GRAMMAR = (
    'SIZES [ACTIVATION] [, ACTIVATION output], LOSS [sum|mean], such as "784-256-10 relu, softmax cross-entropy"; '
    f"ACTIVATION: {', '.join(ACTIVATIONS)}; LOSS: {', '.join(LOSS_WORDS)}"
)


@dataclass(frozen=True)
class LayerSpec:
    """One layer: its kind, and the sizes where it has parameters."""

    kind: LayerKind
    in_features: int = 0
    out_features: int = 0
    bias: bool = True

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its parameters, torch's."""
        if self.kind != "linear":
            return {}
        weight = {"weight": (self.out_features, self.in_features)}
        return weight | ({"bias": (self.out_features,)} if self.bias else {})

    def __str__(self) -> str:
        name = {"relu": "ReLU"}.get(self.kind, self.kind.capitalize())
        return f"Linear {self.in_features} -> {self.out_features}" if self.kind == "linear" else name


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimiser by torch's name, and its options by torch's names (betas as beta1, beta2)."""

    kind: str
    options: Mapping[str, float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            raise ValueError(f"got optimiser {self.kind!r}, expected one of {', '.join(OPTIMIZERS)}")

    @classmethod
    def of(cls, optimizer: Any) -> OptimizerSpec:
        """From a scratch or a torch optimiser. TypeError if it is neither, or uses an option that is not checked."""
        if isinstance(optimizer, OptimizerSpec):
            return optimizer
        if isinstance(optimizer, scratch.Optimizer):
            return cls(_optimizer_kind(optimizer), _scratch_options(optimizer))
        if isinstance(optimizer, torch.optim.Optimizer):
            return cls(_optimizer_kind(optimizer), _torch_options(optimizer))
        raise TypeError(f"got optimiser {type(optimizer).__name__}, expected a scratch or torch optimiser")

    def __str__(self) -> str:
        return f"{self.kind}(lr={self.options.get('lr')})"


@dataclass(frozen=True)
class Architecture:
    """Layers in order, and the loss with its reduction."""

    layers: tuple[LayerSpec, ...]
    loss: LossKind
    reduction: Literal["mean", "sum"] = "mean"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input size, then the output size of every linear layer."""
        linear = [layer for layer in self.layers if layer.kind == "linear"]
        return (linear[0].in_features, *(layer.out_features for layer in linear)) if linear else ()

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Record names and shapes of all parameters."""
        return {f"{k}.{n}": shape for k, layer in enumerate(self.layers) for n, shape in layer.parameters().items()}

    def __str__(self) -> str:
        hidden = list(dict.fromkeys(layer.kind for layer in self.layers[:-1] if layer.kind != "linear"))
        last = self.layers[-1].kind
        words = "-".join(map(str, self.sizes)) + "".join(f" {kind}" for kind in hidden)
        output = "" if last == "linear" else f", {last} output"
        loss = next(word for word, kind in LOSS_WORDS.items() if kind == self.loss)
        return f"{words}{output}, {loss}{' sum' if self.reduction == 'sum' else ''}"

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a file: layers, loss and reduction."""
        layers = [
            {"kind": layer.kind, "in": layer.in_features, "out": layer.out_features, "bias": layer.bias}
            if layer.kind == "linear"
            else {"kind": layer.kind}
            for layer in self.layers
        ]
        return {"layers": layers, "loss": self.loss, "reduction": self.reduction}

    @classmethod
    def from_dict(cls, found: Any) -> Architecture:
        """From what `to_dict` gave and a file may hold. ValueError in one line for anything else."""
        match found:
            case {"layers": [_, *_] as layers, "loss": str(loss), "reduction": "mean" | "sum" as reduction} if (
                loss in LOSS_TYPES.values()
            ):
                made = cls(tuple(_layer_of(layer) for layer in layers), loss, reduction)  # type: ignore[arg-type]
                linear = [layer for layer in made.layers if layer.kind == "linear"]
                if linear and all(one.out_features == next_.in_features for one, next_ in pairwise(linear)):
                    return made
        raise ValueError("found an architecture that is none, expected layers that fit, a loss and its reduction")

    @classmethod
    def of(cls, network: Any, loss: Any = None) -> Architecture:
        """From an Architecture, a text, a scratch network or a torch module, the latter two with their loss.

        TypeError or ValueError in one line for a layer, loss or text that is not known.
        """
        if isinstance(network, Architecture):
            return network
        if isinstance(network, str):
            return parse(network)
        if loss is None:
            raise ValueError(f"the loss is missing: pass loss=..., or the network as a text: {GRAMMAR}")
        kind = next((LOSS_TYPES[t] for t in type(loss).__mro__ if t in LOSS_TYPES), None)
        if kind is None:
            raise TypeError(
                f"got loss {type(loss).__name__}, expected one of {', '.join(t.__name__ for t in LOSS_TYPES)}"
            )
        _expect_plain(loss)
        layers = tuple(_layer(k, layer) for k, layer in enumerate(flatten(network)))
        return cls(layers, kind, _reduction(loss))


def _layer_of(found: Any) -> LayerSpec:
    match found:
        case {"kind": "linear", "in": int(fan_in), "out": int(fan_out), "bias": bool(bias)} if min(fan_in, fan_out) > 0:
            return LayerSpec("linear", fan_in, fan_out, bias)
        case {"kind": kind} if kind in ACTIVATIONS:
            return LayerSpec(kind)
    raise ValueError(f"found the layer {str(found)[:80]}, expected linear with in, out and bias, or an activation")


def flatten(network: Any) -> list[Any]:
    """The layers of a scratch.Sequential or torch module, nested ones in line; their record names count from 0."""
    if isinstance(network, scratch.Sequential):
        return [leaf for layer in network.layers for leaf in flatten(layer)]
    if isinstance(network, nn.Sequential):
        return [leaf for layer in network for leaf in flatten(layer)]
    return [network]


def named_parameters(network: Any) -> dict[str, Any]:
    """By record name, the parameters of a scratch network (its own arrays) or a torch module, nested ones in line."""
    return {f"{k}.{name}": p for k, layer in enumerate(flatten(network)) for name, p in _own_parameters(layer).items()}


def named_gradients(network: scratch.Sequential) -> dict[str, Any]:
    """What the layers hold as gradients of their parameters, by the parameters' record names."""
    return {f"{k}.{name}": g for k, layer in enumerate(flatten(network)) for name, g in layer.grads.items()}


def gradient_of(parameter: str) -> str:
    """0.weight -> 0.grad_weight."""
    layer, _, name = parameter.partition(".")
    return f"{layer}.grad_{name}"


def new_value_of(parameter: str) -> str:
    """0.weight -> 0.new_weight: after the optimiser's step."""
    layer, _, name = parameter.partition(".")
    return f"{layer}.new_{name}"


def _own_parameters(layer: Any) -> Mapping[str, Any]:
    return dict(layer.named_parameters()) if isinstance(layer, nn.Module) else layer.params


def _layer(k: int, layer: Any) -> LayerSpec:
    if isinstance(layer, nn.Linear):
        return LayerSpec("linear", layer.in_features, layer.out_features, layer.bias is not None)
    if isinstance(layer, scratch.Linear):
        _expect_attributes(k, layer, "in_features", "out_features", "params", "grads")
        spec = LayerSpec("linear", layer.in_features, layer.out_features, "bias" in layer.params)
        _expect_parameters(k, layer, spec)
        return spec
    for known, kind in LAYER_TYPES.items():
        if isinstance(layer, known) and getattr(layer, "dim", 1) in (1, -1):
            if isinstance(layer, scratch.Layer):
                _expect_attributes(k, layer, "params", "grads")
            return LayerSpec(kind)
    shown = layer if isinstance(layer, nn.Module) else type(layer).__name__
    raise TypeError(f"got layer {shown}, expected Linear, ReLU, Sigmoid, Tanh or Softmax (over columns)")


def _expect_attributes(k: int, layer: Any, *names: str) -> None:
    """TypeError naming the layer unless it has what every scratch layer has (a forgotten super().__init__())."""
    for name in names:
        if not hasattr(layer, name):
            raise TypeError(f"layer {k} ({type(layer).__name__}) has no {name}, expected {', '.join(names)}")
        if name in ("params", "grads") and not isinstance(getattr(layer, name), Mapping):
            found = type(getattr(layer, name)).__name__
            raise TypeError(f"layer {k} ({type(layer).__name__}): {name} is a {found}, expected a dictionary")


def _expect_parameters(k: int, layer: scratch.Linear, spec: LayerSpec) -> None:
    place = f"layer {k} ({type(layer).__name__})"
    for name, shape in spec.parameters().items():
        if name not in layer.params:
            raise TypeError(f"{place}: params has {sorted(layer.params)}, expected {sorted(spec.parameters())}")
        if not isinstance(layer.params[name], np.ndarray):
            found = type(layer.params[name]).__name__
            raise TypeError(f"{place}: params[{name!r}] is a {found}, expected an array {shape}")


def _expect_plain(loss: Any) -> None:
    """TypeError for an option of a torch loss that makes another loss of it, which is not checked."""
    for option, plain in (("weight", None), ("pos_weight", None), ("label_smoothing", 0.0)):
        found = getattr(loss, option, plain)
        if isinstance(loss, nn.Module) and found is not plain and found != plain:
            shown = found if isinstance(found, float) else "..."
            raise TypeError(f"got {type(loss).__name__}({option}={shown}), which is not checked")


def _reduction(loss: Any) -> Literal["mean", "sum"]:
    found = getattr(loss, "reduction", None)
    if found not in ("mean", "sum"):
        raise TypeError(f"{type(loss).__name__}: got reduction {found!r}, expected 'mean' or 'sum'")
    reduction: Literal["mean", "sum"] = found
    return reduction


def parse(text: str) -> Architecture:
    """An Architecture from its text. ValueError that shows the grammar."""
    parts = [" ".join(part.split()) for part in text.lower().split(",")]
    match = re.fullmatch(rf"(\d+(?:-\d+)+)(?: ({'|'.join(ACTIVATIONS)}))?", parts[0])
    other = re.fullmatch(r"\d+(?:-\d+)+ (.+)", parts[0])
    if other and not match:
        raise ValueError(
            f"network {text!r}: got activation {other[1]!r}, expected one of {', '.join(ACTIVATIONS)}, "
            "the same for all hidden layers"
        )
    if not match or not 2 <= len(parts) <= 3:
        raise ValueError(f"network {text!r}: expected {GRAMMAR}")
    sizes = [int(n) for n in match[1].split("-")]
    if min(sizes) < 1:
        raise ValueError(f"network {text!r}: got a size of 0, expected at least 1")
    if len(sizes) > 2 and match[2] is None:
        raise ValueError(f"network {text!r}: the activation between its layers is missing; expected {GRAMMAR}")
    layers: list[LayerSpec] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [LayerSpec("linear", fan_in, fan_out), *([LayerSpec(match[2])] if match[2] else [])]  # type: ignore[arg-type]
    if match[2]:
        layers.pop()
    if len(parts) == 3:
        layers.append(LayerSpec(_output(parts[1], text)))
    return Architecture(tuple(layers), *_loss(parts[-1], text))


def _output(words: str, text: str) -> LayerKind:
    kind = words.removesuffix(" output")
    for known in ACTIVATIONS:
        if kind == known:
            return known
    raise ValueError(f"network {text!r}: got output activation {words!r}, expected one of {', '.join(ACTIVATIONS)}")


def _loss(words: str, text: str) -> tuple[LossKind, Literal["mean", "sum"]]:
    reduction: Literal["mean", "sum"] = "sum" if words.endswith(" sum") else "mean"
    words = words.removesuffix(" sum").removesuffix(" mean")
    if words not in LOSS_WORDS:
        raise ValueError(f"network {text!r}: got loss {words!r}, expected one of {', '.join(LOSS_WORDS)}")
    return LOSS_WORDS[words], reduction


def _optimizer_kind(optimizer: Any) -> str:
    """The name of the known class that it is, or is derived from."""
    return next((t.__name__ for t in type(optimizer).__mro__ if t.__name__ in OPTIMIZERS), type(optimizer).__name__)


def _scratch_options(optimizer: scratch.Optimizer) -> Mapping[str, float | bool]:
    try:
        return optimizer.options
    except AttributeError as error:
        raise TypeError(f"{type(optimizer).__name__} has no {error.name}: is super().__init__() called?") from None


def _torch_options(optimizer: torch.optim.Optimizer) -> dict[str, float | bool]:
    if len(optimizer.param_groups) != 1:
        raise TypeError(f"got an optimiser with {len(optimizer.param_groups)} parameter groups, expected 1")
    group = optimizer.param_groups[0]
    for unchecked in ("amsgrad", "maximize"):
        if group.get(unchecked):
            raise TypeError(f"got {type(optimizer).__name__}({unchecked}=True), which is not checked")
    names = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "eps")
    options = {name: group[name] for name in names if name in group}
    if "betas" in group:
        options["beta1"], options["beta2"] = group["betas"]
    return options
