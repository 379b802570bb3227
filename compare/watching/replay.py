"""Replay: what a process says that an expression computed, computed once more from the operands that it says.

By the source text as the checker itself read it. What does not replay was forged, or changed by something unseen; what
is computed from it proves nothing either. Nothing is asked of expressions that are not known here.
"""

from __future__ import annotations

import ast
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from compare.watching.dataflow import Array
from compare.watching.rewriting import OPERATORS, PREFIX, Rewriter, Site

Operand = Array | float  # an array or number, or a constant of the code
Position = tuple[int, int, int, int]
DEEPER = 3  # of a call: source nests as deep
TINY = 1e-300  # in the place of a zero whose power is taken
LARGE = 1 << 20  # elements beyond which it is not asked which of them were taken
ULPS = 16.0  # of a function of one number
ARITHMETIC = ("add", "sub", "mul", "truediv", "pow", "matmul", "neg")
COMPARED = ("lt", "le", "gt", "ge")
ELEMENTWISE = (
    *("exp", "log", "log1p", "expm1", "sqrt", "abs", "absolute", "tanh", "sin", "cos", "maximum", "minimum", "square"),
    *("multiply", "divide", "true_divide", "negative", "sign", "reciprocal"),
)
SUMMING = ("sum", "mean", "dot", "matmul", "outer", "add", "subtract")
MOVING = ("reshape", "copy", "ravel", "flatten", "transpose", "squeeze")
AUTOGRAD = ("attr:grad", "call:grad", "call:gradient", "call:value_and_grad", "call:vjp")
RUNS = ("exec", "eval", "compile", "__import__")  # what is not in the text
ENDS = (
    *("_exit", "kill", "abort", "execv", "execve", "fork", "system", "popen", "posix_spawn", "_getframe", "settrace"),
    *("setprofile", "get_objects", "__globals__", "__subclasses__", "f_back"),
)
REACHES = ("ctypes", "builtins", "gc", "inspect", "importlib", "marshal", "subprocess", "multiprocessing", "runpy")


class Source:
    """A file as the checker read it: its sites, its expressions by their place, and NumPy's names in it."""

    def __init__(self, text: str | bytes, file: str) -> None:
        self.sites: list[Site] = []
        Rewriter(file, self.sites).visit(ast.parse(text, file))
        tree = ast.parse(text, file)
        self.calls: dict[Position, ast.Call] = {}
        self.numpy: set[str] = set()
        self.unseen: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self.calls[_position(node)] = node
            elif isinstance(node, ast.Import):
                self.numpy |= {each.asname or each.name for each in node.names if each.name == "numpy"}
            self.unseen += [f"{word} (line {node.lineno})" for word in _unseen(node)]  # type: ignore[attr-defined]

    def tells(self, found: Sequence[Site]) -> bool:
        """Whether these are its sites, as it was read here."""
        key = lambda s: (s.what, s.line, s.column, s.end_line, s.end_column, s.function, s.names)  # noqa: E731
        return list(map(key, found)) == list(map(key, self.sites))


def _position(node: Any) -> Position:
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0


def _unseen(node: ast.AST) -> Iterator[str]:
    """Names by which a program runs, ends or reaches what no text shows."""
    match node:
        case ast.Name(id=name) if name in RUNS or name == "__builtins__" or name.startswith(PREFIX):
            yield name
        case ast.Attribute(attr=name) if name in ENDS:
            yield name
        case ast.Import(names=names):
            yield from (each.name for each in names if each.name.partition(".")[0] in REACHES)
        case ast.ImportFrom(module=str(module), names=names):
            yield from [module] if module.partition(".")[0] in REACHES else []
            yield from (each.name for each in names if each.name in ENDS)


def replays(site: Site, source: Source | None, operands: Sequence[Operand], claimed: Array) -> bool | None:
    """Whether the claimed value follows from the operands; None where the expression is not known."""
    if source is None or not claimed.size:
        return None
    name = site.what.removeprefix("i") if site.what[1:] in OPERATORS.values() else site.what
    with np.errstate(all="ignore"):
        try:
            return _replays(name, site, source, operands, claimed)
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError):
            return None


def _replays(name: str, site: Site, source: Source, operands: Sequence[Operand], claimed: Array) -> bool | None:
    if name in ARITHMETIC and len(operands) == 1 + (name != "neg"):
        return any(_close(claimed, *made, operands) for made in _arithmetic(name, [_wide(o) for o in operands]))
    if name in COMPARED and len(operands) == 2 and claimed.dtype.kind == "b" and claimed.ndim:
        return bool(np.array_equal(getattr(operator, name)(*operands), claimed))
    if name == "attr:T" and len(operands) == 1:
        return bool(np.array_equal(np.asarray(operands[0]).T, claimed, equal_nan=claimed.dtype.kind == "f"))
    if name in ("getitem", "setitem") and operands:  # of a list that has grown since, one number is not there yet
        return _is_taken(claimed, operands) or (None if not claimed.ndim else False)
    if name.startswith("call:"):
        return _called(name.removeprefix("call:"), site, source, operands, claimed)
    return None


def _arithmetic(name: str, operands: Sequence[Any]) -> Iterator[tuple[Any, Any, float]]:
    """Results, their size before anything cancels, and how many roundings; of lists and matrices, other ones too."""
    if name == "neg":
        yield -operands[0], abs(operands[0]), 1.0
        return
    a, b = operands
    if name == "matmul" or (name == "mul" and np.ndim(a) == np.ndim(b) == 2 and np.shape(a)[1] == np.shape(b)[0]):
        yield a @ b, abs(a) @ abs(b), float(np.shape(a)[-1]) + ULPS
    if name == "matmul":
        return
    try:
        made = getattr(operator, name)(a, b)
        size = abs(a) + abs(b) if name in ("add", "sub") else abs(made)
        yield made, size * (1 + abs(b) * abs(np.log(np.maximum(abs(a), TINY))) if name == "pow" else 1.0), ULPS
    except ValueError:  # lists that are put together
        pass
    if name == "add" and np.ndim(a) == np.ndim(b) > 0:
        made = np.concatenate([a, b])
        yield made, abs(made), 0.0
    if name == "mul" and (np.ndim(a) == 0) != (np.ndim(b) == 0):
        times, of = (a, b) if np.ndim(a) == 0 else (b, a)
        if float(times).is_integer() and 0 < times * np.size(of) < LARGE:
            made = np.concatenate([of] * int(times))
            yield made, abs(made), 0.0


def _called(name: str, site: Site, source: Source, operands: Sequence[Operand], claimed: Array) -> bool | None:
    call = source.calls.get((site.line, site.column, site.end_line, site.end_column))
    if call is None or not isinstance(call.func, ast.Attribute) or name not in (*ELEMENTWISE, *SUMMING, *MOVING):
        return None
    is_numpy = isinstance(call.func.value, ast.Name) and call.func.value.id in source.numpy
    if any(keyword.arg not in ("axis", "keepdims") for keyword in call.keywords):
        return None
    literal = {k.arg: k.value.value for k in call.keywords if k.arg and isinstance(k.value, ast.Constant)}
    if len(literal) != len(call.keywords) or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    counted = sum(type(value) in (int, bool) for value in literal.values())
    own = list(operands[: len(operands) - counted])
    if len(own) != len(call.args) + (not is_numpy):
        return None
    if name in MOVING:
        return _is_taken(claimed, own[:1])
    function: Callable[..., Any] = getattr(np, name)
    args = [_wide(o) for o in own]
    if name in ("sum", "mean") and len(args) > 1:
        args[1:] = [int(args[1])]
    made = function(*args, **literal)
    if name in ELEMENTWISE:
        return _close(claimed, made, abs(made), ULPS, operands)
    absolute: Callable[..., Any] = np.add if name == "subtract" else function
    sizes = [abs(a) for a in args] if name not in ("sum", "mean") else [abs(args[0]), *args[1:]]
    length = np.shape(args[0])[-1] if np.ndim(args[0]) else 1
    terms = np.size(args[0]) / max(1, np.size(made)) if name in ("sum", "mean") else float(length)
    return _close(claimed, made, absolute(*sizes, **literal), terms + ULPS, operands)


def _is_taken(claimed: Array, operands: Sequence[Operand]) -> bool | None:
    """Whether every element is one of the operands' ones."""
    held = [np.asarray(o).astype(claimed.dtype).reshape(-1) for o in operands]
    if sum(map(len, held)) > LARGE:
        return None
    known = np.concatenate(held)
    return bool(np.all(np.isin(claimed, known) | (claimed != claimed)))


def _wide(operand: Operand) -> Any:
    if isinstance(operand, float):
        return operand
    return operand.astype(np.float64) if operand.ndim else float(operand)


def _close(claimed: Array, made: Any, size: Any, roundings: float, operands: Sequence[Operand]) -> bool:
    """Within so many roundings of the least precise number."""
    if np.shape(made) != claimed.shape:
        return False
    kinds = [o.dtype for o in (*operands, claimed) if not isinstance(o, float) and o.dtype.kind == "f"]
    eps = max((float(np.finfo(kind).eps) for kind in kinds), default=2.0**-52)
    tiny = max((float(np.finfo(kind).tiny) for kind in kinds), default=0.0)
    difference = np.abs(claimed.astype(np.float64) - made)
    is_near = difference <= roundings * eps * np.abs(size) + tiny * roundings
    is_beyond = ~np.isfinite(claimed.astype(np.float64)) | ~np.isfinite(made)
    return bool(np.all(is_near | is_beyond)) or claimed.dtype.kind in "iub"


class Replayed:
    """Which values of a run are proven so far, and what is not, in words."""

    def __init__(self, read: Callable[[str], str | bytes | None], distrusted: bool = False) -> None:
        self.read, self.distrusted = read, distrusted
        self.sources: dict[str, Source | None] = {}
        self.foreign: set[int] = set()  # sites of code that was not handed in
        self.tainted: set[int] = set()  # values
        self.unseen: dict[str, None] = {}

    def told(self, sites: Sequence[Site], first: int) -> None:
        """The sites of one file."""
        for file in {site.file for site in sites}:
            depth = sys.getrecursionlimit()
            sys.setrecursionlimit(DEEPER * depth)  # as in the process of the script
            try:
                text = self.read(file)
                source = None if text is None else Source(text, file)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                source = None
            finally:
                sys.setrecursionlimit(depth)
            self.sources[file] = source
            for word in source.unseen if source and self.distrusted else ():
                self.unseen[f"it can run code, or end, unseen: {word}"] = None
            if source is None or not source.tells(sites):
                self.unseen[f"{file.rpartition('/')[2]} is not the file that was handed in"] = None
                self.foreign.update(range(first, first + len(sites)))

    def value(
        self, number: int, site: int, place: Site | None, numbers: Sequence[Any], held: Sequence[Array], claimed: Array
    ) -> bool:
        """Whether the next value is to be believed."""
        known = [o for o in numbers if isinstance(o, list) or 0 <= o < len(held)]
        operands: list[Operand] = [float(o[0]) if isinstance(o, list) else held[o] for o in known]
        is_tainted = any(type(o) is int and o in self.tainted for o in known) or site in self.foreign
        if place is not None and not is_tainted:
            is_tainted = place.what in AUTOGRAD
            if not is_tainted and replays(place, self.sources.get(place.file), operands, claimed) is False:
                is_tainted = True
                self.unseen[f"line {place.line} does not give what the program says ({place.what})"] = None
        if is_tainted:
            self.tainted.add(number)
        return not is_tainted


