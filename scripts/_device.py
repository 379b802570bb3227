"""Where and how PyTorch computes: --device, --tf32, --compile. They change a run's bits, not what it computes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from _command import Parser
from _exit_code import UsageError

DEFAULTS: dict[str, Any] = {"device": "cpu", "tf32": False, "compile": False}
KINDS = ("cpu", "cuda", "mps", "xpu")
REASON = 200  # characters of another library's words


def add_arguments(parser: Parser, *, trains: bool) -> None:
    """Add the options; one that is not given is None. Only a command that trains gets --compile."""
    what = "trains" if trains else "computes"
    parser.add_argument("--device", metavar="D", help=f"where PyTorch {what}: cpu (default), cuda, cuda:1, ...")
    text = "let a CUDA device round the operands of float32 products to TF32, which has 10 bits (default: it must not)"
    parser.add_argument("--tf32", action="store_true", default=None, help=text)
    if trains:
        text = "compile PyTorch's steps with torch.compile; this needs a C++ compiler, and about a minute at the start"
        parser.add_argument("--compile", action="store_true", default=None, help=text)


def settle(args: argparse.Namespace, saved: Mapping[str, Any] | None = None) -> list[str]:
    """Fill in the options that were not given: from the resumed run's `saved` options, else from DEFAULTS.

    Returns a text for each option that was given and differs from the resumed run's, such as "device cpu and cuda".
    """
    changed = []
    for name, usual in DEFAULTS.items():
        before = (saved or {}).get(name, usual)
        before = before if type(before) is type(usual) else usual
        if getattr(args, name, None) is None:
            setattr(args, name, before)
        elif saved is not None and getattr(args, name) != before:
            changed.append(f"{name} {before} and {getattr(args, name)}")
    return changed


def expect_backend(args: argparse.Namespace, backend: str) -> None:
    """UsageError for an option of PyTorch if PyTorch does not train, or does not train alone."""
    if backend == "scratch":
        for name, usual in DEFAULTS.items():
            if getattr(args, name, None) not in (None, usual):
                raise UsageError(f"--{name}: NumPy computes on the CPU, expected --backend torch with it")
    if backend == "both" and args.compile:
        raise UsageError("--compile: beside NumPy PyTorch trains step by step, expected --backend torch with it")


def expect_usable(args: argparse.Namespace) -> None:
    """Switch TF32 on or off as asked. UsageError naming the option if PyTorch cannot do it on this machine."""
    import torch

    from torch_ref.tf32 import set_tf32

    try:
        kind = torch.device(args.device).type
        if kind not in KINDS:
            raise RuntimeError(f"a {kind} device does not train, expected one of {', '.join(KINDS)}")
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {args.device}: PyTorch cannot use it ({in_one_line(error)})") from error
    if args.tf32 and kind != "cuda":
        raise UsageError(f"--tf32: a {kind} device has none, expected --device cuda with it")
    set_tf32(args.tf32)


def in_one_line(error: BaseException) -> str:
    """The first line that says something."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)[:REASON]
