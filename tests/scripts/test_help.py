"""--help: the examples are there, and each of them is a command that the parser takes."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize("name", ["check_parity", "check_submissions"])
def test_the_examples_of_help_are_taken(script: Callable[..., Any], name: str) -> None:
    outcome = script(name, "--help")
    assert outcome.code == 0
    examples = [line.strip() for line in outcome.out.splitlines() if line.startswith(f"  {name}.py")]
    assert len(examples) >= 2
    parser = importlib.import_module(name)._parser()
    for example in examples:
        own, _, _ = example.partition("   ")[0].partition(" -- ")  # after it stand a program's answers
        parser.parse_args(shlex.split(own)[1:])
    assert "exit codes: 0" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--epoch", "3"], "train: unrecognized arguments: --epoch 3 (did you mean --epochs?)"),
        (["digits", "--resme=run"], "train: unrecognized arguments: --resme=run (did you mean --resume?)"),
        (["digits", "--threa=2"], "train: unrecognized arguments: --threa=2 (did you mean --threads?)"),
        (["digits", "--qqqqqq"], "train: unrecognized arguments: --qqqqqq"),
        (["digits", "iris"], "train: unrecognized arguments: iris"),
        (["--epoch"], "train: the following arguments are required: LAB"),
    ],
)
def test_an_option_is_written_in_full(script: Callable[..., Any], arguments: list[str], message: str) -> None:
    outcome = script("train", *arguments)
    assert (outcome.code, outcome.err) == (2, f"{message}\n")
