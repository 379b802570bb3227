"""OptimizerSpec: an optimiser by torch's name, and its options, independent of who computes it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

import scratch
from compare.operations import OPTIMIZERS
from compare.operations.operation import Optimizer, packed, unpacked

HOW = ("foreach", "fused", "capturable", "differentiable")  # options that change how a step is computed, not what


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimiser by torch's name, and its options by torch's names (betas as beta1, beta2).

    Options that are left out are torch's usual ones. ValueError for one that is not modelled and makes a difference.
    """

    kind: str
    options: Mapping[str, float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            raise ValueError(f"got optimiser {self.kind!r}, expected one of {', '.join(sorted(OPTIMIZERS, key=len))}")
        usual = _usual(self.kind)
        for name, value in self.options.items():
            if name not in (*self.method.options, *HOW) and (name not in usual or value != usual[name]):
                raise ValueError(f"got {self.kind}({name}={value}), which is not checked")
        found = usual | dict(self.options)
        object.__setattr__(self, "options", {name: found[name] for name in self.method.options})

    @property
    def method(self) -> Optimizer:
        """What the checker knows of it."""
        return OPTIMIZERS[self.kind]()

    @property
    def kept(self) -> tuple[str, ...]:
        """The state that it keeps for a parameter, by torch's names."""
        return self.method.kept(self.options)

    @property
    def arguments(self) -> dict[str, Any]:
        """Its options as constructors take them."""
        return packed(self.options)

    @classmethod
    def of(cls, optimizer: Any) -> OptimizerSpec:
        """From a scratch or a torch optimiser. TypeError if it is neither."""
        if isinstance(optimizer, OptimizerSpec):
            return optimizer
        if isinstance(optimizer, scratch.Optimizer):
            return cls(_kind(optimizer), _scratch_options(optimizer))
        if isinstance(optimizer, torch.optim.Optimizer):
            return cls(_kind(optimizer), _torch_options(optimizer))
        raise TypeError(f"got optimiser {type(optimizer).__name__}, expected a scratch or torch optimiser")

    @classmethod
    def expect_fresh(cls, optimizer: Any) -> None:
        """ValueError in one line for one that counts its steps and has taken some: a check counts from its first."""
        taken = getattr(optimizer, "steps", 0)
        if isinstance(optimizer, torch.optim.Optimizer):
            taken = max((int(state.get("step", 0)) for state in optimizer.state.values()), default=0)
        if taken and cls.of(optimizer).method.counts:
            kind = _kind(optimizer)
            raise ValueError(f"optimizer: got {kind} after {taken} steps, expected a new one: {kind} counts its steps")

    def __str__(self) -> str:
        """Its rate in 12 digits: 0.1 x 0.05 is 0.005."""
        return f"{self.kind}(lr={float(format(self.options['lr'], '.12g'))!r})"


def _kind(optimizer: Any) -> str:
    """The name of the known class that it is, or is derived from."""
    return next((t.__name__ for t in type(optimizer).__mro__ if t.__name__ in OPTIMIZERS), type(optimizer).__name__)


def _scratch_options(optimizer: scratch.Optimizer) -> Mapping[str, float | bool]:
    try:
        return optimizer.options
    except AttributeError as error:
        raise TypeError(f"{type(optimizer).__name__} has no {error.name}: is super().__init__() called?") from None


def _torch_options(optimizer: torch.optim.Optimizer) -> dict[str, float | bool]:
    if len(optimizer.param_groups) != 1:
        raise TypeError(f"got an optimiser with {len(optimizer.param_groups)} parameter groups, expected 1")
    kind = _kind(optimizer)
    group = unpacked(optimizer.param_groups[0])
    return {name: value for name, value in group.items() if name in _usual(kind)} if kind in OPTIMIZERS else {}


@cache
def _usual(kind: str) -> dict[str, Any]:
    """All of torch's options of an optimiser, as they are where none is given. By its signature, see `stepped`."""
    takes = inspect.signature(OPTIMIZERS[kind].torch_type).parameters.values()
    return unpacked({each.name: each.default for each in takes if each.default is not each.empty} | {"lr": 1e-3})
