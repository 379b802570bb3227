"""Rewriting: that a program means what it meant. Each runs as it is written and rewritten, and does the same.

The same is: what it prints, what it raises, and the lines of the program in the traceback.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dataclasses
import importlib.util
import io
import json
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.watching.rewriting import PREFIX, Site, rewritten
from compare.watching.values import ValueLimits, Values

FILE = "program.py"
# Of every program: t says when it is evaluated, and gives its argument back.
BEGIN = "def t(x):\n    print('t', x)\n    return x\n"


def programs(name: str) -> dict[str, str]:
    """Each begins with a line "# --- " and what it is about."""
    parts = (Path(__file__).parent / "programs" / name).read_text().split("# --- ")[1:]
    return dict(part.split("\n", 1) for part in parts)


PRINTING = programs("printing.txt")
RAISING = programs("raising.txt")
# Python's message names the function that is called: here it is another.
RAISING_IN_OTHER_WORDS = {
    "keyword twice": "def f(**k): pass\nf(a=1,\n  **{'a': 2})",
    "star of no iterable": "def f(*a): pass\nf(*1)",
    "stars of no mapping": "def f(**a): pass\nf(**1)",
}
BROKEN = {
    "no expression": "a = \n",
    "indent": "if 1:\nprint(2)\n",
    "return outside": "x = 1\nreturn x\n",
    "yield outside": "class A:\n    yield 1\n",
    "await outside": "await f()\n",
    "nonlocal in a module": "nonlocal x\n",
    "nonlocal unknown": "def f():\n    nonlocal y\n",
    "global after use": "def f():\n    x = 1\n    global x\n",
    "break outside": "break\n",
    "two stars": "a, *b, *c = 1, 2\n",
    "future too late": "x = 1\nfrom __future__ import annotations\n",
    "no such future": "from __future__ import braces\n",
    "parameter twice": "def f(a, a): pass\n",
    "keyword twice": "f(a=1, a=2)\n",
    "walrus in a comprehension": "[x := 1 for x in y]\n",
    "assignment to a call": "f() = 1\n",
    "pattern": "match 1:\n    case x: pass\n    case 1: pass\n",
}


@dataclasses.dataclass
class Ran:
    """What a program printed, what it raised, and the lines of its own in the traceback."""

    output: str
    error: str
    lines: list[tuple[str, int | None]]


@pytest.fixture(autouse=True)
def watched() -> Iterator[Values]:
    """What rewritten code calls, in this process."""
    with installed() as values:
        yield values


@contextlib.contextmanager
def installed() -> Iterator[Values]:
    values = Values([], ValueLimits(), lambda *_: None, lambda *_: None, lambda _: None)
    values.install()
    try:
        yield values
    finally:
        for name in [name for name in vars(builtins) if name.startswith(PREFIX)]:
            delattr(builtins, name)


def plain(source: str, values: Values) -> CodeType:
    return compile(source, FILE, "exec", dont_inherit=True)


def made(source: str, values: Values) -> CodeType:
    return rewritten(source, FILE, values.sites)


def ran(source: str, compiled: Callable[[str, Values], CodeType], values: Values) -> Ran:
    output, error = io.StringIO(), None
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3 * limit)
    try:
        code = compiled(source, values)
        with contextlib.redirect_stdout(output):
            exec(code, {"__name__": "program", "__builtins__": builtins})
    except (Exception, SystemExit) as raised:
        error = raised
    finally:
        sys.setrecursionlimit(limit)
    said = f"{type(error).__name__}: {error}" if error else ""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return Ran(output.getvalue(), said, [(f.name, f.lineno) for f in frames if f.filename == FILE])


# What differs today, and why.
DIFFERENT: dict[str, str] = {
    "the caller's frame": "a call goes through a function of the watcher, whose frame is between the two",
}


def table(sources: Mapping[str, str]) -> pytest.MarkDecorator:
    marks = {name: [pytest.mark.xfail(reason=why)] for name, why in DIFFERENT.items()}
    rows = [pytest.param(source, id=name, marks=marks.get(name, [])) for name, source in sources.items()]
    return pytest.mark.parametrize("source", rows)


@table(PRINTING)
def test_what_it_prints(source: str, watched: Values) -> None:
    expected = ran(BEGIN + source, plain, watched)
    assert expected.output or expected.error
    assert ran(BEGIN + source, made, watched) == expected


@table(RAISING)
def test_what_it_raises_and_where(source: str, watched: Values) -> None:
    expected = ran(source, plain, watched)
    assert expected.error
    assert ran(source, made, watched) == expected


@table(RAISING_IN_OTHER_WORDS)
def test_what_it_raises_in_other_words(source: str, watched: Values) -> None:
    expected, found = ran(source, plain, watched), ran(source, made, watched)
    assert found.error.startswith("TypeError: ")
    assert found.lines == expected.lines


@table(BROKEN)
def test_what_is_no_program_is_refused_in_the_same_words(source: str) -> None:
    with pytest.raises(SyntaxError) as expected:
        compile(source, FILE, "exec", dont_inherit=True)
    with pytest.raises(SyntaxError) as found:
        rewritten(source, FILE, [])
    assert (found.type, found.value.msg, found.value.lineno) == (
        expected.type,
        expected.value.msg,
        expected.value.lineno,
    )


@pytest.mark.parametrize("source", ["", "\n", "# only this", "'text'", "pass", "..."])
def test_programs_of_nothing(source: str, watched: Values) -> None:
    assert not ran(source, made, watched).error


def test_a_source_of_bytes_says_its_encoding(watched: Values) -> None:
    source = "# -*- coding: latin-1 -*-\nname = 'Größe'\n".encode("latin-1")
    space: dict[str, str] = {}
    exec(rewritten(source, FILE, watched.sites), space)
    assert space["name"] == "Größe"


def test_a_long_sum_is_still_a_program(watched: Values) -> None:
    source = "print(" + " + ".join(["1"] * 250) + ")\nprint(" + "[" * 60 + "]" * 60 + ")"
    assert ran(source, made, watched) == ran(source, plain, watched)


# -- places --------------------------------------------------------------------------------------------------------


def sites_of(source: str) -> list[Site]:
    sites: list[Site] = []
    rewritten(source, FILE, sites)
    return sites


# code -> (what, the part of the source that it is) of each site
PLACES = {
    "y = X @ W + b": [("matmul", "X @ W"), ("add", "X @ W + b"), ("bind", "y = X @ W + b")],
    "W -= 0.1 * g": [("mul", "0.1 * g"), ("isub", "W -= 0.1 * g"), ("bind", "W -= 0.1 * g")],
    "a[i, 1:] = np.exp(-z)": [("neg", "-z"), ("call:exp", "np.exp(-z)"), ("setitem", "a[i, 1:] = np.exp(-z)")],
    "h = x.T.dot(w)[0]": [("attr:T", "x.T"), ("call:dot", "x.T.dot(w)"), ("getitem", "x.T.dot(w)[0]")],
    "a = (1 +\n     b)": [("add", "1 +\n     b")],
    "a = b if c else [d]": [("choice", "b if c else [d]"), ("list", "[d]")],
    "return_ = z > 0": [("gt", "z > 0")],
    "é = ü * 2": [("mul", "ü * 2")],
}


@pytest.mark.parametrize("source", PLACES)
def test_places(source: str) -> None:
    found = [(site.what, part(source, site)) for site in sites_of(source)]
    assert [each for each in PLACES[source] if each not in found] == []


def part(source: str, site: Site) -> str:
    """Columns are bytes, as in the syntax tree."""
    lines = source.encode().splitlines()[site.line - 1 : site.end_line]
    lines[-1] = lines[-1][: site.end_column]
    lines[0] = lines[0][site.column :]
    return b"\n".join(lines).decode()


def test_functions_and_names() -> None:
    source = "class A:\n    def f(self):\n        self.W, (b, c) = 1 + 1, x\n        return lambda: 2 * 3\ny = -x"
    found = {(site.what, site.function, site.names) for site in sites_of(source)}
    assert found >= {
        ("add", "A.f", ()),
        ("bind", "A.f", ("self.W", "")),
        ("mul", "A.f", ()),
        ("neg", "<module>", ()),
        ("bind", "<module>", ("y",)),
    }


# -- the standard library ------------------------------------------------------------------------------------------

LIBRARY = Path(json.__file__).parents[1]
QUICK = ("argparse", "ast", "dataclasses", "decoder", "encoder", "enum")
MODULES = sorted({*sorted(LIBRARY.glob("[a-z]*.py"))[::2], *LIBRARY.glob("json/[a-z]*.py"), LIBRARY / "dataclasses.py"})
MARKED = [pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow]) for path in MODULES]


@pytest.mark.parametrize("path", MARKED)
def test_modules_of_the_standard_library_compile(path: Path) -> None:
    source = path.read_bytes()
    sites: list[Site] = []
    code = rewritten(source, str(path), sites)
    expected = compile(source, str(path), "exec", dont_inherit=True)
    assert sites
    assert names(code) >= names(expected)


def names(code: CodeType) -> set[tuple[str, int, tuple[str, ...], tuple[str, ...]]]:
    """Of every function: its name, its flags, its arguments, and what it takes from outside."""
    inner = [names(each) for each in code.co_consts if isinstance(each, CodeType)]
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return {(code.co_qualname, code.co_flags, arguments, code.co_freevars)}.union(*inner)


def copied(name: str, watched: Values) -> Any:
    """A module of the standard library, rewritten; not the one that is in use."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    module = importlib.util.module_from_spec(spec)
    exec(rewritten(Path(spec.origin).read_bytes(), spec.origin, watched.sites), module.__dict__)
    return module


DATA = {"a": [1, 2.5, -3e9, None, True, 'ü\n"', {}], "b": {"c": [[], [{"d": "\u2028"}]]}}


def test_json_behaves(watched: Values) -> None:
    encoder, decoder = copied("json.encoder", watched), copied("json.decoder", watched)
    encoder.c_make_encoder = None
    text = encoder.JSONEncoder(indent=2, sort_keys=True).encode(DATA)
    assert text == json.dumps(DATA, indent=2, sort_keys=True)
    assert decoder.JSONDecoder().decode(text) == DATA
    with pytest.raises(decoder.JSONDecodeError, match="Expecting value: line 1 column 5"):
        decoder.JSONDecoder().decode("[1, ")


def test_dataclasses_behave(watched: Values) -> None:
    module = copied("dataclasses", watched)

    @module.dataclass(order=True, frozen=True)
    class Point:
        x: int
        y: list[int] = module.field(default_factory=list, compare=False)

    assert Point(1) < Point(2)
    assert module.asdict(Point(1, [2])) == {"x": 1, "y": [2]}
    with pytest.raises(module.FrozenInstanceError):
        Point(1).x = 2


def test_argparse_behaves(watched: Values) -> None:
    module = copied("argparse", watched)
    parser = module.ArgumentParser(prog="p", exit_on_error=False)
    parser.add_argument("files", nargs="+")
    parser.add_argument("-n", type=int, default=3, help="how many (%(default)s)")
    assert vars(parser.parse_args(["a", "-n5", "b"][:2])) == {"files": ["a"], "n": 5}
    assert "how many (3)" in parser.format_help()
    with pytest.raises(module.ArgumentError, match="invalid int value"):
        parser.parse_args(["a", "-n", "x"])


def test_ast_textwrap_and_fractions_behave(watched: Values) -> None:
    source = Path(textwrap.__file__).read_text()
    tree = ast.parse(source)
    assert copied("ast", watched).unparse(tree) == ast.unparse(tree)
    assert copied("textwrap", watched).fill(source, 40) == textwrap.fill(source, 40)
    fraction = copied("fractions", watched).Fraction
    assert str(fraction(1, 3) + fraction("0.5") ** 2) == "7/12"


# -- programs by chance --------------------------------------------------------------------------------------------

NAMES = ("a", "b", "w", "f", "o")
LEAVES = st.one_of(
    st.integers(-3, 9).map(lambda n: f"t({n})"),
    st.sampled_from(["a", "b", "w", "o.x", "w[0]", "1.5", "'s'", "None", "True", "absent", "(1, 2)"]),
)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def form(pattern: str) -> st.SearchStrategy[str]:
        return st.tuples(inner, inner, inner).map(lambda parts: pattern.format(*parts))

    return st.sampled_from(FORMS).flatmap(form)


SIGNS = ("+", "-", "*", "/", "//", "%", "&", "|", "^", "@", "and", "or", "in", "is", "==", "<", ">=")
FORMS = (
    *(f"({{0}} {sign} {{1}})" for sign in SIGNS),
    *("({0} < {1} != {2})", "(-{0})", "(not {0})", "(~{0})", "({0} if {1} else {2})", "[{0}, *{1}]", "[{0}, {1}]"),
    *("({0}, {1})", "{{{0}: {1}}}", "w[{0}]", "{0}[{1}]", "{0}[{1}:{2}]", "f({0}, {1})", "f({0}, *{1}, k={2})"),
    *("o.m({0})", "{0}.real", "o.m(y={0}, **{{'z': {1}}})", "f(*w, {0})", "f'{{{0}}}{{{1}!r:>4}}'"),
    *("(lambda q: q + {0})({1})", "[q + {0} for q in w if {1}]", "sum(q * {0} for q in w)"),
    *("{{q: {0} for q in w}}", "(p := {0})", "len({0})", "abs({0})"),
)
EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=8)
STATEMENTS = st.builds(
    lambda pattern, x, y: pattern.format(x, y),
    st.sampled_from(
        [
            *("print({0})", "a = {0}", "a, b = {0}, {1}", "a += {0}", "w[{0}] = {1}", "w[{0}] *= {1}", "o.x -= {0}"),
            *("w[{0}:] = [{1}]", "o.d[{0}] = {1}", "o.d[{0}] += {1}", "b = a = {0}", "a: int = {0}", "del w[{0}]"),
            *("for i in range(2): w[i] = {0}", "if {0}: b = {1}", "assert {0}, {1}", "(a, *b) = {0}"),
            *("for b in {0}: o.m(b)", "with o: b = {0}", "try: a = {0}\nexcept TypeError: b = {1}\nfinally: print(a)"),
        ]
    ),
    EXPRESSIONS,
    EXPRESSIONS,
)
WORLD = """
class O:
    x = 2
    def __init__(self):
        self.d = {1: 1}
    def m(self, *a, **k):
        print('m', a, k)
        return a
    def __enter__(self):
        print('enter')
    def __exit__(self, *e):
        print('exit', e[0])
def f(*a, **k):
    print('f', a, k)
    return a[0]
a, b, w, o = 3, 2.5, [1, 2, 3], O()
"""


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # on what is compiled plain
@given(st.lists(STATEMENTS, min_size=1, max_size=5))
@settings(max_examples=50)
def test_programs_by_chance(statements: list[str]) -> None:
    source = BEGIN + WORLD + "\n".join(statements) + "\nprint(a, b, w, o.x, o.d)\n"
    with installed() as values:
        assert ran(source, made, values) == ran(source, plain, values)
