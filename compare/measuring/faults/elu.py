"""Mistakes in ELU, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ALL_ACTIVE, Edit, Fault, at

NETWORK = "5-7-4 elu, softmax cross-entropy"
HALVED = "5-7-4 elu(0.5), softmax cross-entropy"

_forward = partial(Edit, "scratch.elu", "ELU.forward")
_backward = partial(Edit, "scratch.elu", "ELU.backward")
_fault = partial(Fault, family="elu", network=NETWORK, hidden=ALL_ACTIVE)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")
FACTOR, SLOPE = "x.dtype.type(self.alpha) * np.expm1", "dy * x.dtype.type(self.alpha) * np.exp(np.minimum(x, 0))"

FAULTS = (
    _fault(
        "elu-exponential-without-the-one",
        "np.exp for np.expm1 in the forward pass",
        edits=(_forward("np.expm1", "np.exp"),),
        where=OUTPUT,
    ),
    _fault(
        "elu-always-of-alpha-one",
        "the layer takes an alpha, and the forward pass does not use it",
        edits=(_forward(FACTOR, "np.expm1"),),
        where=OUTPUT,
        network=HALVED,
    ),
    _fault(
        "elu-alpha-inside-the-exponential",
        "e^(alpha x) - 1 in the forward pass",
        edits=(_forward(f"{FACTOR}(", "np.expm1(x.dtype.type(self.alpha) * "),),
        where=OUTPUT,
        network=HALVED,
    ),
    _fault(
        "elu-branches-exchanged",
        "the two branches of np.where are exchanged in the forward pass",
        edits=(_forward(f"x > 0, x, {FACTOR}(np.minimum(x, 0))", f"x < 0, x, {FACTOR}(x)"),),
        where=OUTPUT,
        hidden="",
    ),
    _fault(
        "elu-minimum-is-a-maximum",
        "np.maximum for np.minimum: where x < 0 the curve is that of 0",
        edits=(_forward("np.minimum", "np.maximum"),),
        where=OUTPUT,
    ),
    _fault(
        "elu-gradient-always-of-alpha-one",
        "alpha is left out of the backward pass",
        edits=(_backward("dy * x.dtype.type(self.alpha)", "dy"),),
        where=GRAD_INPUT,
        network=HALVED,
    ),
    _fault(
        "elu-gradient-of-relu",
        "the gradient is stopped where x <= 0, as if it were a ReLU",
        edits=(_backward(SLOPE, "0 * dy"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "elu-gradient-with-the-output-for-the-slope",
        "dy alpha (e^x - 1): the backward pass repeats the forward one",
        edits=(_backward("np.exp(", "np.expm1("),),
        where=GRAD_INPUT,
    ),
    _fault(
        "elu-keeps-the-output",
        "what is kept is y, and the derivative is taken as if it were x",
        edits=(
            _forward(
                "self._kept = x\n    return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))",
                "self._kept = np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))\n"
                "    return self._kept.copy()",
            ),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "elu-gradient-passes-everywhere",
        "the backward pass returns dy",
        edits=(_backward(SLOPE, "dy"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "elu-gradient-selected-by-dy",
        "the branch is chosen by the sign of dy",
        edits=(_backward("np.where(x > 0", "np.where(dy > 0"),),
        where=GRAD_INPUT,
        hidden="",
    ),
)
CAUSES = {
    "elu-exponential-without-the-one": "one-not-subtracted",
    "elu-always-of-alpha-one": "alpha-forgotten",
    "elu-alpha-inside-the-exponential": "alpha-in-the-exponent",
    "elu-branches-exchanged": "curve-on-the-wrong-side",
    "elu-minimum-is-a-maximum": "wrong-activation",
    "elu-gradient-always-of-alpha-one": "alpha-forgotten",
    "elu-gradient-of-relu": "curve-in-forward-only",
    "elu-gradient-with-the-output-for-the-slope": "value-for-derivative",
    "elu-keeps-the-output": "derivative-of-activated",
    "elu-gradient-passes-everywhere": "derivative-missing",
    "elu-gradient-selected-by-dy": "mask-from-gradient",
}
