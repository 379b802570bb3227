"""Mistakes in NLLLoss, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ONE_ROW, Edit, Fault, at

_forward = partial(Edit, "scratch.nll_loss", "NLLLoss.forward")
_backward = partial(Edit, "scratch.nll_loss", "NLLLoss.backward")
_fault = partial(Fault, family="nll", network="5-7-4 relu, log_softmax output, nll")
VALUE, GRADIENT = at("loss"), at("3.grad_output", "loss")

FAULTS = (
    _fault(
        "nll-of-probabilities",
        "e^y for y: the mean of the probabilities",
        edits=(_forward("-y[rows == 1]", "-np.exp(y[rows == 1])"),),
        where=VALUE,
    ),
    _fault(
        "nll-with-the-wrong-sign",
        "the sign of the loss is forgotten, that of its gradient is not",
        edits=(_forward("-y[rows == 1]", "y[rows == 1]"),),
        where=VALUE,
    ),
    _fault(
        "nll-of-all-classes",
        "the log-probabilities of all classes are added up",
        edits=(_forward("-y[rows == 1]", "-y"),),
        where=VALUE,
    ),
    _fault(
        "nll-gradient-fused",
        "p - t, as if the loss began at the logits",
        edits=(_backward("return -rows", "return (np.exp(self.kept[0]) - rows)"),),
        where=GRADIENT,
    ),
    _fault(
        "nll-gradient-summed",
        "the gradient is not divided by the batch",
        edits=(_backward(" / self._per(len(rows))", ""),),
        where=GRADIENT,
        hidden=ONE_ROW,
    ),
)
CAUSES = {
    "nll-of-probabilities": "logarithm-missing",
    "nll-with-the-wrong-sign": "sign",
    "nll-of-all-classes": "every-class-counted",
    "nll-gradient-fused": "derivative-twice",
    "nll-gradient-summed": "mean-missing",
}
