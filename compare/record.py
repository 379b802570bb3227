"""Record: what one training step computed, tensor by tensor, by name; recording either side; and its file.

Recording runs the side's own code, one hook at each layer, loss and optimiser: what is recorded is what that code
was given and what it returned, copied at that moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import nn

import scratch
from compare.architecture import Architecture, OptimizerSpec, flatten
from scratch.learner import ScratchLearner

Array = NDArray[Any]
Batch = tuple[Array, Array]


@dataclass
class Record(Mapping[str, Array]):
    """An ordered mapping from tensor names to arrays, and what they belong to.

    `step` counts from 1. `touched` holds, by name, what a forward-time array had become after backward, for those
    whose bits changed; `watched` counts the arrays that were looked at. `scales` says of a tensor that it is so many
    times torch's, for a candidate that sums where the network means; `slack` what it may be off beyond its own
    operation's rounding, for a gradient read off the change of a weight.
    """

    network: Architecture
    tensors: dict[str, Array]
    optimizer: OptimizerSpec | None = None
    step: int = 1
    touched: dict[str, Array] = field(default_factory=dict)
    watched: int = 0
    scales: Mapping[str, float] = field(default_factory=dict)
    slack: Mapping[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def unscaled(self, name: str) -> Array:
        """The tensor in torch's scale: as it was handed in, or divided in float64."""
        a = np.asarray(self[name])
        scale = self.scales.get(name, 1.0)
        return a if scale == 1 else a.astype(np.float64) / scale

    @property
    def dtype(self) -> np.dtype[Any]:
        """The coarsest floating-point dtype among its tensors, the target and Python scalars left out."""
        found = [a.dtype for name, a in self.items() if name not in ("target", "loss") and a.dtype.kind == "f"]
        return min(found, key=lambda d: d.itemsize, default=np.dtype(np.float64))


# --- recording scratch ------------------------------------------------------------------------------------------------


def record_scratch(
    network: scratch.Sequential, loss: scratch.Loss, optimizer: scratch.Optimizer | None, batches: Sequence[Batch]
) -> list[Record]:
    """One Record a batch: consecutive training steps of the project's own learner. The network is trained by them.

    A step that ends in a value that is not finite ends the recording, with what it had computed.
    """
    records: list[Record] = []
    for step, batch in enumerate(batches, start=1):
        seen = _Sightings()
        finished = _run_step(seen, network, loss, optimizer, batch)
        if finished and optimizer:
            seen.copy_all(_after_update(network, optimizer))
        spec = OptimizerSpec.of(optimizer) if optimizer else None
        architecture = Architecture.of(network, loss)
        records.append(Record(architecture, seen.tensors, spec, step, seen.touched, len(seen.live)))
        if not finished:
            break
    return records


def _run_step(
    seen: _Sightings,
    network: scratch.Sequential,
    loss: scratch.Loss,
    optimizer: scratch.Optimizer | None,
    batch: Batch,
) -> bool:
    """One training step under hooks; False if it broke off because a value was not finite."""
    seen.copy_all(network.params, watch=True)
    if optimizer:
        seen.copy_all({f"{name}.{s}": a for name, state in optimizer.state.items() for s, a in state.items()})
    stepper = optimizer or _NoStep(network)
    learner = ScratchLearner(network, loss, stepper)
    data = learner.place(*batch)
    with ExitStack() as hooks:
        for k, layer in enumerate(flatten(network)):
            hooks.enter_context(_hook(layer, "forward", _forward_hook(seen, k)))
            hooks.enter_context(_hook(layer, "backward", _backward_hook(seen, k)))
        hooks.enter_context(_hook(loss, "forward", seen.loss))
        hooks.enter_context(_hook(stepper, "step", _step_hook(seen, network)))
        try:
            learner.train_step(data, np.arange(len(batch[0])))
        except FloatingPointError:
            seen.gradients(
                {n: g for n, g in network.grads.items() if f"{n.partition('.')[0]}.grad_output" in seen.tensors}
            )
            return False
    return True


def _after_update(network: scratch.Sequential, optimizer: scratch.Optimizer) -> dict[str, Array]:
    state = {f"{_new(name)}.{s}": a for name, found in optimizer.state.items() for s, a in found.items()}
    return {_new(name): p for name, p in network.params.items()} | state


class _NoStep(scratch.Optimizer):
    """An optimiser that leaves the weights alone, for checking gradients only."""

    def __init__(self, network: scratch.Sequential) -> None:
        super().__init__(network, lr=0.0, weight_decay=0.0)

    def step(self) -> None:
        """Nothing."""


class _Sightings:
    """Copies of the tensors of one step, made when they were seen, and the live arrays to look at once more later."""

    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self.live: dict[str, Array] = {}
        self.touched: dict[str, Array] = {}

    def copy(self, name: str, a: Any, watch: bool = False) -> None:
        self.tensors[name] = np.array(a)
        if watch and isinstance(a, np.ndarray):
            self.live[name] = a

    def copy_all(self, arrays: Mapping[str, Array], watch: bool = False) -> None:
        for name, a in arrays.items():
            self.copy(name, a, watch)

    def loss(self, original: Callable[..., Any], y: Array, t: Array) -> Any:
        value = original(y, t)
        self.copy("target", t)
        self.copy("loss", value)
        return value

    def gradients(self, grads: Mapping[str, Array]) -> None:
        """Take the gradients, and look for arrays that backward changed: it is over."""
        self.copy_all({_grad(name): g for name, g in grads.items()})
        self.touched = {n: a.copy() for n, a in self.live.items() if not same_bits(a, self.tensors[n])}


def _step_hook(seen: _Sightings, network: scratch.Sequential) -> Callable[..., Any]:
    def step(original: Callable[[], None]) -> None:
        seen.gradients(network.grads)
        original()

    return step


def _forward_hook(seen: _Sightings, k: int) -> Callable[..., Any]:
    """A hook that copies what entered and what left layer k."""

    def forward(original: Callable[[Array], Array], x: Array) -> Array:
        seen.copy("input" if k == 0 else f"{k}.input", x, watch=True)
        y = original(x)
        seen.copy(f"{k}.output", y, watch=True)
        return y

    return forward


def _backward_hook(seen: _Sightings, k: int) -> Callable[..., Any]:
    """A hook that copies the gradients that entered and left layer k."""

    def backward(original: Callable[[Array], Array], dy: Array) -> Array:
        seen.copy(f"{k}.grad_output", dy, watch=True)
        dx = original(dy)
        seen.copy(f"{k}.grad_input", dx)
        return dx

    return backward


@contextmanager
def _hook(owner: Any, method: str, around: Callable[..., Any]) -> Iterator[None]:
    """For the length of the block, owner.method(*args) is around(the original method, *args)."""
    original = getattr(owner, method)
    setattr(owner, method, lambda *args: around(original, *args))
    try:
        yield
    finally:
        delattr(owner, method)


def same_bits(a: Array, b: Array) -> bool:
    """Equal in shape, dtype and every bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _grad(name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{layer}.grad_{parameter}"


def _new(name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{layer}.new_{parameter}"


# --- recording torch --------------------------------------------------------------------------------------------------


def record_torch(
    model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer | None, batches: Sequence[Batch]
) -> list[Record]:
    """One Record a batch: consecutive training steps in PyTorch. The model is trained by them."""
    return [_torch_step(model, loss, optimizer, batch, k) for k, batch in enumerate(batches, start=1)]


def _torch_step(
    model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer | None, batch: Batch, step: int
) -> Record:
    names = _torch_names(model)
    tensors = {name: _numpy(p) for name, p in names.items()}
    tensors |= _torch_state(names, optimizer, lambda name: name)
    passed: list[torch.Tensor] = []

    def keep(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        output.retain_grad()
        passed.append(output)

    device = next(iter(names.values())).device if names else torch.device("cpu")
    x = torch.from_numpy(np.array(batch[0])).to(device).requires_grad_()
    with ExitStack() as hooks:
        for layer in flatten(model):
            hooks.enter_context(_registered(layer.register_forward_hook(keep)))
        model.zero_grad()
        value = loss(model(x), torch.from_numpy(np.array(batch[1])).to(device))
        value.backward()
    tensors |= {"input": _numpy(x), "target": np.array(batch[1]), "loss": _numpy(value)}
    for k, output in enumerate(passed):
        tensors[f"{k}.output"] = _numpy(output)
        tensors[f"{k}.grad_output"] = _numpy(output.grad)
        tensors[f"{k}.grad_input"] = _numpy((passed[k - 1] if k else x).grad)
    tensors |= {_grad(name): _numpy(p.grad) for name, p in names.items()}
    if optimizer:
        optimizer.step()
        tensors |= {_new(name): _numpy(p) for name, p in names.items()} | _torch_state(names, optimizer, _new)
    return Record(Architecture.of(model, loss), tensors, OptimizerSpec.of(optimizer) if optimizer else None, step)


def _torch_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by record name: layers counted in order, nested ones in line."""
    return {f"{k}.{name}": p for k, layer in enumerate(flatten(model)) for name, p in layer.named_parameters()}


def _torch_state(
    names: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer | None, rename: Callable[[str], str]
) -> dict[str, Array]:
    if optimizer is None:
        return {}
    return {
        f"{rename(name)}.{key}": _numpy(value)
        for name, p in names.items()
        for key, value in optimizer.state[p].items()
        if key != "step" and value is not None
    }


def _numpy(a: torch.Tensor | None) -> Array:
    if a is None:
        raise ValueError("a tensor has no gradient: it does not take part in the loss")
    return a.detach().cpu().numpy().copy()


@contextmanager
def _registered(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


# --- files ------------------------------------------------------------------------------------------------------------


def save_records(records: Sequence[Record], path: str | Path) -> None:
    """Write consecutive steps as one safetensors file; with several, names are prefixed "1/", "2/", ... by step.

    Metadata: network, optimiser with its options as JSON, number of the first step.
    """
    several = len(records) > 1
    tensors = {
        (f"{r.step}/{name}" if several else name): np.array(a, order="C") for r in records for name, a in r.items()
    }
    first = records[0]
    metadata = {"network": str(first.network), "step": str(first.step)}
    if first.optimizer:
        metadata["optimizer"] = json.dumps({"kind": first.optimizer.kind} | dict(first.optimizer.options))
    safetensors.numpy.save_file(tensors, path, metadata)


def load_records(path: str | Path, network: Architecture | None = None) -> list[Record]:
    """Read what `save_records` or another program wrote (.safetensors or .npz). ValueError in one line otherwise."""
    tensors, metadata = _read(Path(path))
    if network is None and "network" not in metadata:
        raise ValueError(
            f"{path}: the file names no network; pass it, such as '784-256-10 relu, softmax cross-entropy'"
        )
    network = network or Architecture.of(metadata["network"])
    options = json.loads(metadata["optimizer"]) if "optimizer" in metadata else None
    optimizer = OptimizerSpec(options.pop("kind"), options) if options else None
    by_step: dict[int, dict[str, Array]] = {}
    for name, a in tensors.items():
        number, slash, rest = name.partition("/")
        step = int(number) if slash and number.isdigit() else int(metadata.get("step", 1))
        by_step.setdefault(step, {})[rest if slash else name] = a
    return [Record(network, by_step[step], optimizer, step) for step in sorted(by_step)]


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}, {}
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception as error:
        raise ValueError(f"{path}: not a record (safetensors or npz): {error}") from None
