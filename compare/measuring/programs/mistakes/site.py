"""Site: a program's syntax tree in which a mistake is planted, and what was changed in it."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterable, Iterator

from compare.measuring.programs.layer_objects import inside
from compare.measuring.programs.marks import Mark, in_order, mark_of, marks
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.program import Program
from compare.measuring.programs.style import Style


class Site:
    """A copy of a program's tree. What is edited through it is blamed: the guilty lines follow."""

    def __init__(self, program: Program, r: random.Random) -> None:
        self.tree = copy.deepcopy(program.tree)
        self.style: Style = program.style
        self.outer: Notation = program.notation  # the names where the network's output and the error are
        self.notation = inside(self.outer) if self.style.form == "layers" else self.outer
        self.r = r

    def marks(self, kind: str, layer: int | None = None) -> list[Mark]:
        return list(marks(self.tree, kind, layer))

    def one_layer(self, kind: str) -> list[Mark]:
        """All marks of this kind in one layer, drawn at random; none where there are none."""
        layers = sorted({m.layer for m in self.marks(kind)})
        found = self.marks(kind, self.r.choice(layers)) if layers else []
        return [self.r.choice(found)] if found and self.style.form == "layers" else found

    def parent(self, node: ast.AST) -> ast.AST:
        """What holds a node, marks left out."""
        parents = {child: outer for outer in ast.walk(self.tree) for child in ast.iter_child_nodes(outer)}
        found = parents[node]
        while mark_of(found):
            found = parents[found]
        return found

    def chain(self, node: ast.AST) -> Iterator[ast.AST]:
        """The node and all that hold it, from the inside out."""
        parents = {child: outer for outer in ast.walk(self.tree) for child in ast.iter_child_nodes(outer)}
        while node is not self.tree:
            yield node
            node = parents[node]

    def statement(self, node: ast.AST) -> ast.stmt:
        return next(n for n in self.chain(node) if isinstance(n, ast.stmt))

    def body(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that a statement stands in."""
        for outer in ast.walk(self.tree):
            for held in ("body", "orelse"):
                if isinstance(found := getattr(outer, held, None), list) and statement in found:
                    return found
        raise ValueError("the statement is not in the tree")

    def statements(self, wanted: Callable[[ast.stmt], bool]) -> list[ast.stmt]:
        """The simple statements that are wanted, in order of the text."""
        return [n for n in in_order(self.tree) if isinstance(n, ast.stmt) and not hasattr(n, "body") and wanted(n)]

    def holds(self, statement: ast.stmt, kinds: Iterable[str], layer: int | None = None) -> bool:
        return any(True for kind in kinds for _ in marks(statement, kind, layer))

    def blame(self, *nodes: ast.AST) -> None:
        """The statements of these nodes are guilty."""
        for node in nodes:
            self.statement(node).guilty = True  # type: ignore[attr-defined]

    def replace(self, old: ast.AST, new: ast.AST) -> None:
        """Put `new` in the place of `old`, and blame its statement."""
        self.blame(old)
        outer = next(n for n in list(self.chain(old))[1:])
        for name, value in ast.iter_fields(outer):
            if value is old:
                setattr(outer, name, new)
            elif isinstance(value, list) and any(v is old for v in value):
                setattr(outer, name, [new if v is old else v for v in value])

    def rewrite(self, mark: Mark, change: Callable[[ast.expr], ast.expr]) -> None:
        """Change a marked expression, and blame its statement."""
        self.blame(mark.call)
        mark.expression = change(mark.expression)

    def remove(self, statement: ast.stmt) -> None:
        """Take a statement out, and blame those around it: there is no other line to point at."""
        body = self.body(statement)
        at = body.index(statement)
        self.blame(*body[max(at - 1, 0) : at], *body[at + 1 : at + 2])
        body.remove(statement)


def parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def times(factor: str, e: ast.expr) -> ast.expr:
    return ast.BinOp(parsed(factor), ast.Mult(), e)


def bare(e: ast.expr) -> ast.expr:
    """Without marks around it."""
    while found := mark_of(e):
        e = found.expression
    return e
