"""Flat: all parameters as one array, and the optimisers' updates over it in place; each layer keeps a view of its part.

A network has two arrays a layer, most of them small. An update that goes over all of them at once, piece by piece,
needs few calls and no new memory, and finds what it has just written still in the cache.

The pieces are not shared out to threads. The calls are short, the interpreter's lock is handed over at each, and the
core that is free is the one on which OpenBLAS's own thread spins until the next product: two threads gained a step of
784-256-10 nothing, and a tenth at best where that thread was made to sleep, which slows the products. Processes have
neither in common: they share the update out (parallel_engine.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from scratch.layers import Array
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer

LINE = 64  # bytes of a cache line, and of the widest vector: arrays that begin at one are read and written faster
CLEANED_EVERY = 32  # steps: how often `drop_subnormals` looks at the state
PIECE = 2**18  # bytes of a piece: the six arrays of Adam's stay in the caches, and calls are few

Order = Literal["C", "F"]
Allocator = Callable[[int, DTypeLike], Array]  # makes (n,) of a dtype


def aligned(n: int, dtype: DTypeLike) -> Array:
    """(n,), not yet filled, from a multiple of LINE bytes on."""
    room = np.empty(n * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + n * np.dtype(dtype).itemsize].view(dtype)


class FlatArrays:
    """`whole` (n,) holds the elements of all the arrays, `views` are its parts by name, in their shapes.

    order: "C" has matrices row by row, "F" column by column.
    """

    def __init__(self, arrays: Mapping[str, Array], allocate: Allocator = aligned, order: Order = "C") -> None:
        parts = [a.ravel(order) for a in arrays.values()]
        self.whole = np.concatenate(parts, out=allocate(sum(map(len, parts)), parts[0].dtype))
        self.views: dict[str, Array] = {}
        start = 0
        for name, a in arrays.items():
            self.views[name] = self.whole[start : start + a.size].reshape(a.shape, order=order)
            start += a.size

    def are(self, arrays: Mapping[str, Array]) -> bool:
        """Whether these are the views themselves (a copy of the views would no longer share their memory)."""
        return all(a is self.views[name] and a.base is self.whole.base for name, a in arrays.items())


class FlatOptimizer:
    """Takes an optimiser's steps over flat arrays, to the same bits: the same operations in the same order.

    What it leaves out of the state are the subnormal numbers that no longer move a parameter (`drop_subnormals`).
    Parameters and state stay where they were to be found, under network.params and optimizer.state; what is put in
    their place from outside is taken over at the next step. `grads` are views to write the gradients into.
    """

    def __init__(
        self, network: Sequential, optimizer: Optimizer, allocate: Allocator = aligned, order: Order = "C"
    ) -> None:
        self.network, self.optimizer = network, optimizer
        self._flattened = partial(FlatArrays, allocate=allocate, order=order)
        self.given = network.params
        self.params, self.grads = self._flattened(self.given), self._flattened(self.given)
        self.state: dict[str, FlatArrays] = {}
        dtype = self.params.whole.dtype
        self._piece = min(PIECE // dtype.itemsize, len(self.params.whole))
        self._room = aligned(self._piece, dtype), aligned(self._piece, dtype)
        self._place(self.params.views)

    def step(self) -> None:
        """optimizer.step() with the gradients in `grads`, which are those of the network."""
        if not self.has_state:
            self.optimizer.step()  # the first one, which makes it
            return
        self.optimizer.steps += 1
        self.update(self.arrays())

    @property
    def has_state(self) -> bool:
        """Whether the optimiser has all that it keeps from step to step."""
        keys = state_keys(self.optimizer)
        return all(key in state for state in self.optimizer.state.values() for key in keys)

    def arrays(self) -> list[Array]:
        """What an update takes, each (n,): the parameters, the gradients, and the state where the optimiser has it."""
        return [self.params.whole, self.grads.whole, *map(self._adopted_state, state_keys(self.optimizer))]

    def update(self, arrays: Sequence[Array], more: Sequence[Array] = ()) -> None:
        """The step of these, or of the same part of each; the gradients of `more` are added to the gradients first."""
        o, n = self.optimizer, self._piece
        update, has_state = UPDATES[type(o)], len(arrays) > 2
        for start in range(0, len(arrays[0]), n):
            p, g, *state = (a[start : start + n] for a in arrays)
            for each in more:
                g += each[start : start + n]
            change = update(o, p, g, *state, *(a[: len(p)] for a in self._room))
            if has_state and o.steps % CLEANED_EVERY == 0:
                drop_subnormals(state[0], p, change)

    def release(self) -> None:
        """The arrays that were given hold the parameters again, with the values of now."""
        for name, p in self.network.params.items():
            self.given[name][...] = p
        self._place(self.given)

    def _place(self, params: Mapping[str, Array]) -> None:
        for i, layer in enumerate(self.network):
            for name in layer.params:
                layer.params[name] = params[f"{i}.{name}"]

    def _adopted_state(self, key: str) -> Array:
        """The state `key` of all parameters (n,), as views of which the optimiser keeps it from now on."""
        states = self.optimizer.state
        found = {name: states[name][key] for name in self.params.views}
        if key not in self.state or not self.state[key].are(found):
            self.state[key] = self._flattened(found)
            for name, view in self.state[key].views.items():
                states[name][key] = view
        return self.state[key].whole


# --- the updates of a piece: p, g and the state (n,); a and b are room for what is in between, such as the change of p,
# which is returned


def state_keys(o: Optimizer) -> tuple[str, ...]:
    """The names under which an optimiser keeps what its update takes between g and the room."""
    if isinstance(o, Adam):
        return "exp_avg", "exp_avg_sq"
    return ("momentum_buffer",) if isinstance(o, SGD) and o.momentum else ()


def sgd(o: SGD, p: Array, g: Array, *rest: Array) -> Array:
    """As SGD.update."""
    *velocity, a, b = rest
    if o.weight_decay:
        g = np.add(g, np.multiply(p, o.weight_decay, out=a), out=a)
    for v in velocity:
        v *= o.momentum
        v += np.multiply(g, 1 - o.dampening, out=b)
        g = np.add(g, np.multiply(v, o.momentum, out=b), out=a) if o.nesterov else v
    change = np.multiply(g, o.lr, out=b)
    p -= change
    return change


def adam(o: Adam, p: Array, g: Array, m: Array, v: Array, a: Array, b: Array) -> Array:
    """As Adam.update."""
    if o.weight_decay:
        g = np.add(g, np.multiply(p, o.weight_decay, out=a), out=a)
    return adaptive(o, p, g, m, v, a, b)


def adamw(o: AdamW, p: Array, g: Array, m: Array, v: Array, a: Array, b: Array) -> Array:
    """As AdamW.update."""
    p *= 1 - o.lr * o.weight_decay
    return adaptive(o, p, g, m, v, a, b)


def adaptive(o: Adam, p: Array, g: Array, m: Array, v: Array, a: Array, b: Array) -> Array:
    """As Adam._adaptive. `g` may lie in a, which is therefore written to last."""
    b1, b2 = o.betas
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
    change = np.multiply(m, o.lr / (1 - b1**o.steps), out=a)
    change /= root
    p -= change
    return change


def drop_subnormals(m: Array, p: Array, change: Array) -> None:
    """Where m is subnormal and its change is less than p can show, m becomes 0, and p keeps its bits.

    The m of a weight that gets no gradient any more halves every few steps until it is the smallest of numbers, and
    stays there; processors take up to a hundred times as long over such a number.
    """
    limits = np.finfo(p.dtype)
    m[(np.abs(m) < limits.tiny) & (np.abs(change) < limits.epsneg / 4 * np.abs(p))] = 0


UPDATES: dict[type[Optimizer], Callable[..., Array]] = {SGD: sgd, Adam: adam, AdamW: adamw}
