"""The losses: one number from the network's output and the target, and its gradient with respect to the output.

`forward(y, t)` returns the loss in the dtype of y; `backward()` returns dL/dy. `reduction="mean"` divides by the
count that the class names, "sum" by 1. Losses on probabilities are the plain formulas, with no epsilon and no clamp:
a loss and its gradient then belong to the same function, and -log 0 is inf, which `fit` reports.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratch.layers import Array, LayerError, expect

Reduction = Literal["mean", "sum", "batchmean"]


class Loss:
    """What every loss has: the reduction, one of `reductions`, and what `forward` kept."""

    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum")

    def __init__(self, reduction: Reduction = "mean") -> None:
        if reduction not in self.reductions:
            known = " or ".join(map(repr, self.reductions))
            raise ValueError(f"{type(self).__name__}: got reduction {reduction!r}, expected {known}")
        self.reduction: Reduction = reduction
        self._kept: tuple[Array, Array] | None = None

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        """The loss of output y (m, n) for target t, a scalar in the dtype of y."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def backward(self) -> Array:
        """dL/dy (m, n). RuntimeError before the first `forward`."""
        raise TypeError(f"{type(self).__name__} has no backward")

    @property
    def kept(self) -> tuple[Array, Array]:
        """The two arrays that the last `forward` kept."""
        if self._kept is None:
            raise RuntimeError(f"{type(self).__name__}: backward was called before forward")
        return self._kept

    def _per(self, count: int) -> int:
        return count if self.reduction == "mean" else 1

    def __str__(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reduction={self.reduction!r})"


def _distributions(y: Array, target: ArrayLike) -> Array:
    """The target as rows of probabilities (m, n): class indices (m,) become one-hot rows."""
    t = np.asarray(target)
    _expect_rows(y)
    if t.ndim == 1 and np.issubdtype(t.dtype, np.integer):
        return one_hot(_expect_labels(t, *y.shape), y.shape[1], y.dtype)
    if np.issubdtype(t.dtype, np.integer):
        raise LayerError(
            f"got a target of {t.dtype} {t.shape}, expected class indices ({len(y)},) or {y.dtype} {y.shape}"
        )
    return _same_shape(y, t)


def _same_shape(y: Array, target: ArrayLike) -> Array:
    """The target, once it is known to have y's very shape and dtype: a column is never broadcast against a row."""
    _expect_rows(y)
    t = np.asarray(target)
    if t.shape != y.shape or t.dtype != y.dtype:
        raise LayerError(f"got a target of {t.dtype} {t.shape}, expected {y.dtype} {y.shape}")
    return t


def _expect_rows(y: Array) -> None:
    expect(y, (None, None))
    if y.size == 0:
        raise LayerError(f"got an output of shape {y.shape}, expected at least one row and one column")


def _expect_labels(t: NDArray[Any], m: int, n: int) -> NDArray[Any]:
    if t.shape != (m,):
        raise LayerError(f"got {len(t)} labels, expected {m}")
    if t.min() < 0 or t.max() >= n:
        worst = int(np.argmax((t < 0) | (t >= n)))
        raise LayerError(f"got label {t[worst]} at row {worst}, expected 0 to {n - 1}")
    return t


def one_hot(labels: NDArray[Any], classes: int, dtype: Any = np.float64) -> Array:
    """Row i is 1 at column labels[i], 0 elsewhere;  labels (m,) -> (m, classes)."""
    t = np.zeros((len(labels), classes), dtype)
    t[np.arange(len(labels)), labels] = 1
    return t


def _times_log(t: Array, p: Array) -> Array:
    """t log p, and 0 where t = 0 whatever p is: the limit, and what a sum over classes means by it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(t == 0, t.dtype.type(0), t * np.log(p))


def _over(t: Array, p: Array) -> Array:
    """t / p, and 0 where t = 0: the derivative of `_times_log` with respect to p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(t == 0, t.dtype.type(0), t / p)


class CrossEntropyLoss(Loss):
    """L = -(1/m) sum_i sum_k t_ik log softmax(s_i)_k on logits s (m, n), with both in one, so that no p underflows.

    t: class indices (m,) or distributions (m, n). "mean" is over the m samples.

    `label_smoothing` e puts (1 - e) t + e / n in the place of t. `weight` (n,) multiplies the term of class k by w_k;
    "mean" then divides by the sum of the weights of the classes t_i where t holds class indices, and by m where it
    holds distributions. (torch.nn.CrossEntropyLoss; Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the
    Inception Architecture for Computer Vision, 2016, section 7)

    ValueError where e is not from 0 to 1, or the weights are no vector of finite numbers of at least 0.
    """

    def __init__(
        self, reduction: Reduction = "mean", label_smoothing: float = 0.0, weight: ArrayLike | None = None
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: got label_smoothing={label_smoothing}, expected 0 to 1")
        self.label_smoothing = label_smoothing
        self.weight = None if weight is None else _of_classes(np.asarray(weight, np.float64))

    def forward(self, s: Array, t: ArrayLike) -> np.floating[Any]:
        t = self._asked(_distributions(s, t), are_labels=np.ndim(t) == 1)
        shifted = s - s.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._kept = log_p, t
        return -(t * log_p).sum() / self._per(len(s))

    def backward(self) -> Array:
        """ds = (p sum_k t_k - t) / m, which is (p - t) / m for a target that sums to 1."""
        log_p, t = self.kept
        ds: Array = (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) / self._per(len(t))
        return ds

    def _asked(self, t: Array, are_labels: bool) -> Array:
        """The target smoothed and weighted. For a mean over labels the weights are made 1 in the mean: the division by
        m is then one by their sum.
        """
        n, e = t.shape[1], t.dtype.type(self.label_smoothing)
        smoothed = (1 - e) * t + e / n if e else t
        if self.weight is None:
            return smoothed
        if len(self.weight) != n:
            raise LayerError(f"got an output of {n} columns, expected {len(self.weight)}, one for each weight")
        w = self.weight.astype(t.dtype)
        return smoothed * (w / (t @ w).mean() if are_labels and self.reduction == "mean" else w)

    def __repr__(self) -> str:
        options = {"label_smoothing": self.label_smoothing or None, "weight": self.weight}
        said = (f", {name}={np.array(v).tolist()}" for name, v in options.items() if v is not None)
        return f"CrossEntropyLoss(reduction={self.reduction!r}{''.join(said)})"


def _of_classes(weight: Array) -> Array:
    if weight.ndim != 1 or not ((weight >= 0) & (weight < np.inf)).all():
        raise ValueError(f"CrossEntropyLoss: got weight={weight}, expected one finite number of at least 0 a class")
    return weight


class ProbabilityCrossEntropyLoss(Loss):
    """L = -(1/m) sum_i sum_k t_ik log p_ik on probabilities p (m, n), as a softmax layer gives them.

    t: class indices (m,) or distributions (m, n). "mean" is over the m samples.
    """

    def forward(self, p: Array, t: ArrayLike) -> np.floating[Any]:
        self._kept = p, _distributions(p, t)
        return -_times_log(self._kept[1], p).sum() / self._per(len(p))

    def backward(self) -> Array:
        """dp = -(1/m) t / p."""
        p, t = self.kept
        return -_over(t, p) / self._per(len(p))


class MSELoss(Loss):
    """L = (1/mn) sum (y - t)^2, as torch means it: "mean" is over all m n elements."""

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        self._kept = y, _same_shape(y, t)
        d = y - self._kept[1]
        return (d * d).sum() / self._per(y.size)

    def backward(self) -> Array:
        """dy = 2 (y - t) / mn."""
        y, t = self.kept
        return 2 * (y - t) / self._per(y.size)


class HalfSquaredErrorLoss(Loss):
    """L = (1/m) sum_i 1/2 |y_i - t_i|^2; "mean" is over the m samples."""

    def forward(self, y: Array, t: ArrayLike) -> np.floating[Any]:
        self._kept = y, _same_shape(y, t)
        d = y - self._kept[1]
        return (d * d).sum() / (2 * self._per(len(y)))

    def backward(self) -> Array:
        """dy = (y - t) / m."""
        y, t = self.kept
        return (y - t) / self._per(len(y))


class BCELoss(Loss):
    """L = -(1/mn) sum (t log p + (1 - t) log(1 - p)) on probabilities p (m, n); "mean" is over all elements.

    Unlike torch.nn.BCELoss it does not clamp its logarithms at -100.
    """

    def forward(self, p: Array, t: ArrayLike) -> np.floating[Any]:
        t = _same_shape(p, t)
        self._kept = p, t
        return -(_times_log(t, p) + _times_log(1 - t, 1 - p)).sum() / self._per(p.size)

    def backward(self) -> Array:
        """dp = ((1 - t) / (1 - p) - t / p) / mn."""
        p, t = self.kept
        return (_over(1 - t, 1 - p) - _over(t, p)) / self._per(p.size)


class BCEWithLogitsLoss(Loss):
    """L = (1/mn) sum (max(z, 0) - z t + log(1 + e^-|z|)): binary cross-entropy of p = sigmoid(z), z (m, n).

    "mean" is over all elements.
    """

    def forward(self, z: Array, t: ArrayLike) -> np.floating[Any]:
        t = _same_shape(z, t)
        self._kept = z, t
        return (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).sum() / self._per(z.size)

    def backward(self) -> Array:
        """dz = (sigmoid(z) - t) / mn."""
        z, t = self.kept
        e = np.exp(-np.abs(z))
        return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t) / self._per(z.size)
