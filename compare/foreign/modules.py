"""A torch module of any make, recorded: parameters, gradients, and what passes between its parts, by its own names."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compare.foreign.arrays import read_arrays
from compare.foreign.convention import Convention
from compare.network.architecture import Architecture
from compare.recording.recorded import Recorded

Array = NDArray[Any]


def run_module(
    candidate: nn.Module, x: Array, t: Array, network: Architecture, loss: Any, convention: Convention | None
) -> Recorded:
    """One step of a copy; `loss` is a torch module, or else the one that the network names."""
    criterion = copy.deepcopy(loss) if isinstance(loss, nn.Module) else torch_loss(network)
    return read_arrays(record_module(copy.deepcopy(candidate), criterion, x, t), x, t, network, convention)


def torch_loss(network: Architecture) -> nn.Module:
    """The torch loss that an architecture names."""
    return network.loss.to_torch()


def record_module(model: nn.Module, loss: nn.Module, x: Array, t: Array) -> dict[str, Array]:
    """One forward and backward pass: name -> array, under the module's own names.

    `NAME.weight` and `NAME.weight.grad` of every parameter; `NAME output`, and `NAME output.grad`, of every part;
    `loss`. A part that is called several times has its last output. ValueError where a parameter gets no gradient.
    """
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                if output.requires_grad:
                    output.retain_grad()
                outputs[f"{name or 'module'} output"] = output

        return hook

    parameter = next(model.parameters(), torch.zeros(()))
    given = torch.from_numpy(np.array(x)).to(parameter.device)
    model.zero_grad()
    with ExitStack() as hooks:
        for name, part in model.named_modules():
            handle = part.register_forward_hook(keep(name))
            hooks.callback(handle.remove)
        value = loss(model(given), torch.from_numpy(np.array(t)).to(parameter.device))
        value.backward()
    found = {"input": np.array(x), "loss": _numpy(value)}
    for name, p in model.named_parameters():
        if p.grad is None:
            raise ValueError(f"{name}: it gets no gradient: it does not take part in the loss")
        found |= {name: _numpy(p), f"{name}.grad": _numpy(p.grad)}
    for name, output in outputs.items():
        found[name] = _numpy(output)
        if output.grad is not None:
            found[f"{name}.grad"] = _numpy(output.grad)
    return found


def _numpy(a: torch.Tensor) -> Array:
    return a.detach().cpu().numpy().copy()
