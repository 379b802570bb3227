"""Mistakes in LeakyReLU, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ALL_ACTIVE, Edit, Fault, at

NETWORK = "5-7-4 leaky_relu, softmax cross-entropy"

_forward = partial(Edit, "scratch.leaky_relu", "LeakyReLU.forward")
_backward = partial(Edit, "scratch.leaky_relu", "LeakyReLU.backward")
_fault = partial(Fault, family="leaky", network=NETWORK)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")

FAULTS = (
    _fault(
        "leaky-slope-forgotten",
        "np.maximum(x, 0): the slope is forgotten in the forward pass",
        edits=(_forward("x * x.dtype.type(self.negative_slope)", "0 * x"),),
        where=OUTPUT,
        hidden=ALL_ACTIVE,
    ),
    _fault(
        "leaky-slope-on-the-wrong-side",
        "the slope is taken where x > 0",
        edits=(_forward("np.where(x > 0, x,", "np.where(x < 0, x,"),),
        where=OUTPUT,
    ),
    _fault(
        "leaky-slope-in-forward-only",
        "the gradient is stopped where x <= 0, as if it were a ReLU",
        edits=(_backward("dy * dy.dtype.type(self.negative_slope)", "0 * dy"),),
        where=GRAD_INPUT,
        hidden=ALL_ACTIVE,
    ),
    _fault(
        "leaky-derivative-on-the-wrong-side",
        "the gradient is made small where x > 0",
        edits=(_backward("np.where(x > 0, dy,", "np.where(x < 0, dy,"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "leaky-slope-of-another-library",
        "0.2, another library's slope, in the forward pass",
        edits=(_forward("x.dtype.type(self.negative_slope)", "x.dtype.type(0.2)"),),
        where=OUTPUT,
        hidden=ALL_ACTIVE,
    ),
    _fault(
        "leaky-mask-from-the-output",
        "the mask is that of the output, which for a negative slope is another",
        edits=(_backward("np.where(x > 0, dy,", "np.where(np.where(x > 0, x, x * self.negative_slope) > 0, dy,"),),
        where=GRAD_INPUT,
        network="5-7-4 leaky_relu(-0.5), softmax cross-entropy",
        hidden=ALL_ACTIVE,
    ),
)
CAUSES = {
    "leaky-slope-forgotten": "slope-forgotten",
    "leaky-slope-on-the-wrong-side": "slope-on-the-wrong-side",
    "leaky-slope-in-forward-only": "slope-in-forward-only",
    "leaky-derivative-on-the-wrong-side": "slope-on-the-wrong-side",
    "leaky-slope-of-another-library": "other-slope",
    "leaky-mask-from-the-output": "mask-from-the-output derivative-missing",
}
