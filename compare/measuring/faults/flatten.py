"""Mistakes in Flatten, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Conv2d(2, 3, 2), Flatten, Linear(72, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.flatten", "Flatten.forward")
_backward = partial(Edit, "scratch.flatten", "Flatten.backward")
_fault = partial(Fault, family="flatten", network=NETWORK)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")

FAULTS = (
    _fault(
        "flatten-in-column-order",
        "MATLAB's order: the first axis of a sample is the fastest",
        edits=(_forward("math.prod(x.shape[1:]))", 'math.prod(x.shape[1:]), order="F")'),),
        where=OUTPUT,
    ),
    _fault(
        "flatten-channels-last",
        "another library's order: the channels are the last axis",
        edits=(_forward("x.reshape(", "x.transpose(0, 2, 3, 1).reshape("),),
        where=OUTPUT,
    ),
    _fault(
        "flatten-back-in-column-order",
        "the gradient is reshaped in MATLAB's order",
        edits=(_backward("dy.reshape(x.shape)", 'dy.reshape(x.shape, order="F")'),),
        where=GRAD_INPUT,
    ),
    _fault(
        "flatten-back-channels-last",
        "the gradient is reshaped as if the channels were the last axis",
        edits=(_backward("dy.reshape(x.shape)", "dy.reshape(len(x), *x.shape[2:], x.shape[1]).transpose(0, 3, 1, 2)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "flatten-back-not-reshaped",
        "the gradient stays a row",
        edits=(_backward("dy.reshape(x.shape)", "dy"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "flatten-in-column-order": "flattened-in-column-order",
    "flatten-channels-last": "channels-last",
    "flatten-back-in-column-order": "flattened-in-column-order",
    "flatten-back-channels-last": "channels-last",
    "flatten-back-not-reshaped": "not-reshaped",
}
