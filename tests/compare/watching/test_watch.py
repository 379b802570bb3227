"""The watcher: which values it sees of which lines, and that nothing a script does harms more than itself."""

import re
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from compare.watching.dataflow import Dataflow
from compare.watching.watch import Watched, watch_call, watch_script

# name -> (code, what must be seen: (line, name, value)); line 1 is the import of numpy, the code begins at line 2
SEEN = {
    "assignment": ("a = np.arange(3.0)\nb = a * 2", [(2, "a", [0, 1, 2]), (3, "b", [0, 2, 4])]),
    "python numbers": ("rate = 0.5\nn = 3\nflag = True", [(2, "rate", 0.5), (3, "n", 3), (4, "flag", True)]),
    "two targets": ("a, (b, c) = 1.5, (np.ones(2), [4, 5])", [(2, "a", 1.5), (2, "b", [1, 1]), (2, "c", [4, 5])]),
    "starred": ("first, *rest = [np.zeros(2), np.ones(2)]", [(2, "first", [0, 0]), (2, "rest[0]", [1, 1])]),
    "chained": ("a = b = np.full(2, 7)", [(2, "a", [7, 7]), (2, "b", [7, 7])]),
    "walrus": ("if (n := np.float32(2.5)) > 1:\n    pass", [(2, "n", 2.5)]),
    "annotated": ("a: object = np.ones(2)", [(2, "a", [1, 1])]),
    "two on a line": ("a = np.ones(2); b = a + 1", [(2, "a", [1, 1]), (2, "b", [2, 2])]),
    "many lines": ("a = (np.ones(2)\n     + np.ones(2) *\n     3)\nb = 1", [(2, "a", [4, 4]), (5, "b", 1)]),
    "call on many lines": ("a = np.add(\n    np.ones(2),\n    [1,\n     2],\n)\n", [(2, "a", [2, 3])]),
    "augmented": ("a = np.ones(2)\na -= 0.5", [(2, "a", [1, 1]), (3, "a", [0.5, 0.5])]),
    "augmented number": ("a = 1.0\na += 2", [(3, "a", 3.0)]),
    "mask": ("a = np.array([1.0, -2])\na[a < 0] = 0", [(3, "a", [1, 0])]),
    "out": ("a = np.ones(2)\nc = np.empty(2)\nnp.multiply(a, 3, out=c)", [(4, "c", [3, 3])]),
    "method in place": ("a = np.array([3, 1, 2])\na.sort()", [(3, "a", [1, 2, 3])]),
    "fill": ("a = np.ones((2, 2))\na.fill(5)", [(3, "a", [[5, 5], [5, 5]])]),
    "shuffle": (
        "a = np.arange(9)\nnp.random.default_rng(1).shuffle(a)",
        [(3, "a", np.random.default_rng(1).permutation(9))],
    ),
    "alias": ("a = np.ones(2)\nb = a\nb *= 4", [(4, "b", [4, 4])]),
    "loop over lists": (
        "Ws = [np.ones(1), np.ones(2)]\nfor W in Ws:\n    W -= 0.25",
        [(2, "Ws[0]", [1]), (2, "Ws[1]", [1, 1]), (4, "W", [0.75]), (4, "W", [0.75, 0.75])],
    ),
    "loop variables": (
        "X = np.eye(2)\nfor i, (x, t) in enumerate(zip(X, [5, 6])):\n    y = x * t",
        [(3, "i", 1), (3, "x", [0, 1]), (3, "t", 6), (4, "y", [5, 0]), (4, "y", [0, 6])],
    ),
    "while": ("n = 0\nwhile n < 2:\n    n += 1", [(4, "n", 1), (4, "n", 2)]),
    "one-line loop": ("total = 0.0\nfor x in [1.5, 2.5]: total += x", [(3, "total", 1.5), (3, "total", 4.0)]),
    "dictionary": (
        "grads = {}\ngrads['W1'] = np.ones(2)\ngrads['W1'] *= 2",
        [(3, "grads['W1']", [1, 1]), (4, "grads['W1']", [2, 2])],
    ),
    "dictionary by f-string": ("p = {}\nfor l in (1, 2):\n    p[f'W{l}'] = l * np.ones(1)", [(4, "p['W2']", [2])]),
    "dictionary method": ("d = {}\nd.update(a=np.ones(2))", [(3, "d['a']", [1, 1])]),
    "list": ("c = [None, None]\nc[1] = np.ones(2)\nc.append(np.zeros(1))", [(3, "c[1]", [1, 1]), (4, "c[2]", [0])]),
    "list of numbers": (
        "w = [[0.1, 0.2], [0.3, 0.4]]\nw[1][0] += 1",
        [(2, "w", [[0.1, 0.2], [0.3, 0.4]]), (3, "w", [[0.1, 0.2], [1.3, 0.4]])],
    ),
    "array of objects": ("a = np.array([np.ones(1), np.zeros(2)], dtype=object)\na[0] = a[0] + 1", [(3, "a[0]", [2])]),
    "comprehension": (
        "a = [x * 2 for x in (np.ones(1), np.zeros(2))]",
        [(2, "a[0]", [2]), (2, "x", [1]), (2, "a[1]", [0, 0])],
    ),
    "generator": (
        "def g():\n    for k in range(2):\n        yield np.full(2, k)\nfor v in g():\n    w = v + 1",
        [(5, "v", [1, 1]), (6, "w", [2, 2])],
    ),
    "lambda": (
        "f = lambda z: np.maximum(z, 0)\ny = f(np.array([-1.0, 1]))",
        [(2, "z", [-1, 1]), (2, "return of <lambda>", [0, 1]), (3, "y", [0, 1])],
    ),
    "function": (
        "def forward(x, w=2.0):\n    y = x * w\n    return y, {'x': x}\nout, cache = forward(np.ones(2))",
        [
            (3, "x", [1, 1]), (3, "w", 2.0), (3, "y", [2, 2]), (4, "return of forward[0]", [2, 2]),
            (4, "return of forward[1]['x']", [1, 1]), (5, "out", [2, 2]), (5, "cache['x']", [1, 1]),
        ],
    ),
    "change of an argument": ("def relu_(z):\n    z[z < 0] = 0\na = np.array([-1.0, 2])\nrelu_(a)", [(3, "z", [0, 2])]),
    "nested function": (
        "def f():\n    n = np.zeros(1)\n    def g():\n        nonlocal n\n        n = n + 5\n    g()\nf()",
        [(6, "n", [5])],
    ),
    "global": ("W = np.ones(2)\ndef step():\n    global W\n    W = W - 0.5\nstep()", [(5, "W", [0.5, 0.5])]),
    "decorator": (
        "def twice(f):\n    return lambda *a: 2 * f(*a)\n@twice\ndef g(x):\n    return x\ny = g(np.ones(1))",
        [(3, "return of <lambda>", [2]), (7, "y", [2])],
    ),
    "class": (
        "class Net:\n    rate = 0.5\n    def __init__(self):\n        self.W = np.ones(2)\n    def step(self):\n"
        "        self.W -= self.rate * self.W\nnet = Net()\nnet.step()",
        [(3, "rate", 0.5), (5, "self.W", [1, 1]), (7, "self.W", [0.5, 0.5])],
    ),
    "slots": (
        "class L:\n    __slots__ = ('W',)\nl = L()\nl.W = np.ones(1)\nl.W += 1",
        [(5, "l.W", [1]), (6, "l.W", [2])],
    ),
    "objects in lists": (
        "class L:\n    pass\nls = [L(), L()]\nls[1].W = np.ones(1)\nfor l in ls[1:]:\n    l.W *= 3",
        [(5, "ls[1].W", [1]), (7, "l.W", [3])],
    ),
    "dictionary of an object": (
        "class N:\n    def __init__(self):\n        self.p = {'W': np.ones(1)}\n"
        "    def step(self, k):\n        self.p[k] -= 0.25\nn = N()\nn.step('W')",
        [(4, "self.p['W']", [1]), (6, "self.p['W']", [0.75])],
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass D:\n    W: object\nd = D(np.ones(1))",
        [(6, "d.W", [1])],
    ),
    "namedtuple": (
        "from collections import namedtuple\nC = namedtuple('C', 'x z')\nc = C(np.ones(1), 3)",
        [(4, "c.x", [1]), (4, "c.z", 3)],
    ),
    "namespace": (
        "from types import SimpleNamespace as S\ns = S(W=np.ones(1))\ns.W += 1",
        [(3, "s.W", [1]), (4, "s.W", [2])],
    ),
    "class as a namespace": ("class P:\n    W = np.ones(1)\nP.W = P.W * 2", [(3, "W", [1]), (4, "P.W", [2])]),
    "match": ("match (np.ones(1), 2):\n    case (a, b):\n        c = a * b", [(3, "a", [1]), (4, "c", [2])]),
    "with": ("with np.errstate(all='ignore') as e:\n    a = np.ones(1) / 0", [(3, "a", [np.inf])]),
    "after an exception": (
        "try:\n    a = np.ones(1)\n    raise ValueError\nexcept ValueError:\n    b = a + 1\nfinally:\n    c = b",
        [(6, "b", [2]), (8, "c", [2])],
    ),
    "float32": ("a = np.ones(2, dtype=np.float32)", [(2, "a", np.ones(2, np.float32))]),
    "matrix class": (
        "import warnings\nwarnings.simplefilter('ignore')\na = np.matrix([[1, 2]])\nb = a.T",
        [(4, "a", [[1, 2]]), (5, "b", [[1], [2]])],
    ),
    "transposed": ("a = np.arange(6.0).reshape(2, 3)\nb = a.T", [(3, "b", [[0, 3], [1, 4], [2, 5]])]),
}


def run(tmp_path: Path, code: str, **limits) -> Watched:
    path = tmp_path / "student.py"
    path.write_text("import numpy as np\n" + code + "\n")
    _, watched = watch_call(exec, compile(path.read_text(), str(path), "exec"), {"__name__": "student"}, **limits)
    return watched


def seen(watched: Watched) -> list[tuple[int, str, list]]:
    return [(o.line, o.name, o.array.tolist()) for o in watched.observations]


@pytest.mark.parametrize(("code", "expected"), SEEN.values(), ids=SEEN)
def test_seen(tmp_path, code, expected):
    watched = run(tmp_path, code)
    assert watched.ended == "finished"
    assert watched.complete
    found = seen(watched)
    for line, name, value in expected:
        assert (line, name, np.asarray(value).tolist()) in found
    assert {o.file for o in watched.observations} == {str(tmp_path / "student.py")}
    assert [o.time for o in watched.observations] == list(range(len(watched.observations)))


# code -> everything that is seen, in order: nothing twice, nothing that only was read
EXACTLY = {
    "read only": ("a = np.ones(1)\nb = a + 1\nc = a + b", [(2, "a", [1]), (3, "b", [2]), (4, "c", [3])]),
    "known argument": ("def f(x):\n    print(end='')\na = np.ones(1)\nf(a)", [(4, "a", [1])]),
    "same object again": (
        "a = np.ones(1)\nfor k in (1, 2):\n    b = a",
        [(2, "a", [1]), (3, "k", 1), (4, "b", [1]), (3, "k", 2)],
    ),
    "same value in another object": ("a = np.ones(1)\na = np.ones(1)", [(2, "a", [1]), (3, "a", [1])]),
    "same number in each round": (
        "for c in (1, 1):\n    b = c * 2",
        [(2, "c", 1), (3, "b", 2), (2, "c", 1), (3, "b", 2)],
    ),
    "same list of numbers": ("a = [1, 2]\nfor k in (1, 2):\n    len(a)", [(2, "a", [1, 2]), (3, "k", 1), (3, "k", 2)]),
    "change under another name, seen once": (
        "d = {'W': np.ones(1)}\nW = d['W']\nW += 1\nlen(d['W'])",
        [(2, "d['W']", [1]), (3, "W", [1]), (4, "W", [2])],
    ),
    "nothing numeric": ("a = 'text'\nb = None\nc = [a, b]\ndef f():\n    return a\nd = f()\nz = 1j", []),
    "a property is not run": (
        "class A:\n    @property\n    def W(self):\n        raise SystemExit\n    def __getattr__(self, name):\n"
        "        raise SystemExit\na = A()\na.__dict__['v'] = np.ones(1)",
        [(9, "a.v", [1])],
    ),
}


@pytest.mark.parametrize(("code", "expected"), EXACTLY.values(), ids=EXACTLY)
def test_seen_and_no_more(tmp_path, code, expected):
    assert seen(run(tmp_path, code)) == expected


def test_dtype_function_and_origin(tmp_path):
    code = "class N:\n    def f(self, x):\n        y = x.astype(np.float32)\n        return y\nN().f(np.arange(2))"
    found = {o.name: o for o in run(tmp_path, code).observations}
    assert found["y"].array.dtype == np.float32
    assert found["x"].array.dtype.kind == "i"
    assert found["y"].function == "N.f"
    assert str(found["y"].place) == "student.py line 4, y"
    assert not found["y"].array.flags.writeable


def test_values_are_copies(tmp_path):
    watched = run(tmp_path, "a = np.ones(2)\nfor k in range(3):\n    a += 1")
    assert [o.array.tolist() for o in watched.observations if o.name == "a"] == [[1, 1], [2, 2], [3, 3], [4, 4]]


def test_large_arrays_changed_in_place_are_seen_and_the_same_one_is_kept_once(tmp_path):
    code = "X = np.ones((3000, 784))\nY = X\nX *= 2\nX[:, 5] = 7\nfor k in range(50):\n    s = X[k % 2, 5] + k"
    watched = run(tmp_path, code)
    large = [o for o in watched.observations if o.array.size > 1000]
    assert [(o.name, o.line) for o in large] == [("X", 2), ("Y", 3), ("X", 4), ("X", 5)]
    assert large[0].array is large[1].array


def test_values_of_a_line_are_bounded(tmp_path):
    watched = run(tmp_path, "for k in range(20):\n    a = k + 0.5\nb = 5.25", values=4)
    assert sum(o.name == "a" for o in watched.observations) == 4
    assert sum(o.name == "b" for o in watched.observations) == 1
    assert watched.complete


def test_values_are_bounded_and_the_function_runs_on(tmp_path):
    watched = run(tmp_path, "for k in range(20):\n    a = k + 0.5", total=7)
    assert len(watched.observations) == 7
    assert watched.ended == "watching stopped after 7 values; finished"
    assert watched.complete


def test_bytes_are_bounded(tmp_path):
    watched = run(tmp_path, "for k in range(99):\n    a = np.full(10_000, float(k))", bytes=2_000_000)
    assert 1_000_000 < sum(o.array.nbytes for o in watched.observations) <= 2_000_000
    assert watched.ended.startswith("watching stopped after")


def test_large_values_of_a_line_are_fewer(tmp_path):
    watched = run(tmp_path, "for k in range(20):\n    a = np.full(1000, float(k))", line_bytes=16_000)
    assert sum(o.name == "a" for o in watched.observations) == 3


@pytest.mark.parametrize("limits", [{"values": 0}, {"total": -1}, {"seconds": 0.0}, {"bytes": 0}])
def test_limits_that_are_none(limits):
    name, value = next(iter(limits.items()))
    with pytest.raises(ValueError, match=f"got {name}={value}, expected more than 0"):
        watch_call(len, "", **limits)


def test_result_and_trace_function_of_before():
    events = []

    def other(frame, event, arg):
        events.append(event)

    before = sys.gettrace()
    sys.settrace(other)
    try:
        result, watched = watch_call(lambda a: a + 1, np.ones(2))
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is other
    assert result.tolist() == [2, 2]
    assert "return of <lambda>" in [o.name for o in watched.observations]


def test_watching_inside_of_watching(tmp_path):
    def inner():
        b = np.full(2, 3.0)
        return b

    def outer():
        a = np.full(2, 1.0)
        _, watched = watch_call(inner)
        c = a + 4
        return watched, c

    (found, _), watched = watch_call(outer)
    assert [o.name for o in found.observations] == ["b", "return of inner"]
    assert {"a", "c"} <= {o.name for o in watched.observations}


def test_an_error_ends_the_call_but_not_what_was_seen(tmp_path):
    watched = run(tmp_path, "a = np.ones(2)\nb = 1 / 0")
    assert seen(watched) == [(2, "a", [1, 1])]
    assert watched.ended == "ZeroDivisionError: division by zero at line 3 of student.py"
    assert not watched.complete


def test_libraries_are_not_watched(tmp_path):
    watched = run(tmp_path, "import statistics\nm = statistics.mean([1.0, 2.0])\na = np.linalg.norm(np.ones(4))")
    assert seen(watched) == [(3, "m", 1.5), (4, "a", 2.0)]


# -- scripts in a process of their own -----------------------------------------------------------------------------


def script(tmp_path: Path, code: str, **limits) -> Dataflow:
    path = tmp_path / "student.py"
    path.write_text(textwrap.dedent(code).strip() + "\n")
    return watch_script(path, **limits)


def bound(flow: Dataflow) -> list[tuple[int, str, list]]:
    """(line, name, value) of every name that was given to a value, in order of the values' time."""
    return [(bound.site.line, bound.name, value.array.tolist()) for value in flow.values for bound in value.names]


def computed(flow: Dataflow) -> list[tuple[int, str, list]]:
    """(line, operation, value) of every expression."""
    return [(v.site.line, v.what, v.array.tolist()) for v in flow.values if v.site is not None]


def test_a_script_in_its_own_folder_with_a_module_and_data_beside_it(tmp_path):
    (tmp_path / "layers.py").write_text("def affine(x, w):\n    y = x @ w\n    return y\n")
    (tmp_path / "compare.py").write_text("scale = 3.0\n")
    np.savetxt(tmp_path / "data.csv", np.eye(2), delimiter=",")
    flow = script(
        tmp_path,
        """
        import sys
        import numpy as np
        import compare
        from layers import affine
        x = np.loadtxt("data.csv", delimiter=",")
        n = len(sys.argv)
        if __name__ == "__main__":
            out = affine(x, compare.scale * np.ones((2, 1)))
        """,
    )
    assert (flow.ended, flow.complete) == ("finished", True)
    found = [(Path(s.file).name, s.line, n, v.array.tolist()) for v in flow.values for n, s, _ in v.names]
    assert ("student.py", 5, "x", [[1, 0], [0, 1]]) in found
    assert ("student.py", 6, "n", 1) in found
    assert ("layers.py", 2, "y", [[3], [3]]) in found
    assert ("student.py", 8, "out", [[3], [3]]) in found
    out = next(value for value in flow.values if value.what == "matmul")
    assert [bound.name for bound in out.names] == ["y", "out"]
    assert str(out.place) == "layers.py line 2, y"
    assert {Path(file).name: len(lines) for file, lines in flow.sources.items()} == {
        "student.py": 8,
        "layers.py": 3,
        "compare.py": 1,
    }


def test_arguments_and_the_relative_path(tmp_path, monkeypatch):
    (tmp_path / "s.py").write_text("import sys\nn = float(sys.argv[1])\n")
    monkeypatch.chdir(tmp_path)
    flow = watch_script("s.py", ["2.5"])
    assert [(str(v.place), float(v.array)) for v in flow.values if v.names] == [("s.py line 2, n", 2.5)]


BEGIN = "import numpy as np, os, sys, time\na = np.full(2, 41.0)\n"
# what a script does after BEGIN -> how it ended, and whether that is its end
HOSTILE = {
    "crash": ("b = a / [1, 2, 3]", r"ValueError: operands could not be .* at line 3 of student.py", False),
    "exit": ("sys.exit(3)", r"SystemExit\(3\)", False),
    "exit in peace": ("sys.exit()", r"SystemExit\(\)", True),
    "exit at once": ("os._exit(7)", "ended itself with exit code 7", False),
    "catches everything": ("try:\n    raise KeyboardInterrupt\nexcept BaseException:\n    b = 2", "finished", True),
    "loop": ("while True: pass", "stopped after|time limit of 3 s", False),
    "sleep": ("time.sleep(60)", "time limit of 3 s", False),
    "deaf to signals": (
        "import signal\nfor s in (15, 2, 1): signal.signal(s, signal.SIG_IGN)\ntime.sleep(60)",
        "time limit of 3 s",
        False,
    ),
    "killed": ("os.kill(os.getpid(), 11)", "killed by SIGSEGV", False),
    "closed output": ("os.close(1)\nos.close(2)\nb = 3.0", "finished", True),
    "closed everything": ("os.closerange(0, 1000)\nb = 3.0", "ended itself with exit code 1|OSError", False),
    "a megabyte": ("for k in range(3000): print('x' * 1000)", "finished|stopped after", True),
    "input": (
        "b = input('rate? ')",
        r"EOFError: the program asks for input \(rate\?\); give its answers after --, .* at line 3 of student.py",
        False,
    ),
    "deletes itself": ("os.remove(__file__)\nb = 4.0", "finished", True),
    "fork": (
        "if os.fork() == 0:\n    b = 1.0\n    time.sleep(0.1)\nelse:\n    c = 2.0\n    os.wait()",
        "finished",
        True,
    ),
    "syntax": ("b = = 1", "SyntaxError: invalid syntax .* line 3", False),
    "a tracer of its own": ("sys.settrace(lambda *_: None)\nb = 1.0", "finished", True),
    "memory": ("b = np.ones((1 << 17, 1 << 15))", "memory limit of 1.0 GB", False),
    "a torrent of arrays": ("for k in range(10**9): b = np.full(1000, k)", "stopped after|time limit", False),
    "depth": ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError", False),
    "odd objects": (
        "class O:\n    def __getattribute__(self, n): raise SystemExit\n    def __eq__(self, o): raise SystemExit\n"
        "    __hash__ = None\n    def __len__(self): raise SystemExit\no = O()\nd = [1.0, o]\nb = 5.0",
        "finished",
        True,
    ),
}


@pytest.mark.parametrize(("code", "ended", "complete"), HOSTILE.values(), ids=HOSTILE)
def test_whatever_a_script_does_what_was_seen_stays(tmp_path, code, ended, complete):
    path = tmp_path / "student.py"
    path.write_text(BEGIN + code + "\n")
    flow = watch_script(path, seconds=3, memory=1_000_000_000)
    assert ((2, "a", [41.0, 41.0]) in bound(flow)) is ("Syntax" not in flow.ended)
    assert re.search(ended, flow.ended), flow.ended
    assert flow.complete is complete
    assert len(flow.output) <= 1 << 16


def test_what_a_script_started_is_ended_with_it(tmp_path):
    flow = script(
        tmp_path,
        """
        import subprocess, sys
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        number = other.pid
        """,
    )
    assert flow.ended == "finished"
    pid = next(int(value.array) for value in flow.values if value.name == "number")
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("a process of the script lives on")


def test_what_a_script_writes_into_the_open_files_changes_no_array(tmp_path):
    flow = script(
        tmp_path,
        """
        import os
        for descriptor in range(3, 12):
            try:
                os.write(descriptor, b'[[[\\n{"name": 1}\\n')
            except OSError:
                pass
        b = 2.5
        """,
    )
    assert flow.complete
    assert (7, "b", 2.5) in bound(flow)
    assert {name for _, name, _ in bound(flow)} == {"b", "descriptor"}


def test_output_is_kept(tmp_path):
    assert "hello" in script(tmp_path, "print('hello')").output


def test_a_training_loop_is_stopped_when_it_gives_nothing_new(tmp_path):
    flow = script(
        tmp_path,
        """
        import numpy as np
        W = np.ones((3, 2))
        x = np.ones((4, 3))
        while True:
            y = x @ W
            W -= 0.001 * x.T @ y
        """,
        visits=20,
        seconds=120,
    )
    assert re.fullmatch("stopped after 20 values of line [456]", flow.ended)
    assert sum(value.what == "matmul" and value.site.line == 5 for value in flow.values) == 20
    assert not flow.complete


def test_a_slow_training_loop_is_stopped_once_it_was_seen_a_few_times(tmp_path):
    code = "import time\nimport numpy as np\nW = np.ones(2)\nwhile True:\n    W = W - 0.1\n    time.sleep(0.01)"
    flow = script(tmp_path, code, seconds=60, enough=0.2)
    assert re.fullmatch(r"stopped after 0.2 s, and \d+ values of line [56]", flow.ended)
    assert 8 <= sum(value.what == "sub" for value in flow.values) < 60


def test_values_and_bytes_of_a_script_are_bounded(tmp_path):
    code = "import numpy as np\na = np.ones(1000)\nwhile True:\n    a = a + 1"
    assert script(tmp_path, code, total=30).ended == "stopped after 30 values"
    flow = script(tmp_path, code, bytes=100_000)
    assert flow.ended == "stopped after 0 MB of values"
    assert sum(value.array.nbytes for value in flow.values) < 110_000


def test_figures_open_no_window(tmp_path):
    flow = script(
        tmp_path,
        """
        import matplotlib
        matplotlib.use("TkAgg")
        import matplotlib.pyplot as plt
        plt.plot([1, 2])
        plt.show()
        b = 1.25
        """,
        seconds=60,
    )
    assert flow.ended == "finished"
    assert (6, "b", 1.25) in bound(flow)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("absent.py", FileNotFoundError, "no such file"),
        (".", IsADirectoryError, "is a folder, expected a Python script"),
    ],
)
def test_paths_that_are_no_script(tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        watch_script(tmp_path / name)


def test_the_process_does_not_load_torch(tmp_path):
    flow = script(tmp_path, "import sys\nb = float('torch' in sys.modules)\nc = float('compare' in sys.modules)")
    assert bound(flow) == [(2, "b", 0.0), (3, "c", 0.0)]


def test_the_trace_of_a_network_of_full_size_is_bounded(tmp_path):
    code = """
    import numpy as np
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(20_000, 784)), np.eye(10)[rng.integers(0, 10, 20_000)]
    W1, W2 = 0.05 * rng.normal(size=(784, 256)), 0.05 * rng.normal(size=(256, 10))
    for epoch in range(10_000):
        for i in range(0, len(X), 128):
            x, t = X[i : i + 128], T[i : i + 128]
            h = np.maximum(x @ W1, 0)
            e = np.exp(h @ W2)
            d = (e / e.sum(1, keepdims=True) - t) / len(x)
            dW2 = h.T @ d
            dh = (d @ W2.T) * (h > 0)
            dW1 = x.T @ dh
            W1 -= 0.1 * dW1
            W2 -= 0.1 * dW2
    """
    flow = script(tmp_path, code, seconds=60)
    assert flow.ended.startswith("stopped after")
    assert {name for _, name, _ in bound(flow)} >= {"x", "h", "d", "dW1", "dW2", "W1"}
    kept = {id(value.array): value.array.nbytes for value in flow.values}
    assert sum(kept.values()) < 400e6


def test_sources_are_told_even_of_what_cannot_be_compiled(tmp_path):
    flow = script(tmp_path, "a = 1\nb = = 2")
    assert flow.values == ()
    assert flow.ended == "SyntaxError: invalid syntax (student.py, line 2)"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("# coding: latin-1\nname = 'Größe'\nn = float(len(name))\n".encode("latin-1"), "name = 'Größe'"),
        ("\ufeffname = 'Größe'\nn = float(len(name))\n".encode(), "n = float(len(name))"),
        (b"name = 'Gr\xff\xfee'\nn = float(len(name))\n", "n = float(len(name))"),
        (b"name = 'Gross'\r\nn = float(len(name))\r\n", "n = float(len(name))"),
    ],
    ids=["latin-1", "byte order mark", "no encoding at all", "lines of Windows"],
)
def test_encodings(tmp_path, data, text):
    (tmp_path / "student.py").write_bytes(data)
    flow = watch_script(tmp_path / "student.py")
    assert flow.complete
    assert [value.array.tolist() for value in flow.values if value.name == "n"] == [5.0]
    assert text in flow.sources[str(tmp_path / "student.py")]


def test_an_exception_has_the_line_of_the_script_and_not_of_the_watcher(tmp_path):
    (tmp_path / "layers.py").write_text("import numpy as np\n\ndef f(x):\n    return np.linalg.inv(x)\n")
    flow = script(tmp_path, "import numpy as np\nfrom layers import f\ny = f(np.zeros((2, 2)))")
    assert flow.ended == "LinAlgError: Singular matrix at line 4 of layers.py"


def test_what_it_prints_of_its_own_error_has_its_lines(tmp_path):
    code = """
    import traceback
    def f():
        return 1 / 0
    try:
        f()
    except ZeroDivisionError:
        traceback.print_exc()
    """
    output = script(tmp_path, code).output
    assert "line 5, in <module>" in output
    assert "line 3, in f\n    return 1 / 0\n" in output


def test_packages_beside_it_are_watched_and_installed_ones_are_not(tmp_path):
    (tmp_path / "nets" / "deep").mkdir(parents=True)
    (tmp_path / "nets" / "__init__.py").write_text("from .layers import half\n")
    (tmp_path / "nets" / "layers.py").write_text("from nets.deep import rate\n\ndef half(x):\n    return x * rate\n")
    (tmp_path / "nets" / "deep" / "__init__.py").write_text("rate = 0.25 + 0.25\n")
    flow = script(tmp_path, "import statistics\nimport nets\nm = statistics.mean([1.0, 2.0])\ny = nets.half(m)")
    numbers = [value for value in flow.values if value.site and value.size == 1]
    found = {(Path(v.site.file).name, v.site.line, v.what, float(v.array)) for v in numbers}
    assert found >= {("__init__.py", 1, "add", 0.5), ("layers.py", 4, "mul", 0.75), ("student.py", 3, "call:mean", 1.5)}
    assert {str(Path(file).relative_to(tmp_path)) for file in flow.sources} == {
        "student.py",
        "nets/__init__.py",
        "nets/layers.py",
        "nets/deep/__init__.py",
    }


def test_threads_are_watched_and_waited_for(tmp_path):
    code = """
    import threading, time
    def work():
        time.sleep(0.2)
        global late
        late = 1.5 * 2
    threading.Thread(target=work).start()
    b = 2.5
    """
    flow = script(tmp_path, code)
    assert flow.ended == "finished"
    assert (5, "mul", 3.0) in computed(flow)


def test_answers_are_given_in_their_order(tmp_path):
    code = "a = float(input('rate '))\nb = float(input())\nc = input()"
    flow = script(tmp_path, code, answers=["0.5", "3"])
    assert bound(flow) == [(1, "a", 0.5), (2, "b", 3.0)]
    assert "rate " in flow.output
    assert flow.ended.startswith("EOFError: the program asks for input (without a question); give its answers")


def test_recursion_as_deep_as_python_allows(tmp_path):
    flow = script(tmp_path, "def f(n):\n    return n and 1.5 + f(n - 1)\na = f(900)")
    assert (3, "a", 1350.0) in bound(flow)


def test_a_long_sum_and_a_long_choice_are_still_a_program(tmp_path):
    code = "a = 1.5\nb = " + " + ".join(["a"] * 800) + "\nif a == 0: pass\n"
    flow = script(tmp_path, code + "".join(f"elif a == {k}: pass\n" for k in range(500)))
    assert flow.ended == "finished"
    assert (2, "b", 1200.0) in bound(flow)


def test_a_main_guard_and_its_name(tmp_path):
    code = "import sys\nif __name__ == '__main__':\n    a = float(sys.modules['__main__'].__file__ == __file__)"
    assert bound(script(tmp_path, code)) == [(3, "a", 1.0)]


def test_classes_of_the_script_can_be_pickled(tmp_path):
    code = "import pickle\nclass A:\n    w = 1.5\na = pickle.loads(pickle.dumps(A()))\nb = a.w * 2"
    assert (5, "b", 3.0) in bound(script(tmp_path, code))
