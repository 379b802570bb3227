"""KLDivLoss: the Kullback-Leibler divergence of the target from the output, which is in logarithms."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
from compare.numbers.allowance import FUNCTION, Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, exp, log, where
from compare.numbers.float64 import Function, tensor
from compare.operations.any_loss import mean
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss, Reduction

Batched = Reduction  # "batchmean" among them


@dataclass(frozen=True)
class KLDivLoss(Loss):
    """L = (1/mn) sum t (log t - y), or (1/m) sum with "batchmean". torch's log_target is refused."""

    kind = "kl_div"
    scratch_type, torch_type = scratch.KLDivLoss, nn.KLDivLoss
    words = ("kl divergence", "kullback-leibler divergence")
    reductions = ("mean", "batchmean", "sum")
    parts: ClassVar = {
        "loss": "L = sum t (log t - y), 0 where t is 0, over all elements",
        "loss.gradient": "dy = -t / (m n)",
    }
    summed_gradient = "dy = -t"

    reduction: Batched = "mean"

    def count(self, rows: int, elements: int) -> int:
        return rows if self.reduction == "batchmean" else super().count(rows, elements)

    def formula(self, part: str) -> str:
        if self.reduction != "batchmean":
            return super().formula(part)
        return "L = sum t (log t - y), 0 where t is 0, over the samples (mean)" if part == "loss" else "dy = -t / m"

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return where(t.value == 0, 0.0, t * (log(t) - y), y.p)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return -t

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array]:
        return np.zeros(y.shape), np.full(y.shape, -1.0)

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """The terms t log t and t y, whose difference may be taken term by term or of their sums: 6 u t (|log t| + |y|)
        for the logarithm and the products, beside a sum of 2 m n terms. As t log(t / e^y) the quotient has the relative
        error of e^y and its own: 6 u t more.
        """
        with np.errstate(all="ignore"):
            entropy, cross = (np.where(t == 0, 0.0, t * a) for a in (np.log(t), -y))
        terms = np.concatenate([entropy.ravel(), cross.ravel()]) / count
        inherited = (FUNCTION + 1) * p.u * (np.abs(terms).sum() + np.abs(t).sum() / count)
        return total(terms, p, value, inherited + p.subnormal, count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """A quotient, or a reciprocal and a product, or / n / m: 2 u |dy|."""
        return Allowance(2 * p.u * np.abs(dy), floor=p.subnormal)

    def _function(self, t: Array) -> Function:
        """torch advises against its "mean" each time; it is what was asked for."""
        module, target = self.to_torch(), tensor(t)

        def quietly(y: object) -> object:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                return module(y, target)

        return quietly  # type: ignore[return-value]


# --- what people get wrong ---


def _exchanged(e: Letters) -> Bounded:
    """The divergence of e^y from t."""
    return mean(e, exp(e.y) * (e.y - log(e.t)))


# What examples have in common: their cases, and the correct expressions.
KL = {"network": "5-7-4 relu, log_softmax output, kl divergence batchmean", "target": "soft"}
LOSS = "(t * (np.log(t) - y)).sum() / m"
GRADIENT = "-t / m"

# fmt: off
MISTAKES = {
    "loss": [
        M("arguments-exchanged", _exchanged, "output and target are exchanged: sum e^y (y - log t)",
          wrong="(np.exp(y) * (y - np.log(t))).sum() / m", right=LOSS, case=KL),
        M("entropy-missing", lambda e: -mean(e, e.t * e.y),
          "it is the cross-entropy -sum t y: the term t log t is missing",
          wrong="-(t * y).sum() / m", right=LOSS, case=KL),
        M("logarithm-twice", lambda e: mean(e, e.t * (log(e.t) - log(e.y))),
          "a logarithm of the output, which is in logarithms already, is taken", overflows=True,
          wrong="(t * (np.log(t) - np.log(y))).sum() / m", right=LOSS, case=KL),
        M("probabilities-for-logarithms", lambda e: mean(e, e.t * (log(e.t) - exp(e.y))),
          "e^y stands where y is meant: the output is in logarithms already",
          wrong="(t * (np.log(t) - np.exp(y))).sum() / m", right=LOSS, case=KL),
        M("target-taken-for-logarithms", lambda e: mean(e, exp(e.t) * (e.t - e.y)),
          "the target is taken for one in logarithms (log_target): sum e^t (t - y)",
          wrong="(np.exp(t) * (t - y)).sum() / m", right=LOSS, case=KL),
        M("factor-t-missing", lambda e: mean(e, log(e.t) - e.y), "sum (log t - y): the factor t is missing",
          wrong="(np.log(t) - y).sum() / m", right=LOSS, case=KL),
    ],
    "loss.gradient": [
        M("derivative-twice", lambda e: (exp(e.y) - e.t) / e.count,
          "it is (p - t) / m, the gradient of the logits: the log-softmax's derivative will be applied once more",
          wrong="(np.exp(y) - t) / m", right=GRADIENT, case=KL),
        M("wrong-loss-gradient", lambda e: -(e.t / exp(e.y)) / e.count,
          "it is -t / p, the gradient with respect to the probabilities",
          wrong="-t / np.exp(y) / m", right=GRADIENT, case=KL),
        M("arguments-exchanged", lambda e: exp(e.y) * (e.y - log(e.t) + 1.0) / e.count,
          "output and target are exchanged: it is the derivative of sum e^y (y - log t)",
          wrong="np.exp(y) * (y - np.log(t) + 1) / m", right=GRADIENT, case=KL),
        M("target-for-output", lambda e: (log(e.t) - e.y + 1.0) / e.count,
          "it is the derivative with respect to the target: log t - y + 1",
          wrong="(np.log(t) - y + 1) / m", right=GRADIENT, case=KL),
        M("wrong-derivative", lambda e: e.operation.terms(e.y, e.t) / e.count,
          "it is the loss of each element, not its derivative",
          wrong="t * (np.log(t) - y) / m", right=GRADIENT, case=KL),
        M("target-missing", lambda e: Bounded.of(np.full(e.t.shape, -1.0), e.p) / e.count,
          "-1 / m for every element: the factor t is missing",
          wrong="-np.ones_like(y) / m", right=GRADIENT, case=KL),
    ],
}
# fmt: on

KLDivLoss.mistakes = MISTAKES
