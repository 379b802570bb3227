"""Planting a mutant: the function that it changed runs in the place of the original, wherever that is referred to."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import scratch
from compare.measuring.mutants.mutators import Mutant, functions, mutants

FILES = ("layers.py", "losses.py", "network.py", "optim.py")
FOLDER = Path(scratch.__file__).parent


def mutants_of(file: str) -> list[Mutant]:
    """Every mutant of one of the files, as it is now. ValueError for another file."""
    return mutants(text_of(file), file)


@cache
def text_of(file: str) -> str:
    """As it was when this process first asked."""
    if file not in FILES:
        raise ValueError(f"file {file!r}: expected one of {', '.join(FILES)}")
    return (FOLDER / file).read_text(encoding="utf-8")


def plant(mutant: Mutant) -> None:
    """For the rest of this process. The function object stays and gets the mutant's code and defaults, so that other
    modules which imported it by name, and properties made of it, run the mutant too."""
    module = importlib.import_module(f"scratch.{mutant.file.removesuffix('.py')}")
    fresh: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(_planted(mutant), str(module.__file__), "exec", dont_inherit=True), fresh)
    *classes, name = mutant.function.split(".")
    owner: ModuleType | type = module
    changed_owner: Any = fresh
    for part in classes:
        owner = vars(owner)[part]
        changed_owner = vars(changed_owner[part])
    original, changed = (_function(a) for a in (vars(owner)[name], changed_owner[name]))
    original.__defaults__, original.__kwdefaults__ = changed.__defaults__, changed.__kwdefaults__
    if original.__code__.co_freevars == changed.__code__.co_freevars:
        original.__code__ = changed.__code__
    else:  # the mutant no longer calls super(), and so has no cell for its class
        bare = FunctionType(changed.__code__, original.__globals__, name, changed.__defaults__)
        bare.__kwdefaults__ = changed.__kwdefaults__
        setattr(owner, name, bare)


def _planted(mutant: Mutant) -> ast.Module:
    """The whole module with the mutant in it."""
    tree = ast.parse(text_of(mutant.file))
    function = dict(functions(tree))[mutant.function]
    (changed,) = ast.parse(mutant.source).body
    assert isinstance(changed, ast.FunctionDef)
    function.args, function.body = changed.args, changed.body
    return tree


def _function(found: Any) -> Any:
    return found.fget if isinstance(found, property) else found
