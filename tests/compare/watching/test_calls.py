"""A call, watched: what it does and returns is what it would, what it computes is seen, and its code is put back."""

from __future__ import annotations

import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from compare.watching.calls import watch_call
from compare.watching.dataflow import Dataflow
from compare.watching.reach import reach

CODE = """
import functools
import numpy as np
import beside

W = np.full(2, 3.0)

def plain(x):
    return x * W

def with_default(x, w=np.full(2, 5.0), *, k=2.0):
    return x * w + k

def closure():
    n = np.zeros(2)
    def add(x):
        nonlocal n
        n = n + x
        return n
    return add
add = closure()

def decorator(f):
    @functools.wraps(f)
    def inner(*args):
        return 2 * f(*args)
    return inner

@decorator
def decorated(x):
    return x + W

@functools.lru_cache
def cached(k):
    return np.full(2, k) * 2

def through_a_cache(x):
    return x + cached(4.0)

def generator(x):
    def each():
        for k in range(2):
            yield x * k
    return sum(each())

def recursive(x, n=3):
    return x if n == 0 else recursive(x + 1, n - 1)

class Base:
    scale = np.full(2, 10.0)
    def __init__(self):
        self.__hidden = np.full(2, 0.5)
    def f(self, x):
        return x * self.__hidden
    @property
    def twice(self):
        return self.scale * 2
    @staticmethod
    def half(x):
        return x / 2
    @classmethod
    def scaled(cls, x):
        return x * cls.scale

class Net(Base):
    def f(self, x):
        return super().f(x) + self.half(x) + self.twice + __class__.scaled(x)
    def __call__(self, x):
        return self.f(x)

net = Net()
method = net.f
table = {"a": [plain]}

def from_a_table(x):
    return table["a"][0](x) + beside.three(x)

def comprehension(x):
    return [k * x for k in (1.0, 2.0)][1] + {0: x - 1}[0]

lambdas = [lambda x: x + 1, lambda x: x + 2]; both = lambda x: lambdas[0](x) * lambdas[1](x)
"""
# name -> how its result is computed, and the operations that must be seen
SEEN: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "plain": (lambda x: x * 3, {"mul"}),
    "with_default": (lambda x: x * 5 + 2, {"mul", "add"}),
    "add": (lambda x: x, {"add"}),
    "decorated": (lambda x: 2 * (x + 3), {"mul", "add"}),
    "through_a_cache": (lambda x: x + 8, {"add", "mul"}),
    "generator": (lambda x: x, {"mul"}),
    "recursive": (lambda x: x + 3, {"add"}),
    "net": (lambda x: x * 0.5 + x / 2 + 20 + x * 10, {"mul", "add", "truediv"}),
    "method": (lambda x: x * 0.5 + x / 2 + 20 + x * 10, {"mul", "add", "truediv"}),
    "from_a_table": (lambda x: x * 3 + x - 3, {"mul", "add", "sub"}),
    "comprehension": (lambda x: 2 * x + x - 1, {"mul", "add", "sub"}),
    "both": (lambda x: (x + 1) * (x + 2), {"add", "mul"}),
}


def module(folder: Path, code: str, name: str = "mine") -> Any:
    file = folder / f"{name}.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Any]:
    module(tmp_path, "def three(x):\n    return x - 3\n", "beside")
    yield module(tmp_path, CODE)
    del sys.modules["mine"], sys.modules["beside"]


def done(flow: Dataflow) -> set[str]:
    return {value.what for value in flow.values}


@pytest.mark.parametrize("name", SEEN)
def test_what_it_returns_and_what_is_seen(mine: Any, name: str) -> None:
    function, (wanted, operations) = getattr(mine, name), SEEN[name]
    codes = [(f, f.__code__) for f in reach(mine).functions]
    x = np.array([1.0, 2.0])
    result, flow = watch_call(function, x)
    assert result.tolist() == wanted(x).tolist()
    assert operations <= done(flow)
    assert flow.complete
    assert all(f.__code__ is code for f, code in codes)
    if name != "add":
        assert function(x).tolist() == wanted(x).tolist()


def test_places_names_and_what_is_left(tmp_path: Path) -> None:
    code = """class Net:
    def step(self, x, t):
        h = x * self.W
        self.g = h - t
        self.W = self.W - self.g
        t += 1
        return {"h": h}
"""
    net = module(tmp_path, code).Net()
    net.W = np.full(2, 3.0)
    _, flow = watch_call(net.step, np.ones(2), np.zeros(2))
    x, t = flow.given
    assert [str(v.place) for v in flow.values if v.what == "mul"] == ["mine.py line 3, h"]
    (weight,) = (v for v in flow.values if v.name == "self.W" and not v.operands)
    assert str(weight.place) == "mine.py line 3, self.W"
    assert str(flow.replaced[weight.time].place) == "mine.py line 5, self.W"
    assert {v.name for v in flow.left} == {"h", "self.g", "self.W"}
    assert str(flow.written[t.time].place) == "mine.py line 6, t"
    assert (x.array.tolist(), t.array.tolist()) == ([1, 1], [0, 0])


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero at line 3 of mine.py"),
        ("raise SystemExit(3)", "SystemExit(3) at line 3 of mine.py"),
    ],
)
def test_an_error_ends_the_call_but_not_what_was_seen(tmp_path: Path, error: str, ended: str) -> None:
    f = module(tmp_path, f"def f(x):\n    y = x * 2\n    {error}\n").f
    code = f.__code__
    result, flow = watch_call(f, np.ones(2))
    assert (result, flow.ended, flow.complete) == (None, ended, False)
    assert "mul" in done(flow)
    assert f.__code__ is code


def test_what_interrupts_goes_through_and_the_code_is_put_back(tmp_path: Path) -> None:
    f = module(tmp_path, "def f(x):\n    raise KeyboardInterrupt\n").f
    code, depth = f.__code__, sys.getrecursionlimit()
    with pytest.raises(KeyboardInterrupt):
        watch_call(f, np.ones(2))
    assert (f.__code__, sys.getrecursionlimit()) == (code, depth)


def test_a_function_that_was_made_in_the_call_goes_on(tmp_path: Path) -> None:
    mine = module(tmp_path, "kept = []\ndef f(x):\n    kept.append(lambda y: y * x + 1)\n    return x\n")
    watch_call(mine.f, np.full(2, 4.0))
    assert mine.kept[0](2).tolist() == [9, 9]


def test_the_trace_function_is_left_alone(mine: Any) -> None:
    before = sys.gettrace()
    sys.settrace(other := lambda *_: None)
    try:
        watch_call(mine.plain, np.ones(2))
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is other


def test_a_warning_has_the_line_of_the_code(tmp_path: Path) -> None:
    f = module(tmp_path, "import numpy as np\n\ndef f(x):\n    return np.log(x)\n").f
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        watch_call(f, np.zeros(2))
    assert [(Path(w.filename).name, w.lineno) for w in found] == [("mine.py", 4)]


def test_code_without_its_source_runs_unwatched(tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    exec("def f(x):\n    return x * 2\n", scope)
    result, flow = watch_call(scope["f"], np.ones(2))
    assert (result.tolist(), done(flow), flow.sources) == ([2, 2], {""}, {})


def test_a_source_that_was_changed_since_is_not_taken(tmp_path: Path) -> None:
    mine = module(tmp_path, "def f(x):\n    return x * 2\n")
    (tmp_path / "mine.py").write_text("def f(x):\n    return x * 3\n")
    result, flow = watch_call(mine.f, np.ones(2))
    assert (result.tolist(), flow.sources) == ([2, 2], {})


def with_an_assertion(x: Any) -> Any:
    y = x * 2
    assert y.size == 2
    return y


def test_a_function_whose_assertions_pytest_rewrote() -> None:
    result, flow = watch_call(with_an_assertion, np.ones(2))
    assert (result.tolist(), "mul" in done(flow)) == ([2, 2], True)


def test_libraries_are_not_watched(tmp_path: Path) -> None:
    f = module(tmp_path, "import statistics\ndef f(x):\n    return statistics.mean(x) + 1\n").f
    _, flow = watch_call(f, np.array([1.0, 3.0]))
    assert [Path(file).name for file in flow.sources] == ["mine.py"]
    assert done(flow) == {"", "call:mean", "add"}


def test_limits(tmp_path: Path) -> None:
    f = module(tmp_path, "def f(x):\n    for k in range(20):\n        x = x + 1\n    return x\n").f
    result, flow = watch_call(f, np.zeros(2), total=7)
    assert (result.tolist(), len(flow.values)) == ([20, 20], 7)
    assert flow.ended == "watching stopped after 7 values; finished"
    assert flow.complete


def test_watching_inside_of_watching(tmp_path: Path) -> None:
    mine = module(tmp_path, "def inner(x):\n    return x * 2\n")

    def outer(x: Any) -> Any:
        y = x + 1
        found = watch_call(mine.inner, y)
        return found, y - 1

    ((result, found), _), flow = watch_call(outer, np.ones(2))
    assert (result.tolist(), "mul" in done(found)) == ([4, 4], True)
    assert {"add", "sub"} <= done(flow)
    assert "mul" not in done(flow)


def test_what_is_reached() -> None:
    held = {"f": functools.partial(with_an_assertion), 3: [np.ones(1)]}
    found = reach(lambda: held)
    assert with_an_assertion in found.functions
    assert [name for name, _ in found.slots.values()] == ["held[3][0]"]
    assert all(isinstance(f, FunctionType) for f in found.functions)
