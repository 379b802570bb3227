"""Binary cross-entropy: of independent probabilities, or of the logits that give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
import torch_ref.losses
from compare.numbers.allowance import FUNCTION, Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, exp, log, relu, sigmoid
from compare.operations.any_loss import gradient, mean, over, times_log
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss
from compare.operations.sigmoid import Sigmoid


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """On probabilities q: L = -1/(m n) sum (t log q + (1 - t) log(1 - q)), unclamped."""

    kind = "binary_cross_entropy"
    scratch_type: ClassVar[type] = scratch.BCELoss
    torch_type: ClassVar[type] = torch_ref.losses.BCELoss
    words: ClassVar[tuple[str, ...]] = ("binary cross-entropy", "binary cross-entropy on probabilities")
    parts: ClassVar = {
        "loss": "L = -sum (t log p + (1 - t) log(1 - p)), over all elements",
        "loss.gradient": "dp = ((1 - t) / (1 - p) - t / p) / (m n)",
    }
    summed_gradient: ClassVar[str] = "dp = (1 - t) / (1 - p) - t / p"
    logarithmic = binary = True

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        q = self.probabilities(y)
        return -(times_log(t, q + eps if eps else q) + times_log(1.0 - t, 1.0 - q + eps if eps else 1.0 - q))

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return over(1.0 - t, 1.0 - y + eps if eps else 1.0 - y) - over(t, y + eps if eps else y)

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        return None

    def probabilities(self, y: Bounded) -> Bounded:
        return y

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """Each part of a term, -t log q and -(1 - t) log(1 - q), is at least 0.

        1 - q is rounded: u |1 - t| more in its logarithm, log1p(-q) or not; each logarithm and its product carry
        (5 + 2) u. 1 - t, where it is not exact, has relative error u, which is among the 2.
        """
        with np.errstate(all="ignore"):
            terms = np.where(t == 0, 0, -t * np.log(y)) + np.where(t == 1, 0, -(1 - t) * np.log1p(-y))
        inherited = p.u * ((FUNCTION + 2) * terms + np.abs(1 - t)).sum() / count
        return total(terms.ravel() / count, p, value, inherited, count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """dq = ((1 - t) / (1 - q) - t / q) / c, or (q - t) / (q (1 - q)) / c: 6 u (|1 - t| / (1 - q) + |t| / q) / c."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(t == 1, 0, np.abs(1 - t) / np.abs(1 - y)) + np.where(t == 0, 0, np.abs(t / y))
        return Allowance(6 * p.u * scale / count + 2 * p.subnormal)


@dataclass(frozen=True)
class LogitsBinaryCrossEntropy(BinaryCrossEntropy):
    """On logits z: L = 1/(m n) sum (max(z, 0) - z t + log(1 + e^-|z|))."""

    kind = "logits_binary_cross_entropy"
    scratch_type, torch_type = scratch.BCEWithLogitsLoss, nn.BCEWithLogitsLoss
    words = ("sigmoid binary cross-entropy", "binary cross-entropy on logits")
    parts: ClassVar = {
        "loss": "L = sum (max(z, 0) - z t + log(1 + e^-|z|)), over all elements",
        "loss.gradient": "dz = (sigmoid(z) - t) / (m n)",
    }
    summed_gradient = "dz = sigmoid(z) - t"

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        """In that form, where no logarithm is of a number that rounds to 0; an epsilon needs the probabilities."""
        return super().terms(y, t, eps) if eps else relu(y) - y * t + log(1.0 + exp(-absolute(y)))

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return self.slope_from(sigmoid(y), t)

    def slope_from(self, q: Bounded, t: Bounded) -> Bounded:
        return q - t

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        return Loss.affine(self, y, t)

    def probabilities(self, y: Bounded) -> Bounded:
        return sigmoid(y)

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """In that form, or with log1p, or max(z, 0) - z + ..., or -log sigmoid(+-z).

        Each term: (5 + 2) u (|z| + |z t|) for the exact parts and their sums, and for the logarithm, whose argument is
        rounded near 1, (5 + 2) u absolute.
        """
        terms = np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y)))
        inherited = (FUNCTION + 2) * p.u * (np.abs(y) * (1 + np.abs(t)) + 1).sum() / count
        return total(terms.ravel() / count, p, value, inherited, count)

    def lost_in_probabilities(self, y: Array, t: Array, count: float, p: Precision) -> float:
        """log(1 - q) of a rounded q = sigmoid(z): (5 + 2) u q, and u of the difference, over 1 - q = q e^-z."""
        over = np.minimum(np.exp(np.minimum(y, -np.log(p.u))), 1 / p.u)  # q / (1 - q); beyond it, 1 - q is 0
        return float(p.u * (np.abs(1 - t) * ((FUNCTION + 2) * over + 1)).sum() / count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """dz = (q - t) / c, q = sigmoid(z): 7 u q for the sigmoid, 3 u (q + |t|) for difference and quotients."""
        q = Sigmoid().apply(y)
        return Allowance(p.u * ((FUNCTION + 5) * q + 3 * np.abs(t)) / count + (p.normal + p.subnormal))


# --- what people get wrong ---


# What examples have in common: their cases, and the correct expressions.
PROBABILITIES = {"network": "5-7-1 relu, sigmoid output, binary cross-entropy"}
LOGITS = {"network": "5-7-1 relu, sigmoid binary cross-entropy"}

# fmt: off
MISTAKES = {
    "loss": [
        M("last-term-missing", lambda e: -mean(e, times_log(e.t, e.y)),
          "only t log p enters: (1 - t) log(1 - p) is missing",
          wrong="-(t * np.log(y)).mean()", right="-(t * np.log(y) + (1 - t) * np.log(1 - y)).mean()",
          case=PROBABILITIES),
    ],
    "loss.gradient": [
        M("inner-derivative-missing", lambda e: -(over(1.0 - e.t, 1.0 - e.y) + over(e.t, e.y)) / e.count,
          "the second term has the wrong sign: d log(1 - p) = -dp / (1 - p)",
          wrong="-(t / y + (1 - t) / (1 - y)) / m", right="((1 - t) / (1 - y) - t / y) / m", case=PROBABILITIES),
        M("denominators-swapped", lambda e: (over(1.0 - e.t, e.y) - over(e.t, 1.0 - e.y)) / e.count,
          "p and 1 - p are exchanged in the denominators",
          wrong="((1 - t) / y - t / (1 - y)) / m", right="((1 - t) / (1 - y) - t / y) / m", case=PROBABILITIES),
        M("derivative-twice", lambda e: (e.y - e.t) / e.count,
          "it is (p - t) / m, the gradient of the logits: the activation's derivative will be applied once more",
          wrong="(y - t) / m", right="((1 - t) / (1 - y) - t / y) / m", case=PROBABILITIES),
        M("last-term-missing", lambda e: -over(e.t, e.y) / e.count, "only -t / p enters: (1 - t) / (1 - p) is missing",
          wrong="-t / y / m", right="((1 - t) / (1 - y) - t / y) / m", case=PROBABILITIES),
    ],
}
# fmt: on


# fmt: off
ON_LOGITS = {
    "loss": [
        M("absolute-value-missing", lambda e: mean(e, relu(e.y) - e.y * e.t + log(1.0 + exp(-e.y))),
          "e^-z in the place of e^-|z|",
          wrong="(np.maximum(y, 0) - y * t + np.log(1 + np.exp(-y))).mean()",
          right="(np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y)))).mean()", case=LOGITS),
    ],
    "loss.gradient": [
        M("softmax-missing", lambda e: (e.y - e.t) / e.count,
          "(y - t) / m: y stands where its derivative's function is meant",
          wrong="(y - t) / m", right="(sigmoid(y) - t) / m", case=LOGITS),
        M("derivative-twice", lambda e: gradient(e) * sigmoid(e.y) * (1.0 - sigmoid(e.y)),
          "(p - t) is multiplied by p (1 - p): that derivative is in p - t already",
          wrong="(sigmoid(y) - t) * sigmoid(y) * (1 - sigmoid(y)) / m", right="(sigmoid(y) - t) / m", case=LOGITS),
    ],
}
# fmt: on

BinaryCrossEntropy.mistakes = MISTAKES
LogitsBinaryCrossEntropy.mistakes = ON_LOGITS
