"""Rewriting: somebody's source, compiled so that every expression tells what it computed, from what, and where.

What an expression means does not change: operands are evaluated once, in their order; tracebacks have the lines of the
source; names, scopes and closures are those of the source. Left as they are: calls that look at their frame
(super, locals, eval), annotations, patterns, and the texts of f-strings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType

PREFIX = "_backprop_"
HANDED = -1  # in the place of an end column
NATIVE = frozenset({"super", "locals", "globals", "vars", "dir", "eval", "exec", "input", "breakpoint", "print"})
# These look at the frame that calls them.
FRAMED = frozenset({"type", "namedtuple", "NamedTuple", "TypeVar", "Enum", "_getframe", "currentframe", "warn"})
OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
    ast.LShift: "lshift",
    ast.RShift: "rshift",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
    ast.BitAnd: "and_",
    ast.USub: "neg",
    ast.UAdd: "pos",
    ast.Invert: "invert",
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
IN_PLACE = {name: f"i{name.rstrip('_')}" for name in OPERATORS.values()} | {"or_": "ior", "and_": "iand"}
LOOPS = frozenset({"zip", "enumerate", "map"})  # take what they loop over as arguments
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Site:
    """One expression or binding in a source. what: an operator's name, "call:NAME", "getitem", "attr:NAME", "bind"."""

    what: str
    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    function: str
    names: tuple[str, ...] = ()
    cell: str = ""  # of a notebook: "cell 4, line 12"

    @property
    def is_loop(self) -> bool:
        """Whether it is what a loop binds, whose end is not told."""
        return (self.line, self.column) == (self.end_line, self.end_column)

    @property
    def is_handed(self) -> bool:
        """Whether it is what a call gave back: its end is not told either."""
        return self.end_column == HANDED

    @property
    def place(self) -> str:
        return self.cell or f"line {self.line}"


def rewritten(source: str | bytes, file: str, sites: list[Site]) -> CodeType:
    """The code of a source; its sites are appended to `sites`, and it calls back with their positions.

    SyntaxError as of `compile`.
    """
    tree = ast.parse(source, file)
    made = ast.fix_missing_locations(Rewriter(file, sites).visit(tree))
    code: CodeType = compile(made, file, "exec", dont_inherit=True)
    return code


class Rewriter(ast.NodeTransformer):
    """Puts a call around every expression; `scope` are the classes and functions that enclose it."""

    def __init__(self, file: str, sites: list[Site]) -> None:
        self.file = file
        self.sites = sites
        self.scope: list[str] = []
        self.classes: list[str] = []
        self.arguments: set[str] = set()  # of the function
        self.stored: list[dict[str, ast.expr]] = []  # of each enclosing loop: what it stores elements into

    # --- what is left as it is ----------------------------------------------------------------------------------------

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.defaults = [self.visit(each) for each in node.defaults]
        node.kw_defaults = [self.visit(each) if each else None for each in node.kw_defaults]
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        node.guard = self.visit(node.guard) if node.guard else None
        node.body = self._block(node.body)
        return node

    # --- scopes -------------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: Function) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args = self.visit(node.args)
        self.scope.append(node.name)
        outer = self.arguments, self.stored
        self.arguments, self.stored = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}, []
        node.body = self._block(node.body)
        self.arguments, self.stored = outer
        self.scope.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.bases = [self.visit(each) for each in node.bases]
        self.scope.append(node.name)
        self.classes.append(node.name)
        node.body = self._block(node.body)
        self.classes.pop()
        self.scope.pop()
        return node

    def _block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """A docstring and `from __future__` keep their places."""
        made: list[ast.stmt] = []
        for statement in statements:
            found = statement if _is_text(statement) else self.visit(statement)
            made += found if isinstance(found, list) else [found]
        return made

    def visit_Module(self, node: ast.Module) -> ast.AST:
        node.body = self._block(node.body)
        return node

    # --- statements ---------------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        target, is_handed = node.targets[0], isinstance(node.value, ast.Call)
        node.value = self.visit(node.value)
        if len(node.targets) == 1 and isinstance(target, ast.Subscript):
            return self._store(node, target)
        names = [_names(each) for each in node.targets]
        if len(node.targets) == 1 and isinstance(target, ast.Tuple | ast.List):
            node.value = self._call(node, "getitem", "opened", [node.value, _parts(target)])
        node.value = self._bound(node, node.value, names[0], is_handed)
        node.targets = [self._target(each) for each in node.targets]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self._bound(node, self.visit(node.value), _names(node.target))
        node.target = self._target(node.target)  # type: ignore[assignment]
        return node

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        node.value = self._bound(node, self.visit(node.value), (node.target.id,))
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """x op= v as x = iop(x, v); the owner and the index of a part are evaluated once, and first."""
        op = IN_PLACE[OPERATORS[type(node.op)]]
        names = _names(node.target)
        if isinstance(node.target, ast.Name):
            now = ast.Name(node.target.id, ast.Load())
            made = self._call(node, op, "binary", [now, self.visit(node.value)])
            return ast.copy_location(ast.Assign([node.target], self._bound(node, made, names)), node)
        bind = self._site(node, "bind", names)
        sites: list[ast.expr] = [ast.Constant(self._site(node, op)), ast.Constant(bind)]
        owner = self.visit(node.target.value)
        if isinstance(node.target, ast.Attribute):
            part = _call_back("part_attr", [owner, ast.Constant(self._mangled(node.target.attr))])
            return self._augmented(node, "augment_attr", [*sites, ast.Starred(part, ast.Load())])
        self._note_stored(node.target)
        at = ast.Constant(self._site(node.target, "getitem"))
        part = _call_back("part_item", [at, owner, self._index(node.target.slice)])
        sites.append(ast.Constant(self._site(node, "setitem")))
        return self._augmented(node, "augment_item", [*sites, ast.Starred(part, ast.Load())])

    def _augmented(self, node: ast.AugAssign, back: str, before: Sequence[ast.expr]) -> ast.stmt:
        return ast.copy_location(ast.Expr(_call_back(back, [*before, self.visit(node.value)])), node)

    def _store(self, node: ast.Assign, target: ast.Subscript) -> ast.stmt:
        """owner[index] = value; the value is evaluated first."""
        self._note_stored(target)
        value = self._bound(node, node.value, _names(target))
        made = self._call(node, "setitem", "setitem", [value, self.visit(target.value), self._index(target.slice)])
        return ast.copy_location(ast.Expr(made), node)

    def _note_stored(self, target: ast.Subscript) -> None:
        root = target.value
        while isinstance(root, ast.Subscript):
            root = root.value
        if _is_plain(root):
            for loop in self.stored:
                loop[ast.unparse(root)] = root

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        node.iter = self._items(node)
        names = [name for name in _flat_names(node.target)]
        begun = [self._see(node, name) for name in names]
        node.target = self._target(node.target)
        return self._loop(node, begun)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        node.iter = self.visit(node.iter) if node.is_async else self._items(node)
        node.target = self._target(node.target)
        node.ifs = [self.visit(each) for each in node.ifs]
        return node

    def _items(self, node: ast.For | ast.comprehension) -> ast.expr:
        """What is looped over; numbers that are taken from it are told."""
        over = node.iter
        return self._call(over, "getitem", "items", [self.visit(over), _parts(node.target)])

    def visit_While(self, node: ast.While) -> list[ast.stmt]:
        node.test = self.visit(node.test)
        return self._loop(node, [])

    def _loop(self, node: ast.For | ast.While, begun: list[ast.stmt]) -> list[ast.stmt]:
        """After a loop that fills arrays element by element, these are looked at as a whole."""
        self.stored.append({})
        node.body = [*begun, *self._block(node.body)]
        stored = self.stored.pop()
        node.orelse = self._block(node.orelse)
        seen = [self._gathered(node, root) for root in stored.values()]
        return [node, *seen]

    def _gathered(self, node: ast.stmt, root: ast.expr) -> ast.stmt:
        """By attributes that are stored: no property is run. Where a name is not there, nothing is said."""
        site = self._site(node, "gather", (ast.unparse(root),))
        first, *path = ast.unparse(root).split(".")
        names: list[ast.expr] = [ast.Constant(self._mangled(name)) for name in path]
        call = ast.Expr(_call_back("gather", [ast.Constant(site), ast.Name(first, ast.Load()), *names]))
        handler = ast.ExceptHandler(ast.Name(PREFIX + "Exception", ast.Load()), None, [ast.Pass()])
        return _located(ast.Try([call], [handler], [], []), node, last=True)

    def _see(self, node: ast.stmt, name: str) -> ast.stmt:
        site = self._site(node, "bind", (name,))
        call = _call_back("bind", [ast.Constant(site), ast.Name(name, ast.Load())])
        return ast.copy_location(ast.Expr(call), node)

    def _bound(
        self, node: ast.stmt | ast.NamedExpr, value: ast.expr, names: Sequence[str], is_handed: bool = False
    ) -> ast.expr:
        if not any(names):
            return value
        site = self._site(node, "bind", tuple(names), is_handed)
        return ast.copy_location(_call_back("bind", [ast.Constant(site), value]), node)

    # --- expressions --------------------------------------------------------------------------------------------------

    def _target(self, node: ast.expr) -> ast.expr:
        """Of a target, only what is evaluated before the store."""
        if isinstance(node, ast.Attribute):
            node.value = self.visit(node.value)
        elif isinstance(node, ast.Subscript):
            self._note_stored(node)
            node.value, node.slice = self.visit(node.value), self.visit(node.slice)
        elif isinstance(node, ast.Tuple | ast.List):
            node.elts = [self._target(each) for each in node.elts]
        elif isinstance(node, ast.Starred):
            node.value = self._target(node.value)
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        """A function that hands on what it was given says so by its own name for it."""
        if isinstance(node.value, ast.Name) and node.value.id in self.arguments:
            node.value = self._bound(node, node.value, (node.value.id,))
            return node
        return self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> ast.AST:
        return node

    def visit_With(self, node: ast.With) -> ast.AST:
        for item in node.items:
            item.context_expr = self.visit(item.context_expr)
        node.body = self._block(node.body)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        return self._call(node, OPERATORS[type(node.op)], "binary", [self.visit(node.left), self.visit(node.right)])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not) or isinstance(node.operand, ast.Constant):
            node.operand = operand
            return node
        return self._call(node, OPERATORS[type(node.op)], "unary", [operand])

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1 and type(node.ops[0]) in OPERATORS:
            sides = [self.visit(node.left), self.visit(node.comparators[0])]
            return self._call(node, OPERATORS[type(node.ops[0])], "binary", sides)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """f(...) as call(f, ...); of o.m(...) as well, o.m is looked up before the arguments are evaluated."""
        if _called(node.func) in FRAMED or (isinstance(node.func, ast.Name) and node.func.id in NATIVE):
            return self.generic_visit(node)
        function = self._target(node.func) if isinstance(node.func, ast.Attribute) else self.visit(node.func)
        args = [function, *(self.visit(each) for each in node.args)]
        keywords = [self.visit(each) for each in node.keywords]
        back = "call"
        if isinstance(node.func, ast.Name) and node.func.id in LOOPS:
            back, args = "loop", [ast.Constant(self._site(node, "getitem")), *args]
        made = self._call(node, f"call:{_called(node.func)}", back, args, keywords)
        return _at_name(made, node.func)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.visit(node.value)
        if not isinstance(node.ctx, ast.Load):
            node.value = owner
            return node
        made = self._call(node, f"attr:{node.attr}", "attr", [owner, ast.Constant(self._mangled(node.attr))])
        return _at_name(made, node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):
            return self._target(node)
        return self._call(node, "getitem", "getitem", [self.visit(node.value), self._index(node.slice)])

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return self._whole(node, "choice")

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._whole(node, "list")

    def visit_List(self, node: ast.List) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):
            return self._target(node)
        return self._whole(node, "list")

    def _whole(self, node: ast.expr, what: str) -> ast.expr:
        """Its value is told; its operands are what its elements are."""
        return self._call(node, what, "whole", [self.generic_visit(node)])  # type: ignore[list-item]

    def _index(self, node: ast.expr) -> ast.expr:
        """A slice as a call of `slice`, so that it can be an argument."""
        if isinstance(node, ast.Slice):
            parts = [self.visit(each) if each else ast.Constant(None) for each in (node.lower, node.upper, node.step)]
            return ast.copy_location(_call_back("slice", parts), node)
        if isinstance(node, ast.Tuple):
            node.elts = [self._index(each) for each in node.elts]
            return node
        made: ast.expr = self.visit(node)
        return made

    # --- making -------------------------------------------------------------------------------------------------------

    def _call(
        self, node: ast.AST, what: str, back: str, args: Iterable[ast.expr], keywords: Sequence[ast.keyword] = ()
    ) -> ast.expr:
        site = self._site(node, what)
        return ast.copy_location(_call_back(back, [ast.Constant(site), *args], keywords), node)

    def _site(self, node: ast.AST, what: str, names: tuple[str, ...] = (), is_handed: bool = False) -> int:
        line, column = node.lineno, node.col_offset  # type: ignore[attr-defined]
        end = node.end_lineno or line, node.end_col_offset or column  # type: ignore[attr-defined]
        if isinstance(node, ast.For | ast.While):
            end = line, column
        if is_handed:
            end = line, HANDED
        self.sites.append(Site(what, self.file, line, column, *end, ".".join(self.scope) or "<module>", names))
        return len(self.sites) - 1

    def _mangled(self, attr: str) -> str:
        """A private name, as it is inside a class."""
        if not self.classes or not attr.startswith("__") or attr.endswith("__"):
            return attr
        return f"_{self.classes[-1].lstrip('_')}{attr}" if self.classes[-1].strip("_") else attr


def _call_back(name: str, args: Sequence[ast.expr], keywords: Sequence[ast.keyword] = ()) -> ast.Call:
    return ast.Call(ast.Name(PREFIX + name, ast.Load()), list(args), list(keywords))


def _located(made: ast.stmt, node: ast.stmt, last: bool = False) -> ast.stmt:
    made.lineno = made.end_lineno = (node.end_lineno if last else node.lineno) or node.lineno
    made.col_offset = made.end_col_offset = node.col_offset
    return made


def _at_name(made: ast.expr, node: ast.expr) -> ast.expr:
    """As Python does: what goes wrong with o.m on many lines is at the line of m."""
    if isinstance(node, ast.Attribute) and node.end_lineno != node.lineno:
        made.lineno = node.end_lineno or node.lineno
        made.col_offset = max(0, (node.end_col_offset or 0) - len(node.attr))
    return made


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_plain(node: ast.expr) -> bool:
    """A name, or an attribute of one: looking at it again does nothing."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_plain(node.value))


def _names(target: ast.expr) -> tuple[str, ...]:
    """As the code says it; of a tuple, each of its parts, "" for what has none."""
    if isinstance(target, ast.Tuple | ast.List):
        nested = (ast.Tuple, ast.List)
        return tuple("" if isinstance(each, nested) else "".join(_names(each)) for each in target.elts)
    if isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
        return (ast.unparse(target),)
    return ("",)


def _parts(target: ast.expr) -> ast.expr:
    """What a target unpacks, with None for what it takes whole: ((None, None), None) of ((x, y), t)."""
    if isinstance(target, ast.Tuple | ast.List) and not any(isinstance(each, ast.Starred) for each in target.elts):
        return ast.Tuple([_parts(each) for each in target.elts], ast.Load())
    return ast.Constant(None)


def _flat_names(target: ast.expr) -> list[str]:
    return [each.id for each in ast.walk(target) if isinstance(each, ast.Name)]


def _called(func: ast.expr) -> str:
    if isinstance(func, ast.Name):
        return func.id
    return func.attr if isinstance(func, ast.Attribute) else ""
