"""Operation: what the checker must know of a layer, a loss or an optimiser; a part that is missing is an error.

One file an operation. Whoever needs something of one asks the operation itself; nothing outside knows its letters, its
shapes or its formulas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import Function, copied, derivative, double, tensor, value
from compare.operations.letters import Letters
from compare.operations.mistake import Table, Unseen

Shape = tuple[int, ...]
Scalar = Callable[[Array], float]

Earlier = int  # the number of an earlier layer; -1 is what enters the network

ANY = -1  # in a shape: as many as what enters has


@dataclass(frozen=True)
class Part:
    """A tensor that an operation computes: its formula as the report prints it, and the letters that enter."""

    formula: str
    letters: tuple[str, ...]

    @classmethod
    def of(cls, formula: str, letters: str) -> Part:
        """From the letters with a blank between."""
        return cls(formula, tuple(letters.split()))


class Operation(ABC):
    """What layers, losses and optimisers have in common."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("kind", "scratch_type", "torch_type", "mistakes")

    kind: ClassVar[str]
    scratch_type: ClassVar[type]
    torch_type: ClassVar[type]
    variant: ClassVar[Mapping[str, Any]] = {}  # those arguments of its types, and their values, that make it of them
    mistakes: ClassVar[Table]  # those that are known of it, by the part in which they are made

    @classmethod
    def expect_complete(cls) -> None:
        """TypeError naming what is missing, or a place in its table of mistakes that it does not have."""
        lacking = [name for name in cls.REQUIRED if getattr(cls, name, None) in (None, "", (), {})]
        lacking += sorted(getattr(cls, "__abstractmethods__", ()))
        base = next(of.__name__ for of in cls.__mro__ if of.__module__ == __name__)
        if lacking := lacking or cls.lacking_parts():
            raise TypeError(f"{cls.__name__} lacks {', '.join(lacking)}: see {base} in operation.py")
        if unknown := set(cls.mistakes) - set(cls.places()):
            raise TypeError(f"{cls.__name__} has mistakes at {', '.join(sorted(unknown))}, expected {cls.places()}")

    @classmethod
    @abstractmethod
    def places(cls) -> tuple[str, ...]:
        """The parts in which a mistake can be made."""

    @classmethod
    def lacking_parts(cls) -> list[str]:
        """What is missing of its parts, in words."""
        return []


# --- layers ---


@dataclass(frozen=True)
class Layer(Operation):
    """A layer y = f(x), with or without parameters, whose fields are its sizes and constants.

    `letters` are its own, each with the part of the record that it stands for; `parts` are the tensors that it
    computes, up to "output", then gradients in order of execution. Those that are `drawn` at random are taken as the
    candidate has them, and judged for being such as may be drawn. For every part it has a method of that name, which
    takes the arrays of the part's letters as the candidate has them, and gives the value by PyTorch in float64 with its
    allowance. `written` is the output by the same formula written once more.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = (*Operation.REQUIRED, "letters", "parts")

    letters: ClassVar[Mapping[str, str]] = {"x": "input", "y": "output", "dy": "grad_output"}
    parts: ClassVar[Mapping[str, Part]]
    attributes: ClassVar[tuple[str, ...]] = ()  # of a scratch layer of its type, beside params and grads
    is_affine: ClassVar[bool] = False  # y = x W^T + b, or without b
    kinked: ClassVar[bool] = False  # its derivative jumps at x = 0
    sized: ClassVar[bool] = False  # its kind is a word of a network's text, and it is made of the columns that enter
    drawn: ClassVar[tuple[str, ...]] = ()  # at random in training: also attributes of a scratch layer of its type
    reshapes: ClassVar[bool] = False  # what leaves has another shape than what enters, though it has no sizes
    constants: ClassVar[tuple[type, ...]] = (int, float, bool)  # of its fields
    unseen: ClassVar[Unseen | None] = None  # why mistakes in it make no difference
    entering: ClassVar[Shape | None] = None  # the shape of x, where the layer says it
    leading: ClassVar[bool] = False  # any axes may stand before those of x that it names
    instead: ClassVar[int | None] = None  # the earlier layer whose output it takes, not the last one's; -1: the input
    also: ClassVar[int | None] = None  # the earlier layer whose output it takes as well, as its part "other"
    rows_only: ClassVar[bool] = False  # x is a matrix
    classes: ClassVar[int | None] = None  # x is class numbers from 0 to one less, where the layer takes no other

    @classmethod
    def places(cls) -> tuple[str, ...]:
        return tuple(cls.parts)

    @classmethod
    def lacking_parts(cls) -> list[str]:
        unknown = [part for part in cls.parts if not cls.mistakes.get(part)]
        methods = [f"method {part}" for part in cls.parts if not hasattr(cls, part)]
        return methods + [f"known mistakes of {part}" for part in unknown]

    @classmethod
    @abstractmethod
    def of(cls, layer: Any, place: str) -> Self:
        """From a scratch or a torch layer of its type. TypeError naming the place where it is none that is known."""

    @abstractmethod
    def written(self, e: Letters) -> Bounded:
        """The output, by the formula written once more in NumPy."""

    @abstractmethod
    def to_scratch(self, **options: Any) -> scratch.Layer:
        """A layer of the project; `options` are those of a layer with parameters: rng, dtype, initialisers."""

    @abstractmethod
    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        """The same in PyTorch."""

    def draws(self, module: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
        """What a torch module of its type is about to draw for x, by part; its random numbers stay as they are."""
        return {}

    @classmethod
    def named(cls) -> str:
        """In a message that lists what is known."""
        return cls.scratch_type.__name__

    @classmethod
    def accepts(cls, layer: Any) -> bool:
        """Whether it is of this operation's types."""
        is_of_type = isinstance(layer, cls.scratch_type | cls.torch_type)
        return is_of_type and all(getattr(layer, name, None) == each for name, each in cls.variant.items())

    @property
    def computed(self) -> Mapping[str, Part]:
        """The parts that this very layer computes."""
        return self.parts

    def needs(self, part: str, has: Callable[[str], bool]) -> tuple[str, ...]:
        """The letters that a part is computed from; `has` says whether a letter was handed in."""
        return self.computed[part].letters

    def parameters(self) -> dict[str, Shape]:
        """Names and shapes of its parameters, torch's."""
        return {}

    def buffers(self) -> dict[str, Shape]:
        """Names and shapes of what its forward pass in training changes, torch's; "running_mean" of the part
        "new_running_mean"."""
        return {}

    def leaving(self, entering: Shape) -> Shape:
        """The shape of y from that of x."""
        return entering

    @property
    def fans(self) -> tuple[int, int] | None:
        """Columns of x and of y, where they are rows and the layer says them."""
        return None

    @property
    def jumps(self) -> bool:
        """Whether its derivative jumps anywhere."""
        return self.kinked

    def near_kink(self, x: Array, allowed: Array) -> NDArray[np.bool_]:
        """Where x is so near to a jump of the derivative that a correct x may be on either side of it."""
        near: NDArray[np.bool_] = (np.abs(x) <= allowed) & (allowed > 0)
        return near

    def either_side(self, twin: Array, x: Array, allowed: Array, rng: np.random.Generator) -> Array:
        """A twin of x, put on either side of each such jump at random."""
        away = np.maximum(np.abs(twin), np.finfo(np.float64).tiny)
        return np.where(self.near_kink(x, allowed), rng.choice([-1.0, 1.0], x.shape) * away, twin)

    def expect_parameters(self, layer: Any, place: str) -> None:
        """TypeError naming the place unless a scratch layer holds arrays under the names of its parameters."""
        for name, shape in self.parameters().items():
            if name not in layer.params:
                raise TypeError(f"{place}: params has {sorted(layer.params)}, expected {sorted(self.parameters())}")
            if not isinstance(layer.params[name], np.ndarray):
                kind = type(layer.params[name]).__name__
                raise TypeError(f"{place}: params[{name!r}] is a {kind}, expected an array {shape}")

    @abstractmethod
    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """A function of one tensor, and that tensor, whose derivative with respect to element `index` is the part's."""

    def products(self, part: str, e: Letters) -> tuple[Bounded, Bounded, Bounded | None] | None:
        """(a, b, addend) where the part is the product a b + addend; None where it is no product."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Kind and fields, for a file."""
        return {"kind": self.kind} | asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave. ValueError for anything else."""
        named = {f.name: found[f.name] for f in fields(cls) if f.name in found}
        named = {name: tuple(v) if isinstance(v, list) else v for name, v in named.items()}
        if {"kind", *named} != set(found) or any(type(v) not in cls.constants for v in named.values()):
            raise ValueError(f"found the layer {str(found)[:80]}, expected {cls.kind} with its own options")
        return cls(**named)

    def __str__(self) -> str:
        return self.scratch_type.__name__


def in_brackets(operation: Any, k: int) -> str:
    """Its field k, as a network's text has it, where there is one and it is not the usual one."""
    found = [(getattr(operation, f.name), f.default) for f in fields(operation)[k : k + 1]]
    return "".join(f"({number!r})" for number, usual in found if number != usual)


class Activation(Layer):
    """y = f(x), element by element or row by row, without parameters."""

    REQUIRED: ClassVar[tuple[str, ...]] = (*Layer.REQUIRED, "function", "bounded")

    function: Function
    bounded: Callable[[Bounded], Bounded]

    @abstractmethod
    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        """Of y."""

    @abstractmethod
    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        """Of dx."""

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        """Its fields are the layer's attributes of the same names, which are numbers."""
        named = {f.name: getattr(layer, f.name, None) for f in fields(cls)}
        for name, number in named.items():
            if not isinstance(number, int | float):
                raise TypeError(f"{place}: {name} is {number!r}, expected a number")
        return cls(**named)

    @property
    def word(self) -> str:
        """In a network's text: its kind, and in brackets its first number where that is not the usual one."""
        return self.kind + in_brackets(self, 0)

    def apply(self, x: Array) -> Array:
        """y, without an allowance."""
        return value(self.function, x)

    def output(self, x: Array, p: Precision) -> Expected:
        x = double(x)
        y = self.apply(x)
        return Expected(y, self.allowed(x, y, p))

    def grad_input(self, x: Array, dy: Array, p: Precision) -> Expected:
        x, dy = double(x), double(dy)
        return Expected(derivative(self.function, x, dy), self.allowed_grad(x, dy, p))

    def written(self, e: Letters) -> Bounded:
        return self.bounded(e.x)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """Of the element's own row: little is then lost to cancellation."""
        row, dy = index[0], e.dy.value
        return lambda x: float((dy[row] * self.bounded(Bounded.of(x[row : row + 1], e.p)).value).sum()), e.x.value

    def to_scratch(self, **options: Any) -> scratch.Layer:
        layer: scratch.Layer = self.scratch_type(**asdict(self), **self.variant)
        return layer

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        module: nn.Module = self.torch_type(**asdict(self), **self.variant)
        return module


@dataclass(frozen=True)
class RowActivation(Activation):
    """Of each row of a matrix. Samples are rows, so torch's dim is 1, or -1, which is the same of a matrix alone."""

    rows_only = True

    @classmethod
    def named(cls) -> str:
        return f"{cls.scratch_type.__name__} (over columns)"

    @classmethod
    def accepts(cls, layer: Any) -> bool:
        return super().accepts(layer) and getattr(layer, "dim", 1) in (1, -1)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        module: nn.Module = self.torch_type(dim=1)
        return module


# --- losses ---

Reduction = Literal["mean", "sum", "batchmean"]


@dataclass(frozen=True)
class Loss(Operation):
    """A loss L(y, t) of the network's output y (m, n) and the target, whose fields are the reduction and its constants.

    `words` are its names in a network's text, the usual one first. A mean is over the samples where `per_sample`, else
    over all elements. `takes_labels`: class numbers may be the target. `logarithmic`: it takes logarithms of
    probabilities; `binary`: of each and of its complement. `signed`: its target holds -1 and 1.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = (*Operation.REQUIRED, "words", "parts", "summed_gradient")

    letters: ClassVar[Mapping[str, str]] = {"y": "output"}
    words: ClassVar[tuple[str, ...]]
    reductions: ClassVar[tuple[Reduction, ...]] = ("mean", "sum")
    parts: ClassVar[Mapping[str, str]]  # formulas of "loss" and "loss.gradient"
    summed_gradient: ClassVar[str]  # the latter's, where the loss is summed
    per_sample: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False  # class numbers as a target
    logarithmic: ClassVar[bool] = False
    binary: ClassVar[bool] = False
    signed: ClassVar[bool] = False

    reduction: Reduction = "mean"

    @classmethod
    def places(cls) -> tuple[str, ...]:
        return tuple(cls.parts)

    @classmethod
    def of(cls, loss: Any) -> Self:
        """From a scratch or a torch loss of its type, by its attributes. TypeError for one that is none of a loss."""
        found = {f.name: getattr(loss, f.name, None) for f in fields(cls)}
        _, *constants = found.values()
        reduction = cls.reduction_of(loss)
        if not all(isinstance(c, int | float) for c in constants):
            raise TypeError(f"{loss}: expected a number for {', '.join(list(found)[1:])}")
        return cls(reduction, *constants)

    @classmethod
    def reduction_of(cls, loss: Any) -> Reduction:
        """That of a scratch or a torch loss. TypeError for one that it does not have."""
        found = getattr(loss, "reduction", None)
        if found not in cls.reductions:
            known = " or ".join(map(repr, cls.reductions))
            raise TypeError(f"{type(loss).__name__}: got reduction {found!r}, expected {known}")
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave, and a reduction. ValueError for a constant that is no number."""
        constants = {f.name: found.get(f.name, f.default) for f in fields(cls)[1:]}
        if any(type(c) not in (int, float) for c in constants.values()):
            raise ValueError(f"found the loss {cls.kind} with {str(constants)[:80]}, expected numbers")
        return cls(found["reduction"], **constants)

    def to_dict(self) -> dict[str, Any]:
        """Kind and fields, for a file."""
        return {"loss": self.kind} | asdict(self)

    @abstractmethod
    def terms(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        """The summands (m, n) written out, with an epsilon in the logarithms."""

    @abstractmethod
    def slope(self, y: Bounded, t: Bounded, eps: float = 0.0) -> Bounded:
        """The derivative of the sum of the summands, written out."""

    @abstractmethod
    def allowed(self, y: Array, t: Array, count: float, p: Precision, value: Array) -> Allowance:
        """Of the loss; t as rows."""

    @abstractmethod
    def allowed_grad(self, y: Array, t: Array, count: float, p: Precision, dy: Array) -> Allowance:
        """Of its gradient; t as rows."""

    def probabilities(self, y: Bounded) -> Bounded | None:
        """What the loss takes the logarithm of; None for a loss without one."""
        return None

    def lost_in_probabilities(self, y: Array, t: Array, count: float, p: Precision) -> float:
        """What the loss may be off beside its allowance, where it is computed from probabilities that were rounded."""
        return 0.0

    def slope_from(self, q: Bounded, t: Bounded) -> Bounded:
        """`slope`, from the probabilities."""
        return self.slope(q, t)

    def asked(self, t: Bounded) -> Bounded:
        """The target as it enters the summands."""
        return t

    def affine(self, y: Bounded, t: Bounded) -> tuple[Array, Array] | None:
        """(a, b) where `slope` is a + b t; None where it is not of this form."""
        a = self.slope(y, t * 0.0).value
        return a, self.slope(y, t * 0.0 + 1.0).value - a

    def count(self, rows: int, elements: int) -> int:
        """What it divides by."""
        if self.reduction == "sum":
            return 1
        return rows if self.per_sample else elements

    def divisor(self, t: Array, rows: int, elements: int) -> float:
        """The same for this target, where it depends on that."""
        return self.count(rows, elements)

    def loss(self, y: Array, t: Array, p: Precision) -> Expected:
        """L, a scalar, from the network's output y (m, n) and the target."""
        y, t = double(y), double(t)
        rows, count = self.as_rows(t, y), self.divisor(t, len(y), y.size)
        found = value(self._function(t), y)
        return Expected(found, self.allowed(y, rows, count, p, found), headroom=2 * count)

    def gradient(self, y: Array, t: Array, p: Precision) -> Expected:
        """dL/dy (m, n)."""
        y, t = double(y), double(t)
        rows, count = self.as_rows(t, y), self.divisor(t, len(y), y.size)
        dy = derivative(self._function(t), y, np.ones(()))
        return Expected(dy, self.allowed_grad(y, rows, count, p, dy), headroom=2 * count)

    def as_rows(self, t: Array, y: Array) -> Array:
        """The target in the shape of y: class numbers as one-hot rows. ValueError for a target that does not fit y."""
        if t.shape == y.shape:
            return t
        if not self.takes_labels or t.shape != y.shape[:1] or t.dtype.kind not in "iu":
            labels = f", or {len(y)} class numbers" if self.takes_labels else ""
            raise ValueError(f"target: got {t.dtype} {t.shape}, expected {y.dtype} {y.shape}{labels}")
        if (wrong := np.flatnonzero((t < 0) | (t >= y.shape[1]))).size:
            at = int(wrong[0])
            raise ValueError(f"target: got label {t[at]} at row {at}, expected 0 to {y.shape[1] - 1}")
        return np.eye(y.shape[1])[t]

    def _function(self, t: Array) -> Function:
        module, target = self.to_torch(), tensor(t.astype(np.int64) if t.dtype.kind in "iu" else t)
        return lambda y: module(y, target)

    def formula(self, part: str) -> str:
        """As the report prints it."""
        if part == "loss":
            return self.parts[part] + {"sum": " (summed)", "mean": " (mean)"}[self.reduction]
        return self.parts[part] if self.reduction == "mean" else self.summed_gradient

    def to_scratch(self) -> scratch.Loss:
        """A loss of the project."""
        loss: scratch.Loss = self.scratch_type(**asdict(self))
        return loss

    def to_torch(self) -> nn.Module:
        """The same in PyTorch."""
        return _module(self)

    def torch_arguments(self) -> dict[str, Any]:
        """Of its torch type."""
        return asdict(self)

    def difference(self, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """The loss of the element's own row, as a function of y, and y."""
        rows, t = slice(index[0], index[0] + 1), e.t

        def of(y: Array) -> float:
            with np.errstate(all="ignore"):
                return float(self.terms(Bounded.of(y, e.p), t).value[rows].sum()) / e.count

        return of, e.y.value

    def __str__(self) -> str:
        return f"{self.words[0]}{in_brackets(self, 1)}{'' if self.reduction == 'mean' else f' {self.reduction}'}"


@cache
def _module(loss: Loss) -> nn.Module:
    module: nn.Module = loss.torch_type(**loss.torch_arguments())
    return module


# --- optimisers ---

Options = Mapping[str, float | bool]


class Optimizer(Operation):
    """A method of descent; its options by torch's names (betas as beta1, beta2).

    `parts` are the tensors that a step makes, by the state's names, "" for the parameter.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = (*Operation.REQUIRED, "parts", "states", "options")

    letters: ClassVar[Mapping[str, str]] = {}
    parts: ClassVar[Mapping[str, str]]  # formulas
    states: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]]  # those that are modelled
    counts: ClassVar[bool] = False  # whether its step depends on how many there were

    @classmethod
    def places(cls) -> tuple[str, ...]:
        return ("parameter", *cls.states)

    @abstractmethod
    def kept(self, options: Options) -> tuple[str, ...]:
        """The state that it keeps for a parameter with these options, by torch's names."""

    @abstractmethod
    def allowed(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Allowance]:
        """Of the parameter after the step, "", and of the state."""

    @abstractmethod
    def written(self, e: Letters, g: Bounded | None = None, *, decay: str = "right", times: int = 1) -> Bounded:
        """The parameter, or the part of the state, after one step: along another gradient `g`, with another weight
        decay, so many `times`. Further options make a variant of this very optimiser."""

    def update(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Expected]:
        """One step from the same state: {"": the parameter after, "exp_avg": ..., ...}.

        `step` counts from 1; `state` holds the state before (empty at the first step).
        """
        before, g, state = double(before), double(g), {name: double(a) for name, a in state.items()}
        after = self._by_torch(options, step, before, g, state)
        allowances = self.allowed(options, step, before, g, state, p)
        return {name: Expected(a, allowances[name]) for name, a in after.items()}

    def _by_torch(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array]
    ) -> dict[str, Array]:
        """What torch.optim itself makes of this parameter, gradient and state, in float64."""
        parameter, held = copied(before), {name: copied(a) for name, a in state.items()}
        after = self.stepped(options, step, parameter, copied(g), held)
        return {"": parameter.numpy(), **{name: a.numpy() for name, a in after.items()}}

    @abstractmethod
    def stepped(
        self, options: Options, step: int, parameter: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The state after a step of torch's, which changes the parameter in its place.

        By the function in torch.optim: the first object of it imports torch's compiler, which takes a second.
        """


def packed(options: Options) -> dict[str, Any]:
    """Options as constructors take them: beta1 and beta2 as betas."""
    found: dict[str, Any] = dict(options)
    if "beta1" in found:
        found["betas"] = (found.pop("beta1"), found.pop("beta2"))
    return found


def unpacked(options: Mapping[str, Any]) -> dict[str, float | bool]:
    """The other way."""
    found = dict(options)
    if "betas" in found:
        found["beta1"], found["beta2"] = found.pop("betas")
    return found
