"""Torch's names: layers and a loss as torch calls them, `Linear(4, 8), ReLU, Linear(8, 3)`, read and written.

Nothing of the text is run: it is parsed as Python, and its arguments are numbers, texts, True, False or None.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

from torch import nn

from compare.network.known import known
from compare.network.passing import astray, inputs, misfit
from compare.operations import LAYERS, LOSSES
from compare.operations.operation import Layer, Loss, Operation

Kind = TypeVar("Kind", bound=Operation)
LARGEST = 1e300  # of a number: larger ones are none in float64


def _named(kinds: Mapping[str, type[Kind]]) -> dict[str, type[Kind]]:
    return {name: of for of in kinds.values() for name in (of.torch_type.__name__, of.scratch_type.__name__)}


_KINDS: tuple[Any, ...] = (*LAYERS.values(), *LOSSES.values())
LAYER_NAMES = _named(LAYERS)
LOSS_NAMES = _named(LOSSES)
EXAMPLE = "Linear(4, 8), ReLU, Linear(8, 3)"
EXAMPLE_LOSS = "MSELoss(reduction='sum')"

# Arguments that say how a layer computes, and not what; samples are rows.
HOW: Mapping[str, tuple[Any, ...]] = {"inplace": (False, True), "dim": (1, -1)}


def _pair(least: int) -> Callable[[Any], bool]:
    """Whether it is a whole number of at least so much, or two in a tuple, of height and width."""
    return lambda v: all(type(n) is int and n >= least for n in (v if type(v) is tuple and len(v) == 2 else (v,)))


def _sizes(v: Any) -> bool:
    """Whether it is a whole number of at least 1, or some in a tuple or list."""
    found = v if type(v) in (tuple, list) else (v,)
    return bool(found) and all(type(n) is int and n >= 1 for n in found)


def _at_least_0(v: Any) -> bool:
    """Whether it is None, or numbers in a tuple or list."""
    return v is None or (type(v) in (tuple, list) and all(type(n) in (int, float) and 0 <= n < LARGEST for n in v))


# By the type of an operation's field: what is accepted, in words.
ACCEPTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "Pair": (_pair(1), "a whole number of at least 1, or two in a tuple"),
    "Pair | None": (lambda v: v is None or _pair(1)(v), "a whole number of at least 1, or two in a tuple"),
    "Padding": (_pair(0), "a whole number of at least 0, or two in a tuple"),
    "Sizes": (_sizes, "a whole number of at least 1, or several in a tuple"),
    "int": (lambda v: type(v) is int and v >= 1, "a whole number of at least 1"),
    "Earlier": (lambda v: type(v) is int and v >= -1, "the number of an earlier layer, or -1 for the input"),
    "float": (lambda v: type(v) in (int, float) and abs(v) < LARGEST, "a number"),
    "bool": (lambda v: type(v) is bool, "True or False"),
    "Nonlinearity": (lambda v: v in ("tanh", "relu"), "'tanh' or 'relu'"),
    "Reduction": (lambda v: v in ("mean", "sum"), "'mean' or 'sum'"),
    "Weights": (_at_least_0, "numbers of at least 0 in a tuple"),
    "Batched": (lambda v: v in ("mean", "batchmean", "sum"), "'mean', 'batchmean' or 'sum'"),
}


@dataclass(frozen=True)
class Unread:
    """An argument that is no number, text, True, False or None."""

    text: str

    def __repr__(self) -> str:
        return self.text


# --- reading ----------------------------------------------------------------------------------------------------------


def layers(text: str) -> tuple[Layer, ...]:
    """The layers in order, those of a Sequential in line; also as torch prints a Sequential. ValueError in one line."""
    found = [_made(node, LAYER_NAMES, "layer") for node in _flat(_parsed(_as_typed(text), EXAMPLE))]
    _expect_fit(found)
    return tuple(found)


def is_loss(text: str) -> bool:
    """Whether it begins with a loss's name."""
    return re.split(r"\W", re.sub(r"^\s*(\w+\s*\.\s*)+", "", text).strip())[0] in LOSS_NAMES


def loss(text: str) -> Loss:
    """ValueError in one line for a text that is more, or an argument that is not modelled."""
    nodes = _parsed(text, EXAMPLE_LOSS)
    if len(nodes) != 1:
        raise ValueError(f"got {len(nodes)} losses, {text!r}, expected one, such as {EXAMPLE_LOSS}")
    return _made(nodes[0], LOSS_NAMES, "loss")


def _as_typed(text: str) -> str:
    """A printed Sequential, whose lines begin with (0):, as one would type it."""
    without_numbers = re.sub(r"\(\w+\):", "", text)
    return re.sub(r"\)\s*\n(?!\s*[,;])", "),\n", without_numbers)


def _parsed(text: str, example: str) -> list[ast.expr]:
    text = " ".join(text.split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of odd numbers and backslashes, which Python reads all the same
            body = ast.parse(f"[{text}]", mode="eval").body
    except SyntaxError as error:
        at = max((error.offset or 0) - 2, 0)
        raise ValueError(f"cannot read {text[at : at + 40] or text[-40:]!r}, expected such as {example}") from None
    except (MemoryError, RecursionError):
        raise ValueError(f"it is nested too deeply, expected such as {example}") from None
    if not isinstance(body, ast.List):
        raise ValueError(f"cannot read {text[:40]!r}, expected such as {example}")
    return body.elts


def _flat(nodes: Sequence[ast.expr]) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, ast.Call) and _name(node) == "Sequential" and not node.keywords:
            yield from _flat(node.args)
        else:
            yield node


def _name(node: ast.expr) -> str:
    """ReLU, of ReLU, nn.ReLU() or torch.nn.ReLU()."""
    called = node.func if isinstance(node, ast.Call) else node
    if not isinstance(called, ast.Name | ast.Attribute):
        raise ValueError(f"cannot read {ast.unparse(node)!r}, expected such as {EXAMPLE}")
    return called.id if isinstance(called, ast.Name) else called.attr


def _made(node: ast.expr, names: Mapping[str, type[Kind]], what: str) -> Kind:
    kind, typed = known(_name(node), what, names), ast.unparse(node)
    given, usual = _arguments(node, kind)
    kind = _variant(kind, usual | given)
    modelled = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]
    for name, value in given.items():
        if name in modelled:
            accepts, words = ACCEPTED[modelled[name]]
            if not accepts(value):
                raise ValueError(f"{typed}: got {name}={value!r}, expected {words}")
        elif value not in (kind.variant.get(name, usual[name]), *HOW.get(name, ())):
            among = f", expected {' or '.join(map(repr, HOW[name]))}" if name in HOW else ""
            raise ValueError(f"{typed}: got {name}={value!r}, which is not checked{among}")
    return kind(**{name: value for name, value in given.items() if name in modelled})


def _variant(kind: type[Kind], arguments: Mapping[str, Any]) -> type[Kind]:
    """Among the operations of the same torch type, the one that these arguments make of it; itself where none does."""
    same = (of for of in _KINDS if of.torch_type is kind.torch_type)
    return next((of for of in same if of.variant.items() <= arguments.items()), kind)


def _arguments(node: ast.expr, kind: type[Operation]) -> tuple[dict[str, Any], dict[str, Any]]:
    """By torch's names: those that are given, and torch's usual ones. ValueError where torch would not take them."""
    takes = _signature(getattr(nn, _name(node), kind.torch_type))
    if not takes.parameters:  # of its recurrent layers torch hides them
        takes = _signature(kind.torch_type)
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    keywords = {each.arg or "**": _value(each.value) for each in call.keywords}
    try:
        given = takes.bind(*map(_value, call.args), **keywords).arguments
    except TypeError as error:
        raise ValueError(f"{ast.unparse(node)}: {error}") from None
    return given, {name: p.default for name, p in takes.parameters.items()}


def _signature(module: type) -> inspect.Signature:
    """Without *args and **kwargs, which a module without arguments inherits."""
    found = inspect.signature(module)
    either = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return found.replace(parameters=[p for p in found.parameters.values() if p.kind not in either])


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return Unread(ast.unparse(node))


def _expect_fit(found: Sequence[Layer]) -> None:
    """ValueError naming the first layer that takes what is not there, or another shape than leaves the one before."""
    if (why := astray(found)) is not None:
        raise ValueError(why)
    if (wrong := misfit(found)) is not None:
        k, own, before = wrong
        raise ValueError(f"layer {k}, {_call(found[k])}: got {inputs(own)} inputs, expected {inputs(before)}")
    if not any(layer.fans for layer in found):
        raise ValueError(f"got no Linear layer, expected at least one, such as {EXAMPLE}")


# --- writing ----------------------------------------------------------------------------------------------------------


def written(found: Sequence[Layer], of: Loss) -> str:
    """Both, as they can be read again."""
    return f"{', '.join(map(_call, found))}; {_call(of)}"


def _call(operation: Any) -> str:
    """Its name, and those of its arguments that are not the usual ones."""
    values = [(f, getattr(operation, f.name)) for f in fields(operation)]
    usual = _signature(type(operation).torch_type).parameters
    variant = [f"{name}={v!r}" for name, v in operation.variant.items() if v != usual[name].default]
    shown = [f"{v!r}" if f.default is MISSING else f"{f.name}={v!r}" for f, v in values if v != f.default]
    return type(operation).torch_type.__name__ + (f"({', '.join(shown + variant)})" if shown + variant else "")
