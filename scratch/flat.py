"""Flat: all parameters as one array, and the optimisers' updates over it in place; each layer keeps a view of its part.

A network has two arrays a layer, most of them small. One pass over all of them costs one call instead of many, and an
update that writes into memory it has already asks the system for none: what torch calls a fused optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scratch.layers import Array
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer


class FlatArrays:
    """`whole` (n,) holds the elements of all the arrays, `views` are its parts by name, in their shapes."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.whole: Array = np.concatenate([a.ravel() for a in arrays.values()])
        self.views: dict[str, Array] = {}
        start = 0
        for name, a in arrays.items():
            self.views[name] = self.whole[start : start + a.size].reshape(a.shape)
            start += a.size

    def are(self, arrays: Mapping[str, Array]) -> bool:
        """Whether these are the views themselves (a copy of the views would no longer share their memory)."""
        return all(a is self.views[name] and a.base is self.whole for name, a in arrays.items())


class FlatOptimizer:
    """Takes an optimiser's steps over flat arrays, to the same bits: the same operations in the same order.

    Parameters and state stay where they were to be found, under network.params and optimizer.state; what is put in
    their place from outside is taken over at the next step. `grads` are views to write the gradients into.
    """

    def __init__(self, network: Sequential, optimizer: Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.given = network.params
        self.params, self.grads = FlatArrays(self.given), FlatArrays(self.given)
        self.state: dict[str, FlatArrays] = {}
        self._room = np.empty_like(self.params.whole), np.empty_like(self.params.whole)
        self._place(self.params.views)

    def step(self) -> None:
        """optimizer.step() with the gradients in `grads`."""
        self.optimizer.steps += 1
        UPDATES[type(self.optimizer)](self, self.params.whole, self.grads.whole)

    def release(self) -> None:
        """The arrays that were given hold the parameters again, with the values of now."""
        for name, p in self.network.params.items():
            self.given[name][...] = p
        self._place(self.given)

    def _place(self, params: Mapping[str, Array]) -> None:
        for i, layer in enumerate(self.network):
            for name in layer.params:
                layer.params[name] = params[f"{i}.{name}"]

    def _adopted_state(self, key: str) -> Array | None:
        """The state `key` of all parameters (n,); None where the optimiser has none yet."""
        states = self.optimizer.state
        if any(key not in states[name] for name in self.params.views):
            return None
        found = {name: states[name][key] for name in self.params.views}
        if key not in self.state or not self.state[key].are(found):
            self._set_state(key, found)
        return self.state[key].whole

    def _set_state(self, key: str, arrays: Mapping[str, Array]) -> Array:
        self.state[key] = FlatArrays(arrays)
        for name, view in self.state[key].views.items():
            self.optimizer.state[name][key] = view
        return self.state[key].whole

    # the updates: p, g (n,); a and b are room for what is in between

    def sgd(self, p: Array, g: Array) -> None:
        """As SGD.update."""
        o, (a, b) = self.optimizer, self._room
        assert isinstance(o, SGD)
        if o.weight_decay:
            np.multiply(p, o.weight_decay, out=a)
            g = np.add(g, a, out=a)
        if o.momentum:
            v = self._velocity(o, g)
            g = np.add(g, np.multiply(v, o.momentum, out=b), out=a) if o.nesterov else v
        p -= np.multiply(g, o.lr, out=b)

    def _velocity(self, o: SGD, g: Array) -> Array:
        v = self._adopted_state("momentum_buffer")
        if v is None:
            v = self._set_state("momentum_buffer", self.params.views)
            v[...] = g
        else:
            v *= o.momentum
            v += np.multiply(g, 1 - o.dampening, out=self._room[1])
        return v

    def adam(self, p: Array, g: Array) -> None:
        """As Adam.update."""
        if self.optimizer.weight_decay:
            a = self._room[0]
            g = np.add(g, np.multiply(p, self.optimizer.weight_decay, out=a), out=a)
        self._adaptive(p, g)

    def adamw(self, p: Array, g: Array) -> None:
        """As AdamW.update."""
        p *= 1 - self.optimizer.lr * self.optimizer.weight_decay
        self._adaptive(p, g)

    def _adaptive(self, p: Array, g: Array) -> None:
        """As Adam._adaptive, in 13 passes. `g` may lie in a, which is therefore written to last."""
        o, (a, b) = self.optimizer, self._room
        assert isinstance(o, Adam)
        (b1, b2), m, v = o.betas, self._moment("exp_avg"), self._moment("exp_avg_sq")
        np.subtract(g, m, out=b)
        b *= 1 - b1
        m += b
        np.multiply(g, g, out=b)
        b *= 1 - b2
        v *= b2
        v += b
        root = np.sqrt(v, out=b)
        root /= math.sqrt(1 - b2**o.steps)
        root += o.eps
        np.multiply(m, o.lr / (1 - b1**o.steps), out=a)
        a /= root
        p -= a

    def _moment(self, key: str) -> Array:
        found = self._adopted_state(key)
        if found is None:
            zeros = {name: np.zeros_like(p) for name, p in self.params.views.items()}
            found = self._set_state(key, zeros)
        return found


UPDATES: dict[type[Optimizer], Callable[[FlatOptimizer, Array, Array], Any]] = {
    SGD: FlatOptimizer.sgd,
    Adam: FlatOptimizer.adam,
    AdamW: FlatOptimizer.adamw,
}
