"""Mistakes in SiLU, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

_forward = partial(Edit, "scratch.silu", "SiLU.forward", "return x * sigmoid(x)")
_backward = partial(Edit, "scratch.silu", "SiLU.backward", "return dy * s * (1 + x * (1 - s))")
_fault = partial(Fault, family="silu", network="5-7-4 silu, softmax cross-entropy")
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")

FAULTS = (
    _fault(
        "silu-without-its-input",
        "the forward pass returns the sigmoid",
        edits=(_forward("return sigmoid(x)"),),
        where=OUTPUT,
    ),
    _fault(
        "silu-of-minus-x",
        "the sigmoid of -x in the forward pass",
        edits=(_forward("return x * sigmoid(-x)"),),
        where=OUTPUT,
    ),
    _fault(
        "silu-with-a-hard-sigmoid",
        "the sigmoid is min(max(x + 3, 0), 6) / 6",
        edits=(_forward("return x * np.clip(x + 3, 0, 6) / 6"),),
        where=OUTPUT,
    ),
    _fault(
        "silu-squared-sigmoid",
        "x is multiplied by the sigmoid twice",
        edits=(_forward("return x * sigmoid(x) * sigmoid(x)"),),
        where=OUTPUT,
    ),
    _fault(
        "silu-gradient-is-the-sigmoid",
        "the product rule is forgotten: only x is derived",
        edits=(_backward("return dy * s"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-gradient-of-the-sigmoid-only",
        "the product rule is forgotten: only the sigmoid is derived",
        edits=(_backward("return dy * x * s * (1 - s)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-gradient-loses-x",
        "s + s (1 - s): x is lost in the second term",
        edits=(_backward("return dy * s * (1 + (1 - s))"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-gradient-with-a-minus",
        "1 - x (1 - s) in the parentheses",
        edits=(_backward("return dy * s * (1 - x * (1 - s))"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-gradient-as-of-a-sigmoid",
        "y (1 - y), copied from the sigmoid",
        edits=(_backward("y = x * s\n    return dy * y * (1 - y)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-keeps-the-output",
        "what is kept is y, and the derivative is taken as if it were x",
        edits=(Edit("scratch.silu", "SiLU.forward", "self._kept = x", "self._kept = x * sigmoid(x)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-gradient-without-parentheses",
        "dy s 1 + x (1 - s): the parentheses are lost",
        edits=(_backward("return dy * s + x * s * (1 - s)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "silu-gradient-passes-everywhere",
        "the backward pass returns dy",
        edits=(_backward("return dy.copy()"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "silu-without-its-input": "factor-missing",
    "silu-of-minus-x": "exponent-sign",
    "silu-with-a-hard-sigmoid": "approximation",
    "silu-squared-sigmoid": "factor-twice",
    "silu-gradient-is-the-sigmoid": "derivative-incomplete",
    "silu-gradient-of-the-sigmoid-only": "derivative-incomplete",
    "silu-gradient-loses-x": "derivative-incomplete",
    "silu-gradient-with-a-minus": "wrong-derivative",
    "silu-gradient-as-of-a-sigmoid": "wrong-derivative",
    "silu-keeps-the-output": "derivative-of-activated",
    "silu-gradient-without-parentheses": "parentheses-missing",
    "silu-gradient-passes-everywhere": "derivative-missing",
}
