"""Mistakes in GELU, in both forms, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

TANH = "5-7-4 gelu_tanh, softmax cross-entropy"

_forward = partial(Edit, "scratch.gelu", "GELU.forward", "return x * self._below(x)")
_backward = partial(Edit, "scratch.gelu", "GELU.backward", "return dy * (self._below(x) + x * self._density(x))")
_density = partial(Edit, "scratch.gelu", "normal_density", "np.exp(-x * x / 2) / math.sqrt(2 * math.pi)")
_by_tanh = partial(Edit, "scratch.gelu", "by_tanh", "(1 + np.tanh(_inner(x))) / 2")
_by_tanh_density = partial(Edit, "scratch.gelu", "by_tanh_density", "SCALE * (1 + 3 * CUBIC * x * x)")
_fault = partial(Fault, family="gelu", network="5-7-4 gelu, softmax cross-entropy")
_tanh_fault = partial(Fault, family="gelu", network=TANH)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")

FAULTS = (
    _fault(
        "gelu-forward-by-tanh",
        "the forward pass takes the tanh form, the backward pass the exact one",
        edits=(_forward("return x * by_tanh(x)"),),
        where=OUTPUT,
    ),
    _fault(
        "gelu-backward-by-tanh",
        "the backward pass takes the tanh form, the forward pass the exact one",
        edits=(_backward("return dy * (by_tanh(x) + x * by_tanh_density(x))"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "gelu-of-an-unscaled-erf",
        "x is not divided by the root of 2 in the forward pass",
        edits=(_forward("return x * self._below(x * x.dtype.type(math.sqrt(2)))"),),
        where=OUTPUT,
    ),
    _fault(
        "gelu-is-swish",
        "x times the sigmoid of 1.702 x",
        edits=(_forward("return x / (1 + np.exp(x.dtype.type(-1.702) * x))"),),
        where=OUTPUT,
    ),
    _fault(
        "gelu-without-its-input",
        "the forward pass returns the distribution",
        edits=(_forward("return self._below(x)"),),
        where=OUTPUT,
    ),
    _fault(
        "gelu-gradient-without-the-density",
        "the product rule is forgotten: only x is derived",
        edits=(_backward("return dy * self._below(x)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "gelu-gradient-without-x",
        "x is lost before the density",
        edits=(_backward("return dy * (self._below(x) + self._density(x))"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "gelu-density-without-its-constant",
        "e^(-x^2 / 2) is not divided by the root of 2 pi",
        edits=(_density("np.exp(-x * x / 2)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "gelu-density-without-the-two",
        "e^(-x^2): the 2 in the exponent is lost",
        edits=(_density("np.exp(-x * x) / math.sqrt(2 * math.pi)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "gelu-keeps-the-output",
        "what is kept is y, and the derivative is taken as if it were x",
        edits=(Edit("scratch.gelu", "GELU.forward", "self._kept = x", "self._kept = x * normal(x)"),),
        where=GRAD_INPUT,
    ),
    _tanh_fault(
        "gelu-tanh-forward-by-erf",
        "the layer is asked for the tanh form, and the forward pass takes the exact one",
        edits=(_forward("return x * normal(x)"),),
        where=OUTPUT,
    ),
    _tanh_fault(
        "gelu-tanh-backward-by-erf",
        "the layer is asked for the tanh form, and the backward pass takes the exact one",
        edits=(_backward("return dy * (normal(x) + x * normal_density(x))"),),
        where=GRAD_INPUT,
    ),
    _tanh_fault(
        "gelu-tanh-without-the-cube",
        "tanh of sqrt(2 / pi) x in the forward pass",
        edits=(_forward("return x * (1 + np.tanh(x.dtype.type(SCALE) * x)) / 2"),),
        where=OUTPUT,
    ),
    _tanh_fault(
        "gelu-tanh-doubled",
        "1 + tanh is not halved, neither forward nor backward",
        edits=(_by_tanh("(1 + np.tanh(_inner(x)))"),),
        where=OUTPUT,
    ),
    _tanh_fault(
        "gelu-tanh-gradient-without-the-three",
        "the cube is derived to 0.044715 x^2: its 3 is lost",
        edits=(_by_tanh_density("SCALE * (1 + CUBIC * x * x)"),),
        where=GRAD_INPUT,
    ),
    _tanh_fault(
        "gelu-tanh-gradient-of-a-straight-line",
        "only sqrt(2 / pi) x is derived, not the cube",
        edits=(_by_tanh_density("SCALE"),),
        where=GRAD_INPUT,
    ),
    _tanh_fault(
        "gelu-tanh-gradient-without-the-chain",
        "what is inside of tanh is not derived",
        edits=(_by_tanh_density("1"),),
        where=GRAD_INPUT,
    ),
    _tanh_fault(
        "gelu-tanh-gradient-without-the-square",
        "1 - tanh in the place of 1 - tanh^2",
        edits=(Edit("scratch.gelu", "by_tanh_density", "1 - t * t", "1 - t"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "gelu-forward-by-tanh": "other-form",
    "gelu-backward-by-tanh": "other-form",
    "gelu-of-an-unscaled-erf": "root-forgotten",
    "gelu-is-swish": "approximation",
    "gelu-without-its-input": "factor-missing",
    "gelu-gradient-without-the-density": "derivative-incomplete",
    "gelu-gradient-without-x": "derivative-incomplete",
    "gelu-density-without-its-constant": "density-not-normalised",
    "gelu-density-without-the-two": "half-forgotten",
    "gelu-keeps-the-output": "derivative-of-activated",
    "gelu-tanh-forward-by-erf": "other-form",
    "gelu-tanh-backward-by-erf": "other-form",
    "gelu-tanh-without-the-cube": "cube-forgotten",
    "gelu-tanh-doubled": "half-forgotten",
    "gelu-tanh-gradient-without-the-three": "three-forgotten",
    "gelu-tanh-gradient-of-a-straight-line": "inner-derivative-incomplete",
    "gelu-tanh-gradient-without-the-chain": "inner-derivative-missing",
    "gelu-tanh-gradient-without-the-square": "square-forgotten",
}
