"""An object with forward and backward, called as the names of their arguments ask."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.convention import Convention
from compare.foreign.flow.network import SAY_IT
from compare.foreign.functions import Candidate, Refused, StepFunction, calls, run
from compare.foreign.naming.probabilities import activation_of
from compare.foreign.two_rates import RATES, Run, at_half_the_rate, depends_on_rate, is_rate
from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from compare.operations.softmax import Softmax
from compare.recording.notes import Note
from compare.recording.recorded import Recorded
from compare.watching.calls import Between

Array = NDArray[Any]

FORWARD = ("forward", "predict", "feedforward", "feed_forward", "forward_pass", "forward_propagation", "__call__")
BACKWARD = ("backward", "backprop", "backpropagate", "backpropagation", "backward_pass", "back_propagation")
TARGETS = ("t", "y", "target", "targets", "label", "labels", "y_true", "ytrue", "truth", "expected")
INPUTS = ("x", "input", "inputs", "data", "batch", "samples")
OUTPUTS = ("out", "output", "outputs", "y_hat", "yhat", "y_pred", "pred", "prediction", "a", "p", "probs")
RATE = 0.01


def watch_object(
    candidate: Any, x: Array, t: Array, network: Architecture | None, convention: Convention | None
) -> Recorded:
    """A copy of it, run on two batches. Where it updates its weights itself, another runs at half the rate."""
    found = calls(_candidate(copy.deepcopy(candidate), network, convention), x, t)
    return found.recorded(_depends_on_rate(candidate, found.first, x, t, found.network, convention))


def has_backward(candidate: Any) -> bool:
    """Whether it has a method that is called like a backward pass."""
    return _method(candidate, BACKWARD) is not None


def _depends_on_rate(
    candidate: Any, one: Run, x: Array, t: Array, network: Architecture, convention: Convention | None
) -> list[Note]:
    if not one.updates:
        return []
    if _takes_a_rate(candidate):
        theirs, argument, rates = copy.deepcopy(candidate), RATE / 2, (RATE, RATE / 2)
    elif (half := at_half_the_rate(candidate)) is not None:
        (theirs, rates), argument = half, RATE
    else:
        return []
    other = _candidate(theirs, network, convention, argument)
    return [*depends_on_rate(one, partial(run, other, (x, t)), rates)]


def _candidate(
    theirs: Any, network: Architecture | None, convention: Convention | None, rate: float = RATE
) -> Candidate:
    between: list[Between] = []
    return Candidate(driver(theirs, network, rate, between), network, convention, theirs, between)


def _takes_a_rate(candidate: Any) -> bool:
    """Whether backward takes the learning rate as an argument."""
    backward = _method(candidate, BACKWARD)
    return backward is not None and any(is_rate(name) for name in inspect.signature(backward).parameters)


# --- calling it -------------------------------------------------------------------------------------------------------


def driver(
    candidate: Any, network: Architecture | None, rate: float = RATE, between: list[Between] | None = None
) -> StepFunction:
    """One training step of an object: its forward on x, its backward on what its arguments' names say.

    `rate` is for a backward that takes the learning rate as an argument. `between` gets a gradient of the loss that is
    computed here, with what it is computed from.

    TypeError in one line where it has no such methods, or where an argument's name says nothing: pass a function
    step(x, t) then, that calls the object.
    """
    forward, backward = _method(candidate, FORWARD), _method(candidate, BACKWARD)
    if forward is None or backward is None:
        lacks = "forward" if forward is None else "backward"
        raise TypeError(f"got {type(candidate).__name__} without {lacks}; pass a function step(x, t) that calls it")

    def step(x: Array, t: Array) -> Any:
        output = forward(x)
        offered = {INPUTS: x, TARGETS: t, OUTPUTS: output, RATES: rate}
        arguments, made = _arguments(backward, offered, output, t, network)
        if between is not None:
            between.extend((each, (output, t)) for each in made)
        backward(*arguments)
        return output

    return step


def _method(candidate: Any, names: Sequence[str]) -> Callable[..., Any] | None:
    found = (getattr(candidate, name, None) for name in names)
    return next((method for method in found if callable(method)), None)


def _arguments(
    backward: Callable[..., Any],
    offered: Mapping[tuple[str, ...], Any],
    output: Array,
    t: Array,
    network: Architecture | None,
) -> tuple[list[Any], list[Array]]:
    """What backward asks for, argument by argument; and those of them that are computed here."""
    found: list[Any] = []
    made: list[Array] = []
    for parameter in inspect.signature(backward).parameters.values():
        known = [value for names, value in offered.items() if parameter.name.lower().strip("_") in names]
        if known:
            found.append(known[0])
        elif parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            break
        else:
            made.append(_upstream(parameter.name, np.asarray(output), t, network))
            found.append(made[-1])
    return found, made


def _are_shares(y: Array) -> bool:
    return bool(np.all(y >= 0) and np.allclose(y.sum(axis=-1), 1))


def _upstream(name: str, output: Array, t: Array, network: Architecture | None) -> Array:
    """The loss's gradient, for an argument that is called like one."""
    if not name.lower().startswith(("d", "g", "delta", "upstream", "error", "loss")):
        raise Refused(f"backward's argument {name!r} says nothing known; pass a function step(x, t) that calls it")
    if network is None:
        raise Refused(f"backward's argument {name!r} is a gradient of the loss, and nobody says of which: {SAY_IT}")
    columns = output.ndim == 2 and output.shape != (len(t), network.sizes[-1])
    y = output.T if columns else output
    if isinstance(activation_of(network.loss), Softmax) and y.shape[-1:] == (network.sizes[-1],) and _are_shares(y):
        raise Refused(
            f"forward returns probabilities: whether {name!r} is the gradient by these, or by what they are made of, "
            "is not known; pass a function step(x, t) that calls the object"
        )
    dy = network.loss.gradient(y.astype(np.float64), t, Precision.of(np.float64)).value.astype(y.dtype)
    upstream: Array = dy.T if columns else dy
    return upstream
