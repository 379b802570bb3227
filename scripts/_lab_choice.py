"""Which lab exactly: its variants, and the options that only some labs have, such as --digits."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from _exit_code import UsageError

from scratch.labs import LABS, Lab

OPTIONS = tuple(sorted({name for lab in LABS.values() for name in lab.options}))


def add_arguments(parser: argparse.ArgumentParser, *, variants: bool = True) -> None:
    """--variant, and every option that some lab has."""
    names = sorted({name for lab in LABS.values() for name in lab.variants})
    if variants:
        parser.add_argument("--variant", metavar="NAME", help=f"run the lab with other settings: {', '.join(names)}")
    for option in OPTIONS:
        labs = ", ".join(name for name, lab in LABS.items() if option in lab.options)
        parser.add_argument(f"--{option}", metavar="TEXT", help=f"the {option} of lab {labs}")


def chosen(lab: Lab, options: Mapping[str, Any]) -> Lab:
    """The lab that these options name. UsageError for one that the lab does not have, or a value it cannot take."""
    for name in OPTIONS:
        value = options.get(name)
        if value is None:
            continue
        if name not in lab.options:
            raise UsageError(f"--{name}: lab {lab.name} has no such option")
        try:
            lab = lab.options[name](value)
        except ValueError as error:
            raise UsageError(f"--{name}: {error}") from error
    variant = options.get("variant")
    if variant is None:
        return lab
    if variant not in lab.variants:
        known = ", ".join(lab.variants) or "none"
        raise UsageError(f"--variant {variant}: expected one of lab {lab.name}'s: {known}")
    return lab.variants[variant]
