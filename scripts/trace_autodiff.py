"""Automatic differentiation of a logistic regression at two pixels, variable by variable: table, bar charts, graph.

    python scripts/trace_autodiff.py [--digit D] [--out DIR] [--data-dir D]
    python scripts/trace_autodiff.py --published

Traces the first training image of the digit (4, unless another is chosen) at two lit pixels, under the weights from
which `one_vs_rest` starts; or, with --published, the table that the lab prints, which needs no data.
Writes trace.csv, bars.png and graph.png into DIR (default: runs/trace_autodiff).
Exit codes: 0 done; 2 bad usage or bad input.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import csv
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from _command import Parser
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from rich.table import Table

    from scratch.labs.autodiff_trace import Trace


def main(argv: Sequence[str] | None = None) -> int:
    from _run_folder import RunFolder, expect_free
    from rich.console import Console

    import scratch.plots
    from scratch.labs import autodiff_trace

    args = _parser().parse_args(argv)
    if args.published and args.digit is not None:
        raise UsageError("--published and --digit: expected one of them; the published table is of one image")
    if args.out:
        expect_free(args.out)
    digit = 4 if args.digit is None else args.digit
    found = autodiff_trace.published() if args.published else of_digit(digit, args.data_dir)
    console = Console()
    console.print(table(found))
    with closing(RunFolder.create(args.out, "trace_autodiff")) as folder:
        write_csv(found, folder / "trace.csv")
        scratch.plots.save(autodiff_trace.bars(found), folder / "bars.png")
        scratch.plots.save(autodiff_trace.graph(found), folder / "graph.png")
    console.print(f"table, bar charts and graph are in {folder.path}", highlight=False, soft_wrap=True, markup=False)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="trace_autodiff", description="Primal, tangent and adjoint, variable by variable.")
    parser.add_argument("--digit", type=int, choices=range(10), metavar="D", help="which digit, 0 to 9 (default: 4)")
    parser.add_argument("--published", action="store_true", help="reproduce the table in the lab's text")
    parser.add_argument("--data-dir", type=Path, metavar="D", help="torchvision root (BACKPROP_DATA_DIR, else data/)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder (default: runs/trace_autodiff)")
    return parser


def of_digit(digit: int, data_dir: Path | None) -> Trace:
    """The first training image of the digit, under the lab's first weights. DatasetError without MNIST."""
    import _lab_data

    from scratch.labs.autodiff_trace import trace_of_image
    from scratch.labs.one_vs_rest import against

    lab = against(digit)
    folder = _lab_data.data_dir(data_dir)
    _, data = _lab_data.load(lab, "scratch", folder, "float32", lab.seed, print)
    index = int(data.t_train.argmax())
    weights = lab.network((data.x_train.shape[1], 1), lab.rng(lab.seed), "float64").params
    what = f"training image {index}, the first {digit}"
    return trace_of_image(weights["0.weight"][0], weights["0.bias"][0], data.x_train[index], what)


def table(found: Trace) -> Table:
    """The twelve rows; numbers to six decimals."""
    from rich.table import Table

    drawn = Table(title=f"y_hat = sigmoid(w0*1 + w1*x1 + w2*x2)\n{found.title}", title_style="")
    for name in ("variable", "expression"):
        drawn.add_column(name, no_wrap=True)
    for name in ("primal", "tangent", "adjoint"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for v in found.variables:
        drawn.add_row(f"{v.name:3} {v.label}", v.expression, *map(six_decimals, (v.primal, v.tangent, v.adjoint)))
    return drawn


def six_decimals(value: float) -> str:
    """Without a sign where only zeros are left."""
    return f"{round(value, 6) + 0.0:.6f}"


def write_csv(found: Trace, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(found.variables[0]._fields)
        writer.writerows(found.variables)


if __name__ == "__main__":
    sys.exit(exit_code(main))
