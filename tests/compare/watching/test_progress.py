"""Progress: the values that a growing journal has, and who hears of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from compare.watching import progress
from compare.watching.progress import Progress
from compare.watching.watch import watch_script


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[int]:
    file = os.open(tmp_path / "events", os.O_RDWR | os.O_CREAT)
    yield file
    os.close(file)


# what is written, one after the other -> the values after each
WRITTEN = [
    ([b""], [0]),
    ([b'{"source": "a.py", "text": "[1, [2]"}\n{"began": true}\n'], [0]),
    ([b'[0, [], "<f8", [2], 0]\n[1, [0], "0.5", "<f8"]\n'], [2]),
    ([b'[-1, [], "0.5", "<f8"]\n[3, 0, "x"]\n'], [1]),
    ([b'[0, [], "1', b'.5", "<f8"]\n', b'[0, [], "1.5", "<f8"]\n'], [0, 1, 2]),
    ([b'{"source": "' + b"x" * 40 + b'"}\n[0, [], "1"]\n' * 9], [9]),
]


@pytest.mark.parametrize("part", [16, 1 << 20])
@pytest.mark.parametrize(("parts", "values"), WRITTEN)
def test_values_are_counted_as_they_come(
    journal: int, monkeypatch: pytest.MonkeyPatch, parts: list[bytes], values: list[int], part: int
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(progress, "PART", part)
    told: list[int] = []
    seen = Progress(journal, lambda _, values: told.append(values))
    for each in parts:
        os.write(journal, each)
        seen.tick()
    assert told == values
    assert os.lseek(journal, 0, os.SEEK_CUR) == sum(map(len, parts))  # where the process goes on writing


def test_it_is_told_now_and_then_and_nothing_is_read_for_nobody(journal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    seen = Progress(journal, lambda seconds, _: told.append(seconds))
    seen.tick()
    assert told == []
    seen.told -= 1
    for _ in range(3):
        seen.tick()
    assert len(told) == 1
    monkeypatch.setattr(os, "pread", None)
    Progress(journal).tick()


def test_a_script_that_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "long.py").write_text("import time\nfor k in range(20):\n    a = 0.5 + k\n    time.sleep(0.05)\n")
    monkeypatch.setattr(progress, "EVERY", 0.1)
    told: list[tuple[float, int]] = []
    flow = watch_script(tmp_path / "long.py", progress=lambda *each: told.append(each))
    assert flow.ended == "finished"
    assert told == sorted(told)
    assert 0 < told[-1][1] <= len(flow.values)
    assert told[0][1] < told[-1][1]
