"""Files that are whole or not there: written beside, flushed to the disk, and only then given their name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Whoever looks at `path`, now or after a power cut, sees what was there before, or all of `content`.

    OSError if it cannot be written; what was there before is still there then, and nothing is left beside it.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()  # on a full disk its bytes are missed elsewhere
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a renaming itself last through a power cut, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
