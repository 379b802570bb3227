"""Odd candidate: code of which no step can be recorded, told in one line that says where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratch.layers import LayerError


class OddCandidate(ValueError):
    """What a layer, a loss or an optimiser is, does or returns, if no step can be recorded from it: one line."""


class StepEnds(Exception):
    """The step cannot go on, and what was recorded shows why."""


PASSED_ON = (LayerError, FloatingPointError, OddCandidate, StepEnds)


def called(place: str, original: Callable[..., Any], *args: Any) -> Any:
    """original(*args); what it raises becomes one line that says where, with the exception itself as its cause."""
    try:
        return original(*args)
    except PASSED_ON:
        raise
    except Exception as error:
        words = str(error).partition("\n")[0]
        raise OddCandidate(f"{place} raised {type(error).__name__}: {words}") from error


def expect_array(place: str, a: Any, shape: tuple[int, ...]) -> None:
    """OddCandidate unless it is an array of numbers; its shape is the check's to judge."""
    if not isinstance(a, np.ndarray):
        raise OddCandidate(f"{place} returned {in_words(a)}, expected an array {shape}")
    if a.dtype.kind not in "fiub":
        raise OddCandidate(f"{place} returned an array of {a.dtype}, expected one of floating-point numbers {shape}")


def in_words(a: Any) -> str:
    if a is None:
        return "nothing (None)"
    if isinstance(a, tuple | list):
        return f"a {type(a).__name__} of {len(a)}"
    return f"an array {a.shape}" if isinstance(a, np.ndarray) else f"a {type(a).__name__}"
