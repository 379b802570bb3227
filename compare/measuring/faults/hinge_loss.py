"""Mistakes in HingeLoss, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

_forward = partial(Edit, "scratch.hinge_loss", "HingeLoss.forward")
_backward = partial(Edit, "scratch.hinge_loss", "HingeLoss.backward")
_fault = partial(Fault, family="binary hinge", network="5-7-2 tanh, binary hinge", target="signs")
VALUE, GRADIENT = at("loss"), at("2.grad_output", "loss")
INSIDE = "no difference where no output is beyond the margin"

FAULTS = (
    _fault(
        "binary-hinge-without-margin",
        "the perceptron's loss: max(0, -t y)",
        edits=(_forward("1 - t * y", "-t * y"),),
        where=VALUE,
    ),
    _fault(
        "binary-hinge-not-bent",
        "what is beyond the margin counts as a negative loss",
        edits=(_forward("np.maximum(1 - t * y, 0)", "(1 - t * y)"),),
        where=VALUE,
        network="5-7-2 relu, binary hinge",
        scale=5.0,
        hidden=INSIDE,
    ),
    _fault(
        "binary-hinge-of-zeros-and-ones",
        "the target is brought to 0 and 1 first",
        edits=(_forward("1 - t * y", "1 - (t + 1) / 2 * y"),),
        where=VALUE,
    ),
    _fault(
        "binary-hinge-squared",
        "the squared hinge",
        edits=(_forward("np.maximum(1 - t * y, 0)", "(np.maximum(1 - t * y, 0) ** 2)"),),
        where=VALUE,
    ),
    _fault(
        "binary-hinge-gradient-everywhere",
        "outputs beyond the margin are moved, too",
        edits=(_backward("np.where(t * y < 1, -t, y.dtype.type(0))", "-t"),),
        where=GRADIENT,
        network="5-7-2 relu, binary hinge",
        scale=5.0,
        hidden=INSIDE,
    ),
    _fault(
        "binary-hinge-gradient-without-margin",
        "the gradient ends at 0, not at the margin",
        edits=(_backward("t * y < 1", "t * y < 0"),),
        where=GRADIENT,
    ),
    _fault(
        "binary-hinge-gradient-without-target",
        "the gradient is -1 for both classes",
        edits=(_backward("-t, y", "-t * t, y"),),
        where=GRADIENT,
    ),
)
CAUSES = {
    "binary-hinge-without-margin": "margin-missing",
    "binary-hinge-not-bent": "hinge-missing",
    "binary-hinge-of-zeros-and-ones": "target-not-signed",
    "binary-hinge-squared": "square-unasked",
    "binary-hinge-gradient-everywhere": "hinge-missing",
    "binary-hinge-gradient-without-margin": "margin-missing",
    "binary-hinge-gradient-without-target": "target-missing",
}
