"""Mistakes in LogSoftmax, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "5-7-4 log_softmax, softmax cross-entropy"

_forward = partial(Edit, "scratch.log_softmax", "LogSoftmax.forward")
_backward = partial(Edit, "scratch.log_softmax", "LogSoftmax.backward")
_fault = partial(Fault, family="log-softmax", network=NETWORK)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")

FAULTS = (
    _fault(
        "log-softmax-without-the-log",
        "the softmax itself",
        edits=(_forward("return self._kept.copy()", "return np.exp(self._kept)"),),
        where=OUTPUT,
    ),
    _fault(
        "log-softmax-sum-without-log",
        "the sum is subtracted, not its logarithm",
        edits=(_forward("np.log(np.exp(shifted).sum(axis=1, keepdims=True))", "np.exp(shifted).sum(axis=1)[:, None]"),),
        where=OUTPUT,
    ),
    _fault(
        "log-softmax-down-the-columns",
        "the sum runs over the samples",
        edits=(
            _forward("x.max(axis=1, keepdims=True)", "x.max(axis=0, keepdims=True)"),
            _forward(".sum(axis=1, keepdims=True)", ".sum(axis=0, keepdims=True)"),
        ),
        where=OUTPUT,
    ),
    _fault(
        "log-softmax-shifted-once",
        "the maximum is subtracted in the sum, and not outside of it",
        edits=(_forward("self._kept = shifted -", "self._kept = x -"),),
        where=OUTPUT,
    ),
    _fault(
        "log-softmax-gradient-of-softmax",
        "the derivative is that of a softmax",
        edits=(
            _backward(
                "dy - np.exp(y) * dy.sum(axis=1, keepdims=True)",
                "np.exp(y) * (dy - (dy * np.exp(y)).sum(axis=1, keepdims=True))",
            ),
        ),
        where=GRAD_INPUT,
    ),
    _fault(
        "log-softmax-gradient-without-the-sum",
        "dy - p: the sum of dy is taken for 1",
        edits=(_backward(" * dy.sum(axis=1, keepdims=True)", ""),),
        where=GRAD_INPUT,
    ),
    _fault(
        "log-softmax-gradient-without-exponential",
        "y for e^y in the derivative",
        edits=(_backward("np.exp(y)", "y"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "log-softmax-without-the-log": "logarithm-missing",
    "log-softmax-sum-without-log": "logarithm-missing",
    "log-softmax-down-the-columns": "softmax-wrong-axis",
    "log-softmax-shifted-once": "softmax-shift-on-one-side",
    "log-softmax-gradient-of-softmax": "wrong-derivative",
    "log-softmax-gradient-without-the-sum": "row-sum-missing",
    "log-softmax-gradient-without-exponential": "exponential-missing",
}
