"""Baselines: the rules by which gradients are usually compared, on the very tensors that the checker judges.

Each is used as its users do: tensor by tensor against PyTorch from end to end in float64. The elementwise rule is
also tried in its strongest form, on the candidate's own bits, as the checker's own bounds are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compare.judging.judged_step import roots
from compare.judging.step import Rule, rules
from compare.network.masks import same_masks
from compare.network.tensor_name import TensorName
from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from compare.numbers.allowance import Precision
from compare.recording.batches import Batch
from compare.recording.record import Record
from compare.recording.torch_recorder import record_torch

Array = NDArray[Any]

ASSERT_CLOSE = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}  # rtol and atol of torch.testing.assert_close
COSINE, NORM_RATIO, ABSOLUTE, ELEMENTWISE = 0.99, 1e-6, 1e-12, 6.0
OWN_BITS = "elementwise, own bits"


def end_to_end(network: Any, loss: Any, optimizer: Any, batches: Sequence[Batch]) -> list[Record]:
    """The same training steps by PyTorch in float64, from copies of a scratch network's weights."""
    model = to_torch(network).to(torch.float64)
    theirs = to_torch_optimizer(optimizer, model)
    wide = [(_wide(x), _wide(t)) for x, t in batches]
    with same_masks(network, model):
        records = record_torch(model, to_torch_loss(loss, torch.float64), theirs, wide)
    for record in records:
        for k in range(len(record.network.layers)):
            for part, source in record.network.takes(k).items():
                record.tensors.setdefault(TensorName.of(k, part), record[source])
    return records


def first_alarms(candidate: Sequence[Record], reference: Sequence[Record]) -> dict[str, tuple[int, str] | None]:
    """By rule: (step, name) of the first tensor in order of execution that it rejects, None if it accepts all."""
    found: dict[str, tuple[int, str] | None] = {}
    for got, wanted in zip(candidate, reference, strict=False):
        scale_of_name = _Scales(wanted).__getitem__
        for name in execution_order(got):
            other = wanted.get(name)
            if name not in got or other is None:
                continue
            for rule, accepts in RULES.items():
                if rule not in found and not _judge(accepts, got[name], other, partial(scale_of_name, name)):
                    found[rule] = (got.step, name)
        for name, accepted in _own_bits(got, wanted) if OWN_BITS not in found else ():
            if not accepted:
                found.setdefault(OWN_BITS, (got.step, name))
    return {rule: found.get(rule) for rule in (*RULES, OWN_BITS)}


def execution_order(record: Record) -> list[str]:
    """Data, weights and state, then every tensor as it is computed."""
    return roots(record) + [rule.name for rule in rules(record.network, record.optimizer, record.step, record)]


def _wide(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


Scale = Callable[[], tuple[Array, int]]


def _judge(accepts: Callable[[Array, Array, str, Scale], bool], a: Array, b: Array, scale: Scale) -> bool:
    if a.shape != b.shape:
        return False
    with np.errstate(all="ignore"):
        x, y = _wide(np.asarray(a)), _wide(np.asarray(b))
        same = (np.isnan(x) & np.isnan(y)) | (x == y) if x.dtype.kind == "f" else x == y
        if bool(np.all(same)):
            return True
        return accepts(np.where(same, y, x), y, a.dtype.name, scale)


# --- the rules -------------------------------------------------------------------------------------------------------


def _within(a: Array, b: Array, relative: float, absolute: float) -> bool:
    return bool(np.all(np.abs(a - b) <= absolute + relative * np.abs(b)))


def _allclose(a: Array, b: Array, dtype: str, scale: Scale) -> bool:
    return _within(a, b, 1e-5, 1e-8)


def _assert_close(a: Array, b: Array, dtype: str, scale: Scale) -> bool:
    return _within(a, b, *ASSERT_CLOSE.get(dtype, (0.0, 0.0)))


def _cosine(a: Array, b: Array, dtype: str, scale: Scale) -> bool:
    x, y = _of_size_one(a), _of_size_one(b)
    return bool((x * y).sum() >= COSINE * np.linalg.norm(x) * np.linalg.norm(y))


def _of_size_one(a: Array) -> Array:
    """Scaled so that no square over- or underflows."""
    largest = np.abs(a).max(initial=0.0)
    scaled: Array = a / largest if 0 < largest < np.inf else a * 1.0
    return scaled


def _norm_ratio(a: Array, b: Array, dtype: str, scale: Scale) -> bool:
    largest = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    x, y = a / largest, b / largest
    return bool(np.linalg.norm(x - y) <= NORM_RATIO * (np.linalg.norm(x) + np.linalg.norm(y)))


def _absolute(a: Array, b: Array, dtype: str, scale: Scale) -> bool:
    return bool(np.all(np.abs(a - b) <= ABSOLUTE))


def _elementwise(a: Array, b: Array, dtype: str, scale: Scale) -> bool:
    if dtype not in ASSERT_CLOSE:
        return bool(np.array_equal(a, b))
    size, terms = scale()
    return bool(np.all(np.abs(a - b) <= ELEMENTWISE * np.sqrt(terms) * float(np.finfo(dtype).eps) / 2 * size))


RULES: dict[str, Callable[[Array, Array, str, Scale], bool]] = {
    "torch.allclose": _allclose,
    "torch.testing.assert_close": _assert_close,
    "cosine 0.99": _cosine,
    "norm ratio 1e-6": _norm_ratio,
    "absolute 1e-12": _absolute,
    "6 sqrt(n) u |A||B|": _elementwise,
}


# --- |A||B|: the sum of the sizes of all terms of an operation, and their number -------------------------------------


class _Scales(Mapping[str, tuple[Array, int]]):
    """Of a record's tensors; where an operation is no sum, the size of its terms before they cancel."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.known: dict[str, tuple[Array, int]] = {}
        self.rules: dict[str, Rule] = {r.name: r for r in rules(record.network, record.optimizer, record.step, record)}

    def __getitem__(self, name: str) -> tuple[Array, int]:
        if name not in self.known:
            with np.errstate(all="ignore"):
                self.known[name] = self._scale(name)
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def _scale(self, name: str) -> tuple[Array, int]:
        if name not in self.rules or self.rules[name].copies:
            return np.abs(_wide(self.record[name])), 1
        rule = self.rules[name]
        return scale_of(rule, self.record, [np.abs(_wide(self.record[s])) for s in rule.sources])


def scale_of(rule: Rule, record: Record, sizes: Sequence[Array]) -> tuple[Array, int]:
    """(the sizes of the terms summed up, how many they are) from the sizes of the rule's sources."""
    value = np.abs(_wide(record[rule.name]))
    layer, _, part = rule.name.partition(".")
    kind = record.network.layers[int(layer)].kind if layer.isdigit() else ""
    if rule.kind == "update":
        return value + (sizes[1] if "." in rule.name.partition(".new_")[2] else sizes[0]), 1
    if rule.name == "loss":
        return value, record[rule.sources[0]].size
    if rule.layer == "loss":
        return value + _target_share(record, sizes), 1
    if kind == "linear":
        return _product(part, sizes)
    if part == "grad_input" and kind in ("sigmoid", "tanh", "softmax"):
        y, dy = np.abs(_wide(record[f"{layer}.output"])), sizes[1]
        if kind == "softmax":
            return y * (dy + (dy * y).sum(axis=1, keepdims=True)), y.shape[1]
        return (y * dy if kind == "sigmoid" else (1 + y * y) * dy), 1
    return value, (value.shape[1] if kind == "softmax" else 1)


def _product(part: str, sizes: Sequence[Array]) -> tuple[Array, int]:
    if part == "output":
        x, weight = sizes[0], sizes[1]
        total = x @ weight.T
        return (total + sizes[2] if len(sizes) > 2 else total), x.shape[1] + len(sizes) - 2
    if part == "grad_weight":
        x, dy = sizes
        return dy.T @ x, len(x)
    if part == "grad_bias":
        return sizes[0].sum(axis=0), len(sizes[0])
    weight, dy = sizes
    return dy @ weight, len(weight)


def _target_share(record: Record, sizes: Sequence[Array]) -> Array | float:
    """p - t and y - t cancel: their terms are the target over the mean's count, and the value itself."""
    y, t = sizes
    share = np.eye(y.shape[1])[t.astype(int)] if t.ndim == 1 else t
    count = 1 if record.network.reduction == "sum" else len(y)
    return 2 * share / count


def _own_bits(record: Record, reference: Record) -> Iterator[tuple[str, bool]]:
    """(name, accepted by the elementwise rule) with the reference on the candidate's own tensors."""
    for name in ("input", "target", *(record.network.parameters() if record.step == 1 else ())):
        if name in record and name in reference:
            yield name, bool(np.array_equal(record[name], reference[name], equal_nan=record[name].dtype.kind == "f"))
    u = float(np.finfo(record.dtype).eps) / 2
    for rule in rules(record.network, record.optimizer, record.step, record):
        if rule.name not in record or any(s not in record for s in rule.sources):
            continue
        got = np.asarray(record[rule.name])
        if rule.copies:
            source = record[rule.sources[0]]
            yield rule.name, bool(np.array_equal(got, source, equal_nan=True))
            continue
        sources = [_wide(record[s]) for s in rule.sources]
        try:
            with np.errstate(all="ignore"):
                wanted = rule.compute(*sources, p=Precision.of(record.dtype)).value
                size, terms = scale_of(rule, _with(record, rule.name, wanted), [np.abs(s) for s in sources])
                near = got.shape == wanted.shape and np.all(
                    (got == wanted)
                    | (np.isnan(got) & np.isnan(wanted))
                    | (np.abs(_wide(got) - wanted) <= ELEMENTWISE * np.sqrt(terms) * u * size)
                )
        except (ValueError, IndexError, RuntimeError):
            continue  # a shape before it is wrong, and was found there
        yield rule.name, bool(near)


def _with(record: Record, name: str, value: Array) -> Record:
    return Record(record.network, record.tensors | {name: value}, record.optimizer, record.step)


__all__ = ["OWN_BITS", "RULES", "end_to_end", "execution_order", "first_alarms"]
