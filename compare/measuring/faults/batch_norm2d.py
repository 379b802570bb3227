"""Mistakes in BatchNorm2d that a BatchNorm1d cannot have, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Conv2d(2, 3, 3), BatchNorm2d(3), ReLU, Flatten, Linear(45, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.batch_norm", "BatchNorm.forward")
_backward = partial(Edit, "scratch.batch_norm", "BatchNorm.backward")
_beside = partial(Edit, "scratch.batch_norm", "_beside")
_fault = partial(Fault, family="normalisation", network=NETWORK)
OUTPUT, GRAD_WEIGHT, GRAD_BIAS, GRAD_INPUT = map(at, ("1.output", "1.grad_weight", "1.grad_bias", "1.grad_input"))
RUNNING_VAR = at("1.new_running_var")
STATISTICS = "mean, var = x.mean(axis=axes), x.var(axis=axes)"
# statistics that are no longer one number of each channel follow through these
BY_AXES = "self._deviation = np.sqrt(x.var(axis={0}, keepdims=True) + x.dtype.type(self.eps))"

FAULTS = (
    _fault(
        "batch-norm-of-pixels",
        "mean and variance of each pixel over the batch: axis=0, as of rows",
        edits=(
            _forward("self._deviation = _beside(np.sqrt(var + x.dtype.type(self.eps)), x)", BY_AXES.format("0")),
            _forward("(x - _beside(mean, x))", "(x - x.mean(axis=0, keepdims=True))"),
        ),
        where=OUTPUT,
        rows=(6, 4),
    ),
    _fault(
        "batch-norm-of-images",
        "mean and variance of each image by itself: axis=(2, 3)",
        edits=(
            _forward("self._deviation = _beside(np.sqrt(var + x.dtype.type(self.eps)), x)", BY_AXES.format("(2, 3)")),
            _forward("(x - _beside(mean, x))", "(x - x.mean(axis=(2, 3), keepdims=True))"),
        ),
        where=OUTPUT,
    ),
    _fault(
        "batch-norm-of-all-channels",
        "one mean and one variance for all channels",
        edits=(
            _forward(
                STATISTICS, "mean, var = np.full(x.shape[1], x.mean(), x.dtype), np.full(x.shape[1], x.var(), x.dtype)"
            ),
        ),
        where=OUTPUT,
    ),
    _fault(
        "batch-norm-running-variance-of-so-many-samples",
        "the running variance is corrected by m / (m - 1), without the positions",
        edits=(_forward("var * count / (count - 1)", "var * len(x) / (len(x) - 1)"),),
        where=RUNNING_VAR,
    ),
    _fault(
        "batch-norm-gamma-gradient-of-every-position",
        "dW is summed over the batch only",
        edits=(_backward("(dy * h).sum(axis=axes)", "(dy * h).sum(axis=0)"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "batch-norm-beta-gradient-of-every-image",
        "db is summed over the positions only",
        edits=(_backward("dy.sum(axis=axes)", "dy.sum(axis=(2, 3))"),),
        where=GRAD_BIAS,
    ),
    _fault(
        "batch-norm-gamma-gradient-averaged",
        "dW is a mean over batch and positions",
        edits=(_backward("(dy * h).sum(axis=axes)", "(dy * h).mean(axis=axes)"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "batch-norm-means-over-images-on-the-way-back",
        "the means of the gradient are those of each image",
        edits=(
            _backward("d.mean(axis=axes,", "d.mean(axis=(2, 3),"),
            _backward("(d * h).mean(axis=axes,", "(d * h).mean(axis=(2, 3),"),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-means-over-the-batch-on-the-way-back",
        "the means of the gradient are those of each pixel",
        edits=(
            _backward("d.mean(axis=axes,", "d.mean(axis=0,"),
            _backward("(d * h).mean(axis=axes,", "(d * h).mean(axis=0,"),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "batch-norm-of-images-statistics-are-constants",
        "dx = W dy / s: the gradients of mean and variance are left out",
        edits=(_backward("if self._by_batch:", "if False:"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "batch-norm-of-pixels": "statistics-over-wrong-axis",
    "batch-norm-of-images": "statistics-over-wrong-axis",
    "batch-norm-of-all-channels": "statistics-over-wrong-axis",
    "batch-norm-running-variance-of-so-many-samples": "positions-not-counted",
    "batch-norm-gamma-gradient-of-every-position": "summed-over-batch-only",
    "batch-norm-beta-gradient-of-every-image": "summed-over-positions-only",
    "batch-norm-gamma-gradient-averaged": "mean-for-sum",
    "batch-norm-means-over-images-on-the-way-back": "statistics-over-wrong-axis",
    "batch-norm-means-over-the-batch-on-the-way-back": "statistics-over-wrong-axis",
    "batch-norm-of-images-statistics-are-constants": "statistics-as-constants",
}
