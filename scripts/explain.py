"""What a cause is: its code, as a report gives it, explained with a wrong and a right example of each mistake.

    python scripts/explain.py B017

Exit codes: 0 done; 2 a code that is not known.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import sys
from collections.abc import Sequence

from _command import Parser
from _exit_code import UsageError, exit_code


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="explain", description="What a cause is that a report gives the code of.")
    parser.add_argument("code", metavar="CODE", help="of a cause, as B017")
    args = parser.parse_args(argv)
    from compare.report.causes import explained

    try:
        print(explained(args.code), end="")
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
