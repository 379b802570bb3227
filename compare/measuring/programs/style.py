"""Style: how one training program is written; all that is random about it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

OPTIMIZERS = {
    "sgd": 70, "torch momentum": 6, "velocity": 6, "average": 4, "nesterov": 2, "adam": 8, "rmsprop": 2, "adagrad": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """The choices behind one program. The defaults are the plainest program there is: what fails is shrunk to them."""

    seed: int = 0  # of the program's own numbers
    sizes: tuple[int, ...] = (3, 2)
    hidden: tuple[str, ...] = ()  # the activation of each hidden layer
    output: str = "linear"
    loss: str = "half squared error"
    reduction: str = "sum"
    target: str = "numbers"  # numbers, one-hot, integers, signs, binary
    loop: str = "batch"  # batch, mini, shuffled, one, accumulated
    pairs: bool = False  # samples as a list of pairs
    samples: str = "rows"  # rows, columns, vectors
    out_in: bool = False  # weights (out, in)
    dot: str = "@"
    bias: str = "apart"  # apart, none, last column
    flat_bias: bool = True  # (out,) and not (1, out)
    zero_bias: bool = False
    form: str = "top"  # top, main, function, functions, class, layers, lists
    names: int = 0
    helpers: bool = False  # activations in functions of their own
    bind_pre: bool = True
    bind_back: bool = False
    bind_first_delta: bool = True
    bind_gradient: bool = True
    bind_step: bool = False
    deltas_first: bool = False
    update: str = "end"  # end, between
    flipped: bool = False  # error = target - output, and the update adds
    mean_at: str = "error"  # error, gradient, rate
    report: str = "print"  # none, print, list, sum, function
    penalty: str = "none"  # none, half l2, l2, l1
    penalty_in: str = "both"  # both, gradient
    penalty_factor: float = 0.01
    optimizer: str = "sgd"  # sgd, torch momentum, velocity, average, nesterov, adam, rmsprop, adagrad
    clip: str = "none"  # none, value, norm, norm of all
    clip_at: float = 0.5
    decay: float = 0.0  # of the weights, decoupled
    schedule: str = "none"  # none, inverse, steps
    in_place: bool = False
    rate: float = 0.1
    relu: str = "maximum"
    relu_derivative: str = "mask"
    sigmoid: str = "exp(-z)"
    tanh: str = "np.tanh"
    tanh_derivative: str = "square"
    derivative_at: str = "output"  # output, pre
    random: str = "default_rng"
    data: str = "normal"  # normal, xor
    count: int = 8  # samples
    batch: int = 4
    epochs: int = 3
    told: bool = True  # the checker is told the network; else it reads it off the program

    @property
    def layers(self) -> int:
        return len(self.sizes) - 1

    @property
    def one_by_one(self) -> bool:
        """Whether the forward pass sees one sample at a time."""
        return self.loop in ("one", "accumulated")

    @property
    def squared(self) -> bool:
        return "squared" in self.loss or self.loss == "mse"

    @property
    def activations(self) -> tuple[str, ...]:
        return (*self.hidden, self.output)


def drawn(seed: int) -> Style:
    """A style at random, as often as people write it.

    Of 69 public reports 25 train one sample at a time, 22 have samples as columns, 15 have no bias, 28 a squared loss.
    """
    r = random.Random(seed)
    style = replace(Style(seed=seed), **_network(r), **_loop(r), **_writing(r), **_training(r), told=r.random() < 0.8)
    return settled(style)


def _network(r: random.Random) -> dict[str, Any]:
    layers = _weighted(r, {1: 15, 2: 55, 3: 20, 4: 10})
    hidden = [r.choice(("relu", "sigmoid", "sigmoid", "tanh", "tanh"))] * (layers - 1)
    if r.random() < 0.15:
        hidden = [r.choice(("relu", "sigmoid", "tanh")) for _ in hidden]
    loss = _weighted(r, {"squared": 28, "softmax cross-entropy": 25, "binary cross-entropy": 16})
    if loss == "squared":
        loss = r.choice(("mse", "half squared error", "half squared error"))
    outputs = {"softmax cross-entropy": ("softmax",), "binary cross-entropy": ("sigmoid",)}
    output = r.choice(outputs.get(loss, ("linear", "linear", "sigmoid", "sigmoid", "tanh")))
    last = 1 if output == "sigmoid" and r.random() < 0.7 else r.randint(1, 4)
    data = "xor" if r.random() < 0.1 else "normal"
    return {
        "sizes": (r.randint(2, 6), *(r.randint(2, 8) for _ in hidden), last),
        "hidden": tuple(hidden),
        "output": output,
        "loss": loss,
        "reduction": r.choice(("mean", "mean", "sum")),
        "target": r.choice(("one-hot", "integers")) if output == "softmax" else "numbers",
        "bias": _weighted(r, {"apart": 50, "none": 15, "last column": 4}),
        "flat_bias": r.random() < 0.5,
        "zero_bias": r.random() < 0.5,
        "data": data,
    }


def _loop(r: random.Random) -> dict[str, Any]:
    loop = _weighted(r, {"batch": 26, "mini": 8, "shuffled": 10, "one": 21, "accumulated": 4})
    samples = _weighted(r, {"rows": 47, "columns": 22})
    if loop in ("one", "accumulated"):
        samples = _weighted(r, {"rows": 8, "columns": 9, "vectors": 8})
    return {
        "loop": loop,
        "samples": samples,
        "out_in": r.random() < (0.8 if samples == "columns" else 0.5 if samples == "vectors" else 0.2),
        "pairs": r.random() < 0.25,
        "count": r.randint(4, 24),
        "batch": r.randint(2, 8),
        "epochs": r.randint(3, 6),
    }


def _writing(r: random.Random) -> dict[str, Any]:
    return {
        "form": _weighted(r, {"top": 45, "main": 10, "function": 10, "functions": 15, "class": 15, "layers": 10}),
        "names": r.randrange(1000),
        "dot": _weighted(r, {"@": 5, "np.dot": 3, ".dot": 2}),
        "helpers": r.random() < 0.45,
        "bind_pre": r.random() < 0.65,
        "bind_back": r.random() < 0.3,
        "bind_first_delta": r.random() < 0.85,
        "bind_gradient": r.random() < 0.65,
        "bind_step": r.random() < 0.1,
        "deltas_first": r.random() < 0.4,
        "update": _weighted(r, {"end": 4, "between": 1}),
        "in_place": r.random() < 0.5,
        "random": r.choice(("default_rng", "seed")),
        "report": _weighted(r, {"none": 25, "print": 30, "list": 15, "sum": 15, "function": 15}),
        "relu": r.choice(("maximum", "maximum", "mask", "where", "abs")),
        "relu_derivative": r.choice(("mask", "mask", "float", "where", "in place")),
        "sigmoid": r.choice(("exp(-z)", "exp(-z)", "1.0", "np.power")),
        "tanh": r.choice(("np.tanh", "np.tanh", "np.tanh", "exponentials", "by sigmoid")),
        "tanh_derivative": r.choice(("square", "square", "product", "both sides")),
        "derivative_at": _weighted(r, {"output": 3, "pre": 1}),
    }


def _training(r: random.Random) -> dict[str, Any]:
    return {
        "flipped": r.random() < 0.15,
        "mean_at": r.choice(("error", "error", "gradient", "gradient", "rate")),
        "penalty": _weighted(r, {"none": 80, "half l2": 10, "l2": 5, "l1": 3}),
        "penalty_in": _weighted(r, {"both": 3, "gradient": 1}),
        "penalty_factor": r.choice((0.001, 0.01, 0.1)),
        "optimizer": _weighted(r, OPTIMIZERS),
        "clip": _weighted(r, {"none": 92, "value": 4, "norm": 2, "norm of all": 2}),
        "clip_at": r.choice((1.0, 0.5, 0.1, 0.05)),
        "decay": r.choice((0.001, 0.01)) if r.random() < 0.04 else 0.0,
        "schedule": _weighted(r, {"none": 88, "inverse": 6, "steps": 6}),
        "rate": r.choice((0.5, 0.1, 0.1, 0.05, 0.03, 0.01, 0.001)),
    }


def settled(style: Style) -> Style:
    """The nearest style that is a whole program: what does not go together is set to what does."""
    for settle in (_settled_network, _settled_data, _settled_loop, _settled_writing, _settled_training):
        style = settle(style)
    return style


def _settled_network(s: Style) -> Style:
    if s.loss == "softmax cross-entropy":
        s = replace(s, output="softmax", target=s.target if s.target == "integers" else "one-hot")
        if s.sizes[-1] < 2:
            s = replace(s, sizes=(*s.sizes[:-1], 3))
    elif s.loss == "binary cross-entropy":
        s = replace(s, output="sigmoid", target="binary", sizes=(*s.sizes[:-1], 1))
    else:
        output = "linear" if s.output == "softmax" else s.output
        s = replace(s, output=output, target={"sigmoid": "binary", "tanh": "signs"}.get(output, "numbers"))
    hidden = (s.hidden + ("tanh",) * s.layers)[: s.layers - 1]
    return replace(s, hidden=hidden)


def _settled_data(s: Style) -> Style:
    if s.data == "xor":
        fits = s.sizes[-1] == 1 and s.target in ("binary", "signs")
        s = replace(s, sizes=(2, *s.sizes[1:]), count=4) if fits else replace(s, data="normal")
    return s


def _settled_loop(s: Style) -> Style:
    if s.one_by_one:
        s = replace(s, pairs=s.pairs and s.form not in ("class", "layers"))
    else:
        s = replace(s, pairs=False, samples="columns" if s.samples == "columns" else "rows")
    if s.loop == "one":
        s = replace(s, reduction="sum" if s.loss != "mse" else "mean", mean_at="error")
    if s.loop == "accumulated":
        form = "top" if s.form in ("class", "functions", "layers") else s.form
        s = replace(s, bind_gradient=True, update="end", bind_first_delta=True, form=form)
        if s.mean_at == "error":
            s = replace(s, mean_at="rate" if s.optimizer == "sgd" else "gradient")
    if s.reduction == "sum":
        s = replace(s, mean_at="error")
    return replace(s, batch=max(2, min(s.batch, s.count - 1)))


def _settled_writing(s: Style) -> Style:
    if s.form in ("functions", "class"):
        s = replace(s, bind_gradient=True, update="end")
    if s.form == "layers":
        s = replace(s, bind_gradient=True, bind_pre=True, bind_first_delta=True, deltas_first=False, schedule="none")
        s = replace(s, relu_derivative="mask" if s.relu_derivative == "in place" else s.relu_derivative)
        s = replace(s, bias="apart" if s.bias == "last column" else s.bias)
    if s.form == "layers" and s.loss == "mse":
        s = replace(s, mean_at="error")
    if s.form in ("class", "layers") and s.mean_at == "rate":
        s = replace(s, mean_at="gradient")
    if s.update == "between" or s.bias == "last column":
        s = replace(s, bind_first_delta=True)
    if s.bind_first_delta is False:
        s = replace(s, relu_derivative="mask" if s.relu_derivative == "in place" else s.relu_derivative)
    if s.derivative_at == "pre":
        s = replace(s, bind_pre=True)
    if s.bias != "apart" and s.flat_bias is False:
        s = replace(s, flat_bias=True)
    return s


def _settled_training(s: Style) -> Style:
    if s.optimizer in ("adam", "rmsprop", "adagrad"):
        s = replace(s, rate=min(s.rate, 0.05), decay=0.0, flipped=False)
    if s.optimizer != "sgd":
        s = replace(s, bind_gradient=True, flipped=False, mean_at="gradient" if s.mean_at == "rate" else s.mean_at)
    if s.clip != "none":
        s = replace(s, bind_gradient=True, flipped=False, mean_at="gradient" if s.mean_at == "rate" else s.mean_at)
    if s.clip != "none" and s.loop == "accumulated":
        s = replace(s, clip="value")
    if s.clip == "norm of all" and (s.update == "between" or s.form == "layers"):
        s = replace(s, clip="norm")
    if s.target == "integers":
        s = replace(s, flipped=False)
    if s.report == "none":
        s = replace(s, penalty_in="gradient")
    if s.penalty == "none":
        s = replace(s, penalty_in="both", penalty_factor=0.01)
    if s.mean_at == "rate" and s.penalty != "none":
        s = replace(s, penalty="none")
    if s.penalty != "none":
        s = replace(s, decay=0.0)
    return s


def _weighted(r: random.Random, choices: dict[Any, int]) -> Any:
    keys: Sequence[Any] = list(choices)
    return r.choices(keys, list(choices.values()))[0]
