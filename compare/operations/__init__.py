"""Operations: all that the checker knows of each layer, loss and optimiser; one file an operation.

Every module of this folder that holds an operation is registered by being there. An operation that lacks a part is an
error when the package is imported (`Operation.expect_complete`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from compare.operations import any_loss, any_update, anywhere, handed_on
from compare.operations.letters import Letters
from compare.operations.mistake import ANYWHERE, Mistake, Table
from compare.operations.operation import Layer, Loss, Operation, Optimizer

Kind = TypeVar("Kind", bound=Operation)


def _found(base: type[Kind]) -> dict[str, type[Kind]]:
    """By kind, every complete operation of this sort, in the order of their files."""
    found: dict[str, type[Kind]] = {}
    for module in pkgutil.iter_modules(__path__):
        name = f"{__name__}.{module.name}"
        for member in vars(importlib.import_module(name)).values():
            here = inspect.isclass(member) and issubclass(member, base) and member.__module__ == name
            if here and module.name != "operation":
                member.expect_complete()
                if (other := found.get(member.kind)) is not None:
                    raise TypeError(f"{member.__name__} has the kind of {other.__name__}, {member.kind!r}")
                found[member.kind] = member
    return found


LAYERS = _found(Layer)  # type: ignore[type-abstract]
LOSSES = _found(Loss)  # type: ignore[type-abstract]
OPTIMIZERS = _found(Optimizer)  # type: ignore[type-abstract]
STATES = tuple(dict.fromkeys(state for method in OPTIMIZERS.values() for state in method.states))


def layer_type(layer: Any) -> type[Layer] | None:
    """What a scratch or torch layer is; None for one that is not known."""
    return next((known for known in LAYERS.values() if known.accepts(layer)), None)


def loss_type(loss: Any) -> type[Loss] | None:
    """What a scratch or torch loss is, or is derived from; None for one that is not known."""
    for of in type(loss).__mro__:
        for known in LOSSES.values():
            if of in (known.scratch_type, known.torch_type):
                return known
    return None


# --- known mistakes ---


_PLACED: dict[tuple[int, str], tuple[Table, tuple[Mistake, ...]]] = {}  # with the table, so that its id stays its own


def _placed(table: Table, place: str) -> tuple[Mistake, ...]:
    """A table's mistakes with their places; the same objects for every operation that shares the table."""
    if (id(table), place) not in _PLACED:
        rows = (replace(m, place=place.format(part)) for part, mistakes in table.items() for m in mistakes)
        _PLACED[id(table), place] = table, tuple(rows)
    return _PLACED[id(table), place][1]


def mistakes_of(operation: type[Operation]) -> tuple[Mistake, ...]:
    """An operation's own mistakes, then those that several share."""
    if issubclass(operation, Loss):
        return _placed(operation.mistakes, "{}") + _placed(any_loss.MISTAKES, "{}")
    if issubclass(operation, Optimizer):
        return _placed(operation.mistakes, "update.{}") + _placed(any_update.MISTAKES, "update.{}")
    return _placed(operation.mistakes, f"{operation.kind}.{{}}")


HANDED_ON = _placed(handed_on.MISTAKES, "{}")
EVERYWHERE = _placed(anywhere.MISTAKES, ANYWHERE)


def mistakes_at(place: str, e: Letters) -> list[Mistake]:
    """Those that can be made where these letters are: the operation's own first, what can be anywhere last."""
    known = (*mistakes_of(type(e.operation)), *HANDED_ON, *EVERYWHERE)
    return [m for m in known if m.place in (place, ANYWHERE)]


@cache
def all_mistakes() -> tuple[Mistake, ...]:
    """Every known mistake once."""
    known = [m for of in (LAYERS, LOSSES, OPTIMIZERS) for operation in of.values() for m in mistakes_of(operation)]
    return tuple({id(m): m for m in (*known, *HANDED_ON, *EVERYWHERE)}.values())


@cache
def causes() -> tuple[str, ...]:
    """Of all mistakes, each once."""
    return tuple(dict.fromkeys(m.cause for m in all_mistakes()))
