"""Mistakes in Softplus, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "5-7-4 softplus, softmax cross-entropy"
DOUBLED = "5-7-4 softplus(2), softmax cross-entropy"

_forward = partial(Edit, "scratch.softplus", "Softplus.forward")
_backward = partial(Edit, "scratch.softplus", "Softplus.backward")
_fault = partial(Fault, family="softplus", network=NETWORK)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")
SCALED, SLOPE = "x * x.dtype.type(self.beta)", "dy * sigmoid(z)"

FAULTS = (
    _fault(
        "softplus-beta-unused",
        "beta is left out of the forward pass",
        edits=(_forward(SCALED, "x"), _forward(" / x.dtype.type(self.beta)", "")),
        where=OUTPUT,
        network=DOUBLED,
    ),
    _fault(
        "softplus-not-divided",
        "the forward pass does not divide by beta",
        edits=(_forward(" / x.dtype.type(self.beta)", ""),),
        where=OUTPUT,
        network=DOUBLED,
    ),
    _fault(
        "softplus-of-an-unscaled-input",
        "the forward pass divides by beta, and does not multiply x by it",
        edits=(_forward(SCALED, "x"),),
        where=OUTPUT,
        network=DOUBLED,
    ),
    _fault(
        "softplus-without-its-maximum",
        "only the logarithm of the stable form",
        edits=(_forward("np.maximum(z, 0) + ", ""),),
        where=OUTPUT,
    ),
    _fault(
        "softplus-adds-one-twice",
        "np.log1p of 1 + e^z",
        edits=(_forward("np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))", "np.log1p(1 + np.exp(z))"),),
        where=OUTPUT,
    ),
    _fault(
        "softplus-is-its-derivative",
        "the forward pass returns the sigmoid",
        edits=(_forward("np.where(z > self.threshold, x, y)", "sigmoid(z)"),),
        where=OUTPUT,
    ),
    _fault(
        "softplus-gradient-of-minus-x",
        "1 / (1 + e^z): the sign in the exponent is lost",
        edits=(_backward(SLOPE, "dy * sigmoid(-z)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "softplus-gradient-beta-unused",
        "beta is left out of the backward pass",
        edits=(_backward(SCALED, "x"),),
        where=GRAD_INPUT,
        network=DOUBLED,
    ),
    _fault(
        "softplus-gradient-times-beta",
        "the inner derivative is multiplied in, the 1 / beta of y is not",
        edits=(_backward(SLOPE, "dy * x.dtype.type(self.beta) * sigmoid(z)"),),
        where=GRAD_INPUT,
        network=DOUBLED,
    ),
    _fault(
        "softplus-gradient-of-the-sigmoid",
        "s (1 - s), copied from the sigmoid",
        edits=(_backward(SLOPE, "dy * sigmoid(z) * (1 - sigmoid(z))"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "softplus-keeps-the-output",
        "what is kept is y, and the derivative is taken as if it were x",
        edits=(
            _forward(
                "return np.where(z > self.threshold, x, y)",
                "self._kept = np.where(z > self.threshold, x, y)\n    return self._kept.copy()",
            ),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "softplus-gradient-passes-everywhere",
        "the backward pass returns dy",
        edits=(_backward(SLOPE, "dy"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "softplus-beta-unused": "beta-forgotten",
    "softplus-not-divided": "beta-on-one-side",
    "softplus-of-an-unscaled-input": "beta-on-one-side",
    "softplus-without-its-maximum": "stable-form-broken",
    "softplus-adds-one-twice": "one-added-twice",
    "softplus-is-its-derivative": "wrong-activation",
    "softplus-gradient-of-minus-x": "exponent-sign",
    "softplus-gradient-beta-unused": "beta-forgotten",
    "softplus-gradient-times-beta": "beta-on-one-side",
    "softplus-gradient-of-the-sigmoid": "wrong-derivative",
    "softplus-keeps-the-output": "derivative-of-activated",
    "softplus-gradient-passes-everywhere": "derivative-missing",
}
