"""The hinge loss of several classes: by how much each other score comes nearer than 1 to that of the right class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision, total
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, relu, softmax, where
from compare.numbers.float64 import Function, tensor
from compare.operations.any_loss import gradient, loss, mean
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Loss


@dataclass(frozen=True)
class MultiMarginLoss(Loss):
    """L = 1/m sum_i 1/n sum_{j != t} max(0, 1 - s_t + s_j). torch's derivative where it is just 0 is 0."""

    kind = "multi_margin"
    scratch_type, torch_type = scratch.MultiMarginLoss, nn.MultiMarginLoss
    words = ("multi-class hinge", "hinge")
    parts: ClassVar = {
        "loss": "L = 1/n sum max(0, 1 - s_t + s_j) over the other classes j, over the samples",
        "loss.gradient": "ds_j = 1 / (m n) where 1 - s_t + s_j > 0, and ds_t = -sum of ds_j, else 0",
    }
    summed_gradient = "ds_j = 1 / n where 1 - s_t + s_j > 0, and ds_t = -sum of ds_j, else 0"
    per_sample = takes_labels = True

    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return where(t.value == 1, 0.0, relu(_margins(y, t)), y.p) / y.shape[1]

    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        return _slope(_margins(y, t).value > 0, t) / y.shape[1]

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        return None

    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """A margin is rounded twice, in any order: 2 u (1 + |s_t| + |s_j|), and max does not make it larger.

        The right class may be left out, or its 1, off like the other margins, subtracted again from each row's sum,
        which is then a sum of n + 1 terms. A sum counts two roundings of 1 / n and 1 / m, which may have one more.
        """
        n, right = y.shape[1], np.arange(y.shape[1]) == t.argmax(axis=1)[:, np.newaxis]
        margins, off = _exact_margins(y, right, p)
        near = right | (margins > -off)
        terms = np.hstack([np.where(right, 1.0, np.maximum(margins, 0)), np.full((len(y), 1), -1.0)]) / (n * count)
        inherited = off[near].sum() / (n * count) + p.u * np.abs(terms).sum()
        return total(terms.ravel(), p, value, inherited, n * count)

    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """1 / (n c) in at most 3 roundings, and ds_t as a sum of up to n of them: 3 u, or (n + 3) u, of |ds|.

        Where a margin is smaller than its error it may be above 0 or not: ds_j may then be either, and ds_t with it.
        """
        n, right = y.shape[1], np.arange(y.shape[1]) == t.argmax(axis=1)[:, np.newaxis]
        margins, off = _exact_margins(y, right, p)
        either = (~right & (np.abs(margins) <= off)) / (n * count)
        either = np.where(right, either.sum(axis=1, keepdims=True), either)
        return Allowance((3 + n * right) * p.u * (np.abs(dy) + either) + either)

    def _function(self, t: Array) -> Function:
        """Of one-hot rows torch takes the class."""
        module, labels = self.to_torch(), tensor((t.argmax(axis=1) if t.ndim == 2 else t).astype(np.int64))
        return lambda y: module(y, labels)


def _exact_margins(y: Array, right: Array, p: Precision) -> tuple[Array, Array]:
    """1 - s_t + s_j, and how far each may be off."""
    own = y[right][:, np.newaxis]
    return 1 - own + y, 2 * p.u * (1 + np.abs(own) + np.abs(y))


def _margins(y: Bounded, t: Bounded, margin: float = 1.0) -> Bounded:
    """margin - s_t + s_j. Absent for a target that is not one-hot."""
    right = t.value == 1
    if not ((right | (t.value == 0)).all() and (right.sum(axis=1) == 1).all()):
        raise Absent("one-hot rows")
    return margin - y[right].reshape(-1, 1) + y


def _slope(above: Array, t: Bounded) -> Bounded:
    """1 for each other class of these, and minus their number for the right one."""
    others = (above & (t.value == 0)).astype(np.float64)
    return Bounded.of(others - t.value * others.sum(axis=1, keepdims=True), t.p)


# --- what people get wrong ---


def _others(e: Letters, terms: Bounded) -> Bounded:
    """The mean over the classes of these, without the right one's, and over the samples."""
    return mean(e, where(e.t.value == 1, 0.0, terms, e.p)) / e.n


def _largest(e: Letters) -> Bounded:
    """Of each row's margins the largest alone."""
    margins = where(e.t.value == 1, 0.0, relu(_margins(e.y, e.t)), e.p)
    return mean(e, margins[np.arange(e.m), margins.value.argmax(axis=1)])


def _by_mask(e: Letters, above: Array) -> Bounded:
    return _slope(above, e.t) / e.n / e.count


def _of_other_classes(e: Letters, share: float) -> Bounded:
    """The gradient of the other classes, with this, times the row's first, for the right one."""
    right = e.t.value == 1
    return where(right, gradient(e) * 0.0 - share / (e.n * e.count), gradient(e), e.p)


# What examples have in common: their cases, and the correct expressions.
HINGE = {"network": "5-7-4 relu, multi-class hinge"}
OWN = "(y * t).sum(axis=1, keepdims=True)"
MARGINS = f"np.maximum(0, 1 - {OWN} + y) * (1 - t)"
ABOVE = f"((1 - {OWN} + y > 0) * (1 - t))"
LOSS = f"({MARGINS}).sum() / (m * n)"
GRADIENT = f"({ABOVE} - t * {ABOVE}.sum(axis=1, keepdims=True)) / (m * n)"

# fmt: off
MISTAKES = {
    "loss": [
        M("classes-undivided", lambda e: loss(e) * float(e.n), "it is not divided by the number of classes",
          wrong=f"({MARGINS}).sum() / m", right=LOSS, case=HINGE),
        M("own-class-included", lambda e: mean(e, relu(_margins(e.y, e.t))) / e.n,
          "the right class is compared with itself: 1 too much for each sample",
          wrong=f"np.maximum(0, 1 - {OWN} + y).sum() / (m * n)", right=LOSS, case=HINGE),
        M("margin-missing", lambda e: _others(e, relu(_margins(e.y, e.t, 0.0))),
          "the margin 1 is missing: max(0, s_j - s_t)",
          wrong=f"(np.maximum(0, y - {OWN}) * (1 - t)).sum() / (m * n)", right=LOSS, case=HINGE),
        M("hinge-missing", lambda e: _others(e, _margins(e.y, e.t)), "1 - s_t + s_j below 0 is not taken for 0",
          wrong=f"((1 - {OWN} + y) * (1 - t)).sum() / (m * n)", right=LOSS, case={**HINGE, "scale": 5}),
        M("scores-exchanged", lambda e: _others(e, relu(2.0 - _margins(e.y, e.t))),
          "s_t and s_j are exchanged: max(0, 1 + s_t - s_j)",
          wrong=f"(np.maximum(0, 1 + {OWN} - y) * (1 - t)).sum() / (m * n)", right=LOSS, case=HINGE),
        M("square-unasked", lambda e: _others(e, relu(_margins(e.y, e.t)) * relu(_margins(e.y, e.t))),
          "the margins are squared", wrong=f"(({MARGINS}) ** 2).sum() / (m * n)", right=LOSS, case=HINGE),
        M("largest-only", _largest, "each sample's largest margin alone enters",
          wrong=f"({MARGINS}).max(axis=1).sum() / m", right=LOSS, case=HINGE),
        M("wrong-mean", lambda e: loss(e) * (e.n / max(e.n - 1, 1)),
          "it is divided by the number of the other classes, n - 1, not by n",
          wrong=f"({MARGINS}).sum() / (m * (n - 1))", right=LOSS, case=HINGE),
    ],
    "loss.gradient": [
        M("classes-undivided", lambda e: gradient(e) * float(e.n), "it is not divided by the number of classes",
          wrong=GRADIENT.replace("(m * n)", "m"), right=GRADIENT, case=HINGE),
        M("own-class-missing", lambda e: _of_other_classes(e, 0.0), "the right class has no gradient",
          wrong=f"{ABOVE} / (m * n)", right=GRADIENT, case=HINGE),
        M("own-class-counted-once", lambda e: _of_other_classes(e, 1.0),
          "the right class has -1 / (m n), not once for each margin above 0",
          wrong=f"({ABOVE} - t) / (m * n)", right=GRADIENT, case=HINGE),
        M("margin-missing", lambda e: _by_mask(e, _margins(e.y, e.t, 0.0).value > 0),
          "the mask is s_j > s_t: the margin 1 is missing",
          wrong=GRADIENT.replace("1 - ", "0 - ", 1).replace("((1 - (", "((0 - ("), right=GRADIENT, case=HINGE),
        M("hinge-missing", lambda e: _by_mask(e, np.ones(e.t.shape, bool)),
          "every other class has a gradient, also where its margin is below 0",
          wrong="((1 - t) - (n - 1) * t) / (m * n)", right=GRADIENT, case={**HINGE, "scale": 5}),
        M("wrong-loss-gradient", lambda e: (softmax(e.y) - e.t) / e.count, "it is that of softmax cross-entropy",
          wrong="(softmax(y) - t) / m", right=GRADIENT, case=HINGE),
    ],
}
# fmt: on

MultiMarginLoss.mistakes = MISTAKES
