"""Numbers: what somebody hands in, as an array of numbers or one line that says why it is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from compare.numbers.array import Array


def numbers(name: Any, a: Any) -> Array:
    """As an array of numbers. TypeError or ValueError naming it otherwise."""
    if not isinstance(name, str):
        raise TypeError(f"got the name {name!r}, expected a text such as '0.weight'")
    if isinstance(a, torch.Tensor):
        a = a.detach().cpu().numpy()
    try:
        found = np.asarray(a)
    except ValueError:
        raise ValueError(f"{name}: got rows of different lengths, expected an array") from None
    if found.dtype.kind not in "fiub":
        what = "None" if a is None else f"a {type(a).__name__}" if found.dtype.kind == "O" else str(found.dtype)
        raise TypeError(f"{name}: got {what}, expected an array of numbers")
    return found
