"""Mistakes in BatchNorm1d, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ZERO_BIAS, Edit, Fault, at

NETWORK = "Linear(5, 7), BatchNorm1d(7), ReLU, Linear(7, 4); CrossEntropyLoss"
SQUARE = "Linear(5, 6), BatchNorm1d(6), ReLU, Linear(6, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.batch_norm", "BatchNorm.forward")
_follow = partial(Edit, "scratch.batch_norm", "BatchNorm._follow")
_backward = partial(Edit, "scratch.batch_norm", "BatchNorm.backward")
_fault = partial(Fault, family="normalisation", network=NETWORK)
_near_zero = partial(_fault, scale=0.05, bias=0.05)  # where eps counts
OUTPUT, GRAD_WEIGHT, GRAD_BIAS, GRAD_INPUT = map(at, ("1.output", "1.grad_weight", "1.grad_bias", "1.grad_input"))
RUNNING_MEAN, RUNNING_VAR = map(at, ("1.new_running_mean", "1.new_running_var"))
EPS = "var + x.dtype.type(self.eps)"

FORWARD = (
    _fault(
        "batch-norm-by-running-statistics",
        "the running mean and variance are taken in training, too",
        edits=(
            _forward("mean, var = x.mean(axis=axes), x.var(axis=axes)", "pass"),
            _forward("mean, var * count", "x.mean(axis=axes), x.var(axis=axes) * count"),
        ),
        where=OUTPUT,
    ),
    _fault(
        "batch-norm-of-rows",
        "mean and variance of each sample, where there are as many samples as features",
        edits=(_forward("x.mean(axis=axes), x.var(axis=axes)", "x.mean(axis=1), x.var(axis=1)"),),
        where=OUTPUT,
        network=SQUARE,
        rows=(6, 6),
    ),
    _fault(
        "batch-norm-of-the-sample-variance",
        "ddof=1 in the forward pass",
        edits=(_forward("x.var(axis=axes)", "x.var(axis=axes, ddof=1)"),),
        where=OUTPUT,
    ),
    _fault(
        "batch-norm-over-the-variance",
        "the square root is forgotten",
        edits=(_forward(f"np.sqrt({EPS})", EPS),),
        where=OUTPUT,
    ),
    _near_zero(
        "batch-norm-eps-forgotten",
        "eps is not added to the variance",
        edits=(_forward(EPS, "var"),),
        where=OUTPUT,
    ),
    _near_zero(
        "batch-norm-eps-outside-the-root",
        "eps is added to the standard deviation",
        edits=(_forward(f"np.sqrt({EPS})", "np.sqrt(var) + x.dtype.type(self.eps)"),),
        where=OUTPUT,
    ),
    _fault(
        "batch-norm-without-beta",
        "b is not added",
        edits=(_forward('y += _beside(self.params["bias"], x)', "pass"),),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "batch-norm-momentum-reversed",
        "momentum is the share of the running mean, as in other libraries",
        edits=(
            _follow(
                "(1 - self.momentum) * self.running_mean + self.momentum * mean",
                "self.momentum * self.running_mean + (1 - self.momentum) * mean",
            ),
        ),
        where=RUNNING_MEAN,
    ),
    _fault(
        "batch-norm-running-mean-not-updated",
        "the running mean stays at 0",
        edits=(_follow("self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean", "pass"),),
        where=RUNNING_MEAN,
    ),
    _fault(
        "batch-norm-population-variance-kept",
        "the running variance follows the batch's own, divided by N",
        edits=(_forward("var * count / (count - 1)", "var"),),
        where=RUNNING_VAR,
    ),
    _fault(
        "batch-norm-running-deviation",
        "the running variance follows the standard deviation",
        edits=(_forward("var * count / (count - 1)", "np.sqrt(var * count / (count - 1))"),),
        where=RUNNING_VAR,
    ),
)

BACKWARD = (
    _fault(
        "batch-norm-statistics-are-constants",
        "dx = W dy / s: the gradients of mean and variance are left out",
        edits=(_backward("if self._by_batch:", "if False:"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-without-the-mean-on-the-way-back",
        "the gradient of the mean is left out",
        edits=(_backward("d - d.mean(axis=axes, keepdims=True) - h", "d - h"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-without-the-variance-on-the-way-back",
        "the gradient of the variance is left out",
        edits=(_backward(" - h * (d * h).mean(axis=axes, keepdims=True)", ""),),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-gamma-forgotten-on-the-way-back",
        "dy is not multiplied by W",
        edits=(_backward('d = dy * _beside(self.params["weight"], dy)', "pass"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-sums-on-the-way-back",
        "sums stand where the means should be",
        edits=(_backward("d.mean(", "d.sum("), _backward("(d * h).mean(", "(d * h).sum(")),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-means-over-rows-on-the-way-back",
        "the means of the gradient are those of each sample",
        edits=(
            _backward("d.mean(axis=axes,", "d.mean(axis=1,"),
            _backward("(d * h).mean(axis=axes,", "(d * h).mean(axis=1,"),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-gamma-gradient-of-x",
        "dW takes x, not the normalised x",
        edits=(
            _forward("self._by_batch = self.training", "self._x, self._by_batch = x, self.training"),
            _backward("(dy * h).sum(axis=axes)", "(dy * self._x).sum(axis=axes)"),
        ),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "batch-norm-gradients-exchanged",
        "the gradient of b stands in the place of that of W",
        edits=(_backward("(dy * h).sum(axis=axes)", "dy.sum(axis=axes)"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "batch-norm-beta-gradient-averaged",
        "db is a mean over the batch",
        edits=(_backward("dy.sum(axis=axes)", "dy.mean(axis=axes)"),),
        where=GRAD_BIAS,
    ),
    _fault(
        "batch-norm-beta-gradient-over-the-features",
        "db is summed along each sample, where there are as many samples as features",
        edits=(_backward("dy.sum(axis=axes)", "dy.sum(axis=1)"),),
        where=GRAD_BIAS,
        network=SQUARE,
        rows=(6, 6),
    ),
)

FAULTS = FORWARD + BACKWARD
CAUSES = {
    "batch-norm-by-running-statistics": "running-statistics-in-training",
    "batch-norm-of-rows": "statistics-over-wrong-axis",
    "batch-norm-of-the-sample-variance": "sample-variance",
    "batch-norm-over-the-variance": "variance-for-deviation",
    "batch-norm-eps-forgotten": "eps-forgotten",
    "batch-norm-eps-outside-the-root": "eps-outside-the-root",
    "batch-norm-without-beta": "shift-missing",
    "batch-norm-momentum-reversed": "momentum-reversed",
    "batch-norm-running-mean-not-updated": "running-not-updated",
    "batch-norm-population-variance-kept": "population-variance",
    "batch-norm-running-deviation": "deviation-for-variance",
    "batch-norm-statistics-are-constants": "statistics-as-constants",
    "batch-norm-without-the-mean-on-the-way-back": "gradient-of-mean-missing",
    "batch-norm-without-the-variance-on-the-way-back": "gradient-of-variance-missing",
    "batch-norm-gamma-forgotten-on-the-way-back": "scale-missing",
    "batch-norm-sums-on-the-way-back": "sum-for-mean",
    "batch-norm-means-over-rows-on-the-way-back": "statistics-over-wrong-axis",
    "batch-norm-gamma-gradient-of-x": "x-for-normalised",
    "batch-norm-gradients-exchanged": "gradients-exchanged",
    "batch-norm-beta-gradient-averaged": "mean-for-sum mean-doubled",
    "batch-norm-beta-gradient-over-the-features": "summed-over-features",
}
