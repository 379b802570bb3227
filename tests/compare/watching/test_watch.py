"""The watcher: which values it sees of which lines, and that nothing a script does harms more than itself."""

import io
import re
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from compare.watching.dataflow import Dataflow
from compare.watching.watch import watch_script

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
@pytest.mark.parametrize("full", [0, 1], ids=["arrays", "events"])
@pytest.mark.parametrize("code", ["b = np.ones(3)", "try: b = np.ones(3)\nexcept OSError: b = np.ones(4)"])
def test_a_full_disk_is_said_and_no_part_is_taken_for_the_whole(tmp_path, monkeypatch, full, code):
    real, calls = tempfile.TemporaryFile, iter((0, 1))

    def temporary():
        return io.FileIO("/dev/full", "r+") if next(calls) == full else real()

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
    with pytest.raises(OSError, match=r"no room for what is seen of .*student\.py, expected some \(TMPDIR moves it\)$"):
        script(tmp_path, f"import numpy as np\n{code}")


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
