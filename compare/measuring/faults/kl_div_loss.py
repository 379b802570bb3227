"""Mistakes in KLDivLoss, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ONE_ROW, Edit, Fault, at

_forward = partial(Edit, "scratch.kl_div_loss", "KLDivLoss.forward")
_backward = partial(Edit, "scratch.kl_div_loss", "KLDivLoss.backward")
_count = partial(Edit, "scratch.kl_div_loss", "KLDivLoss._count")
NETWORK = "5-7-4 relu, log_softmax output, kl divergence batchmean"
_fault = partial(Fault, family="kl divergence", network=NETWORK, target="soft")
VALUE, GRADIENT = at("loss"), at("3.grad_output", "loss")

FAULTS = (
    _fault(
        "kl-exchanged",
        "the divergence of the output from the target",
        edits=(_forward("t * (np.log(t) - y)", "np.exp(y) * (y - np.log(t))"),),
        where=VALUE,
    ),
    _fault(
        "kl-without-entropy",
        "the cross-entropy: t log t is left out",
        edits=(_forward("np.log(t) - y", "-y"),),
        where=VALUE,
    ),
    _fault(
        "kl-of-probabilities",
        "the output is taken out of its logarithm",
        edits=(_forward("np.log(t) - y", "np.log(t) - np.exp(y)"),),
        where=VALUE,
    ),
    _fault(
        "kl-mean-for-batchmean",
        "loss and gradient are divided by all elements, where the samples are meant",
        edits=(_count("return len(y)", "return y.size"),),
        where=VALUE,
    ),
    _fault(
        "kl-gradient-fused",
        "p - t, as if the loss began at the logits",
        edits=(_backward("return -t", "return (np.exp(y) - t)"),),
        where=GRADIENT,
    ),
    _fault(
        "kl-gradient-uphill",
        "t in the place of -t",
        edits=(_backward("return -t", "return t"),),
        where=GRADIENT,
    ),
    _fault(
        "kl-gradient-summed",
        "the gradient is not divided by the batch",
        edits=(_backward(" / self._count(y)", ""),),
        where=GRADIENT,
        hidden=ONE_ROW,
    ),
)
CAUSES = {
    "kl-exchanged": "arguments-exchanged",
    "kl-without-entropy": "entropy-missing",
    "kl-of-probabilities": "probabilities-for-logarithms",
    "kl-mean-for-batchmean": "wrong-mean",
    "kl-gradient-fused": "derivative-twice",
    "kl-gradient-uphill": "sign",
    "kl-gradient-summed": "mean-missing",
}
