"""Marks: which expression of a program is what, kept in its syntax tree and taken out before it is written.

A mark is a call around an expression: __derivative_1__(1 - h**2) is the derivative of layer 1's activation.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

MARK = re.compile(r"__([a-z_]+?)_(\d+)__")
SEEN = "__seen__"  # a statement that is called at the start of every training step; it is not written


def mark(kind: str, layer: int, text: str) -> str:
    """The text with its mark."""
    return f"__{kind}_{layer}__({text})"


@dataclass(eq=False)
class Mark:
    """A marked expression."""

    kind: str
    layer: int
    call: ast.Call

    @property
    def expression(self) -> ast.expr:
        return self.call.args[0]

    @expression.setter
    def expression(self, new: ast.expr) -> None:
        self.call.args[0] = new


def mark_of(node: ast.AST) -> Mark | None:
    """The mark that this node is, if it is one."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and (found := MARK.fullmatch(node.func.id)):
        return Mark(found[1], int(found[2]), node)
    return None


def marks(tree: ast.AST, kind: str, layer: int | None = None) -> Iterator[Mark]:
    """Those of one kind, in order of the text."""
    for node in in_order(tree):
        found = mark_of(node)
        if found and found.kind == kind and layer in (None, found.layer):
            yield found


def in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, each before its children."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from in_order(child)


class _Stripper(ast.NodeTransformer):
    """Takes the marks out, and the calls of SEEN where they are not wanted."""

    def __init__(self, keep_seen: bool) -> None:
        self.keep_seen = keep_seen

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return node.args[0] if mark_of(node) else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_seen = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
        if is_seen and node.value.func.id == SEEN and not self.keep_seen:  # type: ignore[attr-defined]
            return None
        return self.generic_visit(node)


def stripped(tree: ast.Module, keep_seen: bool = False) -> ast.Module:
    """A copy without marks. Statements keep their order, so the n-th of the copy is the n-th of the tree."""
    return ast.fix_missing_locations(_Stripper(keep_seen).visit(copy.deepcopy(tree)))
