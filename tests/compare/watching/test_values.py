"""Values: what each expression computed, and from which values; known by the object that holds it."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pytest

from compare.watching.rewriting import PREFIX, Site, rewritten
from compare.watching.values import Operand, ValueLimits, Values
from tests.compare.watching.table import Table


class Graph:
    """What the sink was given: of every value its site, its operands and what it was."""

    def __init__(self, code: str, space: Mapping[str, Any] = MappingProxyType({}), **limits: Any) -> None:
        self.sites: list[Site] = []
        self.made: list[tuple[int, list[Operand], Any]] = []
        self.names: list[tuple[str, int]] = []
        self.stopped: list[str] = []
        compiled = rewritten("import numpy as np\n" + code, "program.py", self.sites)
        values = Values(self.sites, ValueLimits(**limits), self._sink, self._name, self.stopped.append)
        values.install()
        self.space: dict[str, Any] = dict(space)
        exec(compiled, self.space)

    def _sink(self, site: int, operands: Sequence[Operand], array: Any, mark: Any) -> None:
        self.made.append((site, list(operands), array.tolist()))

    def _name(self, site: int, number: int, name: str) -> None:
        self.names.append((name, number))

    def number(self, name: str, which: int = -1) -> int:
        """Of the value that was bound to a name, the last time unless `which` says another."""
        return [number for each, number in self.names if each == name][which]

    def value(self, name: str, which: int = -1) -> Any:
        return self.made[self.number(name, which)][2]

    def what(self, number: int) -> str:
        site = self.made[number][0]
        return self.sites[site].what if site >= 0 else {-1: "seen", -2: "changed"}[site]

    def of(self, number: int) -> list[Any]:
        """The operands: a name where a value has one, else its operation; a constant as it is."""
        named = {number: name for name, number in reversed(self.names)}
        return [o[0] if isinstance(o, list) else named.get(o, self.what(o)) for o in self.made[number][1]]

    def all_of(self, number: int) -> set[int]:
        """Every value from which one was computed, and it."""
        found, left = {number}, [number]
        while left:
            for o in self.made[left.pop()][1]:
                if isinstance(o, int) and o not in found:
                    found.add(o)
                    left.append(o)
        return found

    def comes_from(self, name: str, *others: str) -> bool:
        above = self.all_of(self.number(name))
        return all(self.number(other, 0) in above for other in others)

    def every(self, what: str) -> list[Any]:
        return [array for number, (_, _, array) in enumerate(self.made) if self.what(number) == what]


@pytest.fixture(autouse=True)
def removed() -> Iterator[None]:
    """No test leaves what rewritten code calls."""
    yield
    for name in [name for name in vars(builtins) if name.startswith(PREFIX)]:
        delattr(builtins, name)


# code -> (operation, operands) of what the name y is bound to
OPERANDS = {
    "x, w = np.ones((2, 3)), np.ones(3)\ny = x @ w": ("matmul", ["x", "w"]),
    "x = np.ones(2)\ny = 2 * x": ("mul", [2.0, "x"]),
    "x = np.ones(2)\ny = 0.5 * x": ("mul", ["seen", "x"]),
    "x = np.ones(2)\ny = -x": ("neg", ["x"]),
    "x = np.ones(2)\ny = x ** 2": ("pow", ["x", 2.0]),
    "x = np.ones(2)\ny = x > 0": ("gt", ["x", 0.0]),
    "x = np.ones(2)\ny = np.maximum(x, 0) + 1": ("add", ["call:maximum", 1.0]),
    "x = np.ones(2)\ny = np.exp(x)": ("call:exp", ["x"]),
    "x = np.ones((2, 3))\ny = x.sum(axis=0, keepdims=True)": ("call:sum", ["x", 0.0, 1.0]),
    "x, w = np.eye(2) + 1, np.eye(2)\ny = x.dot(w)": ("call:dot", ["x", "w"]),
    "x = np.ones((2, 3))\ny = x.T": ("attr:T", ["x"]),
    "x = np.ones((4, 3))\ny = x[1:3]": ("getitem", ["x"]),
    "x, i = np.arange(4.0), np.array([2, 1])\ny = x[i]": ("getitem", ["x", "i"]),
    "x = np.arange(4.0)\ny = x[2]": ("getitem", ["x", 2.0]),
    "x = np.arange(4.0).reshape(2, 2)\ny = x[0, 1]": ("getitem", ["x", 0.0, 1.0]),
    "a, b = 1.5, 2.5\ny = a * b": ("mul", ["a", "b"]),
    "a, b = 1.5, 2.5\ny = [a, b]": ("list", ["a", "b"]),
    "a, b = np.ones(2), np.zeros(2)\ny = np.array([a, b])": ("call:array", ["a", "b"]),
    "a, b = np.ones(2), np.zeros(2)\ny = np.concatenate((a, b))": ("call:concatenate", ["a", "b"]),
    "a = np.ones(2)\ny = np.where(a > 0, a, 0)": ("call:where", ["gt", "a", 0.0]),
    "a = [1.5, 2.5]\ny = sum(a)": ("call:sum", ["a"]),
    "a, b = 1.5, 2.5\ny = sum(v for v in (a, b))": ("call:sum", ["a", "b"]),
    "import math\na = 1.5\ny = math.exp(a)": ("call:exp", ["a"]),
    "def f(u):\n    return u * 2\na = np.ones(2)\ny = f(a)": ("mul", ["a", 2.0]),
    "f = lambda u: u + 1\na = np.ones(2)\ny = f(u=a)": ("add", ["a", 1.0]),
    "a = np.ones(2)\ny = a if True else 0": ("call:ones", [2.0]),
    "a = 1.5\ny = float(a) + 1": ("add", ["a", 1.0]),
    "a = {'w': np.ones(2)}\ny = a['w'] + 1": ("add", ["a['w']", 1.0]),
    "class A: pass\na = A()\na.w = np.ones(2)\ny = a.w * a.w": ("mul", ["a.w", "a.w"]),
    "x = np.ones(2)\ny = np.add(1, x, dtype=float)": ("call:add", [1.0, "x"]),
    "n = 3\nx = np.ones(2)\ny = x / n": ("truediv", ["x", 3.0]),
    "x = np.ones(2)\ny = x / len(x)": ("truediv", ["x", 2.0]),
    "x = np.matrix([[1.0, 2.0]])\ny = x * x.T": ("mul", ["x", "attr:T"]),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("code", OPERANDS)
def test_operands(code: str) -> None:
    graph = Graph(code)
    number = graph.number("y")
    assert (graph.what(number), graph.of(number)) == OPERANDS[code]


def test_one_object_is_one_value_whatever_its_names() -> None:
    graph = Graph("a = np.ones(2)\nb = a\nd = {'k': b}\nc = d['k']\nz = c + 1")
    assert {graph.number(name) for name in "abc"} == {graph.number("a")}
    assert graph.of(graph.number("z")) == ["a", 1.0]


def test_equal_objects_are_two_values() -> None:
    graph = Graph("a = np.ones(2)\nb = np.ones(2)\nc = a.copy()\nu = 1.5 + 1\nv = 2.5 + 0")
    assert len({graph.number(name) for name in "abcuv"}) == 5


def test_whole_numbers_are_constants() -> None:
    graph = Graph("n = 3\nm = n + 1\nx = np.ones(2)\ny = x * m\nz = 1.5 if 10**400 > n else 0")
    assert graph.of(graph.number("y")) == ["x", 4.0]
    assert graph.value("m") == 4


def test_a_new_object_where_another_one_was_is_not_taken_for_it() -> None:
    """Python gives the address of an object that is gone to the next one."""
    graph = Graph("for k in range(50):\n    a = np.full(3, float(k))\n    b = a * 2\n    del a, b")
    assert graph.every("mul") == [[2.0 * k] * 3 for k in range(50)]
    numbers = [number for number in range(len(graph.made)) if graph.what(number) == "mul"]
    assert [graph.made[graph.made[n][1][0]][2] for n in numbers] == [[float(k)] * 3 for k in range(50)]


# -- what is written into ------------------------------------------------------------------------------------------

# code -> what a has become, with the operation by which it is seen
CHANGED = {
    "a -= 0.5": [0.5, 1.5],
    "a *= b": [10.0, 40.0],
    "a[:] = b": [10.0, 20.0],
    "a[0] = 9.5": [9.5, 2.0],
    "a[0] += 1.5": [2.5, 2.0],
    "a[a > 1] = 0": [1.0, 0.0],
    "np.multiply(a, 3, out=a)": [3.0, 6.0],
    "np.add(b, 1, a)": [11.0, 21.0],
    "np.add.at(a, [0, 0], b)": [31.0, 2.0],
    "np.subtract.at(a, [1], 5)": [1.0, -3.0],
    "np.copyto(a, b)": [10.0, 20.0],
    "np.put(a, [1], 7)": [1.0, 7.0],
    "np.fill_diagonal(a.reshape(1, 2), 7)": [7.0, 2.0],
    "a.fill(4)": [4.0, 4.0],
    "a[::-1].sort()": [2.0, 1.0],
    "a.sort()\na -= 1": [0.0, 1.0],
    "c = a\nc += 1": [2.0, 3.0],
    "c = a[1:]\nc += 1": [1.0, 3.0],
    "c = a.reshape(2, 1)\nc[0] = 5": [5.0, 2.0],
    "a.resize((2, 2))": [[1.0, 2.0], [0.0, 0.0]],
    "for c in [a]:\n    c -= 0.5": [0.5, 1.5],
    "d = {'a': a}\nfor k in d:\n    d[k] -= 0.5": [0.5, 1.5],
    "def f(c):\n    c[0] = 7\nf(a)": [7.0, 2.0],
    "for i in range(2):\n    a[i] = b[i] * 2": [20.0, 40.0],
    "for i in range(2):\n    a[i] -= 0.5": [0.5, 1.5],
    "i = 0\nwhile i < 2:\n    a[i] = i\n    i += 1": [0.0, 1.0],
}


@pytest.mark.parametrize("code", CHANGED)
def test_what_was_written_into_is_a_new_value(code: str) -> None:
    graph = Graph(f"a = np.array([1.0, 2.0])\nb = np.array([10.0, 20.0])\n{code}\ny = a + 0")
    number = graph.made[graph.number("y")][1][0]
    assert isinstance(number, int)
    assert graph.made[number][2] == CHANGED[code]
    assert graph.value("a", 0) == [1.0, 2.0]
    assert number != graph.number("a", 0)


FROM_B = [code for code in CHANGED if re.search(r"\bb\b", code)]


@pytest.mark.parametrize("code", FROM_B)
def test_what_was_written_is_an_operand(code: str) -> None:
    graph = Graph(f"a = np.array([1.0, 2.0])\nb = np.array([10.0, 20.0])\n{code}\ny = a + 0")
    assert graph.comes_from("y", "b")


def test_a_view_comes_from_its_array_as_it_is_then() -> None:
    graph = Graph("a = np.zeros((2, 2))\nv = a[0]\na += 5\ny = v + 1")
    assert graph.value("y") == [6.0, 6.0]
    above = graph.all_of(graph.number("y"))
    assert any(graph.what(n) == "iadd" for n in above)


def test_an_array_whose_view_was_written_into() -> None:
    graph = Graph("a = np.zeros((2, 2))\nv = a[0]\nb = np.full(2, 3.0)\nv += b\ny = a + 1")
    assert graph.value("y") == [[4.0, 4.0], [1.0, 1.0]]
    assert graph.made[graph.made[graph.number("y")][1][0]][2] == [[3.0, 3.0], [0.0, 0.0]]


def test_elements_that_fill_an_array_are_its_operands() -> None:
    graph = Graph(
        "a, x = np.zeros(3), np.array([1.0, 2.0, 3.0])\nfor i in range(3):\n    s = x[i] * 1.5\n    a[i] = s\ny = a + 0"
    )
    filled = graph.made[graph.number("y")][1][0]
    assert graph.made[filled][2] == [1.5, 3.0, 4.5]
    assert {graph.number("s", which) for which in range(3)} <= set(graph.made[filled][1])


def test_a_loop_that_fills_is_gathered_once_at_its_end() -> None:
    code = "a = np.zeros((2, 2))\nfor i in range(2):\n    for j in range(2):\n        a[i, j] = i + 2.5 * j\ny = a + 0"
    whole = [array for _, _, array in Graph(code).made if array == [[0.0, 2.5], [1.0, 3.5]]]
    assert len(whole) == 2  # a, and y


def test_lists_of_lists_that_are_filled() -> None:
    loop = "for r in w:\n    for j in range(2):\n        r[j] -= g[j]\n"
    graph = Graph(f"w = [[0.5, 1.5], [2.5, 3.5]]\ng = [0.25, 0.75]\n{loop}y = np.array(w)")
    assert graph.value("y") == [[0.25, 0.75], [2.25, 2.75]]
    assert graph.comes_from("y", "w")
    changes = {graph.number("r[j]", which) for which in range(4)}
    assert changes <= graph.all_of(graph.number("y"))
    assert sorted(graph.made[number][2] for number in changes) == [0.25, 0.75, 2.25, 2.75]


def test_a_list_that_grows() -> None:
    graph = Graph("h = []\nx = np.array([1.0, 2.0])\nfor i in range(2):\n    h.append(x[i] * 2.5)\ny = np.array(h)")
    assert graph.value("y") == [2.5, 5.0]
    assert graph.comes_from("y", "x")


# what takes the numbers of x and w, the last of which are u and v -> the line that does it
LOOPS = [
    "for u in x: v = u * w[0]",
    "for u, v in zip(x, w): pass",
    "for i, (u, v) in enumerate(zip(x, w)): pass",
    "for i, u in enumerate(x): v = w[i]",
    "for i, u in enumerate(x, 1): v = w[i - 1]",
    "for u, v in map(lambda a, b: (a, b), x, w): pass",
    "for u, v in zip(list(x), w.tolist()): pass",
    "for u, v in zip(sorted(x), [*w]): v = v + w[0] * 0",
    "for u, v in zip(*[x, w]): pass",
    "[(u := a, v := b) for a, b in zip(x, w)]",
    "for u in (a for a in x): v = w[1]",
    "for u, v in np.stack([x, w], 1): pass",
    "for (u, v), t in zip(np.stack([x, w], 1), [0, 1]): pass",
    "for i, ((u, v), t) in enumerate(zip(np.stack([x, w], 1), [0, 1])): pass",
    "u, v = np.array([x[1], w[1]])",
    "(u, v), t = np.array([x[1], w[1]]), 1",
    "h = list(a * 1.0 for a in x); u, v = h[1], w[1]",
    "u = sum(a for a in x) - x[0]; v = max(b for b in w)",
    "u = sum((a for a in x), 0.0) - x[0]; v = -min(-b for b in w)",
]


@pytest.mark.parametrize("code", LOOPS)
def test_numbers_that_are_taken_from_an_array_come_from_it(code: str) -> None:
    graph = Graph(f"x = np.array([1.0, 2.0])\nw = np.array([10.0, 20.0])\n{code}\ny, z = u * 2.5, v * 2.5")
    assert (graph.value("y"), graph.value("z")) in ((5.0, 50.0), (5.0, 500.0))
    assert graph.comes_from("y", "x")
    assert graph.comes_from("z", "w")


def test_of_a_long_generator_the_first_terms_are_seen() -> None:
    """It is never held as a whole, and nothing of it is lost."""
    graph = Graph("x = np.array([1.0, 2.0])\ny = sum(x[k % 2] for k in range(3001))\nn = sum(1 for k in range(10**5))")
    assert (graph.value("y"), graph.value("n")) == (4501.0, 10**5)
    assert graph.comes_from("y", "x")


def test_a_number_of_a_loop_is_the_element_of_its_array() -> None:
    graph = Graph("x = np.array([1.0, 2.0])\nfor v in x:\n    y = v * 2.5")
    taken = graph.number("v")
    assert (graph.what(taken), graph.of(taken)) == ("getitem", ["x", 1.0])
    assert graph.sites[graph.made[taken][0]].line == 3


def test_a_loop_over_the_rows_of_an_array_and_the_numbers_of_a_list() -> None:
    graph = Graph("x = np.eye(2)\nw = [1.5, 2.5]\nfor v, u in zip(x, w):\n    y = v * u")
    assert graph.comes_from("y", "x")
    assert graph.made[graph.number("u")][2] == 2.5
    assert graph.number("u") in {o for o in graph.made[graph.number("w")][1] if isinstance(o, int)}


def test_a_list_of_a_comprehension() -> None:
    graph = Graph("x, w = [1.5, 2.5], [0.5, 4.0]\nh = [a * b for a, b in zip(x, w)]\ny = sum(h)")
    assert graph.value("h") == [0.75, 10.0]
    assert graph.comes_from("y", "h")
    assert len([o for o in graph.made[graph.number("h")][1] if isinstance(o, int)]) == 2


def test_loop_variables_have_names() -> None:
    graph = Graph("X = np.eye(2)\nfor i, (x, t) in enumerate(zip(X, [1.5, 2.5])):\n    y = x * t")
    assert [graph.value("i", k) for k in (0, 1)] == [0, 1]
    assert [graph.value("x", k) for k in (0, 1)] == [[1.0, 0.0], [0.0, 1.0]]
    assert graph.of(graph.number("y")) == ["x", "t"]
    assert graph.comes_from("x", "X")


def test_names_of_parts() -> None:
    code = "a, (b, c) = np.ones(1), (np.ones(2), 1.5)\nclass A: pass\no = A()\no.w = np.ones(3)"
    code += "\np = {'W': np.ones(4), 2: 2.5}"
    graph = Graph(f"{code}\nWs = [np.ones(5), np.ones(6)]\nq = (0.5, np.ones(7), None)")
    names = {name: graph.value(name) for name, _ in graph.names}
    assert names["a"] == [1.0]
    assert names["o.w"] == [1.0] * 3
    assert (names["p['W']"], names["p[2]"]) == ([1.0] * 4, 2.5)
    assert (names["Ws[0]"], names["Ws[1]"]) == ([1.0] * 5, [1.0] * 6)
    assert (names["q[0]"], names["q[1]"]) == (0.5, [1.0] * 7)


def test_the_same_code_again_is_the_same_sites() -> None:
    graph = Graph("W = np.ones(2)\nfor k in range(3):\n    W = W - 0.5 * W")
    assert graph.every("sub") == [[0.5, 0.5], [0.25, 0.25], [0.125, 0.125]]
    assert [graph.value("W", k)[0] for k in range(4)] == [1.0, 0.5, 0.25, 0.125]
    chain = [graph.number("W", k) for k in range(4)]
    assert all(before in graph.all_of(after) for before, after in pairwise(chain))


FRAME = {
    "pandas": "import pandas\ndf = pandas.DataFrame({'a': [1.0, 2.0], 'b': [3.0, 4.0], 'c': [0.0, 1.0]})\n",
    "a stand-in": "df = Table({'a': np.array([1.0, 2.0]), 'b': np.array([3.0, 4.0]), 'c': np.array([0.0, 1.0])})\n",
}
# code -> what y is
OF_FRAMES = {
    "y = df.values": [[1.0, 3.0, 0.0], [2.0, 4.0, 1.0]],
    "y = df.to_numpy()": [[1.0, 3.0, 0.0], [2.0, 4.0, 1.0]],
    "y = np.array(df)": [[1.0, 3.0, 0.0], [2.0, 4.0, 1.0]],
    "y = df[['a', 'b']].values": [[1.0, 3.0], [2.0, 4.0]],
    "y = df['a'].values.reshape(-1, 1) * 2": [[2.0], [4.0]],
    "y = df.drop(columns='c').to_numpy()": [[1.0, 3.0], [2.0, 4.0]],
    "y = df.iloc[:, :2].values": [[1.0, 3.0], [2.0, 4.0]],
    "y = df.iloc[:, 2].to_numpy()": [0.0, 1.0],
    "df['a'] = df['a'] / 2\ny = df[['a']].values": [[0.5], [1.0]],
    "for v in df['a']:\n    y = v * 2.5": 5.0,
    "for u, v in zip(df['a'], df['b']):\n    y = u * v": 8.0,
    "w = np.full(3, 0.5)\ny = df.values @ w": [2.0, 3.5],
    "y = np.c_[df['a'], df['b']]": [[1.0, 3.0], [2.0, 4.0]],
    "y = np.sum(df['a'])": 3.0,
}


@pytest.mark.parametrize("frame", FRAME)
@pytest.mark.parametrize("code", OF_FRAMES)
def test_frames_are_values_too(code: str, frame: str) -> None:
    if frame == "pandas":
        pytest.importorskip("pandas")
    graph = Graph(FRAME[frame] + code, {"Table": Table})
    assert graph.value("y") == OF_FRAMES[code]
    assert graph.comes_from("y", "df")


def test_what_of_a_frame_is_no_value() -> None:
    """Texts; a frame with a column of them, of which the columns of numbers are values all the same."""
    graph = Graph(
        "df = Table({'a': np.array([1.0, 2.0]), 't': np.array(['u', 'v'])})\nt = df['t']\ny = df['a']", {"Table": Table}
    )
    assert [name for name, _ in graph.names] == ["y"]
    assert graph.value("y") == [1.0, 2.0]


def test_columns_of_ones_beside_an_array() -> None:
    graph = Graph("x, o = np.full(2, 3.0), np.ones(2)\ny = np.c_[o, x]\nz = np.r_[x, o]")
    assert graph.of(graph.number("y")) == ["o", "x"]
    assert graph.of(graph.number("z")) == ["x", "o"]


@pytest.mark.parametrize("name", ["torch", "pandas"])
def test_other_libraries(name: str) -> None:
    pytest.importorskip(name)
    make = "torch.ones(2, 2)" if name == "torch" else "pandas.DataFrame([[1.0, 1.0], [1.0, 1.0]])"
    graph = Graph(f"import {name}\na = {make}\ny = a @ a")
    assert graph.value("y") == [[2.0, 2.0], [2.0, 2.0]]
    assert graph.of(graph.number("y")) == ["a", "a"]


@pytest.mark.parametrize(
    "made",
    [
        "'text'",
        "None",
        "1j",
        "np.array(['a'])",
        "np.array([1j])",
        "[]",
        "object()",
        "{'a': 'b'}",
        "np.array([None])",
        "b'x'",
        "range(3)",
    ],
)
def test_what_is_no_value(made: str) -> None:
    graph = Graph(f"def f(x):\n    return x\ny = f({made})")
    assert graph.made == []
    assert graph.names == []


def test_empty_arrays_and_what_is_not_finite() -> None:
    graph = Graph("a = np.empty((0, 3))\nb = a @ np.ones(3)\nc = np.array([np.nan, np.inf])\nd = c * 1.5")
    assert graph.value("b") == []
    assert str(graph.value("d")) == "[nan, inf]"


# -- limits --------------------------------------------------------------------------------------------------------


def test_visits_of_a_site_are_bounded_and_the_program_goes_on() -> None:
    graph = Graph("a = 0.5\nfor k in range(50):\n    a = a + 0.25\n    b = a * 2\nz = a - 1.5", visits=10)
    assert len(graph.every("add")) == 10
    assert graph.value("z") == 11.5
    assert graph.stopped == []


def test_a_limit_is_said_once_and_the_program_goes_on() -> None:
    graph = Graph("a = 0.5\nfor k in range(50):\n    a = a + 0.25", total=10)
    assert graph.stopped == ["stopped after 10 values"]
    assert len(graph.made) == 10
    assert graph.space["a"] == 13.0


def test_bytes_are_bounded() -> None:
    graph = Graph("a = np.zeros(1000)\nfor k in range(50):\n    a = a + 1.0", bytes=80_000)
    assert graph.stopped == ["stopped after 0 MB of values"]
    assert len(graph.every("add")) <= 10


def test_a_loop_that_gives_nothing_new_is_stopped() -> None:
    graph = Graph("a = 0.5\nfor k in range(3000):\n    a = -a", visits=5, patience=0.0)
    assert graph.stopped == ["stopped after 5 values of line 3"]


def test_seconds_after_which_a_few_rounds_are_enough() -> None:
    graph = Graph("a = 0.5\nfor k in range(50):\n    a = a + 0.25", enough=0.0)
    assert len(graph.stopped) == 1
    assert re.fullmatch(r"stopped after 0 s, and 8 values of line [34]", graph.stopped[0])
