"""Exit codes, the same for every command, with every expected error as one line on stderr.

0 done; 1 a mismatch; 2 bad usage, bad input or training that is not finite; 130 and 143 interrupted.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import _fast_blas
import _threads
import _torchrun

NO_ROOM = ("out of memory", "allocate memory", "unable to allocate", "failed to map segment")


class UsageError(ValueError):
    """Options that do not go together; one line."""


class Mismatch(Exception):
    """NumPy and PyTorch disagree: exit code 1."""


def exit_code(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run `main(argv)`: its exit code, with every expected error as one line on stderr."""
    name = Path(sys.argv[0]).stem
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born ignoring it
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    try:
        with _torchrun.awaited():
            return _run(main, argv, name)
    except KeyboardInterrupt:  # also while NumPy and PyTorch are being loaded, which takes seconds
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except (ImportError, MemoryError, OSError, RuntimeError, SystemError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"{name}: out of memory{_said(error)}", file=sys.stderr)
        return 2
    finally:
        if argv is None:  # a program: what is left is the interpreter's own, and would answer with a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None, name: str) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    _threads.choose(arguments)
    if _fast_blas.is_asked_for(arguments):
        print(_fast_blas.choose(), flush=True)
    from scratch.checkpoint import CheckpointError
    from scratch.datasets import DatasetError
    from scratch.fingerprint import FingerprintError
    from scratch.history import HistoryError
    from scratch.printable import MESSAGE, cut
    from scratch.training import TrainingError

    expected = (UsageError, CheckpointError, DatasetError, FingerprintError, HistoryError, TrainingError, OSError)
    try:
        return main(argv)
    except expected as error:
        print(cut(f"{name}: {error}", MESSAGE), file=sys.stderr)
        return 2
    except Mismatch as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1


def is_out_of_memory(error: BaseException) -> bool:
    """NumPy raises MemoryError, and PyTorch a RuntimeError that says so; a library that finds no room as it is loaded,
    an ImportError, or an error that was lost.
    """
    said = str(error).lower()
    is_lost = isinstance(error, SystemError) and "without exception set" in said
    return isinstance(error, MemoryError) or is_lost or any(words in said for words in NO_ROOM)


def _said(error: BaseException) -> str:
    """ " (Unable to allocate 8 GiB)"; the last line of what NumPy says at length where it cannot be loaded."""
    words = " ".join(str(error).strip().rpartition("\n")[2].split())[:200]
    return f" ({words})" if words else ""


def _terminate(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
