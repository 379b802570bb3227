"""The cases: a fixed set of networks, losses, optimisers and batches that the check judges every mutant by.

An Asked says in words what is computed, and draws the weights by itself as `Linear` promises to, so that a constructor
or a default that is wrong cannot move the reference with it. A Direct is a call that must end in an exception of one
type (or in none): the answers to wrong shapes, dtypes, labels and options are behaviour too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import scratch
from compare import operations
from compare.check import check_parity
from compare.checking import check_records
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer
from compare.recording.batches import Batch, given_batches
from compare.recording.scratch_recorder import record_scratch
from scratch.initializers import Initializer, he_normal, linear_default, xavier_uniform
from scratch.losses import one_hot

Array = NDArray[Any]
Targets = Literal["labels", "one-hot", "one-hot by one_hot", "soft", "unnormalised", "values", "bits", "sure"]
Manner = Literal["", "scribbles", "reuses", "walks", "retries", "draws"]
DTYPES = ("float32", "float64")
WEIGHT_INIT: Initializer = xavier_uniform
BIAS_INIT: Initializer = he_normal


class Killed(Exception):
    """The check saw that something is wrong: `how` it was seen, and what it said."""

    def __init__(self, how: str, detail: str = "") -> None:
        super().__init__(f"{how}: {detail}")
        self.how, self.detail = how, detail


# --- by the check ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """Consecutive training steps, as asked for in words.

    `options` are the optimiser's; those that are left out are PyTorch's defaults. `scale` is the inputs' size, `kinks`
    puts zeros into them, `bias` says whether the linear layers have one. `manner` is what the code around the layers
    does: overwrites what layers returned to it (scribbles); layers keep one array for each gradient (reuses); the
    network is put together once more by walking over it and appending (walks); a step is tried before any gradient
    is there (retries); weights are drawn by other initialisers (draws).
    """

    name: str
    network: str
    dtype: str
    target: Targets
    optimizer: str = "SGD"
    options: tuple[tuple[str, Any], ...] = (("lr", 0.1),)
    rows: tuple[int, ...] = (6, 3, 5)
    scale: float = 1.0
    kinks: bool = False
    bias: bool = True
    manner: Manner = ""

    def judge(self) -> None:
        """Killed unless the check finds parity, on its own and with what was asked for."""
        network, loss, optimizer, batches = self.built()
        report = check_parity(network, loss, optimizer, batches)
        if report.verdict != "parity":
            raise Killed("check_parity", _first(report))
        wanted = replace(self.architecture, layers=tuple(self._layers()))
        given = given_batches(batches) | self.weights()
        records = record_scratch(network, loss, optimizer, batches)
        spec = self.spec if optimizer else None
        report = check_records([replace(r, network=wanted, optimizer=spec) for r in records], given)
        if report.verdict != "parity":
            raise Killed("what was asked for", _first(report))

    @property
    def architecture(self) -> Architecture:
        return Architecture.of(self.network)

    def _layers(self) -> list[Layer]:
        layers = self.architecture.layers
        return [replace(layer, bias=self.bias) if isinstance(layer, Linear) else layer for layer in layers]

    @property
    def spec(self) -> OptimizerSpec:
        """With PyTorch's defaults."""
        kind = getattr(torch.optim, self.optimizer)
        return OptimizerSpec.of(kind([torch.zeros(1, requires_grad=True)], **dict(self.options)))

    def built(self) -> tuple[scratch.Sequential, scratch.Loss, scratch.Optimizer | None, list[Batch]]:
        """By the code as it is now: a mutant that is planted takes part."""
        rng = np.random.default_rng(1)
        network = scratch.Sequential(*(self._layer(spec, rng) for spec in self._layers()))
        if self.manner == "walks":
            found = list(network)[: len(network)]
            network = scratch.Sequential(found[0])
            network.layers += found[1:]
        optimizer = getattr(scratch, self.optimizer)(network, **dict(self.options)) if self.optimizer else None
        if optimizer and self.manner == "retries":
            _step_without_gradients(optimizer)
        wanted = self.architecture
        loss = wanted.loss.scratch_type
        made: scratch.Loss = loss() if wanted.reduction == "mean" else loss(wanted.reduction)
        return network, made, optimizer, self.batches()

    def _layer(self, spec: Layer, rng: np.random.Generator) -> scratch.Layer:
        if isinstance(spec, Linear):
            kind = ReusingLinear if self.manner == "reuses" else scratch.Linear
            options: dict[str, Any] = {} if self.dtype == "float32" else {"dtype": self.dtype}
            options |= {} if spec.bias else {"bias": False}
            if self.manner == "draws":
                options |= {"weight_init": WEIGHT_INIT, "bias_init": BIAS_INIT}
            return kind(spec.in_features, spec.out_features, rng=rng, **options)
        layer: scratch.Layer = SCRIBBLED[spec.kind]() if self.manner == "scribbles" else spec.to_scratch()
        return layer

    def weights(self) -> dict[str, Array]:
        """What `Linear` promises to draw: the weight first, and both by torch's default if no other is named."""
        rng, drawn = np.random.default_rng(1), {}
        for k, spec in enumerate(self._layers()):
            fans = (spec.in_features, spec.out_features) if isinstance(spec, Linear) else (0, 0)
            for name, shape in spec.parameters().items():
                draw = (WEIGHT_INIT if name == "weight" else BIAS_INIT) if self.manner == "draws" else linear_default
                drawn[f"{k}.{name}"] = draw(rng, shape, fans).astype(self.dtype)
        return drawn

    def batches(self) -> list[Batch]:
        rng = np.random.default_rng(2)
        return [self._batch(rng, m) for m in self.rows]

    def _batch(self, rng: np.random.Generator, m: int) -> Batch:
        sizes = self.architecture.sizes
        x = (rng.standard_normal((m, sizes[0])) * self.scale).astype(self.dtype)
        if self.kinks:
            x[:, 0] = 0
            x[0] = 0
        return x, self._target(rng, x, m, sizes[-1])

    def _target(self, rng: np.random.Generator, x: Array, m: int, n: int) -> Array:
        if self.target == "sure":  # what the only linear layer already says, so that no logarithm of 0 counts
            z = x.astype(np.float64) @ self.weights()["0.weight"].T + self.weights()["0.bias"]
            if self.architecture.layers[-1].kind == "softmax":
                labels: Array = z.argmax(axis=1)
                return labels
            return (z > 0).astype(self.dtype)
        if self.target in ("labels", "one-hot", "one-hot by one_hot"):
            labels = rng.permutation(np.arange(m) % n)  # every class, if there are rows enough
            if self.target == "one-hot by one_hot":
                return one_hot(labels, n) if self.dtype == "float64" else one_hot(labels, n, self.dtype)
            return labels if self.target == "labels" else np.eye(n, dtype=self.dtype)[labels]
        if self.target in ("soft", "unnormalised"):
            t = rng.dirichlet(np.ones(n), m)
            t[0, 0] = 0
            return (t * rng.uniform(0.5, 2, (m, 1)) if self.target == "unnormalised" else t).astype(self.dtype)
        return (rng.integers(0, 2, (m, n)) if self.target == "bits" else rng.standard_normal((m, n))).astype(self.dtype)

    def __str__(self) -> str:
        return f"{self.name} ({self.dtype})"


def _first(report: Any) -> str:
    row = report.first
    return f"{report.verdict}: step {row.step}, {row.tensor}, {row.check}" if row else report.verdict


class ReusingLinear(scratch.Linear):
    """Keeps one array for each gradient, and writes every gradient into it."""

    def backward(self, dy: Array) -> Array:
        kept = dict(self.grads)
        dx = super().backward(dy)
        for name, g in kept.items():
            g[...] = self.grads[name]
            self.grads[name] = g
        return dx


def _scribbled(kind: type[scratch.Layer]) -> type[scratch.Layer]:
    """The layer, in code that overwrites what the layer returned to it: a returned array is the caller's."""

    def forward(self: scratch.Layer, x: Array) -> Array:
        return _copied_then_overwritten(kind.forward(self, x))

    def backward(self: scratch.Layer, dy: Array) -> Array:
        return _copied_then_overwritten(kind.backward(self, dy))

    return type(f"Scribbled{kind.__name__}", (kind,), {"forward": forward, "backward": backward})


def _copied_then_overwritten(a: Array) -> Array:
    copied = a.copy()
    a.fill(np.nan)
    return copied


SCRIBBLED = {
    kind.kind: _scribbled(kind.scratch_type) for kind in operations.LAYERS.values() if issubclass(kind, Activation)
}


def _step_without_gradients(optimizer: scratch.Optimizer) -> None:
    """An optimiser refuses to step before `backward`, and nothing is updated then."""
    try:
        optimizer.step()
    except ValueError:
        return
    raise Killed("error case", "a step without gradients was taken")


def _asked() -> list[Asked]:
    found = []
    for dtype in DTYPES:
        classes = Asked("classes", "5-7-4 relu, softmax cross-entropy", dtype, "labels")
        found += [
            classes,
            replace(classes, name="one-hot", target="one-hot"),
            replace(classes, name="one_hot", target="one-hot by one_hot"),
            replace(classes, name="soft targets", target="soft"),
            replace(classes, name="unnormalised", target="unnormalised"),
            replace(classes, name="summed", network="5-7-4 relu, softmax cross-entropy sum", target="unnormalised"),
            replace(classes, name="one row", rows=(1, 1), optimizer="Adam", options=()),
            replace(classes, name="kinks", network="5-7-6-4 relu, softmax cross-entropy", kinks=True, bias=False),
            replace(
                classes, name="kinks of sigmoid", network="5-7-4 sigmoid, mse", kinks=True, bias=False, target="values"
            ),
            replace(
                classes,
                name="kinks of logits",
                network="5-4, sigmoid binary cross-entropy",
                kinks=True,
                bias=False,
                target="bits",
            ),
            replace(classes, name="no optimiser", optimizer=""),
            replace(classes, name="walks", manner="walks"),
            replace(classes, name="draws", manner="draws"),
        ]
        for network, targets in LOSSES:
            for reduction in ("", " sum"):
                found += [Asked(f"{network}{reduction}, {t}", network + reduction, dtype, t) for t in targets]
        found += [
            Asked("large logits", "5-4, softmax cross-entropy", dtype, "labels", scale=1e4),
            Asked("large, softmax", "5-4, softmax output, cross-entropy on probabilities", dtype, "sure", scale=1e4),
            Asked("large, hidden softmax", "5-7-4 softmax, mse", dtype, "values", scale=1e4),
            Asked("large, sigmoid", "5-4, sigmoid output, binary cross-entropy", dtype, "sure", scale=1e4),
            Asked("large, half squared", "5-7-4 sigmoid, half squared error", dtype, "values", scale=1e4),
            Asked("large, logits", "5-4, sigmoid binary cross-entropy", dtype, "bits", scale=1e4),
            Asked("large, tanh", "5-7-4 tanh, mse", dtype, "values", scale=1e4),
        ]
        for kind in ("relu", "sigmoid", "tanh", "softmax"):
            network = f"5-7-4 {kind}, {kind} output, half squared error"
            found.append(Asked(f"scribbles on {kind}", network, dtype, "values", manner="scribbles"))
        for name, optimizer, options, more in OPTIMIZERS:
            found.append(replace(classes, name=name, optimizer=optimizer, options=tuple(options.items()), **more))
    return found


LOSSES: tuple[tuple[str, tuple[Targets, ...]], ...] = (
    ("5-7-4 tanh, softmax output, cross-entropy on probabilities", ("labels", "soft", "unnormalised")),
    ("5-7-4 softmax, mse", ("values",)),
    ("5-7-4 sigmoid, tanh output, half squared error", ("values",)),
    ("5-7-4 tanh, sigmoid output, binary cross-entropy", ("bits", "soft")),
    ("5-7-4 relu, sigmoid binary cross-entropy", ("bits", "soft")),
)
TINY: dict[str, Any] = {"scale": 1e-7, "network": "5-4, mse", "target": "values"}
OPTIMIZERS: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    ("SGD by default", "SGD", {}, {}),
    ("SGD, weight decay", "SGD", {"lr": 0.2, "weight_decay": 0.3}, {}),
    ("momentum", "SGD", {"lr": 0.2, "momentum": 0.7}, {"rows": (6, 3, 5, 4)}),
    ("dampening", "SGD", {"lr": 0.2, "momentum": 0.7, "dampening": 0.4, "weight_decay": 0.3}, {}),
    ("nesterov", "SGD", {"lr": 0.2, "momentum": 0.7, "weight_decay": 0.3, "nesterov": True}, {}),
    ("buffers of gradients", "SGD", {"lr": 0.2, "momentum": 0.7}, {"manner": "reuses"}),
    ("a step too early", "SGD", {"lr": 0.2, "momentum": 0.7}, {"manner": "retries"}),
    ("a step too early, Adam", "Adam", {"lr": 0.2}, {"manner": "retries"}),
    ("SGD, rate 0", "SGD", {"lr": 0.0, "momentum": 0.7, "weight_decay": 0.3}, {}),
    ("Adam, rate 0", "Adam", {"lr": 0.0, "weight_decay": 0.3}, {}),
    ("Adam by default", "Adam", {}, {}),
    ("Adam", "Adam", {"lr": 0.02, "betas": (0.6, 0.8), "eps": 0.1, "weight_decay": 0.3}, {"rows": (6, 3, 5, 4)}),
    ("Adam, tiny gradients", "Adam", {}, TINY),
    ("Adam, columns of zeros", "Adam", {}, {"kinks": True}),
    ("Adam, buffers of gradients", "Adam", {}, {"manner": "reuses"}),
    ("AdamW by default", "AdamW", {}, {}),
    ("AdamW", "AdamW", {"lr": 0.02, "betas": (0.6, 0.8), "eps": 0.1, "weight_decay": 0.3}, {}),
    ("AdamW, tiny gradients", "AdamW", {}, TINY),
)


# --- by the exception that is due -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Direct:
    """A call that must raise exactly this exception, whatever its words; None: it must not raise, and not warn."""

    name: str
    raises: type[Exception] | None
    call: Callable[[], object]

    def judge(self) -> None:
        try:
            with np.errstate(all="raise", under="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error")
                self.call()
        except Exception as error:
            if type(error) is not self.raises:
                raise Killed("error case", f"{type(error).__name__}, {self._expected}") from error
        else:
            if self.raises is not None:
                raise Killed("error case", f"nothing was raised, {self._expected}")

    @property
    def _expected(self) -> str:
        return f"expected {self.raises.__name__ if self.raises else 'no exception'}"

    def __str__(self) -> str:
        return self.name


def _zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


def _linear(**options: Any) -> scratch.Linear:
    return scratch.Linear(3, 2, rng=np.random.default_rng(0), **options)


def _and_back(layer: scratch.Layer, x: Array, dy: Array) -> None:
    layer.forward(x)
    layer.backward(dy)


def _optimizer(kind: str, **options: Any) -> scratch.Optimizer:
    optimizer: scratch.Optimizer = getattr(scratch, kind)(scratch.Sequential(_linear()), **options)
    return optimizer


def _first_step(kind: str) -> None:
    _optimizer(kind).step()


def _layers() -> list[Direct]:
    error = scratch.LayerError
    found = [
        Direct("sizes 0 -> 2", ValueError, lambda: scratch.Linear(0, 2, rng=np.random.default_rng(0))),
        Direct("sizes 2 -> 0", ValueError, lambda: scratch.Linear(2, 0, rng=np.random.default_rng(0))),
        Direct("sizes 1 -> 1", None, lambda: scratch.Linear(1, 1, rng=np.random.default_rng(0))),
        Direct("Linear, another width", error, lambda: _linear().forward(_zeros(4, 2))),
        Direct("Linear, one axis", error, lambda: _linear().forward(_zeros(3))),
        Direct("Linear, three axes", None, lambda: _linear().forward(_zeros(4, 3, 3))),
        Direct("Linear, another dtype", error, lambda: _linear().forward(_zeros(4, 3, dtype="float64"))),
        Direct("Linear of float64", error, lambda: _linear(dtype="float64").forward(_zeros(4, 3))),
        Direct("Linear, integers", error, lambda: _linear().forward(_zeros(4, 3, dtype="int64"))),
        Direct("Linear back, rows", error, lambda: _and_back(_linear(), _zeros(4, 3), _zeros(3, 2))),
        Direct("Linear back, columns", error, lambda: _and_back(_linear(), _zeros(4, 3), _zeros(4, 3))),
        Direct("Linear back, dtype", error, lambda: _and_back(_linear(), _zeros(4, 3), _zeros(4, 2, dtype="float64"))),
        Direct("Linear, no rows", None, lambda: _and_back(_linear(), _zeros(0, 3), _zeros(0, 2))),
        Direct("Linear back first", RuntimeError, lambda: _linear().backward(_zeros(4, 2))),
        Direct("Layer.forward", TypeError, lambda: scratch.Layer().forward(_zeros(4, 3))),
        Direct("Layer.backward", TypeError, lambda: scratch.Layer().backward(_zeros(4, 3))),
        Direct("a network of nothing", ValueError, scratch.Sequential),
        Direct("network, another width", error, lambda: scratch.Sequential(_linear()).forward(_zeros(4, 2))),
        Direct("network back first", RuntimeError, lambda: scratch.Sequential(_linear()).backward(_zeros(4, 2))),
        Direct(
            "network back, columns",
            error,
            lambda: _and_back(scratch.Sequential(scratch.ReLU(), _linear()), _zeros(4, 3), _zeros(4, 3)),
        ),
    ]
    for kind in (scratch.ReLU, scratch.Sigmoid, scratch.Tanh, scratch.Softmax):
        found += _of_activation(kind)
    return found


def _of_activation(kind: type[scratch.Layer]) -> list[Direct]:
    error, name = scratch.LayerError, kind.__name__
    of_rows = error if kind is scratch.Softmax else None
    return [
        Direct(f"{name}, one axis", error, lambda: kind().forward(_zeros(3))),
        Direct(f"{name}, three axes", of_rows, lambda: kind().forward(_zeros(4, 3, 3))),
        Direct(f"{name}, integers", error, lambda: kind().forward(_zeros(4, 3, dtype="int64"))),
        Direct(f"{name}, one row", None, lambda: _and_back(kind(), _zeros(1, 3), _zeros(1, 3))),
        Direct(f"{name}, one column", None, lambda: _and_back(kind(), _zeros(4, 1), _zeros(4, 1))),
        Direct(f"{name} back, rows", error, lambda: _and_back(kind(), _zeros(4, 3), _zeros(1, 3))),
        Direct(f"{name} back, columns", error, lambda: _and_back(kind(), _zeros(4, 3), _zeros(4, 1))),
        Direct(f"{name} back, dtype", error, lambda: _and_back(kind(), _zeros(4, 3), _zeros(4, 3, dtype="float64"))),
        Direct(f"{name} back first", RuntimeError, lambda: kind().backward(_zeros(4, 3))),
    ]


def _losses() -> list[Direct]:
    error = scratch.LayerError
    found = [
        Direct("Loss.forward", TypeError, lambda: scratch.Loss().forward(_zeros(4, 3), _zeros(4, 3))),
        Direct("Loss.backward", TypeError, lambda: scratch.Loss().backward()),
        Direct("reduction none", ValueError, lambda: scratch.MSELoss("none")),  # type: ignore[arg-type]
        Direct("reduction mean", None, lambda: scratch.MSELoss("mean")),
        Direct("reduction sum", None, lambda: scratch.MSELoss("sum")),
    ]
    half = np.full((4, 3), 0.5, "float32")
    for kind in (scratch.CrossEntropyLoss, scratch.ProbabilityCrossEntropyLoss):
        for what, raises, t in (
            ("the last class", None, np.array([2, 0, 1, 2])),
            ("a list", None, [2, 0, 1, 2]),
            ("unsigned", None, np.array([2, 0, 1, 2], "uint8")),
            ("a class too many", error, np.array([3, 0, 1, 2])),
            ("a class below 0", error, np.array([0, 1, -1, 2])),
            ("a label too few", error, np.array([0, 1, 2])),
            ("a label too many", error, np.array([0, 1, 2, 0, 1])),
            ("labels that are floats", error, np.array([0.0, 1, 2, 0], "float32")),
            ("labels in a column", error, np.array([[0], [1], [2], [0]])),
            ("whole numbers as rows", error, np.ones((4, 3), "int64")),
        ):
            found.append(Direct(f"{kind.__name__}, {what}", raises, partial(_forward, kind, half, t)))
        for what, y, label in (
            ("one label alone", half[:1], np.int64(1)),
            ("labels of one axis", half[0], np.array([1])),
            ("labels of no rows", half[:0], np.zeros(0, "int64")),
            ("labels of no columns", half[:1, :0], np.array([0])),
            ("labels of whole numbers", np.ones((1, 3), "int64"), np.array([1])),
        ):
            found.append(Direct(f"{kind.__name__}, {what}", error, partial(_forward, kind, y, label)))
    for known in operations.LOSSES.values():
        found += _of_loss(known.scratch_type, known.signed)
    for of_probabilities in (scratch.ProbabilityCrossEntropyLoss, scratch.BCELoss):
        name = of_probabilities.__name__
        found += [
            Direct(f"{name}, log 0", FloatingPointError, partial(_expect_finite, of_probabilities, 0)),
            Direct(f"{name}, 1 / 0", FloatingPointError, partial(_expect_finite, of_probabilities, 1)),
            Direct(f"{name}, sure and wrong", None, partial(_sure_and_wrong, of_probabilities)),
        ]
    return found


def _sure_and_wrong(kind: type[scratch.Loss]) -> tuple[Any, Array]:
    """Loss and gradient where a probability of 0 meets a target of 1: infinite, which is for the caller to report."""
    y, t = np.eye(2, dtype="float32"), np.eye(2, dtype="float32")[::-1]
    loss = kind()
    return loss.forward(y, t), loss.backward()


def _expect_finite(kind: type[scratch.Loss], which: int) -> None:
    if not np.isfinite(_sure_and_wrong(kind)[which]).all():
        raise FloatingPointError("not finite")


def _forward(kind: type[scratch.Loss], y: Array, t: Any) -> None:
    kind().forward(y, t)


def _of_loss(kind: type[scratch.Loss], signed: bool) -> list[Direct]:
    error, name = scratch.LayerError, kind.__name__
    half, t = np.full((4, 3), 0.5, "float32"), np.eye(3, dtype="float32")[[0, 2, 1, 2]]
    sure = np.array([[1, 0, 0], [0, 1, 0]], "float32")
    t, sure = (2 * t - 1, 2 * sure - 1) if signed else (t, sure)

    def there_and_back(y: Array, t: Any) -> None:
        loss = kind()
        loss.forward(y, t)
        loss.backward()

    return [
        Direct(f"{name}, rows", None, lambda: there_and_back(half, t)),
        Direct(f"{name}, rows as lists", None, lambda: kind().forward(half.astype("float64"), t.tolist())),
        Direct(f"{name}, sure", None, lambda: there_and_back(sure, sure)),
        Direct(f"{name}, one row and column", None, lambda: there_and_back(half[:1, :1], t[:1, :1])),
        Direct(f"{name}, a row too few", error, lambda: kind().forward(half, t[:3])),
        Direct(f"{name}, a column too few", error, lambda: kind().forward(half, t[:, :1])),
        Direct(f"{name}, another dtype", error, lambda: kind().forward(half, t.astype("float64"))),
        Direct(f"{name}, whole numbers", error, lambda: kind().forward(half, t.astype("int64"))),
        Direct(f"{name} of whole numbers", error, lambda: kind().forward(t.astype("int64"), t.astype("int64"))),
        Direct(f"{name}, one axis", error, lambda: kind().forward(half[0], t[0])),
        Direct(f"{name}, three axes", error, lambda: kind().forward(half[None], t[None])),
        Direct(f"{name}, no rows", error, lambda: kind().forward(half[:0], t[:0])),
        Direct(f"{name}, no columns", error, lambda: kind().forward(half[:, :0], t[:, :0])),
        Direct(f"{name} back first", RuntimeError, lambda: kind().backward()),
    ]


def _optimizers() -> list[Direct]:
    found = []
    for kind in ("SGD", "Adam", "AdamW"):
        for raises, options in ((ValueError, BAD), (None, GOOD)):
            for option, value in options[kind]:
                found.append(Direct(f"{kind}, {option} {value}", raises, partial(_optimizer, kind, **{option: value})))
        found.append(Direct(f"{kind}, no gradient", ValueError, partial(_first_step, kind)))
    sgd: tuple[tuple[str, type[Exception] | None, dict[str, Any]], ...] = (
        ("nesterov without momentum", ValueError, {"nesterov": True}),
        ("nesterov with dampening", ValueError, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
        ("nesterov", None, {"nesterov": True, "momentum": 0.9}),
    )
    found += [Direct(name, raises, partial(_optimizer, "SGD", **options)) for name, raises, options in sgd]
    found += [
        Direct("Optimizer.update", TypeError, lambda: _bare().update(_zeros(2), _zeros(2), {})),
        Direct("Optimizer.options", TypeError, lambda: _bare().options),
    ]
    return found


def _bare() -> scratch.Optimizer:
    return scratch.Optimizer(scratch.Sequential(_linear()), 0.1, 0.0)


_ANY_BAD: tuple[tuple[str, Any], ...] = (
    ("lr", -0.1),
    ("lr", float("nan")),
    ("weight_decay", -0.1),
)
_ANY_GOOD: tuple[tuple[str, Any], ...] = (("lr", 0.0), ("lr", 0.5), ("weight_decay", 0.0))
_BETAS = tuple(("betas", pair) for pair in ((-0.1, 0.9), (0.9, -0.1), (1.0, 0.9), (0.9, 1.0)))
_ADAM_BAD = (*_ANY_BAD, *_BETAS, ("eps", -1e-8))
_ADAM_GOOD = (*_ANY_GOOD, ("betas", (0.0, 0.0)), ("betas", (0.9, 0.0)), ("eps", 0.0))
BAD = {"SGD": (*_ANY_BAD, ("momentum", -0.1)), "Adam": _ADAM_BAD, "AdamW": _ADAM_BAD}
GOOD = {"SGD": (*_ANY_GOOD, ("momentum", 0.0), ("momentum", 0.5)), "Adam": _ADAM_GOOD, "AdamW": _ADAM_GOOD}


def cases() -> Sequence[Asked | Direct]:
    """All of them: the check in float32, the calls, which take no time, and the check in float64."""
    asked = _asked()
    by_check = {dtype: [case for case in asked if case.dtype == dtype] for dtype in DTYPES}
    return [*by_check["float32"], *_layers(), *_losses(), *_optimizers(), *by_check["float64"]]
