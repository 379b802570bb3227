"""Command: arguments that are checked as they are read, for every script."""

from __future__ import annotations

import argparse
import difflib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).resolve().parents[1]
if str(CHECKOUT) not in sys.path:  # the scripts run without an installation too, and always with the code beside them
    sys.path.insert(1, str(CHECKOUT))


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
