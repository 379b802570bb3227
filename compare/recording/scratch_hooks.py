"""Hooks on NumPy code: what goes into a layer, loss or optimiser, and what comes out, copied at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

import scratch
from compare.network.architecture import named_gradients, named_parameters
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.operations.operation import Layer
from compare.recording.odd_candidate import OddCandidate, StepEnds, called, expect_array, in_words
from compare.recording.sightings import Sightings
from scratch.layers import LayerError


def forward(
    seen: Sightings, k: int, spec: Layer, layer: scratch.Layer, original: Callable[..., Array], x: Array, *beside: Array
) -> Array:
    """Copies what enters layer k, what leaves it, and what it has drawn.

    Not of a walk after the loss, which looks for what is not finite: running statistics change once more in it, and
    what is drawn is drawn anew, so that the way back is then another one, too.
    """
    place = f"layer {k} ({layer}): forward"
    if seen.has_ended:
        seen.is_drawn_anew = bool(seen.record.network.drawn())
        again: Array = called(place, original, x, *beside)
        return again
    seen.copy(TensorName.of(k, "input"), x, watch=True)
    for other in beside:
        seen.copy(TensorName.of(k, "other"), other, watch=True)
    y: Array = called(place, original, x, *beside)
    wanted = spec.leaving(x.shape)
    expect_array(place, y, wanted)
    seen.copy(f"{k}.output", y, watch=True)
    for name, b in layer.buffers.items():
        expect_array(f"{place}: {name}", b, spec.buffers().get(name, ()))
        seen.copy(f"{k}.new_{name}", b)
    for part in spec.drawn:
        if (a := getattr(layer, part)) is not None:
            expect_array(f"{place}: {part}", a, wanted)
            seen.copy(f"{k}.{part}", a, watch=True)
    if y.shape != wanted:
        raise StepEnds
    return y


def backward(seen: Sightings, k: int, layer: scratch.Layer, original: Callable[[Array], Array], dy: Array) -> Any:
    """Copies the gradients that enter and leave layer k."""
    place = f"layer {k} ({layer}): backward"
    if seen.is_drawn_anew:
        return called(place, original, dy)
    seen.copy(f"{k}.grad_output", dy, watch=True)
    if dy.shape != seen.tensors[f"{k}.output"].shape:
        raise StepEnds
    back: Any = called(place, original, dy)
    ways = seen.record.network.sources(k)
    dx, *others = back if isinstance(back, tuple) and len(back) == len(ways) > 1 else (back,)
    seen.reached.add(k)
    seen.has_ended |= not all(np.all(np.isfinite(g)) for g in layer.grads.values() if isinstance(g, np.ndarray))
    for name, g in layer.grads.items():
        _expect_gradient(place, name, g, layer)
    wanted = seen.tensors[TensorName.of(k, "input")].shape
    if dx is None and k == 0:  # nobody needs it to train, so the check can go on
        seen.record.nothing["0.grad_input"] = f"{place} returned nothing (None)"
        return dx
    for part, a in zip((f"grad_{part}" for part in ways), (dx, *others), strict=False):
        expect_array(place, a, wanted)
        seen.copy(f"{k}.{part}", a)
        if a.shape != wanted:
            raise StepEnds
    return back


def _expect_gradient(place: str, name: str, g: Any, layer: scratch.Layer) -> None:
    if not isinstance(g, np.ndarray | np.generic):
        expected = f"an array {layer.params[name].shape}" if name in layer.params else f"one of {sorted(layer.params)}"
        raise OddCandidate(f"{place} left {in_words(g)} in grads[{name!r}], expected {expected}")


def network_backward(seen: Sightings, original: Callable[[Array], Array], dy: Array) -> Any:
    """What the network itself returns is its gradient of the input, whatever its first layer returned.

    Where several layers take the input, it is the sum of their gradients, which is no tensor of the record.
    """
    place = "the network: backward"
    dx: Any = called(place, original, dy)
    if dx is None:
        seen.tensors.pop("0.grad_input", None)
        seen.record.nothing.setdefault("0.grad_input", f"{place} returned nothing (None)")
        return dx
    expect_array(place, dx, seen.tensors["input"].shape)
    if len(seen.record.network.followed_by(-1)) == 1:
        seen.copy("0.grad_input", dx)
    return dx


def loss_forward(seen: Sightings, loss: scratch.Loss, original: Callable[..., Any], y: Array, t: Array) -> Any:
    """Copies the target and the loss; the forward pass is then over."""
    place = f"the loss ({type(loss).__name__}): forward"
    seen.copy("target", t, watch=True)
    try:
        value = called(place, original, y, t)
    except LayerError as error:
        raise OddCandidate(f"{place}: {error}") from error
    if not isinstance(value, int | float | np.ndarray | np.generic) or np.ndim(value) != 0:
        raise OddCandidate(f"{place} returned {in_words(value)}, expected one number")
    seen.copy("loss", value)
    seen.has_ended = not np.isfinite(value)
    seen.record.plain_loss = type(value) in (int, float)
    seen.look("the forward pass")
    return value


def loss_backward(seen: Sightings, last: int, loss: scratch.Loss, original: Callable[[], Array]) -> Array:
    """Its gradient is an array; the last layer copies it."""
    place = f"the loss ({type(loss).__name__}): backward"
    dy: Array = called(place, original)
    expect_array(place, dy, seen.tensors[f"{last}.output"].shape)
    return dy


def step(
    seen: Sightings,
    network: scratch.Sequential,
    optimizer: scratch.Optimizer | None,
    original: Callable[[], None],
) -> None:
    """Takes the gradients before the step, and looks at them, and at all but the weights, after it."""
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


@contextmanager
def hook(owner: Any, method: str, around: Callable[..., Any], *known: Any) -> Iterator[None]:
    """For the length of the block, owner.method(*args) is around(*known, the original method, *args)."""
    original, own = getattr(owner, method), vars(owner).get(method)
    setattr(owner, method, partial(around, *known, original))
    try:
        yield
    finally:
        delattr(owner, method)
        if own is not None:
            setattr(owner, method, own)
