"""Progress: how long a script has been watched, and how many values were seen until now."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

Tell = Callable[[float, int], None]  # of the seconds and the values

EVERY = 0.5  # seconds
PART = 1 << 20  # bytes of the journal that are read at once
VALUE = re.compile(rb"^\[-?\d+, \[", re.MULTILINE)  # as Journal.value writes it


class Progress:
    """Tells now and then how far the process is that writes to the file `events`; nothing without `tell`."""

    def __init__(self, events: int, tell: Tell | None = None) -> None:
        self.events = events
        self.tell = tell
        self.begun = self.told = time.monotonic()
        self.values = 0
        self._position = 0
        self._begun_line = b""

    def tick(self) -> None:
        now = time.monotonic()
        if self.tell is not None and now - self.told >= EVERY:
            self.told = now
            self._read()
            self.tell(now - self.begun, self.values)

    def _read(self) -> None:
        """What was written since, at a position of its own: the process has the file's."""
        while part := os.pread(self.events, PART, self._position):
            self._position += len(part)
            lines, end, self._begun_line = (self._begun_line + part).rpartition(b"\n")
            self.values += len(VALUE.findall(lines + end))
