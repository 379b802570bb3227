"""scratch <-> torch: the same network, loss and optimiser on the other side, with the same weights bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

import scratch
from compare.network.architecture import named_buffers, named_parameters, own_parameters
from compare.network.optimizer import OptimizerSpec
from compare.operations import LAYERS, LOSSES, OPTIMIZERS, layer_type, loss_type
from torch_ref.graph import Graph


def to_torch(network: scratch.Sequential) -> nn.Sequential:
    """An nn.Sequential with the layers and the very weights of `network` (copies). TypeError for an unknown layer."""
    kind = Graph if isinstance(network, scratch.Graph) else nn.Sequential
    model = kind(*map(_module, network.layers))
    copy_to_torch(network, model)
    return model


def from_torch(model: nn.Sequential) -> scratch.Sequential:
    """A scratch.Sequential with the layers and the very weights of `model` (copies). TypeError for an unknown layer."""
    network = in_order(*map(_layer, model))
    copy_from_torch(model, network)
    return network


def in_order(*layers: scratch.Layer) -> scratch.Sequential:
    """A Graph where a layer takes what an earlier one gave, else a Sequential."""
    is_graph = any(layer.instead is not None or layer.also is not None for layer in layers)
    return (scratch.Graph if is_graph else scratch.Sequential)(*layers)


def copy_to_torch(network: scratch.Layer, model: nn.Module) -> None:
    """Write the network's parameters and buffers into the model's of the same names, and verify the former bit by bit.

    ValueError if names, shapes or dtypes differ; nothing is written then.
    """
    theirs = _of_module(model)
    _expect_alike(_of_layer(network), _as_arrays(theirs), "the model")
    _expect_alike(named_buffers(network), _as_arrays(named_buffers(model)), "the model")
    with torch.no_grad():
        for name, p in _of_layer(network).items():
            theirs[name].copy_(torch.from_numpy(p))
        for name, b in named_buffers(model).items():
            b.copy_(torch.from_numpy(named_buffers(network)[name]))
    verify_same_bits(network, model)


def copy_from_torch(model: nn.Module, network: scratch.Layer) -> None:
    """Write the model's parameters and buffers into the network's of the same names, and verify the former bit by bit.

    ValueError if names, shapes or dtypes differ; nothing is written then.
    """
    theirs, ours = _as_arrays(_of_module(model)), _of_layer(network)
    _expect_alike(theirs, ours, "the network")
    _expect_alike(_as_arrays(named_buffers(model)), named_buffers(network), "the network")
    for name, p in ours.items():
        p[...] = theirs[name]
    for name, b in named_buffers(network).items():
        b[...] = named_buffers(model)[name].cpu().numpy()
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
    return named_parameters(model) if isinstance(model, nn.Sequential) else dict(own_parameters(model))


def _as_arrays(parameters: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: p.detach().cpu().numpy() for name, p in parameters.items()}


def to_torch_loss(loss: scratch.Loss, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The same loss and reduction in PyTorch, its weights in the model's dtype. TypeError for an unknown loss."""
    known = loss_type(loss)
    if known is None:
        names = (kind.scratch_type.__name__ for kind in LOSSES.values())
        raise TypeError(f"got loss {type(loss).__name__}, expected one of {', '.join(names)}")
    made: nn.Module = known.torch_type(**known.of(loss).torch_arguments())  # of its own, not the one that is shared
    return made.to(dtype)


def dtype_of(model: nn.Module) -> torch.dtype:
    """Of its parameters; float32 where it has none."""
    return next((p.dtype for p in model.parameters()), torch.float32)


def to_torch_optimizer(optimizer: scratch.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The same optimiser and options in PyTorch, freshly started. TypeError for an unknown optimiser."""
    if not any(isinstance(optimizer, known.scratch_type) for known in OPTIMIZERS.values()):
        raise TypeError(f"got optimiser {type(optimizer).__name__}, expected one of {', '.join(OPTIMIZERS)}")
    spec = OptimizerSpec.of(optimizer)
    made: torch.optim.Optimizer = spec.method.torch_type(model.parameters(), **spec.arguments)
    return made


def _module(layer: scratch.Layer) -> nn.Module:
    if isinstance(layer, scratch.Sequential):
        return nn.Sequential(*map(_module, layer.layers))
    known = layer_type(layer)
    if known is None:
        raise TypeError(f"got layer {type(layer).__name__}, expected {_known_layers()} or Sequential")
    dtype = getattr(torch, getattr(layer, "dtype", np.dtype(np.float32)).name)
    return known.of(layer, type(layer).__name__).to_torch(dtype)


def _layer(module: nn.Module) -> scratch.Layer:
    if isinstance(module, nn.Sequential):
        return scratch.Sequential(*map(_layer, module))
    known = layer_type(module)
    if known is None:
        raise TypeError(f"got module {module}, expected {_known_layers()} or Sequential")
    weights = next(chain(module.parameters(), module.buffers()), None)
    if weights is None:
        return known.of(module, str(module)).to_scratch()
    dtype = str(weights.dtype).removeprefix("torch.")
    return known.of(module, str(module)).to_scratch(rng=np.random.default_rng(0), dtype=dtype)


def _known_layers() -> str:
    return ", ".join(sorted({known.scratch_type.__name__ for known in LAYERS.values()}))


def _expect_alike(ours: dict[str, Any], theirs: dict[str, Any], whose: str) -> None:
    if list(ours) != list(theirs):
        raise ValueError(f"{whose} has parameters {list(theirs)}, expected {list(ours)}")
    for name, p in ours.items():
        q = theirs[name]
        if p.shape != q.shape or p.dtype != q.dtype:
            raise ValueError(f"{name}: {whose} has {q.dtype} {q.shape}, expected {p.dtype} {p.shape}")
