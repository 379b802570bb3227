"""Other correct forms: the layers and losses as others would write them, equal in algebra and not in rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import scratch
from compare.measuring.random_case import RandomCase
from scratch.layers import Array
from scratch.losses import one_hot


class LinearByColumns(scratch.Linear):
    """Sums built up column by column on top of the bias; gradients by einsum."""

    def forward(self, x: Array) -> Array:
        self._kept = x
        weight = self.params["weight"]
        y: Array = np.zeros((len(x), len(weight)), x.dtype)
        if "bias" in self.params:
            y += self.params["bias"]
        for j in range(x.shape[1]):
            y += x[:, j, None] * weight[None, :, j]
        return y

    def backward(self, dy: Array) -> Array:
        self.grads["weight"] = np.einsum("mo,mi->oi", dy, self.kept)
        if "bias" in self.params:
            self.grads["bias"] = np.add.accumulate(dy, axis=0)[-1]
        dx: Array = np.einsum("mo,oi->mi", dy, self.params["weight"])
        return dx


class LinearOfOnes(scratch.Linear):
    """The bias as the weight of a column of ones, last; sums of the other end first."""

    def forward(self, x: Array) -> Array:
        self._kept = x
        weight = self.params["weight"]
        if "bias" in self.params:
            x, weight = np.c_[x, np.ones(len(x), x.dtype)], np.c_[weight, self.params["bias"]]
        y: Array = np.ascontiguousarray(x[:, ::-1]) @ np.ascontiguousarray(weight[:, ::-1]).T
        return y

    def backward(self, dy: Array) -> Array:
        self.grads["weight"] = (np.ascontiguousarray(self.kept[::-1]).T @ np.ascontiguousarray(dy[::-1])).T.copy()
        if "bias" in self.params:
            self.grads["bias"] = np.ones(len(dy), dy.dtype) @ dy
        dx: Array = (self.params["weight"].T @ dy.T).T.copy()
        return dx


class ReLUByMask(scratch.ReLU):
    """A product with the mask, both ways."""

    def forward(self, x: Array) -> Array:
        self._kept = x
        return x * (x > 0)

    def backward(self, dy: Array) -> Array:
        return dy * (self.kept > 0)


class ReLUByHalves(scratch.ReLU):
    """(x + |x|) / 2, and the mask from sign."""

    def forward(self, x: Array) -> Array:
        self._kept = x
        y: Array = x / 2 + np.abs(x) / 2 if np.abs(x).max(initial=0) > 1e-30 else np.maximum(x, 0)
        return y

    def backward(self, dy: Array) -> Array:
        return dy * np.heaviside(self.kept, 0).astype(dy.dtype)


class SigmoidInPieces(scratch.Sigmoid):
    """By sign, in two pieces; y - y^2 for the derivative."""

    def forward(self, x: Array) -> Array:
        y = np.empty_like(x)
        up = x >= 0
        y[up] = 1 / (1 + np.exp(-x[up]))
        e = np.exp(x[~up])
        y[~up] = e / (1 + e)
        self._kept = y
        return y.copy()

    def backward(self, dy: Array) -> Array:
        y = self.kept
        return dy * (y - y * y)


class SigmoidFromInput(scratch.Sigmoid):
    """Keeps x: e^-|x| / (1 + e^-|x|)^2 for the derivative."""

    def forward(self, x: Array) -> Array:
        self._kept = x
        with np.errstate(over="ignore"):
            y: Array = np.reciprocal(1 + np.exp(-x))
        return y

    def backward(self, dy: Array) -> Array:
        e = np.exp(-np.abs(self.kept))
        return dy * e / (1 + e) ** 2


class TanhFromInput(scratch.Tanh):
    """Keeps x: 1 / cosh^2 x for the derivative."""

    def forward(self, x: Array) -> Array:
        self._kept = x
        y: Array = np.tanh(x)
        return y

    def backward(self, dy: Array) -> Array:
        with np.errstate(over="ignore"):
            return dy / np.cosh(self.kept) ** 2


class TanhInFactors(scratch.Tanh):
    """(1 - y) (1 + y) for the derivative."""

    def backward(self, dy: Array) -> Array:
        return dy * (1 - self.kept) * (1 + self.kept)


class SoftmaxByJacobian(scratch.Softmax):
    """e^(x - lse), and every row's Jacobian written out."""

    def forward(self, x: Array) -> Array:
        top = x.max(axis=1, keepdims=True)
        self._kept = np.exp(x - (top + np.log(np.exp(x - top).sum(axis=1, keepdims=True))))
        return self._kept.copy()

    def backward(self, dy: Array) -> Array:
        return np.stack([(np.diag(y) - np.outer(y, y)) @ d for y, d in zip(self.kept, dy, strict=True)])


class SoftmaxUnshifted(scratch.Softmax):
    """Without the maximum, where e^x is finite and no sum of them overflows; y dy - y sum for the pullback."""

    def forward(self, x: Array) -> Array:
        e = np.exp(x if np.abs(x).max() < 80 else x - x.max(axis=1, keepdims=True))
        self._kept = e * (1 / e.sum(axis=1, keepdims=True))
        return self._kept.copy()

    def backward(self, dy: Array) -> Array:
        y = self.kept
        dx: Array = y * dy - y * (y * dy).sum(axis=1, keepdims=True)
        return dx


class CrossEntropyByLse(scratch.CrossEntropyLoss):
    """lse - s_t, divided row by row; p / m - t / m."""

    def forward(self, s: Array, t: ArrayLike) -> Any:
        rows = _rows(s, t)
        self._kept = s, rows
        m = s.dtype.type(self._per(len(s)))
        return ((_lse(s)[:, 0] * rows.sum(axis=1) - (rows * s).sum(axis=1)) / m).sum()

    def backward(self) -> Array:
        s, t = self.kept
        m = s.dtype.type(self._per(len(s)))
        ds: Array = np.exp(s - _lse(s)) * t.sum(axis=1, keepdims=True) / m - t / m
        return ds


class ProbabilityCrossEntropyMeanFirst(scratch.ProbabilityCrossEntropyLoss):
    """t / m first, then the logarithms."""

    def forward(self, p: Array, t: ArrayLike) -> Any:
        self._kept = p, _rows(p, t) / p.dtype.type(self._per(len(p)))
        q, share = self._kept
        return -np.multiply(share, np.log(q, where=share != 0, out=np.zeros_like(q))).sum()

    def backward(self) -> Array:
        p, t = self.kept
        return -np.divide(t, p, where=t != 0, out=np.zeros_like(t))


class MSEByNorm(scratch.MSELoss):
    """np.mean of (t - y)^2; the factors of the gradient one after the other."""

    def forward(self, y: Array, t: ArrayLike) -> Any:
        self._kept = y, np.asarray(t)
        d = self._kept[1] - y
        return np.square(d).mean() if self.reduction == "mean" else np.vdot(d, d)

    def backward(self) -> Array:
        y, t = self.kept
        d: Array = -2 * (t - y)
        return d / y.dtype.type(y.shape[0]) / y.dtype.type(y.shape[1]) if self.reduction == "mean" else d


class HalfSquaredErrorByRows(scratch.HalfSquaredErrorLoss):
    """Row by row, the half in each; the gradient by the reciprocal."""

    def forward(self, y: Array, t: ArrayLike) -> Any:
        self._kept = y, np.asarray(t)
        rows = (y.dtype.type(0.5) * (y - self._kept[1]) ** 2).sum(axis=1)
        return rows.mean() if self.reduction == "mean" else rows.sum()

    def backward(self) -> Array:
        y, t = self.kept
        return y.dtype.type(1 / self._per(len(y))) * (y - t)


class BCEInOneFraction(scratch.BCELoss):
    """log1p; (p - t) / (p (1 - p)) where p is inside (0, 1)."""

    def forward(self, p: Array, t: ArrayLike) -> Any:
        t = np.asarray(t)
        self._kept = p, t
        zero = np.zeros_like(p)
        logs = t * np.log(p, where=t != 0, out=zero.copy()) + (1 - t) * np.log1p(-p, where=t != 1, out=zero.copy())
        return -logs.sum() / self._per(p.size)

    def backward(self) -> Array:
        p, t = self.kept
        with np.errstate(all="ignore"):
            return np.where((p > 0) & (p < 1), (p - t) / (p * (1 - p)) / self._per(p.size), super().backward())


class BCEWithLogitsBySoftplus(scratch.BCEWithLogitsLoss):
    """t softplus(-z) + (1 - t) softplus(z); the gradient from both sigmoids."""

    def forward(self, z: Array, t: ArrayLike) -> Any:
        t = np.asarray(t)
        self._kept = z, t
        zero = z.dtype.type(0)
        terms = t * np.logaddexp(zero, -z) + (1 - t) * np.logaddexp(zero, z)
        return terms.mean() if self.reduction == "mean" else terms.sum()

    def backward(self) -> Array:
        z, t = self.kept
        dz: Array = ((1 - t) * _sigmoid(z) - t * _sigmoid(-z)) / self._per(z.size)
        return dz


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, z.dtype.type(1), e) / (1 + e)


def _lse(s: Array) -> Array:
    top = s.max(axis=1, keepdims=True)
    lse: Array = top + np.log(np.exp(s - top).sum(axis=1, keepdims=True))
    return lse


def _rows(y: Array, target: ArrayLike) -> Array:
    t = np.asarray(target)
    return one_hot(t, y.shape[1], y.dtype) if t.ndim == 1 else t


LAYERS: dict[type[scratch.Layer], tuple[type[scratch.Layer], ...]] = {
    scratch.Linear: (LinearByColumns, LinearOfOnes),
    scratch.ReLU: (ReLUByMask, ReLUByHalves),
    scratch.Sigmoid: (SigmoidInPieces, SigmoidFromInput),
    scratch.Tanh: (TanhFromInput, TanhInFactors),
    scratch.Softmax: (SoftmaxByJacobian, SoftmaxUnshifted),
}
LOSSES: dict[type[scratch.Loss], type[scratch.Loss]] = {
    scratch.CrossEntropyLoss: CrossEntropyByLse,
    scratch.ProbabilityCrossEntropyLoss: ProbabilityCrossEntropyMeanFirst,
    scratch.MSELoss: MSEByNorm,
    scratch.HalfSquaredErrorLoss: HalfSquaredErrorByRows,
    scratch.BCELoss: BCEInOneFraction,
    scratch.BCEWithLogitsLoss: BCEWithLogitsBySoftplus,
}


def rewrite(network: scratch.Sequential, loss: scratch.Loss, choice: int) -> None:
    """Turn every layer and the loss, in place, into one of the other forms; `choice` selects among them."""
    for layer in network:
        others = LAYERS.get(type(layer), (type(layer),))  # one that has no other form here stays as it is
        layer.__class__ = others[choice % len(others)]
    loss.__class__ = LOSSES[type(loss)]


def in_other_forms(case: RandomCase) -> RandomCase:
    """The same case, in the forms that its seed selects."""
    rewrite(case.network, case.loss, case.seed)
    return case
