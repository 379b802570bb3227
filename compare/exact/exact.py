"""Exact mode: a check without tolerance, on weights and inputs so small and so coarse that no sum is ever rounded.

Networks of Linear and ReLU, the losses that are rational (mean squared error, half squared error) and SGD with a short
dyadic rate compute with +, - and * only, and divide by powers of two. On small dyadic numbers every partial sum then
fits into the digits of the precision (dyadic.py has the argument), so whatever the order of summation there is one
correct result, and a candidate has it bit for bit or is wrong. That no sum is rounded is not assumed: weights, inputs
and targets are drawn, the training steps are computed from them, and each sum's bits are counted on the way.

    report = exact_check("8-6-4 relu, mse", dtype="float32")
    report = exact_check(network, loss=MSELoss("sum"), optimizer=SGD(network, 0.25))
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import nn

import scratch
from compare.checking import check_exactly
from compare.exact import dyadic
from compare.exact.dyadic import Need, Proven
from compare.judging.step import Rule, rules
from compare.network.architecture import Architecture, flatten, named_parameters
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.network.weights import in_order
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.expected import Expected
from compare.operations.squared_error import HalfSquaredError, SquaredError
from compare.recording.batches import Batch, given_batches
from compare.recording.record import Record, left_behind
from compare.recording.scratch_recorder import record_scratch
from compare.recording.torch_recorder import record_torch
from compare.report.report import Report

STEPS = 3
BATCH = 8
TRIES = 3  # draws of each density: a narrow network may be drawn dead; a wide one never is, and takes longer
WIDE = 100_000  # parameters
DEFAULT = OptimizerSpec("SGD", {"lr": 2.0**-6, "momentum": 0.5})


class NotExact(ValueError):
    """Exactness cannot hold here, and why, in one line."""


@dataclass(frozen=True)
class Density:
    """How much is drawn: nonzero weights a row, the largest weight, the largest input, and the shares not zero of the
    inputs and of the output's errors y - t."""

    weights: int
    largest_weight: int
    largest_input: int
    inputs: float
    errors: float

    def __str__(self) -> str:
        return f"{self.weights} nonzero weight{'s' * (self.weights > 1)} a row"


# from rich to poor
DENSITIES = tuple(
    Density(weights, largest, largest, inputs, errors)
    for inputs, errors in ((1, 1), (1, 1 / 4), (1 / 2, 1 / 16), (1 / 4, 0))
    for weights, largest in ((64, 3), (16, 2), (4, 1), (2, 1), (1, 1))
)
ALIVE = 0.5  # a draw with this share of gradient elements not zero is good enough


@dataclass(frozen=True)
class Proof:
    """That every sum of these training steps is exact: per (step, tensor) what it needs, all of which `dtype` has.

    `alive` is the share of gradient elements not zero.
    """

    dtype: np.dtype[Any]
    needs: Mapping[tuple[int, str], Need]
    alive: float

    @property
    def tightest(self) -> tuple[int, str]:
        """(step, tensor) with the most bits."""
        return max(self.needs, key=lambda at: self.needs[at].bits)

    def __str__(self) -> str:
        step, name = self.tightest
        bits, digits = self.needs[step, name].bits, _digits(self.dtype)
        return f"every sum proved exact, at most {bits:.0f} of {self.dtype}'s {digits} bits (step {step}, {name})"


@dataclass(frozen=True)
class ExactCase:
    """Weights by record name, one batch a step, and the proof; `dead` names parameters whose gradients are all 0."""

    weights: dict[str, Array]
    batches: list[Batch]
    proof: Proof
    dead: list[str]


def exact_check(
    network: Any,
    loss: Any = None,
    *,
    optimizer: Any = None,
    dtype: DTypeLike | None = None,
    steps: int = STEPS,
    batch: int = BATCH,
    seed: int = 0,
) -> Report:
    """Check a candidate bit for bit on weights and batches drawn for it, over `steps` training steps.

    network: a scratch.Sequential or torch.nn.Sequential with its `loss` (and `optimizer`, freshly made); or a text or
    Architecture, for which the project's own NumPy network is the candidate. `optimizer`: an SGD of the same side, an
    OptimizerSpec, or None for SGD(lr=1/64, momentum=1/2). dtype: None for the network's own, float32 for a text.
    Batches have `batch`, half of it, and `batch` rows. The candidate is not changed: it is copied.

    NotExact (a ValueError) in one line where exactness cannot hold; ValueError or TypeError as `Architecture.of`.
    """
    architecture = Architecture.of(network, loss)
    architecture.expect_no_penalty()
    candidate = _Candidate.of(network, loss, optimizer, architecture, dtype)
    case = draw(architecture, candidate.spec, candidate.dtype, steps=steps, batch=batch, seed=seed)
    records = candidate.run(case)
    return check_exactly(records, given_batches(case.batches) | case.weights, exact_rule, case.proof)


# --- where exactness cannot hold whatever the numbers -----------------------------------------------------------------


def expect_rational(network: Architecture, optimizer: OptimizerSpec, batch_sizes: Sequence[int]) -> None:
    """NotExact naming the first part of the computation that leaves the dyadic numbers."""
    for k, layer in enumerate(network.layers):
        if layer.kind not in FORMULAS:
            raise NotExact(f"layer {k} ({layer}) has irrational values; exact mode takes Linear and ReLU layers")
    if not isinstance(network.loss, SquaredError):
        other = str(replace(network, loss=HalfSquaredError("sum" if network.reduction == "sum" else "mean")))
        why = "takes logarithms" if network.loss.logarithmic else "is no square"
        raise NotExact(
            f"the loss ({network.loss.kind.replace('_', ' ')}) {why}; exact mode takes mse and half squared "
            f'error, such as "{other}"'
        )
    for m in batch_sizes:
        count = _count(network, m)
        if not dyadic.is_power_of_two(count):
            what = f"{m} x {network.sizes[-1]} = {count} elements" if not network.loss.per_sample else f"{m} rows"
            raise NotExact(f"the mean over {what} divides by no power of two; take the sum, or such sizes")
    _expect_dyadic(optimizer)


def _expect_dyadic(optimizer: OptimizerSpec) -> None:
    if optimizer.kind != "SGD":
        raise NotExact(f"{optimizer.kind} takes roots and quotients; exact mode takes SGD")
    for name, c in optimizer.options.items():
        if dyadic.significant_bits(float(c)) > dyadic.CONSTANT_BITS:
            raise NotExact(
                f"{name}={c} is no dyadic number of at most {dyadic.CONSTANT_BITS} bits, such as 0.5 or 0.015625"
            )


def _count(network: Architecture, m: int) -> int:
    """What a mean over m rows divides by; 1 for a sum."""
    return network.loss.count(m, m * network.sizes[-1])


# --- the operations, written plainly, each with its proof -------------------------------------------------------------


def formula(network: Architecture, optimizer: OptimizerSpec, rule: Rule) -> Callable[..., Proven]:
    """The exact computation of a rule's tensor from its sources, in float64 with a proof."""
    if rule.copies:
        return Proven
    if rule.layer == "loss":
        return partial(_loss if rule.name == "loss" else _loss_backward, network)
    if rule.kind == "update":
        return partial(_update, optimizer, rule)
    return FORMULAS[network.layers[int(rule.layer)].kind][rule.name.part]


def _relu(x: Array) -> Proven:
    """max(x, 0): a selection."""
    return Proven(np.where(x > 0, x, 0.0))


def _relu_backward(x: Array, dy: Array) -> Proven:
    """dy where x > 0, else 0."""
    return Proven(np.where(x > 0, dy, 0.0))


FORMULAS: dict[str, dict[str, Callable[..., Proven]]] = {
    "linear": {
        "output": lambda x, w, b=None: dyadic.product(x, w, b),
        "grad_weight": lambda x, dy: dyadic.product(dy.T, x.T),
        "grad_bias": dyadic.column_sums,
        "grad_input": lambda w, dy: dyadic.product(dy, w.T),
    },
    "relu": {"output": _relu, "grad_input": _relu_backward},
}


def _loss(network: Architecture, y: Array, t: Array) -> Proven:
    """sum (y - t)^2 over the count, and half of it for the half squared error; squares summed before or after."""
    d = dyadic.combination((1, y), (-1, t))
    squares = dyadic.square_sum(d.value)
    factor = _half(network) / _count(network, len(y))
    value = dyadic.scaled(squares.value, factor)
    each = Need(value.worst.size, 2 * dyadic.lowest_bit(d.value) + dyadic.lowest_bit(factor))
    return Proven(value.value, (*d.needs, *squares.needs, *value.needs, each))


def _loss_backward(network: Architecture, y: Array, t: Array) -> Proven:
    """y - t over the count, and twice that for the mean squared error."""
    d = dyadic.combination((1, y), (-1, t))
    value = dyadic.scaled(d.value, _gradient_factor(network, len(y)))
    return Proven(value.value, (*d.needs, *value.needs))


def _gradient_factor(network: Architecture, m: int) -> float:
    return 2 * _half(network) / _count(network, m)


def _half(network: Architecture) -> float:
    assert isinstance(network.loss, SquaredError)
    return network.loss.half


def _update(optimizer: OptimizerSpec, rule: Rule, before: Array, g: Array, buffer: Array | None = None) -> Proven:
    """SGD: g + wd p; v = mu v + (1 - dampening) g, or g at the first step; p - lr v, or p - lr (g + mu v)."""
    options = {name: float(c) for name, c in optimizer.options.items()}
    mu, decay = options.get("momentum", 0.0), options.get("weight_decay", 0.0)
    decayed = dyadic.combination((1, g), (decay, before))
    v = decayed
    if mu and buffer is not None:
        v = dyadic.combination((mu, buffer), (1 - options.get("dampening", 0.0), decayed.value))
    direction = dyadic.combination((1, decayed.value), (mu, v.value)) if options.get("nesterov") else v
    after = dyadic.combination((1, before), (-options["lr"], direction.value))
    needs = (*decayed.needs, *v.needs, *direction.needs, *after.needs)
    return Proven(v.value if rule.name.state else after.value, needs)


# --- drawing numbers for which the proof succeeds ---------------------------------------------------------------------


def draw(
    network: Architecture,
    optimizer: OptimizerSpec = DEFAULT,
    dtype: DTypeLike = np.float32,
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    seed: int = 0,
) -> ExactCase:
    """Weights and batches, as dense as the dtype's digits allow, and the proof that all `steps` steps are exact.

    Weights, biases and inputs are small integers; each target is the output less a small error, so that the losses
    and gradients stay small too: errors are multiples of 2^-k / (lr c), c the loss's factor, and updates then
    multiples of 2^-k, k = 0. The first draw is taken in which half of all gradient elements are not zero, or else, of
    what can be proven, the one that has most; every parameter must have a gradient that is not all zero, or the check
    would be vacuous. NotExact where no such draw can be proven.
    """
    if steps < 1 or batch < 1:
        raise ValueError(f"got {steps} steps of {batch} rows, expected at least 1 of each")
    sizes = [batch if step % 2 == 0 else (batch + 1) // 2 for step in range(steps)]
    expect_rational(network, optimizer, sizes)
    best: ExactCase | None = None
    tries = 1 if sum(map(math.prod, network.parameters().values())) > WIDE else TRIES
    for density in DENSITIES:
        for attempt in range(tries):
            try:
                drawn = _Draw(network, optimizer, np.dtype(dtype), density, np.random.default_rng((seed, attempt)))
                case = drawn.steps(sizes)
            except NotExact as error:
                refusal = error
                continue
            if case.dead:
                refusal = NotExact(f"in what can be proven in {np.dtype(dtype)}, {case.dead[0]} has no gradient but 0")
                continue
            best = case if best is None else max(best, case, key=lambda c: c.proof.alive)
            if best.proof.alive >= ALIVE:
                return best
    if best is None:
        raise refusal
    return best


@dataclass
class _Draw:
    """One draw of a given density, computed step by step with its proof."""

    network: Architecture
    optimizer: OptimizerSpec
    dtype: np.dtype[Any]
    density: Density
    rng: np.random.Generator
    needs: dict[tuple[int, str], Need] = field(default_factory=dict)

    def steps(self, sizes: Sequence[int]) -> ExactCase:
        """The case. NotExact naming the first sum that is too large."""
        weights = self._weights()
        known, batches = dict(weights), []
        gradients: dict[tuple[int, str], Array] = {}
        for step, m in enumerate(sizes, start=1):
            values = known | {"input": self._inputs(m)}
            self._step(step, values)
            batches.append((values["input"].astype(self.dtype), values["target"].astype(self.dtype)))
            gradients |= {(step, n): values[TensorName(n).gradient] for n in weights}
            known = left_behind(values)
        dead = [name for name in weights if not any(gradients[step, name].any() for step in range(1, len(sizes) + 1))]
        alive = float(np.mean(np.concatenate([g.ravel() != 0 for g in gradients.values()])))
        typed = {name: a.astype(self.dtype) for name, a in weights.items()}
        return ExactCase(typed, batches, Proof(self.dtype, self.needs, alive), dead)

    def _step(self, step: int, values: dict[str, Array]) -> None:
        """Every tensor of a training step into `values`, in order of execution; the target once the output is known."""
        last = f"{len(self.network.layers) - 1}.output"
        for rule in rules(self.network, self.optimizer, step, ()):
            proven = formula(self.network, self.optimizer, rule)(*(values[s] for s in rule.sources))
            self._expect_fit(step, rule, proven)
            values[rule.name] = proven.value
            if rule.name == last:
                values["target"] = self._target(proven.value)

    def _expect_fit(self, step: int, rule: Rule, proven: Proven) -> None:
        self.needs[step, rule.name] = proven.worst
        if not proven.fits(self.dtype):
            layer = "the loss" if rule.layer == "loss" else str(self.network.layers[int(rule.layer)])
            raise NotExact(
                f"step {step}, {rule.name} ({layer}): its sums need {proven.worst.bits:.0f} bits and {self.dtype} has "
                f"{_digits(self.dtype)}, with only {self.density}; take fewer steps, fewer layers"
                + ("" if self.dtype == np.float64 else ", or float64")
            )

    def _weights(self) -> dict[str, Array]:
        """A matrix as a sparse weight, anything else as a bias."""
        shapes = self.network.parameters()
        return {name: self._weight(*shape) if len(shape) == 2 else self._bias(*shape) for name, shape in shapes.items()}

    def _weight(self, rows: int, columns: int) -> Array:
        """A few nonzero integers a row, in columns dealt out like cards, so that every column is used early."""
        each = min(self.density.weights, columns)
        hands = math.ceil(rows * each / columns)
        deck = np.concatenate([self.rng.permutation(columns) for _ in range(hands)])[: rows * each]
        weight = np.zeros((rows, columns))
        plus = 1 / 2 if each > 4 else 2 / 3  # in a deep, sparse ReLU network something then lives
        weight[np.repeat(np.arange(rows), each), deck] = self._integers(deck.shape, self.density.largest_weight, plus)
        return weight

    def _bias(self, n: int) -> Array:
        """Integers from -1 to 2: more units of a ReLU live than die."""
        return self.rng.integers(-1, 3, n).astype(np.float64)

    def _inputs(self, m: int) -> Array:
        n = self.network.sizes[0]
        return self._sparse((m, n), self.density.inputs, self.density.largest_input)

    def _target(self, y: Array) -> Array:
        """y - d, so that the loss and every gradient follow from the small d that is drawn."""
        factor = _gradient_factor(self.network, len(y)) * (float(self.optimizer.options["lr"]) or 1.0)
        unit = 2.0 ** -math.floor(math.log2(factor))
        return y - unit * self._sparse(y.shape, self.density.errors, self.density.largest_weight)

    def _sparse(self, shape: tuple[int, int], share: float, largest: int) -> Array:
        """Integers from -largest to largest, this share of them not zero, at least one."""
        a = np.zeros(math.prod(shape))
        there = self.rng.permutation(a.size)[: max(1, round(share * a.size))]
        a[there] = self._integers(there.shape, largest)
        return a.reshape(shape)

    def _integers(self, shape: tuple[int, ...], largest: int, plus: float = 1 / 2) -> Array:
        """1 to largest, with a plus sign in this share of them."""
        signs = np.where(self.rng.random(shape) < plus, 1.0, -1.0)
        return signs * self.rng.integers(1, largest + 1, shape)


def _digits(dtype: np.dtype[Any]) -> int:
    return np.finfo(dtype).nmant + 1


# --- the candidate ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    """A copy of the candidate's network, loss and optimiser in one dtype, of either side."""

    network: Any
    loss: Any
    optimizer: Any
    dtype: np.dtype[Any]

    @classmethod
    def of(
        cls, network: Any, loss: Any, optimizer: Any, architecture: Architecture, dtype: DTypeLike | None
    ) -> _Candidate:
        """TypeError for a network that is neither scratch nor torch, ValueError for an optimiser already used.

        NotExact for a text with a layer other than Linear and ReLU.
        """
        if isinstance(network, str | Architecture):
            expect_rational(architecture, DEFAULT, ())
            rng = np.random.default_rng(0)
            network = in_order(*(layer.to_scratch(rng=rng) for layer in architecture.layers))
            loss = architecture.loss.to_scratch()
        if not isinstance(network, scratch.Sequential | nn.Module):
            raise TypeError(f"got {type(network).__name__}, expected a scratch or torch network, or a text")
        network, loss, optimizer = copy.deepcopy((network, loss, optimizer))
        own = next((p.dtype for p in _parameters(network).values()), np.dtype(np.float32))
        wanted = Precision.of(own if dtype is None else dtype).dtype
        _cast(network, wanted)
        if optimizer is None or isinstance(optimizer, OptimizerSpec):
            optimizer = _sgd(network, optimizer or DEFAULT)
        if any(optimizer.state.values()):
            raise ValueError("the optimiser has taken steps already, expected a fresh one")
        return cls(network, loss, optimizer, wanted)

    @property
    def spec(self) -> OptimizerSpec:
        return OptimizerSpec.of(self.optimizer)

    def run(self, case: ExactCase) -> list[Record]:
        """The training steps of the case, recorded."""
        for name, p in _parameters(self.network).items():
            p[...] = case.weights[name]
        side = record_torch if isinstance(self.network, nn.Module) else record_scratch
        return side(self.network, self.loss, self.optimizer, case.batches)


def _parameters(network: Any) -> dict[str, Array]:
    """Record name -> the live array of every parameter; torch's as NumPy views of the same memory."""
    return {n: p.detach().numpy() if isinstance(p, nn.Parameter) else p for n, p in named_parameters(network).items()}


def _cast(network: Any, dtype: np.dtype[Any]) -> None:
    if isinstance(network, nn.Module):
        network.to("cpu", getattr(torch, dtype.name))
        return
    for layer in flatten(network):
        layer.params = {name: p.astype(dtype) for name, p in layer.params.items()}
        if hasattr(layer, "dtype"):
            layer.dtype = dtype


def _sgd(network: Any, spec: OptimizerSpec) -> Any:
    _expect_dyadic(spec)
    options: dict[str, Any] = dict(spec.options)
    if isinstance(network, nn.Module):
        return torch.optim.SGD(network.parameters(), **options)
    return scratch.SGD(network, **options)


# --- judging ----------------------------------------------------------------------------------------------------------


def exact_rule(record: Record, rule: Rule) -> Rule:
    """The rule with the exact computation; an allowance of 0 where the proof holds on these operands, else none."""
    assert record.optimizer is not None
    compute = formula(record.network, record.optimizer, rule)

    def exactly(*sources: Array, p: Precision) -> Expected:
        proven = compute(*sources)
        allowed = 0.0 if proven.fits(p.dtype) else math.inf
        return Expected(proven.value, Allowance(np.full(proven.value.shape, allowed)))

    return replace(rule, compute=exactly)
