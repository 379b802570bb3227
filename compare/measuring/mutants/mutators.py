"""Mutators: every small change that is made to a module's source, one at a time.

A mutant is one change inside one function: an operator, a comparison, a constant, a key, two arguments in each other's
place, a statement that is gone. Docstrings, annotations and decorators are never changed. What only changes the words
of a message is marked as such: the part of a `raise` behind the exception's name, `__repr__`, `__str__`, and what is
computed for nothing else.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.Sub),
    ast.MatMult: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,),
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
COMMUTATIVE = (ast.Add, ast.Mult, ast.BitOr, ast.BitAnd)
NUMPY = {
    "abs": "sign",
    "argmax": "argmin",
    "asarray": "ones_like",
    "exp": "log",
    "float32": "float64",
    "float64": "float32",
    "floating": "integer",
    "integer": "floating",
    "log": "exp",
    "log1p": "log",
    "maximum": "minimum",
    "sqrt": "square",
    "tanh": "sin",
    "zeros": "ones",
    "zeros_like": "ones_like",
}
ATTRIBUTES = {
    "backward": "forward",
    "dampening": "momentum",
    "forward": "backward",
    "grads": "params",
    "in_features": "out_features",
    "lr": "weight_decay",
    "max": "min",
    "min": "max",
    "momentum": "dampening",
    "out_features": "in_features",
    "params": "grads",
    "sum": "mean",
    "weight_decay": "lr",
}
STRINGS = {
    "beta1": "beta2",
    "beta2": "beta1",
    "bias": "weight",
    "dampening": "momentum",
    "exp_avg": "exp_avg_sq",
    "exp_avg_sq": "exp_avg",
    "ignore": "warn",
    "mean": "sum",
    "momentum": "dampening",
    "sum": "mean",
    "weight": "bias",
}
NAMES = {"all": "any", "any": "all", "max": "min", "min": "max"}
LETTERS = (  # variables that are taken for each other, where a function has both
    ("b1", "b2"),
    ("dy", "x"),
    ("dy", "y"),
    ("g", "p"),
    ("g", "v"),
    ("in_features", "out_features"),
    ("m", "n"),
    ("m", "v"),
    ("p", "t"),
    ("s", "t"),
    ("t", "y"),
    ("t", "z"),
)
CONTAINERS = ("iter", "list")
EXCEPTIONS = ("LayerError", "RuntimeError", "TypeError", "ValueError")
WORDS = ("__repr__", "__str__")


@dataclass(frozen=True)
class Mutant:
    """One change. `before` and `after` are the statement, or a compound statement's first line; `source` the function.

    `lines` are those of the statement as it was, or of the whole function where that does not tell whether it ran.
    `nth` counts, from 1, the changes of one function that read alike.
    """

    file: str
    function: str
    kind: str
    before: str
    after: str
    lines: range
    source: str
    is_message: bool = False
    nth: int = 1

    @property
    def key(self) -> str:
        """What names it in tables and results, and does not move with the lines around it."""
        again = f" (no. {self.nth})" if self.nth > 1 else ""
        return f"{self.file} {self.function}: {self.before} -> {self.after}{again}"


@dataclass(frozen=True)
class _Place:
    """Where a node hangs in its tree."""

    parent: ast.AST
    field: str
    index: int | None

    @property
    def node(self) -> ast.AST:
        found = getattr(self.parent, self.field)
        node: ast.AST = found if self.index is None else found[self.index]
        return node

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(text: str, file: str) -> list[Mutant]:
    """Every mutant of a module's source, in the order of its lines; none twice, and none that is the source itself."""
    found: list[Mutant] = []
    for name, function in functions(ast.parse(text)):
        seen = {ast.unparse(function)}
        alike: Counter[str] = Counter()
        for place, statement, is_message in _places(function):
            original = place.node
            for kind, node in _changes(place, function):
                before = _shown(statement)
                place.put(node)
                after = _shown(statement) if statement is not place else _shown(place)
                source = ast.unparse(ast.fix_missing_locations(function))
                place.put(original)
                if source in seen:
                    continue
                seen.add(source)
                of_words = _of_words(name) or (is_message and kind != "statement deleted")
                mutant = Mutant(file, name, kind, before, after, _lines(statement, function), source, of_words)
                alike[mutant.key] += 1
                found.append(replace(mutant, nth=alike[mutant.key]))
    return found


def _lines(statement: _Place, function: ast.FunctionDef) -> range:
    node = statement.node
    if not isinstance(node, ast.stmt) or isinstance(node, ast.Try):
        return range(function.lineno, (function.end_lineno or function.lineno) + 1)
    body = getattr(node, "body", None)
    return range(node.lineno, max(node.lineno + 1, body[0].lineno if body else (node.end_lineno or 0) + 1))


def _of_words(function: str) -> bool:
    return function.rpartition(".")[2] in WORDS


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Of a module and its classes, by qualified name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")


# --- where ------------------------------------------------------------------------------------------------------------


def _places(function: ast.FunctionDef) -> Iterator[tuple[_Place, _Place, bool]]:
    """(a place, the statement or default that it belongs to, whether it is in the words of a message)."""
    for field in ("defaults", "kw_defaults"):
        for i, default in enumerate(getattr(function.args, field)):
            if default is not None:
                place = _Place(function.args, field, i)
                yield from ((inner, place, False) for inner in _expressions(place))
    yield from _statements(function, "body", _names_of_words(function))


def _statements(owner: ast.AST, field: str, of_words: set[str]) -> Iterator[tuple[_Place, _Place, bool]]:
    for i, statement in enumerate(getattr(owner, field)):
        place = _Place(owner, field, i)
        if _is_docstring(statement):
            continue
        is_for_words = _targets(statement) <= of_words and bool(_targets(statement))
        yield place, place, is_for_words
        for name, value in ast.iter_fields(statement):
            if name in ("annotation", "type_comment"):
                continue
            if name in ("body", "orelse", "finalbody"):
                yield from _statements(statement, name, of_words)
            elif name == "handlers":
                for handler in value:
                    if handler.type is not None:
                        yield from ((inner, place, False) for inner in _expressions(_Place(handler, "type", None)))
                    yield from _statements(handler, "body", of_words)
            else:
                for inner, in_message in _inside(statement, name, value):
                    yield inner, place, in_message or is_for_words


def _inside(statement: ast.stmt, name: str, value: object) -> Iterator[tuple[_Place, bool]]:
    """The expressions of one field of a statement; those of an exception's arguments are words."""
    nodes = value if isinstance(value, list) else [value]
    for i, node in enumerate(nodes):
        if not isinstance(node, ast.AST):
            continue
        top = _Place(statement, name, i if isinstance(value, list) else None)
        for place in _expressions(top):
            is_exception = place.node is node or (isinstance(node, ast.Call) and place.node is node.func)
            yield place, isinstance(statement, ast.Raise) and not is_exception


def _expressions(top: _Place) -> Iterator[_Place]:
    """A place and all places below it."""
    yield top
    for name, value in ast.iter_fields(top.node):
        if isinstance(value, list):
            for i, node in enumerate(value):
                if isinstance(node, ast.AST):
                    yield from _expressions(_Place(top.node, name, i))
        elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
            yield from _expressions(_Place(top.node, name, None))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _targets(statement: ast.stmt) -> set[str]:
    if not isinstance(statement, ast.Assign):
        return set()
    return {target.id for target in statement.targets if isinstance(target, ast.Name)}


def _names_of_words(function: ast.FunctionDef) -> set[str]:
    """Local names that are read in the words of messages and nowhere else."""

    def read(tree: ast.AST) -> Counter[str]:
        names = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
        return Counter(n.id for n in names)

    in_words: Counter[str] = Counter()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                in_words += read(argument)
    everywhere = read(function)
    return {name for name, n in in_words.items() if everywhere[name] == n and name in _stored(function)}


def _stored(function: ast.FunctionDef) -> set[str]:
    return {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _local(function: ast.FunctionDef) -> set[str]:
    return _stored(function) | {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}


def _shown(place: _Place) -> str:
    """The statement, or the first line of a compound one; a default with its parameter."""
    node = place.node
    if isinstance(place.parent, ast.arguments):
        arguments, i = place.parent, place.index or 0
        owner = (
            arguments.kwonlyargs[i]
            if place.field == "kw_defaults"
            else arguments.args[len(arguments.args) - len(arguments.defaults) + i]
        )
        return f"{owner.arg}={ast.unparse(node)}"
    if isinstance(node, ast.Try):
        return f"try ... except {', '.join(ast.unparse(h.type) for h in node.handlers if h.type)}"
    lines = ast.unparse(node).splitlines()
    return " ".join([lines[0], "..."] if len(lines) > 1 else lines)


# --- what -------------------------------------------------------------------------------------------------------------

Change = tuple[str, ast.AST]


def _changes(place: _Place, function: ast.FunctionDef) -> Iterator[Change]:
    """(kind, what stands there instead) for every mutator that knows this node."""
    for known, mutator in MUTATORS:
        if isinstance(place.node, known):
            yield from mutator(place.node)
    yield from _other_variable(place.node, function)
    yield from _exception(place)
    if isinstance(place.parent, ast.Tuple) and isinstance(place.node, ast.Constant) and place.node.value is None:
        yield "constant", ast.Constant(1)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """A copy of a node with other fields; the rest is shared."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _arithmetic(node: ast.BinOp) -> Iterator[Change]:
    for op in ARITHMETIC.get(type(node.op), ()):
        yield "operator", _with(node, op=op())
    if not isinstance(node.op, COMMUTATIVE):
        yield "operands swapped", _with(node, left=node.right, right=node.left)
    yield "operand dropped", node.left
    yield "operand dropped", node.right


def _in_place(node: ast.AugAssign) -> Iterator[Change]:
    for op in ARITHMETIC.get(type(node.op), ()):
        yield "operator", _with(node, op=op())
    yield "operator", ast.Assign([node.target], node.value, lineno=node.lineno)
    if isinstance(node.target, ast.Name):
        read = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        yield "in place", ast.Assign([node.target], read, lineno=node.lineno)


def _comparison(node: ast.Compare) -> Iterator[Change]:
    for i, old in enumerate(node.ops):
        for op in COMPARISONS.get(type(old), ()):
            yield "comparison", _with(node, ops=[*node.ops[:i], op(), *node.ops[i + 1 :]])


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield from (("constant", ast.Constant(n)) for n in ((1,) if value == 0 else (value - 1, value + 1)))
    elif isinstance(value, float):
        yield from (("constant", ast.Constant(x)) for x in ((1.0,) if value == 0 else (0.0, 0.5, 2 * value)))
    elif isinstance(value, str):
        yield "key", ast.Constant(STRINGS.get(value, f"{value}_"))


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    yield "sign" if isinstance(node.op, ast.USub) else "condition", node.operand


def _logic(node: ast.BoolOp) -> Iterator[Change]:
    yield "and, or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for i in range(len(node.values)):
        rest = [*node.values[:i], *node.values[i + 1 :]]
        yield "operand dropped", rest[0] if len(rest) == 1 else _with(node, values=rest)


def _choice(node: ast.IfExp) -> Iterator[Change]:
    yield "condition", node.body
    yield "condition", node.orelse
    yield "condition", _with(node, body=node.orelse, orelse=node.body)


def _call(node: ast.Call) -> Iterator[Change]:
    for i in range(len(node.args) - 1):
        args = [*node.args[:i], node.args[i + 1], node.args[i], *node.args[i + 2 :]]
        yield "arguments swapped", _with(node, args=args)
    for i in range(len(node.keywords)):
        yield "argument dropped", _with(node, keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in ("copy", "astype") and isinstance(node.func, ast.Attribute):
        yield "call dropped", node.func.value
    elif len(node.args) == 1 and not isinstance(node.args[0], ast.Starred) and not _is_exception(node.func):
        yield "call dropped", node.args[0]


def _attribute(node: ast.Attribute) -> Iterator[Change]:
    if node.attr == "T":
        yield "transpose dropped", node.value
        return
    of_numpy = isinstance(node.value, ast.Name) and node.value.id == "np"
    table = NUMPY if of_numpy else ATTRIBUTES
    if node.attr in table:
        yield "function" if of_numpy else "attribute", _with(node, attr=table[node.attr])


def _name(node: ast.Name) -> Iterator[Change]:
    if node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield "function", _with(node, id=NAMES[node.id])


def _pair(node: ast.Tuple) -> Iterator[Change]:
    for i in range(len(node.elts) - 1):
        elts = [*node.elts[:i], node.elts[i + 1], node.elts[i], *node.elts[i + 2 :]]
        yield "elements swapped", _with(node, elts=elts)


def _statement(node: ast.stmt) -> Iterator[Change]:
    if not isinstance(node, ast.Pass):
        yield "statement deleted", ast.Pass()
    if isinstance(node, ast.With):
        yield "block opened", ast.If(ast.Constant(True), node.body, [])
    if isinstance(node, ast.If):
        if not _has_opposite(node.test):
            yield "condition", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        yield "condition", _with(node, test=ast.Constant(True))
        if node.orelse:
            yield "condition", _with(node, test=ast.Constant(False))
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.BinOp):
        target, result = node.targets[0], node.value
        if isinstance(result.left, ast.Name) and result.left.id == target.id:
            yield "in place", ast.AugAssign(target, result.op, result.right, lineno=node.lineno)
    value = getattr(node, "value", None) if isinstance(node, ast.Return | ast.Assign | ast.AnnAssign) else None
    is_number = not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in CONTAINERS)
    if isinstance(value, ast.BinOp | ast.Call | ast.Name | ast.Attribute | ast.Subscript) and is_number:
        yield "sign", _with(node, value=ast.UnaryOp(ast.USub(), value))


def _other_variable(node: ast.AST, function: ast.FunctionDef) -> Iterator[Change]:
    if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
        return
    names = _local(function)
    for pair in LETTERS:
        if node.id in pair and names.issuperset(pair):
            yield "variable", _with(node, id=pair[1 - pair.index(node.id)])


def _exception(place: _Place) -> Iterator[Change]:
    """Another exception is raised, or caught."""
    if _is_exception(place.node):
        yield "exception", _with(place.node, id="KeyError")


def _is_exception(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in EXCEPTIONS


def _has_opposite(test: ast.expr) -> bool:
    """Whether another mutator makes its opposite: `not` is dropped, `==` becomes `!=`."""
    opposites = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)
    is_not = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    return is_not or (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], opposites))


MUTATORS: tuple[tuple[type[ast.AST], Callable[..., Iterator[Change]]], ...] = (
    (ast.BinOp, _arithmetic),
    (ast.AugAssign, _in_place),
    (ast.Compare, _comparison),
    (ast.Constant, _constant),
    (ast.UnaryOp, _unary),
    (ast.BoolOp, _logic),
    (ast.IfExp, _choice),
    (ast.Call, _call),
    (ast.Attribute, _attribute),
    (ast.Name, _name),
    (ast.Tuple, _pair),
    (ast.stmt, _statement),
)
