"""scratch <-> torch: the same network, loss and optimiser on the other side, with the same weights bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import scratch
import torch_ref.losses
from compare.network.architecture import LOSS_TYPES, Architecture, named_parameters

ACTIVATIONS: dict[type[scratch.Layer], type[nn.Module]] = {
    scratch.ReLU: nn.ReLU,
    scratch.Sigmoid: nn.Sigmoid,
    scratch.Tanh: nn.Tanh,
}
OPTIMIZERS: dict[type, type[torch.optim.Optimizer]] = {
    scratch.SGD: torch.optim.SGD,
    scratch.Adam: torch.optim.Adam,
    scratch.AdamW: torch.optim.AdamW,
}
LOSSES: dict[type, type[nn.Module]] = {
    scratch.CrossEntropyLoss: nn.CrossEntropyLoss,
    scratch.ProbabilityCrossEntropyLoss: torch_ref.losses.ProbabilityCrossEntropyLoss,
    scratch.MSELoss: nn.MSELoss,
    scratch.HalfSquaredErrorLoss: torch_ref.losses.HalfSquaredErrorLoss,
    scratch.BCELoss: torch_ref.losses.BCELoss,
    scratch.BCEWithLogitsLoss: nn.BCEWithLogitsLoss,
}


def to_torch(network: scratch.Sequential) -> nn.Sequential:
    """An nn.Sequential with the layers and the very weights of `network` (copies). TypeError for an unknown layer."""
    model = nn.Sequential(*map(_module, network.layers))
    copy_to_torch(network, model)
    return model


def from_torch(model: nn.Sequential) -> scratch.Sequential:
    """A scratch.Sequential with the layers and the very weights of `model` (copies). TypeError for an unknown layer."""
    network = scratch.Sequential(*map(_layer, model))
    copy_from_torch(model, network)
    return network


def copy_to_torch(network: scratch.Layer, model: nn.Module) -> None:
    """Write the network's parameters into the model's of the same names, and verify them bit by bit.

    ValueError if names, shapes or dtypes differ; nothing is written then.
    """
    theirs = _of_module(model)
    _expect_alike(_of_layer(network), _as_arrays(theirs), "the model")
    with torch.no_grad():
        for name, p in _of_layer(network).items():
            theirs[name].copy_(torch.from_numpy(p))
    verify_same_bits(network, model)


def copy_from_torch(model: nn.Module, network: scratch.Layer) -> None:
    """Write the model's parameters into the network's of the same names, and verify them bit by bit.

    ValueError if names, shapes or dtypes differ; nothing is written then.
    """
    theirs, ours = _as_arrays(_of_module(model)), _of_layer(network)
    _expect_alike(theirs, ours, "the network")
    for name, p in ours.items():
        p[...] = theirs[name]
    verify_same_bits(network, model)


def verify_same_bits(network: scratch.Layer, model: nn.Module) -> None:
    """ValueError naming the first parameter and index whose bits differ (-0.0 and 0.0 differ, equal NaNs do not)."""
    theirs, ours = _as_arrays(_of_module(model)), _of_layer(network)
    _expect_alike(ours, theirs, "the model")
    for name, p in ours.items():
        if p.tobytes() != theirs[name].tobytes():
            unsigned = f"u{p.itemsize}"
            differ = np.ascontiguousarray(p).view(unsigned) != np.ascontiguousarray(theirs[name]).view(unsigned)
            index = tuple(int(i) for i in np.argwhere(differ)[0])
            raise ValueError(f"{name}{list(index)}: got {theirs[name][index]!r}, expected the bits of {p[index]!r}")


def _of_layer(network: scratch.Layer) -> dict[str, Any]:
    """Parameters by name; of a Sequential, nested ones counted in line, so that a flat one of the same layers fits."""
    return named_parameters(network) if isinstance(network, scratch.Sequential) else network.params


def _of_module(model: nn.Module) -> dict[str, nn.Parameter]:
    return named_parameters(model) if isinstance(model, nn.Sequential) else dict(model.named_parameters())


def _as_arrays(parameters: dict[str, nn.Parameter]) -> dict[str, Any]:
    return {name: p.detach().cpu().numpy() for name, p in parameters.items()}


def to_torch_loss(loss: scratch.Loss) -> nn.Module:
    """The same loss and reduction in PyTorch. TypeError for an unknown loss."""
    known = next((t for t in type(loss).__mro__ if t in LOSSES), None)
    if known is None:
        raise TypeError(f"got loss {type(loss).__name__}, expected one of {', '.join(c.__name__ for c in LOSSES)}")
    return LOSSES[known](reduction=loss.reduction)


def to_torch_optimizer(optimizer: scratch.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The same optimiser and options in PyTorch, freshly started. TypeError for an unknown optimiser."""
    known = next((t for t in type(optimizer).__mro__ if t in OPTIMIZERS), None)
    if known is None:
        raise TypeError(f"got optimiser {type(optimizer).__name__}, expected SGD, Adam or AdamW")
    options: dict[str, Any] = dict(optimizer.options)
    if "beta1" in options:
        options["betas"] = (options.pop("beta1"), options.pop("beta2"))
    return OPTIMIZERS[known](model.parameters(), **options)


def _module(layer: scratch.Layer) -> nn.Module:
    if isinstance(layer, scratch.Linear):
        dtype = getattr(torch, layer.dtype.name)
        return nn.utils.skip_init(
            nn.Linear, layer.in_features, layer.out_features, bias="bias" in layer.params, dtype=dtype
        )
    if isinstance(layer, scratch.Softmax):
        return nn.Softmax(dim=1)
    if isinstance(layer, scratch.Sequential):
        return nn.Sequential(*map(_module, layer.layers))
    for ours, theirs in ACTIVATIONS.items():
        if isinstance(layer, ours):  # a lab's own kind of sigmoid is checked against the sigmoid
            return theirs()
    raise TypeError(f"got layer {type(layer).__name__}, expected Linear, ReLU, Sigmoid, Tanh, Softmax or Sequential")


def _layer(module: nn.Module) -> scratch.Layer:
    if isinstance(module, nn.Linear):
        return scratch.Linear(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            rng=np.random.default_rng(0),
            dtype=str(module.weight.dtype).removeprefix("torch."),
        )
    if isinstance(module, nn.Softmax) and module.dim in (1, -1):
        return scratch.Softmax()
    if isinstance(module, nn.Sequential):
        return scratch.Sequential(*map(_layer, module))
    for layer, theirs in ACTIVATIONS.items():
        if type(module) is theirs:
            return layer()
    raise TypeError(f"got module {module}, expected Linear, ReLU, Sigmoid, Tanh, Softmax(dim=1) or Sequential")


def _expect_alike(ours: dict[str, Any], theirs: dict[str, Any], whose: str) -> None:
    if list(ours) != list(theirs):
        raise ValueError(f"{whose} has parameters {list(theirs)}, expected {list(ours)}")
    for name, p in ours.items():
        q = theirs[name]
        if p.shape != q.shape or p.dtype != q.dtype:
            raise ValueError(f"{name}: {whose} has {q.dtype} {q.shape}, expected {p.dtype} {p.shape}")


def scratch_loss(network: Architecture) -> scratch.Loss:
    """The scratch loss that an architecture names."""
    found = next(t for t, kind in LOSS_TYPES.items() if kind == network.loss and issubclass(t, scratch.Loss))
    loss: scratch.Loss = found(network.reduction)
    return loss
