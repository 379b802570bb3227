"""Engine: the learner that `fit` trains with. The steps of ScratchLearner, to the same bits, in memory that is kept.

It saves what a training step does not need: the gradient of the network's own input (a third of the matrix products of
784-256-10), new arrays for every batch, and the many small passes of an optimiser that goes from array to array.
What a layer computes stands in layers.py, and a test holds the two together bit by bit, but for moments that are so
small that they move no weight (flat.py). A layer or optimiser of another class, or one that somebody watches or has
changed, runs by its own methods.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratch.flat import FlatOptimizer
from scratch.layers import Array, Layer, Linear, ReLU, rows
from scratch.learner import Data, Rows, ScratchLearner, _is_finite
from scratch.losses import Loss
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer

METHODS: dict[type, tuple[str, ...]] = {
    **{kind: ("forward", "backward") for kind in (Sequential, Linear, ReLU)},
    SGD: ("step", "update", "_velocity"),
    **{kind: ("step", "update", "_adaptive") for kind in (Adam, AdamW)},
}
ORIGINAL: dict[type, list[Callable[..., Any]]] = {
    kind: [getattr(kind, name) for name in names] for kind, names in METHODS.items()
}
MOST_SHAPES = 4  # of batches whose memory is kept: the full one, the last one of an epoch, and two to spare


class Room:
    """Where the layers of a network write for batches of one shape: outputs, and gradients of their inputs."""

    def __init__(self, x: Array, outputs: list[Array]) -> None:
        self.outputs = outputs
        self.grad_inputs = [np.empty_like(a) for a in (x[:0], *outputs[:-1])]
        self.masks = [np.empty(a.shape, bool) for a in outputs]


class Engine(ScratchLearner):
    """A ScratchLearner in every respect but speed. Arguments and errors as there.

    While it trains, the parameters are views of one array; `release` puts the arrays that were there before back.
    """

    def __init__(self, network: Sequential, loss: Loss, optimizer: Optimizer, *, threshold: float = 0.5) -> None:
        super().__init__(network, loss, optimizer, threshold=threshold)
        self._start_anew()

    def _start_anew(self) -> None:
        """Without what is made while it trains."""
        self._rooms: dict[tuple[Any, ...], Room] = {}
        self._flat: FlatOptimizer | None = None

    def train_step(self, data: Data, rows: Rows) -> tuple[float, int]:
        own = self._own_layers()
        if not self._is_known(own):
            self.release()
            return super().train_step(data, rows)
        if len(rows) == 0:
            raise ValueError("a training step on no rows, expected at least one")
        if not self.network.training:
            self.network.train()
        flat = self._flat_optimizer()
        x, t = taken(data, rows)
        with np.errstate(all="ignore"):  # what is not finite is found and named below
            loss, correct = self._gradients(x, t, flat.grads.views, own)
            if not (math.isfinite(loss) and _is_finite(flat.grads.whole)):
                raise FloatingPointError(self._first_non_finite(x, t))
            flat.step()
        return loss, correct

    def release(self) -> None:
        """Back to the arrays that held the parameters before, with the values of now."""
        if self._flat:
            self._flat.release()
            self._flat = None

    def _gradients(
        self, x: Array, t: NDArray[Any], grads: dict[str, Array], own: list[bool], share: float = 1.0
    ) -> tuple[float, int]:
        """(loss, correct predictions) of a batch, and `share` of its gradient in `grads`, if the loss is finite."""
        room = self._forward(x, own)
        y = room.outputs[-1]
        loss = float(self.loss.forward(y, t))
        if math.isfinite(loss):
            dy = self.loss.backward()
            self._backward(room, dy if share == 1 else dy * share, grads, own)
        return loss, self._correct(y, t)

    def _forward(self, x: Array, own: list[bool]) -> Room:
        """The outputs of all layers, in the room for batches of this shape. own: which layers run as written here."""
        key = (x.shape, x.dtype)
        if key not in self._rooms:
            self._rooms[key] = self._new_room(x)
            return self._rooms[key]
        outputs = self._rooms[key].outputs
        for i, layer in enumerate(self.network):
            if not own[i]:
                outputs[i] = layer.forward(x)
            elif isinstance(layer, Linear):
                linear(layer, x, outputs[i])
            else:
                relu(layer, x, outputs[i])
            x = outputs[i]
        return self._rooms[key]

    def _new_room(self, x: Array) -> Room:
        """The first batch of a shape runs by the layers' own methods; the arrays they return become its room."""
        outputs, y = [], x
        for i, layer in enumerate(self.network):
            y = self.network._at(i, layer.forward, y)
            outputs.append(y)
        if len(self._rooms) == MOST_SHAPES:
            self._rooms.clear()
        return Room(x, outputs)

    def _backward(self, room: Room, dy: Array, grads: dict[str, Array], own: list[bool]) -> None:
        """The chain rule down to the parameters of the first layer; nobody asks for the gradient of its input."""
        for i, layer in reversed(list(enumerate(self.network))):
            dx = room.grad_inputs[i]
            if not own[i]:
                dy = layer.backward(dy)
            elif isinstance(layer, Linear):
                linear_grads(layer, dy, {name: grads[f"{i}.{name}"] for name in layer.params})
                dy = np.matmul(dy, layer.params["weight"], out=dx) if i > 0 else dx
            else:
                dy = relu_grad(layer, dy, room.masks[i], dx) if i > 0 else dx

    def _flat_optimizer(self) -> FlatOptimizer:
        if self._flat is None or not self._flat.params.are(self.network.params):
            self._flat = self._new_flat_optimizer()
        return self._flat

    def _new_flat_optimizer(self) -> FlatOptimizer:
        return FlatOptimizer(self.network, self.optimizer)

    def _own_layers(self) -> list[bool]:
        """Which layers run as written here."""
        return [_is_original(layer) for layer in self.network]

    def _is_known(self, own: list[bool]) -> bool:
        """Whether every parameter is that of a Linear layer of its own, and the optimiser one that flat.py has."""
        if not (_is_original(self.network) and _is_original(self.optimizer)):
            return False
        found = [id(p) for layer in self.network for p in layer.params.values()]
        linear = all(own[i] and isinstance(layer, Linear) for i, layer in enumerate(self.network) if layer.params)
        return linear and len(set(found)) == len(found)

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        """Of the network, its state and its optimiser; a copy makes its own room."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied._start_anew()
        own = {name: value for name, value in vars(self).items() if name not in vars(copied)}
        vars(copied).update(copy.deepcopy(own, memo))
        return copied


def taken(data: Data, rows: Rows) -> Data:
    """data[rows], with less to decide."""
    x, t = data
    return x.take(rows, axis=0), t.take(rows, axis=0)


def linear(layer: Linear, x: Array, y: Array) -> None:
    """y = x W^T + b, in y."""
    layer._kept = x
    np.matmul(x, layer.params["weight"].T, out=y)
    if "bias" in layer.params:
        y += layer.params["bias"]


def relu(layer: Layer, x: Array, y: Array) -> None:
    """y = max(x, 0), in y."""
    layer._kept = x
    np.maximum(x, 0, out=y)


def linear_grads(layer: Linear, dy: Array, grads: dict[str, Array]) -> None:
    """dW = dy^T x;  db = sum of dy, both over all axes but the last, in grads."""
    np.matmul(rows(dy).T, rows(layer.kept), out=grads["weight"])
    if "bias" in grads:
        np.sum(rows(dy), axis=0, out=grads["bias"])
    layer.grads.update(grads)


def relu_grad(layer: Layer, dy: Array, mask: NDArray[np.bool_], dx: Array) -> Array:
    """dx = dy where x > 0, else 0, in dx. The bits of dy or none: dy * mask would make -0, and NaN of infinity."""
    bits = np.dtype(f"i{dy.itemsize}")
    np.greater(layer.kept, 0, out=mask)
    np.negative(mask.view(np.int8), out=dx.view(bits), dtype=bits)  # all ones, or all zeros
    np.bitwise_and(dx.view(bits), dy.view(bits), out=dx.view(bits))
    return dx


def _is_original(part: Layer | Optimizer) -> bool:
    """Of one of the classes that are written out here, with the methods that the class had then."""
    names = METHODS.get(type(part), ())
    if not names or any(name in vars(part) for name in names):
        return False
    return [getattr(type(part), name) for name in names] == ORIGINAL[type(part)]
