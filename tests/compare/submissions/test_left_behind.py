"""What the process of a submission left: a result, or one line that says why it is none; and nothing takes long."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from compare.submissions import left_behind
from compare.submissions.left_behind import NoResult

VERDICTS = ("mismatch", "parity")
GOOD = {"verdict": "parity", "network": "2-1, mse", "findings": ["a"], "coverage": "1 of 1"}


def written(fields: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(fields))


NO_RESULT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "No such file"),
    "a pipe": (os.mkfifo, "no plain file"),
    "a folder": (os.mkdir, "no plain file"),
    "a link": (lambda path: path.symlink_to("/dev/zero"), "symbolic links"),
    "a large file": (lambda path: path.write_bytes(b" " * (left_behind.RESULT + 1)), "bytes are in its place"),
    "no JSON": (lambda path: path.write_bytes(b"\xff"), "UnicodeDecodeError"),
    "deep": (lambda path: path.write_bytes(b"[" * 100_000), "RecursionError"),
    "a list": (written([]), "other fields"),
    "no verdict": (written({"network": ""}), "no verdict"),
    "another verdict": (written(GOOD | {"verdict": "passed"}), "no verdict"),
    "no network": (written({"verdict": "parity"}), "no verdict"),
    "another field": (written(GOOD | {"file": "x"}), "other fields"),
    "a number": (written(GOOD | {"cause": 3}), "no text"),
    "findings": (written(GOOD | {"findings": [{}]}), "findings"),
    "a long text": (written(GOOD | {"cause": "x" * 30_000}), "no text"),
}


@pytest.mark.parametrize("name", NO_RESULT)
def test_what_is_no_result_is_one_line(tmp_path: Path, name: str) -> None:
    make, said = NO_RESULT[name]
    make(tmp_path / "found.json")
    with pytest.raises(NoResult, match=said) as raised:
        left_behind.found(tmp_path / "found.json", VERDICTS)
    assert "\n" not in str(raised.value)


def test_a_result_is_read(tmp_path: Path) -> None:
    written(GOOD)(tmp_path / "found.json")
    assert left_behind.found(tmp_path / "found.json", VERDICTS) == GOOD | {"findings": ("a",)}
