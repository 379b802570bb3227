"""Ctrl-C and SIGTERM while a run trains: the step is finished and saved first; a second one ends the run at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

from scratch.training import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first signal; use it in a `with` around the training, and ask `expect_none` between two steps."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # Python lets no other one handle signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def expect_none(self) -> None:
        """Interrupted if a signal has come."""
        if self.number is not None:
            raise Interrupted(f"signal {self.number}")

    def leave(self) -> NoReturn:
        """As the signal would have ended the run: exit code 130 or 143."""
        if self.number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            self.number = number
            self.leave()
        self.number = number
        print("\nfinishing this step, to save it; once more to stop at once", file=sys.stderr, flush=True)
