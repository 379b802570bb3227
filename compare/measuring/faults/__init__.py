"""The fault corpus: mistakes that people make in backpropagation by hand, planted by name to measure the checker.

with find("bias-missing").planted(): ...     the code has the fault in here, and nowhere else
run(find("bias-missing"), "float32")         the Report on the network and batches that show it
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from types import ModuleType

from compare.measuring.faults.activations import ACTIVATIONS
from compare.measuring.faults.blind.first import FIRST, FIRST_CAUSE
from compare.measuring.faults.blind.second import SECOND, SECOND_CAUSE
from compare.measuring.faults.blind.third import THIRD, THIRD_CAUSE
from compare.measuring.faults.case import Case, record, run, run_correct
from compare.measuring.faults.distributed import DISTRIBUTED_FAULTS
from compare.measuring.faults.fault import Edit, Fault
from compare.measuring.faults.graded import GRADED, GRADED_FAULTS, graded
from compare.measuring.faults.linear import LINEAR_LAYER
from compare.measuring.faults.losses import LOSSES
from compare.measuring.faults.optimizers import OPTIMIZERS
from compare.measuring.faults.reference import REFERENCE_FAULTS
from compare.measuring.faults.training import TRAINING

__all__ = [
    "DISTRIBUTED_FAULTS",
    "FIRST",
    "FIRST_CAUSE",
    "GRADED",
    "REFERENCE_FAULTS",
    "SECOND",
    "SECOND_CAUSE",
    "THIRD",
    "THIRD_CAUSE",
    "Case",
    "Edit",
    "Fault",
    "corpus",
    "find",
    "graded",
    "record",
    "run",
    "run_correct",
]


@cache
def of_operations() -> tuple[ModuleType, ...]:
    """The modules of this folder that hold the faults of one operation: FAULTS, and CAUSES, what each may be called."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    found = (importlib.import_module(f"{__name__}.{name}") for name in names)
    return tuple(module for module in found if hasattr(module, "FAULTS"))


def corpus() -> tuple[Fault, ...]:
    """All faults of a candidate, by the part of the code that has them."""
    known = LINEAR_LAYER + ACTIVATIONS + LOSSES + TRAINING + OPTIMIZERS + GRADED_FAULTS
    return known + tuple(fault for module in of_operations() for fault in module.FAULTS)


def find(name: str) -> Fault:
    """The fault of this name, of a candidate, several ranks or the reference. ValueError with the names near it."""
    known = {fault.name: fault for fault in corpus() + DISTRIBUTED_FAULTS + REFERENCE_FAULTS}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or [n for n in known if name in n][:5]
        raise ValueError(f"got fault {name!r}, expected {'one like ' + ', '.join(near) if near else 'a known name'}")
    return known[name]
