"""Compare backpropagation by hand with PyTorch: is it right, and if not, which line is wrong and why."""

from compare.check import assert_parity, check, check_parity
from compare.convention import Convention
from compare.record import Record
from compare.report import Report
from compare.runs import Runs, train_both
from compare.weights import from_torch, to_torch

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
