"""What becomes of a submission whose check itself fails or does not end, and the index that shows it."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import pytest

from compare.submissions import class_report, submission
from compare.submissions.handed_in import PassedOver, Script
from compare.submissions.submission import UNEXAMINED, Examined, Submission, examine
from scratch.printable import printable
from tests.compare.report.html_page import HtmlPage

HOSTILE = '<script>alert("x")</script>\x1b[31m'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    handed_in = tmp_path / "handed_in"
    handed_in.mkdir()
    (handed_in / "a.py").write_text("print(1)\n")
    (handed_in / "b.py").write_text("print(2)\n")
    return handed_in


def handed_in(path: Path) -> Submission:
    return Submission(Script(path.name, path.name, {path.name: path}), "2-1, mse")


def found(folder: Path, *names: str, **options: Any) -> list[Examined]:
    chosen = names or ("a.py", "b.py")
    return examine([handed_in(folder / name) for name in chosen], workers=2, **options)


def test_a_check_that_fails_is_a_row_that_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "START", "import sys; sys.exit('broken')")
    assert [(each.file, each.verdict) for each in found(folder)] == [("a.py", UNEXAMINED), ("b.py", UNEXAMINED)]
    assert {each.cause for each in found(folder)} == {"the check itself failed with exit code 1: broken"}


def test_a_check_that_does_not_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "START", "import time; time.sleep(600)")
    monkeypatch.setattr(submission, "CHECKING", -19.0)
    monkeypatch.setattr(submission, "GRACE", 0.5)
    assert {each.cause for each in found(folder)} == {"the check took longer than -19 s"}


def test_a_script_that_cannot_be_read_is_a_row_too(folder: Path) -> None:
    (row,) = examine([handed_in(folder / "gone.py")])
    assert (row.verdict, row.cause) == (UNEXAMINED, "it cannot be read: No such file or directory")


def test_results_are_in_the_order_given_and_said_as_each_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a.py waits until b.py has been said."""
    goes_on = tmp_path / "goes_on"
    wait = f"while 'a.py' in sys.argv[2] and not os.path.exists({str(goes_on)!r}): time.sleep(0.01)"
    monkeypatch.setattr(submission, "START", f"import os, sys, time\n{wait}\nsys.exit(1)")
    said: list[str] = []

    def say(each: Examined) -> None:
        said.append(each.file)
        goes_on.touch()

    assert [each.file for each in found(folder, said=say)] == ["a.py", "b.py"]
    assert said == ["b.py", "a.py"]


def test_an_interruption_asks_what_runs_to_end_and_removes_every_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a.py ends at once, and its report is interrupted while b.py runs and c.py waits or has just begun."""
    (folder / "c.py").write_text("")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    started, asked = tmp_path / "started", tmp_path / "asked"
    monkeypatch.setattr(
        submission,
        "START",
        f"""import os, pathlib, signal, sys, time
if "a.py" in sys.argv[2]:
    while not os.path.exists({str(started)!r}): time.sleep(0.01)
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(asked)!r}).touch(), sys.exit(143)))
with open({str(started)!r}, "a") as file: file.write("1")
time.sleep(600)""",
    )

    def interrupt(each: Examined) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(folder, "a.py", "b.py", "c.py", said=interrupt)
    assert asked.exists()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_submission_is_copied_with_what_belongs_to_it(folder: Path, tmp_path: Path) -> None:
    """In its folders; what cannot be read is left out."""
    (folder / "data.txt").write_text("1")
    files = {"src/a.py": folder / "a.py", "src/data.txt": folder / "data.txt", "gone.txt": folder / "gone.txt"}
    (tmp_path / "work").mkdir()
    script = Script("anna/src/a.py", "src/a.py", files)
    assert submission._copy(script, tmp_path / "work") == tmp_path / "work" / "src" / "a.py"
    copied = sorted(path for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert [path.relative_to(tmp_path / "work").as_posix() for path in copied] == ["src/a.py", "src/data.txt"]


def test_no_two_pages_have_one_name(tmp_path: Path) -> None:
    names = ["anna/main.py", "anna - main.py", "Anna - Main.py", "index", "x" * 250 + ".py"]
    submissions = [Submission(Script(name, "", {}), "2-1, mse") for name in names]
    pages = [page.name for page in submission._pages(submissions, tmp_path) if page is not None]
    assert pages[:2] == ["anna - main.py.html", "anna - main.py (2).html"]
    assert pages[2:4] == ["Anna - Main.py (3).html", "index (2).html"]
    assert len({page.casefold() for page in pages} | {"index.html"}) == 6
    assert all(len(page) < 255 for page in pages)
    assert submission._pages(submissions, None) == [None] * 5


def test_the_index_shows_what_it_is_given_as_text(tmp_path: Path) -> None:
    rows = [
        Examined("right.py", "2-1, mse", "parity", page="right.py.html"),
        Examined(f"=1+{HOSTILE}", HOSTILE, "mismatch", HOSTILE, HOSTILE, HOSTILE, "0.weight", HOSTILE, (HOSTILE,)),
        Examined("none.py", "2-1, mse", UNEXAMINED, "no array was bound", ended=HOSTILE),
    ]
    passed_over = [
        PassedOver(f"=2{HOSTILE}", "an archive"),
        PassedOver("b.zip", "an archive"),
        PassedOver("c", HOSTILE),
    ]
    class_report.write(tmp_path, rows, HOSTILE, passed_over)
    page = HtmlPage((tmp_path / "index.html").read_text())
    assert not page.all("script")
    assert [link.attributes["href"] for link in page.all("a")] == ["#main", "./right.py.html"]
    assert [e.text.split()[0] for e in page.all("td") if "word" not in e.attributes][:1] == ["mismatch"]
    with (tmp_path / "submissions.csv").open(newline="") as file:
        assert [row["file"][:3] for row in csv.DictReader(file)] == ["rig", "'=1", "non", "'=2", "b.z", "c"]
    assert [e.text.strip() for e in page.all("dt")] == ["an archive", HOSTILE]
    assert page.all("dd")[0].text.strip() == f"=2{HOSTILE}, b.zip"
    assert class_report.counted(rows) == "3 submissions: 1 mismatch, 1 parity, 1 not examined"
    assert "\x1b" not in printable(HOSTILE)
