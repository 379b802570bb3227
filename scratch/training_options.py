"""What can be chosen about a training, said once; every function that trains takes these as keyword arguments."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from scratch.history import History

Watch = Callable[[dict[str, NDArray[Any]]], dict[str, float]]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class EpochOptions:
    """An epoch's order is `rng.permutation(n)`, its batches (at most `max_batches`) consecutive slices of that.

    With `evaluate_train` the training figures are taken over the whole set after the epoch, as those of validation are;
    `watch(weights)`, numbers by name, is called before the first epoch and after each, for `history.watched`.
    `history.fingerprints` has a hash of the state at the start, after every epoch, and every `fingerprint_steps`.
    """

    batch_size: int = 128
    shuffle: bool = True
    drop_last: bool = False
    max_batches: int | None = None
    evaluate_train: bool = False
    watch: Watch | None = None
    fingerprint_steps: int | None = None

    def __post_init__(self) -> None:
        expect_count("batch_size", self.batch_size)
        for name in ("fingerprint_steps", "max_batches"):
            if getattr(self, name) is not None:
                expect_count(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(EpochOptions):
    """Training lasts for `epochs` epochs in all, or until `stop(history)` returns True after one of them.

    With `checkpoint_dir`, the state is saved there at the start, after every epoch and every `checkpoint_steps`; with
    `resume`, training goes on from there, also from within an epoch, and ends in the same bits as without the
    interruption. `configuration`: facts (JSON) that a checkpoint must share.
    """

    epochs: int
    stop: Callable[[History], bool] | None = None
    checkpoint_dir: str | Path | None = None
    checkpoint_steps: int | None = None
    resume: bool = False
    configuration: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        expect_count("epochs", self.epochs)
        super().__post_init__()
        if self.checkpoint_steps is not None:
            expect_count("checkpoint_steps", self.checkpoint_steps)
        if self.resume and self.checkpoint_dir is None:
            raise ValueError("resume=True needs a checkpoint_dir")


def takes(source: Callable[..., Any]) -> Callable[[Function], Function]:
    """For a function whose **options are keyword arguments of `source`: help() shows them, with what `source` says.

    An argument that neither of them has is a TypeError that names the nearest one.
    """

    def decorated(function: Function) -> Function:
        own = inspect.signature(function)
        named = {name: each for name, each in own.parameters.items() if each.kind is not each.VAR_KEYWORD}
        more = [each for name, each in inspect.signature(source).parameters.items() if _is_option(each, named)]
        known = own.replace(parameters=[*named.values(), *more])

        @functools.wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            for name in options:
                if name not in known.parameters:
                    raise TypeError(_unknown(function.__name__, name, list(known.parameters)))
            return function(*arguments, **options)

        checked.__signature__ = known  # type: ignore[attr-defined]
        told = [function, *(each for each in getattr(source, "__mro__", [source]) if each is not object)]
        checked.__doc__ = "\n\n".join(inspect.getdoc(each) or "" for each in told)
        return cast(Function, checked)

    return decorated


def _is_option(each: inspect.Parameter, named: Mapping[str, object]) -> bool:
    return each.kind is each.KEYWORD_ONLY and each.name not in named


def _unknown(function: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    instead = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"{function}() got an unknown option {name!r}, {instead}"


def expect_count(name: str, value: int) -> None:
    """ValueError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"got {name}={value!r}, expected a whole number of at least 1")
