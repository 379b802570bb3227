"""The options of training: said once, shown by help(), and an unknown one is refused with the nearest name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from compare.training.lockstep import train_in_lockstep
from compare.training.runs import train_both
from scratch.training import fit, train
from scratch.training_options import EpochOptions, TrainingOptions, takes

TAKERS = [
    (train, TrainingOptions),
    (fit, TrainingOptions),
    (train_both, TrainingOptions),
    (train_in_lockstep, EpochOptions),
]


@pytest.mark.parametrize(("function", "options"), TAKERS)
def test_help_shows_every_option_with_its_default(function: Callable[..., Any], options: type) -> None:
    shown = inspect.signature(function).parameters
    for field in fields(options):
        assert field.name == "epochs" or shown[field.name].default == field.default
    assert not any(each.kind is each.VAR_KEYWORD for each in shown.values())
    assert inspect.getdoc(options) in str(inspect.getdoc(function))


@pytest.mark.parametrize("function", [function for function, _ in TAKERS])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batchsize", "got an unknown option 'batchsize', did you mean 'batch_size'?"),
        ("epoch", "got an unknown option 'epoch', did you mean 'epochs'?"),
        ("suffle", "got an unknown option 'suffle', did you mean 'shuffle'?"),
        ("zzz", "got an unknown option 'zzz', expected one of "),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_name(
    function: Callable[..., Any], name: str, message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        function(**{name: 1})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "max_batches", "fingerprint_steps", "checkpoint_steps"])
def test_a_count_is_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"got {name}=0, expected a whole number of at least 1"):
        TrainingOptions(**{"epochs": 1, name: 0})


def test_an_option_of_its_own_stays_the_functions() -> None:
    def source(*, a: int = 1, b: int = 2) -> None:
        """Of the source."""

    @takes(source)
    def function(x: int, *, b: int = 3, **options: int) -> tuple[int, int, dict[str, int]]:
        """Of the function."""
        return x, b, options

    assert str(inspect.signature(function)).startswith("(x: 'int', *, b: 'int' = 3, a: 'int' = 1)")
    assert function(0, a=5) == (0, 3, {"a": 5})
    assert function.__doc__ == "Of the function.\n\nOf the source."
