"""Mistakes in the label smoothing and the class weights of the cross-entropy, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

_asked = partial(Edit, "scratch.losses", "CrossEntropyLoss._asked")
_backward = partial(Edit, "scratch.losses", "CrossEntropyLoss.backward")
_smoothed = partial(Fault, family="smoothing", network="5-7-4 relu, CrossEntropyLoss(label_smoothing=0.2)")
_weighted = partial(
    Fault, family="class weights", network="5-7-4 relu, CrossEntropyLoss(weight=(1.0, 2.0, 0.5, 3.0))", rows=(6, 3)
)
VALUE, GRADIENT = at("loss"), at("2.grad_output", "loss")
KEPT = "log_p, t = self.kept"

FAULTS = (
    _smoothed(
        "smoothing-forgotten",
        "the target is as it was",
        edits=(_asked("smoothed = (1 - e) * t + e / n if e else t", "smoothed = t"),),
        where=VALUE,
    ),
    _smoothed(
        "smoothing-by-the-other-classes",
        "e is shared among the other n - 1 classes",
        edits=(_asked("(1 - e) * t + e / n", "(1 - e) * t + e / t.dtype.type(n - 1) * (1 - t)"),),
        where=VALUE,
    ),
    _smoothed(
        "smoothing-divided-by-one-less",
        "e / (n - 1) for every class",
        edits=(_asked("e / n", "e / t.dtype.type(n - 1)"),),
        where=VALUE,
    ),
    _smoothed(
        "smoothing-not-shared",
        "e for every class",
        edits=(_asked("e / n", "e"),),
        where=VALUE,
    ),
    _smoothed(
        "smoothing-not-in-the-gradient",
        "the gradient knows the sharp target only",
        edits=(
            _backward(
                KEPT,
                f"{KEPT}\n    e = t.dtype.type(self.label_smoothing)\n    t = (t - e / t.shape[1]) / (1 - e)",
            ),
        ),
        where=GRADIENT,
    ),
    _weighted(
        "class-weights-over-the-batch-size",
        "the weighted losses are divided by m",
        edits=(_asked('w / (t @ w).mean() if are_labels and self.reduction == "mean" else w', "w"),),
        where=VALUE,
    ),
    _weighted(
        "class-weights-forgotten",
        "no sample is weighted",
        edits=(_asked("return smoothed * (", "return smoothed + 0 * ("),),
        where=VALUE,
    ),
    _weighted(
        "class-weights-not-in-the-gradient",
        "the gradient is p - t of every sample, over m",
        edits=(_backward(KEPT, f"{KEPT}\n    t = t / t.sum(axis=1, keepdims=True)"),),
        where=GRADIENT,
    ),
    _weighted(
        "class-weights-along-the-columns",
        "p - t is multiplied by the weight of the column, not by that of the row's class",
        edits=(
            _backward(
                KEPT,
                f"{KEPT}\n    own = t.sum(axis=1, keepdims=True)\n    t = t / own\n"
                "    w = self.weight.astype(t.dtype)\n    w = w * (own / (t @ w)[:, None])",
            ),
            _backward("- t) / self", "- t) * w / self"),
        ),
        where=GRADIENT,
    ),
)
CAUSES = {
    "smoothing-forgotten": "smoothing-missing",
    "smoothing-by-the-other-classes": "smoothing-over-wrong-classes",
    "smoothing-divided-by-one-less": "smoothing-over-wrong-classes",
    "smoothing-not-shared": "smoothing-over-wrong-classes",
    "smoothing-not-in-the-gradient": "smoothing-missing",
    "class-weights-over-the-batch-size": "mean-not-weighted",
    "class-weights-forgotten": "class-weights-missing",
    "class-weights-not-in-the-gradient": "class-weights-missing",
    "class-weights-along-the-columns": "class-weight-of-every-class",
}
