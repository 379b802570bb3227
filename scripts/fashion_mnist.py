"""The assignment: check NumPy against PyTorch on Fashion-MNIST, then train both, 20 epochs, on the same batches.

    python scripts/fashion_mnist.py [--epochs N] [--backend both|torch|scratch] [--data-dir D] [--out DIR]
    python scripts/fashion_mnist.py --dtype float64 --epochs 20

The same as scripts/train.py fashion_mnist --backend both --check, with all its options and exit codes; a run of
`--backend scratch` is not checked unless asked for, and loads no PyTorch. Without data and without the data set's
hosts in reach it runs on the digits embedded in scikit-learn, and says so.
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
    import _training_run

    parser = Parser(prog="fashion_mnist", description="Fashion-MNIST in NumPy and in PyTorch, from the same weights.")
    _training_run.add_arguments(parser, check=None)
    parser.set_defaults(lab="fashion_mnist")
    return _training_run.run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(exit_code(main))
