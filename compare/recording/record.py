"""Record: what one training step computed, tensor by tensor, by name; recording either side; and its file.

Recording runs the side's own code, one hook at each layer, loss and optimiser: what is recorded is what that code
was given and what it returned, copied at that moment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import nn

import scratch
from compare.network.architecture import Architecture, flatten, named_gradients, named_parameters
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.operations.operation import Layer
from scratch.datasets import DatasetError
from scratch.datasets.idx import MAX_BYTES
from scratch.datasets.npz import read_whole_npz
from scratch.layers import LayerError
from scratch.learner import ScratchLearner
from scratch.tensor_file import TensorFileError, read_tensors
from torch_ref.tf32 import tf32_is_on

MAX_NAME = 10_000  # characters of a tensor's name or of a network in a file
Array = NDArray[Any]
Batch = tuple[Array, Array]


@dataclass
class Record(Mapping[str, Array]):
    """An ordered mapping from tensor names to arrays, and what they belong to.

    `step` counts from 1. `touched` holds, by name, what an array had become later in the step, for those whose bits
    changed although they should not have, and `changed_by` in what they changed; `watched` counts the arrays that were
    looked at. `nothing` says, for tensors that are due and are none, what was found. `plain_loss` says that the loss
    was, or may have been, a Python number, which has no dtype. `scales` says of a tensor that it is so many times
    torch's, for a candidate that sums where the network means; `slack` what it may be off beyond its own operation's
    rounding, for a gradient read off the change of a weight. `told` says that what was written into is said in words
    elsewhere and is no mistake as such, as in somebody's own code. `tf32` says that its products may have been computed
    so.
    """

    network: Architecture
    tensors: dict[str, Array]
    optimizer: OptimizerSpec | None = None
    step: int = 1
    touched: dict[str, Array] = field(default_factory=dict)
    watched: int = 0
    changed_by: dict[str, str] = field(default_factory=dict)
    nothing: dict[str, str] = field(default_factory=dict)
    plain_loss: bool = False
    scales: Mapping[str, float] = field(default_factory=dict)
    slack: Mapping[str, Array] = field(default_factory=dict)
    told: bool = False
    tf32: bool = False

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

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
        """The coarsest floating-point dtype among its parameters, or where it has none among its tensors, the target
        and Python numbers left out. What is coarser than float32 there is a finding, not the record's dtype."""
        tensors = {name: a for name, a in self.items() if name not in ("target", "loss") and a.dtype.kind == "f"}
        of_parameters = [tensors[name].dtype for name in self.network.parameters() if name in tensors]
        found = of_parameters or [a.dtype for a in tensors.values() if a.itemsize >= 4]
        return min(found, key=lambda d: d.itemsize, default=np.dtype(np.float64))


# --- recording scratch ------------------------------------------------------------------------------------------------


class OddCandidate(ValueError):
    """What a layer, a loss or an optimiser is, does or returns, if no step can be recorded from it: one line."""


class _StepEnds(Exception):
    """The step cannot go on, and what was recorded shows why."""


def record_scratch(
    network: scratch.Sequential,
    loss: scratch.Loss,
    optimizer: scratch.Optimizer | None,
    batches: Sequence[Batch],
    *,
    originals: Mapping[str, Array] | None = None,
) -> list[Record]:
    """One Record a batch: consecutive training steps of the project's own learner. The network is trained by them.

    `originals` says that the network is a copy that is used for nothing else, and what it is a copy of: parameters by
    record name. Without an optimiser the record then holds the network's own arrays, and its weights are held against
    the originals instead of a further copy: a large network is recorded in the memory of its copy and its gradients.

    A step that ends in a value that is not finite, or in a shape with which it cannot go on, ends the recording, with
    what it had computed. ValueError or TypeError in one line, naming the layer, where that shows nothing.
    """
    architecture, spec = Architecture.of(network, loss), OptimizerSpec.of(optimizer) if optimizer else None
    _expect_own_layers(network)
    records: list[Record] = []
    for step, batch in enumerate(batches, start=1):
        seen = _Sightings(originals if optimizer is None else None)
        finished = _run_step(seen, architecture, network, loss, optimizer, batch)
        if finished and optimizer:
            seen.copy_all(_after_update(network, optimizer))
        records.append(seen.record(architecture, spec, step))
        if not finished:
            break
    return records


def _run_step(
    seen: _Sightings,
    architecture: Architecture,
    network: scratch.Sequential,
    loss: scratch.Loss,
    optimizer: scratch.Optimizer | None,
    batch: Batch,
) -> bool:
    """One training step under hooks; False if it broke off because a value was not finite or a shape did not fit."""
    seen.copy_all(named_parameters(network), watch=True)
    if optimizer:
        seen.copy_all(_state(network, optimizer))
    stepper = optimizer or _NoStep(network)
    learner = ScratchLearner(network, loss, stepper)
    data = learner.place(*batch)
    with ExitStack() as hooks:
        for k, layer in enumerate(flatten(network)):
            hooks.enter_context(_hook(layer, "forward", _forward_hook(seen, k, architecture.layers[k], layer)))
            hooks.enter_context(_hook(layer, "backward", _backward_hook(seen, k, layer)))
        hooks.enter_context(_hook(network, "backward", _network_hook(seen)))
        hooks.enter_context(_hook(loss, "forward", _loss_hook(seen, loss)))
        hooks.enter_context(_hook(loss, "backward", _loss_backward_hook(seen, len(architecture.layers) - 1, loss)))
        hooks.enter_context(_hook(stepper, "step", _step_hook(seen, network, optimizer)))
        try:
            learner.train_step(data, np.arange(len(batch[0])))
        except (FloatingPointError, _StepEnds):
            found = named_gradients(network).items()
            seen.gradients({n: g for n, g in found if int(n.partition(".")[0]) in seen.reached})
            return False
    return True


def _expect_own_layers(network: scratch.Sequential) -> None:
    """OddCandidate if one layer stands in two places: it keeps only what its last forward saw."""
    places: dict[int, int] = {}
    for k, layer in enumerate(flatten(network)):
        if id(layer) in places:
            raise OddCandidate(
                f"layers {places[id(layer)]} and {k} are the same {type(layer).__name__} object, expected one for each "
                "place: a layer keeps what its last forward saw"
            )
        places[id(layer)] = k


def _state(
    network: scratch.Sequential, optimizer: scratch.Optimizer
) -> dict[str, Array]:
    """The optimiser's state, "0.weight.exp_avg", by record names; its own names count nested layers apart."""
    names = dict(zip(network.params, map(TensorName, named_parameters(network)), strict=True))
    return {names[own].with_state(s): a for own, state in optimizer.state.items() for s, a in state.items()}


def _after_update(network: scratch.Sequential, optimizer: scratch.Optimizer) -> dict[str, Array]:
    parameters = named_parameters(network)
    return {TensorName(name).new: a for name, a in (parameters | _state(network, optimizer)).items()}


class _NoStep(scratch.Optimizer):
    """An optimiser that leaves the weights alone, for checking gradients only."""

    def __init__(self, network: scratch.Sequential) -> None:
        super().__init__(network, lr=0.0, weight_decay=0.0)

    def step(self) -> None:
        """Nothing."""


class _Sightings:
    """Copies of the tensors of one step, made when they were seen, and the live arrays to look at once more later.

    Given `originals`, arrays with their bits stand in for copies until the record is made, and gradients for their own.
    """

    def __init__(self, originals: Mapping[str, Array] | None = None) -> None:
        self.originals, self.keeps = originals or {}, originals is not None
        self.tensors: dict[str, Array] = {}
        self.live: dict[str, Array] = {}
        self.touched: dict[str, Array] = {}
        self.changed_by: dict[str, str] = {}
        self.nothing: dict[str, str] = {}
        self.watched: set[str] = set()
        self.reached: set[int] = set()  # the layers whose backward has run
        self.plain_loss = False

    def copy(self, name: str, a: Any, watch: bool = False) -> None:
        original = self.originals.get(name)
        self.tensors[name] = original if original is not None and same_bits(original, a) else np.array(a)
        if watch and isinstance(a, np.ndarray):
            self.live[name] = a
            self.watched.add(name)

    def copy_all(self, arrays: Mapping[str, Array], watch: bool = False) -> None:
        for name, a in arrays.items():
            self.copy(name, a, watch)

    def gradients(self, grads: Mapping[str, Array], watch: bool = False) -> None:
        """Take the gradients, and look for arrays that backward changed: it is over."""
        self.look("backward")
        if self.keeps:
            self.tensors |= {TensorName(name).gradient: np.asarray(g) for name, g in grads.items()}
        else:
            self.copy_all({TensorName(name).gradient: g for name, g in grads.items()}, watch)

    def look(self, phase: str) -> None:
        """Which arrays are not what they were any more, after this phase of the step."""
        for name, a in self.live.items():
            if not same_bits(a, self.tensors[name]):
                self.touched[name] = a.copy()
                self.changed_by.setdefault(name, phase)

    def record(self, architecture: Architecture, spec: OptimizerSpec | None, step: int) -> Record:
        for name, original in self.originals.items():
            if self.tensors.get(name) is original:
                self.tensors[name] = _of_copy(self.live[name], original)
        return Record(
            architecture,
            self.tensors,
            spec,
            step,
            self.touched,
            len(self.watched),
            self.changed_by,
            self.nothing,
            self.plain_loss,
        )


def _of_copy(a: Array, original: Array) -> Array:
    """The copy's own array, if it still has the bits of the original, which its owner may change later."""
    return a if same_bits(a, original) else original.copy()


# --- its hooks: what goes in and what comes out, copied at that moment and looked at ---

PASSED_ON = (LayerError, FloatingPointError, OddCandidate, _StepEnds)


def _called(place: str, original: Callable[..., Any], *args: Any) -> Any:
    """original(*args); what it raises becomes one line that says where, with the exception itself as its cause."""
    try:
        return original(*args)
    except PASSED_ON:
        raise
    except Exception as error:
        words = str(error).partition("\n")[0]
        raise OddCandidate(f"{place} raised {type(error).__name__}: {words}") from error


def _expect_array(place: str, a: Any, shape: tuple[int, ...]) -> None:
    """OddCandidate unless it is an array of numbers; its shape is the check's to judge."""
    if not isinstance(a, np.ndarray):
        raise OddCandidate(f"{place} returned {_in_words(a)}, expected an array {shape}")
    if a.dtype.kind not in "fiub":
        raise OddCandidate(f"{place} returned an array of {a.dtype}, expected one of floating-point numbers {shape}")


def _in_words(a: Any) -> str:
    if a is None:
        return "nothing (None)"
    if isinstance(a, tuple | list):
        return f"a {type(a).__name__} of {len(a)}"
    return f"an array {a.shape}" if isinstance(a, np.ndarray) else f"a {type(a).__name__}"


def _forward_hook(seen: _Sightings, k: int, spec: Layer, layer: scratch.Layer) -> Callable[..., Any]:
    """A hook that copies what entered and what left layer k."""
    place = f"layer {k} ({layer}): forward"

    def forward(original: Callable[[Array], Array], x: Array) -> Array:
        seen.copy("input" if k == 0 else f"{k}.input", x, watch=True)
        y: Array = _called(place, original, x)
        wanted = spec.leaving(x.shape)
        _expect_array(place, y, wanted)
        seen.copy(f"{k}.output", y, watch=True)
        if y.shape != wanted:
            raise _StepEnds
        return y

    return forward


def _backward_hook(seen: _Sightings, k: int, layer: scratch.Layer) -> Callable[..., Any]:
    """A hook that copies the gradients that entered and left layer k."""
    place = f"layer {k} ({layer}): backward"

    def backward(original: Callable[[Array], Array], dy: Array) -> Any:
        seen.copy(f"{k}.grad_output", dy, watch=True)
        if dy.shape != seen.tensors[f"{k}.output"].shape:
            raise _StepEnds
        dx: Any = _called(place, original, dy)
        seen.reached.add(k)
        for name, g in layer.grads.items():
            _expect_gradient(place, name, g, layer)
        wanted = seen.tensors["input" if k == 0 else f"{k}.input"].shape
        if dx is None and k == 0:  # nobody needs it to train, so the check can go on
            seen.nothing["0.grad_input"] = f"{place} returned nothing (None)"
            return dx
        _expect_array(place, dx, wanted)
        seen.copy(f"{k}.grad_input", dx)
        if dx.shape != wanted:
            raise _StepEnds
        return dx

    return backward


def _expect_gradient(place: str, name: str, g: Any, layer: scratch.Layer) -> None:
    if not isinstance(g, np.ndarray | np.generic):
        expected = f"an array {layer.params[name].shape}" if name in layer.params else f"one of {sorted(layer.params)}"
        raise OddCandidate(f"{place} left {_in_words(g)} in grads[{name!r}], expected {expected}")


def _network_hook(seen: _Sightings) -> Callable[..., Any]:
    """What the network itself returns is its gradient of the input, whatever its first layer returned."""
    place = "the network: backward"

    def backward(original: Callable[[Array], Array], dy: Array) -> Any:
        dx: Any = _called(place, original, dy)
        if dx is None:
            seen.tensors.pop("0.grad_input", None)
            seen.nothing.setdefault("0.grad_input", f"{place} returned nothing (None)")
            return dx
        _expect_array(place, dx, seen.tensors["input"].shape)
        seen.copy("0.grad_input", dx)
        return dx

    return backward


def _loss_hook(seen: _Sightings, loss: scratch.Loss) -> Callable[..., Any]:
    place = f"the loss ({type(loss).__name__}): forward"

    def forward(original: Callable[..., Any], y: Array, t: Array) -> Any:
        seen.copy("target", t, watch=True)
        try:
            value = _called(place, original, y, t)
        except LayerError as error:
            raise OddCandidate(f"{place}: {error}") from error
        if not isinstance(value, int | float | np.ndarray | np.generic) or np.ndim(value) != 0:
            raise OddCandidate(f"{place} returned {_in_words(value)}, expected one number")
        seen.copy("loss", value)
        seen.plain_loss = type(value) in (int, float)
        seen.look("the forward pass")
        return value

    return forward


def _loss_backward_hook(seen: _Sightings, last: int, loss: scratch.Loss) -> Callable[..., Any]:
    place = f"the loss ({type(loss).__name__}): backward"

    def backward(original: Callable[[], Array]) -> Array:
        dy: Array = _called(place, original)
        _expect_array(place, dy, seen.tensors[f"{last}.output"].shape)
        return dy

    return backward


def _step_hook(
    seen: _Sightings, network: scratch.Sequential, optimizer: scratch.Optimizer | None
) -> Callable[..., Any]:
    """A hook that takes the gradients before the step, and looks at them, and at all but the weights, after it."""

    def step(original: Callable[[], None]) -> None:
        parameters, grads = named_parameters(network), named_gradients(network)
        seen.gradients(grads, watch=optimizer is not None)
        if optimizer is None:
            return
        if any(n not in grads or grads[n].shape != p.shape for n, p in parameters.items()):
            raise _StepEnds  # no update can be made of these gradients; the check shows why
        _called(f"the optimiser ({type(optimizer).__name__}): step", original)
        for name in parameters:
            seen.live.pop(name, None)
        seen.look("the step")

    return step


@contextmanager
def _hook(owner: Any, method: str, around: Callable[..., Any]) -> Iterator[None]:
    """For the length of the block, owner.method(*args) is around(the original method, *args)."""
    original, own = getattr(owner, method), vars(owner).get(method)
    setattr(owner, method, lambda *args: around(original, *args))
    try:
        yield
    finally:
        delattr(owner, method)
        if own is not None:
            setattr(owner, method, own)


def same_bits(a: Array, b: Array) -> bool:
    """Equal in shape, dtype and every bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.itemsize not in (1, 2, 4, 8):
        return a.tobytes() == b.tobytes()
    one, other = (np.ascontiguousarray(each).view(f"u{a.itemsize}") for each in (a, b))
    return np.array_equal(one, other)


# --- recording torch --------------------------------------------------------------------------------------------------


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
    tensors = {name: _numpy(p) if originals is None else _shared(p) for name, p in names.items()}
    tensors |= _torch_state(names, optimizer)
    passed: list[torch.Tensor] = []

    def keep(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        output.retain_grad()
        passed.append(output)

    device = next(iter(names.values())).device if names else torch.device("cpu")
    x = torch.from_numpy(np.array(batch[0])).to(device).requires_grad_()
    with ExitStack() as hooks:
        for layer in dict.fromkeys(flatten(model)):  # one without parameters may stand in several places
            hooks.enter_context(_registered(layer.register_forward_hook(keep)))
            if getattr(layer, "inplace", False):  # the same function; in place, it would overwrite what is recorded
                layer.inplace = False
                hooks.callback(setattr, layer, "inplace", True)
        model.zero_grad()
        value = _called("the model", lambda: loss(model(x), torch.from_numpy(np.array(batch[1])).to(device)))
        _called("the model: backward", value.backward)
    tensors |= {"input": _numpy(x), "target": np.array(batch[1]), "loss": _numpy(value)}
    for k, output in enumerate(passed):
        tensors[f"{k}.output"] = _numpy(output)
        tensors |= _gradient(f"{k}.grad_output", output) | _gradient(f"{k}.grad_input", passed[k - 1] if k else x)
    for name, p in ((TensorName(name), p) for name, p in names.items()):
        if originals is None or p.grad is None:
            tensors |= _gradient(name.gradient, p)
        else:
            own = _of_copy(_shared(p), _shared(originals[name]))
            tensors |= {name.gradient: _shared(p.grad), name: own}
    if optimizer:
        optimizer.step()
        tensors |= {TensorName(name).new: _numpy(p) for name, p in names.items()}
        tensors |= {TensorName(name).new: a for name, a in _torch_state(names, optimizer).items()}
    return Record(architecture, tensors, spec, step, tf32=device.type == "cuda" and tf32_is_on())


def _expect_unshared(model: nn.Module) -> None:
    layers = flatten(model)
    for k, layer in enumerate(layers):
        if layer in layers[:k] and any(True for _ in layer.parameters()):
            first = layers.index(layer)
            raise OddCandidate(f"layers {first} and {k} are the same {layer}: shared weights are not checked")


def _gradient(name: str, a: torch.Tensor) -> dict[str, Array]:
    """Under its name, the gradient of a; nothing where it has none, because it does not take part in the loss."""
    return {} if a.grad is None else {name: _numpy(a.grad)}


def _torch_state(
    names: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer | None
) -> dict[str, Array]:
    if optimizer is None:
        return {}
    return {
        TensorName(name).with_state(key): _numpy(value)
        for name, p in names.items()
        for key, value in optimizer.state[p].items()
        if key != "step" and value is not None
    }


def _numpy(a: torch.Tensor) -> Array:
    return _shared(a).copy()


def _shared(a: torch.Tensor) -> Array:
    """On the CPU, in the tensor's own memory."""
    return a.detach().cpu().numpy()


@contextmanager
def _registered(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


# --- files ------------------------------------------------------------------------------------------------------------


def save_records(records: Sequence[Record], path: str | Path) -> None:
    """Write consecutive steps as one safetensors file; with several, names are prefixed "1/", "2/", ... by step.

    Metadata: network, its layers as JSON where its text cannot say them, optimiser with its options as JSON, number of
    the first step, "tf32" where that was on.
    """
    several = len(records) > 1
    tensors = {
        (f"{r.step}/{name}" if several else name): np.array(a, order="C") for r in records for name, a in r.items()
    }
    first = records[0]
    metadata = {"network": str(first.network), "step": str(first.step)}
    if not _can_be_said(first.network):
        metadata["architecture"] = json.dumps(first.network.to_dict())
    if first.tf32:
        metadata["tf32"] = "on"
    if first.optimizer:
        metadata["optimizer"] = json.dumps({"kind": first.optimizer.kind} | dict(first.optimizer.options))
    safetensors.numpy.save_file(tensors, path, metadata)


def load_records(path: str | Path, network: Architecture | None = None, *, max_bytes: int = MAX_BYTES) -> list[Record]:
    """Read what `save_records` or another program wrote (.safetensors or .npz). ValueError in one line otherwise.

    The file may be anybody's: nothing is unpickled, and nothing allocated on its word. `max_bytes`: of all arrays.
    """
    tensors, metadata = _read(Path(path), max_bytes)
    if network is None and "network" not in metadata:
        raise ValueError(
            f"{path}: the file names no network; pass it, such as '784-256-10 relu, softmax cross-entropy'"
        )
    try:
        network = network or _network(metadata)
        optimizer, first = _optimizer(metadata), _step(metadata.get("step", "1"))
        by_step: dict[int, dict[str, Array]] = {}
        for name, a in tensors.items():
            if not name.isprintable() or len(name) > MAX_NAME:
                raise ValueError(f"found a tensor named {name[:80]!r}, expected printable characters")
            number, slash, rest = name.partition("/")
            has_step = bool(slash) and number.isascii() and number.isdigit()
            step = _step(number) if has_step else first
            by_step.setdefault(step, {})[rest if slash else name] = a
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())[:400]}") from None
    # a file has no Python numbers: a loss in float64 may have been one
    tf32 = metadata.get("tf32") == "on"
    return [Record(network, by_step[s], optimizer, s, plain_loss=True, tf32=tf32) for s in sorted(by_step)]


def _can_be_said(network: Architecture) -> bool:
    """Whether the network's text says all of it: one activation for all hidden layers, a bias in each."""
    try:
        return Architecture.of(str(network)) == network
    except ValueError:
        return False


def _network(metadata: Mapping[str, str]) -> Architecture:
    if "architecture" in metadata:
        return Architecture.from_dict(json.loads(metadata["architecture"]))
    return Architecture.of(metadata["network"][:MAX_NAME])


def _optimizer(metadata: Mapping[str, str]) -> OptimizerSpec | None:
    if "optimizer" not in metadata:
        return None
    options = json.loads(metadata["optimizer"])
    if not isinstance(options, dict) or not isinstance(options.get("kind"), str):
        raise ValueError("found an optimizer without a kind in the metadata, expected an object that names it")
    kind = options.pop("kind")
    for name, value in options.items():
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            raise ValueError(f"found {kind[:40]} with {name[:40]} {str(value)[:40]!r}, expected a finite number")
    return OptimizerSpec(kind, options)


def _step(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text) > 0):
        raise ValueError(f"found step {text[:40]!r}, expected a whole number of at least 1")
    return int(text)


def _read(path: Path, max_bytes: int) -> tuple[dict[str, Array], dict[str, str]]:
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    try:
        if path.suffix == ".npz":
            return read_whole_npz(path, max_bytes=max_bytes), {}
        return read_tensors(path, max_bytes=max_bytes)
    except (DatasetError, TensorFileError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: not a record (safetensors or npz): {reason}") from None
