"""Ctrl-C and SIGTERM while a command is still being loaded: it ends at once, without a traceback.

Every command imports this before anything else, since NumPy and PyTorch take seconds to load, and an exception that
is raised inside of their imports comes out as a traceback or is lost. `exit_code` puts its own handlers in this place.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def _leave(number: int, frame: object) -> NoReturn:
    if number == signal.SIGINT:
        name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        os.write(2, f"{name}: interrupted\n".encode())
    os._exit(128 + number)


def _is_command() -> bool:
    """Whether a script of this folder was started, and not another program that imports it."""
    file = getattr(sys.modules["__main__"], "__file__", None) or ""
    return os.path.dirname(os.path.abspath(file)) == os.path.dirname(os.path.abspath(__file__))


if _is_command():
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, _leave)
