"""--threads: how many NumPy and PyTorch compute with. They count them when they are loaded, so it is read before.

One, unless it is asked for or the environment says otherwise: a run then has the same bits on a machine of any number
of cores, and two libraries that take turns do not fight over them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
OPTION = "--threads"


def choose(arguments: Sequence[str]) -> None:
    """Set the variables that have no say yet to 1, or all of them to what these arguments ask for."""
    asked = asked_for(arguments)
    for name in VARIABLES:
        os.environ[name] = asked or os.environ.get(name) or "1"


def asked_for(arguments: Sequence[str]) -> str | None:
    """The value of the option, where it is a whole number of at least 1."""
    found = None
    for i, each in enumerate(arguments):
        name, _, value = each.partition("=")
        if each == "--":
            break
        if name == OPTION:
            found = value or " ".join(arguments[i + 1 : i + 2])
    return found if found and found.isdecimal() and int(found) > 0 else None


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
