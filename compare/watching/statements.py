"""Which variables the statements of a source mention, so that after a line only these need to be looked at."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Chain = tuple[str, ...]  # ("self", "params") for self.params, whatever is called or looked up on it
PRODUCTS = ("dot", "matmul", "einsum", "inner", "outer", "tensordot", "vdot")


@dataclass(frozen=True)
class Statement:
    """One statement, or the head of a compound one; what else stands on its lines belongs to it.

    `mentions` maps every chain of names to whether the statement stores to it or into it. `matters` says whether it
    multiplies matrices or takes something off a variable, as backpropagation and updates do. When it has run, it has
    bound its variables if the next line is one of `bound_before`; None: whatever the next line; (): not known.
    """

    line: int
    mentions: dict[Chain, bool]
    matters: bool
    bound_before: range | tuple[()] | None = ()

    def has_bound(self, following: int) -> bool:
        """Whether its variables are certainly bound anew, to the same numbers perhaps, when that line follows."""
        return self.bound_before is None or following in self.bound_before


def statements(source: str) -> dict[int, Statement]:
    """The statement of every line that has one. SyntaxError where Python would raise it."""
    tree = ast.parse(source)
    heads: dict[int, list[ast.stmt]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            heads.setdefault(node.lineno, []).append(node)
    spans: list[tuple[int, int, list[ast.AST]]] = []
    for first, last, nodes in sorted(_spans(tree), key=lambda span: span[:2]):
        if spans and first <= spans[-1][1]:
            begin, end, shared = spans[-1]
            spans[-1] = (begin, max(end, last), shared + nodes)
        else:
            spans.append((first, last, nodes))
    found: dict[int, Statement] = {}
    for first, last, nodes in spans:
        mentions: dict[Chain, bool] = {}
        for chain, stored in _mentions(nodes):
            mentions[chain] = mentions.get(chain, False) or stored
        matters = any(_matters(n) for node in nodes for n in ast.walk(node))
        statement = Statement(first, mentions, matters, _bound_before(heads.get(first, []), first, last))
        found.update(dict.fromkeys(range(first, last + 1), statement))
    return found


def _bound_before(starting: list[ast.stmt], first: int, last: int) -> range | tuple[()] | None:
    """Of the statements that start on one line. More than one, or several lines: it is not known when they are done."""
    match starting:
        case [ast.For() as loop] if loop.body[0].lineno > last:
            return range(loop.body[0].lineno, (loop.body[-1].end_lineno or last) + 1)
        case [ast.Assign() | ast.AugAssign() | ast.AnnAssign()] if first == last:
            return None
    return ()


def _spans(tree: ast.AST) -> Iterator[tuple[int, int, list[ast.AST]]]:
    """(first line, last line, what to search for names) of every statement; a compound one without its body."""
    for node in ast.walk(tree):
        if isinstance(node, ast.match_case):
            head: list[ast.AST] = [node.pattern, *([node.guard] if node.guard else [])]
            yield node.pattern.lineno, _end(head), head
        if not isinstance(node, ast.stmt):
            continue
        head = _head(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            signature = [node.args] if not isinstance(node, ast.ClassDef) else []
            parts = [arg for args in signature for arg in ast.walk(args) if hasattr(arg, "end_lineno")]
            yield first, max(node.lineno, _end([*head, *parts])), head
        else:
            yield node.lineno, max(node.lineno, _end(head)), head


def _head(node: ast.stmt) -> list[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d]
            return [*node.decorator_list, *defaults]
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases]
        case ast.For() | ast.AsyncFor():
            return [node.target, node.iter]
        case ast.If() | ast.While():
            return [node.test]
        case ast.With() | ast.AsyncWith():
            return list(node.items)
        case ast.Match():
            return [node.subject]
        case ast.Try() | ast.TryStar():
            return []
        case ast.Import() | ast.ImportFrom():
            return []
    return [node]


def _end(nodes: Iterable[ast.AST]) -> int:
    ends = [getattr(n, "end_lineno", 0) or 0 for node in nodes for n in ast.walk(node)]
    return max(ends, default=0)


def _mentions(nodes: Iterable[ast.AST]) -> Iterator[tuple[Chain, bool]]:
    for node in nodes:
        match node:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                stored = isinstance(node.ctx, ast.Store)
                chain = _chain(node)
                if chain:
                    yield chain, stored
                if not isinstance(node, ast.Name):
                    yield from _beside_chain(node)
            case ast.Call(func=ast.Attribute() as method):
                yield from _mentions([method.value])  # a method may change its object in place
                yield from _mentions([*node.args, *(k.value for k in node.keywords)])
            case ast.Call(func=ast.Name()):
                yield from _mentions([*node.args, *(k.value for k in node.keywords)])
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield (name,), True
                yield from _mentions(ast.iter_child_nodes(node))
            case _:
                yield from _mentions(ast.iter_child_nodes(node))


def _chain(node: ast.AST) -> Chain:
    """The names up to the first lookup or call: self.layers for self.layers[0].W; () where it begins with neither."""
    names: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            names.clear()
            node = node.value
        else:
            return ()
    return (node.id, *reversed(names))


def _beside_chain(node: ast.AST) -> Iterator[tuple[Chain, bool]]:
    """What the indices mention, and whatever the chain hangs on that is no name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript):
            yield from _mentions([node.slice])
        node = node.value
    if not isinstance(node, ast.Name):
        yield from _mentions([node])


def _matters(node: ast.AST) -> bool:
    match node:
        case ast.MatMult() | ast.AugAssign(op=ast.Sub()):
            return True
        case ast.Assign(targets=[target], value=ast.BinOp(left=left, op=ast.Sub() | ast.Add())):
            return ast.unparse(target) == ast.unparse(left)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in PRODUCTS
    return False
