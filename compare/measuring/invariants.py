"""Invariants: what every correct network obeys, whatever its numbers, so that no second implementation is needed.

Doubling the upstream gradient doubles every gradient, bit for bit. Permuting the batch permutes rows. A batch split in
two sums to the whole. Shifting logits leaves softmax and its loss. u . (J v) = (J^T u) . v. Each is checked on one
layer at a time, on the candidate's own arrays: two correct computations from the same operands may differ by the sum of
both allowances (tolerance.py), and by nothing else.

    for found in invariants(network, loss, x, t):
        print(found)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import scratch
from compare.measuring.linearisation import Tangent, along, loss_along, weight_tangent
from compare.network.architecture import Architecture, flatten
from compare.numbers.allowance import Precision, gamma
from compare.numbers.expected import Expected
from compare.operations.cross_entropy import CrossEntropy
from compare.operations.operation import Layer
from compare.operations.softmax import Softmax
from compare.operations.squared_error import SquaredError

Array = NDArray[Any]
Arrays = dict[str, Array]

SHIFTS = (-32.0, 32.0)  # where a row's maximum is shifted to: an epsilon beside e^-32 = 1e-14 shows
DOUBLE = Precision.of(np.float64)


@dataclass(frozen=True)
class Invariant:
    """One invariant of one tensor: the largest difference over what is allowed, and what should be equal.

    status: ok, off, or not checked (with the reason in `explanation`).
    """

    name: str
    layer: str
    tensor: str
    ratio: float
    status: str
    explanation: str

    def __str__(self) -> str:
        return f"{self.status}: {self.name}, {self.tensor}: {self.explanation} (ratio {self.ratio:.2g})"


def invariants(
    network: scratch.Sequential, loss: scratch.Loss, x: Array, t: Array, *, seed: int = 0
) -> list[Invariant]:
    """All invariants of a candidate on inputs x (m, in) and targets t; directions and orders are drawn from `seed`.

    The candidate is not changed: it is copied. What is not finite, or has one row where two are needed, is reported
    as not checked. TypeError or ValueError as `Architecture.of`; what the candidate's own code raises is passed on.
    """
    with np.errstate(all="ignore"):
        run = _Run.of(network, loss, np.asarray(x), np.asarray(t))
        rng = np.random.default_rng(seed)
        checks = (_doubling, _permutation, _split, _shift, _adjoint)
        return [found for check in checks for found in check(run, rng)]


# --- a candidate's run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """One layer of the candidate, with what entered it on the way forward and on the way back."""

    k: int
    spec: Layer
    layer: Any
    x: Array
    dy: Array
    p: Precision

    @property
    def kind(self) -> str:
        return self.spec.kind

    def apply(self, x: Array, dy: Array) -> Arrays:
        """output, grad_input, grad_weight, ...: what the candidate's layer makes of these rows."""
        y = np.array(self.layer.forward(x.copy()))
        dx = np.array(self.layer.backward(dy.copy()))
        made = {"output": y, "grad_input": dx} | {f"grad_{n}": np.array(self.layer.grads[n]) for n in self.layer.params}
        shapes = {"output": dy.shape, "grad_input": x.shape}
        shapes |= {f"grad_{n}": p.shape for n, p in self.layer.params.items()}
        for name, a in made.items():
            if a.shape != shapes[name]:
                raise ValueError(f"layer {self.k} ({self.layer}): {name} has shape {a.shape}, expected {shapes[name]}")
        return made

    def expected(self, x: Array, dy: Array) -> dict[str, Expected]:
        """The allowance of each of them, for a correct layer on the same operands; none where it may overflow."""
        return {name: _limited(e, self.reach(name, x, dy), self.p) for name, e in self._expected(x, dy).items()}

    @cached_property
    def own(self) -> dict[str, Expected]:
        """The allowances on its own operands."""
        return self.expected(self.x, self.dy)

    def _expected(self, x: Array, dy: Array) -> dict[str, Expected]:
        x, dy, params = _double(x), _double(dy), {n: _double(p) for n, p in self.layer.params.items()}
        letters = {"input": x, "grad_output": dy, **params}
        found = {}
        for part in self.spec.computed:
            needed = (letters[self.spec.letters[letter]] for letter in self.spec.computed[part].letters)
            found[part] = getattr(self.spec, part)(*needed, p=self.p)
        return found

    def reach(self, tensor: str, x: Array, dy: Array) -> float:
        """A bound on every number on the way to a tensor: terms times the largest product."""
        x_size, dy_size = _size(x), _size(dy)
        w_size, b_size = (_size(self.layer.params.get(n, np.zeros(1))) for n in ("weight", "bias"))
        if self.kind != "linear":
            return x_size if tensor == "output" else dy_size * dy.shape[1] * 2
        terms = {"output": x.shape[1] * x_size * w_size + b_size, "grad_input": dy.shape[1] * dy_size * w_size}
        terms |= {"grad_weight": len(dy) * x_size * dy_size, "grad_bias": len(dy) * dy_size}
        return terms[tensor]


@dataclass(frozen=True)
class _Run:
    """The candidate's own arrays on one batch: layers with their operands, the output and its gradient."""

    network: scratch.Sequential
    loss: scratch.Loss
    architecture: Architecture
    layers: list[_Layer]
    x: Array
    y: Array
    t: Array
    dy: Array
    value: float

    @classmethod
    def of(cls, network: scratch.Sequential, loss: scratch.Loss, x: Array, t: Array) -> _Run:
        if not isinstance(network, scratch.Sequential):
            raise TypeError(f"got {type(network).__name__}, expected a scratch.Sequential")
        architecture = Architecture.of(network, loss)
        network, loss = copy.deepcopy((network, loss))
        leaves = flatten(network)
        entering = [np.array(x)]
        for leaf in leaves:
            entering.append(np.array(leaf.forward(entering[-1].copy())))
        value = float(loss.forward(entering[-1].copy(), t))
        upstream = [np.array(loss.backward())]
        for leaf in reversed(leaves):
            upstream.append(np.array(leaf.backward(upstream[-1].copy())))
        upstream.reverse()
        layers = [
            _Layer(k, spec, leaf, entering[k], upstream[k + 1], Precision.of(x.dtype))
            for k, (spec, leaf) in enumerate(zip(architecture.layers, leaves, strict=True))
        ]
        return cls(network, loss, architecture, layers, x, entering[-1], t, upstream[-1], value)

    @property
    def p(self) -> Precision:
        return Precision.of(self.x.dtype)

    def loss_of(self, y: Array, t: Array) -> Arrays:
        """loss and grad_output of these rows, by the candidate's loss."""
        value = np.array(self.loss.forward(y.copy(), t))
        return {"loss": value, "grad_output": np.array(self.loss.backward())}

    def expected_loss(self, y: Array, t: Array) -> dict[str, Expected]:
        """The allowances of both; none where a square may overflow."""
        y = _double(y)
        t = _double(t) if t.dtype.kind == "f" else t
        squares = isinstance(self.architecture.loss, SquaredError)
        reach = 2 * y.size * (_size(y) + _size(t)) ** (2 if squares else 1)
        found = {
            "loss": self.architecture.loss.loss(y, t, self.p),
            "grad_output": self.architecture.loss.gradient(y, t, self.p),
        }
        return {name: _limited(e, reach, self.p) for name, e in found.items()}


def _double(a: Array) -> Array:
    return np.asarray(a, np.float64)


def _size(a: Array) -> float:
    return float(np.max(np.abs(_double(a)), initial=0.0))


def _limited(expected: Expected, reach: float, p: Precision) -> Expected:
    """The same, but without bound where numbers on the way may come near the largest one, or are not finite."""
    own, near = expected.allowance, ~(np.abs(expected.value) < p.largest / (8 * expected.headroom))
    if reach < p.largest / 8 and not near.any():
        return expected
    near = near if reach < p.largest / 8 else np.ones_like(near)
    return Expected(expected.value, own.unbounded_at(near))


# --- judging two computations of one thing ----------------------------------------------------------------------------


def _compare(
    name: str,
    explanation: str,
    layer: str,
    tensor: str,
    difference: Array,
    computed: Sequence[tuple[Array | float, Expected]],
    more: Array | float = 0.0,
) -> Invariant:
    """|difference| <= sum of weight x allowance over the computations that enter it, plus `more`, elementwise.

    The sharp allowances are tried first; where they are exceeded, each is taken only where its sums are seen to be
    well-behaved (tolerance.Allowance).
    """
    found = np.abs(np.asarray(difference, np.float64))
    own = [(c, e.allowance) for c, e in computed]
    allowed = sum(c * (a.wide if a.sharp is None else a.sharp) for c, a in own) + more
    if not np.all(found <= allowed):
        allowed = sum(c * a.bound() for c, a in own) + more
    return _judged(name, explanation, layer, tensor, found, np.broadcast_to(allowed, found.shape))


def _judged(name: str, explanation: str, layer: str, tensor: str, found: Array, allowed: Array) -> Invariant:
    """The row from differences and bounds; where a bound is not finite, nothing can be said."""
    full = f"{layer}.{tensor}" if layer.isdigit() else tensor
    decided = np.isfinite(allowed)
    if not decided.any():
        return Invariant(name, layer, full, 0.0, "not checked", "nothing here is finite")
    ratio = np.where(found == 0, 0.0, found / allowed)[decided]
    worst = float(np.max(np.where(np.isnan(ratio), np.inf, ratio), initial=0.0))
    return Invariant(name, layer, full, worst, "off" if worst > 1 else "ok", explanation)


def _skipped(name: str, layer: str, tensor: str, why: str) -> Invariant:
    return Invariant(name, layer, f"{layer}.{tensor}" if layer.isdigit() else tensor, 0.0, "not checked", why)


def _finite(*arrays: Array) -> bool:
    return all(bool(np.isfinite(a).all()) for a in arrays)


# --- doubling ---------------------------------------------------------------------------------------------------------

DOUBLING = "twice the upstream gradient gives twice the gradient, bit for bit"


def _doubling(run: _Run, rng: np.random.Generator) -> Iterator[Invariant]:
    """backward(2 dy) = 2 backward(dy): rounding commutes with a factor of 2 while nothing leaves the normal numbers.

    An element is held to it bit for bit only where no product on its way can be below 2^p times the smallest normal
    number (p digits: then also what a fused multiply-add rounds stays above the subnormal numbers; sums themselves do
    not underflow), or overflow. Elsewhere both results need only be right: the sum of their allowances.
    """
    safe_before = True
    for at in run.layers:
        twice, once = at.apply(at.x, 2 * at.dy), at.apply(at.x, at.dy)  # so: a gradient that is added up shows
        expected, expected_twice = at.own, at.expected(at.x, 2 * at.dy)
        for tensor in (n for n in once if n != "output"):
            safe = _away_from_underflow(at, tensor, once["output"], once[tensor].shape)
            safe_before = safe_before and bool(safe.all())
            difference = _double(twice[tensor]) - 2 * _double(once[tensor])
            yield _doubled(at, tensor, difference, safe, expected[tensor], expected_twice[tensor])
    yield _doubled_whole(run, safe_before)


def _doubled(at: _Layer, tensor: str, difference: Array, safe: Array, once: Expected, twice: Expected) -> Invariant:
    allowed = np.where(safe, 0.0, 2 * once.allowance.wide + twice.allowance.wide)
    allowed = np.where(np.isfinite(twice.allowance.wide), allowed, np.inf)
    return _judged("doubling", DOUBLING, str(at.k), tensor, np.abs(difference), allowed)


def _away_from_underflow(at: _Layer, tensor: str, y: Array, shape: tuple[int, ...]) -> Array:
    """Where every product that can enter an element is 0 or at least 2^p times the smallest normal number.

    The smallest product of a sum is at least the smallest |a| times the smallest |b| among its nonzero factors.
    """
    floor = at.p.normal * 2.0 ** (np.finfo(at.p.dtype).nmant + 1)
    dy = np.abs(_double(at.dy))
    if tensor == "grad_bias" or at.kind == "relu":
        return np.ones(shape, bool)  # no products
    if tensor == "grad_weight":
        return np.outer(_least(dy, 0), _least(np.abs(_double(at.x)), 0)) >= floor
    if at.kind == "linear":
        return np.outer(_least(dy, 1), _least(np.abs(_double(at.layer.params["weight"])), 0)) >= floor
    return _activation_away(at.kind, dy, _double(y), floor)


def _least(a: Array, axis: int) -> Array:
    """The smallest nonzero element along an axis; inf where all are 0."""
    return np.where(a == 0, np.inf, a).min(axis=axis, initial=np.inf)


def _activation_away(kind: str, dy: Array, y: Array, floor: float) -> Array:
    """sigmoid: dy y (1 - y), in any order; tanh: dy (1 - y^2); softmax: y_k (dy_k - sum dy_j y_j), or its Jacobian."""
    if kind == "softmax":
        products = _least(dy, 1) * _least(y, 1)
        differences = np.abs(dy - (dy * y).sum(axis=1, keepdims=True))
        least = np.minimum(products * _least(y, 1), _least(y, 1) * np.minimum(1, _least(differences, 1)))
        return np.broadcast_to(least[:, np.newaxis] >= floor, y.shape)
    if kind not in ("sigmoid", "tanh"):
        return np.zeros(y.shape, bool)  # nothing is known of its products
    slope = y * (1 - y) if kind == "sigmoid" else 1 - y * y
    tiny = np.where(dy == 0, np.inf, dy * np.minimum(slope, slope * slope))
    return (tiny >= floor) | (dy == 0)


def _doubled_whole(run: _Run, safe: bool) -> Invariant:
    """The same through the whole network, where no layer is near under- or overflow."""
    if not safe:
        return _skipped("doubling", "network", "gradients", "a product may underflow on the way")
    run.network.forward(run.x.copy())
    once = {"input": run.network.backward(run.dy.copy()).copy()} | {n: g.copy() for n, g in run.network.grads.items()}
    twice = {"input": run.network.backward(2 * run.dy)} | run.network.grads
    finite = _finite(*once.values()) and all(np.abs(g).max(initial=0) < run.p.largest / 2**40 for g in once.values())
    if not finite:
        return _skipped("doubling", "network", "gradients", "a gradient is not finite, or may overflow")
    wrong = np.concatenate([np.abs(_double(twice[n]) - 2 * _double(g)).ravel() for n, g in once.items()])
    return _judged("doubling", DOUBLING, "network", "gradients", wrong, np.zeros_like(wrong))


# --- permuting and splitting the batch --------------------------------------------------------------------------------


def _permutation(run: _Run, rng: np.random.Generator) -> Iterator[Invariant]:
    """Rows in another order: outputs and input gradients in that order, parameter gradients and loss as they were.

    Not bit for bit: a matrix product may sum a row differently at another place. Both are right, each within its own
    allowance.
    """
    cycle = rng.permutation(len(run.x))
    order = np.empty_like(cycle)
    order[cycle] = np.roll(cycle, 1)  # one cycle: every row moves
    rows, same = "permuting the batch permutes the rows", "permuting the batch leaves the sum over it"
    for at in run.layers:
        x, dy = at.x[order], at.dy[order]
        whole, expected = at.apply(at.x, at.dy), at.own
        moved, expected_moved = at.apply(x, dy), at.expected(x, dy)
        for tensor, a in whole.items():
            row = tensor in ("output", "grad_input")
            b, explanation = (a[order], rows) if row else (a, same)
            parts = [(1.0, _rows(expected[tensor], order) if row else expected[tensor]), (1.0, expected_moved[tensor])]
            yield _compare("permutation", explanation, str(at.k), tensor, _minus(moved[tensor], b), parts)
    whole, expected = run.loss_of(run.y, run.t), run.expected_loss(run.y, run.t)
    moved, expected_moved = run.loss_of(run.y[order], run.t[order]), run.expected_loss(run.y[order], run.t[order])
    compare = partial(_compare, "permutation")
    parts = [(1.0, expected["loss"]), (1.0, expected_moved["loss"])]
    yield compare(same, "loss", "loss", _minus(moved["loss"], whole["loss"]), parts)
    parts = [(1.0, _rows(expected["grad_output"], order)), (1.0, expected_moved["grad_output"])]
    yield compare(rows, "loss", "grad_output", _minus(moved["grad_output"], whole["grad_output"][order]), parts)


def _minus(a: Array, b: Array) -> Array:
    """a - b in float64; NaN where the shapes differ: nothing is broadcast."""
    a, b = _double(a), _double(b)
    return a - b if a.shape == b.shape else np.full(b.shape, np.nan)


def _rows(expected: Expected, rows: Any) -> Expected:
    """The allowance of these rows of a tensor."""
    return Expected(expected.value[rows], expected.allowance.rows(rows))


HALF_ROWS = "each half gives its rows of the whole"


def _split(run: _Run, rng: np.random.Generator) -> Iterator[Invariant]:
    """The first rows and the last ones alone: their outputs are the whole's rows, their parameter gradients its parts.

    A mean over the batch is a mean of the parts' means, weighted with their rows.
    """
    m = len(run.x)
    if m < 2:
        yield _skipped("split", "network", "batch", "one row cannot be split")
        return
    cut = int(rng.integers(1, m))
    parts = (slice(0, cut), slice(cut, m))
    for at in run.layers:
        whole, expected = at.apply(at.x, at.dy), at.own
        halves = [(at.apply(at.x[s], at.dy[s]), at.expected(at.x[s], at.dy[s])) for s in parts]
        for tensor in whole:
            join = _joined if tensor in ("output", "grad_input") else _added
            yield join(at, tensor, whole[tensor], expected[tensor], halves)
    yield from _split_loss(run, parts)


def _joined(
    at: _Layer, tensor: str, whole: Array, expected: Expected, halves: Sequence[tuple[Arrays, dict[str, Expected]]]
) -> Invariant:
    """The halves' rows one below the other are the whole."""
    rows = np.concatenate([_double(half[tensor]) for half, _ in halves])
    wide = np.concatenate([e[tensor].allowance.bound() for _, e in halves])
    difference = _minus(rows, whole)
    return _compare("split", HALF_ROWS, str(at.k), tensor, difference, [(1.0, expected)], wide)


def _added(
    at: _Layer, tensor: str, whole: Array, expected: Expected, halves: Sequence[tuple[Arrays, dict[str, Expected]]]
) -> Invariant:
    """The halves' sum is the whole; the addition here, in float64, adds 2 u of it."""
    terms = [_double(half[tensor]) for half, _ in halves]
    computed = [(1.0, expected), *((1.0, e[tensor]) for _, e in halves)]
    more = 2 * DOUBLE.u * np.abs(terms).sum(axis=0)
    difference = _minus(np.sum(terms, axis=0), whole)
    return _compare("split", "the halves' gradients sum to the whole's", str(at.k), tensor, difference, computed, more)


def _split_loss(run: _Run, parts: Sequence[slice]) -> Iterator[Invariant]:
    whole, expected = run.loss_of(run.y, run.t), run.expected_loss(run.y, run.t)
    values, gradients = [], []
    computed: list[tuple[Array | float, Expected]] = [(1.0, expected["loss"])]
    wide = []
    for s in parts:
        y, t = run.y[s], run.t[s]
        share = len(y) / len(run.y) if run.loss.reduction != "sum" else 1.0
        half, half_expected = run.loss_of(y, t), run.expected_loss(y, t)
        values.append(share * float(half["loss"]))
        gradients.append(share * _double(half["grad_output"]))
        computed.append((share, half_expected["loss"]))
        wide.append(share * half_expected["grad_output"].allowance.bound())
    more = 4 * DOUBLE.u * sum(map(abs, values))
    difference = _minus(np.asarray(sum(values)), whole["loss"])
    yield _compare("split", "the halves' losses sum to the whole's", "loss", "loss", difference, computed, more)
    rows = np.concatenate(gradients)
    allowed = np.concatenate(wide) + 4 * DOUBLE.u * np.abs(rows)
    difference = _minus(rows, whole["grad_output"])
    yield _compare("split", HALF_ROWS, "loss", "grad_output", difference, [(1.0, expected["grad_output"])], allowed)


# --- shifting logits --------------------------------------------------------------------------------------------------


def _shift(run: _Run, rng: np.random.Generator) -> Iterator[Invariant]:
    """softmax(s + c) = softmax(s) for one c a row, so its loss is the same, and gradients sum to 0 over each row.

    s' = fl(s + c) is moved by d = s' - s - c, known exactly; that moves log softmax_k by at most |d_k| + sum_j p_j
    e^|d_j| |d_j|, which is allowed beside the allowances of both computations. An unshifted softmax, which is correct
    too, may lose n of the smallest numbers over e^max more.
    """
    for at in run.layers:
        if at.kind == "softmax":
            yield from _shifted_softmax(at)
    if isinstance(run.architecture.loss, CrossEntropy):
        yield from _shifted_loss(run)


def _shifted(s: Array, to: float) -> tuple[Array, Array]:
    """(s', |d|): every row's maximum moved to about `to`, in the dtype of s, and by how much the rounding moved it."""
    c = (to - s.max(axis=1, keepdims=True)).astype(s.dtype)
    moved = s + c
    back = moved - c  # two-sum: s + c = moved + error, exactly
    error = (s - back) + (c - (moved - back))
    return moved, np.abs(_double(error))


def _moved(d: Array, p: Array) -> Array:
    """How far log softmax can have moved with d: |d_k| + sum p_j e^|d_j| |d_j|."""
    moved: Array = d + (p * np.exp(np.minimum(d, 700)) * d).sum(axis=1, keepdims=True)
    return moved


def _shifted_softmax(at: _Layer) -> Iterator[Invariant]:
    if not _finite(at.x):
        yield _skipped("shift", str(at.k), "output", "a logit is not finite")
        return
    once, expected = at.apply(at.x, at.dy), at.own
    explanation = "a constant added to a row of logits leaves its softmax"
    for to in SHIFTS:
        s, d = _shifted(at.x, to)
        y, bound = at.apply(s, at.dy)["output"], at.expected(s, at.dy)["output"]
        carried = expected["output"].value * np.expm1(np.minimum(_moved(d, expected["output"].value), 700))
        unshifted = 2 * s.shape[1] * at.p.subnormal * np.exp(-_double(s).max(axis=1, keepdims=True))
        parts = [(1.0, expected["output"]), (1.0, bound)]
        yield _compare("shift", explanation, str(at.k), "output", _minus(y, once["output"]), parts, carried + unshifted)
    yield _rows_sum_to_zero(str(at.k), "grad_input", once["grad_input"], expected["grad_input"])


def _rows_sum_to_zero(layer: str, tensor: str, dx: Array, expected: Expected) -> Invariant:
    """dL/ds . (1, ..., 1) = 0: the derivative along the shift."""
    allowed = expected.allowance.wide.sum(axis=1) + gamma(dx.shape[1], DOUBLE.u) * np.abs(_double(dx)).sum(axis=1)
    explanation = "logits can be shifted, so their gradient sums to 0 over each row"
    return _judged("shift", explanation, layer, tensor, np.abs(_double(dx).sum(axis=1)), allowed)


def _shifted_loss(run: _Run) -> Iterator[Invariant]:
    if not _finite(run.y):
        yield _skipped("shift", "loss", "loss", "a logit is not finite")
        return
    once, expected = run.loss_of(run.y, run.t), run.expected_loss(run.y, run.t)
    t = np.eye(run.y.shape[1])[run.t] if run.t.ndim == 1 else _double(run.t)
    p = Softmax().apply(_double(run.y))
    count = len(run.y) if run.loss.reduction != "sum" else 1
    for to in SHIFTS:
        s, d = _shifted(run.y, to)
        moved, bounds = run.loss_of(s, run.t), run.expected_loss(s, run.t)
        log_moved = _moved(d, p)
        unshifted = 2 * s.shape[1] * run.p.subnormal * np.exp(-_double(s).max(axis=1, keepdims=True))
        more = (np.abs(t) * (log_moved + unshifted)).sum() / count
        difference = _minus(moved["loss"], once["loss"])
        explanation = "a constant added to a row of logits leaves the loss"
        parts = [(1.0, expected["loss"]), (1.0, bounds["loss"])]
        yield _compare("shift", explanation, "loss", "loss", difference, parts, more)
        weight = np.abs(t).sum(axis=1, keepdims=True)
        carried = (p * np.expm1(np.minimum(log_moved, 700)) + unshifted) * weight / count
        difference = _minus(moved["grad_output"], once["grad_output"])
        parts = [(1.0, expected["grad_output"]), (1.0, bounds["grad_output"])]
        yield _compare("shift", explanation + "'s gradient", "loss", "grad_output", difference, parts, carried)
    yield _rows_sum_to_zero("loss", "grad_output", once["grad_output"], expected["grad_output"])


# --- u . (J v) = (J^T u) . v ------------------------------------------------------------------------------------------

ADJOINT = "u . (J v) = (J^T u) . v"


def _adjoint(run: _Run, rng: np.random.Generator) -> Iterator[Invariant]:
    """For every layer with random u and v, and for the whole network.

    J v is the layer's own forward, linearised (linearisation.py); J^T u its backward. |u . (J v) - (J^T u) . v| is at
    most |u| . (error of J v) + (allowance of J^T u) . |v|, and the roundings of the two sums here.

    Through the network, v_k = J_k v_(k-1) and u_(k-1) = J_k^T u_k: u_n . v_n - u_0 . v_0 is the sum of the layers'
    differences u_k . v_k - u_(k-1) . v_(k-1), so it is within the sum of their bounds.
    """
    for at in run.layers:
        u = rng.standard_normal(at.dy.shape).astype(at.dy.dtype)
        v = rng.standard_normal(at.x.shape)
        yield _layer_adjoint(at, u, v)
        for name in at.layer.params:
            yield _weight_adjoint(at, name, u, rng)
    yield _network_adjoint(run, rng)
    yield _loss_derivative(run, rng)


def _pairing(at: _Layer, u: Array, tangent: Tangent) -> tuple[Array, Array, Array]:
    """(u . Jv - dx . v, its bound, dx), row by row: a layer treats each row alone."""
    got, expected = at.apply(at.x, u)["grad_input"], at.expected(at.x, u)["grad_input"]
    dx, wide, n = _double(got), _double(u), max(u.shape[1], got.shape[1])
    difference = (wide * tangent.out).sum(axis=1) - (dx * tangent.v).sum(axis=1)
    sizes = (np.abs(wide * tangent.out)).sum(axis=1) + np.abs(dx * tangent.v).sum(axis=1)
    inherited = (np.abs(wide) * tangent.error).sum(axis=1) + (expected.allowance.wide * np.abs(tangent.v)).sum(axis=1)
    return difference, inherited + gamma(n + 2, DOUBLE.u) * sizes, dx


def _layer_adjoint(at: _Layer, u: Array, v: Array) -> Invariant:
    if not _finite(at.x):
        return _skipped("adjoint", str(at.k), "grad_input", "an input of the layer is not finite")
    difference, allowed, _ = _pairing(at, u, along(at.spec, at.layer, _double(at.x), v))
    return _judged("adjoint", ADJOINT, str(at.k), "grad_input", np.abs(difference), allowed)


def _weight_adjoint(at: _Layer, name: str, u: Array, rng: np.random.Generator) -> Invariant:
    """u . (J_W V) = <dW, V>, for one row of W at a time: column i of y depends on row i of W alone."""
    tensor = f"grad_{name}"
    got, expected = at.apply(at.x, u)[tensor], at.expected(at.x, u)[tensor]
    direction = rng.standard_normal(at.layer.params[name].shape)
    tangent = weight_tangent(at.layer, name, _double(at.x), direction)
    dw, wide, n = _double(got).reshape(len(got), -1), _double(u), len(u) + direction.size // len(direction)
    if got.shape != direction.shape:
        return _judged("adjoint", ADJOINT, str(at.k), tensor, np.array(np.nan), np.array(0.0))
    v = direction.reshape(dw.shape)
    difference = (wide * tangent.out).sum(axis=0) - (dw * v).sum(axis=1)
    sizes = np.abs(wide * tangent.out).sum(axis=0) + np.abs(dw * v).sum(axis=1)
    allowance = expected.allowance.wide.reshape(dw.shape)
    allowed = (np.abs(wide) * tangent.error).sum(axis=0) + (allowance * np.abs(v)).sum(axis=1)
    allowed = allowed + gamma(n, DOUBLE.u) * sizes
    return _judged("adjoint", "u . (J V) = (J^T u) . V", str(at.k), tensor, np.abs(difference), allowed)


def _network_adjoint(run: _Run, rng: np.random.Generator) -> Invariant:
    """Both sides through the whole network; what a layer's linearisation leaves out of v (kinks) is taken off."""
    name, layer, tensor = "adjoint", "network", "grad_input"
    if not _finite(run.x, *(at.x for at in run.layers)):
        return _skipped(name, layer, tensor, "an activation is not finite")
    tangents, v = [], rng.standard_normal(run.x.shape)
    first = v
    for at in run.layers:
        tangents.append(along(at.spec, at.layer, _double(at.x), v))
        v = tangents[-1].out
    u = rng.standard_normal(run.y.shape).astype(run.y.dtype)
    run.network.forward(run.x.copy())
    whole = _double(run.network.backward(u.copy()))
    difference = (_double(u) * v).sum(axis=1) - (whole * first).sum(axis=1)
    allowed = gamma(whole.shape[1] + u.shape[1], DOUBLE.u) * (
        np.abs(_double(u) * v).sum(axis=1) + np.abs(whole * first).sum(axis=1)
    )
    for at, tangent in zip(reversed(run.layers), reversed(tangents), strict=True):
        _, bound, dx = _pairing(at, u, tangent)
        left = tangent.given - tangent.v
        difference = difference + (dx * left).sum(axis=1)
        allowed = allowed + bound + gamma(2 * dx.shape[1], DOUBLE.u) * np.abs(dx * left).sum(axis=1)
        u = dx.astype(u.dtype)
    return _judged(name, ADJOINT, layer, tensor, np.abs(difference), allowed)


def _loss_derivative(run: _Run, rng: np.random.Generator) -> Invariant:
    """The same for the loss, whose u is 1: dL . v along a random v, from the loss's values, is (dL/dy) . v."""
    explanation = "the gradient is the derivative of the loss that is reported"
    expected = run.expected_loss(run.y, run.t)["grad_output"]
    if not _finite(run.y, expected.allowance.wide):
        return _skipped("adjoint", "loss", "grad_output", "the output or the gradient is not finite, or may overflow")
    out, v, error = loss_along(run.architecture, run.loss, _double(run.y), run.t, rng.standard_normal(run.y.shape))
    terms = _double(run.dy) * v
    allowed = error + (expected.allowance.wide * np.abs(v)).sum() + gamma(v.size, DOUBLE.u) * np.abs(terms).sum()
    difference = np.array(abs(out - terms.sum()))
    return _judged("adjoint", explanation, "loss", "grad_output", difference, np.array(allowed))
