"""What is taken for a submission, which script of a folder runs, and what is passed over, with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from compare.submissions import handed_in
from compare.submissions.handed_in import HandedIn, read


def laid(folder: Path, files: Mapping[str, str]) -> Path:
    """A name that ends in / is an empty folder."""
    for name, text in files.items():
        if name.endswith("/"):
            (folder / name).mkdir(parents=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return folder


def why(found: HandedIn) -> dict[str, str]:
    assert len(found.passed_over) == len({each.file for each in found.passed_over})
    return {each.file: each.why for each in found.passed_over}


def notebook(*cells: str) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": each} for each in cells]})


# files of the folder anna -> the script that runs
CHOSEN: dict[str, tuple[dict[str, str], str]] = {
    "the only script": ({"lab 1.py": ""}, "lab 1.py"),
    "the only notebook": ({"lab.ipynb": notebook("1"), "report.pdf": ""}, "lab.ipynb"),
    "main.py": ({"main.py": "", "other.py": ""}, "main.py"),
    "main.ipynb": ({"main.ipynb": notebook(""), "other.ipynb": ""}, "main.ipynb"),
    "main.py, whatever imports it": ({"main.py": "", "test.py": "import main"}, "main.py"),
    "the only one that is not imported": ({"net.py": "", "train.py": "from net import Net"}, "train.py"),
    "imported by one that is imported": ({"a.py": "import b", "b.py": "import c as d", "c.py": ""}, "a.py"),
    "imported by a notebook": ({"net.py": "", "lab.ipynb": notebook("%ls", "import net")}, "lab.ipynb"),
    "imported from its folder": ({"net/net.py": "", "net/run.py": "from . import net"}, "net/run.py"),
    "imported by its path": ({"a/net.py": "", "a/run.py": "import a.net"}, "a/run.py"),
    "it imports itself": ({"a.py": "import a, b", "b.py": ""}, "a.py"),
    "in a folder alone": ({"project 2/main.py": "", "project 2/net.py": ""}, "project 2/main.py"),
    "above others": ({"run.py": "", "src/main.py": "", "src/net.py": ""}, "run.py"),
    "beside what makes a package": ({"__init__.py": "", "net.py": ""}, "net.py"),
    "beside what nobody wrote": ({"a.py": "", ".ipynb_checkpoints/b.py": "", "__MACOSX/._a.py": ""}, "a.py"),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_the_script_that_runs(tmp_path: Path, case: str) -> None:
    files, chosen = CHOSEN[case]
    found = read(laid(tmp_path, {f"anna/{name}": text for name, text in files.items()}))
    assert list(found.scripts) == [f"anna/{chosen}"]
    assert found.scripts[f"anna/{chosen}"].path == tmp_path / "anna" / chosen
    assert not found.unclear


# files of the folder anna -> what its row says
UNCLEAR: dict[str, tuple[dict[str, str], str]] = {
    "two scripts": ({"a.py": "", "b.py": ""}, "of 2 scripts runs: a.py, b.py; rename that one to main.py, or give"),
    "the table": ({"a.py": "", "b.py": ""}, "give it in a --table as anna/a.py"),
    "a script and a notebook": ({"a.py": "", "a.ipynb": notebook("")}, "which of 2 scripts runs: a.ipynb, a.py"),
    "main twice": ({"main.py": "", "main.ipynb": notebook("")}, "which of 2 scripts runs: main.ipynb, main.py"),
    "two folders": ({"part 1/main.py": "", "part 2/main.py": ""}, "scripts runs: part 1/main.py, part 2/main.py"),
    "each imports the other": ({"a.py": "import b", "b.py": "import a"}, "which of 2 scripts runs"),
    "no Python": ({"a.py": "import b b\n", "b.py": "\0"}, "which of 2 scripts runs"),
    "no notebook": ({"a.ipynb": "{", "b.ipynb": "3"}, "which of 2 scripts runs"),
    "many": ({f"{name}.py": "" for name in "abcdefgh"}, "d.py, e.py, f.py and 2 more; rename"),
    "no script": ({"report.pdf": "", "net.m": ""}, "no .py or .ipynb in it: net.m, report.pdf"),
    "an archive": ({"work.zip": ""}, "no .py or .ipynb in it: work.zip"),
    "a package alone": ({"__init__.py": ""}, "no .py or .ipynb in it: __init__.py"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNCLEAR)
def test_a_folder_of_which_nothing_runs_says_why(tmp_path: Path, case: str) -> None:
    files, said = UNCLEAR[case]
    found = read(laid(tmp_path, {f"anna/{name}": text for name, text in files.items()}))
    assert not found.scripts
    assert said in found.unclear["anna"]


# the file -> why it is passed over
PASSED_OVER = {
    "data.csv": "no .py or .ipynb; it is copied beside each script",
    "all.zip": "an archive; unpack it to have it checked",
    "all.tar.gz": "an archive; unpack it to have it checked",
    "a.pyc": "made by Python",
    "__pycache__/a.py": "made by Python",
    "__MACOSX/a.py": "made by macOS",
    "._a.py": "made by macOS",
    ".DS_Store": "made by macOS",
    ".ipynb_checkpoints/a.ipynb": "made by Jupyter, an older state of a notebook",
    "Thumbs.db": "made by Windows",
    ".git/hooks/a.py": "hidden, its name begins with a dot",
    "venv/pyvenv.cfg": "a virtual environment",
    "checked/submissions.json": "the pages of an earlier check",
    "empty/": "an empty folder",
    "anna/empty/": "an empty folder",
    "anna/__pycache__/a.pyc": "made by Python",
    "anna/work.7z": "an archive; unpack it to have it checked",
    "anna/.idea/x": "hidden, its name begins with a dot",
    "anna/old.py": "main.py runs, and it is not imported there",
}


@pytest.mark.parametrize("file", PASSED_OVER)
def test_what_is_passed_over_says_why(tmp_path: Path, file: str) -> None:
    found = read(laid(tmp_path, {"anna/main.py": "", file: ""}))
    assert list(found.scripts) == ["anna/main.py"]
    assert not found.unclear
    ((place, said),) = why(found).items()
    assert said == PASSED_OVER[file]
    assert file.startswith(place)


def test_links_and_what_is_no_file(tmp_path: Path) -> None:
    laid(tmp_path, {"anna/main.py": "", "b.py": ""})
    (tmp_path / "anna" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "c.py").symlink_to(tmp_path / "b.py")
    found = read(tmp_path)
    assert sorted(found.scripts) == ["anna/main.py", "b.py", "c.py"]
    assert why(found) == {"anna/again": "a link to a folder, which is not followed", "gone.py": "no file"}


def test_folders_in_one_another_are_bounded(tmp_path: Path) -> None:
    found = read(
        laid(tmp_path, {"anna/main.py": "", "anna/1/2/3/4/5/6/7/8/a.txt": "", "anna/1/2/3/4/5/6/7/8/9/b.txt": ""})
    )
    assert "1/2/3/4/5/6/7/8/a.txt" in found.scripts["anna/main.py"].files
    assert why(found) == {"anna/1/2/3/4/5/6/7/8/9": "more than 8 folders deep"}


def test_what_the_table_names_runs(tmp_path: Path) -> None:
    files = {"anna/main.py": "", "anna/a.py": "", "anna/b.py": "", "bert/a.py": "", "bert/b.py": "", "main.py": ""}
    found = read(laid(tmp_path, files), ["anna/a.py", "anna/b.py", "anna/gone.py", "bert", "main.py"])
    assert sorted(found.scripts) == ["anna/a.py", "anna/b.py", "main.py"]
    assert list(found.unclear) == ["bert"]
    assert why(found) == {"anna/main.py": "a.py and b.py run, and it is not imported there"}


def test_what_is_copied_with_a_script(tmp_path: Path) -> None:
    """Of its own folder all, of the folder of all the data; its own data go first."""
    files = {"a.py": "", "b.ipynb": notebook(""), "data.csv": "1", "anna/src/main.py": "import net", "anna/net.py": ""}
    laid(tmp_path, {"x.csv": "", "anna/src/net.py": "", "anna/src/x.csv": "", "bert/main.py": ""} | files)
    (tmp_path / "anna" / "net.py").unlink()
    found = read(tmp_path)
    assert sorted(found.scripts["a.py"].files) == ["a.py", "data.csv", "x.csv"]
    assert sorted(found.scripts["bert/main.py"].files) == ["data.csv", "main.py", "x.csv"]
    anna = found.scripts["anna/src/main.py"].files
    assert sorted(anna) == ["src/data.csv", "src/main.py", "src/net.py", "src/x.csv"]
    assert anna["src/x.csv"] == tmp_path / "anna" / "src" / "x.csv"


def test_data_are_copied_up_to_a_limit_the_smallest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed_in, "DATA", 50)
    files = {"a.py": "#" * 99, "b.txt": "1" * 30, "c.txt": "1" * 60, "anna/main.py": "#" * 99, "anna/d.txt": "1" * 60}
    found = read(laid(tmp_path, files))
    assert sorted(found.scripts["a.py"].files) == ["a.py", "b.txt"]
    assert sorted(found.scripts["anna/main.py"].files) == ["b.txt", "main.py"]
    too_many = "not copied, there are more than 0 MB of files"
    assert why(found) == {"b.txt": PASSED_OVER["data.csv"], "c.txt": too_many, "anna/d.txt": too_many}
