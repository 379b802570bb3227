"""Mistakes in LayerNorm, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ONE_ROW, ZERO_BIAS, Edit, Fault, at

NETWORK = "Linear(5, 7), LayerNorm(7), ReLU, Linear(7, 4); CrossEntropyLoss"
SQUARE = "Linear(5, 6), LayerNorm(6), ReLU, Linear(6, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.layer_norm", "LayerNorm.forward")
_backward = partial(Edit, "scratch.layer_norm", "LayerNorm.backward")
_fault = partial(Fault, family="normalisation", network=NETWORK)
OUTPUT, GRAD_WEIGHT, GRAD_BIAS, GRAD_INPUT = map(at, ("1.output", "1.grad_weight", "1.grad_bias", "1.grad_input"))
EPS = "var + x.dtype.type(self.eps)"

FORWARD = (
    _fault(
        "layer-norm-over-the-batch",
        "mean and variance of each column, as of a BatchNorm",
        edits=(
            _forward(
                "mean, var = x.mean(axis=self._axes, keepdims=True), x.var(axis=self._axes, keepdims=True)",
                "mean, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)",
            ),
        ),
        where=OUTPUT,
        rows=(6, 4),
    ),
    _fault(
        "layer-norm-of-the-whole-batch",
        "mean and variance of all elements: axis is left out",
        edits=(
            _forward(
                "mean, var = x.mean(axis=self._axes, keepdims=True), x.var(axis=self._axes, keepdims=True)",
                "mean, var = x.mean(), x.var()",
            ),
        ),
        where=OUTPUT,
        hidden=ONE_ROW,
    ),
    _fault(
        "layer-norm-of-the-sample-variance",
        "ddof=1 in the forward pass",
        edits=(_forward("x.var(", "x.var(ddof=1, "),),
        where=OUTPUT,
    ),
    _fault(
        "layer-norm-over-the-variance",
        "the square root is forgotten",
        edits=(_forward(f"np.sqrt({EPS})", EPS),),
        where=OUTPUT,
    ),
    _fault(
        "layer-norm-mean-kept",
        "the mean is not subtracted in the forward pass",
        edits=(_forward("(x - mean)", "x"),),
        where=OUTPUT,
    ),
    _fault(
        "layer-norm-eps-outside-the-root",
        "eps is added to the standard deviation",
        edits=(_forward(f"np.sqrt({EPS})", "np.sqrt(var) + x.dtype.type(self.eps)"),),
        where=OUTPUT,
        scale=0.05,
        bias=0.05,
    ),
    _fault(
        "layer-norm-without-beta",
        "b is not added",
        edits=(_forward('y += self.params["bias"]', "pass"),),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
)

BACKWARD = (
    _fault(
        "layer-norm-statistics-are-constants",
        "dx = W dy / s: the gradients of mean and variance are left out",
        edits=(_backward("(d - mean - h * along)", "d"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-without-the-mean-on-the-way-back",
        "the gradient of the mean is left out",
        edits=(_backward("d - mean - h", "d - h"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-without-the-variance-on-the-way-back",
        "the gradient of the variance is left out",
        edits=(_backward("d - mean - h * along", "d - mean"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-gamma-forgotten-on-the-way-back",
        "dy is not multiplied by W",
        edits=(_backward('d = dy * self.params["weight"]', "pass"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-sums-on-the-way-back",
        "sums stand where the means should be",
        edits=(_backward("d.mean(", "d.sum("), _backward("(d * h).mean(", "(d * h).sum(")),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-means-over-the-batch-on-the-way-back",
        "the means of the gradient are those of each column",
        edits=(
            _backward(
                "d.mean(axis=self._axes, keepdims=True), (d * h).mean(axis=self._axes, keepdims=True)",
                "d.mean(axis=0, keepdims=True), (d * h).mean(axis=0, keepdims=True)",
            ),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-not-divided-on-the-way-back",
        "dx is not divided by the standard deviation",
        edits=(_backward(" / self._deviation", ""),),
        where=GRAD_INPUT,
    ),
    _fault(
        "layer-norm-gradients-exchanged",
        "the gradient of b stands in the place of that of W",
        edits=(_backward("(dy * h).sum(axis=samples)", "dy.sum(axis=samples)"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "layer-norm-gamma-gradient-of-unscaled",
        "dW takes x - mean, which is not divided by the standard deviation",
        edits=(_backward("(dy * h).sum(axis=samples)", "(dy * h * self._deviation).sum(axis=samples)"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "layer-norm-gamma-gradient-averaged",
        "dW is a mean over the samples",
        edits=(_backward("(dy * h).sum(", "(dy * h).mean("),),
        where=GRAD_WEIGHT,
        hidden=ONE_ROW,
    ),
    _fault(
        "layer-norm-beta-gradient-over-the-features",
        "db is summed along each sample, where there are as many samples as features",
        edits=(_backward("dy.sum(axis=samples)", "dy.sum(axis=1)"),),
        where=GRAD_BIAS,
        network=SQUARE,
        rows=(6, 6),
    ),
    _fault(
        "layer-norm-beta-gradient-with-gamma",
        "db has the factor W",
        edits=(_backward("dy.sum(axis=samples)", '(dy * self.params["weight"]).sum(axis=samples)'),),
        where=GRAD_BIAS,
    ),
)

FAULTS = FORWARD + BACKWARD
CAUSES = {
    "layer-norm-over-the-batch": "statistics-over-wrong-axis",
    "layer-norm-of-the-whole-batch": "statistics-over-wrong-axis",
    "layer-norm-of-the-sample-variance": "sample-variance",
    "layer-norm-over-the-variance": "variance-for-deviation",
    "layer-norm-mean-kept": "mean-not-subtracted",
    "layer-norm-eps-outside-the-root": "eps-outside-the-root",
    "layer-norm-without-beta": "shift-missing",
    "layer-norm-statistics-are-constants": "statistics-as-constants",
    "layer-norm-without-the-mean-on-the-way-back": "gradient-of-mean-missing",
    "layer-norm-without-the-variance-on-the-way-back": "gradient-of-variance-missing",
    "layer-norm-gamma-forgotten-on-the-way-back": "scale-missing",
    "layer-norm-sums-on-the-way-back": "sum-for-mean",
    "layer-norm-means-over-the-batch-on-the-way-back": "statistics-over-wrong-axis",
    "layer-norm-not-divided-on-the-way-back": "not-divided-by-deviation",
    "layer-norm-gradients-exchanged": "gradients-exchanged",
    "layer-norm-gamma-gradient-of-unscaled": "not-divided-by-deviation",
    "layer-norm-gamma-gradient-averaged": "mean-for-sum mean-doubled",
    "layer-norm-beta-gradient-over-the-features": "summed-over-features",
    "layer-norm-beta-gradient-with-gamma": "weight-in-the-gradient-of-b",
}
