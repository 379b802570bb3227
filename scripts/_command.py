"""What every command shares: arguments that are checked as they are read, errors in one line, exit codes.

0 done; 1 a mismatch; 2 bad usage, bad input or training that is not finite; 130 and 143 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import math
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import _fast_blas
import _threads
import _torchrun

CHECKOUT = Path(__file__).resolve().parents[1]
if str(CHECKOUT) not in sys.path:  # the scripts run without an installation too, and always with the code beside them
    sys.path.insert(1, str(CHECKOUT))


class UsageError(ValueError):
    """Options that do not go together; one line."""


class Mismatch(Exception):
    """NumPy and PyTorch disagree: exit code 1."""


class Parser(argparse.ArgumentParser):
    """Answers bad usage with one line on stderr and exit code 2. Options are written in full.

    So what is read before the arguments are parsed, such as --threads, need not know what it could be short for.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse does it, and the option that an unknown one is nearest to."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._nearest(unknown)}")
        return found

    def _nearest(self, unknown: Sequence[str]) -> str:
        """ " (did you mean --epochs?)"; "" where none is near."""
        written = next((each.partition("=")[0] for each in unknown if each.startswith("--")), "")
        near = difflib.get_close_matches(written, self._option_string_actions, n=1)
        return f" (did you mean {near[0]}?)" if near else ""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


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
    finally:
        if argv is None:  # a program: what is left is the interpreter's own, and would answer with a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None, name: str) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    _threads.choose(arguments)
    if _fast_blas.is_asked_for(arguments):
        print(_fast_blas.choose(), flush=True)
    from scratch.checkpoint import CheckpointError
    from scratch.datasets import DatasetError
    from scratch.fingerprint import FingerprintError
    from scratch.history import HistoryError
    from scratch.training import TrainingError

    expected = (UsageError, CheckpointError, DatasetError, FingerprintError, HistoryError, TrainingError, OSError)
    try:
        return main(argv)
    except expected as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Mismatch as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"{name}: out of memory ({' '.join(str(error).split())[:200]})", file=sys.stderr)
        return 2


def is_out_of_memory(error: BaseException) -> bool:
    """NumPy raises MemoryError, and PyTorch a RuntimeError that says so."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said


def positive_int(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    if not (text.isdecimal() and int(text) < 2**32):  # what RandomState takes
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 0 to 2**32 - 1")
    return int(text)


def positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """ "500,250" or "500-250" -> (500, 250)."""
    return tuple(positive_int(part) for part in text.replace("-", ",").split(","))


def _terminate(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
