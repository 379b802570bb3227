"""Mistakes in L1Loss, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

_forward = partial(Edit, "scratch.l1_loss", "L1Loss.forward")
_backward = partial(Edit, "scratch.l1_loss", "L1Loss.backward")
_fault = partial(Fault, family="l1", network="5-7-4 tanh, l1")
VALUE, GRADIENT = at("loss"), at("2.grad_output", "loss")

FAULTS = (
    _fault(
        "l1-without-absolute-value",
        "the errors are summed with their signs",
        edits=(_forward("np.abs(y - self._kept[1])", "(y - self._kept[1])"),),
        where=VALUE,
    ),
    _fault(
        "l1-of-squares",
        "the squares are summed, the gradient is the sign",
        edits=(_forward("np.abs(y - self._kept[1])", "np.square(y - self._kept[1])"),),
        where=VALUE,
    ),
    _fault(
        "l1-per-sample",
        "the absolute error and its gradient are divided by the number of samples",
        edits=(_forward("y.size", "len(y)"), _backward("y.size", "len(y)")),
        where=VALUE,
    ),
    _fault(
        "l1-gradient-without-sign",
        "the gradient is the error itself",
        edits=(_backward("np.sign(y - t)", "(y - t)"),),
        where=GRADIENT,
    ),
    _fault(
        "l1-gradient-uphill",
        "the gradient is the sign of t - y",
        edits=(_backward("np.sign(y - t)", "np.sign(t - y)"),),
        where=GRADIENT,
    ),
    _fault(
        "l1-gradient-summed",
        "the gradient is not divided by the number of elements",
        edits=(_backward(" / self._per(y.size)", ""),),
        where=GRADIENT,
    ),
    _fault(
        "l1-gradient-at-the-kink",
        "where output and target are the same the gradient is that of a larger output",
        edits=(_backward("np.sign(y - t)", "np.where(y >= t, y.dtype.type(1), -1)"),),
        where=GRADIENT,
        target="bits",
        zero_row=True,
        bias=0.0,
        hidden="no difference where no output is its target",
    ),
)
CAUSES = {
    "l1-without-absolute-value": "absolute-value-missing",
    "l1-of-squares": "square-unasked",
    "l1-per-sample": "wrong-mean",
    "l1-gradient-without-sign": "square-unasked",
    "l1-gradient-uphill": "sign",
    "l1-gradient-summed": "mean-missing",
    "l1-gradient-at-the-kink": "sign-at-zero",
}
