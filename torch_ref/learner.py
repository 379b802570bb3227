"""PyTorch's half of the project's training loop: one step on given rows, and exact sums over a whole set.

The loop decides which rows, how often and when to stop; this file knows a model, a loss and an optimiser.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Data = tuple[Tensor, Tensor]
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


class TorchLearner:
    """A model, its loss and its optimiser, on one device; samples are rows.

    loss: a module whose `reduction` is "mean" or "sum"; threshold: above it, one output column says yes.
    fused: the optimiser's update in one kernel, where PyTorch has one (SGD, Adam, AdamW); equal within rounding.
    compiled: training steps run the model through torch.compile, which needs a C++ compiler and a slow first step.
    At the edge of the numbers nothing is clipped or skipped: underflow goes on, overflow and NaN stop a step before
    its update with the layer named, and an update that overflows is found at the next step or evaluation. One row,
    one class, constant inputs and equal labels are like any others. At rate 0 the weights keep their bits.
    Raises ValueError where these three do not belong together, TypeError where the model mixes dtypes.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        optimizer: Optimizer,
        *,
        device: str | torch.device = "cpu",
        threshold: float = 0.5,
        fused: bool = False,
        compiled: bool = False,
    ) -> None:
        _check_dtypes(model)
        _check_loss(loss)
        _check_optimizer(model, optimizer)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        if fused:
            _fuse(optimizer)
        self.threshold = threshold
        self._device = existing(device)
        model.to(self._device)
        self._parameters = list(model.parameters())
        loss.to(self._device)
        self._forward: Callable[[Tensor], Tensor] = torch.compile(model) if compiled else model
        if optimizer.state:
            optimizer.load_state_dict(optimizer.state_dict())  # moves it to where the parameters are

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def dtype(self) -> str:
        """ "float32" or "float64"."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @property
    def description(self) -> dict[str, str]:
        """What a checkpoint of it must agree with: the network, its loss, the optimiser and its options, in words."""
        options = {key: value for key, value in self.optimizer.param_groups[0].items() if key != "params"}
        return {
            "backend": "torch",
            "network": _one_line(self.model),
            "loss": f"{type(self.loss).__name__}(reduction={self.loss.reduction!r})",
            "optimizer": f"{type(self.optimizer).__name__}({', '.join(f'{k}={v}' for k, v in options.items())})",
        }

    def place(self, x: np.ndarray, t: np.ndarray) -> Data:
        """x (n, ...), t (n,) or (n, k) where the model is, on the CPU in shared memory; integer t as int64.

        Raises TypeError for a dtype that is not the model's (no cast), ValueError for unequal lengths.
        """
        if len(x) != len(t) or len(x) == 0:
            raise ValueError(f"x has {len(x)} rows and t {len(t)}, expected the same number, at least one")
        if takes_class_numbers(self.model):
            if x.dtype.kind not in "iu":
                raise TypeError(f"x is {x.dtype}, expected class numbers: whole numbers")
            x = x.astype(np.int64, copy=False)
        elif x.dtype != self.dtype:
            raise TypeError(f"x is {x.dtype}, expected {self.dtype}, the model's dtype")
        if np.issubdtype(t.dtype, np.integer):
            t = t.astype(np.int64, copy=False)
        elif t.dtype != self.dtype:
            raise TypeError(f"t is {t.dtype}, expected integers or {self.dtype}, the model's dtype")
        return self._tensor(x), self._tensor(t)

    def expect_compiled(self, x: np.ndarray) -> None:
        """Compile for a batch x, before anything is trained. ValueError in one line where torch.compile fails here.

        Running statistics and random streams are as before.
        """
        before = self.state_dict()
        try:
            self._forward(self._tensor(x)).sum().backward()
        except Exception as error:  # whatever a compiler may end in
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"torch.compile does not work here ({type(error).__name__}: {reason})") from error
        self.optimizer.zero_grad()
        self.load_state_dict(before)

    def _tensor(self, array: np.ndarray) -> Tensor:
        # torch takes neither read-only memory nor negative strides: those alone are copied
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)

    def train_step(self, data: Data, rows: np.ndarray) -> tuple[float, int]:
        """One step on data[rows]: (loss as its module reports it, correct predictions), before the update.

        Raises ValueError for no rows, and for a target whose shape would be broadcast.
        """
        if len(rows) == 0:
            raise ValueError("a training step on no rows, expected at least one")
        index = self._tensor(np.asarray(rows, dtype=np.int64))
        x, t = (part.index_select(0, index) for part in data)
        if not self.model.training:
            self.model.train()
        for p in self._parameters:
            p.grad = None
        y = self._forward(x)
        self._check_shapes(y, t)
        loss = self.loss(y, t)
        loss.backward()
        hits = self._hits(y.detach(), t).sum()  # begun before the first wait for the device
        if not self._is_finite(loss):
            raise FloatingPointError(self._first_non_finite(x, t))
        self.optimizer.step()
        return loss.item(), int(hits)

    @torch.no_grad()
    def evaluate(self, data: Data, batch_size: int = 4096) -> tuple[float, float]:
        """(loss, accuracy) over all n rows: batch means weighted by their rows, or batch sums added."""
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        self.model.eval()
        total, correct, count = 0.0, 0, len(data[0])
        for x, t in zip(data[0].split(batch_size), data[1].split(batch_size), strict=True):
            y = self.model(x)
            self._check_shapes(y, t)
            loss = self.loss(y, t).item()
            if not math.isfinite(loss):
                raise FloatingPointError(self._first_non_finite(x, t))
            total += loss * (1 if self.loss.reduction == "sum" else len(x))
            correct += self._correct(y, t)
        return total if self.loss.reduction == "sum" else total / count, correct / count

    def _check_shapes(self, y: Tensor, t: Tensor) -> None:
        """Class indices for several columns, else the output's own shape: (n, 1) minus (n,) is (n, n).

        One column is one class only for a loss that takes class indices.
        """
        takes_indices = isinstance(self.loss, nn.CrossEntropyLoss | nn.NLLLoss)
        indices = y.ndim == 2 and (y.shape[1] > 1 or takes_indices) and t.shape == y.shape[:1]
        if y.ndim > 2 or not ((indices and not t.is_floating_point()) or t.shape == y.shape):
            found = f"target {tuple(t.shape)} {t.dtype} for output {tuple(y.shape)}"
            raise ValueError(f"{found}, expected the output's shape or class indices")

    def _is_finite(self, loss: Tensor) -> bool:
        """Of the loss and every gradient; a finite sum has only finite terms, and costs one wait for the device."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        total = sum((g.sum() for g in gradients), loss.detach())
        return math.isfinite(total.item()) or all(bool(a.isfinite().all()) for a in (loss, *gradients))

    @torch.enable_grad()
    def _first_non_finite(self, x: Tensor, t: Tensor) -> str:
        """Forward and backward once more, and where the first NaN or infinity is, in the order of computation."""
        found: list[str] = []

        def look(text: str, value: Any) -> None:
            if isinstance(value, Tensor) and not value.isfinite().all():
                found.append(f"{text} is not finite")

        def after(layer: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                for name, p in module.named_parameters():
                    look(f"the {name} of {layer}", p)
                look(f"the output of {layer}", output)
                if isinstance(output, Tensor) and output.requires_grad:
                    output.register_hook(lambda g: look(f"the gradient of the output of {layer}", g))

            return hook

        look("the input", x)
        leaves = [(name, m) for name, m in self.model.named_modules() if not any(True for _ in m.children())]
        hooks = [m.register_forward_hook(after(f"layer {name} ({_one_line(m)})")) for name, m in leaves]
        loss = self.loss(self.model(x), t)
        for hook in hooks:
            hook.remove()
        look("the loss", loss)
        self.model.zero_grad()
        loss.backward()
        for name, p in reversed(list(self.model.named_parameters())):
            look(f"the gradient of {name}", p.grad)
        return found[0] if found else "a value is not finite, and a second computation of it is"

    def _correct(self, y: Tensor, t: Tensor) -> int:
        return int(self._hits(y, t).sum())

    def _hits(self, y: Tensor, t: Tensor) -> Tensor:
        """argmax y = t, or = argmax t for rows of probabilities; in one column y > threshold = (t > 0.5).

        One column for class indices (n,) is one class, and its argmax is 0.
        """
        if y.ndim == 1 or (y.shape[1] == 1 and t.ndim == 2):
            return (y > self.threshold) == (t > 0.5)
        return y.argmax(1) == (t if t.ndim == 1 else t.argmax(1))

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of the model's arrays, under the names of its `state_dict`."""
        return {name: _array(value) for name, value in self.model.state_dict().items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of what a resumed run needs: "0.weight" beside "0.weight.exp_avg", "0.weight.step", ...

        "3.rng" is where the stream is from which module 3 draws, if it has one of its own: a `stream` with `words`, an
        array. What torch's own generator gives is in no state.
        """
        state = _flat(_optimizer_state(self.model, self.optimizer))
        streams = {name: stream.words for name, stream in _streams(self.model).items()}
        return self.weights() | {name: _array(value) for name, value in (state | streams).items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue bit for bit from what `state_dict` gave; without optimiser entries, as before any step.

        Raises ValueError naming the entry that is unknown, missing or of another shape or dtype; nothing is
        loaded then. Hyper-parameters (rate, momentum, ...) are not in it: they are the optimiser's own.
        """
        weights, moments = self.model.state_dict(), _stepped_state(self.model, self.optimizer)
        if not _flat(moments).keys() & state.keys():
            moments = {}
        streams = _streams(self.model)
        _check_entries(state, weights | _flat(moments) | {name: each.words for name, each in streams.items()})
        for name, stream in streams.items():
            stream.words = state[name]
        for name, value in weights.items():
            value.copy_(torch.tensor(state[name]))
        parameters = dict(self.model.named_parameters())
        self.optimizer.state.clear()
        for name, entries in moments.items():
            self.optimizer.state[parameters[name]] = {
                key: _like(state[f"{name}.{key}"], value) for key, value in entries.items()
            }


def takes_class_numbers(model: nn.Module) -> bool:
    """Whether what enters first is an Embedding."""
    leaves = (module for module in model.modules() if not any(True for _ in module.children()))
    return isinstance(next(leaves, None), nn.Embedding)


def _one_line(module: nn.Module) -> str:
    return " ".join(str(module).split())


def existing(device: str | torch.device) -> torch.device:
    """The device. ValueError where it is CUDA, and there is none."""
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device}, but this PyTorch finds no CUDA device")
    return device


def _check_dtypes(model: nn.Module) -> None:
    found = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})
    if not found:
        raise ValueError("the model has no parameters, expected at least one")
    if found not in (["float32"], ["float64"]):
        raise TypeError(f"the model's parameters are {' and '.join(found)}, expected one of float32 and float64")


def _check_loss(loss: nn.Module) -> None:
    reduction = getattr(loss, "reduction", None)
    if reduction not in ("mean", "sum") and not (reduction == "batchmean" and isinstance(loss, nn.KLDivLoss)):
        raise ValueError(f"the loss's reduction is {reduction!r}, expected 'mean' or 'sum'")
    # its mean is over the classes' weights, not over rows: batches of it do not add up to the set
    if reduction == "mean" and isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) and loss.weight is not None:
        raise ValueError("the loss's mean is weighted by class, expected no class weights or reduction 'sum'")


def _check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    own = {id(parameter) for parameter in model.parameters()}
    foreign = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in own]
    if foreign:
        raise ValueError(f"{len(foreign)} of the optimizer's parameters are not the model's, expected none")
    dtype = next(model.parameters()).dtype
    for group in optimizer.param_groups:
        if float(group.get("lr", 0)) > torch.finfo(dtype).max:  # add_ would end in an error of its own
            name = str(dtype).removeprefix("torch.")
            raise ValueError(f"the rate is {group['lr']}, expected one that {name} can hold")


def _fuse(optimizer: Optimizer) -> None:
    """As if it had been made with fused=True, which its state must have been begun with."""
    if not isinstance(optimizer, FUSED):
        raise ValueError(f"the optimizer is {type(optimizer).__name__}, which has no fused form")
    if optimizer.state:
        raise ValueError("the optimizer has taken steps already, expected a new one to fuse")
    for group in optimizer.param_groups:
        group["fused"], group["foreach"] = True, False


def _check_entries(state: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    for name in state:
        if name not in expected:
            raise ValueError(f"{name}: found in the state, expected only {', '.join(expected)}")
    for name, value in expected.items():
        if name not in state:
            raise ValueError(f"{name}: not in the state, expected {_description(value)}")
        if _description(state[name]) != _description(value):
            raise ValueError(f"{name}: found {_description(state[name])}, expected {_description(value)}")


def _description(value: Any) -> str:
    array = _array(value) if isinstance(value, Tensor) else np.asarray(value)
    return f"{array.shape} {array.dtype}"


def _optimizer_state(model: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """Parameter's name -> what the optimiser remembers of it; {} before its first step."""
    named = {name: optimizer.state[p] for name, p in model.named_parameters() if p in optimizer.state}
    return {name: {k: v for k, v in entries.items() if v is not None} for name, entries in named.items()}


def _streams(model: nn.Module) -> dict[str, Any]:
    """Those that modules draw from, by "3.rng"."""
    return {f"{name}.rng": vars(m)["stream"] for name, m in model.named_modules() if "stream" in vars(m)}


def _stepped_state(model: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """The state as any first step leaves it, found by taking one on a copy: its names, shapes and dtypes."""
    model, optimizer = copy.deepcopy((model, optimizer))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    return _optimizer_state(model, optimizer)


def _flat(state: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{name}.{key}": value for name, entries in state.items() for key, value in entries.items()}


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)


def _like(array: np.ndarray, value: Any) -> Any:
    """The entry as the optimiser holds it: a tensor on the device of `value`, or a plain number."""
    if isinstance(value, Tensor):
        return torch.tensor(array, device=value.device)
    return type(value)(np.asarray(array).item())
