"""Hooks on NumPy code: what goes into a layer, loss or optimiser, and what comes out, copied at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import scratch
from compare.network.architecture import named_gradients, named_parameters
from compare.numbers.array import Array
from compare.operations.operation import Layer
from compare.recording.odd_candidate import OddCandidate, StepEnds, called, expect_array, in_words
from compare.recording.sightings import Sightings
from scratch.layers import LayerError


def forward_hook(seen: Sightings, k: int, spec: Layer, layer: scratch.Layer) -> Callable[..., Any]:
    """A hook that copies what entered and what left layer k."""
    place = f"layer {k} ({layer}): forward"

    def forward(original: Callable[[Array], Array], x: Array) -> Array:
        seen.copy("input" if k == 0 else f"{k}.input", x, watch=True)
        y: Array = called(place, original, x)
        wanted = spec.leaving(x.shape)
        expect_array(place, y, wanted)
        seen.copy(f"{k}.output", y, watch=True)
        if y.shape != wanted:
            raise StepEnds
        return y

    return forward


def backward_hook(seen: Sightings, k: int, layer: scratch.Layer) -> Callable[..., Any]:
    """A hook that copies the gradients that entered and left layer k."""
    place = f"layer {k} ({layer}): backward"

    def backward(original: Callable[[Array], Array], dy: Array) -> Any:
        seen.copy(f"{k}.grad_output", dy, watch=True)
        if dy.shape != seen.tensors[f"{k}.output"].shape:
            raise StepEnds
        dx: Any = called(place, original, dy)
        seen.reached.add(k)
        for name, g in layer.grads.items():
            _expect_gradient(place, name, g, layer)
        wanted = seen.tensors["input" if k == 0 else f"{k}.input"].shape
        if dx is None and k == 0:  # nobody needs it to train, so the check can go on
            seen.record.nothing["0.grad_input"] = f"{place} returned nothing (None)"
            return dx
        expect_array(place, dx, wanted)
        seen.copy(f"{k}.grad_input", dx)
        if dx.shape != wanted:
            raise StepEnds
        return dx

    return backward


def _expect_gradient(place: str, name: str, g: Any, layer: scratch.Layer) -> None:
    if not isinstance(g, np.ndarray | np.generic):
        expected = f"an array {layer.params[name].shape}" if name in layer.params else f"one of {sorted(layer.params)}"
        raise OddCandidate(f"{place} left {in_words(g)} in grads[{name!r}], expected {expected}")


def network_hook(seen: Sightings) -> Callable[..., Any]:
    """What the network itself returns is its gradient of the input, whatever its first layer returned."""
    place = "the network: backward"

    def backward(original: Callable[[Array], Array], dy: Array) -> Any:
        dx: Any = called(place, original, dy)
        if dx is None:
            seen.tensors.pop("0.grad_input", None)
            seen.record.nothing.setdefault("0.grad_input", f"{place} returned nothing (None)")
            return dx
        expect_array(place, dx, seen.tensors["input"].shape)
        seen.copy("0.grad_input", dx)
        return dx

    return backward


def loss_hook(seen: Sightings, loss: scratch.Loss) -> Callable[..., Any]:
    place = f"the loss ({type(loss).__name__}): forward"

    def forward(original: Callable[..., Any], y: Array, t: Array) -> Any:
        seen.copy("target", t, watch=True)
        try:
            value = called(place, original, y, t)
        except LayerError as error:
            raise OddCandidate(f"{place}: {error}") from error
        if not isinstance(value, int | float | np.ndarray | np.generic) or np.ndim(value) != 0:
            raise OddCandidate(f"{place} returned {in_words(value)}, expected one number")
        seen.copy("loss", value)
        seen.record.plain_loss = type(value) in (int, float)
        seen.look("the forward pass")
        return value

    return forward


def loss_backward_hook(seen: Sightings, last: int, loss: scratch.Loss) -> Callable[..., Any]:
    place = f"the loss ({type(loss).__name__}): backward"

    def backward(original: Callable[[], Array]) -> Array:
        dy: Array = called(place, original)
        expect_array(place, dy, seen.tensors[f"{last}.output"].shape)
        return dy

    return backward


def step_hook(seen: Sightings, network: scratch.Sequential, optimizer: scratch.Optimizer | None) -> Callable[..., Any]:
    """A hook that takes the gradients before the step, and looks at them, and at all but the weights, after it."""

    def step(original: Callable[[], None]) -> None:
        parameters, grads = named_parameters(network), named_gradients(network)
        seen.gradients(grads, watch=optimizer is not None)
        if optimizer is None:
            return
        if any(n not in grads or grads[n].shape != p.shape for n, p in parameters.items()):
            raise StepEnds  # no update can be made of these gradients; the check shows why
        called(f"the optimiser ({type(optimizer).__name__}): step", original)
        for name in parameters:
            seen.live.pop(name, None)
        seen.look("the step")

    return step


@contextmanager
def hook(owner: Any, method: str, around: Callable[..., Any]) -> Iterator[None]:
    """For the length of the block, owner.method(*args) is around(the original method, *args)."""
    original, own = getattr(owner, method), vars(owner).get(method)
    setattr(owner, method, lambda *args: around(original, *args))
    try:
        yield
    finally:
        delattr(owner, method)
        if own is not None:
            setattr(owner, method, own)
