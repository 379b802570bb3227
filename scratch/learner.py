"""Learner: what the training loop asks of a backend, and the one that is written in NumPy.

A learner knows a network, a loss and an optimiser; which rows, how often and when to stop is the loop's affair.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scratch.graph import Graph
from scratch.layers import Array, Layer
from scratch.losses import Loss
from scratch.network import Sequential
from scratch.optim import Optimizer
from scratch.random_state import stream_state, stream_words

Data = tuple[Array, NDArray[Any]]  # x and t as ScratchLearner.place returns them
Rows = NDArray[np.integer[Any]]
CHUNK = 4096  # rows evaluated at once: memory stays bounded, and one more call costs nothing against 4096 rows


class Learner(Protocol):
    """One backend: weights that can be trained. `data` is whatever its own `place` returned."""

    @property
    def loss(self) -> Any:
        """The loss; its `reduction` is "sum", or a mean over the samples or all elements."""

    @property
    def dtype(self) -> str:
        """ "float32" or "float64", of weights and data."""

    @property
    def description(self) -> dict[str, str]:
        """What a checkpoint of it must agree with: backend, network, loss, optimizer."""

    def place(self, x: NDArray[Any], t: NDArray[Any]) -> Any:
        """The samples where the weights are. TypeError for another dtype, ValueError for unequal lengths."""

    def train_step(self, data: Any, rows: Rows) -> tuple[float, int]:
        """One update from data[rows]: (the batch's loss, its correct predictions), both before the update.

        FloatingPointError naming the layer if the loss or a gradient is not finite; nothing is updated then.
        """

    def evaluate(self, data: Any) -> tuple[float, float]:
        """(loss, accuracy) over all rows. FloatingPointError naming the layer if the loss is not finite."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """Copies of the weights by name."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of the weights, of the optimiser's state and of the layers' random streams, by name."""

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from such a state. ValueError naming the entry that does not fit; nothing is loaded then."""


class ScratchLearner:
    """A Learner in NumPy. `threshold`: above it, a single output column says yes.

    At the edge of the numbers nothing is clipped or skipped. Underflow to a subnormal or to 0 is arithmetic, and goes
    on. Overflow and NaN stop a step before its update, with the layer named; an update that overflows is found at the
    next step or evaluation, as the weight that is not finite. (An infinity that an activation turns into a finite
    number, such as -inf before a ReLU, is arithmetic as well.) One row, one class, constant inputs and equal labels
    are like any others; no rows are a ValueError. At rate 0 the weights keep their bits.

    ValueError where network, loss and optimiser do not belong together.
    """

    def __init__(self, network: Sequential, loss: Loss, optimizer: Optimizer, *, threshold: float = 0.5) -> None:
        dtypes = sorted({p.dtype.name for p in network.params.values()})
        if dtypes not in (["float32"], ["float64"]):
            raise ValueError(f"the network's weights are {dtypes}, expected one of float32 and float64")
        if optimizer.network is not network:
            raise ValueError("the optimiser updates another network, expected the one given")
        if optimizer.lr > float(np.finfo(dtypes[0]).max):
            raise ValueError(f"the rate is {optimizer.lr}, expected one that {dtypes[0]} can hold")
        self.network, self.loss, self.optimizer, self.threshold = network, loss, optimizer, threshold
        self.dtype = dtypes[0]

    @property
    def description(self) -> dict[str, str]:
        return {
            "backend": "scratch",
            "network": str(self.network),
            "loss": repr(self.loss),
            "optimizer": repr(self.optimizer),
        }

    def place(self, x: NDArray[Any], t: NDArray[Any]) -> Data:
        """x (n, in), t (n,) or (n, out), as they are; integer t as int64."""
        if len(x) != len(t) or len(x) == 0:
            raise ValueError(f"x has {len(x)} rows and t {len(t)}, expected the same number, at least one")
        if self.network.takes_class_numbers and x.dtype.kind not in "iu":
            raise TypeError(f"x is {x.dtype}, expected class numbers: whole numbers")
        if x.dtype != self.dtype and not self.network.takes_class_numbers:
            raise TypeError(f"x is {x.dtype}, expected {self.dtype}, the network's dtype")
        if np.issubdtype(t.dtype, np.integer):
            return x, t.astype(np.int64, copy=False)
        if t.dtype != self.dtype:
            raise TypeError(f"t is {t.dtype}, expected integers or {self.dtype}, the network's dtype")
        return x, t

    def train_step(self, data: Data, rows: Rows) -> tuple[float, int]:
        if len(rows) == 0:
            raise ValueError("a training step on no rows, expected at least one")
        if not self.network.training:
            self.network.train()
        x, t = data[0][rows], data[1][rows]
        with np.errstate(all="ignore"):  # what is not finite is found and named below
            y = self.network.forward(x)
            loss = float(self.loss.forward(y, t))
            if math.isfinite(loss):
                self.network.backward(self.loss.backward())
            if not (math.isfinite(loss) and all(map(_is_finite, self.network.grads.values()))):
                raise FloatingPointError(self._first_non_finite(x, t))
            correct = self._correct(y, t)
            self.optimizer.step()
        return loss, correct

    def evaluate(self, data: Data) -> tuple[float, float]:
        """Sum of m_b loss_b / n for a mean, sum of loss_b for a sum, over chunks b of m_b of the n rows."""
        if getattr(self.loss, "weight", None) is not None and self.loss.reduction == "mean":
            raise ValueError("the loss's mean is weighted by class, expected no class weights or reduction 'sum'")
        n = len(data[0])
        total, correct = self._sums(data)
        return total if self.loss.reduction == "sum" else total / n, correct / n

    def _sums(self, data: Data) -> tuple[float, int]:
        """(the rows' losses, their correct predictions), chunk by chunk."""
        self.network.eval()
        total, correct = 0.0, 0
        for start in range(0, len(data[0]), CHUNK):
            x, t = (part[start : start + CHUNK] for part in data)
            with np.errstate(all="ignore"):
                y = self.network.forward(x)
                loss = float(self.loss.forward(y, t))
                if not math.isfinite(loss):
                    raise FloatingPointError(self._first_non_finite(x, t))
            total += loss * (1 if self.loss.reduction == "sum" else len(x))
            correct += self._correct(y, t)
        return total, correct

    def _correct(self, y: Array, t: NDArray[Any]) -> int:
        """argmax y = t, or = argmax t for one-hot rows; in one column y > threshold = (t > 0.5).

        One column for class indices (m,) is one class, and its argmax is 0.
        """
        if y.shape[1] == 1 and t.ndim == 2:
            hits = (y > self.threshold) == (t > 0.5)
        else:
            hits = y.argmax(axis=1) == (t if t.ndim == 1 else t.argmax(axis=1))
        return int(hits.sum())

    def _first_non_finite(self, x: Array, t: NDArray[Any]) -> str:
        """Walk forward, then backward, and say where the first NaN or infinity is."""
        if not _is_finite(x):
            return "the input is not finite"
        if isinstance(self.network, Graph):
            return "a value of the network is not finite"
        for i, layer in enumerate(self.network):
            for name, p in layer.params.items():
                if not _is_finite(p):
                    return f"the {name} of layer {i} ({layer}) is not finite"
            x = layer.forward(x)
            if not _is_finite(x):
                return f"the output of layer {i} ({layer}) is not finite"
        loss = float(self.loss.forward(x, t))
        if not math.isfinite(loss):
            return f"the loss ({self.loss}) is {loss}, of a finite output of layer {len(self.network) - 1}"
        return self._first_non_finite_gradient()

    def _first_non_finite_gradient(self) -> str:
        dy = self.loss.backward()
        if not _is_finite(dy):
            return f"the gradient of the loss ({self.loss}) with respect to the output is not finite"
        for i, layer in reversed(list(enumerate(self.network))):
            dy = layer.backward(dy)
            for name, g in layer.grads.items():
                if not _is_finite(g):
                    return f"the gradient of the {name} of layer {i} ({layer}) is not finite"
            if dy is not None and not _is_finite(dy):
                return f"the gradient of the input of layer {i} ({layer}) is not finite"
        return "a value is not finite, and a second computation of it is"

    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: p.copy() for name, p in (self.network.params | self.network.buffers).items()}

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """ "0.weight" beside "0.weight.exp_avg", ...; "3.rng", from which layer 3 draws; and "step", the number of
        updates so far."""
        state = {name: a.copy() for name, a in _moments(self.optimizer).items()}
        return self.weights() | state | self._streams() | {"step": np.array(self.optimizer.steps)}

    def _streams(self) -> dict[str, NDArray[Any]]:
        return {name: stream_words(rng) for name, rng in self.network.streams.items()}

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Hyper-parameters (rate, momentum, ...) are not in it: they are the optimiser's own."""
        expected: dict[str, NDArray[Any]] = self.network.params | self.network.buffers | self._streams()
        expected |= {"step": np.array(0)}
        if int(state.get("step", 0)) > 0:
            expected |= _moments(_after_a_step(self.network, self.optimizer))
        _expect_entries(state, expected)
        streams = {name: stream_state(state[name]) for name in self.network.streams}
        for name, rng in self.network.streams.items():
            rng.bit_generator.state = streams[name]
        for name, b in self.network.buffers.items():
            b[...] = state[name]
        for name, p in self.network.params.items():
            p[...] = state[name]
            self.optimizer.state[name] = {
                entry.removeprefix(f"{name}."): state[entry].copy()
                for entry in expected
                if entry.startswith(f"{name}.")
            }
        self.optimizer.steps = int(state["step"])


def _is_finite(a: NDArray[Any]) -> bool:
    """A finite sum of squares has only finite terms, and BLAS is quick at it; one that overflowed proves nothing."""
    return bool(np.isfinite(np.vdot(a, a)) or np.isfinite(a).all())


def _moments(optimizer: Optimizer) -> dict[str, NDArray[Any]]:
    return {f"{name}.{key}": a for name, state in optimizer.state.items() for key, a in state.items()}


def _after_a_step(network: Layer, optimizer: Optimizer) -> Optimizer:
    """A copy of the optimiser as any first step leaves it: its state has the names, shapes and dtypes to expect."""
    fresh = copy.copy(optimizer)
    fresh.state = {name: {} for name in network.params}
    fresh.steps = 1
    for name, p in network.params.items():
        fresh.update(p.copy(), np.zeros_like(p), fresh.state[name])
    return fresh


def _expect_entries(state: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    for name in state:
        if name not in expected:
            raise ValueError(f"{name}: found in the state, expected only {', '.join(expected)}")
    for name, a in expected.items():
        if name not in state:
            raise ValueError(f"{name}: not in the state, expected {a.dtype} {a.shape}")
        if state[name].shape != a.shape or state[name].dtype != a.dtype:
            found = f"{state[name].dtype} {state[name].shape}"
            raise ValueError(f"{name}: found {found}, expected {a.dtype} {a.shape}")
