"""The labs: one module each, readable alone, and this list of them."""

from __future__ import annotations

from scratch.labs import (
    digit_pair,
    digits,
    fashion_mnist,
    fashion_mnist_cnn,
    iris,
    linear,
    mnist,
    one_vs_rest,
    sequence,
    spiral,
    xor,
    xor_line,
)
from scratch.labs.lab import OPTIMIZERS, Lab, LabSetup, Outcome, Samples

MODULES = (
    *(fashion_mnist, digits, xor, spiral, mnist, iris, digit_pair, linear, xor_line, one_vs_rest),
    *(fashion_mnist_cnn, sequence),
)
LABS: dict[str, Lab] = {module.LAB.name: module.LAB for module in MODULES}

__all__ = ["LABS", "OPTIMIZERS", "Lab", "LabSetup", "Outcome", "Samples", "lab"]


def lab(name: str) -> Lab:
    """The lab of that name. ValueError listing the names for any other."""
    if name not in LABS:
        raise ValueError(f"got lab {name!r}, expected one of {', '.join(LABS)}")
    return LABS[name]
