"""check_submissions.py: every submission has its row, whatever it does, and none harms another's or its own files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compare.watching import box
from compare.watching.box import why_not

ROOT = Path(__file__).parents[2]
NETWORK = "3-5-1 tanh, sigmoid output, binary cross-entropy"
RIGHT = (ROOT / "examples" / "script_right.py").read_text()
WRONG = (ROOT / "examples" / "script_wrong.py").read_text()
SUBMISSIONS = ROOT / "tests" / "compare" / "submissions" / "scripts"

# file -> what it does, its verdict, what its cause says, and how it ended; test_watch.py has more ways to end
HOSTILE: dict[str, tuple[str, str, str, str]] = {
    "=cmd() <b>.py": (f'import numpy as np\nnp.loadtxt("data.txt")\n{RIGHT}', "parity", "", ""),
    "crashes.py": ("import ctypes\nctypes.string_at(0)\n", "not examined", "SIGSEGV", ""),
    "deletes_and_prints.py": (
        f'import os, shutil\nos.remove(__file__)\nshutil.rmtree(os.getcwd())\n{RIGHT}print("x" * (1 << 20))\n',
        "parity", "", "",
    ),
    "loops.py": ("while True: pass\n", "not examined", "time limit of 4 s", ""),
    "no_network.py": ("print(1 + 1)\n", "incomplete", "", ""),
    "other_arrays.py": ("import numpy as np\na = np.ones((4, 4))\n", "incomplete", "", ""),
    "raises.py": (f'{RIGHT}raise RuntimeError("[red]x[/red] \\x1b[31m <i>")\n', "parity", "", "RuntimeError"),
    "wrong.py": (WRONG, "mismatch", "1 - x^2 in the place of 1 - y^2", ""),
}  # fmt: skip


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "check_submissions.py"
    command = [sys.executable, str(script), *map(str, arguments), *([] if not why_not() else ["--trusted"])]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder, what was printed, and the files that were written."""
    folder, out = tmp_path_factory.mktemp("handed_in"), tmp_path_factory.mktemp("checked") / "new"
    for name, (text, *_) in HOSTILE.items():
        (folder / name).write_text(text)
    (folder / "data.txt").write_text("1 2\n3 4\n")
    done = run(folder, "--network", NETWORK, "--seconds", 4, "--workers", 2, "--out", out)
    return {"folder": folder, "out": out, "done": done}


@pytest.mark.slow
def test_every_submission_has_its_row(hostile: dict[str, Any]) -> None:
    done, out = hostile["done"], hostile["out"]
    assert done.returncode == 0, done.stderr
    rows = {row["file"]: row for row in json.loads((out / "submissions.json").read_text())["submissions"]}
    assert sorted(rows) == sorted(HOSTILE)
    for name, (_, verdict, cause, ended) in HOSTILE.items():
        assert rows[name]["verdict"] == verdict, rows[name]
        assert cause in rows[name]["cause"]
        assert ended in rows[name]["ended"]
        assert bool(rows[name]["ended"]) == bool(ended)
        assert bool(rows[name]["page"]) == (verdict != "not examined")
    assert rows["wrong.py"]["line"] == "wrong.py line 21, dZ1"
    assert rows["wrong.py"]["code"] == "dZ1 = W2.T @ dZ2 * (1 - Z1**2)"
    assert f"{len(HOSTILE)} submissions: 1 mismatch, 2 incomplete, 3 parity, 2 not examined" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
def test_nothing_is_harmed(hostile: dict[str, Any]) -> None:
    """The files handed in are as they were, and nothing is left of them in the temporary folder."""
    folder: Path = hostile["folder"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*HOSTILE, "data.txt"])
    assert all((folder / name).read_text() == text for name, (text, *_) in HOSTILE.items())


@pytest.mark.slow
def test_the_index_and_the_table_escape_what_they_show(hostile: dict[str, Any]) -> None:
    from tests.compare.report.html_page import HtmlPage

    page = HtmlPage((hostile["out"] / "index.html").read_text())
    assert not page.all("b", "i", "red", "script")
    links = [link.attributes["href"] for link in page.all("a")][1:]
    assert "./%3Dcmd%28%29%20%3Cb%3E.py.html" in links
    assert len(links) == sum(verdict != "not examined" for _, verdict, *_ in HOSTILE.values())
    with (hostile["out"] / "submissions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert any(row["file"] == "'=cmd() <b>.py" for row in rows)


@pytest.mark.slow
def test_a_table_of_networks(tmp_path: Path) -> None:
    """One of the course's scripts, and one that nobody handed in."""
    table = json.loads((SUBMISSIONS / "table.json").read_text())
    (wrong,) = (row for row in table if row["file"].startswith("s12"))
    name = wrong["file"]
    (tmp_path / name).write_text((SUBMISSIONS / name).read_text())
    named = f'file,network\n{name},"{wrong["network"]}"\nabsent.py,"2-1, mse"\n'
    (tmp_path / "networks.csv").write_text(named)
    done = run(tmp_path, "--table", tmp_path / "networks.csv", "--out", tmp_path / "out", "--workers", 2)
    assert done.returncode == 0, done.stderr
    absent, row = json.loads((tmp_path / "out" / "submissions.json").read_text())["submissions"]
    assert (absent["file"], absent["cause"]) == ("absent.py", "no such file in the folder")
    assert (row["file"], row["verdict"]) == (name, "mismatch")
    assert row["line"].startswith(f"{name} line {wrong['line']},")


# what a platform's download holds: file -> text
DOWNLOAD = {
    "Anna Berg_123_assignsubmission_file_/main.py": f"from half import half\nhalf(1.0)\n{WRONG}",
    "Anna Berg_123_assignsubmission_file_/half.py": "def half(x):\n    return x / 2\n",
    "Anna Berg_123_assignsubmission_file_/old.py": "print(1)\n",
    "bert/lab 1.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": WRONG}]}),
    "bert/.ipynb_checkpoints/lab 1.ipynb": "",
    "carla/a.py": "print(1)\n",
    "carla/b.py": "print(1)\n",
    "dora/work.zip": "",
    "emil.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": f"open('data.csv').read()\n{RIGHT}"}]}),
    "data.csv": "1,2\n",
    "__MACOSX/emil.py": "",
}


@pytest.mark.slow
def test_a_download_of_folders_and_notebooks(tmp_path: Path) -> None:
    """The rows, and what was passed over in the terminal, as JSON and as CSV."""
    for file, text in DOWNLOAD.items():
        (tmp_path / "in" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / file).write_text(text)
    done = run(tmp_path / "in", "--network", NETWORK, "--out", tmp_path / "out", "--workers", 2)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "out" / "submissions.json").read_text())
    anna, bert, carla, dora, emil = written["submissions"]
    assert (anna["file"], anna["verdict"]) == ("Anna Berg_123_assignsubmission_file_/main.py", "mismatch")
    assert anna["line"] == "main.py line 23, dZ1"
    assert (bert["file"], bert["line"]) == ("bert/lab 1.ipynb", "lab 1.ipynb cell 1, line 21, dZ1")
    assert (carla["file"], carla["verdict"]) == ("carla", "not examined")
    assert "which of 2 scripts runs: a.py, b.py;" in carla["cause"]
    assert dora["cause"] == "no .py or .ipynb in it: work.zip"
    assert (emil["file"], emil["verdict"], emil["ended"]) == ("emil.ipynb", "parity", "")
    assert all((tmp_path / "out" / row["page"]).is_file() for row in (anna, bert, emil))
    over = {each["file"]: each["why"] for each in written["passed_over"]}
    assert len(over) == 5
    assert all(f"passed over, {why}: {file}" in done.stdout for file, why in over.items())
    with (tmp_path / "out" / "submissions.csv").open(newline="") as file:
        rows = {row["file"]: row["cause"] for row in csv.DictReader(file) if row["verdict"] == "passed over"}
    assert rows == over


@pytest.mark.slow
def test_the_networks_are_read_off_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "nothing.py").write_text("print(1 + 1)\n")
    done = run(tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "submissions.json").read_text())["submissions"]
    found = {row["file"]: (row["verdict"], row["network"]) for row in rows}
    assert found == {"right.py": ("parity", NETWORK), "nothing.py": ("not examined", "")}
    assert "say the network, such as --network" in next(row["cause"] for row in rows if row["file"] == "nothing.py")


WRONG_USAGE = [
    (["absent", "--network", NETWORK], "absent: no such folder"),
    ([".", "--network", "3-5"], "expected SIZES"),
    (["empty", "--network", NETWORK], "empty: no .py, no .ipynb and no folder of a submission in it"),
    (["packed", "--network", NETWORK], "in it; all.zip is passed over, an archive; unpack it to have it checked"),
    ([".", "--table", "absent.csv"], "absent.csv"),
    ([".", "--table", "other.csv"], "expected a file and a network in each row"),
    ([".", "--table", "list.json"], "expected a file and a network in each row"),
    ([".", "--table", "number.json"], "expected two texts"),
    ([".", "--network", NETWORK, "--seconds", "0"], "expected a whole number of at least 1"),
    (["with_one", "--network", NETWORK, "--out", "."], "expected a new or empty folder"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_USAGE)
def test_bad_usage_is_one_line(
    script: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("with_one", "empty", "packed"):
        (tmp_path / name).mkdir()
    (tmp_path / "packed" / "all.zip").write_text("")
    (tmp_path / "with_one" / "a.py").write_text("")
    (tmp_path / "other.csv").write_text("name,text\na.py,b\n")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "number.json").write_text('{"a.py": 3}')
    outcome = script("check_submissions", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["check_submissions", "."], ["check_parity", "--watch", "s.py", "--box"]])
def test_a_command_refuses_without_a_box(
    script: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").write_text("")
    monkeypatch.setattr(box, "why_not", lambda: "bwrap cannot make its namespaces: denied")
    outcome = script(*arguments)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "bwrap cannot make its namespaces: denied" in outcome.err
