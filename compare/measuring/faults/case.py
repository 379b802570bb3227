"""Case: the network, loss, optimiser and batches that show a fault; and what a check of it finds."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import scratch
from compare.checking import check_records
from compare.measuring.faults.fault import Fault, Target
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.passing import shape_of
from compare.network.weights import in_order
from compare.operations.operation import Layer
from compare.recording.batches import Batch, given_batches
from compare.recording.record import Record
from compare.recording.scratch_recorder import record_scratch
from compare.report.report import Report
from scratch import initializers

Array = NDArray[Any]


@dataclass
class Case:
    """What shows a fault, drawn from a seed alone."""

    network: scratch.Sequential
    loss: scratch.Loss
    optimizer: scratch.Optimizer
    batches: list[Batch]

    @classmethod
    def of(cls, fault: Fault, dtype: DTypeLike, seed: int = 0) -> Case:
        """The code as it is at this moment draws the weights: a fault that is planted now may change them."""
        architecture = Architecture.of(fault.network)
        rng = np.random.default_rng([seed, 0])
        network = in_order(*(_layer(layer, rng, fault.bias, dtype) for layer in architecture.layers))
        data = np.random.default_rng([seed, 1])
        batches = [_batch(data, fault, architecture, m, dtype) for m in fault.rows]
        return cls(network, architecture.loss.to_scratch(), _optimizer(fault.optimizer, network), batches)

    @property
    def given(self) -> dict[str, Array]:
        """What the candidate is given, by record name: the batches, and copies of the weights before the first step."""
        return given_batches(self.batches) | {name: p.copy() for name, p in self.network.params.items()}

    def record(self) -> list[Record]:
        """The training steps, by the code as it is at this moment. The network is trained by them."""
        return record_scratch(self.network, self.loss, self.optimizer, self.batches)


def record(fault: Fault, dtype: DTypeLike, seed: int = 0) -> tuple[list[Record], dict[str, Array]]:
    """The fault's own case run with the fault planted: its records, and what it was given."""
    given = Case.of(fault, dtype, seed).given
    with fault.planted():
        return Case.of(fault, dtype, seed).record(), given


def run(fault: Fault, dtype: DTypeLike, seed: int = 0) -> Report:
    """The check of the fault's own case, run with the fault planted; a reference's fault is there in the check too."""
    records, given = record(fault, dtype, seed)
    with fault.planted() if fault.in_reference else nullcontext():
        return check_records(records, given)


def run_correct(fault: Fault, dtype: DTypeLike, seed: int = 0) -> Report:
    """The check of the fault's own case without the fault: parity."""
    case = Case.of(fault, dtype, seed)
    given = case.given
    return check_records(case.record(), given)


def _layer(spec: Layer, rng: np.random.Generator, bias: float, dtype: DTypeLike) -> scratch.Layer:
    drawn = initializers.linear_default  # looked up now: faults are planted in it
    return spec.to_scratch(rng=rng, weight_init=drawn, bias_init=initializers.normal(bias), dtype=dtype)


def _optimizer(spec: OptimizerSpec, network: scratch.Sequential) -> scratch.Optimizer:
    optimizer: scratch.Optimizer = spec.method.scratch_type(network, **spec.arguments)
    return optimizer


def _batch(rng: np.random.Generator, fault: Fault, network: Architecture, m: int, dtype: DTypeLike) -> Batch:
    x = _input(rng, fault, network, m, dtype)
    if fault.zero_row:
        x[0] = 0
    return x, _target(rng, fault.target or _usual(network), m, network.sizes[-1], dtype)


def _input(rng: np.random.Generator, fault: Fault, network: Architecture, m: int, dtype: DTypeLike) -> Array:
    shape = shape_of(m, network.layers, fault.image)
    if (classes := network.layers[0].classes) is not None:
        return rng.integers(0, classes, shape)
    return (rng.standard_normal(shape) * fault.scale).astype(dtype)


def _usual(network: Architecture) -> Target:
    return "labels" if network.loss.takes_labels else "bits" if network.loss.binary else "values"


def _target(rng: np.random.Generator, kind: Target, m: int, n: int, dtype: DTypeLike) -> Array:
    if kind in ("labels", "one-hot"):
        labels = rng.permutation(np.arange(m) % n)  # every class, if there are rows enough
        return labels if kind == "labels" else np.eye(n, dtype=dtype)[labels]
    if kind in ("soft", "unnormalised"):
        t = rng.dirichlet(np.ones(n), m)
        return (t * rng.uniform(0.5, 2, (m, 1)) if kind == "unnormalised" else t).astype(dtype)
    if kind == "signs":
        return rng.choice([-1.0, 1.0], (m, n)).astype(dtype)
    return (rng.integers(0, 2, (m, n)) if kind == "bits" else rng.standard_normal((m, n))).astype(dtype)
