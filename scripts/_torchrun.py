"""Whether torchrun has started this script in several processes, and what such a one does; loads no PyTorch itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # which torchrun sets


def processes() -> int:
    """How many there are, this one included."""
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in VARIABLES) else 1


def is_started() -> bool:
    """Whether this process is one of several."""
    return processes() > 1


def is_follower() -> bool:
    """Whether another process of them reads the options, and leads."""
    return is_started() and os.environ["RANK"] != "0"


@contextmanager
def awaited() -> Iterator[None]:
    """Wraps a whole command: if rank 0 ends well without the others, as with --help, they end too."""
    try:
        yield
    except SystemExit as end:
        if not end.code:
            _let_go()
        raise
    _let_go()


def _let_go() -> None:
    if is_started() and not is_follower():
        from torch_ref.team import dissolve

        dissolve()


def help_train() -> int:
    """What train.py and fashion_mnist.py do in a process that follows: its exit code."""
    import _team_run

    return _team_run.help_train()


def help_check() -> int:
    """The same for check_parity.py."""
    import _team_check

    return _team_check.help_check()
