"""Compare backpropagation by hand with PyTorch: is it right, and if not, which line is wrong and why."""

from typing import TYPE_CHECKING, Any

from compare.check import assert_parity, check, check_parity
from compare.foreign.convention import Convention
from compare.network.weights import from_torch, to_torch
from compare.recording.record import Record
from compare.report.report import Report

if TYPE_CHECKING:
    from compare.training.runs import Runs, train_both

__all__ = [
    "Convention",
    "Record",
    "Report",
    "Runs",
    "assert_parity",
    "check",
    "check_parity",
    "from_torch",
    "to_torch",
    "train_both",
]


def __getattr__(name: str) -> Any:
    """Training brings its figures' library, which a check does not need."""
    if name in ("Runs", "train_both"):
        from compare.training import runs

        return getattr(runs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
