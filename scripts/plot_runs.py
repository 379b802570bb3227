"""Loss and accuracy of several runs in one figure.

    python scripts/plot_runs.py RUN [RUN ...] --out F.png

RUN is a folder that train.py wrote. Exit codes: 0 done; 2 a folder that holds no run, or a file that is damaged.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from _command import Parser
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from scratch.history import History


def main(argv: Sequence[str] | None = None) -> int:
    import scratch.plots

    parser = Parser(prog="plot_runs", description="Loss and accuracy of several runs in one figure.")
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run that train.py wrote")
    parser.add_argument("--out", metavar="F.png", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.out.suffix not in (".png", ".pdf", ".svg"):
        raise UsageError(f"--out {args.out}: expected a name that ends in .png, .pdf or .svg")
    histories, title = read(args.runs)
    scratch.plots.save(scratch.plots.both_curves(histories, title), args.out)
    print(f"{len(histories)} curves are in {args.out}")
    return 0


def read(runs: Sequence[Path]) -> tuple[dict[str, History], str]:
    """(histories by name, title): every data set is in the title, and with the names where there are several."""
    from _run_folder import RunFolder

    from scratch.history import read_histories
    from scratch.plots import heading

    configs = [RunFolder(run).config() for run in runs]
    try:
        names, sources = ([_as_text(config["data"][key]) for config in configs] for key in ("name", "source"))
        sources = [heading(*both) for both in zip(names, sources, strict=True)]
    except (KeyError, TypeError) as error:
        raise UsageError(f"config.json: no {error} in it, expected the folder of a run") from error
    histories: dict[str, History] = {}
    for run, data in zip(runs, names, strict=True):
        for backend, history in read_histories(run / "history.csv").items():
            name = _as_text(f"{run.resolve().name} {backend}") + ("" if len(set(names)) == 1 else f" ({data})")
            if name in histories:
                name = _as_text(f"{run} {backend}")
            histories[name] = history
    if not any(map(len, histories.values())):
        raise UsageError(f"{runs[0]}/history.csv: found no epoch, expected at least one")
    return histories, "\n".join(dict.fromkeys(sources))


def _as_text(value: object) -> str:
    """In a figure as it stands: matplotlib sets what is between dollars as mathematics, and leaves out "_names"."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 400:
        raise UsageError(f"found {str(value)[:80]!r} as a name in config.json or history.csv, expected a line of text")
    return value.replace("\\", "/").replace("$", r"\$").lstrip("_")


if __name__ == "__main__":
    sys.exit(exit_code(main))
