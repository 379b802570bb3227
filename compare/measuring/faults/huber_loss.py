"""Mistakes in HuberLoss, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

_forward = partial(Edit, "scratch.huber_loss", "HuberLoss.forward")
_backward = partial(Edit, "scratch.huber_loss", "HuberLoss.backward")
_fault = partial(Fault, family="huber", network="5-7-4 tanh, huber(0.5)", rows=(12, 6))
VALUE, GRADIENT = at("loss"), at("2.grad_output", "loss")
CLIPPED = "np.clip(y - t, -self.delta, self.delta)"

FAULTS = (
    _fault(
        "huber-square-everywhere",
        "the loss is half the square however far the target is",
        edits=(_forward("d <= self.delta", "d >= 0"),),
        where=VALUE,
        hidden="no difference where all errors are below delta",
    ),
    _fault(
        "huber-square-not-halved",
        "the loss near the target is the whole square",
        edits=(_forward("d * d / 2", "d * d"),),
        where=VALUE,
    ),
    _fault(
        "huber-jumps",
        "the line beyond delta begins at delta^2, above the parabola",
        edits=(_forward("(d - self.delta / 2)", "d"),),
        where=VALUE,
        hidden="no difference where all errors are below delta",
    ),
    _fault(
        "huber-as-smooth-l1",
        "loss and gradient are divided by delta, as another loss's are",
        edits=(
            _forward("/ self._per(y.size)", "/ self.delta / self._per(y.size)"),
            _backward("/ self._per(y.size)", "/ self.delta / self._per(y.size)"),
        ),
        where=VALUE,
        network="5-7-4 tanh, huber(0.4)",
        hidden="no difference with a delta of 1",
    ),
    _fault(
        "huber-gradient-unlimited",
        "the gradient is the error however large it is",
        edits=(_backward(CLIPPED, "(y - t)"),),
        where=GRADIENT,
        hidden="no difference where all errors are below delta",
    ),
    _fault(
        "huber-gradient-of-one",
        "the gradient is limited to 1 whatever delta is",
        edits=(_backward(CLIPPED, "np.clip(y - t, -1, 1)"),),
        where=GRADIENT,
        hidden="no difference with a delta of 1",
    ),
    _fault(
        "huber-gradient-gone-beyond-delta",
        "where the error is beyond delta there is no gradient",
        edits=(_backward(CLIPPED, "(y - t) * (abs(y - t) <= self.delta)"),),
        where=GRADIENT,
        hidden="no difference where all errors are below delta",
    ),
    _fault(
        "huber-gradient-uphill",
        "the gradient is that of t - y",
        edits=(_backward(CLIPPED, "np.clip(t - y, -self.delta, self.delta)"),),
        where=GRADIENT,
    ),
)
CAUSES = {
    "huber-square-everywhere": "square-unlimited",
    "huber-square-not-halved": "half-missing",
    "huber-jumps": "tangent-missing",
    "huber-as-smooth-l1": "smooth-l1",
    "huber-gradient-unlimited": "square-unlimited",
    "huber-gradient-of-one": "other-delta",
    "huber-gradient-gone-beyond-delta": "zero-beyond-delta",
    "huber-gradient-uphill": "sign",
}
