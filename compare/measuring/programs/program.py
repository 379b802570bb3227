"""Program: the source text of a training program, and what its first steps do to the weights."""

from __future__ import annotations

import ast
import contextlib
import io
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.measuring.programs import forms
from compare.measuring.programs.marks import SEEN, stripped
from compare.measuring.programs.network_text import network_text, sayable
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.style import Style, drawn, settled

Array = NDArray[Any]
ALL = 10**6
LARGE = 100.0  # a weight


@dataclass(frozen=True)
class Seen:
    """The batch of a training step, and the parameters of each layer before it."""

    x: Array
    t: Array
    parameters: list[list[Array]]


class _Enough(BaseException):
    """The steps that were wanted are done."""


@dataclass(frozen=True, eq=False)
class Program:
    """A program: its style, and its syntax tree with marks."""

    style: Style
    tree: ast.Module

    @classmethod
    def of(cls, style: Style) -> Program:
        """In the nearest style that is a whole program and that a network's text can say."""
        style = settled(sayable(settled(style)))
        return cls(style, ast.parse("\n".join(forms.lines(Notation.of(style)))))

    @classmethod
    def drawn(cls, seed: int) -> Program:
        """At random; with a smaller learning rate where the weights would grow without bound."""
        program = cls.of(drawn(seed))
        while not program.is_tame() and program.style.rate > 1e-5:
            program = cls.of(replace(program.style, rate=float(f"{program.style.rate / 10:g}")))
        return program

    def is_tame(self) -> bool:
        """Whether the weights stay in bounds to the end."""
        seen = self.run(ALL)
        return all(np.all(np.abs(p) < LARGE) for step in seen for layer in step.parameters for p in layer)

    @property
    def notation(self) -> Notation:
        return Notation.of(self.style)

    @property
    def network(self) -> str:
        """In the words of a network's text."""
        return network_text(self.style)

    @property
    def told(self) -> str | None:
        """What the checker is told of the network; None where it has to read it off the program."""
        return self.network if self.style.told else None

    @cached_property
    def text(self) -> str:
        """What the student wrote."""
        return laid_out(stripped(self.tree))

    def run(self, steps: int) -> list[Seen]:
        """The first steps, and the state after the last of them if there are more. Whatever the program raises."""
        found: list[Seen] = []

        def see(x: Any, t: Any, parameters: list[list[Any]]) -> None:
            found.append(Seen(np.array(x), np.array(t), [[np.array(p) for p in layer] for layer in parameters]))
            if len(found) > steps:
                raise _Enough

        code = compile(stripped(self.tree, keep_seen=True), "program.py", "exec")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(_Enough), np.errstate(all="ignore"):
            exec(code, {"__name__": "__main__", SEEN: see})
        return found


def laid_out(tree: ast.Module) -> str:
    """The text of a tree, with empty lines around definitions and before loops."""
    parts: list[str] = []
    after = False
    for node in tree.body:
        is_block = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.If)
        if parts and (is_block or after):
            parts.append("")
        parts.append(ast.unparse(node))
        after = is_block
    return "\n".join(parts) + "\n"


def guilty_lines(tree: ast.Module) -> tuple[str, tuple[int, ...]]:
    """The text of a tree, and the lines of the statements that were marked guilty."""
    plain = stripped(tree)
    text = laid_out(plain)
    pairs = zip(ast.walk(plain), ast.walk(ast.parse(text)), strict=True)
    lines = {new.lineno for old, new in pairs if getattr(old, "guilty", False) and isinstance(new, ast.stmt)}
    return text, tuple(sorted(lines))
