"""BatchNormalization: what BatchNorm1d and BatchNorm2d have in common; both in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, sqrt
from compare.numbers.expected import Expected
from compare.numbers.float64 import copied, double, tensor
from compare.operations.any_normalization import SMALL_EPS, count, sample_variance
from compare.operations.letters import Letters
from compare.operations.mistake import Formula
from compare.operations.mistake import Mistake as M
from compare.operations.normalization import (
    Axes,
    Normalization,
    Spread,
    between,
    into_h,
    mean,
    scaled,
    standardized,
    variance,
    without,
)
from compare.operations.operation import ANY, Part, Shape

PARTS = {
    "output": Part.of("y = W (x - mean) / sqrt(var + eps) + b, mean and var of each channel over the batch", "x W b"),
    "new_running_mean": Part.of("running_mean = (1 - momentum) running_mean + momentum mean", "x rm"),
    "new_running_var": Part.of("running_var = (1 - momentum) running_var + momentum var N / (N - 1)", "x rv"),
    "grad_weight": Part.of("dW = sum of dy (x - mean) / sqrt(var + eps) over each channel", "x dy"),
    "grad_bias": Part.of("db = sum of dy over each channel", "dy"),
    "grad_input": Part.of(
        "dx = (t - mean(t) - h mean(t h)) / sqrt(var + eps), where t = W dy, h = (x - mean) / sqrt(var + eps)",
        "x W dy",
    ),
}
LETTERS = {
    "x": "input",
    "W": "weight",
    "b": "bias",
    "rm": "running_mean",
    "rv": "running_var",
    "y": "output",
    "dy": "grad_output",
}


class BatchNormalization(Normalization):
    """Over all axes but the second, whose elements are the channels."""

    num_features: int
    momentum: float
    affine: bool
    bias: bool

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        for name, usual in (("momentum", None), ("track_running_stats", False)):
            if getattr(layer, name, True) is usual:
                raise TypeError(f"{place}: got {name}={usual}, which is not checked")
        of_torch = isinstance(layer, nn.Module)
        bias = layer.bias is not None if of_torch else "bias" in layer.params
        found: Any = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, bias)  # type: ignore[call-arg]
        if not of_torch:
            found.expect_parameters(layer, place)
        return found

    @property
    def computed(self) -> Mapping[str, Part]:
        return without(("W", "b") if not self.affine else () if self.bias else ("b",), PARTS)

    @property
    def _shape(self) -> Shape:
        return (self.num_features,)

    def parameters(self) -> dict[str, Shape]:
        names = () if not self.affine else ("weight", "bias") if self.bias else ("weight",)
        return dict.fromkeys(names, self._shape)

    def buffers(self) -> dict[str, Shape]:
        return dict.fromkeys(("running_mean", "running_var"), self._shape)

    def leaving(self, entering: Shape) -> Shape:
        """ValueError for one value of each channel, as torch has it."""
        if ANY not in entering and np.prod(entering) == self.num_features:
            raise ValueError(f"{self}: got {entering}, expected more than 1 value per channel when training")
        return entering

    def axes(self, ndim: int) -> Axes:
        return (0, *range(2, ndim))

    def summed(self, ndim: int) -> Axes:
        return self.axes(ndim)

    # --- the reference ---

    def by_torch(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)

    def new_running_mean(self, x: Array, running: Array, p: Precision) -> Expected:
        """momentum times what the mean is off, and 4 roundings of each term: 1 - momentum, a product, their sum; as
        running + momentum (mean - running), a difference more."""
        return self._followed(0, x, running, p, lambda at, share: at.of_mean(share), lambda at: at.mean)

    def new_running_var(self, x: Array, running: Array, p: Precision) -> Expected:
        """The same of the variance, times N / (N - 1), which has 4 roundings."""
        more = x.size / (x.size - x.shape[1])
        off = lambda at, share: more * (at.of_var(share) + 4 * p.u * at.var)  # noqa: E731
        return self._followed(1, x, running, p, off, lambda at: more * at.var)

    def _followed(
        self,
        which: int,
        x: Array,
        running: Array,
        p: Precision,
        off: Callable[[Spread, float], Array],
        exact: Callable[[Spread], Array],
    ) -> Expected:
        x, running, m = double(x), double(running), self.momentum
        at = self.spread(x, p)
        found, new = self._by_torch(which, x, running), np.abs(exact(at)).reshape(running.shape)
        sizes = abs(1 - m) * np.abs(running) + abs(m) * (new + np.abs(running))

        def lost(share: float) -> Array:
            return abs(m) * off(at, share).reshape(running.shape) + 4 * p.u * sizes + 3 * p.subnormal

        more = x.size / (x.size - x.shape[1]) if which else 1.0
        plain = lambda: (  # noqa: E731
            (1 - m) * running + m * more * each[("mean", "var")[which]].reshape(running.shape)
            for each in self._in_turn(at, None, None)
        )
        return Expected(found, between(lost, at, [at.count], found, plain), headroom=2.0 * at.count)

    def _by_torch(self, which: int, x: Array, running: Array) -> Array:
        """Its running mean or variance, in copies."""
        both = copied(np.zeros_like(running)), copied(np.zeros_like(running))
        both[which].copy_(torch.from_numpy(np.array(running)))
        with torch.no_grad():
            nn.functional.batch_norm(tensor(x), *both, training=True, momentum=self.momentum, eps=self.eps)
        after: Array = both[which].numpy()
        return after

    # --- the same once more ---

    def written(self, e: Letters) -> Bounded:
        """The output, or what follows it."""
        if e.name.part == "new_running_mean":
            return follows(e, e.rm, _of_channels(e, mean(e, e.x)))
        if e.name.part == "new_running_var":
            return follows(e, e.rv, _of_channels(e, sample_variance(e)))
        return scaled(e, standardized(e))

    def _options(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def to_scratch(self, **options: Any) -> scratch.Layer:
        made: scratch.Layer = self.scratch_type(**self._options(), **options)  # type: ignore[attr-defined]
        return made

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        made: nn.Module = self.torch_type(**self._options(), dtype=dtype)  # type: ignore[attr-defined]
        return made

    def __str__(self) -> str:
        return f"{self.scratch_type.__name__} {self.num_features}"  # type: ignore[attr-defined]


# --- what people get wrong ---


def _of_channels(e: Letters, a: Bounded) -> Bounded:
    """One number of each channel."""
    return a.reshape(e.x.shape[1])


def follows(e: Letters, running: Bounded, new: Bounded) -> Bounded:
    """(1 - momentum) running + momentum new."""
    m = float(e.operation.momentum)
    return running * (1 - m) + new * m


def _running(e: Letters) -> Bounded:
    return e.rm if e.name.part == "new_running_mean" else e.rv


def _new(e: Letters) -> Bounded:
    return _of_channels(e, mean(e, e.x) if e.name.part == "new_running_mean" else sample_variance(e))


def _reversed(e: Letters) -> Bounded:
    m = float(e.operation.momentum)
    return _running(e) * m + _new(e) * (1 - m)


def of_batch(build: Callable[[Letters], Bounded]) -> Formula:
    """The running variance follows something else."""
    return lambda e: follows(e, e.rv, _of_channels(e, build(e)))


def _by_running(e: Letters, rm: Bounded, rv: Bounded) -> Bounded:
    wide = e.operation.beside
    rm, rv = (a.arranged(lambda v: wide(v, e.x.value.ndim)) for a in (rm, rv))
    return scaled(e, (e.x - rm) / sqrt(rv + e.operation.eps))


def _input_by_running(e: Letters) -> Bounded:
    rv = e.rv.arranged(lambda v: e.operation.beside(v, e.x.value.ndim))
    return into_h(e) / sqrt(rv + e.operation.eps)


def running_table(group: str, y: str, dx: str, wide: str = "") -> dict[str, list[M]]:
    """By part, the mistakes with running statistics; `group`, `wide` as in `any_normalization.table`."""
    W, B = f"W{wide}", f"b{wide}"
    MEAN, VAR, SAMPLE = f"x.mean(axis={group})", f"x.var(axis={group})", f"x.var(axis={group}, ddof=1)"
    RM, RV = f"0.9 * rm + 0.1 * {MEAN}", f"0.9 * rv + 0.1 * {SAMPLE}"
    BY_OLD = f"{W} * (x - rm{wide}) / np.sqrt(rv{wide} + 1e-5) + {B}"
    # fmt: off
    shared = [
        ("momentum-reversed", _reversed, "momentum and 1 - momentum are exchanged: it is the share of the new one",
         "0.1 * {old} + 0.9 * {new}", 0),
        ("running-not-updated", lambda e: _running(e) * 1.0, "it is what it was: not updated", "1 * {old}", -1),
        ("running-replaced", lambda e: _new(e) * 1.0, "it is that of this batch alone: the running one is left out",
         "{new}", 0),
        ("running-not-decayed", lambda e: _running(e) + _new(e) * float(e.operation.momentum),
         "the new one is added, and the running one is not multiplied by 1 - momentum", "{old} + 0.1 * {new}", 0),
    ]
    return {
        "output": [
            M("running-statistics-in-training", lambda e: _by_running(e, e.rm, e.rv),
              "the running mean and variance are taken, as in evaluation, not those of the batch",
              wrong=BY_OLD, right=y),
            M("running-statistics-in-training",
              lambda e: _by_running(e, follows(e, e.rm, _of_channels(e, mean(e, e.x))),
                                    follows(e, e.rv, _of_channels(e, sample_variance(e)))),
              "the running mean and variance are taken after their update, not those of the batch",
              wrong=BY_OLD.replace(f"rm{wide}", f"({RM}){wide}").replace(f"rv{wide}", f"({RV}){wide}"), right=y),
        ],
        "grad_input": [
            M("running-statistics-in-training", _input_by_running,
              "dx = W dy / sqrt(running_var + eps): as in evaluation",
              wrong=f"dy * {W} / np.sqrt(rv{wide} + 1e-5)", right=dx),
        ],
        "new_running_mean": [
            M(cause, formula, words, rank, wrong=text.format(old="rm", new=MEAN), right=RM)
            for cause, formula, words, text, rank in shared
        ],
        "new_running_var": [
            *(M(cause, formula, words, rank, wrong=text.format(old="rv", new=SAMPLE), right=RV)
              for cause, formula, words, text, rank in shared),
            M("population-variance", of_batch(variance),
              "the new variance is divided by N: torch keeps that of a sample, divided by N - 1",
              wrong=RV.replace(", ddof=1", ""), right=RV),
            M("deviation-for-variance", of_batch(lambda e: sqrt(sample_variance(e))),
              "the new one is the standard deviation, not the variance",
              wrong=RV.replace(SAMPLE, f"np.sqrt({SAMPLE})"), right=RV),
            M("deviation-for-variance", of_batch(lambda e: sqrt(variance(e) + e.operation.eps)),
              "the new one is the root that y is divided by, not the variance",
              wrong=RV.replace(SAMPLE, f"np.sqrt({VAR} + 1e-5)"), right=RV),
            M("eps-in-running-variance", of_batch(lambda e: sample_variance(e) + e.operation.eps),
              "eps is in the running variance", unseen=SMALL_EPS,
              wrong=RV.replace(SAMPLE, f"({SAMPLE} + 1e-5)"), right=RV, case={"scale": 0.05}),
            M("sum-for-mean", of_batch(lambda e: variance(e) * float(count(e))),
              "the new one is the sum of squares, not divided",
              wrong=RV.replace(SAMPLE, f"((x - {MEAN}{wide})**2).sum(axis={group})"), right=RV),
        ],
    }
    # fmt: on
