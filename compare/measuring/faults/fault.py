"""Fault: a mistake that somebody really makes, written as edits of the code.

An edit names a function and a piece of its source, and what stands there instead. The piece must occur exactly once, so
that a refactoring cannot silently turn a fault into none.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Literal

import numpy as np

from compare.network.optimizer import OptimizerSpec

Place = tuple[str, str]  # a layer's number or "loss", and a tensor's name in the record
Target = Literal["labels", "one-hot", "soft", "unnormalised", "values", "bits", "signs"]

NETWORK = "5-7-4 relu, softmax cross-entropy"  # layers 0 Linear 5 -> 7, 1 ReLU, 2 Linear 7 -> 4
SGD = OptimizerSpec("SGD", {"lr": 0.1})
BOTH = ("float64", "float32")

# what `hidden` says of many
ONE_ROW = "no difference with one row"
ZERO_BIAS = "no difference where all biases are zero"
ALL_ACTIVE = "no difference where all units are active"
FIRST_STEP = "no difference in the first step"


def at(tensor: str, layer: str = "") -> frozenset[Place]:
    """One place; the layer is the one that the tensor is named after unless another is given."""
    return frozenset({(layer or tensor.partition(".")[0], tensor)})


def shown(size: float) -> str:
    """A graded fault's size: 64, 0.5, 1e-3."""
    return f"{size:g}" if 0.01 <= size < 1e4 else np.format_float_scientific(size, trim="-", exp_digits=1)


@dataclass(frozen=True)
class Edit:
    """In `function` ("one_hot", "Linear.backward") of `module`, `old`, which occurs there once, becomes `new`."""

    module: str
    function: str
    old: str
    new: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """For the length of the block the function is the edited one. ValueError if `old` is not there just once."""
        owner, name = self._owner()
        original = vars(owner)[name]
        setattr(owner, name, self._compiled(owner, original))
        try:
            yield
        finally:
            setattr(owner, name, original)

    def count(self) -> int:
        """How often `old` occurs in the function as it now is."""
        owner, name = self._owner()
        return _source(vars(owner)[name]).count(self.old)

    def _owner(self) -> tuple[type | ModuleType, str]:
        """The class or module that defines the function, and its name there."""
        owner: Any = importlib.import_module(self.module)
        *classes, name = self.function.split(".")
        for part in classes:
            owner = vars(owner)[part]
        if not isinstance(vars(owner).get(name), FunctionType):
            raise ValueError(f"{self}: no such function")
        return owner, name

    def _compiled(self, owner: type | ModuleType, original: FunctionType) -> Callable[..., Any]:
        """The edited function, in its own module's namespace; nested in another, so that `super()` finds its class."""
        if self.count() != 1:
            raise ValueError(f"{self}: {self.old!r} occurs {self.count()} times, expected once")
        source = _source(original).replace(self.old, self.new)
        nested = f"def planted(__class__):\n{textwrap.indent(source, '    ')}\n    return {original.__name__}\n"
        flags = __future__.annotations.compiler_flag
        found: dict[str, Any] = {}
        exec(compile(nested, f"<{self}>", "exec", flags, dont_inherit=True), original.__globals__, found)
        edited = found["planted"](owner)
        edited.__qualname__, edited.planted_source = original.__qualname__, source
        function: Callable[..., Any] = edited
        return function

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"


def _source(function: Any) -> str:
    """The source from column 0, also of a function that is itself a planted one."""
    planted: str | None = getattr(function, "planted_source", None)
    return planted if planted is not None else textwrap.dedent(inspect.getsource(function))


@dataclass(frozen=True)
class Fault:
    """One kind of mistake, what shows it, and where the first divergence then is.

    `where` holds the acceptable places of the first divergence, which comes at training step `step`. `network`,
    `optimizer`, `rows` (of each step's batch), `scale` (of the inputs), `bias` (standard deviation of the biases),
    `image` (height and width, where the network takes images), `target` and `zero_row` (the first sample is all zeros)
    are what shows it. `hidden` says on which inputs it makes no difference at all; it is empty where there are hardly
    any. `size` is that of a graded fault.
    """

    name: str
    summary: str
    family: str
    edits: tuple[Edit, ...]
    where: frozenset[Place]
    step: int = 1
    network: str = NETWORK
    optimizer: OptimizerSpec = SGD
    rows: tuple[int, ...] = (6, 3)
    scale: float = 1.0
    bias: float = 0.5
    image: tuple[int, int] = (7, 5)
    target: Target | None = None
    zero_row: bool = False
    dtypes: tuple[str, ...] = BOTH
    hidden: str = ""
    size: float | None = None

    @property
    def exact(self) -> bool:
        """Whether there are inputs on which it makes no difference at all: see `hidden`."""
        return bool(self.hidden)

    @property
    def steps(self) -> int:
        """The training steps that are run to show it."""
        return len(self.rows)

    @property
    def in_reference(self) -> bool:
        """Whether it is planted in what candidates are held against."""
        return any(not edit.module.startswith("scratch") for edit in self.edits)

    @contextmanager
    def planted(self) -> Iterator[None]:
        """For the length of the block the code has this fault, and those of enclosing blocks; never after it."""
        with ExitStack() as undo:
            for edit in self.edits:
                undo.enter_context(edit.planted())
            yield

    def __str__(self) -> str:
        return f"{self.name}: {self.summary}"
