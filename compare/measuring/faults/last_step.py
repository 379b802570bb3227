"""Mistakes in LastStep, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "RNN(3, 6, batch_first=True), LastStep, Linear(6, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.last_step", "LastStep.forward")
_backward = partial(Edit, "scratch.last_step", "LastStep.backward")
_fault = partial(Fault, family="recurrent", network=NETWORK)

FAULTS = (
    _fault(
        "last-step-is-the-first",
        "the network goes on with the first state",
        edits=(_forward("x[:, -1]", "x[:, 0]"),),
        where=at("1.output"),
    ),
    _fault(
        "last-step-is-the-mean",
        "the network goes on with the mean of all states",
        edits=(_forward("x[:, -1].copy()", "x.mean(axis=1)"),),
        where=at("1.output"),
    ),
    _fault(
        "last-step-gradient-to-every-step",
        "dy goes to every step",
        edits=(_backward("dx[:, -1] = dy", "dx[...] = dy[:, np.newaxis]"),),
        where=at("1.grad_input"),
    ),
    _fault(
        "last-step-gradient-to-the-first",
        "dy goes to the first step",
        edits=(_backward("dx[:, -1]", "dx[:, 0]"),),
        where=at("1.grad_input"),
    ),
)
CAUSES = {
    "last-step-is-the-first": "first-step",
    "last-step-is-the-mean": "mean-over-time",
    "last-step-gradient-to-every-step": "every-step",
    "last-step-gradient-to-the-first": "first-step",
}
