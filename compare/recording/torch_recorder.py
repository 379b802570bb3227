"""Torch's recorder: training steps in PyTorch, with its own hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import nn

from compare.network.architecture import Architecture, flatten, named_buffers, named_parameters
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.recording.batches import Batch
from compare.recording.odd_candidate import OddCandidate, called
from compare.recording.record import Record
from compare.recording.sightings import of_copy
from torch_ref.tf32 import tf32_is_on


def record_torch(
    model: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    batches: Sequence[Batch],
    *,
    originals: Mapping[str, nn.Parameter] | None = None,
) -> list[Record]:
    """One Record a batch: consecutive training steps in PyTorch. The model is trained by them.

    `originals` as for record_scratch.
    """
    originals = originals if optimizer is None else None
    return [_torch_step(model, loss, optimizer, batch, k, originals) for k, batch in enumerate(batches, start=1)]


def _torch_step(
    model: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    batch: Batch,
    step: int,
    originals: Mapping[str, nn.Parameter] | None,
) -> Record:
    architecture = Architecture.of(model, loss)
    spec = OptimizerSpec.of(optimizer) if optimizer else None
    names = named_parameters(model)
    _expect_unshared(model)
    tensors = {name: as_numpy(p) if originals is None else _shared(p) for name, p in names.items()}
    tensors |= state_of(names, optimizer)
    buffers = named_buffers(model)
    tensors |= {name: as_numpy(b) for name, b in buffers.items()}
    passed: list[torch.Tensor] = []
    drawn: dict[str, torch.Tensor] = {}
    entered: dict[str, torch.Tensor] = {}  # what enters one of several layers that take it, for its own gradient

    def enter(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        k = len(passed)
        if architecture.layers[k].rows_only and args[0].ndim != 2:
            shape = tuple(args[0].shape)
            raise OddCandidate(f"layer {k} ({module}): got x of shape {shape}, which is not checked, expected rows")
        drawn.update({f"{k}.{part}": a for part, a in architecture.layers[k].draws(module, args[0]).items()})
        ways = architecture.sources(k).items()
        return tuple(map(apart, args, ways)) if len(args) == len(ways) else args

    def apart(a: torch.Tensor, way: tuple[str, int]) -> torch.Tensor:
        part, source = way
        if len(architecture.followed_by(source)) < 2 or not a.requires_grad:
            return a
        own = entered[f"{len(passed)}.grad_{part}"] = a.view_as(a)
        own.retain_grad()
        return own

    def keep(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        output.retain_grad()
        given = {part: getattr(module, part, None) for part in architecture.layers[len(passed)].drawn}
        drawn.update({f"{len(passed)}.{part}": a for part, a in given.items() if a is not None})
        passed.append(output)

    device = next(iter(names.values())).device if names else torch.device("cpu")
    x = torch.from_numpy(np.array(batch[0])).to(device)
    x.requires_grad_(x.is_floating_point())  # class numbers have no gradient
    with ExitStack() as hooks:
        for layer in dict.fromkeys(flatten(model)):  # one without parameters may stand in several places
            hooks.callback(layer.register_forward_pre_hook(enter).remove)
            hooks.callback(layer.register_forward_hook(keep).remove)
            if getattr(layer, "inplace", False):  # the same function; in place, it would overwrite what is recorded
                layer.inplace = False
                hooks.callback(setattr, layer, "inplace", True)
        model.train()
        model.zero_grad()
        value = called("the model", lambda: loss(model(x), torch.from_numpy(np.array(batch[1])).to(device)))
        tensors |= {TensorName(name).new: as_numpy(b) for name, b in buffers.items()}
        called("the model: backward", value.backward)
    tensors |= {"input": as_numpy(x), "target": np.array(batch[1]), "loss": as_numpy(value)}
    tensors |= {name: as_numpy(a) for name, a in drawn.items()}
    for k, output in enumerate(passed):
        tensors[f"{k}.output"] = as_numpy(output)
        tensors |= _gradient(f"{k}.grad_output", output)
        for part, source in architecture.sources(k).items():
            name = f"{k}.grad_{part}"
            tensors |= _gradient(name, entered.get(name, passed[source] if source >= 0 else x))
    for name, p in ((TensorName(name), p) for name, p in names.items()):
        if originals is None or p.grad is None:
            tensors |= _gradient(name.gradient, p)
        else:
            own = of_copy(_shared(p), _shared(originals[name]))
            tensors |= {name.gradient: _shared(p.grad), name: own}
    if optimizer:
        optimizer.step()
        tensors |= after_update(names, optimizer)
    return Record(architecture, tensors, spec, step, tf32=device.type == "cuda" and tf32_is_on())


def _expect_unshared(model: nn.Module) -> None:
    layers = flatten(model)
    for k, layer in enumerate(layers):
        if layer in layers[:k] and any(True for _ in layer.parameters()):
            first = layers.index(layer)
            raise OddCandidate(f"layers {first} and {k} are the same {layer}: shared weights are not checked")


def _gradient(name: str, a: torch.Tensor) -> dict[str, Array]:
    """Under its name, the gradient of a; nothing where it has none, because it does not take part in the loss."""
    return {} if a.grad is None else {name: as_numpy(a.grad)}


def after_update(names: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Array]:
    """The parameters and the optimiser's state after its step: "0.new_weight", "0.new_weight.exp_avg"."""
    found = {name: as_numpy(p) for name, p in names.items()} | state_of(names, optimizer)
    return {TensorName(name).new: a for name, a in found.items()}


def state_of(names: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer | None) -> dict[str, Array]:
    """The optimiser's state by record names: "0.weight.exp_avg"."""
    if optimizer is None:
        return {}
    return {
        TensorName(name).with_state(key): as_numpy(value)
        for name, p in names.items()
        for key, value in optimizer.state[p].items()
        if isinstance(value, torch.Tensor) and value.ndim  # what counts steps, or follows from it, is a number
    }


def as_numpy(a: torch.Tensor) -> Array:
    """A copy on the CPU."""
    return _shared(a).copy()


def _shared(a: torch.Tensor) -> Array:
    """On the CPU, in the tensor's own memory."""
    return a.detach().cpu().numpy()
