"""The arrays and numbers that a value holds, under the names by which code would reach them; and their fingerprints.

Nothing here runs code of the value's own class: no property, no __getattr__, no __len__.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Hashable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DEPTH = 5
NUMBERS = 20_000  # in one list of numbers
WHOLE = 1 << 16  # bytes up to which the fingerprint reads every one of them in order
SUMMED = 1 << 23  # bytes up to which it reads every one of them
PLAIN = (float, int, bool)
OWN = str(Path(__file__).parents[1]) + "/"
LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")

_folders = tuple({str(Path(path)) + "/" for name in LIBRARIES if (path := sysconfig.get_path(name))})
_of_user: dict[type, bool] = {}


def is_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package, or is no file at all."""
    if file.startswith("<"):
        return not file.startswith(("<ipython", "<doctest"))
    return file.startswith(_folders) or "/site-packages/" in file or "/dist-packages/" in file


def as_array(value: Any) -> Array | None:
    """The array itself, a number as a 0-d array, a list of numbers as one array; None for anything else."""
    kind = type(value)
    if kind in PLAIN or issubclass(kind, np.generic):
        return _numeric(np.asarray(value))
    if issubclass(kind, np.ndarray):
        return _numeric(value if kind is np.ndarray else np.ndarray.view(value, np.ndarray))
    if kind is list or kind is tuple:
        return _of_numbers(value)
    return None


def _numeric(array: Array) -> Array | None:
    return array if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8 else None


def _of_numbers(value: Any) -> Array | None:
    axes, level = 0, [value]
    while all(type(element) is list or type(element) is tuple for element in level):
        if not 0 < sum(map(len, level)) <= NUMBERS or len(set(map(len, level))) > 1 or axes == DEPTH:
            return None
        level = [element for inner in level for element in inner]
        axes += 1
    if not all(kind in PLAIN or issubclass(kind, np.generic) for kind in set(map(type, level))):
        return None
    array = np.array(value)
    return _numeric(array) if array.ndim == axes else None


def attributes(value: Any) -> dict[str, Any]:
    """Those that are stored with an object (or class, or module) of the user's own; none for a library's."""
    if type(value) is ModuleType:
        name = vars(value).get("__name__")
        return dict(vars(value)) if not (_is_library_module(name) or is_own_module(name)) else {}
    if issubclass(type(value), type):
        return dict(vars(value)) if _is_users(value) else {}
    if not _is_users(type(value)):
        return {}
    try:
        stored = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        stored = {}
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in kind.__dict__ and name not in stored:
                try:
                    stored[name] = object.__getattribute__(value, name)
                except AttributeError:
                    continue
    return stored


def attribute(value: Any, name: str) -> Any:
    """One stored attribute of a user's object, or its class's of that name; None where there is none."""
    stored = attributes(value)
    if name in stored or not _is_users(type(value)):
        return stored.get(name)
    return next((kind.__dict__[name] for kind in type(value).__mro__ if name in kind.__dict__), None)


def _is_users(kind: type) -> bool:
    if kind not in _of_user:
        _of_user[kind] = kind is SimpleNamespace or not _is_library_module(kind.__module__)
    return _of_user[kind]


def is_own_module(name: Any) -> bool:
    """Whether a module is of the package that watches, which a line that calls it mentions."""
    file = getattr(sys.modules.get(name), "__file__", None) if isinstance(name, str) else None
    return file is not None and file.startswith(OWN)


def _is_library_module(name: Any) -> bool:
    if not isinstance(name, str) or name == "__main__" or name not in sys.modules:
        return False
    if name.partition(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules[name], "__file__", None)
    return file is None or is_library(file)


def fingerprint(array: Array) -> Hashable:
    """Equal for equal arrays; different, as good as always, for others.

    Up to 64 kB it reads all bytes in order; up to 8 MB it takes their sum and a sample in order; of more than that a
    sample alone, so that its cost is bounded.
    """
    if array.nbytes <= WHOLE:
        return array.shape, array.dtype.str, hash(array.tobytes())
    summed = array.nbytes <= SUMMED
    total = _sum_of_bits(array) if summed else 0
    return array.shape, array.dtype.str, total, hash(_sample(array, 1 << 12 if summed else 1 << 16).tobytes())


def _sample(array: Array, elements: int) -> Array:
    """Every so many rows, whole where they are short, since what lies together is read together."""
    steps = [1] * array.ndim
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    for axis in order:
        length, taken = array.shape[axis], elements if axis == order[-1] else min(64, elements)
        steps[axis] = -(-length // taken)
        elements = max(1, elements // -(-length // steps[axis]))
    return array[tuple(slice(None, None, step) for step in steps)]


def _sum_of_bits(array: Array) -> int:
    ordered = array.T if array.flags.f_contiguous else np.ascontiguousarray(array)
    return int(ordered.reshape(-1).view(f"u{array.dtype.itemsize}").sum(dtype=np.uint64))
