"""The examples of known mistakes, made into records: correct training steps, with a snippet's value in one tensor.

Letters of a snippet. Of a layer: x W b mask y dy; of a loss: y t m n; of an update: p g lr mu damp wd b1 b2 eps alpha
fall fade, the state before mom m v sq avg acc (zeros at first) and after new_mom and so on. Everywhere: right, the
correct tensor; step, rows and columns (of the network's output); tensor(name); after(name), what an array in `touched`
had become; before, the same letters one step earlier, with before.value for what was put there. A snippet that needs
`before` leaves step 1 right. Of images: windows, added_up and at_maxima. Of a BatchNorm: rm rv, the running statistics
before. Of an Add: z dz. Of sequences: rnn, lstm, gru and gates (recurrences.py), attention (attentions.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import special

import scratch
from compare.checking import Judged
from compare.network.architecture import Architecture
from compare.network.passing import shape_of
from compare.network.tensor_name import TensorName
from compare.network.text import ACTIVATIONS
from compare.network.weights import in_order
from compare.operations import OPTIMIZERS
from compare.operations.mistake import Mistake
from compare.operations.operation import packed
from compare.recording.batches import given_batches
from compare.recording.record import Record
from compare.recording.scratch_recorder import record_scratch
from scratch import initializers
from tests.compare.operations.attentions import attention
from tests.compare.operations.recurrences import gates, gru, lstm, rnn

Array = np.ndarray
Letters = dict[str, Any]

# --- cases ---

# An activation stands between two linear layers, but for softmax, which is an output.
NETWORKS = {kind: f"5-7-4 {kind}, softmax cross-entropy" for kind in ACTIVATIONS}
NETWORKS |= {
    "softmax": "5-7-4 relu, softmax output, cross-entropy on probabilities",
    "conv2d": "Conv2d(2, 4, 3, stride=2, padding=1), ReLU, Flatten, Linear(48, 4); CrossEntropyLoss",
    "max_pool2d": "Conv2d(2, 3, 2), MaxPool2d(3, stride=2, padding=1), Flatten, Linear(18, 4); CrossEntropyLoss",
    "avg_pool2d": "Conv2d(2, 3, 2), AvgPool2d(3, stride=2, padding=1), Flatten, Linear(18, 4); CrossEntropyLoss",
    "flatten": "Conv2d(2, 3, 2), Flatten, Linear(72, 4); CrossEntropyLoss",
    "dropout": "Linear(5, 40), Dropout(0.3), Linear(40, 4); CrossEntropyLoss",
    "embedding": "Embedding(5, 3), Flatten, Linear(15, 4); CrossEntropyLoss",
    "rnn": "RNN(3, 6, batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss",
    "lstm": "LSTM(3, 6, batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss",
    "gru": "GRU(3, 6, batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss",
    "add": "Linear(5, 6), ReLU, Linear(6, 6), Add(0), Linear(6, 4); CrossEntropyLoss",
    "take": "Linear(5, 6), ReLU, Linear(6, 6), Take(0), Linear(6, 6), Add(2), Linear(6, 4); CrossEntropyLoss",
    "self_attention": "SelfAttention(6, 2), Flatten, Linear(30, 4); CrossEntropyLoss",
    "last_step": "RNN(3, 6, batch_first=True), LastStep, Linear(6, 4); CrossEntropyLoss",
}
NETWORKS |= {
    "layer_norm": "Linear(5, 7), LayerNorm(7), ReLU, Linear(7, 4); CrossEntropyLoss",
    "batch_norm1d": "Linear(5, 7), BatchNorm1d(7), ReLU, Linear(7, 4); CrossEntropyLoss",
    "batch_norm2d": "Conv2d(2, 3, 3), BatchNorm2d(3), ReLU, Flatten, Linear(45, 4); CrossEntropyLoss",
}
NORMALISATIONS = dict.fromkeys(("layer_norm", "batch_norm1d", "batch_norm2d"), 1)
OF_IMAGES = {"conv2d": 0, "max_pool2d": 1, "avg_pool2d": 1, "flatten": 1}
OF_SEQUENCES = {"embedding": 0, "rnn": 0, "lstm": 0, "gru": 0, "self_attention": 0, "last_step": 1}
OTHERS = {"dropout": 1, "add": 3, "take": 3, "softmax": 3, "loss": -1}
LAYERS = dict.fromkeys(ACTIVATIONS, 1) | OF_IMAGES | OF_SEQUENCES | NORMALISATIONS | OTHERS
MOMENTUM = {"kind": "SGD", "lr": 0.1, "momentum": 0.9}
ADAM = {"kind": "Adam", "lr": 0.01}
OPTIMIZER_OF = {"momentum_buffer": MOMENTUM, "exp_avg": ADAM, "exp_avg_sq": ADAM}


@dataclass(frozen=True)
class Case:
    """What shows a mistake: a network and its data, the tensor that is wrong, and what else differs in the record.

    `bias` is the deviation of the biases; `zero_row` says that the first row of each batch is 0. `touched` and `also`
    hold snippets by a tensor's name: what it had become after backward (`it` is the tensor itself), and what stands in
    it beside the wrong tensor. `absent` names what was not handed in; `steps` are those in which the snippet is put,
    and `first` is the record's first.
    """

    network: str = "5-7-4 relu, softmax cross-entropy"
    optimizer: Mapping[str, Any] = field(default_factory=lambda: {"kind": "SGD", "lr": 0.1})
    rows: Sequence[int] = (6, 3, 6)
    scale: float = 1.0
    bias: float = 0.1
    target: str = ""
    seed: int = 0
    image: Sequence[int] = (7, 5)
    zero_row: bool = False
    layer: int = 2
    parameter: str = "weight"
    tensor: str = ""
    touched: Mapping[str, str] = field(default_factory=dict)
    changed_by: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, str] = field(default_factory=dict)
    absent: Sequence[str] = ()
    steps: Sequence[int] = (1, 2, 3)
    first: int = 1
    dtype: str = "both"

    @classmethod
    def of(cls, mistake: Mistake) -> Case:
        """What is usual at its place, and what its row says. TypeError for a key that is not known."""
        kind, _, part = mistake.place.partition(".")
        usual = {"network": NETWORKS.get(kind), "layer": LAYERS.get(kind), "optimizer": OPTIMIZER_OF.get(part)}
        case = cls(**{key: value for key, value in usual.items() if value is not None} | dict(mistake.case))
        return case if case.tensor else replace(case, tensor=_tensor(mistake.place, case))

    @property
    def dtypes(self) -> tuple[str, ...]:
        return ("float64", "float32") if self.dtype == "both" else (self.dtype,)


def _tensor(place: str, case: Case) -> str:
    """The tensor that stands for a place."""
    kind, _, part = place.partition(".")
    k = case.layer if case.layer >= 0 else len(Architecture.of(case.network).layers) - 1
    if kind == "update":
        return TensorName.of(k, f"new_{case.parameter}").with_state("" if part == "parameter" else part)
    of = {"loss.gradient": "grad_output", "given": case.parameter, "*": "grad_weight"}.get(place, part)
    return TensorName.of(k, of) if of else place


# --- correct steps ---


def correct(case: Case, dtype: str) -> tuple[list[Record], dict[str, Array]]:
    """Their records, and what the candidate was given."""
    needed = ("network", "optimizer", "rows", "scale", "bias", "target", "seed", "image", "zero_row")
    return _recorded(json.dumps({name: getattr(case, name) for name in needed}), dtype)


@cache
def _recorded(text: str, dtype: str) -> tuple[list[Record], dict[str, Array]]:
    case = Case(**json.loads(text))
    architecture = Architecture.of(case.network)
    rng = np.random.default_rng([case.seed, 0])
    drawn = {"rng": rng, "dtype": dtype, "weight_init": initializers.linear_default}
    options = drawn | {"bias_init": initializers.normal(case.bias)}
    network = in_order(*(layer.to_scratch(**options) for layer in architecture.layers))
    batches = list(_batches(case, architecture, np.dtype(dtype)))
    given = given_batches(batches) | {name: p.copy() for name, p in network.params.items()}
    with np.errstate(all="ignore"):
        return record_scratch(network, architecture.loss.to_scratch(), _optimizer(case, network), batches), given


def _optimizer(case: Case, network: scratch.Sequential) -> scratch.Optimizer:
    options = packed(case.optimizer)
    return OPTIMIZERS[options.pop("kind")].scratch_type(network, **options)


def _batches(case: Case, architecture: Architecture, dtype: np.dtype) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng([case.seed, 1])
    loss = architecture.loss
    kind = case.target or ("labels" if loss.takes_labels else "bits" if loss.binary else "values")
    for m in case.rows:
        x = _input(rng, case, architecture, m, dtype)
        x[0] *= not case.zero_row
        t = TARGETS[kind](rng, m, architecture.sizes[-1])
        yield x, t if kind == "labels" else t.astype(dtype)


def _input(rng: np.random.Generator, case: Case, architecture: Architecture, m: int, dtype: np.dtype) -> Array:
    """Rows, images of the case's height and width, sequences as long as these are wide, or class numbers."""
    shape = shape_of(m, architecture.layers, case.image)
    if (classes := architecture.layers[0].classes) is not None:
        return rng.integers(0, classes, shape)
    return (rng.standard_normal(shape) * case.scale).astype(dtype)


def _labels(rng: np.random.Generator, m: int, n: int) -> Array:
    return rng.permutation(np.arange(m) % n)


def _unnormalised(rng: np.random.Generator, m: int, n: int) -> Array:
    return rng.dirichlet(np.ones(n), m) * rng.uniform(0.5, 2, (m, 1))


TARGETS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "labels": _labels,
    "one-hot": lambda rng, m, n: np.eye(n)[_labels(rng, m, n)],
    "soft": lambda rng, m, n: rng.dirichlet(np.ones(n), m),
    "unnormalised": _unnormalised,
    "bits": lambda rng, m, n: rng.integers(0, 2, (m, n)),
    "signs": lambda rng, m, n: rng.choice([-1.0, 1.0], (m, n)),
    "values": lambda rng, m, n: rng.standard_normal((m, n)),
}

# --- letters ---


class NoStepBefore(Exception):
    """The snippet needs a step before, and this is the first."""


class _Nothing:
    def __getattr__(self, name: str) -> Any:
        raise NoStepBefore


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def relu(a: Array) -> Array:
    return np.maximum(a, 0)


def softmax(a: Array, axis: int = 1) -> Array:
    z = np.exp(a - a.max(axis=axis, keepdims=True))
    return z / z.sum(axis=axis, keepdims=True)


def log_softmax(a: Array, axis: int = 1) -> Array:
    shifted = a - a.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def windows(a: Array, k: int, s: int = 1, p: int = 0, fill: float = 0.0) -> Array:
    """Of images a (m, channels, height, width), each window (m, channels, down, across, k, k)."""
    padded = np.pad(a, [(0, 0), (0, 0), (p, p), (p, p)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]


def added_up(a: Array, shape: Sequence[int], s: int = 1, p: int = 0, d: int = 1, last: str = "") -> Array:
    """The way back from windows to images of a shape. `last`: what is written last stays, by window or by element."""
    m, channels, height, width = shape
    found = np.zeros((m, channels, height + 2 * p, width + 2 * p), a.dtype)
    down, across, *size = a.shape[2:]
    order = [(*ij, *uv) for ij in np.ndindex(down, across) for uv in np.ndindex(*size)]
    for i, j, u, v in sorted(order, key=lambda at: at[2:]) if last == "element" else order:
        row, column = i * s + u * d, j * s + v * d
        found[:, :, row, column] = a[:, :, i, j, u, v] + (0 if last else found[:, :, row, column])
    return found[:, :, p : p + height, p : p + width]


def at_maxima(a: Array, which: str) -> Array:
    """1 at the first, the last or every maximum of each window, else 0."""
    rows = a.reshape(*a.shape[:4], -1)
    every = rows == rows.max(axis=-1, keepdims=True)
    alone = every & (every.cumsum(axis=-1) == (1 if which == "first" else every.sum(axis=-1, keepdims=True)))
    return np.where((every if which == "every" else alone).reshape(a.shape), 1, 0).astype(a.dtype)


OF_WINDOWS = (windows, added_up, at_maxima)
OF_NUMBERS = (sigmoid, relu, softmax, log_softmax, np.tanh, special.erf)
OVER_TIME = (rnn, lstm, gru, gates, attention)
FUNCTIONS = {f.__name__: f for f in (*OF_NUMBERS, *OF_WINDOWS, *OVER_TIME)} | {"np": np}
OPTIONS = {
    "lr": ("lr", 0.0),
    "mu": ("momentum", 0.0),
    "damp": ("dampening", 0.0),
    "wd": ("weight_decay", 0.0),
    "b1": ("beta1", 0.9),
    "b2": ("beta2", 0.999),
    "eps": ("eps", 1e-8),
    "alpha": ("alpha", 0.99),
    "fall": ("lr_decay", 0.0),
    "fade": ("momentum_decay", 0.004),
}
STATES = {
    "mom": "momentum_buffer",
    "m": "exp_avg",
    "v": "exp_avg_sq",
    "sq": "square_avg",
    "avg": "grad_avg",
    "acc": "sum",
}


def evaluated(snippet: str, letters: Letters) -> Any:
    with np.errstate(all="ignore"):
        return eval(snippet, FUNCTIONS | letters)


def letters_of(record: Record, name: TensorName, dtype: np.dtype) -> Letters:
    """By letter, the arrays of one correct record."""
    k = int(name.layer) if name.layer.isdigit() else len(record.network.layers) - 1
    m, n = record[f"{len(record.network.layers) - 1}.output"].shape
    found = {"right": record[name], "tensor": record.__getitem__, "step": record.step, "rows": m, "columns": n}
    found["t"] = _as_rows(record["target"], n, dtype)
    is_of_update = name.is_new and name.parameter in record.network.parameters()
    return found | (_of_update(record, name) if is_of_update else {"m": m, "n": n} | _of_layer(record, k))


def _as_rows(target: Array, n: int, dtype: np.dtype) -> Array:
    return np.eye(n, dtype=dtype)[target] if target.ndim == 1 else target.astype(dtype)


def _of_layer(record: Record, k: int) -> Letters:
    names = {letter: TensorName.of(k, part) for letter, part in record.network.layers[k].letters.items()}
    return {letter: record[name] for letter, name in names.items()}


def _of_update(record: Record, name: TensorName) -> Letters:
    before, options = name.parameter, record.optimizer.options
    found = {letter: options.get(option, usual) for letter, (option, usual) in OPTIONS.items()}
    found |= {"p": record[before], "g": record[before.gradient]}
    for letter, state in STATES.items():
        found[letter] = record.get(before.with_state(state), np.zeros_like(record[before]))
        found[f"new_{letter}"] = record.get(before.new.with_state(state))
    return found


# --- records that hold a snippet's value ---


def put(mistake: Mistake, case: Case, snippet: str, dtype: str) -> list[Record]:
    """The correct records, with the snippet's value in the tensor's place. ValueError if it is put in no step."""
    made: list[Record] = []
    before: Any = _Nothing()
    name, changed = TensorName(case.tensor), False
    for record in correct(case, dtype)[0]:
        letters = letters_of(record, name, np.dtype(dtype)) | {"before": before}
        copy = _with_surroundings(record, case, letters, dtype)
        letters["after"] = copy.touched.__getitem__
        value = record[name]
        with suppress(NoStepBefore):
            if record.step in case.steps:
                value, changed = _cast(evaluated(snippet, letters), record[name], dtype), True
        (copy.touched if mistake.place == "side_effects" else copy.tensors)[name] = value
        made.append(_without(copy, case.absent))
        before = SimpleNamespace(**letters, value=value)
    if not changed:
        raise ValueError(f"{snippet}: evaluated in no step")
    return made[case.first - 1 :]


def _cast(value: Any, like: Array, dtype: str) -> Array:
    return np.asarray(value, dtype if like.dtype.kind == "f" else like.dtype)


def _with_surroundings(record: Record, case: Case, letters: Letters, dtype: str) -> Record:
    touched = {n: _cast(evaluated(s, letters | {"it": record[n]}), record[n], dtype) for n, s in case.touched.items()}
    also = {n: _cast(evaluated(s, letters), record[n], dtype) for n, s in case.also.items()}
    return replace(record, tensors=record.tensors | also, touched=touched, changed_by=dict(case.changed_by))


def _without(record: Record, names: Sequence[str]) -> Record:
    return replace(record, tensors={name: a for name, a in record.items() if name not in names})


def judged(mistake: Mistake, case: Case, snippet: str, dtype: str) -> Judged:
    """The records as the check judges them."""
    records, given = put(mistake, case, snippet, dtype), correct(case, dtype)[1]
    if case.first > 1:
        given = {name: a for name, a in given.items() if name not in records[0].network.parameters()}
    return Judged.of(records, given)
