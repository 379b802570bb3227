"""Notebooks: their cells as one program, and that a line keeps its cell and its number there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compare.watching.dataflow import Dataflow
from compare.watching.notebook import cells, place
from compare.watching.watch import watch_script


def notebook(*sources: Any, **more: Any) -> bytes:
    """Code cells; ("markdown", text) is one of another kind."""
    made = [source if isinstance(source, tuple) else ("code", source) for source in sources]
    return json.dumps({"cells": [{"cell_type": kind, "source": text} for kind, text in made], **more}).encode()


def watched(tmp_path: Path, *sources: Any) -> Dataflow:
    path = tmp_path / "lab.ipynb"
    path.write_bytes(notebook(*sources))
    return watch_script(path)


def test_cells_in_order_with_their_numbers() -> None:
    text = cells(notebook("a = 1\nb = 2", ("markdown", "# Lab"), ("raw", "x"), ["c = 3\n", "d = 4"], ""))
    assert text.splitlines() == ["# %% [cell 1]", "a = 1", "b = 2", "# %% [cell 4]", "c = 3", "d = 4", "# %% [cell 5]"]


# code of a cell -> what it is as a program
LINES = {
    "%matplotlib inline\na = 1": ["pass  # %matplotlib inline", "a = 1"],
    "!pip install numpy\na = 1": ["pass  # !pip install numpy", "a = 1"],
    "if True:\n    %time a\n    !ls": ["if True:", "    pass  # %time a", "    pass  # !ls"],
    "%%time\na = 1": ["pass  # %%time", "a = 1"],
    "%%timeit -n 1\na = 1": ["pass  # %%timeit -n 1", "a = 1"],
    "%%capture\na = 1": ["pass  # %%capture", "a = 1"],
    "%%bash\necho a\n\nls": ["pass  # %%bash", "pass  # echo a", "pass  # ", "pass  # ls"],
    "%%html\n  <b>": ["pass  # %%html", "pass  #   <b>"],
    "np.exp?": ["pass  # np.exp?"],
    "a = b % 2": ["a = b % 2"],
}


@pytest.mark.parametrize("source", LINES)
def test_lines(source: str) -> None:
    assert cells(notebook(source)).splitlines()[1:] == LINES[source]


@pytest.mark.parametrize(
    "source",
    [
        "np.exp??\na = 1",
        "?np.exp\na = 1",
        "files = !ls\na = 1",
        "t, u = %timeit -o 3\na = 1",
        "%%html\n  <b>\n </b>",
        "%%time\nfor i in range(2):\n    %time a = i",
        "%cd ..\n%load_ext autoreload\n%autoreload 2\na = 1",
        "%matplotlib inline\na = 1 != 2  # why?\nb = 'x?'",
    ],
)
def test_programs_that_are_none_of_pythons_own(source: str) -> None:
    compile(cells(notebook(source)), "lab.ipynb", "exec")


@pytest.mark.parametrize(
    "source", ["s = '''%d percent?\n  why?  \n!end\n'''", "x = 7 \\\n  % 4", "a = 1 # why?", "a = [\n\n1]"]
)
def test_what_is_pythons_own_stays_as_it_is(source: str) -> None:
    assert "\n".join(cells(notebook(source)).split("\n")[1:-1]) == source


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"no json", b'{"cells": [{}]}', b'{"cells": 3}', b"\xff\xfe"])
def test_what_is_no_notebook(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^no notebook: [A-Za-z]+$"):
        cells(data)


def test_places() -> None:
    lines = cells(notebook(("markdown", "x"), "a = 1\n\nb = 2", "c = 3")).splitlines()
    found = {line: place(lines, number) for number, line in enumerate(lines, 1)}
    assert found["a = 1"] == "cell 2, line 1"
    assert found["b = 2"] == "cell 2, line 3"
    assert found["c = 3"] == "cell 3, line 1"
    assert place(["a = 1"], 1) == ""
    assert place([], 5) == ""


def test_a_notebook_is_watched(tmp_path: Path) -> None:
    first, last = "%matplotlib inline\nimport numpy as np\nx = np.ones(2)", "\n%time 1\ny = x * 2.5"
    flow = watched(tmp_path, first, ("markdown", "text"), last)
    assert flow.ended == "finished"
    assert {value.name: str(value.place) for value in flow.values if value.names} == {
        "x": "lab.ipynb cell 1, line 3, x",
        "y": "lab.ipynb cell 3, line 3, y",
    }


def test_modules_beside_a_notebook_have_lines_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def half(x):\n    z = x * 0.5\n    return z\n")
    flow = watched(tmp_path, "from net import half", "y = half(3.0)")
    assert "net.py line 2, z" in {str(value.place) for value in flow.values}


# the last cell -> how it ends, with the module net.py beside it
ENDS = {
    "b = a * 2\nc = 1 / 0": "ZeroDivisionError: division by zero at cell 2, line 2 of lab.ipynb",
    "%time\n\n1 / 0": "ZeroDivisionError: division by zero at cell 2, line 3 of lab.ipynb",
    "from net import f\nf(0)": "ZeroDivisionError: division by zero at line 2 of net.py",
    "raise SystemExit('enough')": "SystemExit(enough) at cell 2, line 1 of lab.ipynb",
    "raise SyntaxError('mine')": "SyntaxError: mine at cell 2, line 1 of lab.ipynb",
    "b = 1\nb = = 2": "SyntaxError: invalid syntax (lab.ipynb, cell 2, line 2)",
    "b = 0.5\nwhile True:\n    b = -b": "stopped after 400 values of cell 2, line 3",
    "import broken": "SyntaxError: invalid syntax (broken.py, line 1) at cell 2, line 1 of lab.ipynb",
}


@pytest.mark.parametrize("cell", ENDS)
def test_a_notebook_that_raises_says_the_cell(tmp_path: Path, cell: str) -> None:
    (tmp_path / "net.py").write_text("def f(x):\n    return 1 / x\n")
    (tmp_path / "broken.py").write_text("x = = 1\n")
    assert watched(tmp_path, "a = 1.5", cell).ended == ENDS[cell]


def test_a_file_that_is_no_notebook_says_so(tmp_path: Path) -> None:
    (tmp_path / "lab.ipynb").write_text("a = 1\n")
    assert watch_script(tmp_path / "lab.ipynb").ended == "ValueError: no notebook: JSONDecodeError"
