"""Check a lab's network in NumPy against PyTorch, tensor by tensor, over three steps; or a script; or a record.

    python scripts/check_parity.py LAB [--dtype float64|float32|both] [--batch-size N] [--seed S] [--json F]
                                       [--html F] [--save-record F] [--data-dir D] [-v]
                                       [--device cuda] [--tf32]
    python scripts/check_parity.py LAB --inject FAULT | --inject list
    python scripts/check_parity.py LAB --exact | --network "64-256-10 relu, half squared error" --exact
    python scripts/check_parity.py fashion_mnist --json r.json --html r.html
    python scripts/check_parity.py --watch student.py --network "5-7-4 relu, softmax cross-entropy" [--seconds S]
                                       [--box] [-- ANSWER ...]
    python scripts/check_parity.py --record F --network "784-256-10 relu, softmax cross-entropy" [--json F]
                                       [--html F] [-v]
    torchrun --nproc-per-node 2 scripts/check_parity.py LAB [--inject FAULT]

Exit codes: 0 parity; 1 a mismatch or an incomplete check; 2 bad usage or bad input.
"""

from __future__ import annotations

import _at_once  # isort: skip  # noqa: F401  # before what takes time to load

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import _device
import _fast_blas
import _torchrun
from _command import Parser, positive_int, seed
from _exit_code import UsageError, exit_code

if TYPE_CHECKING:
    from compare import Report
    from compare.recording.batches import Batch
    from scratch import Loss, Optimizer, Sequential
    from scratch.datasets import Dataset
    from scratch.labs import Lab

    Job = tuple[Sequential, Loss, Optimizer, list[Batch]]

EXAMPLES = """examples:
  check_parity.py digits                                  a lab of this project, in both precisions
  check_parity.py digits --html report.html               the same as a page with figures
  check_parity.py digits --inject bias-missing            an example of a report that finds a mistake
  check_parity.py --watch mine.py --network "784-128-10 relu, softmax cross-entropy"
                                                          your script or notebook, unedited
  check_parity.py --watch mine.py --network "2-8-1 tanh, no bias, mse + 0.001 L2"
                                                          no layer has a bias, and the weights a penalty
  check_parity.py --watch mine.py --network "2-8-2 tanh, mse" -- 0.5 20
                                                          answers for a program that asks for input
  check_parity.py --record step.safetensors               your arrays from any language
  check_parity.py --network "8-6-4 relu, mse" --exact     without rounding: every bit must be equal

how a tensor is judged:
  isolated      computed again from the same numbers that this operation was given
  spanning      computed across tensors that were not handed in
  wiring        a copy, which must have the same bits
  update        the parameters after the optimiser's step
  side_effects  what backward must not change
ratio: the difference divided by what rounding can do; above 1 it is a mistake
confidence of a cause: 95 % if a formula gives your numbers, 80 % if one number in the formula was fitted,
50 % if a description fits

exit codes: 0 parity; 1 a mismatch or an incomplete check; 2 bad usage or bad input"""
DTYPES = {"both": ("float64", "float32"), "float64": ("float64",), "float32": ("float32",)}


def main(argv: Sequence[str] | None = None) -> int:
    if _torchrun.is_follower():
        return _torchrun.help_check()
    typed = sys.argv[1:] if argv is None else list(argv)
    own, answers = _split(typed)
    arguments = _parser().parse_args(own)
    arguments.typed, arguments.answers = typed, answers
    if answers and not arguments.watch:
        raise UsageError(f"got {' '.join(answers)} after --, expected --watch F, whose program asks for input")
    if arguments.box and not arguments.watch:
        raise UsageError("--box: expected --watch F, whose program runs in it")
    arguments.said = []
    _expect_device(arguments)
    if arguments.inject == "list":
        return _list_faults()
    reports = _reports(arguments)
    for report in reports:
        print(report.text(verbose=arguments.verbose))
        power = report.power if report.verdict == "parity" else None
        print(f"{power}\n" if power else "")
    if arguments.html:
        _write_page(arguments, reports)
    if arguments.json:
        arguments.json.write_text(json.dumps(_merged(reports), indent=1, allow_nan=False) + "\n")
    return 0 if all(_is_parity(report) for report in reports) else 1


def _split(typed: list[str]) -> tuple[list[str], list[str]]:
    """What is typed before -- and after it: the answers to a program that asks for input."""
    at = typed.index("--") if "--" in typed else len(typed)
    return typed[:at], typed[at + 1 :]


def _expect_device(arguments: argparse.Namespace) -> None:
    """Where PyTorch's own run of a lab is computed; nothing else that is checked runs in PyTorch."""
    asked = next((name for name in ("device", "tf32") if getattr(arguments, name)), None)
    _device.settle(arguments)
    if asked is None:
        return
    for option in ("record", "watch", "inject", "exact"):
        if getattr(arguments, option):
            raise UsageError(f"--{asked} does not go with --{option}, expected LAB, which PyTorch computes too")
    _device.expect_usable(arguments)


def _reports(arguments: argparse.Namespace) -> list[Report]:
    if _torchrun.is_started():
        return _check_ranks(arguments)
    if arguments.exact:
        return _check_exact(arguments)
    if arguments.watch:
        return _check_script(arguments)
    if arguments.record:
        return _check_record(arguments)
    return _check_fault(arguments) if arguments.inject else _check_lab(arguments)


def _parser() -> argparse.ArgumentParser:
    import _lab_choice

    from scratch.labs import LABS

    parser = Parser(
        prog="check_parity",
        description="Is the backpropagation right? If not, which line is wrong, and why?",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lab", metavar="LAB", nargs="?", help=", ".join(LABS))
    parser.add_argument("--dtype", choices=DTYPES, default="both", help="the precisions to check (default: both)")
    parser.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="number of rows in the first step (default: the lab's)"
    )
    parser.add_argument("--seed", type=seed, metavar="S", help="seed of the weights (default: the lab's)")
    _lab_choice.add_arguments(parser)
    parser.add_argument("--data-dir", type=Path, metavar="D", help="a torchvision root (default: BACKPROP_DATA_DIR)")
    parser.add_argument("--record", type=Path, metavar="F", help="check this record (.safetensors or .npz) instead")
    parser.add_argument(
        "--watch", type=Path, metavar="F", help="run this script or notebook, unedited, and check what it computes"
    )
    parser.add_argument("--seconds", type=positive_int, default=20, metavar="S", help="limit for --watch (default: 20)")
    parser.add_argument("--box", action="store_true", help="run what is watched in a box (bubblewrap), on a copy")
    parser.add_argument(
        "--network",
        metavar="TEXT",
        help='what the record, the script or --exact computes: "8-6-4 relu, mse", or in torch\'s names '
        '"Linear(8, 6), ReLU, Linear(6, 4); MSELoss"; docs/check-your-own.md has all words',
    )
    parser.add_argument(
        "--inject", metavar="FAULT", help="plant this mistake, and check the network that shows it; 'list' names them"
    )
    parser.add_argument(
        "--exact", action="store_true", help="use numbers for which nothing is rounded: every bit must be equal"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write the report as JSON")
    parser.add_argument("--html", type=Path, metavar="F", help="write the report as one page, with figures")
    parser.add_argument("--save-record", type=Path, metavar="F", help="write what NumPy computed, as safetensors")
    _device.add_arguments(parser, trains=False)
    _fast_blas.add_argument(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="show every tensor")
    return parser


def _check_exact(arguments: argparse.Namespace) -> list[Report]:
    """The lab's network or the one of the text, on numbers for which no sum is rounded."""
    from compare.exact.exact import BATCH, NotExact, exact_check

    for option in ("record", "inject", "save_record"):
        if getattr(arguments, option):
            raise UsageError(f"--{option.replace('_', '-')} does not go with --exact, which draws its own numbers")
    if (arguments.lab is None) == (arguments.network is None):
        raise UsageError("--exact takes either a LAB or a --network")
    reports: list[Report] = []
    for dtype in DTYPES[arguments.dtype]:
        network, loss = (arguments.network, None) if arguments.network else _lab_network(arguments, dtype)
        batch, number = arguments.batch_size or BATCH, arguments.seed or 0
        try:
            reports.append(exact_check(network, loss, dtype=dtype, batch=batch, seed=number))
        except NotExact as error:
            raise UsageError(f"exactness cannot hold: {error}") from None
        except ValueError as error:
            raise UsageError(str(error)) from None
    return reports


def _lab_network(arguments: argparse.Namespace, dtype: str) -> tuple[Sequential, Loss]:
    chosen, data, number = _lab_and_data(arguments)
    setup = chosen.set_up(data.astype(dtype), seed=number)
    return setup.network, setup.loss


def _lab_and_data(arguments: argparse.Namespace) -> tuple[Lab, Dataset, int]:
    """The lab, its data, and the seed of its weights."""
    import _lab_choice
    import _lab_data

    from scratch.labs import lab

    if arguments.lab is None:
        raise UsageError("the lab is missing; expected LAB or --record F")
    chosen = _lab_choice.chosen(_named(lab, arguments.lab), vars(arguments))
    folder = _lab_data.data_dir(arguments.data_dir)
    number = chosen.seed if arguments.seed is None else arguments.seed
    chosen, data = _lab_data.load(chosen, "scratch", folder, "float32", number, lambda line: _say(arguments, line))
    return chosen, data, number


def _check_ranks(arguments: argparse.Namespace) -> list[Report]:
    """The lab, or the network that shows a fault, by all the processes that torchrun started."""
    import _team_check

    from compare.measuring.faults import DISTRIBUTED_FAULTS

    for option in ("exact", "watch", "record", "save_record", "tf32"):
        if getattr(arguments, option):
            raise UsageError(f"--{option.replace('_', '-')} is checked by one process, expected it without torchrun")
    if not arguments.inject:
        return _team_check.reports(list(_setups(arguments)), arguments.device)
    known = {fault.name: fault for fault in DISTRIBUTED_FAULTS}
    if arguments.inject not in known:
        raise UsageError(f"--inject {arguments.inject}: under torchrun expected one of {', '.join(known)}")
    fault = known[arguments.inject]
    print(f"planted: {fault.summary}\n")
    arguments.said.append(f"planted: {fault.summary}")
    cases = _team_check.cases(fault, DTYPES[arguments.dtype], arguments.seed or 0)
    return _team_check.reports(cases, arguments.device, fault)


def _setups(arguments: argparse.Namespace) -> Iterator[Job]:
    """The lab's network, loss, optimiser and batches in each precision; its own where rows or seed were asked for."""
    from _parity_gate import own_job, telling_job

    chosen, data, number = _lab_and_data(arguments)
    options = {"seed": number, "batch_size": arguments.batch_size}
    for dtype in DTYPES[arguments.dtype]:
        if arguments.batch_size or arguments.seed is not None:
            yield own_job(chosen, data, dtype, options)
        else:
            say = partial(_say, arguments, hint=" (--seed N: with the lab's own)")
            yield telling_job(chosen, data, dtype, options, say)


def _check_lab(arguments: argparse.Namespace) -> list[Report]:
    import compare
    from compare.recording.files import save_records
    from compare.recording.scratch_recorder import record_scratch

    reports = []
    for network, loss, optimizer, batches in _setups(arguments):
        reports.append(compare.check_parity(network, loss, optimizer, batches, device=arguments.device))
        if arguments.save_record:
            save_records(record_scratch(network, loss, optimizer, batches), arguments.save_record)
    return reports


def _say(arguments: argparse.Namespace, line: str, hint: str = "") -> None:
    """What must be known of this run, on the screen and on the page."""
    line += hint
    print(line, file=sys.stderr)
    if line not in arguments.said:
        arguments.said.append(line)


def _write_page(arguments: argparse.Namespace, reports: Sequence[Report]) -> None:
    from compare.report import page as report_page

    command = shlex.join(["python", "scripts/check_parity.py", *arguments.typed])
    made = report_page.Reproduction(command, _seed(arguments), tuple(arguments.said))
    report_page.write(arguments.html, reports, made)


def _seed(arguments: argparse.Namespace) -> str:
    """What the numbers of this check were drawn from, in words."""
    from scratch.labs import lab

    if arguments.record or arguments.watch:
        return f"none: the numbers are those of the {'record' if arguments.record else 'script'}"
    if arguments.seed is not None:
        return str(arguments.seed)
    if arguments.inject or arguments.exact:
        return "0"
    return f"{lab(arguments.lab).seed}, the lab's own"


def _named(lab, name):  # type: ignore[no-untyped-def]
    try:
        return lab(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _list_faults() -> int:
    from compare.measuring.faults import DISTRIBUTED_FAULTS, corpus

    for fault in DISTRIBUTED_FAULTS if _torchrun.is_started() else corpus():
        print(f"{fault.name:46} {fault.summary}")
    return 0


def _check_fault(arguments: argparse.Namespace) -> list[Report]:
    """The fault's own network, optimiser, inputs and steps: what shows it."""
    from compare.measuring.faults import find, run

    fault = _named(find, arguments.inject)
    if fault.family == "distributed":
        command = "torchrun --nproc-per-node 2 scripts/check_parity.py"
        raise UsageError(f"--inject {fault.name}: only several processes can have it, expected {command}")
    dtypes = [dtype for dtype in DTYPES[arguments.dtype] if dtype in fault.dtypes]
    if not dtypes:
        raise UsageError(f"--inject {fault.name}: got --dtype {arguments.dtype}, expected {' or '.join(fault.dtypes)}")
    print(f"planted: {fault.summary}\n")
    arguments.said.append(f"planted: {fault.summary}")
    return [run(fault, dtype, arguments.seed or 0) for dtype in dtypes]


def _check_record(arguments: argparse.Namespace) -> list[Report]:
    from compare.checking import check_records
    from compare.network.architecture import Architecture
    from compare.recording.files import load_records

    try:
        network = Architecture.of(arguments.network) if arguments.network else None
        return [check_records(load_records(arguments.record, network))]
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_script(arguments: argparse.Namespace) -> list[Report]:
    import compare

    limits = {"seconds": float(arguments.seconds), "answers": arguments.answers, "box": arguments.box}
    try:
        with _told_progress(arguments) as progress:
            return [compare.check(arguments.watch, network=arguments.network, progress=progress, **limits)]
    except ValueError as error:
        raise UsageError(str(error)) from None


@contextmanager
def _told_progress(arguments: argparse.Namespace) -> Iterator[Callable[[float, int], None] | None]:
    """What hears how far the script is: a line on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from _progress import WatchedScript

    with WatchedScript(arguments.watch.name, arguments.seconds) as line:
        yield line.tell


def _is_parity(report: Report) -> bool:
    return report.verdict == "parity" and (report.reference is None or report.reference.verdict == "parity")


def _merged(reports: list[Report]) -> dict[str, object]:
    """One report as it is; with both precisions, the worse verdict on top of both."""
    from compare.judging.verdict import VERDICTS

    if len(reports) == 1:
        return reports[0].to_dict()
    worst = max((report.verdict for report in reports), key=VERDICTS.index)
    return {"verdict": worst, "reports": [report.to_dict() for report in reports]}


if __name__ == "__main__":
    sys.exit(exit_code(main))
