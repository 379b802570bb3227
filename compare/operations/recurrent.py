"""Recurrent: what the operations RNN, LSTM and GRU have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import permutations
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import SPEAKS, LikelyFirst, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.carried import Carried, Matrix
from compare.numbers.expected import Expected
from compare.numbers.float64 import tensor
from compare.numbers.latest import Latest
from compare.numbers.tried import InTurn, Moved, Tried
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula, Guess, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Part, Scalar, Shape

PLAIN = {"num_layers": 1, "dropout": 0.0, "bidirectional": False, "proj_size": 0}  # torch's, not checked
WEIGHTS = {"W_ih": "weight_ih_l0", "W_hh": "weight_hh_l0", "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0"}
LETTERS = {"x": "input", **WEIGHTS, "y": "output", "dy": "grad_output"}
GRADIENTS = tuple(f"grad_{name}" for name in WEIGHTS.values())


def parts_of(forward: str, da: str, dq: str = "da_t") -> dict[str, Part]:
    """The formulas of a cell, and of the gradient da_t of its W_ih x_t, dq_t of its W_hh h_{t-1}."""
    return {
        "output": Part.of(forward, "x W_ih W_hh b_ih b_hh"),
        "grad_weight_ih_l0": Part.of(f"dW_ih = sum of da_t^T x_t over t, {da}", "x W_ih W_hh b_ih b_hh dy"),
        "grad_weight_hh_l0": Part.of(f"dW_hh = sum of {dq}^T h_{{t-1}} over t, {da}", "x W_ih W_hh b_ih b_hh dy"),
        "grad_bias_ih_l0": Part.of(f"db_ih = sum of da_t over t and the batch, {da}", "x W_ih W_hh b_ih b_hh dy"),
        "grad_bias_hh_l0": Part.of(f"db_hh = sum of {dq} over t and the batch, {da}", "x W_ih W_hh b_ih b_hh dy"),
        "grad_input": Part.of(f"dx_t = da_t W_ih, {da}", "x W_ih W_hh b_ih b_hh dy"),
    }


@dataclass(frozen=True)
class Weights:
    """Of one layer; the addends of W_ih x and of W_hh h apart."""

    ih: Matrix
    hh: Matrix
    b_ih: tuple[Array, ...] = ()
    b_hh: tuple[Array, ...] = ()

    @classmethod
    def of(cls, ih: Array, hh: Array, *biases: Array) -> Self:
        return cls(Matrix(ih), Matrix(hh), biases[:1], biases[1:])

    @classmethod
    def in_letters(cls, e: Letters) -> Self:
        biases = (e.b_ih.value, e.b_hh.value) if e.operation.bias else ()  # type: ignore[attr-defined]
        return cls.of(e.W_ih.value, e.W_hh.value, *biases)  # type: ignore[attr-defined]

    def arranged(self, f: Callable[[Array], Array]) -> Weights:
        """Their rows arranged: gates in another order."""
        b_ih, b_hh = (tuple(f(b) for b in biases) for biases in (self.b_ih, self.b_hh))
        return Weights(Matrix(f(self.ih.value)), Matrix(f(self.hh.value)), b_ih, b_hh)


@dataclass(frozen=True)
class Passed:
    """What went forward: the hidden states, the first one before the first step, and what else a cell keeps."""

    h: list[Any]
    kept: dict[str, list[Any]]

    @property
    def y(self) -> Any:
        return self.h[0].stacked(self.h[1:])

    def by(self, arithmetic: Moved) -> Passed:
        """The same, going on in another one."""
        h = [Tried(a.value, arithmetic) for a in self.h]
        return Passed(h, {name: [Tried(a.value, arithmetic) for a in steps] for name, steps in self.kept.items()})

    @property
    def before(self) -> Any:
        """The state with which each step began."""
        return self.h[0].stacked(self.h[:-1])


@dataclass(frozen=True)
class Deltas:
    """The gradients of W_ih x_t + b_ih and of W_hh h_{t-1} + b_hh, step by step."""

    of_input: list[Any]
    of_state: list[Any]


PASSES: Latest[Any] = Latest(keys=8)  # of a layer or two, forward and back


@dataclass(frozen=True)
class Recurrent:
    """One layer, one direction, batch_first: x (m, t, in) -> all hidden states y (m, t, h), the first state zero.

    A cell says once how it goes forward and back through time. In the arithmetic of numbers/tried.py, whose roundings
    go from step to step as a candidate's do, it gives the likely bound. That one applies where plain computations in
    the candidate's precision, each sum term after term from either end, stay within 0.4 of it, as for any sum
    (numbers/allowance.py). Else the one of numbers/carried.py does, which always holds: it carries the largest error of
    every step into the next. Both cover every order of the terms of a product: W_ih x and W_hh h apart, or as one
    product of [x, h] with the biases added before; step by step, or all inputs at once; gates apart or together. tanh,
    sigmoid and their slopes may be written in each form that Carried names. Gradients of the weights are sums over time
    and batch in any order.
    """

    letters: ClassVar[Mapping[str, str]] = LETTERS
    attributes: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "batch_first")
    constants: ClassVar[tuple[type, ...]] = (int, bool, str)
    gates: ClassVar[int]
    parts: ClassVar[Mapping[str, Part]]
    scratch_type: ClassVar[type]
    torch_type: ClassVar[type]

    input_size: int
    hidden_size: int
    bias: bool = True
    batch_first: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        if any(type(n) is not int or n < 1 for n in (self.input_size, self.hidden_size)):
            raise ValueError(f"{name}: found sizes {self.input_size!r}, {self.hidden_size!r}, expected at least 1")
        if self.batch_first is not True:
            raise ValueError(f"{name}: got batch_first={self.batch_first!r}, expected True: samples are rows")

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        if isinstance(layer, nn.Module) and not isinstance(layer, cls.torch_type):
            own = f"{cls.torch_type.__module__}.{cls.torch_type.__name__}"
            raise TypeError(f"{place} returns two things, expected {own}, which returns the hidden states alone")
        for name, plain in PLAIN.items() | {("batch_first", True)}:
            if (found := getattr(layer, name, plain)) != plain:
                raise TypeError(f"{place}: got {name}={found!r}, which is not checked; expected {plain!r}")
        named = {f.name: getattr(layer, f.name) for f in fields(cls) if f.name != "bias"}
        if isinstance(layer, nn.Module):
            return cls(**named, bias=bool(layer.bias))
        made = cls(**named, bias="bias_ih_l0" in layer.params)
        made.expect_parameters(layer, place)  # type: ignore[attr-defined]
        return made

    @classmethod
    def accepts(cls, layer: Any) -> bool:
        """Torch's own, too, whose message is then of that layer."""
        return isinstance(layer, (cls.scratch_type, getattr(nn, cls.torch_type.__name__)))

    @property
    def computed(self) -> Mapping[str, Part]:
        if self.bias:
            return self.parts
        without = {name: part for name, part in self.parts.items() if "bias" not in name}
        return {n: replace(p, letters=tuple(a for a in p.letters if a[0] != "b")) for n, p in without.items()}

    @property
    def entering(self) -> Shape:
        return ANY, ANY, self.input_size

    @property
    def fans(self) -> tuple[int, int]:
        return self.input_size, self.hidden_size

    def leaving(self, entering: Shape) -> Shape:
        return *entering[:-1], self.hidden_size

    def parameters(self) -> dict[str, Shape]:
        n = self.gates * self.hidden_size
        weights: dict[str, Shape] = {"weight_ih_l0": (n, self.input_size), "weight_hh_l0": (n, self.hidden_size)}
        return weights | ({"bias_ih_l0": (n,), "bias_hh_l0": (n,)} if self.bias else {})

    # --- the reference ---

    @abstractmethod
    def by_torch(self, x: Tensor, state: Tensor, weights: list[Tensor]) -> Tensor:
        """All hidden states, from the state before the first step, of zeros."""

    def output(self, x: Array, *weights: Array, p: Precision) -> Expected:
        arrays = (x, *weights)
        y: Array = self._hidden(arrays)[1].detach().numpy()
        likely = self._moved(arrays, p).y.spread(y, p.u)
        return self._expected("output", y, likely, arrays, p)

    def grad_weight_ih_l0(self, *arrays: Array, p: Precision) -> Expected:
        """x, the weights and dy, as those below."""
        return self._gradients(arrays, p)["grad_weight_ih_l0"]

    def grad_weight_hh_l0(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradients(arrays, p)["grad_weight_hh_l0"]

    def grad_bias_ih_l0(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradients(arrays, p)["grad_bias_ih_l0"]

    def grad_bias_hh_l0(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradients(arrays, p)["grad_bias_hh_l0"]

    def grad_input(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradients(arrays, p)["grad_input"]

    def _hidden(self, sources: Sequence[Array]) -> tuple[list[Tensor], Tensor]:
        """The sources as autograd knows them, and all hidden states, for one way back or several."""

        def make() -> tuple[list[Tensor], Tensor]:
            at = [tensor(a).requires_grad_() for a in map(np.array, sources)]
            x, *weights = at
            return at, self.by_torch(x, torch.zeros(1, len(x), self.hidden_size, dtype=x.dtype), weights)

        found: tuple[list[Tensor], Tensor] = PASSES.of(("torch", self), sources, make)
        return found

    def _gradients(self, arrays: Sequence[Array], p: Precision) -> dict[str, Expected]:
        """Of one pass back, once for all parts."""
        make = lambda: dict(self._made(arrays, p))  # noqa: E731
        found: dict[str, Expected] = PASSES.of(("gradients", self, p), arrays, make)
        return found

    def _made(self, arrays: Sequence[Array], p: Precision) -> Iterator[tuple[str, Expected]]:
        *sources, dy = arrays
        at, y = self._hidden(sources)
        values = torch.autograd.grad((y * tensor(dy)).sum(), at, retain_graph=True)
        s = self._moved(sources, p)
        by = replace(s.h[0].by)  # its moves begin anew, whether the pass forward was computed now or before
        s = s.by(by)
        moved = self.gradients(Tried.of(sources[0], by), Weights.of(*sources[1:]), s, Tried.of(dy, by))
        for name, value in zip(("input", *self.parameters()), values, strict=True):
            part, a = f"grad_{name}", value.numpy()
            yield part, self._expected(part, a, moved[part].spread(a, p.u), arrays, p)

    def _moved(self, sources: Sequence[Array], p: Precision) -> Passed:
        by = Moved.of_size(p, self._elements(sources[0]))
        found: Passed = PASSES.of(("moved", self, p), sources, lambda: self._run(sources, lambda a: Tried.of(a, by)))
        return found

    def _elements(self, x: Array) -> int:
        """Of all hidden states."""
        return len(x) * x.shape[1] * self.hidden_size

    def _expected(self, part: str, value: Array, likely: Array, arrays: Sequence[Array], p: Precision) -> Expected:
        """The likely bound where a plain computation stays well within it, as for a sum (numbers/allowance.py)."""
        certain = lambda: self._certain(arrays, p)[part].error  # noqa: E731

        def sums_well() -> bool:
            close = (np.abs(plain[part].value[0] - value) <= SPEAKS * likely for plain in self._plain(arrays, p))
            return self.decided(arrays, p) and all(bool(np.all(each)) for each in close)

        largest = _largest(arrays) if part == "output" else _largest(arrays) * float(np.abs(arrays[-1]).sum())
        return Expected(value, LikelyFirst.of(likely, certain, sums_well, largest))

    def decided(self, arrays: Sequence[Array], p: Precision) -> bool:
        """Whether no kink on the way is so near that a correct computation may be on either side of it."""
        return True

    def _plain(self, arrays: Sequence[Array], p: Precision) -> Iterator[dict[str, Any]]:
        for backwards in (False, True):
            by = InTurn(p.dtype, backwards)
            make = lambda by=by: self._all(arrays, lambda a: Tried.of(a, by))  # noqa: E731
            yield PASSES.of(("plain", self, p, backwards), arrays, make)

    def _certain(self, arrays: Sequence[Array], p: Precision) -> dict[str, Bounded]:
        make = lambda: self._all(arrays, lambda a: Carried.of(a, p))  # noqa: E731
        with np.errstate(all="ignore"):
            found: dict[str, Bounded] = PASSES.of(("certain", self, p), arrays, make)
        return found

    def _run(self, sources: Sequence[Array], of: Callable[[Array], Any]) -> Passed:
        """x and the weights forward, in an arithmetic."""
        return self.passed(of(sources[0]), Weights.of(*sources[1:]))

    def _all(self, arrays: Sequence[Array], of: Callable[[Array], Any]) -> dict[str, Any]:
        """Every part that these arrays give: with dy, the gradients too."""
        sources = arrays[: 1 + len(self.parameters())]
        s = self._run(sources, of)
        if len(arrays) == len(sources):
            return {"output": s.y}
        return self.gradients(of(sources[0]), Weights.of(*sources[1:]), s, of(arrays[-1]))

    # --- one step after the other ---

    @abstractmethod
    def passed(self, x: Any, w: Weights, **other: Any) -> Passed:
        """All of it forward; `other` makes of it what somebody gets wrong."""

    @abstractmethod
    def deltas(self, s: Passed, w: Weights, dy: Any, **other: Any) -> Deltas:
        """The way back through time."""

    def gradients(
        self,
        x: Any,
        w: Weights,
        s: Passed,
        dy: Any,
        *,
        only: int | None = None,
        after: bool = False,
        **other: Any,
    ) -> dict[str, Any]:
        """By part, from the deltas of all steps, or of `only` one; for `after` dW_hh has the states after each step."""
        found = self.deltas(s, w, dy, **other)
        da = x.stacked(found.of_input)
        dq = da if found.of_state is found.of_input else x.stacked(found.of_state)
        dx, before = da.affine(w.ih.T), s.y if after else s.before
        if only is not None:
            x, before, da, dq = (x.stacked([a.step(only)]) for a in (x, before, da, dq))
        return {
            "grad_weight_ih_l0": da.over_time(x),
            "grad_weight_hh_l0": dq.over_time(before),
            "grad_bias_ih_l0": da.summed(),
            "grad_bias_hh_l0": dq.summed(),
            "grad_input": dx,
        }

    def written(self, e: Letters) -> Bounded:
        return output(e)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, as a function of the one tensor."""
        names = ["input", *self.parameters()]
        at = [e.tensor(e.network.tensor_name(e.k, name)).value for name in names]
        k, dy = names.index(part.removeprefix("grad_")), e.dy.value

        def of(a: Array) -> float:
            now = [*at[:k], a, *at[k + 1 :]]
            return float((dy * self._run(now, lambda b: Carried.of(b, e.p)).y.value).sum())

        return of, at[k]

    # --- on either side ---

    def to_scratch(self, **options: Any) -> scratch.Layer:
        layer: scratch.Layer = self.scratch_type(**vars(self), **options)
        return layer

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        """Its weights are not initialised."""
        return nn.utils.skip_init(self.torch_type, **vars(self), dtype=dtype)

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.input_size} -> {self.hidden_size}"


def _largest(arrays: Sequence[Array]) -> float:
    """No partial sum of a step is larger, the state being at most of the input's size, or 1."""
    x, *others = arrays
    return max(float(np.abs(x).max(initial=0)), 1.0) * float(sum(np.abs(a).sum() for a in others))


# --- what people get wrong ---


def forward(e: Letters, x: Any = None, w: Any = None, **other: Any) -> Passed:
    """With something else in the place of x or of the weights, or another way through."""
    passed: Passed = e.operation.passed(_letter(e, x or e.x, _still(e)), w or Weights.in_letters(e), **other)
    return passed


def output(e: Letters, x: Any = None, w: Any = None, **other: Any) -> Bounded:
    found: Bounded = forward(e, x, w, **other).y.bounded(e.p)
    return found


def backward(e: Letters, **other: Any) -> dict[str, Any]:
    by = _still(e)
    x, dy, w = _letter(e, e.x, by), _letter(e, e.dy, by), Weights.in_letters(e)
    found: dict[str, Any] = e.operation.gradients(x, w, e.operation.passed(x, w), dy, **other)
    return found


def _still(e: Letters) -> Moved:
    return Moved.of_size(e.p, e.x.value.size, still=True)


def _letter(e: Letters, a: Bounded, by: Moved) -> Tried:
    return Tried.of(a.value, by).off_by(a.error)


def through(**other: Any) -> Formula:
    """The output by another way through."""
    return lambda e: output(e, **other)


def back(**other: Any) -> Formula:
    """The gradient of this part by another way back."""

    def guess(e: Letters) -> Bounded:
        found: Bounded = backward(e, **other)[e.name.part].bounded(e.p)
        return found

    return guess


def _backwards(a: Bounded) -> Bounded:
    return a[:, ::-1]


def _along_the_batch(e: Letters) -> Bounded:
    """Samples for time steps, and time steps for samples."""
    swapped = e.x.arranged(lambda a: a.swapaxes(0, 1))
    return output(e, x=swapped).arranged(lambda a: a.swapaxes(0, 1))


def _without(which: str) -> Formula:
    def guess(e: Letters) -> Bounded:
        if not e.operation.bias:
            raise Absent("a bias")
        w = Weights.in_letters(e)
        return output(e, w=replace(w, b_ih=()) if which == "b_ih" else replace(w, b_hh=()))

    return guess


def orders(names: str) -> dict[str, list[int]]:
    """Of gates named so, every other order."""
    usual = names.split(", ")
    every = (list(order) for order in permutations(range(len(usual))))
    return {", ".join(usual[i] for i in order): order for order in every if order != sorted(order)}


def _ordered(order: list[int], a: Array) -> Array:
    """Blocks of rows in this order."""
    blocks = np.split(a, len(order))
    return np.concatenate([blocks[k] for k in order])


def in_another_order(names: str) -> Formula:
    """The output, where blocks of the weights are taken for other gates."""

    def guesses(e: Letters) -> Iterator[Guess]:
        for said, order in orders(names).items():
            from_where = [order.index(k) for k in sorted(order)]
            yield output(e, w=Weights.in_letters(e).arranged(partial(_ordered, from_where))), said

    return guesses


def blocks_in_another_order(names: str) -> Formula:
    """The gradient, whose blocks stand in another order."""

    def guesses(e: Letters) -> Iterator[Guess]:
        for said, order in orders(names).items():
            yield e.ref.arranged(partial(_ordered, order)), said

    return guesses


def _asleep(e: Letters) -> bool:
    return not e.tensor(e.network.tensor_name(e.k, "bias_ih_l0")).value.any()


ASLEEP = Unseen("all biases are zero", _asleep)
ONE_STEP = Unseen("there is one time step", lambda e: e.x.shape[1] == 1)
OF = "(x, W_ih, W_hh, b_ih, b_hh"


Way = tuple[str, str, dict[str, Any], str]  # cause, words, what it is called with, and that in the example


def mistakes_of(kind: str, output: list[M], gradients: list[Way]) -> dict[str, list[M]]:
    """A cell's table: its own mistakes in the output, those of its way back in every gradient, and what all have."""
    call = f"{kind}{OF}"
    right = f"{call}, dy)['{{}}']"
    table = {"output": output + _outputs(kind)}
    for part in (*GRADIENTS, "grad_input"):
        at, table[part] = right.format(part), []
        for cause, words, other, text in [*_ways_back(), *gradients]:
            wrong = f"{call}, dy, {text})['{part}']"
            table[part].append(M(cause, back(**other), words, unseen=ONE_STEP, wrong=wrong, right=at))
    for part in GRADIENTS:
        table[part] += _sums(call, part, right.format(part))
    table["grad_weight_hh_l0"] += _states(call, right.format("grad_weight_hh_l0"))
    return table


def _outputs(kind: str) -> list[M]:
    call, y = f"{kind}{OF}", f"{kind}{OF})['output']"
    return [
        M("state-not-carried", through(carries=False),
          "every step begins with a state of zeros, not with that of the step before", unseen=ONE_STEP,
          wrong=f"{call}, carries=False)['output']", right=y),
        M("time-reversed", lambda e: output(e, x=_backwards(e.x)), "time runs from the last step to the first",
          unseen=ONE_STEP, wrong=y.replace("(x", "(x[:, ::-1]"), right=y),
        M("time-reversed", lambda e: _backwards(output(e, x=_backwards(e.x))),
          "time runs from the last step to the first, each state at its own step", unseen=ONE_STEP,
          wrong=y.replace("(x", "(x[:, ::-1]") + "[:, ::-1]", right=y),
        M("batch-for-time", _along_the_batch, "time runs along the batch: the first two axes are taken for each other",
          wrong=y.replace("(x", "(x.swapaxes(0, 1)") + ".swapaxes(0, 1)", right=y),
        M("bias-missing", _without("b_ih"), "b_ih is not added", unseen=ASLEEP,
          wrong=y.replace("b_ih", "0 * b_ih"), right=y),
        M("bias-missing", _without("b_hh"), "b_hh is not added", unseen=ASLEEP,
          wrong=y.replace("b_hh", "0 * b_hh"), right=y),
    ]  # fmt: skip


def _ways_back() -> list[Way]:
    return [
        ("truncated", "the gradient does not go back through the state: each step has its own dy_t alone",
         {"carries": False}, "carries=False"),
        ("output-gradient-lost", "dy_t is not added to the gradient of the state: only the last step's enters",
         {"adds": False}, "adds=False"),
    ]  # fmt: skip


def _sums(call: str, part: str, right: str) -> list[M]:
    """Of what is summed over time. The state before the first step is zero, and so is its part of dW_hh."""
    words = "only the {} time step enters: it is written (=), not added (+=), to the others"
    ends = [(-1, "last"), *([(0, "first")] if part != "grad_weight_hh_l0" else [])]
    return [
        *(M("steps-not-added-up", back(only=t), words.format(said), unseen=ONE_STEP,
            wrong=f"{call}, dy, only={t})['{part}']", right=right) for t, said in ends),
        M("mean-over-time", lambda e: e.ref / e.x.shape[1], "it is the mean over time, where the sum should be",
          unseen=ONE_STEP, wrong=f"{right} / x.shape[1]", right=right),
    ]  # fmt: skip


def _states(call: str, right: str) -> list[M]:
    return [
        M("state-after-for-before", back(after=True),
          "dW_hh takes the state after each step in the place of that before it",
          wrong=f"{call}, dy, after=True)['grad_weight_hh_l0']", right=right),
    ]  # fmt: skip
