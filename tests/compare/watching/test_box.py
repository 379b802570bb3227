"""A program in a box: what it sees, what it may change, and what it may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from compare.watching import box
from compare.watching.watch import watch_script

needs_box = pytest.mark.skipif(bool(box.why_not()), reason=box.why_not() or "it runs")

TRIES = {
    "network": ("import socket\nsocket.create_connection(('127.0.0.1', 22), 2)", "OSError|ConnectionRefused|unreach"),
    "home": ("import os\nprint(sorted(os.listdir('/tmp')))", "finished"),
    "system": ("open('/usr/here', 'w')", "Read-only file system"),
    "checker": ("import numpy\nopen(numpy.__file__, 'a')", "Read-only file system"),
    "root": ("open('/here', 'w')", "Read-only file system"),
    "memory": (
        "import os, time\nfor _ in range(4):\n    if not os.fork():\n        a = bytearray(400 << 20); time.sleep(60)\n"
        "time.sleep(60)", "memory limit of 1.0 GB for all",
    ),
    "disk": ("f = open('/tmp/f', 'wb')\nwhile True: f.write(b'x' * (1 << 20))", "No space left|File too large"),
    "processes": ("import os\nwhile True:\n    if not os.fork():\n        import time; time.sleep(60)", "limit of 64"),
    "folder": ("import shutil, os\nshutil.rmtree(os.getcwd())", "finished"),
    "parent": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nprint(os.getppid())", "finished"),
}  # fmt: skip


@needs_box
@pytest.mark.parametrize("name", TRIES)
def test_what_a_program_tries_ends_so(name: str, tmp_path: Path) -> None:
    text, ended = TRIES[name]
    (tmp_path / "s.py").write_text(text)
    (tmp_path / "beside.txt").write_text("kept")
    flow = watch_script(tmp_path / "s.py", box=True, seconds=10, memory=1_000_000_000)
    assert any(words in flow.ended for words in ended.split("|")), flow.ended
    assert (tmp_path / "beside.txt").read_text() == "kept"
    assert not Path("/usr/here").exists()


@needs_box
def test_it_computes_what_it_computes_outside(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("def half(x):\n    return x / 2\n")
    (tmp_path / "s.py").write_text("import numpy as np\nfrom half import half\nh = half(np.ones(3))\nopen('o', 'w')\n")
    inside, outside = (watch_script(tmp_path / "s.py", box=each) for each in (True, False))
    assert [v.array.tolist() for v in inside.values] == [v.array.tolist() for v in outside.values]
    assert inside.ended == "finished"


def test_without_bwrap_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.py").write_text("")
    monkeypatch.setattr(box, "why_not", lambda: "bwrap is not installed")
    with pytest.raises(box.CannotBox, match="cannot be run in a box here: bwrap is not installed"):
        watch_script(tmp_path / "s.py", box=True)
