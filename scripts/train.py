"""Train a lab in NumPy, in PyTorch, or in both side by side.

    python scripts/train.py LAB --backend scratch|torch|both [--epochs N] [--seed S] [--batch-size N]
                                [--dtype float32|float64] [--hidden N,N] [--optimizer sgd|adam|adamw] [--lr R]
                                [--data-dir D] [--out DIR] [--check] [--threads N] [--processes N] [--fast-blas]
                                [--device cuda] [--tf32] [--compile]
    python scripts/train.py LAB --resume DIR [--epochs N]
    python scripts/train.py LAB --backend both --lockstep [--every K] [--steps N]
    python scripts/train.py digits --backend both --dtype float64 --check

Writes config.json, history.csv, metrics.json, weights and figures into DIR (default: runs/LAB-SEED).
Exit codes: 0 done; 1 mismatch; 2 bad usage, bad input or training that is not finite; 130, 143 interrupted.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import sys
from collections.abc import Sequence

from _command import Parser
from _exit_code import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    import _torchrun

    if _torchrun.is_follower():
        return _torchrun.help_train()
    import _lockstep_run
    import _training_run

    parser = Parser(prog="train", description="Train a lab in NumPy, in PyTorch, or in both side by side.")
    parser.add_argument("lab", metavar="LAB", help=", ".join(_training_run.LABS))
    _training_run.add_arguments(parser, check=False)
    _lockstep_run.add_arguments(parser)
    args = parser.parse_args(argv)
    _lockstep_run.expect_usable(args)
    return _training_run.run(args, _lockstep_run.LockstepRun if args.lockstep else None)


if __name__ == "__main__":
    sys.exit(exit_code(main))
