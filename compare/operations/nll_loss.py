"""NLLLoss: the negative log-likelihood of the right classes, from log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, exp, log, where
from compare.numbers.float64 import Function, tensor
from compare.operations.any_loss import mean
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss


@dataclass(frozen=True)
class NLLLoss(Loss):
    """L = -(1/m) sum_i y_{i, t_i}. torch's class weights are refused."""

    kind = "nll"
    scratch_type, torch_type = scratch.NLLLoss, nn.NLLLoss
    words = ("nll", "negative log-likelihood")
    parts: ClassVar = {
        "loss": "L = -sum y_t, y_t the log-probability of the right class, over the samples",
        "loss.gradient": "dy = -1 / m for the right class, else 0",
    }
    summed_gradient = "dy = -1 for the right class, else 0"
    per_sample = takes_labels = True

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return where(t.value == 0, 0.0, -(t * y), y.p)

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return -t

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array]:
        return np.zeros(y.shape), np.full(y.shape, -1.0)

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """A sum of the m numbers of the right classes, in any order; what else is added to it is 0."""
        own = np.where(t == 0, 0.0, -t * np.where(t == 0, 0.0, y)).sum(axis=1)
        return total(own / count, p, value, 0.0, count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """1 / c is rounded once, and its product with t, which is 1, is exact: u |dy|."""
        return Allowance(p.u * np.abs(dy))

    def _function(self, t: Array) -> Function:
        """Of one-hot rows torch takes the class."""
        module, labels = self.to_torch(), tensor((t.argmax(axis=1) if t.ndim == 2 else t).astype(np.int64))
        return lambda y: module(y, labels)


# --- what people get wrong ---


def _logarithm_twice(e: Letters) -> Bounded:
    """Of numbers below 0."""
    return mean(e, -e.t * log(e.y))


# What examples have in common: their cases, and the correct expressions.
NLL = {"network": "5-7-4 relu, log_softmax output, nll"}
LOSS = "-(t * y).sum() / m"
GRADIENT = "-t / m"

# fmt: off
MISTAKES = {
    "loss": [
        M("logarithm-missing", lambda e: -mean(e, e.t * exp(e.y)),
          "it is the mean of the probabilities e^y, not of their logarithms",
          wrong="-(t * np.exp(y)).sum() / m", right=LOSS, case=NLL),
        M("logarithm-twice", _logarithm_twice, "a logarithm of the log-probabilities, which are below 0, is taken",
          overflows=True, wrong="-(t * np.log(y)).sum() / m", right=LOSS, case=NLL),
        M("every-class-counted", lambda e: -mean(e, e.y), "the log-probabilities of all classes are added up",
          wrong="-y.sum() / m", right=LOSS, case=NLL),
    ],
    "loss.gradient": [
        M("derivative-twice", lambda e: (exp(e.y) - e.t) / e.count,
          "it is (p - t) / m, the gradient of the logits: the log-softmax's derivative will be applied once more",
          wrong="(np.exp(y) - t) / m", right=GRADIENT, case=NLL),
        M("wrong-loss-gradient", lambda e: -(e.t / exp(e.y)) / e.count,
          "it is -t / p, the gradient with respect to the probabilities",
          wrong="-t / np.exp(y) / m", right=GRADIENT, case=NLL),
        M("wrong-derivative", lambda e: -(e.t * e.y) / e.count, "it is the loss of each element, not its derivative",
          wrong="-t * y / m", right=GRADIENT, case=NLL),
        M("target-missing", lambda e: Bounded.of(np.full(e.t.shape, -1.0), e.p) / e.count,
          "-1 / m for every class: the factor t is missing",
          wrong="-np.ones_like(y) / m", right=GRADIENT, case=NLL),
    ],
}
# fmt: on

NLLLoss.mistakes = MISTAKES
