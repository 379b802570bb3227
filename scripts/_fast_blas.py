"""--fast-blas: NumPy's OpenBLAS takes its AVX-512 kernels where the processor has AVX-512.

Without this option OpenBLAS takes other kernels if it does not know the processor, or if OPENBLAS_CORETYPE names
others. OpenBLAS reads that variable when it is loaded. So this file runs before NumPy is loaded, and does not load it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

OPTION = "--fast-blas"
VARIABLE, KERNELS = "OPENBLAS_CORETYPE", "SkylakeX"
NEEDED = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}  # what the kernels of SkylakeX are compiled for


def add_argument(parser: argparse.ArgumentParser) -> None:
    text = "let NumPy use AVX-512 if the processor has it: other bits than without, but the same in every run"
    parser.add_argument(OPTION, action="store_true", help=text)


def is_asked_for(arguments: Sequence[str]) -> bool:
    """Before the arguments are parsed, which needs what loads NumPy."""
    before = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    return OPTION in before


def choose() -> str:
    """Set the variable where that is safe; one line that says what was done, or why nothing."""
    reason = why_not()
    if reason:
        return f"fast BLAS: not used, {reason}"
    before = os.environ.get(VARIABLE, KERNELS)
    os.environ[VARIABLE] = KERNELS
    instead = f", not {before}" if before != KERNELS else ""
    return f"fast BLAS: NumPy's OpenBLAS uses its AVX-512 kernels ({VARIABLE}={KERNELS}{instead})"


def why_not(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Why the variable is not to be set; "" where it is."""
    return "NumPy is loaded already" if "numpy" in sys.modules else why_not_in_a_new_process(cpuinfo)


def why_not_in_a_new_process(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Why the variable is not to be set for a process that is yet to start; "" where it is."""
    if not flags(cpuinfo) >= NEEDED:
        return "the processor has no AVX-512" if flags(cpuinfo) else f"{cpuinfo} does not say what the processor has"
    if "openblas" not in blas().lower():
        return f"NumPy's BLAS is {blas() or 'unknown'}, expected OpenBLAS"
    return ""


def flags(cpuinfo: Path) -> set[str]:
    """What Linux says that the processor can do; empty where it says nothing."""
    try:
        found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


def blas() -> str:
    """The name of the BLAS that NumPy was built with, from its own file, unloaded; "" where that is not found."""
    numpy = importlib.util.find_spec("numpy")
    if numpy is None or numpy.origin is None:
        return ""
    try:
        text = (Path(numpy.origin).parent / "__config__.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r'"blas":\s*\{\s*"name":\s*"([^"]*)"', text)
    return found[1] if found else ""
