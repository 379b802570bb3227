"""Mistakes in MultiMarginLoss, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

_forward = partial(Edit, "scratch.multi_margin_loss", "MultiMarginLoss.forward")
_backward = partial(Edit, "scratch.multi_margin_loss", "MultiMarginLoss.backward")
_fault = partial(Fault, family="hinge", network="5-7-4 relu, multi-class hinge")
VALUE, GRADIENT = at("loss"), at("2.grad_output", "loss")

FAULTS = (
    _fault(
        "hinge-with-the-right-class",
        "the right class is compared with itself",
        edits=(
            _forward("np.where(rows == 1, s.dtype.type(0), np.maximum(1 - own + s, 0))", "np.maximum(1 - own + s, 0)"),
        ),
        where=VALUE,
    ),
    _fault(
        "hinge-without-margin",
        "the other scores must be below the right one, but not by 1",
        edits=(_forward("1 - own + s", "s - own"),),
        where=VALUE,
    ),
    _fault(
        "hinge-not-bent",
        "what is ahead by more than 1 counts as a negative loss",
        edits=(_forward("np.maximum(1 - own + s, 0)", "1 - own + s"),),
        where=VALUE,
        scale=5.0,
        hidden="no difference where no score is ahead by 1",
    ),
    _fault(
        "hinge-over-samples-only",
        "loss and gradient are not divided by the number of classes",
        edits=(_forward(" / s.shape[1]", ""), _backward(" / n", "")),
        where=VALUE,
    ),
    _fault(
        "hinge-gradient-of-the-others-only",
        "the score of the right class has no gradient",
        edits=(_backward(" - rows * above.sum(axis=1, keepdims=True)", ""),),
        where=GRADIENT,
    ),
    _fault(
        "hinge-right-class-once",
        "the score of the right class is raised once, however many are too near",
        edits=(_backward("rows * above.sum(axis=1, keepdims=True)", "rows"),),
        where=GRADIENT,
    ),
    _fault(
        "hinge-gradient-downhill",
        "the gradient has the wrong sign",
        edits=(_backward("return (above", "return -(above"),),
        where=GRADIENT,
    ),
)
CAUSES = {
    "hinge-with-the-right-class": "own-class-included",
    "hinge-without-margin": "margin-missing",
    "hinge-not-bent": "hinge-missing",
    "hinge-over-samples-only": "classes-undivided",
    "hinge-gradient-of-the-others-only": "own-class-missing",
    "hinge-right-class-once": "own-class-counted-once",
    "hinge-gradient-downhill": "sign",
}
