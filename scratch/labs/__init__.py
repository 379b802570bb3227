"""The labs: one module each, readable alone, and this list of them."""

from __future__ import annotations

from scratch.labs import digits, fashion_mnist, xor
from scratch.labs.lab import OPTIMIZERS, Lab, LabSetup, Samples

LABS: dict[str, Lab] = {module.LAB.name: module.LAB for module in (fashion_mnist, digits, xor)}

__all__ = ["LABS", "OPTIMIZERS", "Lab", "LabSetup", "Samples", "lab"]


def lab(name: str) -> Lab:
    """The lab of that name. ValueError listing the names for any other."""
    if name not in LABS:
        raise ValueError(f"got lab {name!r}, expected one of {', '.join(LABS)}")
    return LABS[name]
